package mapstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
)

// held is a file system whose renames wait, and then answer an error or are
// done.
type held struct {
	durable.System
	renames chan error
}

func (h *held) Rename(from, to string) error {
	if err := <-h.renames; err != nil {
		return err
	}
	return h.System.Rename(from, to)
}

func heldStore(t *testing.T) (*Store, *held) {
	t.Helper()
	home := t.TempDir()
	cfg := Config{Home: home, Tokens: filepath.Join(home, "tokens.json"), Now: time.Now}
	if err := errors.Join(os.Chmod(home, 0o700), Create(cfg), CreateTokens(cfg.Files, cfg.Tokens)); err != nil {
		t.Fatal(err)
	}
	first, err := Open(cfg)
	if err == nil {
		err = first.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &held{renames: make(chan error)}
	cfg.Files.Ops = h
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, h
}

// insertion answers a channel with the answer of inserting a token.
func insertion(ctx context.Context, s *Store, id authority.TokenID) <-chan error {
	answer := make(chan error, 1)
	go func() {
		answer <- s.Update(ctx, func(tx authority.Tx) error { return tx.Tokens().Insert(authority.Token{ID: id}) })
	}()
	return answer
}

func TestAFailedWriteFailsWhatWasBuiltOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := heldStore(t)
		ctx, cancel := context.WithCancel(context.Background())
		first := insertion(ctx, s, "a")
		synctest.Wait() // in its rename
		second := insertion(ctx, s, "b")
		again := insertion(context.Background(), s, "a") // finds the first one's token
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-again:
			t.Fatalf("answered by what is not durable: %v", err)
		case err := <-second:
			t.Fatalf("answered cancelled once in a batch: %v", err)
		default:
		}
		h.renames <- unix.EIO
		if err := <-first; authority.KindOf(err) != authority.Unavailable {
			t.Errorf("first: %v", err)
		}
		if err := <-second; authority.KindOf(err) != authority.Unavailable {
			t.Errorf("second: %v", err)
		}
		h.renames <- nil // the one that was run again
		if err := <-again; err != nil {
			t.Errorf("again: %v, %v", err, errors.Unwrap(err))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCallersShareOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := heldStore(t)
		answers := []<-chan error{insertion(context.Background(), s, "first")}
		synctest.Wait()
		for i := range 31 {
			answers = append(answers, insertion(context.Background(), s, authority.TokenID(fmt.Sprint(i))))
		}
		synctest.Wait()
		h.renames <- nil
		h.renames <- nil
		for _, a := range answers {
			if err := <-a; err != nil {
				t.Error(err)
			}
		}
		if s.tokens.revision != 3 {
			t.Errorf("revision %d, want 3: one for the new file, two writes", s.tokens.revision)
		}
		began := time.Now()
		alone := insertion(context.Background(), s, "alone")
		synctest.Wait()
		h.renames <- nil
		if err := <-alone; err != nil || time.Since(began) != 0 {
			t.Errorf("a lone caller waited %v, %v", time.Since(began), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestSortedIsAnOrderedMapWithFreeCopies compares it with a plain map, and
// earlier copies with what they were.
func TestSortedIsAnOrderedMapWithFreeCopies(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s sorted[string, authority.Admin]
	model := make(map[string]string)
	type copied struct {
		s    sorted[string, authority.Admin]
		keys []string
	}
	var copies []copied
	keysOf := func(s sorted[string, authority.Admin]) []string {
		var keys []string
		for w := range s.all() {
			keys = append(keys, w.value.Name+"="+w.value.PasswordHash)
		}
		return keys
	}
	e := new(edit)
	for i := range 20_000 {
		if i%500 == 0 {
			copies = append(copies, copied{s, keysOf(s)})
			e = new(edit)
		}
		key := fmt.Sprint(random.IntN(3000))
		if i > 15_000 || random.IntN(3) == 0 {
			_, had := model[key]
			if got := s.remove(key, e); got != had {
				t.Fatalf("remove %s: %v, want %v", key, got, had)
			}
			delete(model, key)
		} else {
			model[key] = fmt.Sprint(i)
			s.put(&row[authority.Admin]{value: authority.Admin{Name: key, PasswordHash: model[key]}}, e)
		}
	}
	var want []string
	for k, v := range model {
		want = append(want, k+"="+v)
		if w := s.get(k); w == nil || w.value.PasswordHash != v {
			t.Fatalf("get %s: %v, want %s", k, w, v)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		return slices.Compare([]byte(a[:index(a)]), []byte(b[:index(b)]))
	})
	if got := keysOf(s); !slices.Equal(got, want) || s.size != len(want) {
		t.Errorf("%d keys, size %d, want %d", len(got), s.size, len(want))
	}
	for i, c := range copies {
		if !slices.Equal(keysOf(c.s), c.keys) {
			t.Errorf("copy %d changed", i)
		}
	}
}

func index(s string) int { return slices.Index([]byte(s), '=') }

// counting tells how much of a log is read.
type counting struct {
	*durable.Log
	read int64
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.Log.ReadAt(p, at)
	c.read += int64(n)
	return n, err
}

func TestAPageOfALongLogReadsLittleOfIt(t *testing.T) {
	const events = 50_000
	path := filepath.Join(t.TempDir(), AuditFile)
	files := durable.Files{}
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o700), files.CreateNew(path)); err != nil {
		t.Fatal(err)
	}
	log, err := files.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	l := ledger{log: log}
	for range events / 10_000 {
		entries, err := l.chain(slices.Repeat([]authority.Event{{Action: "token.copied", Target: "tok_x", Label: "client"}}, 10_000))
		if err == nil {
			err = l.write(entries)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, before := range []uint64{0, 2, 77, events / 2, events} {
		tr := l.trail()
		c := &counting{Log: log}
		tr.log = c
		page, err := tr.page(authority.AuditQuery{Limit: 50, Before: before})
		if err != nil || page.Total != events {
			t.Fatalf("before %d: total %d, %v", before, page.Total, err)
		}
		newest := before - 1
		if before == 0 {
			newest = events
		}
		for i, e := range page.Events {
			if e.Seq != newest-uint64(i) {
				t.Fatalf("before %d: event %d at %d", before, e.Seq, i)
			}
		}
		if want := min(50, newest); uint64(len(page.Events)) != want || page.Next == 0 != (newest <= 50) {
			t.Errorf("before %d: %d events, next %d", before, len(page.Events), page.Next)
		}
		if c.read > 256<<10 {
			t.Errorf("before %d: %d bytes of %d were read", before, c.read, log.Size())
		}
	}
}
