package authority_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/store/storetest"
)

// brittle counts every call that the rules make of the outside, to the store,
// within a transaction, to the keyring, the hasher and the random source, and
// fails one of them.
type brittle struct{ left atomic.Int64 }

var errBroken = &authority.Error{Kind: authority.Unavailable, Code: "test.broken", Err: errors.New("broken")}

func (b *brittle) step() error {
	if b.left.Add(-1) == 0 {
		return errBroken
	}
	return nil
}

type brittleStore struct {
	authority.Store
	*brittle
}

func (s brittleStore) View(ctx context.Context, fn func(authority.Tx) error) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.Store.View(ctx, func(tx authority.Tx) error { return fn(brittleTx{tx, s.brittle}) })
}

func (s brittleStore) Update(ctx context.Context, fn func(authority.Tx) error) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx authority.Tx) error {
		if err := fn(brittleTx{tx, s.brittle}); err != nil {
			return err
		}
		return s.step() // the commit
	})
}

type brittleTx struct {
	authority.Tx
	*brittle
}

func (t brittleTx) Tokens() authority.TokenTable { return brittleTokens{t.Tx.Tokens(), t.brittle} }
func (t brittleTx) Receipts() authority.Table[string, authority.Receipt] {
	return brittleTable[string, authority.Receipt]{t.Tx.Receipts(), t.brittle}
}

func (t brittleTx) Keys() authority.Table[authority.KeyID, authority.Key] {
	return brittleTable[authority.KeyID, authority.Key]{t.Tx.Keys(), t.brittle}
}

func (t brittleTx) Admins() authority.Table[string, authority.Admin] {
	return brittleTable[string, authority.Admin]{t.Tx.Admins(), t.brittle}
}

func (t brittleTx) Logins() authority.Table[authority.LoginID, authority.Login] {
	return brittleTable[authority.LoginID, authority.Login]{t.Tx.Logins(), t.brittle}
}

func (t brittleTx) Throttles() authority.Table[string, authority.Throttle] {
	return brittleTable[string, authority.Throttle]{t.Tx.Throttles(), t.brittle}
}

func (t brittleTx) System() authority.Table[string, authority.System] {
	return brittleTable[string, authority.System]{t.Tx.System(), t.brittle}
}

func (t brittleTx) Audit() authority.AuditTable { return brittleAudit{t.Tx.Audit(), t.brittle} }

type brittleTable[K comparable, T any] struct {
	authority.Table[K, T]
	*brittle
}

func (t brittleTable[K, T]) Get(key K) (T, error) {
	if err := t.step(); err != nil {
		var none T
		return none, err
	}
	return t.Table.Get(key)
}

func (t brittleTable[K, T]) Insert(v T) error { return errors.Join(t.step(), t.Table.Insert(v)) }
func (t brittleTable[K, T]) Put(v T) error    { return errors.Join(t.step(), t.Table.Put(v)) }
func (t brittleTable[K, T]) Delete(k K) error { return errors.Join(t.step(), t.Table.Delete(k)) }
func (t brittleTable[K, T]) All() iter.Seq2[T, error] {
	if err := t.step(); err != nil {
		return func(yield func(T, error) bool) { var none T; yield(none, err) }
	}
	return t.Table.All()
}

type brittleTokens struct {
	authority.TokenTable
	*brittle
}

func (t brittleTokens) rows() brittleTable[authority.TokenID, authority.Token] {
	return brittleTable[authority.TokenID, authority.Token]{t.TokenTable, t.brittle}
}

func (t brittleTokens) Get(id authority.TokenID) (authority.Token, error) { return t.rows().Get(id) }

func (t brittleTokens) Insert(v authority.Token) error         { return t.rows().Insert(v) }
func (t brittleTokens) Put(v authority.Token) error            { return t.rows().Put(v) }
func (t brittleTokens) Delete(id authority.TokenID) error      { return t.rows().Delete(id) }
func (t brittleTokens) All() iter.Seq2[authority.Token, error] { return t.rows().All() }

