package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/durable"
)

// tracing writes down what a power failure could tell apart, in order.
type tracing struct {
	durable.System
	trace *[]string
}

func (t tracing) note(operation, path string) {
	name := filepath.Base(path)
	if strings.HasPrefix(name, ".temp-") {
		name = "temp"
	}
	*t.trace = append(*t.trace, operation+" "+name)
}

func (t tracing) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	file, err := t.System.Open(path, flag, perm)
	return tracedFile{file, t, path}, err
}

func (t tracing) Rename(from, to string) error {
	t.note("rename", to)
	return t.System.Rename(from, to)
}

func (t tracing) RenameNew(from, to string) error {
	t.note("rename new", to)
	return t.System.RenameNew(from, to)
}

type tracedFile struct {
	durable.File
	by   tracing
	path string
}

func (f tracedFile) Write(p []byte) (int, error) { f.by.note("write", f.path); return f.File.Write(p) }
func (f tracedFile) Sync() error                 { f.by.note("sync", f.path); return f.File.Sync() }
func (f tracedFile) Truncate(size int64) error {
	f.by.note("truncate", f.path)
	return f.File.Truncate(size)
}

func TestAnswersOnlyAfterTheDiskHasIt(t *testing.T) {
	var trace []string
	files := durable.Files{Ops: tracing{trace: &trace}}
	home := filepath.Join(t.TempDir(), "home")
	must(t, os.Mkdir(home, 0o700))
	torn := create(t, filepath.Join(home, "torn"), "one\nt", 0o600)
	var log *durable.Log
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{
			"Write", func() error { return files.Write(filepath.Join(home, "file"), []byte("a"), []byte("b")) },
			[]string{"write temp", "write temp", "sync temp", "rename file", "sync home"},
		},
		{
			"CreateNew", func() error { return files.CreateNew(filepath.Join(home, "log"), []byte("a\n")) },
			[]string{"write temp", "sync temp", "rename new log", "sync home"},
		},
		{"OpenLog", func() (err error) { log, err = files.OpenLog(filepath.Join(home, "log")); return err }, []string{"sync log"}},
		{"Append", func() error { return log.Append([]byte("b"), []byte("c")) }, []string{"write log", "sync log"}},
		{"OpenLog of a torn log", func() (err error) { log, err = files.OpenLog(torn); return err }, []string{"sync torn"}},
		{
			"Append to a torn log", func() error { return log.Append([]byte("two")) },
			[]string{"truncate torn", "sync torn", "write torn", "sync torn"},
		},
	} {
		trace = nil
		must(t, step.do())
		if diff := cmp.Diff(step.want, trace); diff != "" {
			t.Errorf("%s does otherwise:\n%s", step.name, diff)
		}
	}
}
