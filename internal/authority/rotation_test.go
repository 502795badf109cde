package authority_test

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
)

const day = 24 * time.Hour

func (h *house) rotate(t *testing.T, overlap time.Duration) authority.Rotation {
	t.Helper()
	done, err := h.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: overlap, Reason: "scheduled"})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// key is a key as it is recorded now.
func (h *house) key(t *testing.T, name string) authority.Key {
	t.Helper()
	keys, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(keys, func(k authority.Key) bool { return k.Name == name || string(k.ID) == name })
	if i < 0 {
		t.Fatalf("there is no key %s", name)
	}
	return keys[i]
}

// minutes lets the clock and the process go on together, minute by minute.
func (h *house) minutes(t *testing.T, uptime *time.Duration, n int) {
	t.Helper()
	for range n {
		h.advance(time.Minute)
		*uptime += time.Minute
		if err := h.EndOverlaps(t.Context(), *uptime); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARotationMovesEachKeyOneOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.advance(time.Hour)
	current, next := h.key(t, "key_2026a"), h.key(t, "key_2026b")
	old := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	done := h.rotate(t, 14*day)
	if done.Warning != "" {
		t.Errorf("a warning: %s", done.Warning)
	}
	if done.Current.ID != next.ID || done.Current.State != authority.KeyCurrent || !done.Current.CurrentSince.Equal(h.now().Truncate(time.Second)) {
		t.Errorf("current %+v", done.Current)
	}
	if p := done.Previous; p.ID != current.ID || p.State != authority.KeyPrevious || !p.Until.Equal(h.now().Truncate(time.Second).Add(14*day)) || p.Hold || p.Reason != "scheduled" {
		t.Errorf("previous %+v", p)
	}
	if done.Next.Name != "key_2026c" || done.Next.State != authority.KeyNext || !h.ring.Has(done.Next.ID) {
		t.Errorf("next %+v", done.Next)
	}
	for _, k := range []authority.Key{done.Current, done.Previous, done.Next} {
		if !reflect.DeepEqual(h.key(t, string(k.ID)), k) {
			t.Errorf("%s is recorded as %+v", k.Name, h.key(t, k.Name))
		}
	}
	if e := h.lastEvent(t); e.Action != "key.rotated" || e.Label != "key_2026b" || e.Detail["previous"] != "key_2026a" || e.Detail["next"] != "key_2026c" || e.Detail["reason"] != "scheduled" {
		t.Errorf("event %+v", e)
	}
	again, err := h.RevealToken(t.Context(), operator(), old.ID)
	if err != nil || again.ID != old.ID || again.KeyID != next.ID || again.Text.Unsafe() == old.Text.Unsafe() {
		t.Errorf("a copy is under %s, %v", again.KeyID, err)
	}
	if issued := h.issue(t, authority.TokenRequest{ClientID: "new", Role: "user"}); issued.KeyID != next.ID {
		t.Errorf("a new token is under %s", issued.KeyID)
	}
}

func TestARepeatedCreateIsSignedByTheKeyThatSignsNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := authority.TokenRequest{ClientID: "ci", Role: "user"}
	first, err := h.IssueToken(t.Context(), operator(), r, "once")
	if err != nil {
		t.Fatal(err)
	}
	done := h.rotate(t, time.Hour)
	again, err := h.IssueToken(t.Context(), operator(), r, "once")
	if err != nil || again.ID != first.ID || again.KeyID != done.Current.ID {
		t.Errorf("the repeat is %s under %s, %v", again.ID, again.KeyID, err)
	}
}

