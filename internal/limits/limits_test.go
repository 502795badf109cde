package limits_test

import (
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"mintmark/internal/limits"
	"mintmark/internal/liveset"

	"github.com/google/go-cmp/cmp"
)

// live answers as the live set would: a token's text is its id, and "bad" is
// none.
//
// It asks whom it is given about limits, before it looks and for who is known.
type live struct {
	mu    sync.Mutex
	asked int
}

func (l *live) Decide(token string, d liveset.Demand) liveset.Verdict {
	if d.Admit != nil && !d.Admit("") {
		return liveset.Verdict{Reason: liveset.TooMany}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	switch {
	case token == "bad":
		return liveset.Verdict{Reason: liveset.BadSignature}
	case d.Admit != nil && !d.Admit(token):
		return liveset.Verdict{Reason: liveset.TooMany}
	case token == "weak":
		return liveset.Verdict{Reason: liveset.RoleInsufficient, Identity: liveset.Identity{ID: token}}
	}
	return liveset.Verdict{Reason: liveset.Allowed, Identity: liveset.Identity{ID: token}}
}

// scene is limits around a live set, at a time that the test sets.
type scene struct {
	limits.Decider
	live          live
	now           time.Time
	token, source limits.Rate
}

func begin(token, source limits.Rate) *scene {
	s := &scene{now: time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC), token: token, source: source}
	s.Decider = limits.New(limits.Config{
		Rates: func() (limits.Rate, limits.Rate) { return s.token, s.source }, Now: func() time.Time { return s.now },
	}).Around(&s.live)
	return s
}

func (s *scene) ask(token, from string) liveset.Verdict {
	var d liveset.Demand
	if from != "" {
		d.From = netip.MustParseAddr(from)
	}
	return s.Decide(token, d)
}

