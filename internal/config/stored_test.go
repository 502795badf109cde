package config_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/corpora"
	"mintmark/internal/durable"
)

// parts are the places of a book where a document of the corpus is put.
func parts() map[string]string {
	return map[string]string{
		"revision":        `"revision": 1`,
		"applied":         `"applied": {` + "\n    " + `"tokens.lifetime.default": "30d"` + "\n  }",
		"applied value":   `"tokens.lifetime.default": "30d"`,
		"staged value":    `"tokens.copy": "never"`,
		"author":          `"name": "maria"`,
		"time":            `"staged_at": "2026-11-23T14:08:02.5Z"`,
		"change":          `"id": 1`,
		"items":           `"tokens.copy": "(unset) -\u003e never"`,
		"last change":     `"last_change": 2`,
		"a member's name": `"staged"`,
	}
}

// Whatever is put in any place of a book: only what is one JSON value of the
// right kind, written as the book writes it, opens.
func TestNoDocumentOfTheCorpusIsTakenForAPartOfABook(t *testing.T) {
	t.Parallel()
	book := sample(t)
	documents := corpora.JSON(t)
	for place, old := range parts() {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			name, _, isValue := strings.Cut(old, ": ")
			if !strings.Contains(book, old) {
				t.Fatalf("the book does not hold %s:\n%s", old, book)
			}
			for file, data := range documents {
				with := string(data)
				if isValue {
					with = name + ": " + with
				}
				text := sealed(t, book, func(s string) string { return strings.Replace(s, old, with, 1) })
				b, err := open(text)
				switch {
				case err == nil && !strings.HasPrefix(file, "y_"):
					t.Errorf("%s opens", file)
				case err == nil:
					_, _, _ = b.Preview(config.Layers{})
				case !json.Valid([]byte(text)) && strings.Contains(err.Error(), "checksum"):
					t.Errorf("%s is read: %v", file, err)
				}
			}
		})
	}
}

// What a property takes from the corpus, it takes in one form, and the book
// keeps it as it is.
func TestValuesOfTheCorpusAreRefusedOrKept(t *testing.T) {
	t.Parallel()
	documents := corpora.JSON(t)
	for _, p := range config.Catalogue() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			taken := 0
			b, s := create(t, nil)
			for file, data := range documents {
				value := string(data)
				canonical, err := p.Canonical(value)
				stageErr := b.Stage(p.Name, &value, maria, t0)
				if (err == nil) != (stageErr == nil) {
					t.Fatalf("%s: %v, and staged: %v", file, err, stageErr)
				}
				if err != nil {
					continue
				}
				taken++
				if again, err := p.Canonical(canonical); err != nil || again != canonical {
					t.Errorf("%s: %q becomes %q, %v", file, canonical, again, err)
				}
				staged, _, _ := reopen(t, s).Staged()
				if staged[p.Name] == nil || *staged[p.Name] != canonical {
					t.Errorf("%s: %q is kept as %v", file, canonical, staged[p.Name])
				}
			}
			if p.Type != "list" && p.Type != "number" && taken > 0 {
				t.Errorf("%d documents are of type %s", taken, p.Type)
			}
		})
	}
}

// first is the book of testdata/v1, made anew.
func first(t *testing.T) (*config.Book, *shelf) {
	t.Helper()
	b, s := create(t, map[string]string{
		config.Listen: "127.0.0.1:3000", config.Issuer: "http://127.0.0.1:3000", config.Audience: "http://127.0.0.1:3000,https://api.example",
		config.Store: "/var/lib/mintmark/token.json",
	})
	at := func(i int) time.Time { return t0.Add(time.Duration(i) * time.Hour) }
	never, text, month := "never", "debug", "30d"
	for i, step := range []func() error{
		func() error { return b.Stage(config.Copy, &never, maria, at(1)) },
		func() error { return b.Stage(config.Store, nil, maria, at(2)) },
		func() error { _, _, err := b.Apply(1, root, at(3)); return err },
		func() error { return b.RecordedThrough(4) },
		func() error {
			return b.Stage(config.LogLevel, &text, config.Author{Kind: "admin", Name: "zoë <&>", From: "2001:db8::1"}, at(4))
		},
		func() error { return b.Stage(config.Lifetime, &month, maria, at(5)) },
		func() error { return b.Stage(config.Copy, nil, maria, at(6)) },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	return b, s
}

// A book of every release opens. With MINTMARK_UPDATE=1 a missing one is
// written; one that is there is never changed.
func TestTheStoredFormOfVersion1StaysAsItIs(t *testing.T) {
	t.Parallel()
	_, s := first(t)
	path := filepath.Join("testdata", "v1", "config.json")
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && os.Getenv("MINTMARK_UPDATE") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(s.files[bookPath]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	same(t, path, s.files[bookPath], string(want))
}

func TestABookOfVersion1Opens(t *testing.T) {
	t.Parallel()
	stored, err := os.ReadFile(filepath.Join("testdata", "v1", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := config.Open(durable.Files{}, path)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := first(t)
	same(t, "the book", text(b), text(want))
	if _, _, err := b.Preview(config.Layers{}); err != nil {
		t.Errorf("what is staged in it: %v", err)
	}
	same(t, "the next revision", apply(t, b), uint64(3))
	if _, err := config.Open(durable.Files{}, path); err != nil {
		t.Errorf("after an apply: %v", err)
	}
}
