package authority_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/usage"
)

// counting gives the house a ledger of its own.
func counting(t *testing.T) (*house, *usage.Ledger) {
	t.Helper()
	h := newHouse(t)
	ledger, err := usage.New(usage.Config{Settle: func() {}, Masked: func() bool { return false }, Now: h.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.Ledger = ledger
	return h, ledger
}

// uses counts allowed requests with a token.
func (h *house) usesOf(l *usage.Ledger, id authority.TokenID, key authority.KeyID, from string, n uint64) {
	at := uint32(h.now().Unix())
	l.Count(authority.Counted{Token: id, Key: key, From: netip.MustParseAddr(from), First: at, Last: at, Count: n})
	h.used[id] = authority.Use{At: h.now(), From: from, Key: key}
}

func TestTheUsageOfATokenIsToldByHoursAndDays(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	h.since = h.now()
	token := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	old := token.KeyID
	h.usesOf(ledger, token.ID, old, "10.0.0.1", 5)
	h.advance(25 * time.Hour)
	if _, err := h.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: day}); err != nil {
		t.Fatal(err)
	}
	current, err := h.RevealToken(t.Context(), operator(), token.ID)
	if err != nil {
		t.Fatal(err)
	}
	h.usesOf(ledger, token.ID, old, "10.0.0.1", 2)
	h.usesOf(ledger, token.ID, current.KeyID, "10.0.0.2", 3)
	at := uint32(h.now().Unix())
	ledger.Count(authority.Counted{Token: token.ID, Key: old, Refused: "tag_missing", From: netip.MustParseAddr("10.0.0.1"), First: at, Last: at, Count: 4})

	u, err := h.TokenUsage(t.Context(), operator(), token.ID)
	if err != nil {
		t.Fatal(err)
	}
	hour, today := h.now().Truncate(time.Hour), h.now().Truncate(day)
	if len(u.Hours) != authority.UsageHours || len(u.Days) != authority.UsageDays || !u.AsOf.Equal(h.now().Truncate(time.Second)) {
		t.Fatalf("%d hours, %d days, as of %v", len(u.Hours), len(u.Days), u.AsOf)
	}
	last := len(u.Hours) - 1
	if d := cmp.Diff([]authority.UsageSpan{{Start: hour, Previous: 2, Current: 3, Refused: 4}, {Start: hour.Add(-25 * time.Hour), Previous: 5}}, []authority.UsageSpan{u.Hours[last], u.Hours[last-25]}); d != "" {
		t.Errorf("hours (-want +got):\n%s", d)
	}
	if d := cmp.Diff(authority.UsageSpan{Start: today, Previous: 2, Current: 3, Refused: 4}, u.Days[len(u.Days)-1]); d != "" {
		t.Errorf("today (-want +got):\n%s", d)
	}
	if len(u.Sources) != 2 || len(u.Refusals) != 1 || u.Refusals[0].Count != 4 {
		t.Errorf("sources %+v, refusals %+v", u.Sources, u.Refusals)
	}
	view, err := h.Token(t.Context(), operator(), token.ID)
	if err != nil || view.Requests == nil || *view.Requests != 5 {
		t.Errorf("requests of a day: %+v, %v", view.Requests, err)
	}
	list, err := h.Tokens(t.Context(), operator(), authority.ListRequest{})
	if err != nil || *list.Items[0].Requests != 5 {
		t.Errorf("in the list: %+v, %v", list.Items, err)
	}

	_, err = h.TokenUsage(t.Context(), nobody(), token.ID)
	wantKind(t, err, authority.Unauthenticated, "")
	_, err = h.TokenUsage(t.Context(), operator(), "tok_none")
	wantKind(t, err, authority.NotFound, "token.not_found")
}

func TestWithoutALedgerUsageIsEmptyAndNothingFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	u, err := h.TokenUsage(t.Context(), operator(), token.ID)
	if err != nil || len(u.Hours) != authority.UsageHours || len(u.Sources) != 0 {
		t.Errorf("got %+v, %v", u.Sources, err)
	}
	if v, err := h.Token(t.Context(), operator(), token.ID); err != nil || v.Requests != nil {
		t.Errorf("got %+v, %v", v.Requests, err)
	}
	if s := h.UsageState(); s != (authority.LedgerState{}) {
		t.Errorf("state %+v", s)
	}
}

