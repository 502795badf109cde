package mapstore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

// furnished is a home whose tokens are valid: it has a generation and the key
// that signed them.
func furnished(t *testing.T) mapstore.Config {
	t.Helper()
	cfg := newHome(t, durable.Files{})
	cfg.Now = storetestTime
	s := open(t, cfg)
	generation(t, s, 1)
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Keys().Insert(authority.Key{ID: storetest.Token(0).KeyID}), tx.Audit().Append(authority.Event{Action: "installed"}))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// during opens a store, does something, and closes it again.
func during(t *testing.T, cfg mapstore.Config, do func(*mapstore.Store) error) mapstore.Opened {
	t.Helper()
	s, err := mapstore.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(s), s.Close()); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return s.Opened()
}

func nothing(*mapstore.Store) error { return nil }

// end deletes a token for good, as the rules do.
func end(s *mapstore.Store, n int) error {
	return s.Update(context.Background(), func(tx authority.Tx) error {
		v, err := tx.Tokens().Get(storetest.Token(n).ID)
		if err != nil {
			return err
		}
		v.DeletedAt, v.Leaked = storetestTime(), true
		return errors.Join(tx.Tokens().Put(v), tx.Audit().Append(authority.Event{
			At: v.DeletedAt, Action: "token.deleted", Target: string(v.ID), Outcome: authority.OutcomeOK, Detail: map[string]string{"leaked": "true"},
		}))
	})
}

// look is an event of a change to something else than tokens.
func look(s *mapstore.Store) error {
	return s.Update(context.Background(), func(tx authority.Tx) error { return tx.Audit().Append(authority.Event{Action: "looked"}) })
}

func to(path string) func(*mapstore.Store) error {
	return func(s *mapstore.Store) error {
		_, err := s.SwitchTokens(context.Background(), path, agreed)
		return err
	}
}

