package authority_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestTheClockDoesNotGoBack(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, c := range map[string]struct{ wall, want []time.Duration }{
		"forward":                {[]time.Duration{0, hour, 2 * hour}, []time.Duration{0, hour, 2 * hour}},
		"back an hour":           {[]time.Duration{hour, 0, hour / 2, hour + 1}, []time.Duration{hour, hour, hour, hour + 1}},
		"back a day":             {[]time.Duration{24 * hour, 0}, []time.Duration{24 * hour, 24 * hour}},
		"back more than a day":   {[]time.Duration{25 * hour, 0, hour}, []time.Duration{25 * hour, 0, hour}},
		"ten years and back":     {[]time.Duration{0, 87600 * hour, hour, 2 * hour}, []time.Duration{0, 87600 * hour, hour, 2 * hour}},
		"steps too small to see": {[]time.Duration{0, 100, 50}, []time.Duration{0, 100, 50}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var at time.Duration
			clock := authority.NewClock(func() time.Time { return noon.Add(at) })
			for i, wall := range c.wall {
				at = wall
				if got := clock.Now(); !got.Equal(noon.Add(c.want[i])) {
					t.Errorf("reading %d, at %s: %s, want %s", i, wall, got.Sub(noon), c.want[i])
				}
			}
		})
	}
}

func TestTheClockResumesFromWhatWasPutDown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ seen, behind, now time.Duration }{
		{-time.Hour, 0, 0},
		{0, 0, 0},
		{time.Hour, time.Hour, time.Hour},
		{48 * time.Hour, 48 * time.Hour, 0}, // the time that was seen is the mistake
	} {
		clock := authority.NewClock(func() time.Time { return noon })
		if got := clock.Resume(noon.Add(c.seen)); got != c.behind {
			t.Errorf("seen %s: behind %s", c.seen, got)
		}
		if got := clock.Now(); !got.Equal(noon.Add(c.now)) {
			t.Errorf("seen %s: now %s", c.seen, got.Sub(noon))
		}
	}
}

func TestTheClockNeverGoesBackForAnybody(t *testing.T) {
	t.Parallel()
	var wall atomic.Int64
	wall.Store(noon.UnixNano())
	clock := authority.NewClock(func() time.Time { return time.Unix(0, wall.Load()) })
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			last := time.Time{}
			for i := range 2000 {
				if i%3 == 0 {
					wall.Add(int64(3 * time.Second))
				} else {
					wall.Add(int64(-time.Second))
				}
				now := clock.Now()
				if now.Before(last.Add(-time.Millisecond)) {
					t.Errorf("from %s to %s", last, now)
				}
				last = now
			}
		})
	}
	group.Wait()
}

// What expired stays expired over a restart with the clock set back by an hour.
func TestWhatHasExpiredIsPutDownOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user", Lifetime: 10 * time.Minute})
	h.issue(t, authority.TokenRequest{ClientID: "cd", Role: "user", Never: true})
	maintain := func() uint64 {
		t.Helper()
		if err := h.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, events := h.records(t)
		return events
	}
	before := maintain()
	h.advance(11 * time.Minute)
	ended := h.now()
	if got := maintain(); got != before+1 {
		t.Fatalf("%d events, want one more than %d", got, before)
	}
	if e := h.lastEvent(t); e.Action != "tokens.expired" || e.Detail["tokens"] != "1" || e.Actor.Kind != "system" {
		t.Errorf("event %+v", e)
	}
	if got := maintain(); got != before+1 {
		t.Errorf("it is put down again: %d events", got)
	}
	seen, err := h.LastSeen(t.Context())
	if err != nil || !seen.Equal(ended) {
		t.Fatalf("last seen %s, %v; want %s", seen, err, ended)
	}
	restarted := authority.NewClock(func() time.Time { return ended.Add(-time.Hour) })
	if behind := restarted.Resume(seen); behind != time.Hour || restarted.Now().Before(ended) {
		t.Errorf("after the restart it is %s", restarted.Now())
	}
}

func TestNothingIsSeenInAnEmptyStore(t *testing.T) {
	t.Parallel()
	if seen, err := emptyHouse(t).LastSeen(t.Context()); err != nil || !seen.IsZero() {
		t.Errorf("got %s, %v", seen, err)
	}
}

func TestAPauseFromAClockThatWasAheadKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	h.advance(10 * 365 * 24 * time.Hour)
	wrong := secret("wrong password, but long")
	for i := range 60 { // the source is paused, too
		_, _ = h.SignIn(t.Context(), nobody(), otherAdmin, wrong)
		_, _ = h.SignIn(t.Context(), nobody(), string(rune('a'+i%26))+"x", wrong)
	}
	h.advance(-10 * 365 * 24 * time.Hour)
	if _, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil {
		t.Fatalf("the administrator is kept out: %v", err)
	}
	// The guard is as strict as before.
	for range 5 {
		_, _ = h.SignIn(t.Context(), nobody(), otherAdmin, wrong)
	}
	_, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	wantKind(t, err, authority.Throttled, "login.paused")
}

// A clock that jumps ahead and comes back takes no live record with it.
func TestAJumpOfTheClockDeletesNothingThatLives(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	live := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	h.advance(10 * 365 * 24 * time.Hour)
	if err := h.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.advance(-10 * 365 * 24 * time.Hour)
	if view, err := h.Token(t.Context(), operator(), live); err != nil || view.State != authority.StateActive {
		t.Errorf("got %s, %v", view.State, err)
	}
}
