package metrics

import (
	"slices"
	"time"
)

// Pace is how verdicts went lately, at all doors together.
type Pace struct {
	Since, AsOf time.Time
	Count       uint64
	// P50 and P99 are what half of the verdicts and 99 of 100 took at most, judged
	// by those that were timed as Prometheus' histogram_quantile judges; 0: none was.
	P50, P99 time.Duration
}

// mark is what had been counted at a time.
type mark struct {
	at    time.Time
	count uint64
	times [longest - shortest + 2]uint64
}

// Mark lets Pace look back to the mark before this one, from now on. It is to be
// called evenly, and Pace then looks back one to two times as far as that.
func (m *Metrics) Mark() {
	now := m.counted()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.last = m.last, now
}

// Pace says how verdicts went since the mark before the last one, or since the
// metrics were made.
func (m *Metrics) Pace() Pace {
	now := m.counted()
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	p := Pace{Since: before.at, AsOf: now.at, Count: now.count - before.count}
	for i := range now.times {
		now.times[i] -= before.times[i]
	}
	p.P50, p.P99 = now.within(50), now.within(99)
	return p
}

func (m *Metrics) counted() mark {
	m.mu.Lock()
	doors := slices.Clone(m.doors)
	m.mu.Unlock()
	out := mark{at: m.config.Now()}
	for _, d := range doors {
		for _, t := range *d.tallies.Load() {
			out.count += t.all()
		}
		for i := range d.times {
			out.times[i] += d.times[i].Load()
		}
	}
	return out
}

// within is the time within which so many of a hundred were.
func (k *mark) within(percent uint64) time.Duration {
	var all, below uint64
	for _, n := range k.times {
		all += n
	}
	rank := float64(all) * float64(percent) / 100
	for i, n := range k.times {
		if n > 0 && float64(below+n) >= rank {
			from, to := time.Duration(1)<<(shortest+i-1), time.Duration(1)<<(shortest+i)
			switch {
			case i == 0:
				from = 0
			case shortest+i > longest:
				return from // how much longer is not known
			}
			return from + time.Duration(float64(to-from)*(rank-float64(below))/float64(n))
		}
		below += n
	}
	return 0
}
