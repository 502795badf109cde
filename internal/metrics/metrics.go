// Package metrics counts what the server does and shows it to Prometheus, with
// Go's profiles beside it.
//
// It touches memory only; whoever wires it listens. What it shows holds no
// token, no client ID and no address: labels are of a few values each.
//
// The one hard idea: counting must not be felt where verdicts are given. A door
// adds to plain numbers that processors seldom share, and only a scrape sums them
// up and gives them names.
package metrics

import (
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mintmark/internal/authority"
)

// Config is what Metrics are made of.
type Config struct {
	Now func() time.Time
	// Draw answers a random number; it decides what is timed.
	Draw func() uint64
	// State answers how the server stands, at a scrape.
	State   func() State
	Version string
}

// State is how the server stands at one moment.
type State struct {
	Ready  bool
	Tokens int // in the live set
	Store  authority.StoreFacts
	// SyncAge is how old the newest word of a shared store is; 0 for a store of
	// this machine.
	SyncAge time.Duration
	// ClockSkew is how far this machine's clock is ahead of a shared store's.
	ClockSkew time.Duration
	// Nodes are those that share the store, this one among them; nil: it is not
	// known which there are.
	Nodes *Nodes
	// Alarms is how often the store found what somebody should look at.
	Alarms uint64
	// Waiting are changes that the audit log has not taken over yet.
	Waiting int
	Keys    []Key
}

// Nodes counts the nodes of a fleet that live.
type Nodes struct{ Ready, NotReady int }

// Key is a signing key, as it is shown.
type Key struct {
	ID    authority.KeyID
	Name  string
	State authority.KeyState
	Since time.Time // when it became current; zero: never
}

// Metrics is everything that is counted. All methods may be called concurrently.
type Metrics struct {
	config   Config
	registry *prometheus.Registry
	updates  prometheus.Histogram
	failures prometheus.Counter
	events   events
	mu       sync.Mutex
	doors    []*Door

	before, last mark // see Mark
}

// New makes metrics that have counted nothing.
func New(c Config) *Metrics {
	m := &Metrics{
		config: c, registry: prometheus.NewRegistry(), events: events{counts: make(map[counted]uint64)},
		updates: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mintmark_store_update_duration_seconds", Help: "How long changes took until they were durable and every verdict knew of them.",
			Buckets: prometheus.ExponentialBuckets(1e-4, 4, 9),
		}),
		before: mark{at: c.Now()}, last: mark{at: c.Now()},
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintmark_store_update_failures_total", Help: "Changes that the store did not make."}),
	}
	m.registry.MustRegister(m.updates, m.failures, collector{m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Door answers next, with its verdicts counted under the name of a door. It is
// for whoever wires the doors: each has one name.
func (m *Metrics) Door(name string, next Decider) *Door {
	d := &Door{name: name, next: next, config: &m.config}
	d.tallies.Store(&[]*tally{{}})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doors = append(m.doors, d)
	return d
}

// Handler serves /metrics and /debug/pprof/. It asks for no credential: it
// belongs on a listener that strangers do not reach.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