func (t brittleTokens) Find(q authority.TokenQuery) (authority.TokenPage, error) {
	page, err := t.TokenTable.Find(q)
	return page, errors.Join(t.step(), err)
}

func (t brittleTokens) Counts(now time.Time, generation uint64) (authority.TokenCounts, error) {
	c, err := t.TokenTable.Counts(now, generation)
	return c, errors.Join(t.step(), err)
}

type brittleAudit struct {
	authority.AuditTable
	*brittle
}

func (a brittleAudit) Append(e ...authority.Event) error {
	return errors.Join(a.step(), a.AuditTable.Append(e...))
}

func (a brittleAudit) Page(q authority.AuditQuery) (authority.AuditPage, error) {
	page, err := a.AuditTable.Page(q)
	return page, errors.Join(a.step(), err)
}

type brittleCustody struct {
	authority.Custody
	*brittle
}

func (c brittleCustody) Generate(alg string) (authority.KeyID, error) {
	if err := c.step(); err != nil {
		return "", err
	}
	return c.Custody.Generate(alg)
}

func (c brittleCustody) Mint(kid authority.KeyID, typ string, claims authority.Claims) (authority.Secret, error) {
	text, err := c.Custody.Mint(kid, typ, claims)
	return text, errors.Join(c.step(), err)
}

func (c brittleCustody) Keep(kids []authority.KeyID) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.Custody.Keep(kids)
}

type brittlePasswords struct {
	authority.Passwords
	*brittle
}

func (p brittlePasswords) Hash(ctx context.Context, password authority.Secret) (string, error) {
	hash, err := p.Passwords.Hash(ctx, password)
	return hash, errors.Join(p.step(), err)
}

func (p brittlePasswords) Verify(ctx context.Context, phc string, password authority.Secret) (bool, bool, error) {
	ok, again, err := p.Passwords.Verify(ctx, phc, password)
	return ok, again, errors.Join(p.step(), err)
}

type brittleRand struct{ *brittle }

func (r brittleRand) Read(p []byte) (int, error) {
	if err := r.step(); err != nil {
		return 0, err
	}
	return io.ReadFull(rand.Reader, p)
}

// breaking is an authority over the same records and secrets as h, whose n-th
// call of the outside fails.
func (h *house) breaking(t *testing.T, n int) *authority.Authority {
	t.Helper()
	b := new(brittle)
	b.left.Store(int64(n))
	return h.over(t, b)
}

// counting is one whose calls of the outside are counted.
func (h *house) counting(t *testing.T) (func() int, *authority.Authority) {
	t.Helper()
	b := new(brittle)
	return func() int { return -int(b.left.Load()) }, h.over(t, b)
}

