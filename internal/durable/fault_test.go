package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
)

var faults = []error{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EMFILE, unix.EINTR, io.ErrShortWrite}

// careful fails the test if a file is synced again after its sync failed.
type careful struct {
	durable.Ops
	t *testing.T
}

func (c careful) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	file, err := c.Ops.Open(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &carefulFile{File: file, t: c.t}, nil
}

type carefulFile struct {
	durable.File
	t      *testing.T
	failed bool
}

func (f *carefulFile) Sync() error {
	if f.failed {
		f.t.Error("a failed sync was tried again on the same file")
	}
	err := f.File.Sync()
	f.failed = f.failed || err != nil
	return err
}

// eachFault runs the step with the first, the second, … operation failing, once
// and from then on, done and not done, until no operation is left to fail.
func eachFault(t *testing.T, step func(t *testing.T, faulty *durabletest.Faults, files durable.Files)) {
	for _, fault := range faults {
		for _, lasting := range []int{1, 1 << 30} {
			for _, done := range []bool{false, true} {
				for at, hit := 1, true; hit; at++ {
					faulty := &durabletest.Faults{At: at, For: lasting, Err: fault, Done: done}
					name := fmt.Sprintf("%v/at %d/lasting %v/done %v", fault, at, lasting > 1, done)
					t.Run(name, func(t *testing.T) {
						step(t, faulty, durable.Files{Ops: careful{faulty, t}})
					})
					if hit = faulty.Hit() != ""; at > 200 {
						t.Fatal("the operations do not end")
					}
					if errors.Is(fault, io.ErrShortWrite) {
						hit = at < 40 // other operations than writes never fail by it
					}
				}
			}
		}
	}
}

// explained finds the sentinel that belongs to the fault in an error that is certain.
func explained(t *testing.T, faulty *durabletest.Faults, err error) {
	t.Helper()
	full := errors.Is(faulty.Err, unix.ENOSPC) || errors.Is(faulty.Err, unix.EDQUOT)
	if errors.Is(err, durable.ErrFull) != full || errors.Is(err, durable.ErrReadOnly) != errors.Is(faulty.Err, unix.EROFS) {
		t.Errorf("the error of a failed %s does not tell its kind: %v", faulty.Hit(), err)
	}
}

func TestWriteLeavesOldOrNewWhicheverOperationFails(t *testing.T) {
	home := newHome(t)
	path := filepath.Join(home, "file")
	unknown, refused := 0, 0
	eachFault(t, func(t *testing.T, faulty *durabletest.Faults, files durable.Files) {
		create(t, path, "the old content", 0o600)
		err := files.Write(path, []byte("the new"), []byte(" content, longer"))
		is := content(t, path)
		switch {
		case err == nil:
			if is != "the new content, longer" {
				t.Fatalf("acknowledged, but it is %q", is)
			}
		case errors.Is(err, durable.ErrUnknown):
			unknown++
			if is != "the old content" && is != "the new content, longer" {
				t.Fatalf("neither old nor new: %q after %v", is, err)
			}
		default:
			refused++
			if is != "the old content" {
				t.Fatalf("%q after a certain %v", is, err)
			}
			explained(t, faulty, err)
		}
		if left := temps(t, home); len(left) > 0 && faulty.For == 1 {
			t.Errorf("left behind: %q", left)
		}
		must(t, durable.Files{}.RemoveStaleTemps(path))
		if left := temps(t, home); len(left) > 0 {
			t.Errorf("not removed: %q", left)
		}
	})
	if unknown == 0 || refused == 0 {
		t.Errorf("%d unknown, %d refused: the faults hit nothing", unknown, refused)
	}
}

func TestCreateNewLeavesNothingOrAllWhicheverOperationFails(t *testing.T) {
	home := newHome(t)
	path := filepath.Join(home, "file")
	eachFault(t, func(t *testing.T, faulty *durabletest.Faults, files durable.Files) {
		err := files.CreateNew(path, []byte("the new content"))
		data, readErr := os.ReadFile(path)
		if readErr == nil && string(data) != "the new content" {
			t.Fatalf("half-made: %q", data)
		}
		if err == nil && readErr != nil {
			t.Fatalf("acknowledged, but %v", readErr)
		}
		if err != nil && !errors.Is(err, durable.ErrUnknown) {
			explained(t, faulty, err)
			if readErr == nil {
				t.Fatalf("made despite %v", err)
			}
		}
		must(t, durable.Files{}.RemoveStaleTemps(path))
		_ = os.Remove(path)
	})
}

func TestReadAndLockFailCleanlyWhicheverOperationFails(t *testing.T) {
	home := newHome(t)
	path := create(t, filepath.Join(home, "file"), "content", 0o600)
	eachFault(t, func(t *testing.T, faulty *durabletest.Faults, files durable.Files) {
		data, err := files.Read(path, 100)
		if (err == nil) != (string(data) == "content") {
			t.Errorf("Read: %q, %v", data, err)
		}
	})
	eachFault(t, func(t *testing.T, faulty *durabletest.Faults, files durable.Files) {
		held, err := files.Lock(filepath.Join(home, "lock"))
		second, err2 := durable.Files{}.Lock(filepath.Join(home, "lock"))
		var locked *durable.LockedError
		if errors.As(err2, &locked) != (err == nil) {
			t.Errorf("first %v, second %v", err, err2)
		}
		for _, lock := range []*durable.Held{held, second} {
			if lock != nil {
				_ = lock.Close() // its truncation may be what fails
			}
		}
	})
}

func TestLogHoldsWhatWasAcknowledgedWhicheverOperationFails(t *testing.T) {
	home := newHome(t)
	path := filepath.Join(home, "log")
	mended := 0
	eachFault(t, func(t *testing.T, faulty *durabletest.Faults, files durable.Files) {
		create(t, path, "first\n", 0o600)
		log, err := files.OpenLog(path)
		if err != nil {
			if content(t, path) != "first\n" {
				t.Fatalf("changed by %v", err)
			}
			return
		}
		want, possible := "first\n", "first\n" // possible: with what may come back
		failed := false
		for i := range 4 {
			record := fmt.Sprintf("record %d", i)
			err := log.Append([]byte(record), []byte("second line"))
			lines := record + "\nsecond line\n"
			failed = failed || err != nil
			switch {
			case err == nil:
				if failed {
					mended++
				}
				want += lines
				possible = want
			case errors.Is(err, durable.ErrUnknown):
				possible = want + lines
			}
			inside, readErr := io.ReadAll(io.NewSectionReader(log, 0, log.Size()))
			if faulty.Hit() != "read at" && (readErr != nil || string(inside) != want) {
				t.Fatalf("reading %q, %v, want %q", inside, readErr, want)
			}
			if is := content(t, path); !strings.HasPrefix(is, want) || is != want && err == nil {
				t.Fatalf("%q on the disk, want %q", is, want)
			}
		}
		must(t, log.Close())
		again, err := durable.Files{}.OpenLog(path)
		must(t, err)
		defer again.Close()
		if is := content(t, path); is != want && !strings.HasPrefix(possible, is) {
			t.Fatalf("opened again: %q, want %q or part of %q", is, want, possible)
		}
	})
	if mended == 0 {
		t.Error("no log was used again after a failed append")
	}
}
