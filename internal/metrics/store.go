package metrics

import (
	"context"
	"errors"
	"sync"

	"mintmark/internal/authority"
)

// counted is what is counted of audited events.
type counted struct{ action, outcome string }

// events counts audited events by what was done and how it ended.
type events struct {
	mu     sync.Mutex
	counts map[counted]uint64
}

func (e *events) add(happened []counted) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range happened {
		e.counts[c]++
	}
}

// Store is s, with its changes timed and the events of those that were made
// counted.
func (m *Metrics) Store(s authority.Store) authority.Store { return store{s, m} }

type store struct {
	authority.Store
	metrics *Metrics
}

// Update implements [authority.Store].
func (s store) Update(ctx context.Context, fn func(authority.Tx) error) error {
	start := s.metrics.config.Now()
	var happened []counted
	var own error // what fn answered: no fault of the store
	err := s.Store.Update(ctx, func(tx authority.Tx) error {
		happened = happened[:0] // a store may begin again
		own = fn(audited{tx, &happened})
		return own
	})
	if own != nil && errors.Is(err, own) {
		return err
	}
	s.metrics.updates.Observe(s.metrics.config.Now().Sub(start).Seconds())
	if err != nil {
		s.metrics.failures.Inc()
		return err
	}
	s.metrics.events.add(happened)
	return nil
}

// audited is a transaction that notes which events are appended.
type audited struct {
	authority.Tx
	happened *[]counted
}

func (a audited) Audit() authority.AuditTable { return table{a.Tx.Audit(), a.happened} }

type table struct {
	authority.AuditTable
	happened *[]counted
}

func (t table) Append(events ...authority.Event) error {
	for i := range events {
		*t.happened = append(*t.happened, counted{events[i].Action, events[i].Outcome})
	}
	return t.AuditTable.Append(events...)
}
