// Package durable keeps files that survive a crash and that nobody else can
// reach: documents that are replaced whole (Write), logs that only grow
// (OpenLog) and locks held for life (Lock). It touches the file system and
// nothing else.
//
// Its one hard idea: an answer is either certain or says that it is not. Nil
// means that the new bytes are on the disk; an error means that the old ones
// are; an error that matches ErrUnknown means that either may be, and that the
// caller must read again before it trusts what it remembers. An fsync that
// reported an error is never asked again, because the kernel may have dropped
// the pages and would then report success.
//
// Every call first checks the folder and the file (CheckFolder, CheckFile). The
// folder is closed to everybody but its owner, so nobody else can swap a file
// between a check and its use.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Conditions a caller may have to tell apart, by errors.Is.
var (
	// ErrUnknown: the change may or may not be on the disk. To be asked first:
	// one of the others may say why.
	ErrUnknown = errors.New("it is unknown whether the change is on the disk")
	// ErrFull: the disk or the quota is full.
	ErrFull = errors.New("no space left")
	// ErrReadOnly: the file system is read-only.
	ErrReadOnly = errors.New("the file system is read-only")
	// ErrTooLarge: the file is larger than the limit given to Read.
	ErrTooLarge = errors.New("the file is larger than its limit")
)

// Files is the way to durable files. The zero value is the operating system
// with the system's randomness. It has no state of its own: it may be copied
// and used concurrently, but changes of one path are for the caller to order
// (Lock does so between processes). Paths are absolute, and are cleaned by their
// letters: "a/.." is nothing, whatever a is.
type Files struct {
	Ops  Ops       // nil: the operating system
	Rand io.Reader // names temporary files; nil: crypto/rand
}

// Ops is what Files asks of a file system. Errors are those of package os: they
// match fs.ErrNotExist and fs.ErrExist and wrap the system's error number.
type Ops interface {
	Open(path string, flag int, perm fs.FileMode) (File, error)
	Lstat(path string) (fs.FileInfo, error)
	Readlink(path string) (string, error)
	ReadDir(path string) ([]fs.DirEntry, error)
	// Rename replaces what is at to, atomically.
	Rename(from, to string) error
	// RenameNew fails with fs.ErrExist if anything is at to, atomically.
	RenameNew(from, to string) error
	Remove(path string) error
}

// File is one open file or folder. FileInfo.Sys is a *syscall.Stat_t.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
	// Lock takes the exclusive lock of the file until Close or the end of the
	// process, whatever ends it. It never waits: EWOULDBLOCK when it is taken.
	Lock() error
	Close() error
}

func (f Files) ops() Ops {
	if f.Ops == nil {
		return System{}
	}
	return f.Ops
}

func (f Files) random() io.Reader {
	if f.Rand == nil {
		return rand.Reader //nolint:forbidigo // Rand is handed in; its zero value is the system's, like that of Ops
	}
	return f.Rand
}

// classify adds the sentinel a full or read-only disk is recognised by.
func classify(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}
