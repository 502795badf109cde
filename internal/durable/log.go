package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// Log is a file of lines that only grows. Its methods may be called
// concurrently; appends follow one another, and reading does not wait for them.
// Between processes it relies on the lock its owner holds.
type Log struct {
	files Files
	path  string
	torn  int64

	appending sync.Mutex // one append at a time; held over its fsync
	suspect   bool       // bytes after size may be on the disk
	buffer    []byte

	reading sync.RWMutex // guards what is below for readers; never held over an fsync
	file    File
	size    int64
	closed  bool
}

// OpenLog opens a log, which must pass CheckFile. It never creates one: a
// missing log is a lost one and matches fs.ErrNotExist; CreateNew makes an empty
// one. What follows the last line end was never acknowledged and is no part of
// the log; Torn tells how much there is. The file itself is as it was until the
// next Append, which cuts it off first. A line that was whole but not
// acknowledged stays. The content of lines is not checked.
func (f Files) OpenLog(path string) (*Log, error) {
	file, info, err := f.open(path, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return nil, fmt.Errorf("opening log %s: %w", path, err)
	}
	size, err := lastLineEnd(file, info.Size())
	if err == nil {
		err = file.Sync() // nobody builds on a line a power failure could still take
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("opening log %s: %w", path, classify(err))
	}
	torn := info.Size() - size
	return &Log{files: f, path: path, file: file, size: size, torn: torn, suspect: torn > 0}, nil
}

// lastLineEnd returns the offset after the last line end before size, or 0.
func lastLineEnd(file File, size int64) (int64, error) {
	chunk := make([]byte, 64<<10)
	for end := size; end > 0; {
		part := chunk[:min(end, int64(len(chunk)))]
		end -= int64(len(part))
		if n, err := file.ReadAt(part, end); n < len(part) {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return end + int64(i) + 1, nil
		}
	}
	return 0, nil
}

// Torn returns how many bytes of a torn line OpenLog found.
func (l *Log) Torn() int64 { return l.torn }

// Append adds the records, each as one line, with one write and one fsync. They
// are durable, all of them, when it returns nil. After an error none of them is
// in the log, and the next Append may be tried; but after one that matches
// ErrUnknown they may come back when the log is opened again. Until the log is
// mended, which each Append tries first, every Append fails.
func (l *Log) Append(records ...[]byte) error {
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.closed {
		return fmt.Errorf("appending to %s: %w", l.path, fs.ErrClosed)
	}
	l.buffer = l.buffer[:0]
	for _, record := range records {
		if bytes.IndexByte(record, '\n') >= 0 {
			return fmt.Errorf("appending to %s: a record has a line end in it", l.path)
		}
		l.buffer = append(append(l.buffer, record...), '\n')
	}
	if l.suspect {
		if err := l.rollback(); err != nil {
			return fmt.Errorf("appending to %s: the log is broken since an earlier error: %w", l.path, err)
		}
	}
	if len(l.buffer) == 0 {
		return nil
	}
	err := writeAll(l.file, l.buffer)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.suspect = true
		if undone := l.rollback(); undone != nil {
			return fmt.Errorf("appending to %s: %w: %w: undoing it: %w", l.path, ErrUnknown, classify(err), undone)
		}
		return fmt.Errorf("appending to %s: %w", l.path, classify(err))
	}
	l.reading.Lock()
	l.size += int64(len(l.buffer))
	l.reading.Unlock()
	return nil
}

// rollback cuts the log to the length it last acknowledged. It does so through a
// new descriptor: the fsync of the old one may have failed, and the cut makes
// the last page dirty again, so that the new one's fsync writes it.
func (l *Log) rollback() error {
	file, info, err := l.files.open(l.path, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return err
	}
	if err := l.cut(file, info); err != nil {
		_ = file.Close()
		return classify(err)
	}
	l.reading.Lock()
	old := l.file
	l.file = file
	l.reading.Unlock()
	l.suspect = false
	_ = old.Close()
	return nil
}

func (l *Log) cut(file File, info fs.FileInfo) error {
	was, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(was, info) {
		return errors.New("another file is in its place")
	}
	if info.Size() < l.size {
		return fmt.Errorf("it has %d bytes, %d were acknowledged", info.Size(), l.size)
	}
	if err := file.Truncate(l.size); err != nil {
		return err
	}
	if end, err := lastLineEnd(file, l.size); err != nil || end != l.size {
		return errors.Join(err, errors.New("it does not end where it ended"))
	}
	return file.Sync()
}

// Size returns the length in bytes of what has been acknowledged.
func (l *Log) Size() int64 {
	l.reading.RLock()
	defer l.reading.RUnlock()
	return l.size
}

// ReadAt is io.ReaderAt over what has been acknowledged.
func (l *Log) ReadAt(p []byte, offset int64) (int, error) {
	l.reading.RLock()
	defer l.reading.RUnlock()
	return io.NewSectionReader(l.file, 0, l.size).ReadAt(p, offset)
}

// Close releases the file; every later call fails.
func (l *Log) Close() error {
	l.appending.Lock()
	defer l.appending.Unlock()
	l.reading.Lock()
	defer l.reading.Unlock()
	l.closed = true
	return l.file.Close()
}