func (h *house) over(t *testing.T, b *brittle) *authority.Authority {
	t.Helper()
	c := h.Config
	c.Store, c.Custody, c.Passwords, c.Rand = brittleStore{c.Store, b}, brittleCustody{c.Custody, b}, brittlePasswords{c.Passwords, b}, brittleRand{b}
	a, err := authority.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// records is all that a store holds but the counts of failed attempts, whose
// change is no event of its own, and how many events there are.
func (h *house) records(t *testing.T) (map[string]any, uint64) {
	t.Helper()
	all := make(map[string]any)
	err := h.store.View(t.Context(), func(tx authority.Tx) error {
		note := func(kind, key string, v any) { all[kind+" "+key] = v }
		for v := range tx.Tokens().All() {
			note("token", string(v.ID), v)
		}
		for v := range tx.Keys().All() {
			note("key", string(v.ID), v)
		}
		for v := range tx.Admins().All() {
			note("admin", v.Name, v)
		}
		for v := range tx.Logins().All() {
			note("login", string(v.ID), v)
		}
		for v := range tx.System().All() {
			note("system", "", v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := h.Audit(t.Context(), operator(), authority.AuditQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	return all, page.Total
}

// stage is a house in which every operation can be done.
type stage struct {
	*house
	t          *testing.T
	live, gone authority.TokenID
	login      authority.Caller
	code       authority.Secret // of a house without an administrator
}

func newStage(t *testing.T, founded bool) *stage {
	t.Helper()
	s := &stage{house: newHouse(t), t: t}
	s.live = s.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user", Lifetime: time.Hour}).ID
	s.gone = s.issue(t, authority.TokenRequest{ClientID: "old", Role: "user"}).ID
	if _, err := s.RevokeToken(t.Context(), operator(), s.gone, false); err != nil {
		t.Fatal(err)
	}
	if !founded {
		code, err := s.OpenSetup(t.Context(), operator())
		if err != nil {
			t.Fatal(err)
		}
		s.code = code
		return s
	}
	s.admin(t, otherAdmin)
	in, err := s.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	s.login = authority.LoginCaller(in.ID, in.Admin, in.AuthenticatedAt, authority.Origin{From: "10.2.0.14"})
	return s
}

// operations are all that change records, in a house that newStage made.
func operations() map[string]func(context.Context, *authority.Authority, *stage) error {
	type A = authority.Authority
	return map[string]func(context.Context, *A, *stage) error{
		"issue": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.IssueToken(ctx, operator(), authority.TokenRequest{ClientID: "new", Role: "user"}, "key-1")
			return err
		},
		"reveal": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.RevealToken(ctx, operator(), s.live)
			return err
		},
		"revoke": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.RevokeToken(ctx, operator(), s.live, true)
			return err
		},
		"revoke own": func(ctx context.Context, a *A, s *stage) error {
			return a.RevokeOwn(ctx, authority.TokenCaller("tok_x", "ci", authority.RoleUser, authority.Origin{}), s.live)
		},
		"restore": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.RestoreToken(ctx, operator(), s.gone)
			return err
		},
		"reset": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.ResetKeys(ctx, operator(), "")
			return err
		},
		"renew": func(ctx context.Context, a *A, s *stage) error {
			s.policy.Algorithm = "HS256"
			_, err := a.RenewNext(ctx, operator())
			return err
		},
		"create admin": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.CreateAdmin(ctx, operator(), "omar", secret(goodPassword))
			return err
		},
		"reset password": func(ctx context.Context, a *A, _ *stage) error {
			return a.ResetPassword(ctx, operator(), otherAdmin, secret("another long pass phrase"))
		},
		"delete admin": func(ctx context.Context, a *A, s *stage) error {
			if _, err := s.CreateAdmin(ctx, operator(), "omar", secret(goodPassword)); err != nil && authority.KindOf(err) != authority.Conflict {
				return err
			}
			return a.DeleteAdmin(ctx, operator(), otherAdmin)
		},
		"unlock": func(ctx context.Context, a *A, _ *stage) error { return a.UnlockAdmin(ctx, operator(), otherAdmin) },
		"sign in": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.SignIn(ctx, nobody(), otherAdmin, secret(goodPassword))
			return err
		},
		"sign in again": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.Reauthenticate(ctx, s.login, secret(goodPassword))
			return err
		},
		"sign out": func(ctx context.Context, a *A, s *stage) error { return a.SignOut(ctx, s.login) },
		"record": func(ctx context.Context, a *A, _ *stage) error {
			return a.Record(ctx, operator(), []authority.Recorded{{Action: "config.applied", Target: "revision 2"}})
		},
		"setup": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.CompleteSetup(ctx, nobody(), s.code, "admin", secret(goodPassword))
			return err
		},
		"open setup": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.OpenSetup(ctx, operator())
			return err
		},
		"rotate": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.RotateKey(ctx, operator(), authority.RotateRequest{Overlap: time.Hour})
			return err
		},
		"extend": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.ExtendKey(ctx, operator(), "key_2026a", s.now().Add(2*time.Hour))
			if authority.KindOf(err) == authority.Invalid {
				return nil // done already
			}
			return err
		},
		"retire": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.RetireKey(ctx, operator(), "key_2026a")
			return err
		},
		"trial stop": func(ctx context.Context, a *A, _ *stage) error {
			_, err := a.TrialStop(ctx, operator(), "key_2026a", time.Minute)
			return err
		},
		"end trial": func(ctx context.Context, a *A, s *stage) error {
			if _, err := s.TrialStop(ctx, operator(), "key_2026a", time.Minute); err != nil {
				return err
			}
			_, err := a.EndTrial(ctx, operator(), "key_2026a")
			return err
		},
		"end overlaps": func(ctx context.Context, a *A, s *stage) error {
			s.policy.RotateAuto, s.policy.RotateEvery = true, time.Hour
			if err := a.EndOverlaps(ctx, 0); err != nil {
				return err
			}
			s.advance(time.Hour)
			return a.EndOverlaps(ctx, time.Hour)
		},
		"hold overlaps": func(ctx context.Context, a *A, s *stage) error {
			s.since = s.now().Add(-48 * time.Hour)
			s.uses[s.live] = []authority.KeyUse{{Key: s.key(s.t, "key_2026a").ID, Last: s.now()}}
			if err := a.EndOverlaps(ctx, 0); err != nil {
				return err
			}
			s.advance(time.Hour)
			return a.EndOverlaps(ctx, time.Hour)
		},
		"replace": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.ReplaceToken(ctx, operator(), s.live, time.Hour)
			return err
		},
		"undo replace": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.UndoReplace(ctx, operator(), s.live)
			return err
		},
		"contacted": func(ctx context.Context, a *A, s *stage) error {
			_, err := a.MarkContacted(ctx, operator(), s.live, "by mail")
			return err
		},
		"maintain": func(ctx context.Context, a *A, s *stage) error {
			s.clock.Store(s.now().Add(2 * time.Hour).UnixNano())
			return a.Maintain(ctx)
		},
	}
}

