package authority_test

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
)

func TestASuccessorInheritsEverythingAndTheOldTokenLivesOnForTheOverlap(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{
		ClientID: "ci", Role: "user", Tags: []string{"team:data"}, Audience: []string{"https://other.example"}, Lifetime: 30 * day,
		Description: "nightly", Contact: "data@example.org", AllowedAddresses: []string{"10.0.0.0/8"},
	})
	h.advance(10 * day)
	fresh, err := h.ReplaceToken(t.Context(), operator(), old.ID, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	now := h.now().Truncate(time.Second)
	want := old.Token
	want.ID, want.CreatedAt, want.ExpiresAt, want.Replaces = fresh.ID, now, now.Add(30*day), old.ID
	if d := cmp.Diff(want, fresh.Token, cmpopts.EquateComparable(netip.Prefix{})); d != "" || fresh.ID == old.ID || fresh.Text.Unsafe() == "" {
		t.Errorf("the successor (-want +got):\n%s", d)
	}
	view := func(state authority.TokenState) authority.TokenView {
		t.Helper()
		v, err := h.Token(t.Context(), operator(), old.ID)
		if err != nil || v.State != state || v.ReplacedBy != fresh.ID || !v.EndsAt.Equal(now.Add(24*time.Hour)) {
			t.Fatalf("the old token: %+v, %v", v, err)
		}
		return v
	}
	view(authority.StateActive)
	if found, err := h.FindToken(t.Context(), operator(), "ci", false); err != nil || found.ID != fresh.ID {
		t.Errorf("its client ID finds %s, %v", found.ID, err)
	}
	if found, err := h.FindToken(t.Context(), operator(), old.ID.String(), false); err != nil || found.ID != old.ID {
		t.Errorf("its id finds %s, %v", found.ID, err)
	}
	page, err := h.Audit(t.Context(), operator(), authority.AuditQuery{Limit: 2})
	if err != nil || page.Events[0].Action != "token.replaced" || page.Events[0].Detail["successor"] != string(fresh.ID) ||
		page.Events[1].Action != "token.created" || page.Events[1].Detail["replaces"] != string(old.ID) {
		t.Errorf("events %+v, %v", page.Events, err)
	}
	h.advance(24*time.Hour - time.Second)
	view(authority.StateActive)
	h.advance(time.Second)
	view(authority.StateReplaced)
	for _, ask := range []func() error{
		func() error { _, err := h.RevealToken(t.Context(), operator(), old.ID); return err },
		func() error { _, err := h.RestoreToken(t.Context(), operator(), old.ID); return err },
		func() error { _, err := h.UndoReplace(t.Context(), operator(), old.ID); return err },
		func() error { _, err := h.ReplaceToken(t.Context(), operator(), old.ID, 0); return err },
	} {
		wantKind(t, ask(), authority.Conflict, "token.replaced")
	}
	list, err := h.Tokens(t.Context(), operator(), authority.ListRequest{})
	if err != nil || list.Total != 1 || list.Items[0].ID != fresh.ID {
		t.Errorf("the list: %+v, %v", list, err)
	}
	if list, err = h.Tokens(t.Context(), operator(), authority.ListRequest{State: "replaced"}); err != nil || list.Total != 1 || list.Items[0].ID != old.ID {
		t.Errorf("the list of those replaced: %+v, %v", list, err)
	}
	if counts, err := h.TokenCounts(t.Context(), operator()); err != nil || counts != (authority.TokenCounts{Active: 1, Replaced: 1}) {
		t.Errorf("counts %+v, %v", counts, err)
	}
}

func TestAReplacementWithoutOverlapEndsTheOldTokenNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user", Never: true})
	if _, err := h.ReplaceToken(t.Context(), operator(), old.ID, 0); err != nil {
		t.Fatal(err)
	}
	if v, err := h.Token(t.Context(), operator(), old.ID); err != nil || v.State != authority.StateReplaced {
		t.Errorf("got %s, %v", v.State, err)
	}
}

func TestASuccessorLivesAsLongAsPolicyAllows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		never bool
		life  time.Duration
		after func(*authority.Policy)
		want  time.Duration // 0: never
	}{
		"as before":           {life: 30 * day, after: func(*authority.Policy) {}, want: 30 * day},
		"capped":              {life: 30 * day, after: func(p *authority.Policy) { p.MaxLifetime = 7 * day }, want: 7 * day},
		"never":               {never: true, after: func(*authority.Policy) {}},
		"never is forbidden":  {never: true, after: func(p *authority.Policy) { p.NeverExpire = false }, want: 90 * day},
		"never and a cap":     {never: true, after: func(p *authority.Policy) { p.MaxLifetime = 180 * day }, want: 90 * day},
		"never and a low cap": {never: true, after: func(p *authority.Policy) { p.MaxLifetime = time.Hour }, want: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user", Never: c.never, Lifetime: c.life})
			c.after(&h.policy)
			fresh, err := h.ReplaceToken(t.Context(), operator(), old.ID, time.Hour)
			want := time.Time{}
			if c.want > 0 {
				want = h.now().Truncate(time.Second).Add(c.want)
			}
			if err != nil || !fresh.ExpiresAt.Equal(want) {
				t.Errorf("it ends %s, want %s, %v", fresh.ExpiresAt, want, err)
			}
		})
	}
}

func TestATokenThatEndsSoonerThanItsOverlapExpires(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user", Lifetime: time.Hour})
	if _, err := h.ReplaceToken(t.Context(), operator(), old.ID, day); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Hour)
	if v, err := h.Token(t.Context(), operator(), old.ID); err != nil || v.State != authority.StateExpired {
		t.Errorf("got %s, %v", v.State, err)
	}
}

