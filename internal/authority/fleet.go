package authority

import (
	"context"
	"time"
)

// Node is one server of a fleet, as it says of itself.
type Node struct {
	ID        string // random, of one process
	Name      string // host and address, for people
	Version   string
	Issuer    string
	StartedAt time.Time
	SeenAt    time.Time // by the store's clock
	Revision  uint64    // of the state that it answers from
	Ready     bool
}

// Fleet is a store that several nodes share. Its failures are those of a Store.
type Fleet interface {
	// Beat says that a node is alive, forgets those that were not for a day, and
	// answers the store's clock.
	Beat(ctx context.Context, n Node) (now time.Time, err error)
	// Leave says that a node has stopped.
	Leave(ctx context.Context, id string) error
	// Nodes lists the nodes of the last day, those seen last first.
	Nodes(ctx context.Context) (FleetState, error)
}

// FleetState is what a store knows of its nodes.
type FleetState struct {
	Nodes    []Node
	Revision uint64 // of what was committed last
	Now      time.Time
}

// silentAfter is after how long without a word a node is taken for gone.
const silentAfter = 10 * time.Second

// Alive are the nodes that were heard of lately: one that is not was lost, and has
// another id when it comes back.
func (f FleetState) Alive() []Node {
	var alive []Node
	for _, n := range f.Nodes {
		if f.Now.Sub(n.SeenAt) <= silentAfter {
			alive = append(alive, n)
		}
	}
	return alive
}

// Nodes lists the nodes that share the store; none when it is not shared.
func (a *Authority) Nodes(ctx context.Context, c Caller) (FleetState, error) {
	if err := c.mustAdmin(); err != nil {
		return FleetState{}, err
	}
	if a.Fleet == nil {
		return FleetState{}, nil
	}
	return a.Fleet.Nodes(ctx)
}
