package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func audit(t *testing.T, s authority.Store, q authority.AuditQuery) authority.AuditPage {
	t.Helper()
	var page authority.AuditPage
	view(t, s, func(tx authority.Tx) error {
		var err error
		page, err = tx.Audit().Page(q)
		return err
	})
	return page
}

// history is 40 events of different kinds.
func history() []authority.Event {
	var out []authority.Event
	for i := range 40 {
		e := authority.Event{
			At: epoch().Add(time.Duration(i) * time.Minute), Actor: authority.Actor{Kind: "admin", Name: []string{"admin", "other"}[i%2]},
			Action: []string{"token.created", "token.deleted", "key.rotated", "tokens.exported"}[i%4], Target: fmt.Sprint("tok_", i%5),
			Label: fmt.Sprint("client-", i%3), From: "192.0.2.1", Outcome: []string{"ok", "ok", "refused"}[i%3], RequestID: fmt.Sprint("req-", i),
		}
		if i%2 == 0 {
			e.Detail = map[string]string{"before": "a \"b\"\n", "after": "ü"}
		}
		out = append(out, e)
	}
	return out
}

// record writes events, some alone, some with a change of tokens or of other
// records, and answers them chained.
func record(t *testing.T, s authority.Store, events []authority.Event) []authority.Event {
	t.Helper()
	for i, chunk := range slices.Collect(slices.Chunk(events, 3)) {
		update(t, s, func(tx authority.Tx) error {
			var err error
			switch i % 3 {
			case 0:
				err = tx.Tokens().Insert(Token(1000 + i))
			case 1:
				err = tx.Throttles().Insert(authority.Throttle{Name: fmt.Sprint("name-", i), LastAt: epoch()})
			}
			return errors.Join(err, tx.Audit().Append(chunk...))
		})
	}
	var seq uint64
	var hash string
	out := slices.Clone(events)
	for i, e := range out {
		out[i] = e.ChainAfter(seq, hash)
		seq, hash = out[i].Seq, out[i].Hash
	}
	return out
}

func auditChain(t *testing.T, h Harness) {
	want := record(t, h.Store, history())
	slices.Reverse(want)
	page := audit(t, h.Store, authority.AuditQuery{Limit: 500})
	if d := diff(want, page.Events); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if page.Next != 0 || page.Total != uint64(len(want)) {
		t.Errorf("next %d, total %d; want 0 and %d", page.Next, page.Total, len(want))
	}
	together(t, func(w, r int) error {
		return h.Store.Update(context.Background(), func(tx authority.Tx) error {
			var err error
			switch {
			case r%3 == 0:
				err = tx.Tokens().Insert(Token(w*rounds + r))
			case r%3 == 1:
				err = tx.Admins().Insert(authority.Admin{Name: fmt.Sprint(w, "-", r)})
			}
			return errors.Join(err, tx.Audit().Append(authority.Event{At: epoch(), Action: "x", Target: fmt.Sprint(w, " ", r)}))
		})
	})
	wantChain(t, h.Store, len(want)+workers*rounds)
}

// wantChain checks numbers and hashes of the whole log.
func wantChain(t *testing.T, s authority.Store, n int) {
	t.Helper()
	events := audit(t, s, authority.AuditQuery{Limit: 500}).Events
	if len(events) != n {
		t.Fatalf("%d events, want %d", len(events), n)
	}
	var seq uint64
	var hash string
	for _, e := range slices.Backward(events) {
		if want := e.ChainAfter(seq, hash); want.Seq != e.Seq || want.Hash != e.Hash {
			t.Fatalf("event %d is not the one after %d", e.Seq, seq)
		}
		seq, hash = e.Seq, e.Hash
	}
}

// wantAuditPages reads all pages and compares them with what the query means.
func wantAuditPages(t *testing.T, s authority.Store, q authority.AuditQuery, all []authority.Event) {
	t.Helper()
	var want, got []authority.Event
	for _, e := range slices.Backward(all) {
		if q.Match(&e) {
			want = append(want, e)
		}
	}
	for range len(all) + 1 {
		page := audit(t, s, q)
		if page.Total != uint64(len(all)) {
			t.Errorf("total %d, want %d", page.Total, len(all))
		}
		got = append(got, page.Events...)
		if len(page.Events) > q.Limit {
			t.Errorf("%d events on a page of %d", len(page.Events), q.Limit)
		}
		if q.Before = page.Next; q.Before == 0 {
			break
		}
	}
	if d := diff(want, got); d != "" {
		t.Errorf("%+v (-want +got):\n%s", q, d)
	}
}

