package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// Decider answers verdicts; the live set is one.
type Decider interface {
	Decide(token string, d liveset.Demand) liveset.Verdict
}

const (
	stripes = 8  // rows of one count, so that processors seldom meet in one line of memory
	row     = 32 // reasons of one row, in whole lines of memory
	timed   = 8  // of so many verdicts one is timed: reading a clock twice costs more than counting

	shortest, longest = 8, 30 // the first bucket ends at 2^8 ns, the last at 2^30

	// mostKeys bounds the keys that are told apart at one door; there are two in
	// use at a time.
	mostKeys = 64
)

// Door counts the verdicts that one door gives.
type Door struct {
	name    string
	next    Decider
	config  *Config
	tallies atomic.Pointer[[]*tally] // the first is that of verdicts without a key
	times   [longest - shortest + 2]atomic.Uint64
	total   atomic.Uint64 // nanoseconds of all that were timed
}

// tally counts verdicts on tokens of one key.
type tally struct {
	key    authority.KeyID
	counts [stripes][row]atomic.Uint64
}

// Decide asks, counts and tells the verdict. It takes no lock and no memory.
func (d *Door) Decide(token string, demand liveset.Demand) liveset.Verdict {
	draw := d.config.Draw()
	if draw%timed != 0 {
		v := d.next.Decide(token, demand)
		d.count(&v, draw)
		return v
	}
	start := d.config.Now()
	v := d.next.Decide(token, demand)
	took := max(d.config.Now().Sub(start), 0)
	d.count(&v, draw)
	d.times[bucket(took)].Add(1)
	d.total.Add(uint64(took))
	return v
}

func (d *Door) count(v *liveset.Verdict, draw uint64) {
	d.tally(v.Identity.KeyID).counts[draw>>32%stripes][v.Reason%row].Add(1)
}

// tally finds where verdicts on tokens of a key are counted.
func (d *Door) tally(kid authority.KeyID) *tally {
	for {
		known := d.tallies.Load()
		for _, t := range *known {
			if t.key == kid {
				return t
			}
		}
		if len(*known) == mostKeys {
			return (*known)[0]
		}
		more := append((*known)[:len(*known):len(*known)], &tally{key: kid})
		d.tallies.CompareAndSwap(known, &more)
	}
}

func (t *tally) of(r liveset.Reason) (n uint64) {
	for i := range t.counts {
		n += t.counts[i][r].Load()
	}
	return n
}

func (t *tally) all() (n uint64) {
	for i := range t.counts {
		for r := range t.counts[i] {
			n += t.counts[i][r].Load()
		}
	}
	return n
}

// bucket is where a duration is counted: each bucket ends at twice the one
// before.
func bucket(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	n := bits.Len64(uint64(d - 1)) // the smallest n with d <= 2^n
	return min(max(n, shortest), longest+1) - shortest
}

// histogram is what was timed: how many verdicts took at most so many seconds.
type histogram struct {
	count   uint64
	sum     float64
	buckets map[float64]uint64
}

func (d *Door) histogram() histogram {
	h := histogram{sum: time.Duration(d.total.Load()).Seconds(), buckets: make(map[float64]uint64)}
	for i := range d.times {
		h.count += d.times[i].Load()
		if n := shortest + i; n <= longest {
			h.buckets[(time.Duration(1) << n).Seconds()] = h.count
		}
	}
	return h
}