func founded(operation string) bool { return operation != "setup" && operation != "open setup" }

// overlapping begins what an operation is about: the overlap of a key or of a
// token.
func (s *stage) overlapping(operation string) {
	s.t.Helper()
	switch operation {
	case "extend", "retire", "trial stop", "end trial", "end overlaps", "hold overlaps", "evidence":
		s.policy.HoldIfUsed = operation == "hold overlaps"
		s.rotate(s.t, time.Hour)
	case "undo replace":
		if _, err := s.ReplaceToken(s.t.Context(), operator(), s.live, time.Hour); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Whichever call fails, a change and its event are both there or neither is, no
// record names a secret that is gone, and the same operation works afterwards.
func TestAChangeAndItsEventCommitTogetherWhicheverStepFails(t *testing.T) {
	t.Parallel()
	for name, operate := range operations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failures := 0
			for n := 1; n < 200; n++ {
				s := newStage(t, founded(name))
				s.overlapping(name)
				before, events := s.records(t)
				err := operate(t.Context(), s.breaking(t, n), s)
				after, more := s.records(t)
				changed := !cmp.Equal(before, after, cmpopts.EquateComparable())
				if changed && more == events {
					t.Fatalf("call %d failed (%v): a change without its event:\n%s", n, err, cmp.Diff(before, after, cmpopts.EquateComparable()))
				}
				if custodyErr := s.CheckCustody(t.Context(), s.ring.Has); custodyErr != nil {
					t.Fatalf("call %d failed (%v): %v", n, err, custodyErr)
				}
				if err == nil {
					if failures == 0 {
						t.Fatal("nothing was made to fail")
					}
					return
				}
				failures++
				if !errors.Is(err, authority.Unavailable) {
					t.Fatalf("call %d: the failure reads %v", n, err)
				}
				if changed && slices.Contains([]string{"setup", "create admin", "replace", "undo replace"}, name) {
					continue // done once, it is refused
				}
				if err := operate(t.Context(), s.Authority, s); err != nil {
					t.Fatalf("call %d failed, and so does the next try: %v", n, err)
				}
			}
			t.Fatal("it never ends")
		})
	}
}

