package authority_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
)

// A login that has ended by itself depends on no key, whether it was cleared away
// or not.
func TestEvidenceCountsLoginsThatHaveNotEnded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.login(t)
	h.rotate(t, 14*day)
	for _, want := range []int{1, 0} {
		e, err := h.Evidence(t.Context(), operator(), "key_2026a")
		if err != nil || e.Logins != want {
			t.Errorf("%d logins, want %d; %v", e.Logins, want, err)
		}
		h.advance(12 * time.Hour)
	}
}

func TestEvidenceTellsWhoHasMoved(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.key(t, "key_2026a").ID
	cases := []struct {
		name         string
		under, since [2]time.Duration // first and last use since the rotation; zero: none
		want         authority.Movement
	}{
		{"stays", [2]time.Duration{-time.Hour, 47 * time.Hour}, [2]time.Duration{}, authority.NotMoved},
		{"stays-seldom", [2]time.Duration{time.Hour, time.Hour}, [2]time.Duration{}, authority.NotMoved},
		{"both", [2]time.Duration{time.Hour, 47 * time.Hour}, [2]time.Duration{2 * time.Hour, 48 * time.Hour}, authority.Mixed},
		{"both-at-once", [2]time.Duration{time.Hour, 40 * time.Hour}, [2]time.Duration{40 * time.Hour, 48 * time.Hour}, authority.Mixed},
		{"silent", [2]time.Duration{}, [2]time.Duration{}, authority.Silent},
		{"silent-since", [2]time.Duration{-3 * time.Hour, -time.Second}, [2]time.Duration{}, authority.Silent},
		{"went", [2]time.Duration{time.Hour, 40 * time.Hour}, [2]time.Duration{41 * time.Hour, 48 * time.Hour}, authority.Moved},
		{"went-at-last", [2]time.Duration{time.Hour, 24 * time.Hour}, [2]time.Duration{2 * time.Hour, 48 * time.Hour}, authority.Moved},
		{"went-at-once", [2]time.Duration{-2 * time.Hour, -time.Hour}, [2]time.Duration{time.Hour, 48 * time.Hour}, authority.Moved},
	}
	ids := make(map[string]authority.TokenID)
	for _, c := range cases {
		ids[c.name] = h.issue(t, authority.TokenRequest{ClientID: c.name, Role: "user", Contact: "data@example.org"}).ID
	}
	gone := h.issue(t, authority.TokenRequest{ClientID: "gone", Role: "user"}).ID
	if _, err := h.RevokeToken(t.Context(), operator(), gone, false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.MarkContacted(t.Context(), operator(), ids["both"], "the last time"); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Hour)
	current := h.rotate(t, 14*day).Current
	rotated := current.CurrentSince
	h.since = rotated.Add(-4 * time.Hour)
	for _, c := range cases {
		for key, span := range map[authority.KeyID][2]time.Duration{old: c.under, current.ID: c.since} {
			if span != [2]time.Duration{} {
				h.uses[ids[c.name]] = append(h.uses[ids[c.name]], authority.KeyUse{Key: key, First: rotated.Add(span[0]), Last: rotated.Add(span[1]), From: "10.2.0.14"})
			}
		}
	}
	h.advance(48 * time.Hour)
	h.issue(t, authority.TokenRequest{ClientID: "new", Role: "user"}) // it never depended on the old key
	if _, err := h.MarkContacted(t.Context(), operator(), ids["stays"], "called"); err != nil {
		t.Fatal(err)
	}

	e, err := h.Evidence(t.Context(), operator(), "key_2026a")
	if err != nil {
		t.Fatal(err)
	}
	got, want := map[string]authority.Movement{}, map[string]authority.Movement{}
	var order []authority.Movement
	for _, row := range e.Tokens {
		got[row.ClientID] = row.Movement
		order = append(order, row.Movement)
		if row.ClientID == "stays" && (row.Contacted.Note != "called" || row.Under.From != "10.2.0.14" || row.Contact == "") {
			t.Errorf("its row: %+v", row)
		}
		if row.ClientID == "both" && !row.Contacted.At.IsZero() {
			t.Error("it was contacted about another rotation")
		}
	}
	for _, c := range cases {
		want[c.name] = c.want
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("movements (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]authority.Movement{
		authority.NotMoved, authority.NotMoved, authority.Mixed, authority.Mixed, authority.Silent, authority.Silent, authority.Moved, authority.Moved, authority.Moved,
	}, order); d != "" || e.Tokens[0].ClientID != "stays" {
		t.Errorf("order, first %s (-want +got):\n%s", e.Tokens[0].ClientID, d)
	}
	if e.Count(authority.NotMoved) != 2 || e.Key.ID != old || e.Current.ID != current.ID || !e.Counted.Equal(h.since) || !e.LastUse().Last.Equal(rotated.Add(47*time.Hour)) {
		t.Errorf("got %d, %+v", e.Count(authority.NotMoved), e.LastUse())
	}
	for _, name := range []string{"key_2026b", "key_2026c"} {
		_, err = h.Evidence(t.Context(), operator(), name)
		wantKind(t, err, authority.Conflict, "key.not_previous")
	}
	_, err = h.Evidence(t.Context(), operator(), "key_1999a")
	wantKind(t, err, authority.NotFound, "key.not_found")
	_, err = h.Evidence(t.Context(), nobody(), "key_2026a")
	wantKind(t, err, authority.Unauthenticated, "")
}

// away is a ledger that cannot read what other nodes have saved.
type away struct {
	authority.Ledger
	asked int
}

func (a *away) Look(ctx context.Context) error {
	a.asked++
	<-ctx.Done()
	return ctx.Err()
}

func TestEvidenceWaitsForOtherNodesButNotForLong(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	h.rotate(t, 14*day)
	others := &away{Ledger: ledger}
	h.Ledger = others
	synctest.Test(t, func(t *testing.T) {
		for _, fleet := range []authority.Fleet{nil, struct{ authority.Fleet }{}} {
			h.Fleet = fleet
			began := time.Now()
			e, err := h.Evidence(t.Context(), operator(), "key_2026a")
			if err != nil || len(e.Tokens) != 1 {
				t.Fatalf("%+v, %v", e.Tokens, err)
			}
			if took := time.Since(began); took > time.Second || (took > 0) != (fleet != nil) {
				t.Errorf("it took %s", took)
			}
		}
	})
	if others.asked != 1 {
		t.Errorf("asked %d times", others.asked)
	}
}
