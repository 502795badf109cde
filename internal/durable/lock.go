package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockedError says who holds a lock.
type LockedError struct {
	Path string
	PID  int // of the holder; 0 if it has not, or could not, write it
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return e.Path + " is locked by another process"
	}
	return fmt.Sprintf("%s is locked by process %d", e.Path, e.PID)
}

// Held is a lock that is held. It is released by Close, by the end of the
// process whatever ends it, and by losing the last reference to it: keep it.
type Held struct{ file File }

// Lock takes the lock file path, which it creates if need be and which nobody
// ever removes, and writes the process id into it. It does not wait: a lock that
// is taken, also by this process, is a *LockedError. What the lock is for is a
// matter between its takers; no other call of this package asks for it.
func (f Files) Lock(path string) (*Held, error) {
	path = filepath.Clean(path)
	file, info, err := f.open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	err = file.Lock()
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &LockedError{path, holder(file)}
	}
	if err == nil { // a lock on a file that is no longer at path excludes nobody
		now, statErr := f.ops().Lstat(path)
		if err = statErr; err == nil && !os.SameFile(info, now) {
			err = errors.New("the lock file was replaced")
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, classify(err))
	}
	// Only information: a full disk must not keep a server from starting.
	if file.Truncate(0) == nil {
		_, _ = file.Write([]byte(strconv.Itoa(os.Getpid()) + "\n"))
	}
	return &Held{file}, nil
}

// holder reads the process id of the lock file's holder; 0 if there is none.
func holder(file File) int {
	text := make([]byte, 32)
	n, _ := file.ReadAt(text, 0)
	line, whole := strings.CutSuffix(string(text[:n]), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil || !whole {
		return 0
	}
	return pid
}

// Close releases the lock. The file stays, empty.
func (h *Held) Close() error {
	_ = h.file.Truncate(0)
	return h.file.Close()
}