// wantStates compares which tokens are live and which have ended.
func wantStates(t *testing.T, s authority.Store, live, ended []int) {
	t.Helper()
	err := s.View(context.Background(), func(tx authority.Tx) error {
		for n, want := range map[bool][]int{true: live, false: ended} {
			for _, i := range want {
				v, err := tx.Tokens().Get(storetest.Token(i).ID)
				if err != nil {
					t.Errorf("token %d: %v", i, err)
					continue
				}
				if v.DeletedAt.IsZero() != n || v.Leaked == n {
					t.Errorf("token %d is live: %v; want %v", i, v.DeletedAt.IsZero(), n)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnOlderCopyOfTheTokenFileBringsNothingBack(t *testing.T) {
	cfg := furnished(t)
	var older []byte
	during(t, cfg, func(s *mapstore.Store) error { return errors.Join(create(s, 1), create(s, 2)) })
	older = text(t, cfg.Tokens)
	during(t, cfg, func(s *mapstore.Store) error {
		return errors.Join(end(s, 1), create(s, 3), create(s, 4), end(s, 4), look(s))
	})
	write(t, cfg.Tokens, older)
	opened := during(t, cfg, func(s *mapstore.Store) error {
		live := &tokens{}
		if err := s.Follow(context.Background(), live); err != nil {
			return err
		}
		live.compare(t, s)
		wantStates(t, s, []int{2}, []int{1})
		wantCount(t, s, 2)
		all := events(t, s)
		if last := all[len(all)-1]; last.Action != "tokens.caught_up" || last.Detail["changes"] != "1" || last.Detail["missing"] != "1" {
			t.Errorf("the event is %+v", last)
		}
		if _, broken, err := s.VerifyAudit(context.Background()); err != nil || broken != 0 {
			t.Errorf("the chain breaks at %d: %v", broken, err)
		}
		return nil
	})
	if c := opened.CaughtUp; c.Changes != 1 || len(c.Missing) != 1 || c.Missing[0] != storetest.Token(3).ID || c.Unproven {
		t.Errorf("caught up %+v", c)
	}
	// It was written down: the next start has nothing to do, and tells nothing.
	before := text(t, cfg.Tokens)
	if opened := during(t, cfg, nothing); opened.CaughtUp.Any() || !bytes.Equal(before, text(t, cfg.Tokens)) {
		t.Errorf("again: %+v", opened.CaughtUp)
	}
}

// However the tokens left a file and come back to it, running or stopped.
func TestComingBackToAFileBringsNothingBack(t *testing.T) {
	for name, between := range map[string]func(t *testing.T, cfg mapstore.Config, b string, s *mapstore.Store){
		"by memory": func(t *testing.T, _ mapstore.Config, _ string, s *mapstore.Store) {
			must(t, to("")(s))
			must(t, end(s, 1))
		},
		"by another file": func(t *testing.T, _ mapstore.Config, b string, s *mapstore.Store) {
			must(t, to(b)(s))
			must(t, end(s, 1))
		},
		"by another file and memory": func(t *testing.T, _ mapstore.Config, b string, s *mapstore.Store) {
			must(t, to(b)(s))
			must(t, end(s, 1))
			must(t, to("")(s))
		},
	} {
		for _, restarts := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				cfg := furnished(t)
				a, b := cfg.Tokens, filepath.Join(cfg.Home, "b.json")
				write(t, b, nil)
				s := open(t, cfg)
				must(t, errors.Join(create(s, 1), create(s, 2)))
				between(t, cfg, b, s)
				must(t, create(s, 3))
				if restarts {
					cfg.Tokens = s.Facts().Location
					must(t, s.Close())
					s = open(t, cfg)
				}
				live := &tokens{}
				must(t, s.Follow(context.Background(), live))
				seen := text(t, a)
				said, err := s.CheckTokens(a)
				must(t, err)
				if !bytes.Equal(seen, text(t, a)) {
					t.Error("looking has changed the file")
				}
				did, err := s.SwitchTokens(context.Background(), a, agreed)
				must(t, err)
				if did.Existing != 1 || did.Existing != said.Existing || did.Carried != said.Carried || did.CaughtUp.Changes != 1 || said.CaughtUp.Changes != 1 {
					t.Errorf("it said %+v and did %+v", said, did)
				}
				kept := []int{2, 3}
				if restarts && cfg.Tokens == "" { // memory has lost it
					kept = kept[:1]
					if len(did.CaughtUp.Missing) != 1 {
						t.Errorf("missing %v", did.CaughtUp.Missing)
					}
				} else if len(did.CaughtUp.Missing) != 0 || did.Carried != 1 {
					t.Errorf("did %+v", did)
				}
				wantStates(t, s, kept, []int{1})
				live.compare(t, s)
				must(t, s.Close())
				cfg.Tokens = a
				s = open(t, cfg)
				wantStates(t, s, kept, []int{1})
				if s.Opened().CaughtUp.Any() {
					t.Errorf("once more %+v", s.Opened().CaughtUp)
				}
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
}

// A file that the log does not lead to is refused when it could bring back what
// has ended, by a start as by a switch, and nothing is changed.
func TestATokenFileThatTheLogDoesNotLeadToIsRefused(t *testing.T) {
	older := func(t *testing.T) (mapstore.Config, []byte) {
		t.Helper()
		cfg := furnished(t)
		during(t, cfg, func(s *mapstore.Store) error { return create(s, 1) })
		old := text(t, cfg.Tokens)
		during(t, cfg, func(s *mapstore.Store) error { return errors.Join(end(s, 1), create(s, 2)) })
		return cfg, old
	}
	for name, prepare := range map[string]func(t *testing.T) (mapstore.Config, []byte){
		"an empty log was begun since": func(t *testing.T) (mapstore.Config, []byte) {
			cfg, old := older(t)
			write(t, filepath.Join(cfg.Home, mapstore.AuditFile), nil)
			during(t, cfg, look)
			return cfg, old
		},
		"of a copy of this home": func(t *testing.T) (mapstore.Config, []byte) {
			cfg, _ := older(t)
			twin := cfg
			twin.Home = t.TempDir()
			must(t, os.Chmod(twin.Home, 0o700))
			twin.Tokens = filepath.Join(twin.Home, "tokens.json")
			for _, name := range []string{"state.json", "audit.ndjson", "tokens.json"} {
				write(t, filepath.Join(twin.Home, name), text(t, filepath.Join(cfg.Home, name)))
			}
			during(t, twin, func(s *mapstore.Store) error { return create(s, 7) })
			during(t, cfg, func(s *mapstore.Store) error { return errors.Join(look(s), end(s, 2)) })
			return cfg, text(t, twin.Tokens)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, bad := prepare(t)
			good := text(t, cfg.Tokens)
			other := filepath.Join(cfg.Home, "other.json")
			write(t, other, bad)
			during(t, cfg, func(s *mapstore.Store) error {
				_, said := s.CheckTokens(other)
				for _, err := range []error{said, to(other)(s)} {
					if authority.KindOf(err) != authority.Invalid || !strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), "backup") {
						t.Errorf("it says %v", err)
					}
				}
				return nil
			})
			write(t, cfg.Tokens, bad)
			wantRefused(t, cfg, cfg.Tokens, "backup", bad)
			write(t, cfg.Tokens, good)
			during(t, cfg, func(s *mapstore.Store) error {
				// After a reset nothing in it can come back: there is nothing to refuse.
				return errors.Join(s.Update(context.Background(), func(tx authority.Tx) error {
					return errors.Join(tx.System().Put(authority.System{Generation: 2}), tx.Audit().Append(authority.Event{Action: "key.reset"}))
				}), to("")(s), os.Remove(cfg.Tokens))
			})
			cfg.Tokens = ""
			during(t, cfg, func(s *mapstore.Store) error {
				defer wantCount(t, s, bytes.Count(bad, []byte(`{"id":"tok_`)))
				return to(other)(s)
			})
		})
	}
}

// Whoever empties the log knows that it is gone; what is not known then is told.
func TestWithAnEmptyLogItIsToldThatTheFileMayBeOld(t *testing.T) {
	cfg := furnished(t)
	during(t, cfg, func(s *mapstore.Store) error { return errors.Join(create(s, 1), look(s)) })
	during(t, cfg, func(s *mapstore.Store) error {
		return s.Update(context.Background(), func(tx authority.Tx) error {
			return errors.Join(tx.Admins().Insert(authority.Admin{Name: "maria"}), tx.Audit().Append(authority.Event{Action: "admin.created"}))
		})
	})
	write(t, filepath.Join(cfg.Home, mapstore.AuditFile), nil)
	if c := during(t, cfg, nothing).CaughtUp; !c.Unproven {
		t.Errorf("it tells %+v", c)
	}
	for range 2 {
		if c := during(t, cfg, look).CaughtUp; c.Any() {
			t.Errorf("later it tells %+v", c)
		}
	}
	during(t, cfg, func(s *mapstore.Store) error { wantCount(t, s, 1); return nil })
}

// The file of another home is taken as it is, and is this home's from then on.
func TestAFileOfAnotherHomeIsTakenOverForGood(t *testing.T) {
	theirs := newHome(t, durable.Files{})
	during(t, theirs, func(s *mapstore.Store) error {
		return s.Update(context.Background(), func(tx authority.Tx) error {
			v := storetest.Token(5)
			v.KeyID = "of another home"
			return errors.Join(tx.Tokens().Insert(v), tx.Audit().Append(authority.Event{Action: "token.created", Target: string(v.ID)}))
		})
	})
	cfg := furnished(t)
	cfg.Tokens = filepath.Join(cfg.Home, "moved.json")
	write(t, cfg.Tokens, text(t, theirs.Tokens))
	for range 3 {
		if c := during(t, cfg, func(s *mapstore.Store) error { wantCount(t, s, 1); return look(s) }).CaughtUp; c.Any() {
			t.Errorf("it tells %+v", c)
		}
	}
}

// Only in a file that this home has written is an id the same token, and only
// with the same claims.
func TestAnIdThatIsInBothIsTheSameTokenOrRefused(t *testing.T) {
	cfg := furnished(t)
	other := filepath.Join(cfg.Home, "other.json")
	during(t, cfg, func(s *mapstore.Store) error {
		if err := create(s, 1); err != nil {
			return err
		}
		write(t, other, text(t, cfg.Tokens))
		return s.Update(context.Background(), func(tx authority.Tx) error {
			v, err := tx.Tokens().Get(storetest.Token(1).ID)
			v.ClientID = "somebody else"
			return errors.Join(err, tx.Tokens().Put(v))
		})
	})
	during(t, cfg, func(s *mapstore.Store) error {
		_, said := s.CheckTokens(other)
		for _, err := range []error{said, to(other)(s)} {
			if authority.KindOf(err) != authority.Conflict || !strings.Contains(err.Error(), "is in "+other+" too") {
				t.Errorf("it says %v", err)
			}
		}
		return s.Update(context.Background(), func(tx authority.Tx) error {
			v := storetest.Token(1)
			v.Description = "newer"
			return tx.Tokens().Put(v)
		})
	})
	during(t, cfg, to(other))
	cfg.Tokens = other
	during(t, cfg, func(s *mapstore.Store) error {
		wantCount(t, s, 1)
		return s.View(context.Background(), func(tx authority.Tx) error {
			v, err := tx.Tokens().Get(storetest.Token(1).ID)
			if v.Description != "newer" {
				t.Errorf("the older record won: %+v", v)
			}
			return err
		})
	})
}

// Whichever operation fails while a file is brought up: a store that opens never
// holds what has ended.
func TestCatchingUpThatIsCutShortIsDoneAgain(t *testing.T) {
	for at := 1; ; at++ {
		cfg := furnished(t)
		during(t, cfg, func(s *mapstore.Store) error { return create(s, 1) })
		older := text(t, cfg.Tokens)
		during(t, cfg, func(s *mapstore.Store) error { return end(s, 1) })
		write(t, cfg.Tokens, older)
		faulty := &durabletest.Faults{At: at, Err: unix.EIO}
		failing := cfg
		failing.Files = durable.Files{Ops: faulty}
		if s, err := mapstore.Open(failing); err == nil {
			wantStates(t, s, nil, []int{1})
			_ = s.Close()
		}
		during(t, cfg, func(s *mapstore.Store) error { wantStates(t, s, nil, []int{1}); return create(s, 2) })
		if faulty.Hit() == "" {
			return
		}
	}
}

// Counts are of tokens that are valid.
func TestASwitchCountsTokensThatAreValid(t *testing.T) {
	cfg := furnished(t)
	next := filepath.Join(cfg.Home, "next.json")
	write(t, next, nil)
	s := open(t, cfg)
	must(t, errors.Join(create(s, 1), create(s, 2), end(s, 2)))
	must(t, s.Update(context.Background(), func(tx authority.Tx) error {
		old, over := storetest.Token(3), storetest.Token(4)
		old.Generation, over.ExpiresAt = 0, storetestTime().Add(-time.Minute)
		return errors.Join(tx.Tokens().Insert(old), tx.Tokens().Insert(over))
	}))
	for _, path := range []string{next, "", cfg.Tokens} {
		said := mapstore.Carried{Carried: 1}
		if path != "" {
			var err error
			said, err = s.CheckTokens(path)
			must(t, err)
		}
		did, err := s.SwitchTokens(context.Background(), path, agreed)
		must(t, err)
		if did.Existing+did.Carried != 1 || did.Existing != said.Existing {
			t.Errorf("to %q: it said %+v and did %+v", path, said, did)
		}
	}
	if again, err := s.SwitchTokens(context.Background(), cfg.Tokens, agreed); err != nil || again.Existing != 1 {
		t.Errorf("to where it is: %+v, %v", again, err)
	}
}
