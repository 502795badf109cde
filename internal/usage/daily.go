package usage

import (
	"context"
	"time"

	"mintmark/internal/authority"
)

// ByDay is authority.Ledger's.
func (l *Ledger) ByDay(ctx context.Context, since time.Time, tokens []authority.TokenID) ([]authority.UsageOfDay, error) {
	l.config.Settle()
	l.kept.RLock()
	defer l.kept.RUnlock()
	var sums []authority.UsageOfDay
	if l.config.Store != nil {
		var err error
		if sums, err = l.config.Store.UsageByDay(ctx, since, tokens); err != nil {
			return nil, err
		}
	}
	from := seconds(since.UTC().Truncate(day*time.Second)) / hour
	add := func(id authority.TokenID, e *entry) {
		if e == nil {
			return
		}
		for _, s := range e.hours {
			if s.start >= from && s.allowed > 0 {
				start := time.Unix(int64(s.start)*hour, 0).UTC().Truncate(day * time.Second)
				sums = append(sums, authority.UsageOfDay{Token: id, Start: start, Count: s.allowed})
			}
		}
	}
	for _, b := range l.waiting {
		for _, id := range tokens {
			add(id, b.tokens[id])
		}
	}
	for i := range l.shards {
		l.shards[i].mu.Lock()
		for _, id := range tokens {
			add(id, l.shards[i].tokens[id])
		}
		l.shards[i].mu.Unlock()
	}
	return sums, nil
}