func TestARotationIsRefusedWhenItWouldBreakSomebody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.policy.MaxLifetime = 7 * day
	ask := func(c authority.Caller, overlap time.Duration) error {
		_, err := h.RotateKey(t.Context(), c, authority.RotateRequest{Overlap: overlap})
		return err
	}
	for overlap, code := range map[time.Duration]string{0: "overlap.none", time.Second: "overlap.range", -time.Hour: "overlap.range", 7*day + 1: "overlap.range"} {
		err := ask(operator(), overlap)
		wantKind(t, err, authority.Invalid, "request.invalid")
		if f := classed(t, err).Fields; len(f) != 1 || f[0].Field != "overlap" || f[0].Code != code {
			t.Errorf("%s: %+v", overlap, f)
		}
	}
	wantKind(t, ask(nobody(), time.Hour), authority.Unauthenticated, "")
	wantKind(t, ask(authority.TokenCaller("tok_x", "ci", authority.RoleUser, authority.Origin{}), time.Hour), authority.Forbidden, "")
	stale := authority.LoginCaller("lgn_x", otherAdmin, h.now().Add(-time.Hour), authority.Origin{})
	wantKind(t, ask(stale, time.Hour), authority.StepUp, "")
	if d := h.policy.DefaultOverlap(); d != 7*day {
		t.Errorf("the default is %s where tokens live 7 days", d)
	}
	h.rotate(t, 7*day)
	err := ask(operator(), time.Hour)
	wantKind(t, err, authority.Conflict, "key.rotating")
	if want := "Finish this rotation first: key_2026a is accepted until 2026-11-30T14:08:02Z."; err.Error() != want {
		t.Errorf("it says %q", err)
	}
	h.advance(7 * day) // the overlap is over, whether or not anybody has put it down
	h.rotate(t, time.Hour)
}

func TestAYoungNextKeyIsWarnedOf(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.advance(authority.KeySetAge - time.Second)
	if done := h.rotate(t, time.Hour); done.Warning == "" {
		t.Error("no warning")
	}
}

func TestOfManyRotationsAtOnceOneWins(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			_, err := h.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: time.Hour})
			switch {
			case err == nil:
				won.Add(1)
			case authority.KindOf(err) == authority.Conflict && classed(t, err).Code == "key.rotating":
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 199 {
		t.Errorf("%d won, %d were told so", won.Load(), lost.Load())
	}
	keys, err := h.Keys(t.Context(), operator())
	if err != nil || len(keys) != 3 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if err := h.CheckCustody(t.Context(), h.ring.Has); err != nil {
		t.Error(err)
	}
}

// Whoever has the answer of a rotation gets nothing that the old key signed.
func TestNothingIsSignedByTheOldKeyAfterTheAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	var rotated atomic.Pointer[authority.KeyID]
	var wg sync.WaitGroup
	try := func(sign func() (authority.KeyID, error)) {
		for range 300 {
			old := rotated.Load()
			kid, err := sign()
			if err != nil {
				t.Error(err)
				return
			}
			if old != nil && kid == *old {
				t.Errorf("%s signed after it was rotated away", kid)
				return
			}
		}
	}
	wg.Go(func() {
		try(func() (authority.KeyID, error) {
			i, err := h.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "new", Role: "user"}, "")
			return i.KeyID, err
		})
	})
	wg.Go(func() {
		try(func() (authority.KeyID, error) {
			i, err := h.RevealToken(t.Context(), operator(), id)
			return i.KeyID, err
		})
	})
	wg.Go(func() {
		try(func() (authority.KeyID, error) {
			in, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
			return in.KeyID, err
		})
	})
	old := h.rotate(t, time.Hour).Previous.ID
	rotated.Store(&old)
	wg.Wait()
}

func TestAResetEndsARotation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 20 {
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := h.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: time.Hour})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		// Whichever came first, one key signs, one is next, and none is between two states.
		if err := h.CheckCustody(t.Context(), h.ring.Has); err != nil {
			t.Fatal(err)
		}
		keys, err := h.Keys(t.Context(), operator())
		if err != nil {
			t.Fatal(err)
		}
		states := make(map[authority.KeyState]int)
		for _, k := range keys {
			states[k.State]++
		}
		if states[authority.KeyCurrent] != 1 || states[authority.KeyNext] != 1 || states[authority.KeyPrevious] > 1 {
			t.Fatalf("states %v", states)
		}
		if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k = h.key(t, string(k.ID)); k.State != authority.KeyRetired || !k.Until.IsZero() || h.ring.Has(k.ID) {
				t.Fatalf("after a reset: %+v", k)
			}
		}
	}
}

func TestAnOverlapIsExtendedOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.rotate(t, time.Hour)
	until := h.key(t, "key_2026a").Until
	if k, err := h.ExtendKey(t.Context(), operator(), "key_2026a", until.Add(day)); err != nil || !k.Until.Equal(until.Add(day)) {
		t.Errorf("got %+v, %v", k, err)
	}
	if e := h.lastEvent(t); e.Action != "key.extended" || e.Detail["before"] != "2026-11-23T15:08:02Z" || e.Detail["until"] != "2026-11-24T15:08:02Z" {
		t.Errorf("event %+v", e)
	}
	for _, at := range []time.Time{until, until.Add(day), h.now().Add(366 * day), {}} {
		_, err := h.ExtendKey(t.Context(), operator(), "key_2026a", at)
		wantKind(t, err, authority.Invalid, "request.invalid")
	}
	for name, code := range map[string]string{"key_2026b": "key.not_previous", "key_2026c": "key.not_previous"} {
		_, err := h.ExtendKey(t.Context(), operator(), name, until.Add(2*day))
		wantKind(t, err, authority.Conflict, code)
	}
	_, err := h.ExtendKey(t.Context(), operator(), "key_1999a", until.Add(2*day))
	wantKind(t, err, authority.NotFound, "key.not_found")
	h.advance(2 * day) // it is over: nothing brings it back
	_, err = h.ExtendKey(t.Context(), operator(), "key_2026a", h.now().Add(day))
	wantKind(t, err, authority.Conflict, "key.retired")
}

func TestOnlyAPreviousKeyIsRetiredAndItsSecretIsForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.rotate(t, time.Hour)
	old := h.key(t, "key_2026a")
	for _, name := range []string{"key_2026b", "key_2026c"} {
		_, err := h.RetireKey(t.Context(), operator(), name)
		wantKind(t, err, authority.Conflict, "key.not_previous")
	}
	var total uint64
	for range 2 { // the second time it changes nothing
		k, err := h.RetireKey(t.Context(), operator(), string(old.ID))
		if err != nil || k.State != authority.KeyRetired || !k.Until.IsZero() || h.ring.Has(old.ID) {
			t.Fatalf("got %+v, %v", k, err)
		}
		_, events := h.records(t)
		if total != 0 && events != total {
			t.Error("retiring again is an event")
		}
		total = events
	}
	if e := h.lastEvent(t); e.Action != "key.retired" || e.Label != "key_2026a" {
		t.Errorf("event %+v", e)
	}
	_, err := h.TrialStop(t.Context(), operator(), "key_2026a", time.Hour)
	wantKind(t, err, authority.Conflict, "key.retired")
	_, err = h.RetireKey(t.Context(), authority.LoginCaller("lgn_x", otherAdmin, h.now().Add(-time.Hour), authority.Origin{}), "key_2026a")
	wantKind(t, err, authority.StepUp, "")
}

func TestATrialStopEndsByItselfOrSooner(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.rotate(t, 14*day)
	for _, d := range []time.Duration{0, time.Second, 25 * time.Hour} {
		_, err := h.TrialStop(t.Context(), operator(), "key_2026a", d)
		wantKind(t, err, authority.Invalid, "request.invalid")
	}
	start := func() {
		t.Helper()
		k, err := h.TrialStop(t.Context(), operator(), "key_2026a", 15*time.Minute)
		if err != nil || !k.OnTrial(h.now()) || !k.Accepted(h.now()) {
			t.Fatalf("got %+v, %v", k, err)
		}
		if e := h.lastEvent(t); e.Action != "key.trial_started" {
			t.Fatalf("event %+v", e)
		}
	}
	start()
	for range 2 {
		if k, err := h.EndTrial(t.Context(), operator(), "key_2026a"); err != nil || k.OnTrial(h.now()) {
			t.Fatalf("got %+v, %v", k, err)
		}
	}
	if e := h.lastEvent(t); e.Action != "key.trial_ended" || e.Actor.Kind != "local" {
		t.Errorf("event %+v", e)
	}
	start()
	var uptime time.Duration
	h.minutes(t, &uptime, 14)
	if k := h.key(t, "key_2026a"); !k.OnTrial(h.now()) {
		t.Errorf("it ended too early: %+v", k)
	}
	h.minutes(t, &uptime, 1)
	if k := h.key(t, "key_2026a"); !k.TrialUntil.IsZero() {
		t.Errorf("it goes on: %+v", k)
	}
	if e := h.lastEvent(t); e.Action != "key.trial_ended" || e.Actor.Kind != "system" {
		t.Errorf("event %+v", e)
	}
}

