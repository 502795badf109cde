package usage

import (
	"context"
	"time"

	"mintmark/internal/authority"
)

// Record is authority.Ledger's.
func (l *Ledger) Record(ctx context.Context, id authority.TokenID) (authority.UsageRecord, error) {
	l.config.Settle()
	l.kept.RLock()
	defer l.kept.RUnlock()
	var whole entry
	if l.config.Store != nil {
		stored, err := l.config.Store.Usage(ctx, id)
		if err != nil {
			return authority.UsageRecord{}, err
		}
		whole.load(stored, l.keys)
	}
	for _, b := range l.waiting {
		if e := b.tokens[id]; e != nil {
			whole.merge(e)
		}
	}
	for i := range l.shards { // tokens that are not known are in many
		s := &l.shards[i]
		s.mu.Lock()
		if e := s.tokens[id]; e != nil {
			whole.merge(e)
		}
		s.mu.Unlock()
	}
	return whole.record(id, l.keys), nil
}

// sumOf tells sums apart.
type sumOf struct {
	token authority.TokenID
	key   uint16
}

// Sums is authority.Ledger's.
func (l *Ledger) Sums(ctx context.Context, since time.Time, tokens []authority.TokenID) ([]authority.UsageSum, error) {
	l.config.Settle()
	l.kept.RLock()
	defer l.kept.RUnlock()
	sums := make(map[sumOf]uint64)
	if l.config.Store != nil {
		stored, err := l.config.Store.UsageSums(ctx, since, tokens)
		if err != nil {
			return nil, err
		}
		for _, s := range stored {
			sums[sumOf{s.Token, l.keys.number(s.Key)}] += s.Count
		}
	}
	from := seconds(since) / hour
	add := func(id authority.TokenID, e *entry) {
		if e == nil || id == "" {
			return
		}
		for _, s := range e.hours {
			if s.start >= from && s.allowed > 0 {
				sums[sumOf{id, s.key}] += s.allowed
			}
		}
	}
	of := func(all map[authority.TokenID]*entry) {
		if tokens == nil {
			for id, e := range all {
				add(id, e)
			}
			return
		}
		for _, id := range tokens {
			add(id, all[id])
		}
	}
	for _, b := range l.waiting {
		of(b.tokens)
	}
	for i := range l.shards {
		l.shards[i].mu.Lock()
		of(l.shards[i].tokens)
		l.shards[i].mu.Unlock()
	}
	out := make([]authority.UsageSum, 0, len(sums))
	for of, n := range sums {
		out = append(out, authority.UsageSum{Token: of.token, Key: l.keys.name(of.key), Count: n})
	}
	return out, nil
}
