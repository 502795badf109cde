package usage

import (
	"context"
	"time"

	"mintmark/internal/authority"
)

// inBatch is how many tokens a batch has at most: an answer may have to wait
// until one is kept.
const inBatch = 1 << 10

// Run looks, and flushes and looks at its times until ctx ends, when it flushes a
// last time.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	l.lookNow(ctx)
	l.tellNow(ctx)
	full := l.full
	for {
		timely := false
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), Every/6)
			defer cancel()
			return l.Flush(last)
		case <-tick.C:
			full, timely = l.full, true
		case <-full:
		}
		if err := l.Flush(ctx); err != nil && ctx.Err() == nil {
			full = nil // the store is in trouble: it is asked at its times alone
			l.config.Log.Error("counts of use were not saved; they are kept and tried again", "error", err)
		}
		if timely {
			l.lookNow(ctx)
		}
	}
}

// Flush makes everything durable that was counted before. What cannot be kept
// now is kept here and goes first the next time. Without a store it does nothing.
func (l *Ledger) Flush(ctx context.Context) error {
	if l.config.Store == nil {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	began := l.config.Now().UTC()
	l.config.Settle()
	l.take()
	for {
		b := l.next()
		if b == nil {
			break
		}
		if err := l.keep(ctx, b); err != nil {
			l.told.Lock()
			l.problem = err.Error()
			l.told.Unlock()
			return err
		}
		l.note(b)
	}
	l.told.Lock()
	l.saved, l.problem = began.Truncate(time.Second), ""
	l.told.Unlock()
	l.tell(ctx)
	return nil
}

func (l *Ledger) next() *batch {
	l.kept.RLock()
	defer l.kept.RUnlock()
	if len(l.waiting) == 0 {
		return nil
	}
	return l.waiting[0]
}

// take puts what was counted into batches. While a batch waits that could not be
// kept, it leaves everything where it adds up in the least room.
func (l *Ledger) take() {
	l.kept.Lock()
	defer l.kept.Unlock()
	if len(l.waiting) > 0 {
		return
	}
	unknown := new(entry) // it is in many shards
	b := l.newBatch()
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		tokens := s.tokens
		s.tokens = nil
		s.mu.Unlock()
		for id, e := range tokens {
			if id == "" {
				unknown.merge(e)
				l.rows.Add(-int64(e.rows()))
				continue
			}
			if len(b.tokens) == inBatch {
				b = l.newBatch()
			}
			b.tokens[id] = e
			b.rows += e.rows()
		}
	}
	if n := unknown.rows(); n > 0 {
		l.rows.Add(int64(n))
		b.tokens[""] = unknown
		b.rows += n
	}
	if last := len(l.waiting) - 1; len(l.waiting[last].tokens) == 0 {
		l.waiting = l.waiting[:last]
	}
}

func (l *Ledger) newBatch() *batch {
	l.number++
	b := &batch{number: l.number, tokens: make(map[authority.TokenID]*entry)}
	l.waiting = append(l.waiting, b)
	return b
}

// keep has the store keep a batch, and forgets it then. A batch that may have
// been kept, or not, is sent again as it was.
func (l *Ledger) keep(ctx context.Context, b *batch) error {
	out := authority.UsageBatch{Writer: l.config.Writer, Number: b.number}
	for id, e := range b.tokens {
		out.Records = append(out.Records, e.record(id, l.keys))
	}
	l.kept.Lock()
	defer l.kept.Unlock()
	if err := l.config.Store.AddUsage(ctx, out); err != nil {
		return err
	}
	l.waiting = l.waiting[1:]
	l.rows.Add(-int64(b.rows))
	return nil
}

// Prune is authority.UsageStore's. Without a store it makes room here, and keeps
// the hours of one day alone when there is little left.
func (l *Ledger) Prune(ctx context.Context, now time.Time) error {
	if l.config.Store != nil {
		return l.config.Store.PruneUsage(ctx, now)
	}
	hours := authority.UsageHours
	if l.rows.Load() > maxRows/2 {
		hours = hoursInDay
	}
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, e := range s.tokens {
			before := e.rows()
			e.prune(now, hours)
			l.rows.Add(int64(e.rows() - before))
			if e.rows() == 0 {
				delete(s.tokens, id)
			}
		}
		s.mu.Unlock()
	}
	return nil
}

// State is authority.Ledger's.
func (l *Ledger) State() authority.LedgerState {
	l.told.Lock()
	defer l.told.Unlock()
	return authority.LedgerState{Durable: l.config.Store != nil, Saved: l.saved, Problem: l.problem, Others: l.others, Lost: l.lost.Load()}
}
