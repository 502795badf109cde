package metrics

import (
	"maps"
	"runtime"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// collector sums everything up at a scrape.
type collector struct{ *Metrics }

// Describe implements [prometheus.Collector]: it names nothing in advance, and
// is not checked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	state := c.config.State()
	s := sink{out}
	c.collectDoors(s, state.Keys)
	s.gauge("mintmark_ready", "Whether verdicts are answered.", flag(state.Ready), nil)
	s.gauge("mintmark_live_tokens", "Tokens in the live set.", float64(state.Tokens), nil)
	s.gauge("mintmark_store_info", "The store of the tokens.", 1, labels{"kind": state.Store.Kind, "persistent": strconv.FormatBool(state.Store.Persistent)})
	s.gauge("mintmark_store_writable", "Whether changes and their audit events can be written.", flag(state.Store.Problem == ""), nil)
	if !state.Store.LastWrite.IsZero() {
		s.gauge("mintmark_store_last_write_timestamp_seconds", "When the store was last written.", float64(state.Store.LastWrite.UnixMilli())/1000, nil)
	}
	s.gauge("mintmark_store_sync_age_seconds", "How old the newest word of a shared store is; 0 for a store of this machine.", state.SyncAge.Seconds(), nil)
	s.counter("mintmark_store_alarms_total", "How often the store found what somebody should look at; the log says what.", float64(state.Alarms), nil)
	s.gauge("mintmark_fleet_clock_skew_seconds", "How far this machine's clock is ahead of the shared store's; 0 for a store of this machine.", state.ClockSkew.Seconds(), nil)
	if n := state.Nodes; n != nil {
		const help = "Nodes that live and share the store, as this one knows them."
		s.gauge("mintmark_fleet_nodes", help, float64(n.Ready), labels{"ready": "true"})
		s.gauge("mintmark_fleet_nodes", help, float64(n.NotReady), labels{"ready": "false"})
	}
	s.gauge("mintmark_audit_waiting", "Changes of the configuration that the audit log has not taken over yet.", float64(state.Waiting), nil)
	c.collectEvents(s)
	for _, k := range state.Keys {
		s.gauge("mintmark_key_info", "A signing key.", 1, labels{"key": k.Name, "state": string(k.State)})
		if k.State == authority.KeyCurrent && !k.Since.IsZero() {
			s.gauge("mintmark_key_current_since_timestamp_seconds", "When the key that signs began to.", float64(k.Since.Unix()), labels{"key": k.Name})
		}
	}
	s.gauge("mintmark_build_info", "The build.", 1, labels{"version": c.config.Version, "go": runtime.Version()})
}

func (c collector) collectDoors(s sink, keys []Key) {
	names := make(map[authority.KeyID]string)
	for _, k := range keys {
		names[k.ID] = k.Name
	}
	c.mu.Lock()
	doors := slices.Clone(c.doors)
	c.mu.Unlock()
	for _, d := range doors {
		for i, t := range *d.tallies.Load() {
			name := names[t.key]
			if name == "" {
				name = string(t.key)
			}
			for _, r := range liveset.Reasons() {
				n := t.of(r)
				// What may come is shown before it does: a rate needs its zero.
				if n == 0 && keyed(r) != (i > 0) {
					continue
				}
				s.counter("mintmark_verdicts_total", "Verdicts by door, class and reason, and by key where the token is good.",
					float64(n), labels{"door": d.name, "class": className(r.Class()), "reason": r.String(), "key": name})
			}
		}
		s.histogram("mintmark_verdict_duration_seconds", "How long a verdict took. One of 8 is timed.", d.histogram(), labels{"door": d.name})
	}
}

// keyed reasons are given of tokens that are good, so that their key is known.
func keyed(r liveset.Reason) bool {
	return r.Class() == liveset.ClassAllow || r.Class() == liveset.ClassForbidden
}

func (c collector) collectEvents(s sink) {
	c.events.mu.Lock()
	counts := maps.Clone(c.events.counts)
	c.events.mu.Unlock()
	// A sign-in that is refused is what people watch: it is there from the start.
	if refused := (counted{"login.refused", authority.OutcomeRefused}); counts[refused] == 0 {
		counts[refused] = 0
	}
	for event, n := range counts {
		s.counter("mintmark_events_total", "Audited events, by action and outcome.", float64(n), labels{"action": event.action, "outcome": event.outcome})
	}
}

// className is the class as a label.
func className(c liveset.Class) string {
	switch c {
	case liveset.ClassAllow:
		return "allow"
	case liveset.ClassMissing:
		return "missing"
	case liveset.ClassForbidden:
		return "forbidden"
	case liveset.ClassLimited:
		return "limited"
	case liveset.ClassUnknown:
		return "unknown"
	case liveset.ClassInvalid:
	}
	return "invalid"
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

type labels = prometheus.Labels

// sink takes metrics that are made for one scrape.
type sink struct{ out chan<- prometheus.Metric }

func (s sink) gauge(name, help string, value float64, l labels) {
	s.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, l), prometheus.GaugeValue, value)
}

func (s sink) counter(name, help string, value float64, l labels) {
	s.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, l), prometheus.CounterValue, value)
}

func (s sink) histogram(name, help string, h histogram, l labels) {
	s.out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, nil, l), h.count, h.sum, h.buckets)
}
