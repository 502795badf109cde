package authority_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
)

// tokenRecords are the records of all tokens now.
func (h *house) tokenRecords(t *testing.T) map[authority.TokenID]authority.Token {
	t.Helper()
	out := make(map[authority.TokenID]authority.Token)
	err := h.store.View(context.Background(), func(tx authority.Tx) error {
		for v, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			out[v.ID] = v
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventsSince are the events behind a number, oldest first.
func (h *house) eventsSince(t *testing.T, seq uint64) []authority.Event {
	t.Helper()
	page, err := h.Audit(t.Context(), operator(), authority.AuditQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(page.Events)
	return slices.DeleteFunc(page.Events, func(e authority.Event) bool { return e.Seq <= seq })
}

// caughtUp brings records up to the events in a store of their own.
func caughtUp(t *testing.T, records map[authority.TokenID]authority.Token, events []authority.Event) (map[authority.TokenID]authority.Token, authority.CaughtUp) {
	t.Helper()
	old := emptyHouse(t)
	var c authority.CaughtUp
	err := old.store.Update(t.Context(), func(tx authority.Tx) error {
		for _, v := range records {
			if err := tx.Tokens().Insert(v); err != nil {
				return err
			}
		}
		var err error
		c, err = authority.CatchUp(tx.Tokens(), events)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return old.tokenRecords(t), c
}

// Whatever is done to tokens, from whatever moment on: their records of that
// moment and the events since give the records of now.
func TestOlderRecordsAndTheEventsSinceAreTheRecordsOfNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	random := rand.New(rand.NewPCG(5, 8))
	var ids []authority.TokenID
	for range 6 {
		ids = append(ids, h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID)
	}
	type moment struct {
		seq     uint64
		records map[authority.TokenID]authority.Token
	}
	var moments []moment
	done := make(map[string]int)
	for range 150 {
		h.advance(time.Minute)
		moments = append(moments, moment{h.lastEvent(t).Seq, h.tokenRecords(t)})
		id := ids[len(ids)-1-random.IntN(6)] // of the youngest: more becomes of those
		var err error
		what := random.IntN(8)
		switch what {
		case 0:
			ids = append(ids, h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID)
		case 1, 2:
			_, err = h.RevokeToken(t.Context(), operator(), id, random.IntN(6) == 0)
		case 3:
			_, err = h.RestoreToken(t.Context(), operator(), id)
		case 4:
			var next authority.Issued
			replace := h.ReplaceToken
			if random.IntN(2) == 0 {
				replace = h.ReplaceWhenSeen
			}
			if next, err = replace(t.Context(), operator(), id, time.Duration(random.IntN(3))*time.Hour); err == nil {
				ids = append(ids, next.ID)
			}
		case 5:
			_, err = h.UndoReplace(t.Context(), operator(), id)
		case 6:
			_, err = h.MarkContacted(t.Context(), operator(), id, []string{"", "by mail"}[random.IntN(2)])
		case 7:
			_, err = h.RevealToken(t.Context(), operator(), id)
		}
		if err == nil {
			done[h.lastEvent(t).Action]++
		}
	}
	for _, action := range []string{"token.created", "token.deleted", "token.restored", "token.replaced", "token.replace_undone", "token.contacted", "token.copied"} {
		if done[action] == 0 {
			t.Errorf("no %s was tried: %v", action, done)
		}
	}
	now := h.tokenRecords(t)
	for _, m := range moments {
		events := h.eventsSince(t, m.seq)
		got, c := caughtUp(t, m.records, events)
		want := make(map[authority.TokenID]authority.Token)
		for id := range m.records {
			want[id] = now[id]
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreFields(authority.Token{}, "KeyID"), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
			t.Fatalf("from event %d on (-want +got):\n%s", m.seq, d)
		}
		var missing []authority.TokenID
		for id, v := range now {
			if _, had := m.records[id]; !had && v.DeletedAt.IsZero() {
				missing = append(missing, id)
			}
		}
		slices.Sort(missing)
		slices.Sort(c.Missing)
		if d := cmp.Diff(missing, c.Missing, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("from event %d on, missing (-want +got):\n%s", m.seq, d)
		}
		if _, again := caughtUp(t, got, events[max(0, len(events)-1):]); again.Changes > 1 {
			t.Errorf("the last event changes %d records", again.Changes)
		}
	}
}

// What an event tells in a way that nobody understands ends a token rather than
// let it live.
func TestAReplacementThatDoesNotTellItsEndEndsAtOnce(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	token := authority.Token{ID: "tok_a", Generation: 1}
	got, c := caughtUp(t, map[authority.TokenID]authority.Token{"tok_a": token}, []authority.Event{
		{Action: "token.replaced", Target: "tok_a", At: at, Outcome: authority.OutcomeOK, Detail: map[string]string{"ends_at": "soon"}},
		{Action: "token.deleted", Target: "tok_a", At: at, Outcome: authority.OutcomeRefused},
	})
	if replaced := got["tok_a"]; !replaced.EndsAt.Equal(at) || !replaced.DeletedAt.IsZero() || c.Changes != 1 {
		t.Errorf("got %+v, %+v", replaced, c)
	}
}

func TestRecordsOfTheSameClaimsAreToldFromOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user", Tags: []string{"team:data"}}).Token
	b := a.Clone()
	b.Description, b.KeyID, b.DeletedAt = "other", "other", h.now()
	if !a.SameClaims(&b) {
		t.Error("what is not signed makes a difference")
	}
	for name, change := range map[string]func(*authority.Token){
		"id": func(t *authority.Token) { t.ID = "tok_b" }, "client": func(t *authority.Token) { t.ClientID = "cd" },
		"role": func(t *authority.Token) { t.Role = authority.RoleAdmin }, "tags": func(t *authority.Token) { t.Tags = nil },
		"issuer": func(t *authority.Token) { t.Issuer = "x" }, "audience": func(t *authority.Token) { t.Audience = nil },
		"made": func(t *authority.Token) { t.CreatedAt = t.CreatedAt.Add(1) }, "ends": func(t *authority.Token) { t.ExpiresAt = time.Time{} },
	} {
		c := a.Clone()
		change(&c)
		if a.SameClaims(&c) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}
