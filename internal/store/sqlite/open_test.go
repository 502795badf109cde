package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/storetest"
)

func change(t *testing.T, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatCannotBeReliedOnIsRefusedAndLeftAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"empty":   {func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, "no store"},
		"missing": {func(t *testing.T, path string) { must(t, os.Remove(path)) }, "missing"},
		"not a database": {func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.Repeat("{}\n", 400)), 0o600))
		}, "not a database"},
		"another program's": {func(t *testing.T, path string) { change(t, path, "PRAGMA application_id = 7") }, "another program"},
		"newer":             {func(t *testing.T, path string) { change(t, path, "UPDATE head SET major = major + 1") }, "start the version"},
		"open to others":    {func(t *testing.T, path string) { must(t, os.Chmod(path, 0o640)) }, "chmod 600"},
		"a link": {func(t *testing.T, path string) {
			must(t, errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path)))
		}, "link"},
		"in an open folder": {func(t *testing.T, path string) { must(t, os.Chmod(filepath.Dir(path), 0o755)) }, "chmod 700"},
		"damaged":           {func(t *testing.T, path string) { damage(t, path) }, "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newFile(t)
			s := open(t, cfg)
			must(t, s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(storetest.Token(1)) }))
			must(t, s.Close())
			c.spoil(t, cfg.Path)
			before, _ := os.ReadFile(cfg.Path)
			again, err := sqlite.Open(context.Background(), cfg)
			if err == nil {
				_ = again.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if after, _ := os.ReadFile(cfg.Path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// damage overwrites the pages behind the first.
func damage(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	for i := 4096; i < len(text); i++ {
		text[i] = 0xA5
	}
	must(t, os.WriteFile(path, text, 0o600))
}

// What goes wrong with a file under an open store is said as what it is: a file is
// not out of reach.
func TestAFileThatGoesBadUnderAnOpenStoreIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"damaged": {damage, "The file of the database is damaged; nothing was changed."},
		"gone":    {func(t *testing.T, path string) { must(t, os.Rename(path, path+".away")) }, "The file of the database cannot be opened; nothing was changed."},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newFile(t)
			s := open(t, cfg)
			must(t, s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(storetest.Token(1)) }))
			must(t, s.Close())
			s = open(t, cfg)
			c.spoil(t, cfg.Path)
			count := func(tx authority.Tx) error { _, err := tx.Tokens().Counts(cfg.Now(), 1); return err }
			err := s.View(context.Background(), func(tx authority.Tx) error {
				// While one connection is in use another is opened.
				return errors.Join(count(tx), s.View(context.Background(), count))
			})
			if e, ok := errors.AsType[*authority.Error](err); !ok || e.Kind != authority.Unavailable || e.Msg != c.want {
				t.Errorf("%v, %#v", err, err)
			}
		})
	}
}

// TestAnOlderProgramWorksOnANewerMinorSchema adds what this one does not know.
func TestAnOlderProgramWorksOnANewerMinorSchema(t *testing.T) {
	cfg := newFile(t)
	change(t, cfg.Path, "UPDATE head SET minor = minor + 5; ALTER TABLE tokens ADD COLUMN novelty text")
	s := open(t, cfg)
	must(t, s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(storetest.Token(1)) }))
}

func TestAFileHasOneProcess(t *testing.T) {
	cfg := newFile(t)
	s := open(t, cfg)
	_, err := sqlite.Open(context.Background(), cfg)
	if _, locked := errors.AsType[*durable.LockedError](err); !locked {
		t.Fatalf("opened twice: %v", err)
	}
	must(t, s.Close())
	must(t, open(t, cfg).Close())
}

func TestAStoreIsMadeOnceAndForItselfAlone(t *testing.T) {
	cfg := newFile(t)
	if err := sqlite.Create(context.Background(), cfg); err == nil {
		t.Error("made twice")
	}
	open(t, cfg)
	for _, path := range []string{cfg.Path, cfg.Path + "-wal", cfg.Path + "-shm", cfg.Path + ".lock"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}
