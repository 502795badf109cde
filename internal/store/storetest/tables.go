package storetest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
)

func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{}))
}

// keyed is a record of any table.
type keyed[K ~string] interface{ RecordKey() K }

// samples are two records of each kind, by ascending key, with every member set
// in one of them.
type samples struct {
	receipts  []authority.Receipt
	keys      []authority.Key
	admins    []authority.Admin
	logins    []authority.Login
	throttles []authority.Throttle
	system    authority.System
}

func sample() samples {
	at := func(h int) time.Time { return epoch().Add(time.Duration(h) * time.Hour) }
	return samples{
		receipts: []authority.Receipt{
			{Key: "aa", TokenID: "tok_1", Request: []byte{0, 1, 255}, At: at(1)}, {Key: "bb", TokenID: "tok_2", At: at(2)},
		},
		keys: []authority.Key{
			{ID: "k-1", Name: "key_2026a", Algorithm: "ES256", State: authority.KeyPrevious, CreatedAt: at(1), CurrentSince: at(2), Until: at(3), RetiredAt: at(4), Hold: true, TrialUntil: at(5), Reason: "scheduled", Sealed: []byte{7, 0}},
			{ID: "k-2", Name: "key_2026b", Algorithm: "HS256", State: authority.KeyNext, CreatedAt: at(5)},
		},
		admins: []authority.Admin{
			{Name: "admin", PasswordHash: "$argon2id$x", CreatedAt: at(1), CreatedBy: "setup", PasswordChangedAt: at(2)}, {Name: "other", PasswordHash: "y", CreatedAt: at(3)},
		},
		logins: []authority.Login{
			{ID: "lgn_1", Admin: "admin", CreatedAt: at(1), AuthenticatedAt: at(1), ExpiresAt: at(9), From: "192.0.2.1", KeyID: "k-1", Generation: 3},
			{ID: "lgn_2", Admin: "other", CreatedAt: at(2), ExpiresAt: at(8), KeyID: "k-1"},
		},
		throttles: []authority.Throttle{
			{Name: "admin", Failures: 2, Total: 12, LastAt: at(1), PausedUntil: at(2), Known: true}, {Name: "nobody", Failures: 1, Total: 1, LastAt: at(3)},
		},
		system: authority.System{Generation: 7, ResetAt: at(1), SetupDigest: []byte{9, 8}, SetupExpires: at(2), CursorKey: []byte{0, 1, 2}},
	}
}

func tables(t *testing.T, h Harness) {
	s := sample()
	bare := Token(2)
	bare.Tags, bare.Audience, bare.AllowedAddresses, bare.ExpiresAt = nil, nil, nil, time.Time{}
	bare.DeletedAt, bare.DeletedBy, bare.Leaked = epoch(), "other", true
	tableOf(t, h, func(tx authority.Tx) authority.Table[authority.TokenID, authority.Token] { return tx.Tokens() },
		[]authority.Token{Token(1), bare}, func(v *authority.Token) { v.Description, v.Generation = "changed", 9 })
	tableOf(t, h, func(tx authority.Tx) authority.Table[string, authority.Receipt] { return tx.Receipts() },
		s.receipts, func(v *authority.Receipt) { v.TokenID = "tok_9" })
	tableOf(t, h, func(tx authority.Tx) authority.Table[authority.KeyID, authority.Key] { return tx.Keys() },
		s.keys, func(v *authority.Key) { v.State = authority.KeyRetired })
	tableOf(t, h, func(tx authority.Tx) authority.Table[string, authority.Admin] { return tx.Admins() },
		s.admins, func(v *authority.Admin) { v.PasswordHash = "z" })
	tableOf(t, h, func(tx authority.Tx) authority.Table[authority.LoginID, authority.Login] { return tx.Logins() },
		s.logins, func(v *authority.Login) { v.From = "" })
	tableOf(t, h, func(tx authority.Tx) authority.Table[string, authority.Throttle] { return tx.Throttles() },
		s.throttles, func(v *authority.Throttle) { v.Failures = 0 })
	tableOf(t, h, func(tx authority.Tx) authority.Table[string, authority.System] { return tx.System() },
		[]authority.System{s.system}, func(v *authority.System) { v.Generation++ })
}