// A clock that is set back, or stands still, holds no trial up.
func TestATrialStopEndsWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.rotate(t, 14*day)
	if _, err := h.TrialStop(t.Context(), operator(), "key_2026a", 15*time.Minute); err != nil {
		t.Fatal(err)
	}
	for uptime := time.Duration(0); uptime <= 15*time.Minute; uptime += time.Minute {
		if err := h.EndOverlaps(t.Context(), uptime); err != nil {
			t.Fatal(err)
		}
	}
	if k := h.key(t, "key_2026a"); !k.TrialUntil.IsZero() {
		t.Errorf("it goes on: %+v", k)
	}
	k := authority.Key{State: authority.KeyPrevious, TrialUntil: h.now().Add(15 * time.Minute)}
	if back := h.now().Add(-2 * day); k.OnTrial(back) {
		t.Error("an end beyond any trial is believed")
	}
}

func TestAnOverlapThatIsOverIsRetired(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.rotate(t, 2*time.Hour)
	old := h.key(t, "key_2026a")
	var uptime time.Duration
	h.minutes(t, &uptime, 119)
	if k := h.key(t, "key_2026a"); k.State != authority.KeyPrevious {
		t.Fatalf("too early: %+v", k)
	}
	h.minutes(t, &uptime, 1)
	if k := h.key(t, "key_2026a"); k.State != authority.KeyRetired || h.ring.Has(old.ID) {
		t.Errorf("got %+v", k)
	}
	if e := h.lastEvent(t); e.Action != "key.overlap_ended" || e.Actor.Kind != "system" {
		t.Errorf("event %+v", e)
	}
}

// A key is refused at its end in any case; what cannot be undone waits until the
// clock is to be believed.
func TestAClockThatJumpsRetiresNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.policy.RotateAuto = true
	h.rotate(t, 14*day)
	var uptime time.Duration
	h.minutes(t, &uptime, 90)
	before := h.key(t, "key_2026a")
	h.advance(10 * 365 * day)
	h.minutes(t, &uptime, 50)
	h.advance(-10 * 365 * day)
	h.minutes(t, &uptime, 90)
	if k := h.key(t, "key_2026a"); !reflect.DeepEqual(k, before) || !h.ring.Has(before.ID) || !k.Accepted(h.now()) {
		t.Errorf("got %+v", k)
	}
	if k := h.key(t, "key_2026b"); k.State != authority.KeyCurrent {
		t.Errorf("the clock's jump rotated: %+v", k)
	}
	// The same after a start: nothing is retired in the first hour.
	h.advance(10 * 365 * day)
	again, err := authority.New(h.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, up := range []time.Duration{0, time.Minute, 59 * time.Minute} {
		h.advance(time.Minute)
		if up > time.Minute {
			h.advance(57 * time.Minute)
		}
		if err := again.EndOverlaps(t.Context(), up); err != nil {
			t.Fatal(err)
		}
	}
	if k := h.key(t, "key_2026a"); !reflect.DeepEqual(k, before) {
		t.Errorf("after a start: %+v", k)
	}
	h.advance(time.Minute)
	if err := again.EndOverlaps(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if k := h.key(t, "key_2026a"); k.State != authority.KeyRetired {
		t.Errorf("a clock that has gone evenly for an hour is not believed: %+v", k)
	}
}

func TestAnOverlapIsHeldWhileItIsUsed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.policy.HoldIfUsed = true
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	old := h.rotate(t, 2*time.Hour).Previous
	h.policy.HoldIfUsed = false // what held when it was rotated counts
	h.since = h.now()
	var uptime time.Duration
	h.minutes(t, &uptime, 121)
	check := func(until time.Time, why string) {
		t.Helper()
		k := h.key(t, "key_2026a")
		if k.State != authority.KeyPrevious || !k.Accepted(h.now()) || !k.Until.Equal(until) {
			t.Fatalf("got %+v, want it held until %s", k, until)
		}
		if e := h.lastEvent(t); e.Action != "key.overlap_held" || e.Detail["why"] != why {
			t.Fatalf("event %+v", e)
		}
	}
	// Nobody has been seen, and nobody has looked for long.
	check(old.Until.Add(day), "use has been counted for less than a day")
	h.uses[id] = []authority.KeyUse{{Key: old.ID, First: h.now(), Last: h.now().Add(20 * time.Hour)}}
	h.minutes(t, &uptime, 24*60)
	check(old.Until.Add(2*day), "tokens used under it within a day: 1")
	h.minutes(t, &uptime, 24*60)
	if k := h.key(t, "key_2026a"); k.State != authority.KeyRetired {
		t.Errorf("unused, and still %+v", k)
	}
}

