package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mintmark/internal/durable"
)

func TestLockNamesItsHolderAndPassesOnWhenItIsKilled(t *testing.T) {
	home := newHome(t)
	path := filepath.Join(home, "lock")
	first := start(t, "hold", home)
	if !first.lines.Scan() || first.lines.Text() != "held" {
		t.Fatalf("the first said %q", first.lines.Text())
	}
	_, err := durable.Files{}.Lock(path)
	var locked *durable.LockedError
	if !errors.As(err, &locked) || locked.PID != first.Process.Pid || locked.Path != path {
		t.Fatalf("the second got %v, want the pid %d", err, first.Process.Pid)
	}
	killed := time.Now()
	first.kill(t)
	held, err := durable.Files{}.Lock(path)
	if took := time.Since(killed); err != nil || took > time.Second {
		t.Fatalf("the second took over after %v: %v", took, err)
	}
	_, err = durable.Files{}.Lock(path)
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("a second lock in one process: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	must(t, held.Close())
	again, err := durable.Files{}.Lock(path)
	must(t, err)
	must(t, again.Close())
}

func TestALockFileThatWasRemovedMeanwhileDoesNotCount(t *testing.T) {
	path := filepath.Join(newHome(t), "lock")
	if _, err := (durable.Files{Ops: replacing{}}).Lock(path); err == nil {
		t.Error("locked a file that nobody else will find")
	}
}

// replacing puts another file in place of the one that was just opened.
type replacing struct{ durable.System }

func (r replacing) Open(path string, flag int, perm os.FileMode) (durable.File, error) {
	file, err := r.System.Open(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return replacedFile{file, path}, nil
}

type replacedFile struct {
	durable.File
	path string
}

func (f replacedFile) Lock() error {
	return errors.Join(os.Rename(f.path, f.path+"2"), os.WriteFile(f.path, nil, 0o600), f.File.Lock())
}
