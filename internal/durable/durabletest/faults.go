// Package durabletest makes files fail on purpose, for the tests of the rooms
// that keep files. It touches what the operations it wraps touch.
//
// Its one hard idea: an operation may fail and not be done, fail half-way, or be
// done and fail nevertheless; a caller must survive all three.
package durabletest

import (
	"errors"
	"io"
	"io/fs"
	"sync"

	"mintmark/internal/durable"
)

// Faults is the operating system with operations that fail. Every operation of
// durable.Ops and durable.File counts but Close, which is done and never fails.
// Set the fields before the first use.
type Faults struct {
	durable.System
	At   int   // the number of the first operation that fails, from 1; 0: none
	For  int   // how many fail; 0: one
	Err  error // what they answer; io.ErrShortWrite fails writes only, half-way
	Done bool  // they are done nevertheless
	// Then is called when an operation would answer that it has failed; a test that
	// ends its process there does not return. nil: nothing.
	Then func()

	mu    sync.Mutex
	count int
	hit   string
}

// Hit names the last operation that failed; it is empty if none did.
func (f *Faults) Hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// fails counts an operation and tells whether it is one that fails.
func (f *Faults) fails(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.At == 0 || f.count < f.At || f.count >= f.At+max(f.For, 1) {
		return false
	}
	if errors.Is(f.Err, io.ErrShortWrite) && name != "write" {
		return false
	}
	f.hit = name
	return true
}

func (f *Faults) then() {
	if f.Then != nil {
		f.Then()
	}
}

// do does an operation that has no result but an error.
func (f *Faults) do(name string, operation func() error) error {
	if !f.fails(name) {
		return operation()
	}
	if f.Done {
		_ = operation()
	}
	f.then()
	return &fs.PathError{Op: name, Path: "on purpose", Err: f.Err}
}

// Open opens a file whose operations count as well.
func (f *Faults) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	var opened durable.File
	err := f.do("open", func() (err error) {
		opened, err = f.System.Open(path, flag, perm)
		return err
	})
	if err != nil {
		if opened != nil {
			_ = opened.Close()
		}
		return nil, err
	}
	return &file{opened, f}, nil
}

// Lstat is os.Lstat.
func (f *Faults) Lstat(path string) (info fs.FileInfo, err error) {
	err = f.do("lstat", func() (err error) { info, err = f.System.Lstat(path); return err })
	return info, err
}

// Readlink is os.Readlink.
func (f *Faults) Readlink(path string) (target string, err error) {
	err = f.do("readlink", func() (err error) { target, err = f.System.Readlink(path); return err })
	return target, err
}

// ReadDir is os.ReadDir.
func (f *Faults) ReadDir(path string) (entries []fs.DirEntry, err error) {
	err = f.do("readdir", func() (err error) { entries, err = f.System.ReadDir(path); return err })
	return entries, err
}

// Rename is os.Rename.
func (f *Faults) Rename(from, to string) error {
	return f.do("rename", func() error { return f.System.Rename(from, to) })
}

// RenameNew is a rename that replaces nothing.
func (f *Faults) RenameNew(from, to string) error {
	return f.do("rename new", func() error { return f.System.RenameNew(from, to) })
}

// Remove is os.Remove.
func (f *Faults) Remove(path string) error {
	return f.do("remove", func() error { return f.System.Remove(path) })
}

type file struct {
	durable.File
	faults *Faults
}

func (f *file) Read(p []byte) (n int, err error) {
	err = f.faults.do("read", func() (err error) { n, err = f.File.Read(p); return err })
	return n, err
}

func (f *file) ReadAt(p []byte, offset int64) (n int, err error) {
	err = f.faults.do("read at", func() (err error) { n, err = f.File.ReadAt(p, offset); return err })
	return n, err
}

func (f *file) Write(p []byte) (int, error) {
	if !f.faults.fails("write") {
		return f.File.Write(p)
	}
	n := len(p) / 2
	if f.faults.Done {
		n = len(p)
	} else if !errors.Is(f.faults.Err, io.ErrShortWrite) {
		n = 0
	}
	n, _ = f.File.Write(p[:n])
	f.faults.then()
	return n, &fs.PathError{Op: "write", Path: "on purpose", Err: f.faults.Err}
}

func (f *file) Stat() (info fs.FileInfo, err error) {
	err = f.faults.do("stat", func() (err error) { info, err = f.File.Stat(); return err })
	return info, err
}

func (f *file) Sync() error { return f.faults.do("sync", f.File.Sync) }

func (f *file) Truncate(size int64) error {
	return f.faults.do("truncate", func() error { return f.File.Truncate(size) })
}

func (f *file) Lock() error { return f.faults.do("lock", f.File.Lock) }