// admitted is how many of n questions were not too many.
func (s *scene) admitted(n int, token, from string) (admitted int) {
	for range n {
		if s.ask(token, from).Reason != liveset.TooMany {
			admitted++
		}
	}
	return admitted
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func perSecond(n, burst int) limits.Rate {
	return limits.Rate{Events: n, Window: time.Second, Burst: burst}
}

func TestWithoutLimitsNothingIsCounted(t *testing.T) {
	s := begin(limits.Rate{}, limits.Rate{})
	same(t, "admitted", s.admitted(10_000, "a", "10.0.0.1"), 10_000)
	if q := s.ask("a", "10.0.0.1").Quota; q != nil {
		t.Errorf("quota %+v", q)
	}
	if n := testing.AllocsPerRun(100, func() { s.ask("a", "10.0.0.1") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestATokenIsAdmittedAtItsRateAndOthersKeepTheirs(t *testing.T) {
	s := begin(perSecond(10, 20), limits.Rate{})
	same(t, "at once", s.admitted(100, "a", "10.0.0.1"), 20)
	same(t, "from elsewhere", s.admitted(100, "a", "10.0.0.2"), 0)
	same(t, "another token", s.admitted(100, "b", "10.0.0.1"), 20)
	s.now = s.now.Add(500 * time.Millisecond)
	same(t, "after half a second", s.admitted(100, "a", "10.0.0.1"), 5)
	s.now = s.now.Add(time.Hour)
	same(t, "after a rest", s.admitted(100, "a", "10.0.0.1"), 20)
}

func TestASourceIsAdmittedAtItsRateWhateverItSends(t *testing.T) {
	s := begin(limits.Rate{}, perSecond(10, 10))
	same(t, "bad tokens", s.admitted(5, "bad", "10.0.0.1"), 5)
	same(t, "good tokens", s.admitted(100, "a", "10.0.0.1"), 5)
	same(t, "mapped", s.admitted(100, "a", "::ffff:10.0.0.1"), 0)
	same(t, "asked", s.live.asked, 10) // no signature is checked for what is too many
	same(t, "another source", s.admitted(100, "a", "10.0.0.2"), 10)
}

func TestANetworkOfVersion6IsOneSource(t *testing.T) {
	s := begin(limits.Rate{}, perSecond(1, 3))
	same(t, "one host", s.admitted(2, "a", "2001:db8:0:1::1"), 2)
	same(t, "its other address", s.admitted(9, "a", "2001:db8:0:1:ffff::2"), 1)
	same(t, "another network", s.admitted(9, "a", "2001:db8:0:2::1"), 3)
}

func TestTokensThatAreMadeUpUseUpNobodysShare(t *testing.T) {
	s := begin(perSecond(1, 2), limits.Rate{})
	same(t, "made up", s.admitted(100, "bad", "10.0.0.1"), 100)
	same(t, "good", s.admitted(100, "a", "10.0.0.1"), 2)
}

func TestATokenThatIsGoodAndNotEnoughIsCounted(t *testing.T) {
	s := begin(perSecond(1, 2), limits.Rate{})
	same(t, "refused for its role", s.admitted(100, "weak", "10.0.0.1"), 2)
}

func TestWhoAsksForSomebodyElseIsNotLimited(t *testing.T) {
	s := begin(perSecond(1, 1), perSecond(1, 1))
	same(t, "admitted", s.admitted(100, "a", ""), 100)
}

func TestAVerdictThatIsTooManyHoldsNobody(t *testing.T) {
	s := begin(perSecond(1, 1), limits.Rate{})
	s.ask("a", "10.0.0.1")
	v := s.ask("a", "10.0.0.1")
	if v.Reason != liveset.TooMany || v.Identity.ID != "" || v.Allow() || v.Reason.Class() != liveset.ClassLimited {
		t.Errorf("%+v", v)
	}
}

func TestTheQuotaTellsWhatIsLeftOfTheTighterLimit(t *testing.T) {
	s := begin(limits.Rate{Events: 60, Window: time.Minute, Burst: 3}, perSecond(100, 100))
	for _, want := range []liveset.Quota{
		{Limit: 60, Window: time.Minute, Remaining: 2},
		{Limit: 60, Window: time.Minute, Remaining: 1},
		{Limit: 60, Window: time.Minute, Remaining: 0, Wait: time.Second},
		{Limit: 60, Window: time.Minute, Remaining: 0, Wait: time.Second},
	} {
		same(t, "quota", s.ask("a", "10.0.0.1").Quota, &want)
	}
	s.now = s.now.Add(400 * time.Millisecond)
	same(t, "wait", s.ask("a", "10.0.0.1").Quota.Wait, 600*time.Millisecond)
	s.source = perSecond(1, 1)
	same(t, "the source's", s.ask("b", "10.0.0.2").Quota, &liveset.Quota{Limit: 1, Window: time.Second, Wait: time.Second})
}

func TestALimitHoldsFromTheNextRequestOn(t *testing.T) {
	s := begin(limits.Rate{}, limits.Rate{})
	s.admitted(100, "a", "10.0.0.1")
	s.token = perSecond(1, 2)
	same(t, "set", s.admitted(100, "a", "10.0.0.1"), 2)
	s.token = limits.Rate{}
	same(t, "unset", s.admitted(100, "a", "10.0.0.1"), 100)
}

func TestAClockThatIsSetBackCostsOneBurst(t *testing.T) {
	s := begin(perSecond(10, 10), limits.Rate{})
	s.admitted(10, "a", "10.0.0.1")
	s.now = s.now.Add(-time.Hour)
	same(t, "at once", s.admitted(100, "a", "10.0.0.1"), 0)
	s.now = s.now.Add(time.Second)
	same(t, "after a second", s.admitted(100, "a", "10.0.0.1"), 10)
}

// Memory is bounded: 300,000 clients later each of the first is forgiven, and
// nobody is refused for another's requests.
func TestMoreClientsThanTheTableHoldsAreForgiven(t *testing.T) {
	s := begin(perSecond(1, 1), limits.Rate{})
	for i := range 300_000 {
		s.now = s.now.Add(time.Nanosecond)
		if v := s.ask(strconv.Itoa(i), "10.0.0.1"); !v.Allow() {
			t.Fatalf("client %d was refused as %s", i, v.Reason)
		}
	}
	same(t, "the first again", s.admitted(2, "0", "10.0.0.1"), 1)
}

func TestConcurrentRequestsAreAdmittedOnce(t *testing.T) {
	s := begin(perSecond(1, 500), limits.Rate{})
	var group sync.WaitGroup
	counts := make([]int, 8)
	for i := range counts {
		group.Go(func() { counts[i] = s.admitted(1000, "a", "10.0.0.1") })
	}
	group.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	same(t, "admitted", total, 500)
}

func BenchmarkOff(b *testing.B) {
	s := begin(limits.Rate{}, limits.Rate{})
	d := liveset.Demand{From: netip.MustParseAddr("10.0.0.1")}
	b.Run("limits", func(b *testing.B) {
		for b.Loop() {
			s.Decide("a", d)
		}
	})
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			s.live.Decide("a", d)
		}
	})
}
