package mapstore_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/corpora"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

// wantRefused finds the store refused with a message that names the file and a
// remedy, and the file left as it was.
func wantRefused(t *testing.T, cfg mapstore.Config, path, remedy string, text []byte) {
	t.Helper()
	s, err := mapstore.Open(cfg)
	if err == nil {
		_ = s.Close()
		t.Fatalf("%s: started", path)
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), remedy) {
		t.Fatalf("the message names %q and %q not: %v", path, remedy, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
		t.Fatalf("the file changed: %v", err)
	}
}

// sized is a home whose token file and state have about 4 KiB each.
func sized(t *testing.T) (mapstore.Config, map[string][]byte) {
	t.Helper()
	dir := fastHome(t)
	template(t, dir)
	cfg := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Now: time.Now}
	s, err := mapstore.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 10, 7)
	err = s.Update(context.Background(), func(tx authority.Tx) error {
		for _, name := range strings.Fields("ann bob cid dan eve fay gil hal ida joe") {
			if err := tx.Admins().Insert(authority.Admin{Name: name, PasswordHash: strings.Repeat("x", 300), CreatedAt: storetest.Token(0).CreatedAt}); err != nil {
				return err
			}
		}
		return tx.Audit().Append(authority.Event{At: storetest.Token(0).CreatedAt, Action: "admin.created"})
	})
	if err == nil {
		err = create(s, 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, path := range []string{cfg.Tokens, filepath.Join(dir, mapstore.StateFile)} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) < 3<<10 || len(text) > 6<<10 {
			t.Fatalf("%s has %d bytes", path, len(text))
		}
		files[path] = text
	}
	return cfg, files
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFlippedByteAndEveryTruncationIsRefused: here one bit of each byte, and
// all of them in TestNoFlippedBitIsRead.
func TestEveryFlippedByteAndEveryTruncationIsRefused(t *testing.T) {
	if elsewhere(t) {
		return
	}
	cfg, files := sized(t)
	for path, text := range files {
		for i := range text {
			bad := slices.Clone(text)
			bad[i] ^= 1 << (i % 8)
			write(t, path, bad)
			wantRefused(t, cfg, path, "backup", bad)
			write(t, path, text[:i])
			wantRefused(t, cfg, path, "backup", text[:i])
		}
		for _, bad := range [][]byte{append(slices.Clone(text), '\n'), append([]byte(" "), text...), append(slices.Clone(text), text...)} {
			write(t, path, bad)
			wantRefused(t, cfg, path, "backup", bad)
		}
		write(t, path, text)
	}
	open(t, cfg)
}

// eventsIn answers the whole audit log of a home, oldest first.
func eventsIn(t *testing.T, cfg mapstore.Config) []authority.Event {
	t.Helper()
	s, err := mapstore.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return events(t, s)
}

