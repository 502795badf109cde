package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/home"
)

// full is a disk on which no configuration can be replaced.
type full struct{ durable.System }

func (f full) Rename(from, to string) error {
	if filepath.Base(to) == "config.json" {
		return syscall.ENOSPC
	}
	return f.System.Rename(from, to)
}

// command runs one in this process, and answers its exit code and what it said.
func command(t *testing.T, files durable.Files, args ...string) (int, string) {
	t.Helper()
	var said bytes.Buffer
	c := &cli{
		in: strings.NewReader(""), out: &said, err: &said, program: "mintmark", files: files,
		getenv: func(string) (string, bool) { return "", false },
	}
	return c.main(t.Context(), args), said.String()
}

const listened = "127.0.0.1:3901"

// onTrial is a home whose address has been on trial since a moment.
func onTrial(t *testing.T, since time.Time, length time.Duration) home.Dir {
	t.Helper()
	dir := home.Dir(filepath.Join(t.TempDir(), "home"))
	if exit, said := command(t, durable.Files{}, "init", string(dir), "--listen", listened, "--store", "memory", "--no-input"); exit != exitDone {
		t.Fatalf("init: %d %s", exit, said)
	}
	book, err := config.Open(durable.Files{}, dir.Config())
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{config.Listen: "127.0.0.1:3902", config.LogLevel: "debug"} {
		if err := book.Stage(name, &value, config.Itself(), since); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := book.ApplyOnTrial(0, length, config.Itself(), since); err != nil {
		t.Fatal(err)
	}
	pending := book.Pending()
	if err := book.RecordedThrough(pending[len(pending)-1].ID); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestALapsedTrialOnAFullDiskStopsAServerAlone(t *testing.T) {
	t.Parallel()
	dir := onTrial(t, time.Now().Add(-time.Hour), time.Minute)
	files := durable.Files{Ops: full{}}
	if exit, said := command(t, files, "config", "show", "--home", string(dir)); exit != exitDone || !strings.Contains(said, "warning: "+notWrittenBack) {
		t.Errorf("config show: %d %s", exit, said)
	}
	if exit, said := command(t, files, "serve", "--home", string(dir)); exit == exitDone || !strings.Contains(said, "no space left") {
		t.Errorf("serve: %d %s", exit, said)
	}
}

func TestARevertSaysWhatComesWithTheNextStart(t *testing.T) {
	t.Parallel()
	dir := onTrial(t, time.Now(), time.Hour)
	if exit, said := command(t, durable.Files{}, "config", "revert", "--home", string(dir)); exit != exitDone || !strings.Contains(said, "From the next start on: log.level.\n") {
		t.Errorf("config revert: %d %s", exit, said)
	}
}

func TestARestoreTakesTheAddressThatATrialGoesBackTo(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]time.Time{"it is over": time.Now().Add(-time.Hour), "it runs": time.Now()} {
		dir := onTrial(t, since, time.Minute)
		c := &cli{err: new(bytes.Buffer), getenv: func(string) (string, bool) { return "", false }}
		r, held, err := c.survey(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Close(); err != nil {
			t.Error(err)
		}
		if got := r.applied[config.Listen]; got != listened {
			t.Errorf("%s: the address is %s", name, got)
		}
	}
}
