package authority_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

func november(n int) time.Time { return time.Date(2026, 11, n, 14, 8, 2, 0, time.UTC) }

func token(id string, generation uint64) authority.Token {
	return authority.Token{ID: authority.TokenID(id), ClientID: id, Role: "user", KeyID: "k1", Generation: generation, CreatedAt: november(1)}
}

func keyRecord(id string, state authority.KeyState) authority.Key {
	return authority.Key{ID: authority.KeyID(id), Name: "key_2026a", Algorithm: "ES256", State: state, CreatedAt: november(1)}
}

func records(generation uint64, tokens ...authority.Token) authority.Records {
	return authority.Records{
		Tokens: tokens, Keys: []authority.Key{keyRecord("k1", authority.KeyCurrent), keyRecord("k2", authority.KeyNext)},
		Admins: []authority.Admin{{Name: "maria", PasswordHash: "then"}}, System: authority.System{Generation: generation, CursorKey: []byte{1}},
	}
}

func restoring(tokens authority.RestoreTokens) authority.Restoring {
	return authority.Restoring{
		By: authority.LocalOperator("root@tokens-02", authority.Origin{}), At: november(20), ID: "1", From: "b.age", Taken: november(10), Tokens: tokens,
		Fresh: [2]authority.Key{{ID: "n1", Algorithm: "ES256"}, {ID: "n2", Algorithm: "ES256"}},
	}
}

func event(action, id string, detail map[string]string) authority.Event {
	return authority.Event{At: november(15), Actor: authority.Actor{Kind: "admin", Name: "jo"}, Action: action, Target: id, Outcome: "ok", Detail: detail}
}

// valid are the ids of the active tokens.
func valid(r authority.Records) []string {
	ids := []string{}
	for _, t := range r.Tokens {
		if t.State(november(20), r.System.Generation) == authority.StateActive {
			ids = append(ids, string(t.ID))
		}
	}
	return ids
}

func states(r authority.Records) map[string]string {
	out := make(map[string]string)
	for _, k := range r.Keys {
		out[string(k.ID)] = string(k.State)
	}
	return out
}

// Whatever this home knows to have ended stays ended, by its records and by its
// log alone.
func TestNothingThatEndedComesBackWhereThatIsKnown(t *testing.T) {
	t.Parallel()
	b := records(3, token("deleted", 3), token("kept", 3), token("leaked", 3), token("moved", 3), token("reset", 2), token("restored", 3))
	since := []authority.Event{
		event("token.deleted", "deleted", nil), event("token.deleted", "leaked", map[string]string{"leaked": "true"}),
		event("token.replaced", "moved", map[string]string{"successor": "new", "ends_at": november(16).Format(time.RFC3339)}),
		event("token.deleted", "restored", nil), event("token.restored", "restored", nil), event("token.created", "new", nil),
	}
	gone, moved, young := token("deleted", 3), token("moved", 3), token("new", 3)
	gone.DeletedAt, moved.ReplacedBy, moved.EndsAt = november(15), "new", november(16)
	now := records(3, gone, token("kept", 3), moved, young, token("restored", 3))
	now.Keys = []authority.Key{keyRecord("k1", authority.KeyRetired), keyRecord("k2", authority.KeyCurrent), keyRecord("k3", authority.KeyNext)}
	b.Admins = append(b.Admins, authority.Admin{Name: "omar"}) // deleted since
	now.Admins = []authority.Admin{{Name: "maria", PasswordHash: "changed"}}
	for name, here := range map[string]authority.Here{
		"records and log": {Records: now, Known: true, Since: since},
		"log alone":       {Records: authority.Records{Keys: now.Keys, Admins: now.Admins, System: now.System}, Known: true, Since: since},
	} {
		for _, choice := range []authority.RestoreTokens{"", authority.RestoreKeep} {
			out, did, e := restoring(choice).Return(b, here)
			if diff := cmp.Diff([]string{"kept", "restored"}, valid(out)); diff != "" {
				t.Errorf("%s: valid (-want +got):\n%s", name, diff)
			}
			if !did.Known || did.Active != 2 || did.Ended != 3 || out.System.Generation != 4 || !cmp.Equal(out.Admins, now.Admins) {
				t.Errorf("%s: %+v, generation %d, %v", name, did, out.System.Generation, out.Admins)
			}
			if lost := map[string]int{"records and log": 1}[name]; did.Lost != lost {
				t.Errorf("%s: lost %d, want %d", name, did.Lost, lost)
			}
			if diff := cmp.Diff(map[string]string{"k1": "retired", "k2": "current", "k3": "next"}, states(out)); diff != "" {
				t.Errorf("%s: keys (-want +got):\n%s", name, diff)
			}
			if e.Action != "backup.restored" || e.Detail["tokens"] != "known" || e.Detail["generation"] != "4" || e.Actor.Name != "root@tokens-02" {
				t.Errorf("event %+v", e)
			}
		}
	}
}

