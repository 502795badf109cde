package authority_test

import (
	"context"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/password"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
)

const (
	goodPassword = "correct horse battery staple 4"
	otherAdmin   = "maria"
)

// house is an authority over the real memory store, keyring and hasher, with a
// clock that the test moves.
type house struct {
	*authority.Authority
	store  *mapstore.Store
	ring   *signing.Ring
	policy authority.Policy
	clock  atomic.Int64
	used   map[authority.TokenID]authority.Use
	uses   map[authority.TokenID][]authority.KeyUse
	since  time.Time // when the counting of uses began
}

func (h *house) LastUse(id authority.TokenID) authority.Use          { return h.used[id] }
func (h *house) KeyUses(id authority.TokenID) []authority.KeyUse     { return h.uses[id] }
func (h *house) Since() time.Time                                    { return h.since }
func (h *house) TrialRefusals(authority.TokenID) (uint64, time.Time) { return 0, time.Time{} }

func (h *house) now() time.Time { return time.Unix(0, h.clock.Load()).UTC() }

func (h *house) advance(d time.Duration) { h.clock.Add(int64(d)) }

func newHouse(t *testing.T) *house {
	t.Helper()
	h := emptyHouse(t)
	if err := h.Found(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	return h
}

// emptyHouse has no records yet.
func emptyHouse(t *testing.T) *house {
	t.Helper()
	h := &house{used: make(map[authority.TokenID]authority.Use), uses: make(map[authority.TokenID][]authority.KeyUse), ring: signing.InMemory(rand.Reader)}
	h.clock.Store(time.Date(2026, 11, 23, 14, 8, 2, 5e8, time.UTC).UnixNano())
	h.policy = authority.Policy{
		Issuer: "https://tokens.example", Audience: []string{"https://api.example"}, Algorithm: "ES256", Copy: authority.CopyAllow,
		DefaultLifetime: 90 * 24 * time.Hour, NeverExpire: true, RestoreGrace: time.Hour, Overlap: 14 * 24 * time.Hour, RotateEvery: 182 * 24 * time.Hour, StepUp: 15 * time.Minute,
		LoginAbsolute: 12 * time.Hour, LoginAttempts: 5, LoginPause: 5 * time.Minute,
	}
	store, err := mapstore.Open(mapstore.Config{Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	h.store = store
	h.Authority, err = authority.New(authority.Config{
		Store: store, Custody: h.ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: h, Policy: func() authority.Policy { return h.policy }, Now: h.now, Rand: rand.Reader, Host: "tokens-01",
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// dearer is the same with other costs of a password.
func (h *house) dearer() authority.Config {
	c := h.Config
	c.Passwords = password.NewHasher(password.Params{Memory: 128, Time: 1, Threads: 1}, 4, rand.Reader)
	return c
}

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{RequestID: "r1"})
}

func nobody() authority.Caller {
	return authority.Nobody(authority.Origin{From: "10.2.0.14", RequestID: "r2"})
}

func (h *house) issue(t *testing.T, r authority.TokenRequest) authority.Issued {
	t.Helper()
	issued, err := h.IssueToken(t.Context(), operator(), r, "")
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func (h *house) admin(t *testing.T, name string) {
	t.Helper()
	if _, err := h.CreateAdmin(t.Context(), operator(), name, authority.NewSecret(goodPassword)); err != nil {
		t.Fatal(err)
	}
}

func (h *house) lastEvent(t *testing.T) authority.Event {
	t.Helper()
	page, err := h.Audit(context.Background(), operator(), authority.AuditQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Events) == 0 {
		t.Fatal("the audit log is empty")
	}
	return page.Events[0]
}

func wantKind(t *testing.T, err error, kind authority.Kind, code string) {
	t.Helper()
	if authority.KindOf(err) != kind || err == nil {
		t.Fatalf("got %v (%v), want %v", err, authority.KindOf(err), kind)
	}
	if code == "" {
		return
	}
	if e := classed(t, err); e.Code != code {
		t.Fatalf("got %#v, want code %s", e, code)
	}
}

// classed is the failure with all that it says.
func classed(t *testing.T, err error) *authority.Error {
	t.Helper()
	var e *authority.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %#v, which is no *authority.Error", err)
	}
	return e
}
