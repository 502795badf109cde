package authority

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// quietFor is how long a replaced token has not been used before it may end
	// early: whoever moves comes with both for a while.
	quietFor = 10 * time.Minute
	// rememberedFor is how long before a replacement a source of the old token
	// counts as one that has to come with the successor.
	rememberedFor = UsageHours * time.Hour
	// lookedFor is how often replacements are looked for that another node made.
	lookedFor = time.Hour
)

// handovers are the replaced tokens that end when their successor was seen.
type handovers struct {
	mu     sync.Mutex
	ids    map[TokenID]bool
	looked time.Time
}

func (h *handovers) add(id TokenID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ids == nil {
		h.ids = make(map[TokenID]bool)
	}
	h.ids[id] = true
}

func (h *handovers) drop(id TokenID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ids, id)
}

func (h *handovers) all() []TokenID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.ids))
}

// due reports whether it is time to look for them again.
func (h *handovers) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.looked.IsZero() && now.Sub(h.looked).Abs() < lookedFor {
		return false
	}
	h.looked = now
	return true
}

// endHandovers ends replaced tokens whose successor was seen wherever they had
// come from. It needs no clock that goes evenly: what it waits for is not a time.
func (a *Authority) endHandovers(ctx context.Context, now time.Time) error {
	if a.Ledger == nil {
		return nil
	}
	if a.handovers.due(now) {
		err := a.Store.View(ctx, func(tx Tx) error {
			for t, err := range tx.Tokens().All() {
				if err != nil {
					return err
				}
				if t.RetireWhenSeen && t.DeletedAt.IsZero() && now.Before(t.EndsAt) {
					a.handovers.add(t.ID)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var err error
	for _, id := range a.handovers.all() {
		err = errors.Join(err, a.endHandover(ctx, id, now))
	}
	return err
}

func (a *Authority) endHandover(ctx context.Context, id TokenID, now time.Time) error {
	var old, successor Token
	err := a.Store.View(ctx, func(tx Tx) error {
		var err error
		if old, err = tx.Tokens().Get(id); err == nil && old.ReplacedBy != "" {
			successor, err = tx.Tokens().Get(old.ReplacedBy)
		}
		return err
	})
	switch {
	case err != nil && KindOf(err) != NotFound:
		return err
	case err != nil, !old.RetireWhenSeen, !old.DeletedAt.IsZero(), !now.Before(old.EndsAt):
		a.handovers.drop(id)
		return nil
	case now.Sub(a.Usage.LastUse(id).At) < quietFor:
		return nil
	}
	before, err := a.Ledger.Record(ctx, id)
	if err != nil {
		return err
	}
	after, err := a.Ledger.Record(ctx, successor.ID)
	if err != nil || !seenEverywhere(before.Sources, after.Sources, successor.CreatedAt.Add(-rememberedFor)) {
		return err
	}
	_, err = a.changeToken(ctx, Itself(), id, func(_ Tx, t *Token, s System) (string, error) {
		if !t.RetireWhenSeen || t.ReplacedBy != successor.ID || t.State(now, s.Generation) != StateActive {
			return "", nil // undone or ended meanwhile
		}
		t.EndsAt = now
		return "token.handed_over", nil
	})
	return err
}

// seenEverywhere reports whether a successor was allowed from every source that a
// token was allowed from since a time. A token that came from nowhere proves
// nothing, and neither does one with more sources than are told apart.
func seenEverywhere(before, after []UsageSource, since time.Time) bool {
	type place struct{ from, via string }
	seen := make(map[place]bool)
	for _, s := range after {
		if s.Allowed > 0 {
			seen[place{s.From, s.Via}] = true
		}
	}
	came := false
	for _, s := range before {
		if s.Allowed == 0 || s.Last.Before(since) {
			continue
		}
		if came = true; s.From == "" || !seen[place{s.From, s.Via}] {
			return false
		}
	}
	return came
}
