package main

import (
	"context"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/edge"
	"mintmark/internal/limits"
	"mintmark/internal/metrics"
	"mintmark/internal/tracing"
)

// observe makes what counts, limits and traces.
func (k *core) observe(book *config.Book) {
	k.metrics = metrics.New(metrics.Config{Now: time.Now, Draw: rand.Uint64, Version: version(), State: func() metrics.State { return k.state(book) }})
	k.limits = limits.New(limits.Config{Now: time.Now, Rates: func() (limits.Rate, limits.Rate) {
		token, source := k.running.Limits()
		return limits.Rate(token), limits.Rate(source)
	}})
	k.apart.guard = sync.OnceValue(func() edge.Decider { return k.door("guard") })
	k.apart.extAuthz = sync.OnceValue(func() edge.Decider { return k.door("ext_authz") })
}

// door is the live set as one door asks it: within the limits, its refusals kept,
// and counted. Each has one name, and is made once.
func (k *core) door(name string) edge.Decider {
	return k.metrics.Door(name, k.refusals.Around(name, k.limits.Around(k.live)))
}

// rules is the store as the authority changes it: watched.
func (k *core) rules() authority.Store {
	s := k.metrics.Store(k.store)
	if k.tracing != nil {
		s = k.tracing.Store(s)
	}
	return s
}

// state is what a scrape shows of how the server stands.
func (k *core) state(book *config.Book) metrics.State {
	s := metrics.State{Ready: k.live.Ready(), Tokens: k.live.Len(), Store: k.store.Facts(), Nodes: k.nodes(), Alarms: k.alarms.Load()}
	if k.fleet != nil {
		s.SyncAge, s.ClockSkew = k.age(), time.Duration(k.fleet.skew.Load())
	}
	if book != nil {
		s.Waiting = len(book.Pending())
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	keys, err := k.authority.Keys(ctx, k.self())
	if err != nil {
		return s // keys go without their names; the store's own problem is shown
	}
	for _, key := range keys {
		s.Keys = append(s.Keys, metrics.Key{ID: key.ID, Name: key.Name, State: key.State, Since: key.CurrentSince})
	}
	return s
}

// trace is what the edge tells of requests, nil when nothing is traced.
func (k *core) trace() func(*http.Request, edge.Inbound) (context.Context, func(edge.Outcome)) {
	if k.tracing == nil {
		return nil
	}
	return k.tracing.Request
}

// openTracing begins to trace when the environment says so, and answers nil when
// it does not.
func (c *cli) openTracing(ctx context.Context, log *slog.Logger) (*tracing.Tracing, error) {
	wanted, err := tracing.Wanted(c.getenv)
	if err != nil {
		return nil, fail(exitInvalid, "tracing.invalid", "%s", err)
	}
	if !wanted {
		return nil, nil
	}
	return tracing.Start(ctx, version(), log)
}

// closeTracing sends what still waits, if the collector takes it soon.
func closeTracing(t *tracing.Tracing) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = t.Close(ctx) // what could not be sent was logged
}

// requestID is drawn for every request, so from the runtime's ChaCha8, which the
// system seeds: nobody can tell it in advance, and no call into the system is
// made for it.
func requestID() string {
	var raw [8]byte
	var text [16]byte
	n := rand.Uint64() //nolint:gosec // ChaCha8, as said above
	for i := range raw {
		raw[i] = byte(n >> (8 * i))
	}
	hex.Encode(text[:], raw[:])
	return string(text[:])
}
