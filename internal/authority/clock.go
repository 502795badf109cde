package authority

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// maxAhead is how far the clock may be behind a time that was seen before;
	// with more, that time is the mistake and the clock is believed.
	maxAhead = 24 * time.Hour
	// clockStep spares verdicts a write to shared memory each.
	clockStep = time.Millisecond
)

// Clock is a clock that does not go back: while the clock behind it is less than
// a day behind the latest time that was seen, it stands still. So what has
// expired stays expired when the clock is set back. A difference of more than a
// day is followed, as a jump forward that was taken back is. Its methods may be
// called concurrently.
type Clock struct {
	wall   func() time.Time
	latest atomic.Int64 // Unix nanoseconds
}

// NewClock makes a clock over another.
func NewClock(wall func() time.Time) *Clock { return &Clock{wall: wall} }

// Now is the time, in UTC.
func (c *Clock) Now() time.Time {
	now := c.wall().UTC()
	latest := c.latest.Load()
	switch ahead := time.Duration(latest - now.UnixNano()); {
	case ahead > maxAhead, ahead < -clockStep:
		c.latest.CompareAndSwap(latest, now.UnixNano()) // else somebody else has just done so
	case ahead > 0:
		return time.Unix(0, latest).UTC()
	}
	return now
}

// Resume tells the clock a time that an earlier process put down, and answers
// by how much the clock behind it is earlier; 0 when it is not.
func (c *Clock) Resume(seen time.Time) (behind time.Duration) {
	behind = seen.Sub(c.wall())
	if behind <= 0 {
		return 0
	}
	c.latest.Store(seen.UnixNano())
	return behind
}

// LastSeen is the latest time that is put down durably: that of the newest
// events. It is what a [Clock] resumes from.
func (a *Authority) LastSeen(ctx context.Context) (time.Time, error) {
	var seen time.Time
	err := a.Store.View(ctx, func(tx Tx) error {
		page, err := tx.Audit().Page(AuditQuery{Limit: DefaultPage})
		for _, e := range page.Events {
			if e.At.After(seen) {
				seen = e.At
			}
		}
		return err
	})
	return seen, err
}

// noteExpired puts down that tokens have expired, unless something else has
// been put down since they did. That is what keeps them expired when the clock
// is set back before the next start.
func (a *Authority) noteExpired(ctx context.Context) error {
	seen, err := a.LastSeen(ctx)
	if err != nil {
		return err
	}
	now, expired := a.Now().UTC(), 0
	err = a.Store.View(ctx, func(tx Tx) error {
		for t, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			if end, _ := t.End(); end.After(seen) && !now.Before(end) {
				expired++
			}
		}
		return nil
	})
	if err != nil || expired == 0 {
		return err
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		return tx.Audit().Append(Event{
			At: now, Actor: Actor{Kind: "system", Name: "mintmark"}, Action: "tokens.expired", Outcome: OutcomeOK,
			Detail: map[string]string{"tokens": strconv.Itoa(expired)},
		})
	})
}
