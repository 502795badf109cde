package main

import (
	"context"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/metrics"
)

const (
	// lookTime bounds a question that nobody but a scrape waits for.
	lookTime = time.Second
	// seenFor is how long what was seen of the other nodes is told.
	seenFor = 10 * time.Second
)

// sighting is what the store said of the nodes that share it.
type sighting struct {
	state authority.FleetState
	at    time.Time
}

// look asks which nodes there are, so that no scrape has to. A look that fails
// leaves what was seen before, which grows old.
func (f *fleet) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if state, err := f.store.Nodes(ctx); err == nil {
		f.seen.Store(&sighting{state, time.Now()})
	}
}

// nodes counts the nodes that live, as they were seen last; nil when that was too
// long ago. A server whose store is its own is the only one.
func (k *core) nodes() *metrics.Nodes {
	var alive []authority.Node
	if k.fleet == nil {
		alive = []authority.Node{{Ready: k.ready() == nil}}
	} else {
		seen := k.fleet.seen.Load()
		if seen == nil || time.Since(seen.at) > seenFor {
			return nil
		}
		alive = seen.state.Alive()
	}
	var n metrics.Nodes
	for i := range alive {
		if alive[i].Ready {
			n.Ready++
		} else {
			n.NotReady++
		}
	}
	return &n
}
