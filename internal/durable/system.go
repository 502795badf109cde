package durable

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// System is the operating system: the Ops of the zero Files, and what an Ops that
// fails on purpose wraps.
type System struct{}

func (System) Open(path string, flag int, perm fs.FileMode) (File, error) {
	file, err := os.OpenFile(path, flag, perm) // always close-on-exec
	if err != nil {
		return nil, err
	}
	return systemFile{file}, nil
}

func (System) Lstat(path string) (fs.FileInfo, error)     { return os.Lstat(path) }
func (System) Readlink(path string) (string, error)       { return os.Readlink(path) }
func (System) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }
func (System) Rename(from, to string) error               { return os.Rename(from, to) }
func (System) Remove(path string) error                   { return os.Remove(path) }

func (System) RenameNew(from, to string) error {
	err := renameNew(from, to)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return linkNew(from, to) // network file systems cannot rename without replacing
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// linkNew has a moment with two names. Should the first stay (a crash, an error),
// the file is still in place: RemoveStaleTemps takes the first name away.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	_ = os.Remove(from)
	return nil
}

type systemFile struct{ *os.File }

func (f systemFile) Lock() error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var locked error
	err = raw.Control(func(fd uintptr) {
		for locked = unix.EINTR; locked == unix.EINTR; {
			locked = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB)
		}
	})
	return errors.Join(err, locked)
}
