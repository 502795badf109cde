package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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

// filling is a disk that is full later on.
type filling struct {
	durable.System
	full atomic.Bool
}

func (f *filling) Rename(from, to string) error {
	if f.full.Load() {
		return full{f.System}.Rename(from, to)
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
	dir := initialised(t, listened)
	applies(t, dir, since, length, map[string]string{config.Listen: "127.0.0.1:3902", config.LogLevel: "debug"})
	return dir
}

func initialised(t *testing.T, address string) home.Dir {
	t.Helper()
	dir := home.Dir(filepath.Join(t.TempDir(), "home"))
	if exit, said := command(t, durable.Files{}, "init", string(dir), "--listen", address, "--store", "memory", "--no-input"); exit != exitDone {
		t.Fatalf("init: %d %s", exit, said)
	}
	return dir
}

// applies applies values in the book of a home; a length of 0 is for good.
func applies(t *testing.T, dir home.Dir, since time.Time, length time.Duration, values map[string]string) {
	t.Helper()
	book := bookOf(t, dir)
	for name, value := range values {
		if err := book.Stage(name, &value, config.Itself(), since); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := book.ApplyOnTrial(0, length, config.Itself(), since); err != nil {
		t.Fatal(err)
	}
}

func bookOf(t *testing.T, dir home.Dir) *config.Book {
	t.Helper()
	book, err := config.Open(durable.Files{}, dir.Config())
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// fullLog is a disk on which nothing can be added to the audit log.
type fullLog struct{ durable.System }

type fullFile struct{ durable.File }

func (fullFile) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func (f fullLog) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	file, err := f.System.Open(path, flag, perm)
	if err == nil && filepath.Base(path) == "audit.ndjson" {
		return fullFile{file}, nil
	}
	return file, err
}

func TestALapsedTrialAndAFullAuditLogStopNobody(t *testing.T) {
	t.Parallel()
	was := free(t)
	dir := initialised(t, was)
	applies(t, dir, time.Now().Add(-time.Hour), time.Minute, map[string]string{config.Listen: free(t)})
	files := durable.Files{Ops: fullLog{}}
	for range 2 { // the second finds what the first has written back
		if exit, said := command(t, files, "config", "show", "--home", string(dir)); exit != exitDone || !strings.Contains(said, "warning: "+notFinished) {
			t.Errorf("config show: %d %s", exit, said)
		}
	}
	served := serves(t, files, dir)
	lives(t, was)
	if said := served(); !strings.Contains(said, notFinished) {
		t.Errorf("the server says %s", said)
	}
	if exit, said := command(t, durable.Files{}, "config", "show", "--home", string(dir)); exit != exitDone || strings.Contains(said, notFinished) || len(bookOf(t, dir).Pending()) > 0 {
		t.Errorf("with space again: %d %s", exit, said)
	}
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

// applied is what a restore into a home takes from there.
func applied(t *testing.T, dir home.Dir) map[string]string {
	t.Helper()
	c := &cli{err: new(bytes.Buffer), getenv: func(string) (string, bool) { return "", false }}
	r, held, err := c.survey(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	return r.applied
}

func TestARestoreTakesTheAddressThatATrialGoesBackTo(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]time.Time{"it is over": time.Now().Add(-time.Hour), "it runs": time.Now()} {
		if got := applied(t, onTrial(t, since, time.Minute))[config.Listen]; got != listened {
			t.Errorf("%s: the address is %s", name, got)
		}
	}
}

// What one that was cut short was about to write is written first.
func TestARestoreTakesWhatTheOneBeforeHasRestored(t *testing.T) {
	t.Parallel()
	dir, folder := initialised(t, listened), t.TempDir()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	secret, backup := filepath.Join(folder, "passphrase"), filepath.Join(folder, "backup.age")
	if err := os.WriteFile(secret, []byte("a passphrase for one backup\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if exit, said := command(t, durable.Files{}, "backup", "create", "--home", string(dir), "--out", backup, "--passphrase-file", secret); exit != exitDone {
		t.Fatalf("backup create: %d %s", exit, said)
	}
	applies(t, dir, time.Now(), 0, map[string]string{config.LogLevel: "debug"})
	if exit, said := command(t, durable.Files{Ops: full{}}, "backup", "restore", backup, "--home", string(dir), "--passphrase-file", secret,
		"--store", filepath.Join(string(dir), "tokens.json"), "--confirm", host); !strings.Contains(said, "finish the restore of a backup: ") {
		t.Fatalf("backup restore: %d %s", exit, said)
	}
	if got, is := applied(t, dir)[config.LogLevel]; is {
		t.Errorf("the level is %s", got)
	}
}