// heard is a ledger that has read what other nodes have saved at a time.
type heard struct {
	authority.Ledger
	at time.Time
}

func (l *heard) State() authority.LedgerState { return authority.LedgerState{Others: l.at} }

func TestAnOverlapIsHeldWhileOtherNodesAreNotHeardOf(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	h.policy.HoldIfUsed = true
	old := h.rotate(t, 2*time.Hour).Previous
	others := &heard{ledger, h.now()}
	h.Fleet, h.Ledger = struct{ authority.Fleet }{}, others
	var uptime time.Duration
	h.minutes(t, &uptime, 121)
	k := h.key(t, old.Name)
	if e := h.lastEvent(t); k.State != authority.KeyPrevious || e.Action != "key.overlap_held" || e.Detail["why"] != "what other nodes have seen has not been read for an hour" {
		t.Fatalf("key %+v, event %+v", k, e)
	}
	h.minutes(t, &uptime, 24*60-30)
	others.at = h.now()
	h.minutes(t, &uptime, 31)
	if k := h.key(t, old.Name); k.State != authority.KeyRetired {
		t.Errorf("they are heard of, nobody uses it, and still %+v", k)
	}
}

func TestAKeyIsRotatedByItselfWhenPolicySaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.policy.RotateEvery = 3 * time.Hour
	var uptime time.Duration
	h.minutes(t, &uptime, 4*60)
	if k := h.key(t, "key_2026a"); k.State != authority.KeyCurrent {
		t.Fatalf("it was rotated: %+v", k)
	}
	h.policy.RotateAuto = true
	h.minutes(t, &uptime, 4*60) // a second one waits until the first has ended
	if k := h.key(t, "key_2026a"); k.State != authority.KeyPrevious || k.Until.Sub(h.key(t, "key_2026b").CurrentSince) != h.policy.Overlap {
		t.Errorf("got %+v", k)
	}
	if k := h.key(t, "key_2026c"); k.State != authority.KeyNext {
		t.Errorf("next %+v", k)
	}
	if e := h.lastEvent(t); e.Action != "key.rotated" || e.Actor.Kind != "system" || e.Detail["reason"] != "scheduled" {
		t.Errorf("event %+v", e)
	}
}

func TestOnlyKeysThatCountArePublished(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	published := func() (names []string) {
		t.Helper()
		keys, err := h.PublishedKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			names = append(names, k.Name)
		}
		slices.Sort(names)
		return names
	}
	h.rotate(t, time.Hour)
	if got := published(); !slices.Equal(got, []string{"key_2026a", "key_2026b", "key_2026c"}) {
		t.Errorf("got %v", got)
	}
	h.advance(time.Hour)
	if got := published(); !slices.Equal(got, []string{"key_2026b", "key_2026c"}) {
		t.Errorf("after the overlap: %v", got)
	}
}
