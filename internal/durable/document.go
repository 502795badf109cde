package durable

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Read returns the whole file, which must pass CheckFile. It never waits, not
// even on a named pipe. A missing file matches fs.ErrNotExist, one of more than
// limit bytes ErrTooLarge.
func (f Files) Read(path string, limit int64) ([]byte, error) {
	file, info, err := f.open(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer file.Close()
	if info.Size() > limit {
		return nil, fmt.Errorf("reading %s: %w: %d bytes, limit %d", path, ErrTooLarge, info.Size(), limit)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

// Write makes the parts, one after the other, the whole content of path: mode
// 0600, atomically, and durable when it returns nil. What is at path must pass
// CheckFile or be missing. After an error path is as it was, unless the error
// matches ErrUnknown: then it is whole, but old or new.
func (f Files) Write(path string, parts ...[]byte) error {
	path = filepath.Clean(path)
	err := f.CheckFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = f.put(path, parts, f.ops().Rename)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// CreateNew is Write for a path at which nothing may be: otherwise the error
// matches fs.ErrExist, and what is there stays.
func (f Files) CreateNew(path string, parts ...[]byte) error {
	path = filepath.Clean(path)
	err := f.CheckFolder(filepath.Dir(path))
	if err == nil {
		err = f.put(path, parts, f.ops().RenameNew)
	}
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	return nil
}

// put writes a temporary file and moves it to path, whose folder was checked.
func (f Files) put(path string, parts [][]byte, move func(from, to string) error) error {
	dir := filepath.Dir(path)
	// Opened before anything moves: a lack of descriptors is then no unknown.
	folder, err := f.ops().Open(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return refused(dir, "chmod 700", err)
	}
	defer folder.Close()
	temp, err := f.tempName(path)
	if err != nil {
		return err
	}
	if err := f.writeTemp(temp, parts); err != nil {
		err = refused(dir, "chmod 700", err)
		if errors.Is(err, fs.ErrExist) {
			return err // somebody else's
		}
		return errors.Join(err, f.discard(temp))
	}
	if err := move(temp, path); err != nil {
		// Only a temporary file that was still there proves that nothing moved.
		if removed := f.ops().Remove(temp); removed != nil {
			return fmt.Errorf("%w: %w: %w", ErrUnknown, err, removed)
		}
		return classify(err)
	}
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return nil
}

func (f Files) writeTemp(temp string, parts [][]byte) error {
	file, err := f.ops().Open(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err == nil {
			err = writeAll(file, part)
		}
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func writeAll(file File, data []byte) error {
	n, err := file.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	return err
}

func (f Files) discard(temp string) error {
	if err := f.ops().Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// A temporary file is named after its target and ends in as many letters as 80
// random bits take, none of which is a dash: so the target can be told from it.
const (
	tempBits    = 80
	tempLetters = tempBits / 5
	tempSymbols = "abcdefghijklmnopqrstuvwxyz234567"
)

func tempPrefix(path string) string { return ".temp-" + filepath.Base(path) + "-" }

func (f Files) tempName(path string) (string, error) {
	var random [tempBits / 8]byte
	if _, err := io.ReadFull(f.random(), random[:]); err != nil {
		return "", fmt.Errorf("naming a temporary file: %w", err)
	}
	ending := base32.NewEncoding(tempSymbols).EncodeToString(random[:])
	return filepath.Join(filepath.Dir(path), tempPrefix(path)+ending), nil
}

// RemoveStaleTemps removes the temporary files that interrupted writes of path,
// and of no other file, left behind. The caller holds the lock under which path
// is written: a write that is under way would lose its file.
func (f Files) RemoveStaleTemps(path string) error {
	dir := filepath.Dir(path)
	err := f.CheckFolder(dir)
	if err != nil {
		return fmt.Errorf("removing temporary files of %s: %w", path, err)
	}
	entries, err := f.ops().ReadDir(dir)
	for _, entry := range entries {
		ending, found := strings.CutPrefix(entry.Name(), tempPrefix(path))
		if found && len(ending) == tempLetters && strings.Trim(ending, tempSymbols) == "" && entry.Type().IsRegular() {
			err = errors.Join(err, f.discard(filepath.Join(dir, entry.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("removing temporary files of %s: %w", path, classify(err))
	}
	return nil
}