func TestAReplacementCanBeUndoneInsideTheOverlap(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	fresh, err := h.ReplaceToken(t.Context(), operator(), old.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.UndoReplace(t.Context(), operator(), old.ID)
	if d := cmp.Diff(old.Token, v.Token, cmpopts.EquateComparable(netip.Prefix{})); err != nil || d != "" {
		t.Fatalf("the old token: %v (-want +got)\n%s", err, d)
	}
	if v, err := h.Token(t.Context(), operator(), fresh.ID); err != nil || v.State != authority.StateDeleted {
		t.Errorf("the successor is %s, %v", v.State, err)
	}
	if e := h.lastEvent(t); e.Action != "token.replace_undone" {
		t.Errorf("event %+v", e)
	}
	if _, err := h.ReplaceToken(t.Context(), operator(), old.ID, time.Hour); err != nil {
		t.Errorf("it cannot be replaced again: %v", err)
	}
}

// Whoever is told that it is undone may rely on it.
func TestWhereNothingWasReplacedNothingIsUndone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	undo := func(id authority.TokenID) error {
		_, err := h.UndoReplace(t.Context(), operator(), id)
		return err
	}
	wantKind(t, undo(old.ID), authority.Conflict, "token.not_replaced")
	fresh, err := h.ReplaceToken(t.Context(), operator(), old.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, undo(fresh.ID), authority.Conflict, "token.not_replaced")
	if err := undo(old.ID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, undo(old.ID), authority.Conflict, "token.not_replaced")
}

func TestAReplacementIsUndoneFromItsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	chain := []authority.TokenID{h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID}
	for range 2 {
		next, err := h.ReplaceToken(t.Context(), operator(), chain[len(chain)-1], time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, next.ID)
	}
	states := func(want ...authority.TokenState) {
		t.Helper()
		for i, id := range chain {
			if v, err := h.Token(t.Context(), operator(), id); err != nil || v.State != want[i] {
				t.Errorf("token %d of the chain is %s, want %s; %v", i, v.State, want[i], err)
			}
		}
	}
	undo := func(i int) error {
		_, err := h.UndoReplace(t.Context(), operator(), chain[i])
		return err
	}
	wantKind(t, undo(0), authority.Conflict, "token.replaced_again")
	states(authority.StateActive, authority.StateActive, authority.StateActive)
	// Also when the one between them is gone by itself.
	if _, err := h.RevokeToken(t.Context(), operator(), chain[1], false); err != nil {
		t.Fatal(err)
	}
	wantKind(t, undo(0), authority.Conflict, "token.replaced_again")
	if _, err := h.RestoreToken(t.Context(), operator(), chain[1]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(undo(1), undo(0)); err != nil {
		t.Fatal(err)
	}
	states(authority.StateActive, authority.StateDeleted, authority.StateDeleted)
}

func TestATokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := h.ReplaceToken(t.Context(), operator(), old.ID, time.Hour)
			switch {
			case err == nil:
				won.Add(1)
			case authority.KindOf(err) == authority.Conflict && classed(t, err).Code == "token.replaced":
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 49 {
		t.Errorf("%d won, %d were told so", won.Load(), lost.Load())
	}
	if counts, err := h.TokenCounts(t.Context(), operator()); err != nil || counts.Active != 2 {
		t.Errorf("counts %+v, %v", counts, err)
	}
	for _, overlap := range []time.Duration{-1, 91 * day} {
		_, err := h.ReplaceToken(t.Context(), operator(), old.ID, overlap)
		wantKind(t, err, authority.Invalid, "request.invalid")
	}
	_, err := h.ReplaceToken(t.Context(), nobody(), old.ID, 0)
	wantKind(t, err, authority.Unauthenticated, "")
}

// What was replaced stays, to show that it is used again, and goes like what was
// deleted; but not because the clock jumped.
func TestAReplacedTokenIsRemovedLikeADeletedOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user", Never: true})
	if _, err := h.ReplaceToken(t.Context(), operator(), old.ID, 7*day); err != nil {
		t.Fatal(err)
	}
	there := func(want bool) {
		t.Helper()
		if err := h.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := h.Token(t.Context(), operator(), old.ID)
		if (err == nil) != want {
			t.Fatalf("there: %v, want %v", err, want)
		}
	}
	var uptime time.Duration
	h.minutes(t, &uptime, 90)
	there(true)
	h.advance(10 * 365 * day)
	h.minutes(t, &uptime, 1)
	there(true)
	h.advance(-10 * 365 * day)
	h.minutes(t, &uptime, 90)
	if v, err := h.Token(t.Context(), operator(), old.ID); err != nil || v.State != authority.StateActive {
		t.Fatalf("got %s, %v", v.State, err)
	}
	h.advance(37 * day)
	h.minutes(t, &uptime, 61)
	there(false)
}

func TestAContactIsNotedAndTheNextOneTakesItsPlace(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	for _, note := range []string{"by mail", ""} {
		v, err := h.MarkContacted(t.Context(), operator(), id, note)
		want := authority.Contact{At: h.now().Truncate(time.Second), By: "root@tokens-01", Note: note}
		if err != nil || v.Contacted != want {
			t.Errorf("got %+v, %v", v.Contacted, err)
		}
		if e := h.lastEvent(t); e.Action != "token.contacted" || e.Detail["note"] != note {
			t.Errorf("event %+v", e)
		}
		h.advance(time.Minute)
	}
	_, err := h.MarkContacted(t.Context(), operator(), id, "a\x1b[2J")
	wantKind(t, err, authority.Invalid, "request.invalid")
	_, err = h.MarkContacted(t.Context(), operator(), "tok_x", "")
	wantKind(t, err, authority.NotFound, "token.not_found")
	_, err = h.MarkContacted(t.Context(), nobody(), id, "")
	wantKind(t, err, authority.Unauthenticated, "")
}