func TestTheEvidenceTellsTheShareUnderEachKey(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	token := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	h.usesOf(ledger, token.ID, token.KeyID, "10.0.0.1", 100) // before the rotation
	h.advance(48 * time.Hour)
	done, err := h.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: 14 * day})
	if err != nil {
		t.Fatal(err)
	}
	h.usesOf(ledger, token.ID, done.Previous.ID, "10.0.0.1", 7)
	h.advance(30 * time.Hour)
	h.usesOf(ledger, token.ID, done.Previous.ID, "10.0.0.1", 31)
	h.usesOf(ledger, token.ID, done.Current.ID, "10.0.0.1", 69)
	h.usesOf(ledger, h.issue(t, authority.TokenRequest{ClientID: "later", Role: "user"}).ID, done.Current.ID, "10.0.0.1", 1)
	e, err := h.Evidence(t.Context(), operator(), done.Previous.Name)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Shares || e.Tokens[0].Day != (authority.Requests{Under: 31, Since: 69}) || e.Tokens[0].Rotation != (authority.Requests{Under: 38, Since: 69}) {
		t.Errorf("shares are known: %v; %+v and %+v", e.Shares, e.Tokens[0].Day, e.Tokens[0].Rotation)
	}
}

func TestUseOfAReplacedTokenAfterItsEndIsShown(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	if _, err := h.ReplaceToken(t.Context(), operator(), old.ID, 0); err != nil {
		t.Fatal(err)
	}
	at := uint32(h.now().Unix())
	ledger.Count(authority.Counted{Token: old.ID, Key: old.KeyID, Refused: "replaced", From: netip.MustParseAddr("10.0.0.1"), First: at, Last: at, Count: 2})
	v, err := h.Token(t.Context(), operator(), old.ID)
	if err != nil || v.Reused.Count != 2 || v.Reused.From != "10.0.0.1" {
		t.Errorf("got %+v, %v", v.Reused, err)
	}
}

func TestAReplacedTokenEndsOnceItsSuccessorWasSeenEverywhere(t *testing.T) {
	t.Parallel()
	// A scene goes on from a token that came from two places in the last days, and
	// has a successor.
	type scene struct {
		*house
		ledger   *usage.Ledger
		old, new authority.Issued
	}
	replaced := func(t *testing.T, s *scene) authority.TokenView {
		t.Helper()
		if err := s.EndOverlaps(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		v, err := s.Token(t.Context(), operator(), s.old.ID)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for name, c := range map[string]struct {
		goOn func(t *testing.T, s *scene)
		ends bool
	}{
		"seen from both places": {func(_ *testing.T, s *scene) {
			s.usesOf(s.ledger, s.new.ID, s.new.KeyID, "10.0.0.1", 1)
			s.usesOf(s.ledger, s.new.ID, s.new.KeyID, "10.0.0.2", 1)
		}, true},
		"seen from one of them": {func(_ *testing.T, s *scene) { s.usesOf(s.ledger, s.new.ID, s.new.KeyID, "10.0.0.1", 9) }, false},
		"not seen":              {func(*testing.T, *scene) {}, false},
		"seen, and the old one as well": {func(_ *testing.T, s *scene) {
			s.usesOf(s.ledger, s.new.ID, s.new.KeyID, "10.0.0.1", 1)
			s.usesOf(s.ledger, s.new.ID, s.new.KeyID, "10.0.0.2", 1)
			s.advance(time.Hour)
			s.usesOf(s.ledger, s.old.ID, s.old.KeyID, "10.0.0.1", 1)
		}, false},
		"refused from one of them": {func(_ *testing.T, s *scene) {
			s.usesOf(s.ledger, s.new.ID, s.new.KeyID, "10.0.0.1", 1)
			at := uint32(s.now().Unix())
			s.ledger.Count(authority.Counted{Token: s.new.ID, Refused: "tag_missing", From: netip.MustParseAddr("10.0.0.2"), First: at, Last: at, Count: 1})
		}, false},
		"more places than are told apart": {func(_ *testing.T, s *scene) {
			for n := range byte(30) {
				from := netip.AddrFrom4([4]byte{10, 0, 1, n}).String()
				s.usesOf(s.ledger, s.old.ID, s.old.KeyID, from, 1)
				s.usesOf(s.ledger, s.new.ID, s.new.KeyID, from, 1)
			}
		}, false},
		"taken back": {func(t *testing.T, s *scene) {
			t.Helper()
			if _, err := s.UndoReplace(t.Context(), operator(), s.old.ID); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, ledger := counting(t)
			s := &scene{house: h, ledger: ledger, old: h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})}
			s.usesOf(ledger, s.old.ID, s.old.KeyID, "10.9.9.9", 1) // long ago: it does not count
			s.advance(20 * day)
			s.usesOf(ledger, s.old.ID, s.old.KeyID, "10.0.0.1", 1)
			s.usesOf(ledger, s.old.ID, s.old.KeyID, "10.0.0.2", 1)
			s.advance(day)
			var err error
			if s.new, err = s.ReplaceWhenSeen(t.Context(), operator(), s.old.ID, 7*day); err != nil {
				t.Fatal(err)
			}
			if s.new.RetireWhenSeen {
				t.Error("the successor is to end when it is seen")
			}
			s.usesOf(ledger, s.old.ID, s.old.KeyID, "10.0.0.1", 1)
			s.advance(time.Minute)
			c.goOn(t, s)
			if v := replaced(t, s); v.State != authority.StateActive {
				t.Errorf("it ended at once, at %v", v.EndsAt)
			}
			s.advance(11 * time.Minute)
			if name == "seen, and the old one as well" {
				s.usesOf(ledger, s.old.ID, s.old.KeyID, "10.0.0.1", 1)
			}
			v := replaced(t, s)
			if (v.State == authority.StateReplaced) != c.ends {
				t.Fatalf("it is %s until %v", v.State, v.EndsAt)
			}
			if e := s.lastEvent(t); c.ends && (e.Action != "token.handed_over" || e.Actor.Kind != "system" || !v.EndsAt.Equal(s.now().Truncate(time.Second))) {
				t.Errorf("the event is %+v, the end %v", e, v.EndsAt)
			}
		})
	}
}