// events answers the whole audit log of a store, oldest first.
func events(t *testing.T, s *mapstore.Store) []authority.Event {
	t.Helper()
	var page authority.AuditPage
	err := s.View(context.Background(), func(tx authority.Tx) (err error) {
		page, err = tx.Audit().Page(authority.AuditQuery{Limit: 500})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(page.Events)
	return page.Events
}

// TestADamagedAuditLogIsRefusedOrWhole: what a crash can leave behind, a torn
// last line, is made whole from the file that was written with it; everything
// else is refused and left as it is.
func TestADamagedAuditLogIsRefusedOrWhole(t *testing.T) {
	if elsewhere(t) {
		return
	}
	cfg, files := sized(t)
	s := open(t, cfg)
	for n := 20; n < 24; n++ {
		if err := create(s, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Home, mapstore.AuditFile)
	for _, p := range []string{path, cfg.Tokens, filepath.Join(cfg.Home, mapstore.StateFile)} {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[p] = text
	}
	whole, text := eventsIn(t, cfg), files[path]
	refused, mended := 0, 0
	try := func(bad []byte) {
		t.Helper()
		for p, was := range files {
			write(t, p, was)
		}
		write(t, path, bad)
		s, err := mapstore.Open(cfg)
		if err != nil {
			refused++
			for _, word := range []string{path, "backup", "mv " + path} {
				if !strings.Contains(err.Error(), word) {
					t.Fatalf("no %q in: %v", word, err)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
				t.Fatalf("the file changed: %v", err)
			}
			return
		}
		mended++
		if d := cmp.Diff(whole, events(t, s)); d != "" {
			t.Fatalf("started with another log:\n%s", d)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
			t.Fatalf("it was not made whole: %v", err)
		}
	}
	for i := range text {
		if i > 0 { // an empty one is what goes on after a loss
			try(text[:i])
		}
		for _, mask := range []byte{1 << (i % 8), 0x20} {
			bad := slices.Clone(text)
			bad[i] ^= mask
			try(bad)
		}
	}
	if last := len(text) - bytes.LastIndexByte(text[:len(text)-1], '\n'); refused < 2*(len(text)-last) || mended == 0 {
		t.Errorf("%d of %d bytes: %d refused, %d made whole", last, len(text), refused, mended)
	}
}

func TestAnEmptyAuditLogGoesOnWhereTheFilesEnd(t *testing.T) {
	cfg, _ := sized(t)
	path := filepath.Join(cfg.Home, mapstore.AuditFile)
	before := eventsIn(t, cfg)
	for _, change := range []func(*mapstore.Store) error{
		func(s *mapstore.Store) error { return create(s, 30) },
		func(s *mapstore.Store) error {
			return s.Update(context.Background(), func(tx authority.Tx) error {
				return tx.Audit().Append(authority.Event{Action: "looked"})
			})
		},
	} {
		s, err := mapstore.Open(cfg)
		if err == nil {
			err = errors.Join(change(s), s.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, nil)
		s, err = mapstore.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := create(s, 40+len(before)); err != nil {
			t.Fatal(err)
		}
		now := events(t, s)
		if last := now[len(now)-1]; last.Seq <= before[len(before)-1].Seq {
			t.Errorf("event %d comes after event %d", last.Seq, before[len(before)-1].Seq)
		}
		if _, broken, err := s.VerifyAudit(context.Background()); err != nil || broken != 0 {
			t.Errorf("the chain breaks at %d: %v", broken, err)
		}
		before = now
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	cfg, files := sized(t)
	fresh := filepath.Join(cfg.Home, "fresh.json")
	texts := map[string][]byte{
		"list": []byte("[]"), "null": []byte("null"), "number": []byte("0"), "other": []byte(`{"tokens":[]}`), "twice": []byte("{}{}"), "nul": {0},
		"other room": files[filepath.Join(cfg.Home, mapstore.StateFile)],
		"newer":      []byte(`{"format":"mintmark-tokens/2","revision":1}`), "newer state": []byte(`{"format":"mintmark-state/2","revision":1}`),
	}
	maps.Copy(texts, corpora.JSON(t))
	for _, text := range texts {
		for path, was := range files {
			if bytes.Equal(text, was) {
				continue
			}
			write(t, path, text)
			wantRefused(t, cfg, path, "backup", text)
			write(t, path, was)
		}
		if body := string(bytes.TrimSpace(text)); body == "" || body == "{}" {
			continue // this is how a new store looks
		}
		write(t, fresh, text)
		other := cfg
		other.Tokens = fresh
		wantRefused(t, other, fresh, "backup", text)
	}
}

func TestANewerFormatIsRefusedByName(t *testing.T) {
	cfg, files := sized(t)
	for path, text := range files {
		write(t, path, bytes.Replace(text, []byte("/1\""), []byte("/2\""), 1))
		_, err := mapstore.Open(cfg)
		if err == nil || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("%s: %v", path, err)
		}
		write(t, path, text)
	}
}

func TestAnEmptyFileIsANewStoreOnlyOnce(t *testing.T) {
	for _, text := range []string{"", "{}", "{}\n", " \n"} {
		cfg := newHome(t, durable.Files{})
		write(t, cfg.Tokens, []byte(text))
		s := open(t, cfg)
		if got := s.Opened(); !got.New || got.Tokens != 0 {
			t.Errorf("%q: opened %+v", text, got)
		}
		fill(t, s, 0, 3)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if got := s.Opened(); got.New || got.Tokens != 3 {
			t.Errorf("%q: opened again %+v", text, got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, cfg.Tokens, []byte(text))
		wantRefused(t, cfg, cfg.Tokens, "lost", []byte(text))
		// The same file by another name of its folder is the same file.
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(filepath.Dir(cfg.Home), link); err != nil {
			t.Fatal(err)
		}
		cfg.Tokens = filepath.Join(link, filepath.Base(cfg.Home), "tokens.json")
		wantRefused(t, cfg, cfg.Tokens, "lost", []byte(text))
	}
}

func TestAMissingFileIsLostOrToBeMade(t *testing.T) {
	cfg := newHome(t, durable.Files{})
	remove := func(path string) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	wantError := func(words ...string) {
		t.Helper()
		_, err := mapstore.Open(cfg)
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("no %q in: %v", w, err)
			}
		}
	}
	remove(cfg.Tokens)
	wantError("create it: touch " + cfg.Tokens + " && chmod 600 " + cfg.Tokens)
	write(t, cfg.Tokens, nil)
	s := open(t, cfg)
	if err := create(s, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remove(cfg.Tokens)
	wantError(cfg.Tokens, "lost", "backup")
	log := filepath.Join(cfg.Home, mapstore.AuditFile)
	remove(log)
	wantError(log, "missing", "touch")
	state := filepath.Join(cfg.Home, mapstore.StateFile)
	remove(state)
	wantError(state, "lost", "backup")
	cfg.Home = ""
	wantError("home")
}

func TestCreateRefusesAHomeThatIsThere(t *testing.T) {
	cfg := newHome(t, durable.Files{})
	if err := mapstore.Create(cfg); err == nil {
		t.Error("created twice")
	}
	if err := os.Remove(filepath.Join(cfg.Home, mapstore.AuditFile)); err != nil {
		t.Fatal(err)
	}
	if err := mapstore.Create(cfg); err == nil {
		t.Error("created over a state")
	}
}

func TestASecondOpenerIsRefused(t *testing.T) {
	a, b := newHome(t, durable.Files{}), newHome(t, durable.Files{})
	s := open(t, a)
	b.Tokens = a.Tokens
	if _, err := mapstore.Open(b); err == nil || !strings.Contains(err.Error(), a.Tokens) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the second home: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, b)
}