// auditCommitted checks that a page has no event that is not committed.
func auditCommitted(t *testing.T, h Harness) {
	for i := range 3 {
		update(t, h.Store, func(tx authority.Tx) error {
			if err := tx.Audit().Append(authority.Event{At: epoch(), Action: "x"}); err != nil {
				return err
			}
			page, err := tx.Audit().Page(authority.AuditQuery{Limit: 10})
			if len(page.Events) != i || page.Total != uint64(i) {
				t.Errorf("%d events, total %d; %d are committed", len(page.Events), page.Total, i)
			}
			return err
		})
	}
}

func auditPages(t *testing.T, h Harness) {
	all := record(t, h.Store, history())
	for _, limit := range []int{1, 3, 39, 40, 41, 500} {
		wantAuditPages(t, h.Store, authority.AuditQuery{Limit: limit}, all)
	}
	for _, before := range []uint64{1, 2, 20, 40, 41, 1000} {
		wantAuditPages(t, h.Store, authority.AuditQuery{Limit: 7, Before: before}, all)
	}
}

func auditFilters(t *testing.T, h Harness) {
	all := record(t, h.Store, history())
	for name, q := range map[string]authority.AuditQuery{
		"actor":    {Actor: "other"},
		"target":   {Target: "tok_3"},
		"label":    {Target: "client-1"},
		"action":   {Action: "token.created"},
		"group":    {Action: "token."},
		"outcome":  {Outcome: "refused"},
		"since":    {Since: epoch().Add(10 * time.Minute)},
		"until":    {Until: epoch().Add(10 * time.Minute)},
		"together": {Actor: "admin", Action: "token.", Outcome: "ok", Since: epoch().Add(5 * time.Minute), Until: epoch().Add(30 * time.Minute)},
		"nothing":  {Actor: "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			q.Limit = 3
			wantAuditPages(t, h.Store, q, all)
		})
	}
}

func reopens(t *testing.T, h Harness) {
	if h.Reopen == nil {
		if h.Store.Facts().Persistent {
			t.Error("the store says that tokens survive a restart")
		}
		return
	}
	s := sample()
	tokens := []authority.Token{Token(1), Token(2)}
	put(t, h.Store, Token(1), Token(2), Token(3))
	update(t, h.Store, func(tx authority.Tx) error {
		return errors.Join(tx.Receipts().Insert(s.receipts[0]), tx.Tokens().Delete(Token(3).ID))
	})
	update(t, h.Store, func(tx authority.Tx) error {
		return errors.Join(tx.Keys().Insert(s.keys[0]), tx.Admins().Insert(s.admins[0]), tx.Logins().Insert(s.logins[0]),
			tx.Throttles().Insert(s.throttles[0]), tx.System().Insert(s.system))
	})
	n := len(record(t, h.Store, history()))
	for range 2 {
		h.Store = h.Reopen(t)
		if h.Store.Facts().Persistent == h.TokensLost {
			t.Errorf("facts: persistent is %v", !h.TokensLost)
		}
		view(t, h.Store, func(tx authority.Tx) error {
			receipt, err := tx.Receipts().Get(s.receipts[0].Key)
			if h.TokensLost {
				wantKind(t, "a receipt in memory", err, authority.NotFound)
			} else if d := diff(s.receipts[0], receipt); d != "" {
				t.Errorf("receipt (-want +got):\n%s", d)
			}
			for i, want := range tokens {
				got, err := tx.Tokens().Get(want.ID)
				if h.TokensLost {
					wantKind(t, "a token in memory", err, authority.NotFound)
				} else if d := diff(want, got); d != "" {
					t.Errorf("token %d (-want +got):\n%s", i, d)
				}
			}
			_, err = tx.Tokens().Get(Token(3).ID)
			wantKind(t, "a deleted token", err, authority.NotFound)
			wantKept(t, tx, s)
			return nil
		})
		wantChain(t, h.Store, n)
		update(t, h.Store, func(tx authority.Tx) error {
			return tx.Audit().Append(authority.Event{At: epoch(), Action: "reopened"})
		})
		n++
		wantChain(t, h.Store, n)
	}
}

func wantKept(t *testing.T, tx authority.Tx, s samples) {
	t.Helper()
	key, keyErr := tx.Keys().Get(s.keys[0].ID)
	admin, adminErr := tx.Admins().Get(s.admins[0].Name)
	login, loginErr := tx.Logins().Get(s.logins[0].ID)
	throttle, throttleErr := tx.Throttles().Get(s.throttles[0].Name)
	system, systemErr := tx.System().Get(authority.SystemKey)
	if err := errors.Join(keyErr, adminErr, loginErr, throttleErr, systemErr); err != nil {
		t.Fatal(err)
	}
	if d := diff([]any{s.keys[0], s.admins[0], s.logins[0], s.throttles[0], s.system}, []any{key, admin, login, throttle, system}); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}
