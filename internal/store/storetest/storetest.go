// Package storetest is the contract of authority.Store as tests: every store
// runs the one suite, plain and behind the fault wrappers, which other tests
// may use too. It touches nothing but the store it is given.
//
// The one hard idea: what the suite expects is computed from the port's own
// words (TokenQuery.Match and Compare, Event.ChainAfter), never from a store.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// Harness is one fresh, empty store under test.
type Harness struct {
	Store authority.Store
	// Reopen closes the store and opens what it kept; nil when nothing lasts.
	Reopen func(t *testing.T) authority.Store
	// Second opens another handle on what the store keeps, as another node would;
	// nil when a store has one process.
	Second func(t *testing.T) authority.Store
	// TokensLost: tokens and receipts do not survive Reopen.
	TokensLost bool
	// UsedAt is that of an authority.UseKeeper; nil: the store asks the query.
	UsedAt func(ctx context.Context, uses []authority.Used) error
	// Split: a transaction may not change tokens and other records.
	Split bool
}

type check struct {
	name string
	run  func(*testing.T, Harness)
}

// Run runs the suite. open answers a fresh store each time it is called and
// closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	checks := []check{
		{"tables keep records", tables},
		{"values are copied in and out", copies},
		{"values of every kind are copied in and out", copiesOfAll},
		{"a failed update changes nothing", atomicity},
		{"a panic releases the store", panics},
		{"a transaction sees its own changes", ownChanges},
		{"a view cannot change anything", readOnly},
		{"no update is lost", lostUpdates},
		{"a view sees one durable state", views},
		{"an answered update is visible", visible},
		{"followers see every commit in order", followers},
		{"followers see nothing that did not commit", followersAborted},
		{"a follower that joins late misses nothing", followLate},
		{"a follower is handed all that is live", loading},
		{"queries sort and page", queries},
		{"queries go on behind a token that is gone", goneCursor},
		{"queries filter", filters},
		{"counts", counts},
		{"the audit log is a chain", auditChain},
		{"the audit log has committed events only", auditCommitted},
		{"the audit log pages", auditPages},
		{"the audit log filters", auditFilters},
		{"a cancelled update does nothing", cancellation},
		{"what is given up says so", gaveUp},
		{"the facts are told", facts},
		{"closing waits and is for good", closing},
		{"what is kept survives", reopens},
		{"tokens and records do not mix where files differ", split},
		{"no update of another handle is lost", lostUpdatesOfTwo},
		{"every handle follows every commit", feed},
		{"a handle that joins late misses nothing", feedLate},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
	for name, fault := range map[string]func(authority.Store, int) authority.Store{
		"failing before": FailBefore, "failing and forgetting": FailAndForget,
	} {
		for _, c := range checks {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				h := open(t)
				h.Store = patient{fault(h.Store, 3)}
				c.run(t, h)
			})
		}
	}
	t.Run("failing and persisting", func(t *testing.T) { persisting(t, open(t)) })
	t.Run("failing in every way", func(t *testing.T) { looking(t, open(t)) })
}

// Lists runs the part of the suite that is about order and search.
func Lists(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range []check{
		{"tables keep records", tables},
		{"queries sort and page", queries},
		{"queries go on behind a token that is gone", goneCursor},
		{"queries filter", filters},
		{"counts", counts},
		{"the audit log filters", auditFilters},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// epoch is when everything in the suite happens.
func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// Token answers a record with every member set that differs from those of all
// other n.
func Token(n int) authority.Token {
	return authority.Token{
		ID: authority.TokenID(fmt.Sprintf("tok_%026d", n)), ClientID: fmt.Sprintf("client-%04d", n), Role: authority.RoleUser,
		Tags: []string{"team:blue", fmt.Sprintf("n:%d", n)}, Issuer: "https://mint.example", Audience: []string{"https://api.example"},
		Description: "nightly \"job\" <" + fmt.Sprint(n) + ">\n", Contact: "ops@example.org",
		AllowedAddresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		CreatedAt:        epoch().Add(time.Duration(n) * time.Second), CreatedBy: "admin",
		ExpiresAt: epoch().Add(90 * 24 * time.Hour), KeyID: "kid-1", Generation: 1,
		Replaces: "tok_before", ReplacedBy: "tok_after", EndsAt: epoch().Add(100 * 24 * time.Hour), RetireWhenSeen: true,
		Contacted: authority.Contact{At: epoch().Add(time.Hour), By: "admin", Note: "by mail"},
	}
}

func put(t *testing.T, s authority.Store, tokens ...authority.Token) {
	t.Helper()
	update(t, s, func(tx authority.Tx) error {
		for _, v := range tokens {
			if err := tx.Tokens().Insert(v); err != nil {
				return err
			}
		}
		return nil
	})
}

func update(t *testing.T, s authority.Store, fn func(authority.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatalf("update: %v (cause: %v)", err, errors.Unwrap(err))
	}
}

func view(t *testing.T, s authority.Store, fn func(authority.Tx) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatalf("view: %v (cause: %v)", err, errors.Unwrap(err))
	}
}

func wantKind(t *testing.T, what string, err error, want authority.Kind) {
	t.Helper()
	if err == nil || authority.KindOf(err) != want {
		t.Errorf("%s: got %v, want kind %q", what, err, want)
	}
}
