package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
)

func TestATornLineIsNoPartOfTheLogAndIsCutByTheNextAppend(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for name, test := range map[string]struct{ was, is string }{
		"empty":           {"", ""},
		"whole":           {"one\ntwo\n", "one\ntwo\n"},
		"torn":            {"one\ntwo", "one\n"},
		"only torn":       {"one", ""},
		"long torn":       {"one\n" + long, "one\n"},
		"long whole":      {"one\n" + long + "\n", "one\n" + long + "\n"},
		"zeroed by crash": {"one\n\x00\x00\x00", "one\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := create(t, filepath.Join(newHome(t), "log"), test.was, 0o600)
			log, err := durable.Files{}.OpenLog(path)
			must(t, err)
			defer log.Close()
			if got, want := log.Torn(), int64(len(test.was)-len(test.is)); got != want {
				t.Errorf("%d bytes are torn, want %d", got, want)
			}
			if got := content(t, path); got != test.was || log.Size() != int64(len(test.is)) {
				t.Errorf("opening made it %q of size %d", got, log.Size())
			}
			must(t, log.Append([]byte("next"), nil))
			if got := content(t, path); got != test.is+"next\n\n" || log.Size() != int64(len(got)) {
				t.Errorf("%q of size %d, want %q and next", got, log.Size(), test.is)
			}
		})
	}
}

func TestLogRefusesRecordsOfTwoLines(t *testing.T) {
	path := create(t, filepath.Join(newHome(t), "log"), "one\n", 0o600)
	log, err := durable.Files{}.OpenLog(path)
	must(t, err)
	if err := log.Append([]byte("two"), []byte("three\nfour")); err == nil {
		t.Error("accepted")
	}
	must(t, log.Append())
	must(t, log.Close())
	if err := log.Append([]byte("late")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if got := content(t, path); got != "one\n" {
		t.Errorf("changed to %q", got)
	}
}

func TestLogKeepsConcurrentAppendsApart(t *testing.T) {
	const writers, each = 8, 25
	path := filepath.Join(newHome(t), "log")
	must(t, durable.Files{}.CreateNew(path))
	log, err := durable.Files{}.OpenLog(path)
	must(t, err)
	defer log.Close()
	var group sync.WaitGroup
	for writer := range writers {
		group.Go(func() {
			for i := range each {
				record := fmt.Sprintf("%d-%02d", writer, i)
				if err := log.Append([]byte(record+" begin"), []byte(record+" end")); err != nil {
					t.Error(err)
				}
				if data, err := io.ReadAll(io.NewSectionReader(log, 0, log.Size())); err != nil || !strings.Contains(string(data), record+" end\n") {
					t.Errorf("%s was acknowledged but cannot be read: %v", record, err)
				}
			}
		})
	}
	group.Wait()
	lines := strings.Split(strings.TrimSuffix(content(t, path), "\n"), "\n")
	var begun []string
	for i := 0; i+1 < len(lines); i += 2 {
		record := strings.TrimSuffix(lines[i], " begin")
		if lines[i+1] != record+" end" {
			t.Fatalf("%q is followed by %q", lines[i], lines[i+1])
		}
		begun = append(begun, record)
	}
	byWriter := func(a, b string) int { return strings.Compare(a[:1], b[:1]) }
	if slices.SortStableFunc(begun, byWriter); len(begun) != writers*each || !slices.IsSorted(begun) {
		t.Errorf("%d records, in order per writer %v", len(begun), slices.IsSorted(begun))
	}
}

func TestLogIsBrokenWhileItCannotBeMended(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"shorter":  func(t *testing.T, path string) { must(t, os.Truncate(path, 2)) },
		"replaced": func(t *testing.T, path string) { must(t, os.Rename(path, path+"2")); create(t, path, "one\nx", 0o600) },
		"gone":     func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"open":     func(t *testing.T, path string) { must(t, os.Chmod(path, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := create(t, filepath.Join(newHome(t), "log"), "one\n", 0o600)
			faulty := &spoiling{Faults: &durabletest.Faults{}, spoil: func() { spoil(t, path) }}
			log, err := durable.Files{Ops: faulty}.OpenLog(path)
			must(t, err)
			defer log.Close()
			faulty.armed = true
			if err := log.Append([]byte("two")); !errors.Is(err, durable.ErrUnknown) || !errors.Is(err, unix.EIO) {
				t.Errorf("the append that failed: %v", err)
			}
			if err := log.Append([]byte("three")); err == nil || errors.Is(err, durable.ErrUnknown) || !strings.Contains(err.Error(), "broken") {
				t.Errorf("the append after it: %v", err)
			}
			if data, err := os.ReadFile(path); strings.Contains(string(data), "three") {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

// spoiling fails a sync and changes the file behind the log's back.
type spoiling struct {
	*durabletest.Faults
	armed bool
	spoil func()
}

func (s *spoiling) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	file, err := s.Faults.Open(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &spoilingFile{file, s}, nil
}

type spoilingFile struct {
	durable.File
	by *spoiling
}

func (f *spoilingFile) Sync() error {
	if !f.by.armed {
		return f.File.Sync()
	}
	f.by.armed = false
	f.by.spoil()
	return unix.EIO
}
