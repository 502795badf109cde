package authority

import (
	"sync"
	"time"
)

const (
	maxThrottles   = 2000
	forgetAfter    = 24 * time.Hour
	sourceLimit    = 50
	sourceWindow   = 5 * time.Minute
	maxSources     = 10_000
	totalFailures  = 100 // SP 800-63B-4 section 3.2.2: consecutive failures per account
	longPauseAfter = totalFailures / 2
)

// countFailure adds one failure to a name, or answers Throttled while it is
// paused. Accounts and names that are nobody's are counted alike.
func countFailure(tx Tx, name string, now time.Time, policy Policy) (Throttle, error) {
	t, err := tx.Throttles().Get(name)
	if err != nil && KindOf(err) != NotFound {
		return Throttle{}, err
	}
	// A pause from a time that has not come yet was begun by a clock that has been
	// set back since; it would keep everybody out until then.
	if t.LastAt.Sub(now) > time.Minute {
		t.PausedUntil = time.Time{}
	}
	if now.Before(t.PausedUntil) {
		return Throttle{}, throttled(t.PausedUntil, now)
	}
	if !t.PausedUntil.IsZero() || now.Sub(t.LastAt) > forgetAfter {
		t.Failures, t.PausedUntil = 0, time.Time{}
	}
	t.Name, t.LastAt = name, now
	t.Failures++
	t.Total++
	if t.Failures >= policy.LoginAttempts {
		pause := policy.LoginPause
		if t.Total >= longPauseAfter {
			pause = max(pause, time.Hour) // slower, never for good: the last administrator gets back in
		}
		t.PausedUntil = now.Add(pause)
	}
	return t, nil
}

// saveThrottle keeps the table bounded by dropping the oldest name that is
// nobody's; the count of a real account is never dropped for another name.
func saveThrottle(tx Tx, t Throttle) error {
	_, err := tx.Throttles().Get(t.Name)
	if err == nil {
		return tx.Throttles().Put(t)
	}
	if KindOf(err) != NotFound {
		return err
	}
	oldest, n := Throttle{}, 0
	for o, err := range tx.Throttles().All() {
		if err != nil {
			return err
		}
		n++
		if !o.Known && (oldest.Name == "" || o.LastAt.Before(oldest.LastAt)) {
			oldest = o
		}
	}
	if n >= maxThrottles && oldest.Name != "" {
		if err := tx.Throttles().Delete(oldest.Name); err != nil {
			return err
		}
	}
	return tx.Throttles().Insert(t)
}

func throttled(until, now time.Time) error {
	e := fail(Throttled, "login.paused", "Too many attempts. Try again at "+until.UTC().Format("15:04 UTC")+".")
	e.RetryAfter = until.Sub(now)
	return e
}

// sources counts failures per source address in memory, bounded: it slows one
// source that tries many names; the counts per name last.
type sources struct {
	mu    sync.Mutex
	count map[string]sourceCount
}

type sourceCount struct {
	since    time.Time
	failures int
}

// over reports whether the window has passed, or lies ahead of a clock that was
// set back.
func (n sourceCount) over(now time.Time) bool {
	return now.Before(n.since) || now.Sub(n.since) >= sourceWindow
}

// wait is how long a source must wait; 0 when it need not.
func (s *sources) wait(from string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count[from]
	if n.failures < sourceLimit || n.over(now) {
		return 0
	}
	return n.since.Add(sourceWindow).Sub(now)
}

func (s *sources) fail(from string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count[from]
	if n.over(now) {
		n = sourceCount{since: now}
	}
	n.failures++
	if s.count == nil {
		s.count = make(map[string]sourceCount)
	}
	if len(s.count) >= maxSources {
		for other, c := range s.count {
			if c.over(now) || len(s.count) >= maxSources {
				delete(s.count, other)
			}
		}
	}
	s.count[from] = n
}
