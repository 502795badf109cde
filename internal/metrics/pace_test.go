package metrics_test

import (
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
	"mintmark/internal/metrics"

	"github.com/google/go-cmp/cmp"
)

func TestThePaceIsThatOfTheLastMarks(t *testing.T) {
	s := &script{verdicts: []liveset.Verdict{{Reason: liveset.Allowed, Identity: liveset.Identity{KeyID: authority.KeyID("k")}}}, now: start()}
	m := metrics.New(metrics.Config{Now: func() time.Time { return s.now }, Draw: func() uint64 { return 0 }}) // every one is timed
	doors := []*metrics.Door{m.Door("a", s), m.Door("b", s)}
	give := func(n int, took time.Duration) {
		s.took = took
		for i := range n {
			doors[i%2].Decide("", liveset.Demand{})
		}
	}
	began := s.now
	same := func(when string, want metrics.Pace) {
		t.Helper()
		if diff := cmp.Diff(want, m.Pace()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	same("at the start", metrics.Pace{Since: began, AsOf: began})
	give(100, 512) // each bucket ends at twice the one before: they are in (256, 512]
	same("of 100", metrics.Pace{Since: began, AsOf: s.now, Count: 100, P50: 384, P99: 509})
	m.Mark()
	first := s.now
	give(98, 200)
	give(2, time.Millisecond)
	same("one mark ago", metrics.Pace{Since: began, AsOf: s.now, Count: 200, P50: 261, P99: 512})
	m.Mark()
	same("two marks ago", metrics.Pace{Since: first, AsOf: s.now, Count: 100, P50: 130, P99: 786_432})
	m.Mark()
	last := s.now
	give(1, time.Hour)
	m.Mark()
	same("too long to be measured", metrics.Pace{Since: last, AsOf: s.now, Count: 1, P50: 1 << 30, P99: 1 << 30})
	m.Mark()
	same("of nothing", metrics.Pace{Since: s.now, AsOf: s.now})
}