func TestReadingFailsAloudWhicheverStepFails(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(context.Context, *authority.Authority, *stage) error{
		"list": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.Tokens(ctx, operator(), authority.ListRequest{})
			return err
		},
		"counts": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.TokenCounts(ctx, operator())
			return err
		},
		"logins": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.Logins(ctx, operator())
			return err
		},
		"find": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.FindToken(ctx, operator(), "ci", false)
			return err
		},
		"token": func(ctx context.Context, a *authority.Authority, s *stage) error {
			_, err := a.Token(ctx, operator(), s.live)
			return err
		},
		"keys": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.Keys(ctx, operator())
			return err
		},
		"evidence": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.Evidence(ctx, operator(), "key_2026a")
			return err
		},
		"published keys": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.PublishedKeys(ctx)
			return err
		},
		"custody": func(ctx context.Context, a *authority.Authority, s *stage) error {
			return a.CheckCustody(ctx, s.ring.Has)
		},
		"admins": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.Admins(ctx, operator())
			return err
		},
		"audit": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.Audit(ctx, operator(), authority.AuditQuery{})
			return err
		},
		"setup needed": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.SetupNeeded(ctx)
			return err
		},
		"last seen": func(ctx context.Context, a *authority.Authority, _ *stage) error {
			_, err := a.LastSeen(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, true)
			s.overlapping(name)
			for n := 1; ; n++ {
				err := read(t.Context(), s.breaking(t, n), s)
				if err == nil && n == 1 {
					t.Fatal("nothing was made to fail")
				}
				if err == nil {
					return
				}
				if authority.KindOf(err) != authority.Unavailable {
					t.Fatalf("call %d: the failure reads %v", n, err)
				}
			}
		})
	}
}

// A commit whose answer is lost is done; the caller is told that nobody knows.
func TestALostAnswerIsNeverASuccessAndARepeatFindsWhatWasDone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.Config
	c.Store = storetest.FailAndPersist(h.store, 1)
	a, err := authority.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := authority.TokenRequest{ClientID: "ci", Role: "user"}
	if issued, err := a.IssueToken(t.Context(), operator(), r, "key-1"); !errors.Is(err, authority.Unavailable) || issued.Text.Unsafe() != "" {
		t.Fatalf("got %v, %v", issued.ID, err)
	}
	list, err := h.Tokens(t.Context(), operator(), authority.ListRequest{})
	if err != nil || len(list.Items) != 1 || !list.Items[0].LastUse.At.IsZero() {
		t.Fatalf("the token is not there to be seen: %+v, %v", list.Items, err)
	}
	again, err := h.IssueToken(t.Context(), operator(), r, "key-1")
	if err != nil || again.ID != list.Items[0].ID {
		t.Fatalf("a repeat made %s, %v", again.ID, err)
	}
	if e := h.lastEvent(t); e.Action != "token.copied" || e.Detail["repeat"] != "true" {
		t.Errorf("handing the text out again is not an event: %+v", e)
	}
}

func TestFoundLeavesNothingBehindWhenAStepFails(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		h := emptyHouse(t)
		err := h.breaking(t, n).Found(t.Context(), operator())
		if err == nil {
			return
		}
		if records, events := h.records(t); len(records) != 0 || events != 0 {
			t.Fatalf("call %d: %d records, %d events", n, len(records), events)
		}
		if err := h.Found(t.Context(), operator()); err != nil {
			t.Fatalf("call %d: the next try: %v", n, err)
		}
	}
}
