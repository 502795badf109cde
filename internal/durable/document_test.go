package durable_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/durable"
)

func TestWritesAreReadBackAndClosedToOthers(t *testing.T) {
	path := filepath.Join(newHome(t), "file")
	files := durable.Files{}
	for _, parts := range [][][]byte{{[]byte("one")}, {}, {[]byte("two "), nil, []byte("parts")}} {
		must(t, files.Write(path, parts...))
		got, err := files.Read(path, 9)
		if want := bytes.Join(parts, nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		info, err := os.Stat(path)
		if must(t, err); info.Mode() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
	if _, err := files.Read(path, 8); !errors.Is(err, durable.ErrTooLarge) {
		t.Errorf("nine bytes with a limit of eight: %v", err)
	}
}

func TestCreateNewKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(newHome(t), "file")
	files := durable.Files{}
	must(t, files.CreateNew(path, []byte("first")))
	if err := files.CreateNew(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second: %v", err)
	}
	if got := content(t, path); got != "first" || len(temps(t, filepath.Dir(path))) > 0 {
		t.Errorf("%q, beside %q", got, temps(t, filepath.Dir(path)))
	}
}

func TestStaleTempsOfOneFileOnlyAreRemoved(t *testing.T) {
	home := newHome(t)
	random := strings.Repeat("ab", 8)
	stale := []string{".temp-file-" + random, ".temp-file-" + strings.Repeat("z7", 8)}
	others := []string{
		"file", ".temp-file-", ".temp-file-short", ".temp-file-" + random + "x", ".temp-file-ABABABABABABABAB",
		".temp-file-2-" + random, ".temp-other-" + random, "temp-file-" + random,
	}
	for _, name := range append(stale, others...) {
		create(t, filepath.Join(home, name), "", 0o600)
	}
	folder(t, filepath.Join(home, ".temp-file-"+strings.Repeat("c", 16)), 0o700)
	others = append(others, ".temp-file-"+strings.Repeat("c", 16))
	must(t, durable.Files{}.RemoveStaleTemps(filepath.Join(home, "file")))
	left := map[string]bool{}
	entries, err := os.ReadDir(home)
	must(t, err)
	for _, entry := range entries {
		left[entry.Name()] = true
	}
	want := map[string]bool{}
	for _, name := range others {
		want[name] = true
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("what is left differs:\n%s", diff)
	}
}

func TestATempThatIsTakenIsNotOverwritten(t *testing.T) {
	path := create(t, filepath.Join(newHome(t), "file"), "old", 0o600)
	taken := create(t, filepath.Join(filepath.Dir(path), ".temp-file-"+strings.Repeat("a", 16)), "taken", 0o600)
	files := durable.Files{Rand: bytes.NewReader(make([]byte, 10))}
	if err := files.Write(path, []byte("new")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a random name that is taken: %v", err)
	}
	if err := files.Write(path, []byte("new")); err == nil {
		t.Error("written without randomness")
	}
	if content(t, path) != "old" || content(t, taken) != "taken" {
		t.Errorf("%q and %q", content(t, path), content(t, taken))
	}
}
