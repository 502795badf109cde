package liveset

import (
	"math"
	"sync/atomic"
	"time"
)

// fresh bounds how long verdicts are given from a state that others may have
// changed since: unknown is never allow.
type fresh struct{ until atomic.Int64 } // Unix nanoseconds of Config.Now; 0: without a bound

func (f *fresh) over(now time.Time) bool {
	until := f.until.Load()
	return until != 0 && now.UnixNano() >= until
}

// GoodUntil says until when the state that the set holds may be answered from,
// unless it is said again; from then on every verdict is StateUnknown. The zero
// time ends it at once. A set to which nobody says it has no such end.
func (s *Set) GoodUntil(t time.Time) {
	until := int64(math.MinInt64)
	if !t.IsZero() {
		until = t.UnixNano()
	}
	s.fresh.until.Store(until)
}