func TestAReplacementIsWatchedAfterARestart(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	h.usesOf(ledger, old.ID, old.KeyID, "10.0.0.1", 1)
	fresh, err := h.ReplaceWhenSeen(t.Context(), operator(), old.ID, 7*day)
	if err != nil {
		t.Fatal(err)
	}
	h.usesOf(ledger, fresh.ID, fresh.KeyID, "10.0.0.1", 1)
	h.advance(time.Hour)
	again, err := authority.New(h.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.EndOverlaps(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if v, err := again.Token(t.Context(), operator(), old.ID); err != nil || v.State != authority.StateReplaced {
		t.Errorf("it is %s, %v", v.State, err)
	}
}

// pruned is a ledger that notes when it is pruned.
type pruned struct {
	authority.Ledger
	times int
}

func (p *pruned) Prune(context.Context, time.Time) error {
	p.times++
	return nil
}

func TestOldCountsAreDroppedOnlyWhenTheClockHasGoneEvenly(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	noted := &pruned{Ledger: ledger}
	h.Ledger = noted
	uptime := time.Duration(0)
	pass := func(clock, real time.Duration) {
		h.advance(clock)
		uptime += real
		if err := errors.Join(h.EndOverlaps(t.Context(), uptime), h.Maintain(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	pass(0, 0)
	pass(10*365*day, time.Minute)
	for range 59 {
		pass(time.Minute, time.Minute)
	}
	if noted.times != 0 {
		t.Errorf("dropped %d times after a jump", noted.times)
	}
	pass(time.Minute, time.Minute)
	if noted.times != 1 {
		t.Errorf("dropped %d times after an even hour", noted.times)
	}
}

func TestRequestsBeforeARotationAreNobodysShare(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	token := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	h.usesOf(ledger, token.ID, token.KeyID, "10.0.0.1", 100)
	done, err := h.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: 14 * day})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		want  authority.Requests
	}{{0, authority.Requests{Under: 101, Since: 1}}, {time.Hour, authority.Requests{Under: 1, Since: 1}}, {time.Hour, authority.Requests{Under: 2, Since: 2}}} {
		h.advance(c.after)
		h.usesOf(ledger, token.ID, done.Previous.ID, "10.0.0.1", 1)
		h.usesOf(ledger, token.ID, done.Current.ID, "10.0.0.1", 1)
		e, err := h.Evidence(t.Context(), operator(), done.Previous.Name)
		if err != nil {
			t.Fatal(err)
		}
		if e.Tokens[0].Day != c.want {
			t.Errorf("%v later: %+v, want %+v", c.after, e.Tokens[0].Day, c.want)
		}
	}
}