// tableOf checks one table with records by ascending key.
func tableOf[K ~string, T keyed[K]](t *testing.T, h Harness, of func(authority.Tx) authority.Table[K, T], records []T, change func(*T)) {
	t.Helper()
	first := records[0]
	view(t, h.Store, func(tx authority.Tx) error {
		_, err := of(tx).Get(first.RecordKey())
		wantKind(t, "get of nothing", err, authority.NotFound)
		return nil
	})
	wantKind(t, "put of nothing", h.Store.Update(context.Background(), func(tx authority.Tx) error { return of(tx).Put(first) }), authority.NotFound)
	update(t, h.Store, func(tx authority.Tx) error {
		for i := len(records) - 1; i >= 0; i-- {
			if err := of(tx).Insert(records[i]); err != nil {
				return err
			}
		}
		return nil
	})
	wantKind(t, "insert twice", h.Store.Update(context.Background(), func(tx authority.Tx) error { return of(tx).Insert(first) }), authority.Conflict)
	wantAll(t, h.Store, of, records)
	changed := first
	change(&changed)
	update(t, h.Store, func(tx authority.Tx) error { return of(tx).Put(changed) })
	view(t, h.Store, func(tx authority.Tx) error {
		got, err := of(tx).Get(first.RecordKey())
		if d := diff(changed, got); d != "" {
			t.Errorf("after put (-want +got):\n%s", d)
		}
		for range of(tx).All() { // leaving early is allowed
			break
		}
		return err
	})
	for range 2 {
		update(t, h.Store, func(tx authority.Tx) error { return of(tx).Delete(first.RecordKey()) })
	}
	wantAll(t, h.Store, of, records[1:])
}

func wantAll[K ~string, T keyed[K]](t *testing.T, s authority.Store, of func(authority.Tx) authority.Table[K, T], want []T) {
	t.Helper()
	view(t, s, func(tx authority.Tx) error {
		var got []T
		for v, err := range of(tx).All() {
			if err != nil {
				return err
			}
			got = append(got, v)
		}
		if d := diff(want, got); d != "" {
			t.Errorf("all (-want +got):\n%s", d)
		}
		return nil
	})
}

func wantTokens(t *testing.T, s authority.Store, want ...authority.Token) {
	t.Helper()
	wantAll(t, s, func(tx authority.Tx) authority.Table[authority.TokenID, authority.Token] { return tx.Tokens() }, want)
}

func copies(t *testing.T, h Harness) {
	spoil := func(v *authority.Token) {
		v.Tags[0], v.Audience[0], v.AllowedAddresses[0] = "spoilt:x", "spoilt", netip.Prefix{}
	}
	f := &recorder{}
	if err := h.Store.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	in := Token(1)
	put(t, h.Store, in)
	spoil(&in)
	f.each(func(c authority.Change) {
		for _, v := range c.Tokens {
			spoil(v.Value)
		}
	})
	view(t, h.Store, func(tx authority.Tx) error {
		got, err := tx.Tokens().Get(Token(1).ID)
		spoil(&got)
		for v := range tx.Tokens().All() {
			spoil(&v)
		}
		page, findErr := tx.Tokens().Find(everything())
		spoil(&page.Tokens[0])
		return errors.Join(err, findErr)
	})
	wantTokens(t, h.Store, Token(1))
}

// copiesOfAll is copies for the members of other records that are shared when
// they are not copied.
func copiesOfAll(t *testing.T, h Harness) {
	f := &recorder{}
	if err := h.Store.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	in, event := sample(), authority.Event{At: epoch(), Action: "x", Detail: map[string]string{"a": "b"}}
	update(t, h.Store, func(tx authority.Tx) error { return tx.Receipts().Insert(in.receipts[0]) })
	update(t, h.Store, func(tx authority.Tx) error {
		return errors.Join(tx.System().Insert(in.system), tx.Audit().Append(event))
	})
	in.receipts[0].Request[0], in.system.SetupDigest[0], in.system.CursorKey[0], event.Detail["a"] = 77, 77, 77, "spoilt"
	f.each(func(c authority.Change) {
		if c.System != nil && len(c.System.CursorKey) > 0 {
			c.System.CursorKey[0] = 77
		}
	})
	for range 2 {
		view(t, h.Store, func(tx authority.Tx) error {
			receipt, err := tx.Receipts().Get(in.receipts[0].Key)
			system, systemErr := tx.System().Get(authority.SystemKey)
			page, pageErr := tx.Audit().Page(authority.AuditQuery{Limit: 1})
			if err := errors.Join(err, systemErr, pageErr); err != nil {
				return err
			}
			want := sample()
			got := []any{receipt, system, page.Events[0].Detail["a"]}
			if d := diff([]any{want.receipts[0], want.system, "b"}, got); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
			receipt.Request[0], system.SetupDigest[0], system.CursorKey[0], page.Events[0].Detail["a"] = 77, 77, 77, "spoilt"
			return nil
		})
	}
}

