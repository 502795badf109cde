package authority

import (
	"sync"
	"time"
)

const (
	// maxDrift is by how much the clock may differ from the time that has passed
	// before it is said to have jumped.
	maxDrift = 10 * time.Minute
	// settling is how long a clock goes evenly before something is ended for good
	// because of it.
	settling = time.Hour
)

// pulse compares the clock with the time that has really passed, because a
// clock that jumps must not end for good what has not ended.
type pulse struct {
	mu     sync.Mutex
	began  bool
	now    time.Time     // the clock when it was felt last
	uptime time.Duration // the process's age then
	since  time.Duration // the age from which the clock has gone evenly
	even   bool          // the clock had settled when it was felt last

	// The trial that is watched: its key and end, and the age at which it is over.
	trial       KeyID
	trialUntil  time.Time
	trialOverBy time.Duration
}

// steady reports whether the clock has gone evenly for an hour.
func (p *pulse) steady(now time.Time, uptime time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	drift := now.Sub(p.now) - (uptime - p.uptime)
	if !p.began || drift.Abs() > maxDrift {
		p.since = uptime
	}
	p.began, p.now, p.uptime = true, now, uptime
	p.even = uptime-p.since >= settling
	return p.even
}

// settled reports what steady answered last.
func (p *pulse) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.even
}

// trialOver reports whether a trial has been watched for as long as was left of
// it when it was first seen.
func (p *pulse) trialOver(k Key, now time.Time, uptime time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trial != k.ID || !p.trialUntil.Equal(k.TrialUntil) {
		p.trial, p.trialUntil, p.trialOverBy = k.ID, k.TrialUntil, uptime+k.TrialUntil.Sub(now)
	}
	return uptime >= p.trialOverBy
}
