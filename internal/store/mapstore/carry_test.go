package mapstore_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

func wantCount(t *testing.T, s authority.Store, want int) {
	t.Helper()
	err := s.View(context.Background(), func(tx authority.Tx) error {
		n := 0
		for range tx.Tokens().All() {
			n++
		}
		if n != want {
			t.Errorf("%d tokens, want %d", n, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// storetestTime is a time at which the tokens of storetest are valid.
func storetestTime() time.Time { return storetest.Token(0).CreatedAt.Add(time.Hour) }

// generation makes the tokens of one generation the valid ones.
func generation(t *testing.T, s authority.Store, n uint64) {
	t.Helper()
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		return tx.System().Insert(authority.System{Generation: n})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// another is a token file of another home with n tokens from from.
func another(t *testing.T, from, n int) string {
	t.Helper()
	cfg := newHome(t, durable.Files{})
	s := open(t, cfg)
	fill(t, s, from, n)
	if err := create(s, from+n); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg.Tokens
}

func TestSwitchingCarriesEveryTokenAlong(t *testing.T) {
	cfg := newHome(t, durable.Files{})
	cfg.Now = storetestTime
	file := cfg.Tokens
	cfg.Tokens = ""
	s := open(t, cfg)
	generation(t, s, 1)
	live := &tokens{}
	if err := s.Follow(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 0, 5)
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		return tx.Receipts().Insert(authority.Receipt{Key: "r", TokenID: storetest.Token(1).ID})
	})
	if err != nil {
		t.Fatal(err)
	}
	to := func(path string, want mapstore.Carried) {
		t.Helper()
		got, err := s.SwitchTokens(context.Background(), path, agreed)
		if err != nil || got.Existing != want.Existing || got.Carried != want.Carried || got.CaughtUp.Any() {
			t.Fatalf("switched: %+v, %v; want %+v", got, err, want)
		}
		wantCount(t, s, want.Existing+want.Carried)
		live.compare(t, s)
	}
	to(file, mapstore.Carried{Carried: 5})
	if f := s.Facts(); !f.Persistent || f.Location != file || f.Kind != "json" {
		t.Errorf("facts %+v", f)
	}
	if err := create(s, 100); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := another(t, 1000, 3)
	to(other, mapstore.Carried{Existing: 4, Carried: 6})
	if err := create(s, 101); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, left) {
		t.Errorf("the file before changed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Tokens = other
	s = open(t, cfg)
	wantCount(t, s, 11)
	err = s.View(context.Background(), func(tx authority.Tx) error { _, err := tx.Receipts().Get("r"); return err })
	if err != nil {
		t.Errorf("the receipt did not come along: %v", err)
	}
	if sound, broken, err := s.VerifyAudit(context.Background()); err != nil || broken != 0 || sound == 0 {
		t.Errorf("the chain: %d sound, breaks at %d: %v", sound, broken, err)
	}
	live = &tokens{}
	if err := s.Follow(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	to("", mapstore.Carried{Carried: 11})
	if f := s.Facts(); f.Persistent {
		t.Errorf("facts %+v", f)
	}
	// The file that was left is free for others.
	b := newHome(t, durable.Files{})
	b.Tokens = other
	open(t, b)
}

func TestSwitchingToWhatCannotBeChangesNothing(t *testing.T) {
	cfg := newHome(t, durable.Files{})
	s := open(t, cfg)
	fill(t, s, 0, 5)
	twin := another(t, 4, 2)
	taken := newHome(t, durable.Files{})
	open(t, taken)
	damaged := another(t, 500, 2)
	write(t, damaged, []byte("{"))
	for path, word := range map[string]string{
		twin:                                 "is in " + twin + " too",
		taken.Tokens:                         "in use",
		damaged:                              "backup",
		filepath.Join(cfg.Home, "none.json"): "create it",
		"relative.json":                      "absolute",
	} {
		before, _ := os.ReadFile(path)
		if _, err := s.SwitchTokens(context.Background(), path, agreed); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", path, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s was changed", path)
		}
		if err := create(s, 100); err != nil && authority.KindOf(err) != authority.Conflict {
			t.Errorf("after %s: %v", path, err)
		}
	}
	wantCount(t, s, 6)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantCount(t, open(t, cfg), 6)
}

func TestSwitchingUnderLoadLosesNothing(t *testing.T) {
	cfg := newHome(t, durable.Files{})
	s := open(t, cfg)
	var made atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := w * 10_000; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := create(s, n); err != nil {
					t.Error(err)
					return
				}
				made.Add(1)
			}
		})
	}
	last := ""
	for i := range 4 {
		last = filepath.Join(cfg.Home, "next"+string(rune('a'+i))+".json")
		write(t, last, nil)
		if _, err := s.SwitchTokens(context.Background(), last, agreed); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Tokens = last
	wantCount(t, open(t, cfg), int(made.Load()))
}

func TestASwitchThatFailsCanBeTriedAgain(t *testing.T) {
	for at := 1; ; at++ {
		cfg := newHome(t, durable.Files{})
		next := filepath.Join(cfg.Home, "next.json")
		write(t, next, nil)
		gate := &gated{}
		cfg.Files = durable.Files{Ops: gate}
		s := open(t, cfg)
		fill(t, s, 0, 3)
		faulty := &durabletest.Faults{At: at, Err: unix.EIO}
		gate.set(faulty)
		_, err := s.SwitchTokens(context.Background(), next, agreed)
		gate.set(durable.System{})
		wantCount(t, s, 3)
		if err != nil {
			if err := create(s, 50); err != nil {
				t.Fatalf("at %d: %v", at, err)
			}
			if s.Facts().Location != cfg.Tokens {
				t.Fatalf("at %d: it failed and is at %s", at, s.Facts().Location)
			}
			if _, err := s.SwitchTokens(context.Background(), next, agreed); err != nil {
				t.Fatalf("at %d (%s): again: %v, %v", at, faulty.Hit(), err, errors.Unwrap(err))
			}
			wantCount(t, s, 4)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if faulty.Hit() == "" {
			return
		}
	}
}

// gated is a file system that can be exchanged.
type gated struct{ now atomic.Pointer[durable.Ops] }

func (g *gated) set(o durable.Ops) { g.now.Store(&o) }

func (g *gated) ops() durable.Ops {
	if o := g.now.Load(); o != nil {
		return *o
	}
	return durable.System{}
}

func (g *gated) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	return g.ops().Open(path, flag, perm)
}
func (g *gated) Lstat(path string) (fs.FileInfo, error)     { return g.ops().Lstat(path) }
func (g *gated) Readlink(path string) (string, error)       { return g.ops().Readlink(path) }
func (g *gated) ReadDir(path string) ([]fs.DirEntry, error) { return g.ops().ReadDir(path) }
func (g *gated) Rename(from, to string) error               { return g.ops().Rename(from, to) }
func (g *gated) RenameNew(from, to string) error            { return g.ops().RenameNew(from, to) }
func (g *gated) Remove(path string) error                   { return g.ops().Remove(path) }

// agreed commits a switch.
func agreed() error { return nil }

func TestASwitchThatIsNotCommittedIsUndone(t *testing.T) {
	cfg := newHome(t, durable.Files{})
	s := open(t, cfg)
	fill(t, s, 0, 3)
	next := another(t, 10, 2)
	before, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	for _, path := range []string{next, ""} {
		if _, err := s.SwitchTokens(context.Background(), path, func() error { return refused }); !errors.Is(err, refused) {
			t.Fatalf("got %v", err)
		}
		wantCount(t, s, 3)
		if s.Facts().Location != cfg.Tokens {
			t.Errorf("the store is at %s", s.Facts().Location)
		}
	}
	after, err := os.ReadFile(next)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file that was not switched to has changed: %v", err)
	}
	if err := create(s, 4); err != nil {
		t.Error(err)
	}
}