func atomicity(t *testing.T, h Harness) {
	put(t, h.Store, Token(1))
	stop := errors.New("stop")
	err := h.Store.Update(context.Background(), func(tx authority.Tx) error {
		changed := Token(1)
		changed.Description = "changed"
		return errors.Join(tx.Tokens().Put(changed), tx.Tokens().Insert(Token(2)), tx.Tokens().Delete(Token(1).ID),
			tx.Audit().Append(authority.Event{At: epoch(), Action: "token.created"}), stop)
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the function's own error", err)
	}
	wantTokens(t, h.Store, Token(1))
	if page := audit(t, h.Store, authority.AuditQuery{Limit: 10}); len(page.Events) != 0 || page.Total != 0 {
		t.Errorf("a failed update left events: %+v", page)
	}
	err = h.Store.View(context.Background(), func(authority.Tx) error { return stop })
	if err != stop { //nolint:errorlint // as it is, not wrapped
		t.Errorf("view: got %v, want the function's own error", err)
	}
}

func panics(t *testing.T, h Harness) {
	func() {
		defer func() { _ = recover() }()
		_ = h.Store.Update(context.Background(), func(tx authority.Tx) error {
			if err := tx.Tokens().Insert(Token(1)); err != nil {
				return err
			}
			panic("in the function")
		})
	}()
	put(t, h.Store, Token(2))
	wantTokens(t, h.Store, Token(2))
}

func ownChanges(t *testing.T, h Harness) {
	put(t, h.Store, Token(1), Token(3))
	update(t, h.Store, func(tx authority.Tx) error {
		if err := errors.Join(tx.Tokens().Insert(Token(2)), tx.Tokens().Delete(Token(3).ID)); err != nil {
			return err
		}
		if _, err := tx.Tokens().Get(Token(2).ID); err != nil {
			return err
		}
		_, err := tx.Tokens().Get(Token(3).ID)
		wantKind(t, "get after delete", err, authority.NotFound)
		page, err := tx.Tokens().Find(everything())
		if len(page.Tokens) != 2 || page.Total != 2 {
			t.Errorf("find sees %d of %d tokens, want 2 of 2", len(page.Tokens), page.Total)
		}
		// What changes while it is read does not disturb the reading.
		n := 0
		for v, failed := range tx.Tokens().All() {
			n++
			err = errors.Join(err, failed, tx.Tokens().Delete(v.ID), tx.Tokens().Insert(v))
		}
		if n != 2 {
			t.Errorf("all yields %d tokens, want 2", n)
		}
		return err
	})
	wantTokens(t, h.Store, Token(1), Token(2))
}

func readOnly(t *testing.T, h Harness) {
	put(t, h.Store, Token(1))
	view(t, h.Store, func(tx authority.Tx) error {
		if tx.Tokens().Insert(Token(2)) == nil || tx.Tokens().Put(Token(1)) == nil || tx.Tokens().Delete(Token(1).ID) == nil ||
			tx.Audit().Append(authority.Event{Action: "x"}) == nil {
			t.Error("a view accepted a change")
		}
		return nil
	})
	wantTokens(t, h.Store, Token(1))
}

func split(t *testing.T, h Harness) {
	err := h.Store.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Insert(Token(1)), tx.Keys().Insert(sample().keys[0]))
	})
	if !h.Split {
		if err != nil {
			t.Fatal(err)
		}
		wantTokens(t, h.Store, Token(1))
		return
	}
	wantKind(t, "a change of both", err, authority.Internal)
	wantTokens(t, h.Store)
}
