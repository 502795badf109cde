package mapstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// fastHome is a home where fsync is quick, if there is such a place.
func fastHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mapstore-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// template is the files of a home with Token(1) and some events.
func template(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	cfg := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Now: time.Now}
	if err := errors.Join(mapstore.Create(cfg), mapstore.CreateTokens(cfg.Files, cfg.Tokens)); err != nil {
		t.Fatal(err)
	}
	s, err := mapstore.Open(cfg)
	if err == nil {
		err = errors.Join(create(s, 1), s.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, name := range []string{"state.json", "audit.ndjson", "tokens.json"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func restore(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// step is one change and how to see that it is there.
type step struct {
	name   string
	change func(authority.Tx) error
	done   func(authority.Tx) bool
}

func has[T any](_ T, err error) bool { return err == nil }

func steps() []step {
	event := func(tx authority.Tx, name string, err error) error {
		return errors.Join(err, tx.Audit().Append(authority.Event{At: storetest.Token(0).CreatedAt, Action: name}))
	}
	logged := func(tx authority.Tx, name string) bool {
		page, err := tx.Audit().Page(authority.AuditQuery{Limit: 10, Action: name})
		return err == nil && len(page.Events) == 1
	}
	return []step{
		{
			"insert", func(tx authority.Tx) error { return event(tx, "insert", tx.Tokens().Insert(storetest.Token(2))) },
			func(tx authority.Tx) bool { return has(tx.Tokens().Get(storetest.Token(2).ID)) && logged(tx, "insert") },
		},
		{
			"delete", func(tx authority.Tx) error { return event(tx, "delete", tx.Tokens().Delete(storetest.Token(1).ID)) },
			func(tx authority.Tx) bool {
				return !has(tx.Tokens().Get(storetest.Token(1).ID)) && logged(tx, "delete")
			},
		},
		{
			"key", func(tx authority.Tx) error { return event(tx, "key", tx.Keys().Insert(authority.Key{ID: "k"})) },
			func(tx authority.Tx) bool { return has(tx.Keys().Get("k")) && logged(tx, "key") },
		},
		{
			"event", func(tx authority.Tx) error { return event(tx, "event", nil) },
			func(tx authority.Tx) bool { return logged(tx, "event") },
		},
		{
			"last", func(tx authority.Tx) error { return event(tx, "last", tx.Tokens().Insert(storetest.Token(3))) },
			func(tx authority.Tx) bool { return has(tx.Tokens().Get(storetest.Token(3).ID)) && logged(tx, "last") },
		},
	}
}

// run takes the steps on a store whose files fail and answers what each was
// answered; nil if the store did not open.
func run(t *testing.T, cfg mapstore.Config) []error {
	s, err := mapstore.Open(cfg)
	if err != nil {
		return nil
	}
	live := &tokens{}
	_ = s.Follow(context.Background(), live)
	var answers []error
	for _, st := range steps() {
		err := s.Update(context.Background(), st.change)
		if k := authority.KindOf(err); err != nil && k != authority.Unavailable && k != authority.Full {
			t.Errorf("%s: kind %q: %v", st.name, k, err)
		}
		if err != nil && s.Facts().Problem == "" {
			t.Errorf("%s failed and the facts tell no problem", st.name)
		}
		answers = append(answers, err)
	}
	live.compare(t, s)
	_ = s.Close()
	return answers
}

// tokens is a follower that knows which tokens there are.
type tokens struct{ ids map[authority.TokenID]bool }

func (f *tokens) Load(c authority.Change) {
	f.ids = make(map[authority.TokenID]bool)
	f.Apply(c)
}

func (f *tokens) Apply(c authority.Change) {
	for _, x := range c.Tokens {
		if f.ids[x.Key] = x.Value != nil; x.Value == nil {
			delete(f.ids, x.Key)
		}
	}
}

// compare finds the follower to know what a view shows.
func (f *tokens) compare(t *testing.T, s authority.Store) {
	t.Helper()
	if f.ids == nil {
		return
	}
	_ = s.View(context.Background(), func(tx authority.Tx) error {
		n := 0
		for v := range tx.Tokens().All() {
			if n++; !f.ids[v.ID] {
				t.Errorf("the follower misses %s", v.ID)
			}
		}
		if n != len(f.ids) {
			t.Errorf("the follower has %d tokens, the store %d", len(f.ids), n)
		}
		return nil
	})
}

// judge opens what is left and compares it with what was answered.
func judge(t *testing.T, cfg mapstore.Config, answers []error) {
	t.Helper()
	s, err := mapstore.Open(cfg)
	if err != nil {
		t.Fatalf("does not open again: %v", err)
	}
	defer s.Close()
	err = s.View(context.Background(), func(tx authority.Tx) error {
		if answers == nil && !has(tx.Tokens().Get(storetest.Token(1).ID)) {
			t.Error("the token of before is gone")
		}
		for i, err := range answers {
			st := steps()[i]
			var e *authority.Error
			uncertain := errors.As(err, &e) && e.Code == "store.unknown"
			if there := st.done(tx); !uncertain && there != (err == nil) {
				t.Errorf("%s was answered %v (%v), and is there: %v", st.name, err, errors.Unwrap(err), there)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, broken, err := s.VerifyAudit(context.Background()); err != nil || broken != 0 {
		t.Errorf("the chain breaks at %d: %v", broken, err)
	}
}

func TestWhicheverOperationFailsNothingAcknowledgedIsLost(t *testing.T) {
	if elsewhere(t) {
		return
	}
	dir := fastHome(t)
	files := template(t, dir)
	plain := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Now: time.Now}
	failed, uncertain := 0, 0
	for _, fault := range []error{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EMFILE, unix.EINTR, io.ErrShortWrite} {
		for _, lasting := range []int{1, 1 << 30} {
			for _, done := range []bool{false, true} {
				if fault != unix.EIO && (lasting > 1) != done { //nolint:errorlint // the value itself
					continue // the full square for one, the corners for the others
				}
				for at := 1; ; at++ {
					restore(t, dir, files)
					faulty := &durabletest.Faults{At: at, For: lasting, Err: fault, Done: done}
					cfg := plain
					cfg.Files = durable.Files{Ops: faulty}
					ok := t.Run(fmt.Sprintf("%v/at %d/lasting %v/done %v", fault, at, lasting > 1, done), func(t *testing.T) {
						answers := run(t, cfg)
						judge(t, plain, answers)
						for i, err := range answers {
							if err != nil {
								failed++
							}
							var e *authority.Error
							if errors.As(err, &e) && e.Code == "store.unknown" {
								uncertain++
							}
							if lasting == 1 && i == len(answers)-1 && err != nil && answers[0] != nil {
								t.Errorf("did not recover: %v", err)
							}
						}
					})
					if !ok {
						return
					}
					if faulty.Hit() == "" && (fault != io.ErrShortWrite || at > 600) { //nolint:errorlint // the value itself
						break
					}
					if at > 2000 {
						t.Fatal("the operations do not end")
					}
				}
			}
		}
	}
	if failed == 0 || uncertain == 0 {
		t.Errorf("%d failed, %d uncertain: the faults hit nothing", failed, uncertain)
	}
}

// brokenLog is a file system on which appending to the audit log fails.
type brokenLog struct {
	durable.System
	err atomic.Pointer[error]
}

func (b *brokenLog) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := b.System.Open(path, flag, perm)
	if err != nil || filepath.Base(path) != mapstore.AuditFile {
		return f, err
	}
	return brokenFile{f, b}, nil
}

type brokenFile struct {
	durable.File
	by *brokenLog
}

func (f brokenFile) Write(p []byte) (int, error) {
	if err := f.by.err.Load(); err != nil {
		return 0, *err
	}
	return f.File.Write(p)
}

// TestNoChangeIsMadeWhileTheAuditLogCannotBeWritten: the change that meets the
// problem first has its event in the file it changed, so it stands; no other
// begins until that event is in the log.
func TestNoChangeIsMadeWhileTheAuditLogCannotBeWritten(t *testing.T) {
	for fault, want := range map[error]authority.Kind{
		unix.ENOSPC: authority.Full, unix.EDQUOT: authority.Full, unix.EROFS: authority.Unavailable, unix.EIO: authority.Unavailable,
	} {
		t.Run(fault.Error(), func(t *testing.T) {
			broken := &brokenLog{}
			cfg := newHome(t, durable.Files{Ops: broken})
			s := open(t, cfg)
			key := func(tx authority.Tx) error {
				return errors.Join(tx.Keys().Insert(authority.Key{ID: "k"}), tx.Audit().Append(authority.Event{Action: "key.made"}))
			}
			look := func(tx authority.Tx) error { return tx.Audit().Append(authority.Event{Action: "token.copied"}) }
			if err := create(s, 1); err != nil {
				t.Fatal(err)
			}
			broken.err.Store(&fault)
			if err := s.Update(context.Background(), look); authority.KindOf(err) != want {
				t.Errorf("an event alone: %v", err)
			}
			if err := create(s, 2); err != nil {
				t.Errorf("the first token, whose event is in the token file: %v", err)
			}
			if p := s.Facts().Problem; p == "" {
				t.Error("the facts tell no problem")
			}
			refused := map[string]error{"create": create(s, 3), "delete": remove(s, 1), "key": s.Update(context.Background(), key), "look": s.Update(context.Background(), look)}
			for name, err := range refused {
				if authority.KindOf(err) != want {
					t.Errorf("%s: %v", name, err)
				}
			}
			wantCount(t, s, 2)
			broken.err.Store(nil)
			if err := create(s, 3); err != nil {
				t.Errorf("after the log is well: %v", err)
			}
			if p := s.Facts().Problem; p != "" {
				t.Errorf("the problem stays: %s", p)
			}
			var targets []string
			for _, e := range events(t, s) {
				targets = append(targets, e.Target)
			}
			wantTargets := []string{string(storetest.Token(1).ID), string(storetest.Token(2).ID), string(storetest.Token(3).ID)}
			if !slices.Equal(targets, wantTargets) {
				t.Errorf("events of %q, want %q", targets, wantTargets)
			}
		})
	}
}
