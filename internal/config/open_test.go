package config_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"mintmark/internal/config"
	"mintmark/internal/corpora"
)

// sealed changes the text of a book and gives it the checksum that fits.
func sealed(t testing.TB, book string, change func(string) string) string {
	t.Helper()
	line := regexp.MustCompile(`"checksum": "[^"]*"`)
	empty := change(line.ReplaceAllString(book, `"checksum": ""`))
	sum := sha256.Sum256([]byte(strings.TrimSuffix(empty, "\n")))
	return strings.Replace(empty, `"checksum": ""`, `"checksum": "sha256:`+hex.EncodeToString(sum[:])+`"`, 1)
}

func sample(t testing.TB) string {
	t.Helper()
	s := newShelf()
	b, err := config.Create(s, bookPath, map[string]string{config.Lifetime: "30d"}, root, t0)
	if err != nil {
		t.Fatal(err)
	}
	value := "never"
	if err := b.Stage(config.Copy, &value, maria, t0); err != nil {
		t.Fatal(err)
	}
	return s.files[bookPath]
}

func open(text string) (*config.Book, error) {
	s := newShelf()
	s.files[bookPath] = text
	return config.Open(s, bookPath)
}

func TestABookWithAnotherReadingIsRefusedByName(t *testing.T) {
	t.Parallel()
	book := sample(t)
	if _, err := open(sealed(t, book, func(s string) string { return s })); err != nil {
		t.Fatalf("the unchanged book: %v", err)
	}
	replace := func(old, with string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("the book does not hold %s", old)
			}
			return strings.Replace(s, old, with, 1)
		}
	}
	for name, c := range map[string]struct {
		change func(string) string
		want   string
	}{
		"unknown member":          {replace(`"revision"`, `"colour": 1,`+"\n  "+`"revision"`), `unknown member "colour"`},
		"member in another case":  {replace(`"revision"`, `"Revision"`), `unknown member "Revision"`},
		"member twice":            {replace(`"revision": 1,`, `"revision": 1, "revision": 2,`), `member "revision" is there twice`},
		"property twice":          {replace(`"tokens.lifetime.default": "30d"`, `"tokens.lifetime.default": "30d", "tokens.lifetime.default": "60d"`), "is there twice"},
		"unknown property":        {replace(`"tokens.lifetime.default"`, `"tokens.lifetime.defualt"`), "tokens.lifetime.defualt: there is no such property"},
		"unknown staged property": {replace(`"tokens.copy"`, `"tokens.copies"`), "tokens.copies: there is no such property"},
		"alias":                   {replace(`"tokens.lifetime.default": "30d"`, `"`+config.StoreAlias+`": "/a.json"`), "there is no such property"},
		"number for a text":       {replace(`"30d"`, `30`), "cannot be a number"},
		"another format":          {replace(`mintmark-config/1`, `mintmark-config/2`), "its format is not mintmark-config/1"},
		"applied is missing":      {replace(`"applied": {`+"\n    "+`"tokens.lifetime.default": "30d"`+"\n  }", `"applied": null`), "properties are missing"},
		"other spaces":            {replace(`"revision": 1`, `"revision":  1`), "its checksum does not match"},
		"something behind it":     {func(s string) string { return s + "{}" }, "something follows the value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := open(sealed(t, book, c.change))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), bookPath) {
				t.Errorf("got %v, want %q and the file", err, c.want)
			}
		})
	}
}

func TestEveryChangedByteOfABookShows(t *testing.T) {
	t.Parallel()
	book := []byte(sample(t))
	for i := range book {
		changed := bytes.Clone(book)
		changed[i] ^= 1
		if _, err := open(string(changed)); err == nil {
			t.Errorf("byte %d (%q) can change", i, book[i])
		}
		if _, err := open(string(book[:i])); err == nil {
			t.Errorf("it can end at byte %d", i)
		}
	}
}

func TestCreateRefusesWhatDoesNotResolveAndStoresCanonicalTexts(t *testing.T) {
	t.Parallel()
	for _, applied := range []map[string]string{{"colour": "blue"}, {config.Copy: "maybe"}, {config.Drain: ""}, {config.Key: "/k.pem"}} {
		s := newShelf()
		if _, err := config.Create(s, bookPath, applied, root, t0); err == nil || len(s.files) != 0 {
			t.Errorf("%v: %v, %d files", applied, err, len(s.files))
		}
	}
	given := map[string]string{config.Lifetime: "720h"}
	b, s := create(t, given)
	given[config.Lifetime] = "changed by the caller"
	for _, b := range []*config.Book{b, reopen(t, s)} {
		_, applied := b.Applied()
		same(t, "applied", applied, map[string]string{config.Lifetime: "30d"})
	}
}

func TestNoDocumentOfTheCorpusIsTakenForABook(t *testing.T) {
	t.Parallel()
	for name, data := range corpora.JSON(t) {
		if _, err := open(string(data)); err == nil {
			t.Errorf("%s is a book", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	book := sample(f)
	f.Add(book)
	f.Add(sealed(f, book, func(s string) string { return strings.Replace(s, `"never"`, "null", 1) }))
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, text := range []string{text, sealed(t, text, func(s string) string { return s })} {
			s := newShelf()
			s.files[bookPath] = text
			b, err := config.Open(s, bookPath)
			if err != nil {
				continue
			}
			// What opens prints back: staging a value and taking it back leaves
			// a book that opens, too.
			_, applied := b.Applied()
			_, _, _ = b.Preview(config.Layers{})
			value := "17m"
			if applied[config.LoginPause] == value {
				value = "18m"
			}
			if err := b.Stage(config.LoginPause, &value, maria, t0); err != nil {
				continue
			}
			if _, err := config.Open(s, bookPath); err != nil {
				t.Fatalf("written and not opened: %v", err)
			}
		}
	})
}
