package mapstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

// TestAnUnknownOutcomeIsSettledBeforeTheNextAnswer fails rows of operations, so
// that a write is there and cannot be read back at once; then the disk is well
// again, and the next view, the follower and the file agree.
func TestAnUnknownOutcomeIsSettledBeforeTheNextAnswer(t *testing.T) {
	dir := fastHome(t)
	files := template(t, dir)
	cfg := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Now: time.Now}
	lasted := 0
	for at, hit := 1, true; hit; at++ {
		for _, lasting := range []int{1, 8, 20, 60} {
			restore(t, dir, files)
			gate, live := &gated{}, &tokens{}
			cfg.Files = durable.Files{Ops: gate}
			s, err := mapstore.Open(cfg)
			if err == nil {
				err = s.Follow(context.Background(), live)
			}
			if err != nil {
				t.Fatal(err)
			}
			faulty := &durabletest.Faults{At: at, For: lasting, Err: unix.EIO, Done: true}
			gate.set(faulty)
			answer := create(s, 2)
			gate.set(durable.System{})
			hit = faulty.Hit() != ""
			seen := there(t, s)
			live.compare(t, s)
			if answer != nil && seen {
				lasted++
				if err := create(s, 2); authority.KindOf(err) != authority.Conflict {
					t.Errorf("at %d: again: %v", at, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = mapstore.Open(cfg); err != nil {
				t.Fatal(err)
			}
			if kept := there(t, s); kept != seen || answer == nil && !kept {
				t.Errorf("at %d for %d: answered %v, %v; a view saw it: %v; the file has it: %v", at, lasting, answer, errors.Unwrap(answer), seen, kept)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lasted == 0 {
		t.Error("no write lasted without an answer: the faults hit nothing")
	}
}

func there(t *testing.T, s authority.Store) bool {
	t.Helper()
	found := false
	err := s.View(context.Background(), func(tx authority.Tx) error {
		found = has(tx.Tokens().Get(storetest.Token(2).ID))
		return nil
	})
	if err != nil {
		t.Fatalf("view: %v, %v", err, errors.Unwrap(err))
	}
	return found
}
