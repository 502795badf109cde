package authority_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
)

// site is a house whose records and secrets are in real files, and which a
// process opens again and again.
type site struct {
	*house
	dir string
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "authority-") // a thousand crashes want no disk
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{newHouse(t), dir}
	c := s.config(durable.Files{})
	_, ringErr := signing.Create(durable.Files{}, s.keyring(), rand.Reader)
	if err := errors.Join(os.Chmod(dir, 0o700), mapstore.Create(c), mapstore.CreateTokens(c.Files, c.Tokens), ringErr); err != nil {
		t.Fatal(err)
	}
	s.process(t, durable.Files{}, func(a *authority.Authority) {
		if err := a.Found(t.Context(), operator()); err != nil {
			t.Fatal(err)
		}
	})
	return s
}

func (s *site) keyring() string { return filepath.Join(s.dir, "keyring.json") }

func (s *site) config(f durable.Files) mapstore.Config {
	return mapstore.Config{Home: s.dir, Tokens: filepath.Join(s.dir, "tokens.json"), Files: f, Now: s.now}
}

// process opens the files, checks that every key has its secret, and closes them.
func (s *site) process(t *testing.T, f durable.Files, do func(*authority.Authority)) {
	t.Helper()
	store, err := mapstore.Open(s.config(f))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // a process that crashed cannot close well
	ring, err := signing.Open(f, s.keyring(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Config
	c.Store, c.Custody = store, ring
	a, err := authority.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if f.Ops == nil {
		if err := errors.Join(err, ignoreEmpty(a.CheckCustody(t.Context(), ring.Has))); err != nil {
			t.Fatal(err)
		}
		if _, broken, err := store.VerifyAudit(t.Context()); err != nil || broken != 0 {
			t.Fatalf("the audit log breaks at %d, %v", broken, err)
		}
	}
	do(a)
}

// ignoreEmpty lets a home be that has no keys yet.
func ignoreEmpty(err error) error {
	if err != nil && authority.KindOf(err) == authority.Internal {
		return nil
	}
	return err
}

func (s *site) files(t *testing.T) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, name := range []string{"keyring.json", "state.json", "tokens.json", "audit.ndjson"} {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = text
	}
	return all
}

// restore puts the files back as they were, and takes away what a process has left
// half-done.
func (s *site) restore(t *testing.T, files map[string][]byte) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(s.dir, ".temp-*"))
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// told is what a home says of its keys, tokens and events, without what is drawn
// by lot.
func told(t *testing.T, a *authority.Authority) map[string]string {
	t.Helper()
	out := make(map[string]string)
	keys, err := a.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		k.ID = ""
		out["key "+k.Name] = fmt.Sprintf("%+v", k)
	}
	list, err := a.Tokens(t.Context(), operator(), authority.ListRequest{State: "all"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list.Items {
		out[fmt.Sprintf("token %s %v", v.ClientID, v.Replaces != "")] = fmt.Sprintf("%s, deleted %s, replaced %v, ends %s", v.State, v.DeletedAt, v.ReplacedBy != "", v.EndsAt)
	}
	page, err := a.Audit(t.Context(), operator(), authority.AuditQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		out[fmt.Sprintf("event %d", e.Seq)] = e.Action
	}
	return out
}

// crashes are what a crash may cut short, with what has to be there before.
func crashes(s *site) map[string][2]func(context.Context, *authority.Authority) error {
	type step = func(context.Context, *authority.Authority) error
	token := func(ctx context.Context, a *authority.Authority) authority.TokenID {
		v, err := a.FindToken(ctx, operator(), "ci", false)
		if err != nil {
			v, _ = a.FindToken(ctx, operator(), "ci", true)
		}
		return v.ID
	}
	nothing := func(context.Context, *authority.Authority) error { return nil }
	rotate := func(ctx context.Context, a *authority.Authority) error {
		_, err := a.RotateKey(ctx, operator(), authority.RotateRequest{Overlap: 2 * time.Hour})
		return err
	}
	trial := func(ctx context.Context, a *authority.Authority) error {
		_, err := a.TrialStop(ctx, operator(), "key_2026a", 15*time.Minute)
		return err
	}
	remove := func(ctx context.Context, a *authority.Authority) error {
		_, err := a.RevokeToken(ctx, operator(), token(ctx, a), false)
		return err
	}
	replace := func(ctx context.Context, a *authority.Authority) error {
		_, err := a.ReplaceToken(ctx, operator(), token(ctx, a), time.Hour)
		return err
	}
	return map[string][2]step{
		"rotate": {nothing, rotate},
		"retire": {rotate, func(ctx context.Context, a *authority.Authority) error {
			_, err := a.RetireKey(ctx, operator(), "key_2026a")
			return err
		}},
		"extend": {rotate, func(ctx context.Context, a *authority.Authority) error {
			_, err := a.ExtendKey(ctx, operator(), "key_2026a", s.now().Add(3*time.Hour))
			return err
		}},
		"trial stop": {rotate, trial},
		"end trial": {
			func(ctx context.Context, a *authority.Authority) error {
				return errors.Join(rotate(ctx, a), trial(ctx, a))
			},
			func(ctx context.Context, a *authority.Authority) error {
				_, err := a.EndTrial(ctx, operator(), "key_2026a")
				return err
			},
		},
		"reset": {rotate, func(ctx context.Context, a *authority.Authority) error {
			_, err := a.ResetKeys(ctx, operator(), "")
			return err
		}},
		"replace": {nothing, replace},
		"undo replace": {replace, func(ctx context.Context, a *authority.Authority) error {
			v, err := a.FindToken(ctx, operator(), "ci", false) // the successor
			if err != nil {
				return err
			}
			_, err = a.UndoReplace(ctx, operator(), v.Replaces)
			return err
		}},
		"delete": {nothing, remove},
		"restore": {remove, func(ctx context.Context, a *authority.Authority) error {
			_, err := a.RestoreToken(ctx, operator(), token(ctx, a))
			return err
		}},
	}
}

// Whichever operation of the disk is the last one, done or not, the next process
// finds all that was or all that was to be, with its timers and its events, and
// every key with its secret; and the same can be asked again.
func TestACrashLeavesAllOldOrAllNew(t *testing.T) {
	t.Parallel()
	for name := range crashes(nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			prepare, change := crashes(s)[name][0], crashes(s)[name][1]
			s.process(t, durable.Files{}, func(a *authority.Authority) {
				_, err := a.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "ci", Role: "user"}, "")
				if err := errors.Join(err, prepare(t.Context(), a)); err != nil {
					t.Fatal(err)
				}
			})
			start := s.files(t)
			var before, after map[string]string
			s.process(t, durable.Files{}, func(a *authority.Authority) { before = told(t, a) })
			s.process(t, durable.Files{}, func(a *authority.Authority) {
				if err := change(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			})
			s.process(t, durable.Files{}, func(a *authority.Authority) { after = told(t, a) })
			opens := s.operations(t, start)
			old, anew := 0, 0
			for _, done := range []bool{false, true} {
				for at, hit := opens+1, true; hit; at++ {
					s.restore(t, start)
					faults := &durabletest.Faults{At: at, For: 1 << 30, Err: syscall.EIO, Done: done}
					s.process(t, durable.Files{Ops: faults}, func(a *authority.Authority) { _ = change(t.Context(), a) })
					hit = faults.Hit() != ""
					s.process(t, durable.Files{}, func(a *authority.Authority) {
						switch found := told(t, a); {
						case cmp.Equal(found, before):
							old++
						case cmp.Equal(found, after):
							anew++
						default:
							t.Fatalf("operation %d (%s), done %v: neither what was nor what was to be:\n%s", at, faults.Hit(), done, cmp.Diff(before, found))
						}
					})
				}
			}
			if old < 2 || anew < 2 {
				t.Errorf("%d times nothing had happened, %d times all: the crash did not come between", old, anew)
			}
		})
	}
}

