// Package home is the installation directory and the process that runs in it:
// where its files are, who holds its lock, how it is started, stopped and
// asked.
//
// It touches the directory, processes and the local socket.
//
// The one hard idea: the lock is the truth. A process runs if somebody holds
// the lock; the pid file only says who. So a pid that the system has given to
// another process is never taken for ours, and never signalled.
package home

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mintmark/internal/durable"
)

// Dir is an installation directory, as an absolute path.
type Dir string

// The files of a home.
func (d Dir) Manager() string { return filepath.Join(string(d), "manager") }
func (d Dir) Config() string  { return filepath.Join(string(d), "config.json") }
func (d Dir) Keyring() string { return filepath.Join(string(d), "keyring.json") }
func (d Dir) Sealing() string { return filepath.Join(string(d), "sealing.key") }
func (d Dir) Tokens() string  { return filepath.Join(string(d), "tokens.json") }
func (d Dir) Usage() string   { return filepath.Join(string(d), "usage.db") }
func (d Dir) Log() string     { return filepath.Join(string(d), "logs", "server.log") }
func (d Dir) Pid() string     { return filepath.Join(string(d), "run", "mintmark.pid") }
func (d Dir) Code() string    { return filepath.Join(string(d), "run", "first-sign-in-code") }
func (d Dir) Restore() string { return filepath.Join(string(d), "restore.pending") } // of a restore that was begun
func (d Dir) Backups() string { return filepath.Join(string(d), "backups") }

// Kept is the folder in which a restore keeps what was there before; of "" the
// folder of all of them.
func (d Dir) Kept(id string) string { return filepath.Join(string(d), "kept", id) }

func (d Dir) lock() string { return filepath.Join(string(d), ".lock") }

// ErrExists says that a directory is an installation already, or is not empty.
var ErrExists = errors.New("already exists")

// ErrNone says that there is no installation directory.
var ErrNone = errors.New("no installation directory")

// Create makes the directory with a copy of the program in it. It refuses a
// directory that is one already or has anything in it, and of two that create
// the same one at once, one. undo removes what was made, for a creation that
// fails later on.
func Create(path, program string) (d Dir, undo func(), err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	made := true
	if err := os.Mkdir(path, 0o700); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return "", nil, fmt.Errorf("make the installation directory: %w", err)
		}
		entries, readErr := os.ReadDir(path)
		if readErr != nil {
			return "", nil, fmt.Errorf("make the installation directory: %w", readErr)
		}
		if len(entries) > 0 {
			return "", nil, fmt.Errorf("%s %w and is not empty", path, ErrExists)
		}
		made = false
		if err := os.Chmod(path, 0o700); err != nil {
			return "", nil, fmt.Errorf("close the installation directory: %w", err)
		}
	}
	d = Dir(path)
	// Whoever makes this folder creates the home; nobody else may undo it.
	if err := os.Mkdir(filepath.Join(path, "run"), 0o700); err != nil {
		if made {
			_ = os.Remove(path)
		}
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%s %w", path, ErrExists)
		}
		return "", nil, fmt.Errorf("make the installation directory: %w", err)
	}
	undo = func() {
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			_ = os.RemoveAll(filepath.Join(path, e.Name()))
		}
		if made {
			_ = os.Remove(path)
		}
	}
	err = os.Mkdir(filepath.Join(path, "logs"), 0o700)
	if err == nil {
		err = copyProgram(program, d.Manager())
	}
	if err != nil {
		undo()
		return "", nil, fmt.Errorf("make the installation directory: %w", err)
	}
	return d, undo, nil
}

func copyProgram(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	return out.Sync()
}

// Open checks that path is an installation directory.
func Open(path string) (Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	d := Dir(path)
	if _, err := os.Lstat(d.Config()); err != nil {
		if _, begun := os.Lstat(d.Restore()); begun == nil {
			return d, nil // whoever takes its lock finishes it
		}
		if errors.Is(err, fs.ErrNotExist) && Beside(d.Manager()) != "" {
			return "", fmt.Errorf("%s is missing: it is lost and not new, so nothing was started. Put a copy of it back", d.Config())
		}
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%w at %s: make one with: mintmark init %s", ErrNone, path, path)
		}
		return "", fmt.Errorf("open the installation directory: %w", err)
	}
	return d, nil
}

// Beside is the installation directory in which a program lies, or "". One that
// has lost its configuration still is one: its manager must not start as if it
// had no home.
func Beside(program string) string {
	dir := Dir(filepath.Dir(program))
	for _, file := range []string{dir.Config(), dir.Keyring(), dir.lock()} {
		if _, err := os.Lstat(file); err == nil {
			return string(dir)
		}
	}
	return ""
}

// Lock takes the home for this process. *durable.LockedError says who has it.
func (d Dir) Lock(files durable.Files) (*durable.Held, error) { return files.Lock(d.lock()) }

// WritePid notes who runs the home. The caller holds the lock.
func (d Dir) WritePid(pid int) error {
	if err := os.WriteFile(d.Pid(), []byte(strconv.Itoa(pid)+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	return nil
}

// RemovePid forgets it.
func (d Dir) RemovePid() { _ = os.Remove(d.Pid()) }

func (d Dir) readPid() (int, bool) {
	data, err := os.ReadFile(d.Pid())
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid, err == nil && pid > 1
}