func TestAResetSinceTheBackupEndsAllOfIt(t *testing.T) {
	t.Parallel()
	here := authority.Here{Records: records(4), Known: true, Since: []authority.Event{event("keys.reset", "k9", nil)}}
	here.Keys = []authority.Key{keyRecord("k8", authority.KeyCurrent), keyRecord("k9", authority.KeyNext)}
	out, did, _ := restoring("").Return(records(3, token("a", 3), token("b", 3)), here)
	if v := valid(out); len(v) != 0 || did.Ended != 2 || out.System.Generation != 5 {
		t.Errorf("valid %v, %+v, generation %d", v, did, out.System.Generation)
	}
	if diff := cmp.Diff(map[string]string{"k1": "retired", "k2": "retired", "k8": "current", "k9": "next"}, states(out)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestWhereNobodyKnowsEveryTokenEndsUnlessItIsKept(t *testing.T) {
	t.Parallel()
	b := records(3, token("a", 3), token("old", 2))
	here := authority.Here{Records: records(7, token("other", 7))}
	here.Keys = []authority.Key{keyRecord("h1", authority.KeyCurrent)}
	out, did, e := restoring(authority.RestoreRevoke).Return(b, here)
	if v := valid(out); len(v) != 0 || did.Active != 0 || did.Ended != 1 || did.Lost != 1 || out.System.Generation != 8 || e.Detail["tokens"] != "revoke" {
		t.Errorf("revoke: valid %v, %+v, generation %d, %v", v, did, out.System.Generation, e.Detail)
	}
	if diff := cmp.Diff(map[string]string{"k1": "retired", "k2": "retired", "h1": "retired", "n1": "current", "n2": "next"}, states(out)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	names := make(map[string]bool)
	for _, k := range out.Keys[3:] {
		names[k.Name] = true
	}
	if !maps.Equal(names, map[string]bool{"key_2026b": true, "key_2026c": true}) {
		t.Errorf("names %v", names)
	}
	out, did, e = restoring(authority.RestoreKeep).Return(b, here)
	if v := valid(out); !slices.Equal(v, []string{"a"}) || did.Active != 1 || did.Ended != 0 || out.System.Generation != 8 || e.Detail["tokens"] != "keep" {
		t.Errorf("keep: valid %v, %+v, generation %d, %v", v, did, out.System.Generation, e.Detail)
	}
	if diff := cmp.Diff(map[string]string{"k1": "current", "k2": "next", "h1": "retired"}, states(out)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if b.Tokens[0].Generation != 3 || b.Keys[0].State != authority.KeyCurrent {
		t.Error("the backup itself was changed")
	}
}

// What is known does not stand against somebody who wants an end of everything.
func TestRevokeEndsAlsoWhatIsKnownToBeValid(t *testing.T) {
	t.Parallel()
	out, did, _ := restoring(authority.RestoreRevoke).Return(records(3, token("a", 3)), authority.Here{Records: records(3, token("a", 3)), Known: true})
	if v := valid(out); len(v) != 0 || did.Ended != 1 || states(out)["n1"] != "current" || states(out)["k1"] != "retired" {
		t.Errorf("valid %v, %+v, %v", v, did, states(out))
	}
}

// It can be cut short by any failure and done again, and nothing is there twice.
func TestReinstatingIsDoneOnceHoweverOften(t *testing.T) {
	t.Parallel()
	r := records(5, token("a", 5), token("b", 5))
	r.Receipts = []authority.Receipt{{Key: "r", TokenID: "a"}}
	r.Throttles = []authority.Throttle{{Name: "maria", Failures: 2}}
	history := make([]authority.Event, 0, 2500)
	for i := range 2500 {
		history = append(history, event("token.created", strconv.Itoa(i), nil))
	}
	store, err := mapstore.Open(mapstore.Config{Now: func() time.Time { return november(20) }})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Update(t.Context(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Insert(token("b", 1)), tx.Tokens().Insert(token("stranger", 1)), tx.Logins().Insert(authority.Login{ID: "lgn"}),
			tx.System().Insert(authority.System{Generation: 1}), tx.Admins().Insert(authority.Admin{Name: "old"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, e := restoring("").Return(r, authority.Here{})
	for _, s := range []authority.Store{storetest.FailBefore(store, 2), storetest.FailAndPersist(store, 2), storetest.FailAndPersist(store, 1), store, store} {
		for range 3 {
			if authority.Replay(t.Context(), s, history) == nil {
				_ = authority.Reinstate(t.Context(), s, r, e)
			}
		}
	}
	err = store.View(t.Context(), func(tx authority.Tx) error {
		got, err := authority.ReadRecords(tx)
		for v := range tx.Tokens().All() {
			got.Tokens = append(got.Tokens, v)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		for l := range tx.Logins().All() {
			t.Errorf("%s is signed in", l.ID)
		}
		n := 0
		for e, err := range authority.EventsAfter(tx.Audit(), 0) {
			n++
			if err != nil || int(e.Seq) != n || n <= len(history) && e.Target != history[n-1].Target {
				t.Fatalf("event %d is %+v, %v", n, e, err)
			}
		}
		if n != len(history)+1 {
			t.Errorf("%d events", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheLocalOperatorTakesABackup(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, by := range map[string]authority.Caller{
		"a token": authority.TokenCaller("tok_x", "ci", authority.RoleAdmin, authority.Origin{}),
		"a login": authority.LoginCaller("lgn_x", "maria", november(20), authority.Origin{}),
		"nobody":  {},
	} {
		err := h.Snapshot(t.Context(), by, func() { t.Errorf("%s gets secrets", name) }, func(authority.Tx) error { return nil })
		if k := authority.KindOf(err); k != authority.Forbidden && k != authority.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The event is in the backup, the secrets are there, and nobody waits while it is
// read.
func TestASnapshotHasItsOwnEventAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	local := authority.LocalOperator("root@tokens-01", authority.Origin{})
	secrets := 0
	err := h.Snapshot(context.WithoutCancel(t.Context()), local, func() { secrets++ }, func(tx authority.Tx) error {
		at, err := authority.LastEvent(tx.Audit())
		if err != nil {
			return err
		}
		page, err := tx.Audit().Page(authority.AuditQuery{Limit: 1})
		if err != nil || page.Events[0].Action != "backup.created" || page.Events[0].Seq != at.Seq || page.Events[0].Hash != at.Hash {
			t.Errorf("the last event is %+v, %v", page.Events, err)
		}
		_, err = h.RotateKey(t.Context(), local, authority.RotateRequest{Overlap: time.Hour})
		return err
	})
	if err != nil || secrets != 1 {
		t.Errorf("secrets asked for %d times, %v", secrets, err)
	}
}