// operations is how many it takes to open the files.
func (s *site) operations(t *testing.T, start map[string][]byte) int {
	t.Helper()
	for n := 1; ; n++ {
		s.restore(t, start)
		faults := &durabletest.Faults{At: n, For: 1 << 30, Err: syscall.EIO}
		f := durable.Files{Ops: faults}
		store, err := mapstore.Open(s.config(f))
		if err == nil {
			_, err = signing.Open(f, s.keyring(), rand.Reader)
			_ = store.Close()
		}
		if err == nil {
			return n - 1
		}
	}
}

// What a rotation has begun goes on in the next process: the overlap, the trial,
// the end of a replaced token.
func TestTimersOutliveTheProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var old authority.TokenID
	s.process(t, durable.Files{}, func(a *authority.Authority) {
		issued, err := a.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "ci", Role: "user"}, "")
		if err != nil {
			t.Fatal(err)
		}
		old = issued.ID
		_, replaceErr := a.ReplaceToken(t.Context(), operator(), old, time.Hour)
		_, rotateErr := a.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: 2 * time.Hour})
		_, trialErr := a.TrialStop(t.Context(), operator(), "key_2026a", 15*time.Minute)
		if err := errors.Join(replaceErr, rotateErr, trialErr); err != nil {
			t.Fatal(err)
		}
	})
	for _, at := range []struct {
		after           time.Duration
		trial, accepted bool
		token           authority.TokenState
	}{
		{14 * time.Minute, true, true, authority.StateActive},
		{time.Minute, false, true, authority.StateActive},
		{45 * time.Minute, false, true, authority.StateReplaced},
		{59 * time.Minute, false, true, authority.StateReplaced},
		{time.Minute, false, false, authority.StateReplaced},
	} {
		s.advance(at.after)
		s.process(t, durable.Files{}, func(a *authority.Authority) {
			if err := a.EndOverlaps(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			keys, err := a.Keys(t.Context(), operator())
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				if k.Name == "key_2026a" && (k.OnTrial(s.now()) != at.trial || k.Accepted(s.now()) != at.accepted || k.State != authority.KeyPrevious) {
					t.Errorf("at %s: %+v", s.now(), k)
				}
			}
			if v, err := a.Token(t.Context(), operator(), old); err != nil || v.State != at.token {
				t.Errorf("at %s: the token is %s, %v", s.now(), v.State, err)
			}
		})
	}
}
