package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A file system that can rename without replacing never takes this way.
func TestLinkingIsANewNameThatReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, want := range []error{nil, fs.ErrExist} {
		if err := os.WriteFile(from, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := linkNew(from, to); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		_, err := os.Lstat(from)
		if moved := errors.Is(err, fs.ErrNotExist); moved != (want == nil) {
			t.Errorf("the first name is gone: %v", moved)
		}
	}
	if data, err := os.ReadFile(to); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
}
