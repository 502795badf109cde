package metrics_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
	"mintmark/internal/metrics"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

// script answers verdicts one after the other; the clock stands still but while
// it answers.
type script struct {
	verdicts []liveset.Verdict
	took     time.Duration
	now      time.Time
}

func (s *script) Decide(string, liveset.Demand) liveset.Verdict {
	v := s.verdicts[0]
	if len(s.verdicts) > 1 {
		s.verdicts = s.verdicts[1:]
	}
	s.now = s.now.Add(s.took)
	return v
}

func start() time.Time { return time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC) }

// watch makes metrics of a server in that state; every n-th draw is 0.
func watch(state metrics.State, now func() time.Time) *metrics.Metrics {
	var n atomic.Uint64
	return metrics.New(metrics.Config{
		Now: now, Draw: func() uint64 { n.Add(1); return (n.Load() - 1) | n.Load()<<32 }, State: func() metrics.State { return state }, Version: "v1.2.3",
	})
}

func get(t *testing.T, m *metrics.Metrics, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// shown fails the test unless a scrape has each of the lines.
func shown(t *testing.T, m *metrics.Metrics, lines ...string) {
	t.Helper()
	status, text := get(t, m, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, text)
	}
	all := strings.Split(text, "\n")
	for _, line := range lines {
		if !slices.Contains(all, line) {
			t.Errorf("not shown: %s", line)
		}
	}
	if t.Failed() {
		for _, line := range all {
			if strings.HasPrefix(line, "mintmark_") {
				t.Log(line)
			}
		}
	}
}

func of(key authority.KeyID, r liveset.Reason) liveset.Verdict {
	return liveset.Verdict{Reason: r, Identity: liveset.Identity{ID: "tok_1", ClientID: "maria", KeyID: key}}
}

func TestVerdictsAreCountedByDoorClassReasonAndKey(t *testing.T) {
	m := watch(metrics.State{Keys: []metrics.Key{{ID: "kid-b", Name: "key_2026b"}}}, start)
	s := &script{verdicts: []liveset.Verdict{
		of("kid-b", liveset.Allowed), of("kid-b", liveset.Allowed), of("kid-b", liveset.TagMissing), of("kid-a", liveset.Allowed),
		{Reason: liveset.BadSignature},
		{Reason: liveset.TooMany},
		{Reason: liveset.StateUnknown},
	}}
	first, second := m.Door("forward_auth", s), m.Door("guard", s)
	for range 7 {
		first.Decide("t", liveset.Demand{})
	}
	second.Decide("t", liveset.Demand{})
	shown(
		t, m,
		`mintmark_verdicts_total{class="allow",door="forward_auth",key="key_2026b",reason="ok"} 2`,
		`mintmark_verdicts_total{class="forbidden",door="forward_auth",key="key_2026b",reason="tag_missing"} 1`,
		`mintmark_verdicts_total{class="forbidden",door="forward_auth",key="key_2026b",reason="role_insufficient"} 0`,
		`mintmark_verdicts_total{class="allow",door="forward_auth",key="kid-a",reason="ok"} 1`,
		`mintmark_verdicts_total{class="invalid",door="forward_auth",key="",reason="bad_signature"} 1`,
		`mintmark_verdicts_total{class="limited",door="forward_auth",key="",reason="too_many"} 1`,
		`mintmark_verdicts_total{class="missing",door="forward_auth",key="",reason="no_credential"} 0`,
		`mintmark_verdicts_total{class="unknown",door="forward_auth",key="",reason="state_unknown"} 1`,
		`mintmark_verdicts_total{class="unknown",door="guard",key="",reason="state_unknown"} 1`,
		`mintmark_verdicts_total{class="invalid",door="guard",key="",reason="bad_signature"} 0`,
	)
	if _, text := get(t, m, "/metrics"); strings.Contains(text, "maria") || strings.Contains(text, "tok_1") {
		t.Error("somebody is named")
	}
}

func TestAVerdictIsHandedOnAsItWasGiven(t *testing.T) {
	m := watch(metrics.State{}, start)
	want := of("kid", liveset.RoleInsufficient)
	want.Quota = &liveset.Quota{Limit: 1}
	got := m.Door("d", &script{verdicts: []liveset.Verdict{want}}).Decide("t", liveset.Demand{})
	if got.Reason != want.Reason || got.Identity.ID != want.Identity.ID || got.Quota != want.Quota {
		t.Errorf("%+v", got)
	}
}

func TestEveryReasonHasItsCount(t *testing.T) {
	for _, r := range liveset.Reasons() {
		m := watch(metrics.State{}, start)
		m.Door("d", &script{verdicts: []liveset.Verdict{{Reason: r}}}).Decide("t", liveset.Demand{})
		var counted []string
		_, text := get(t, m, "/metrics")
		for line := range strings.SplitSeq(text, "\n") {
			if strings.HasPrefix(line, "mintmark_verdicts_total{") && !strings.HasSuffix(line, " 0") {
				counted = append(counted, line)
			}
		}
		if len(counted) != 1 || !strings.HasSuffix(counted[0], `reason="`+r.String()+`"} 1`) {
			t.Errorf("%s is counted as %q", r, counted)
		}
	}
}

func TestOneVerdictOfEightIsTimed(t *testing.T) {
	s := &script{verdicts: []liveset.Verdict{of("k", liveset.Allowed)}, took: 70 * time.Microsecond, now: start()}
	m := watch(metrics.State{}, func() time.Time { return s.now })
	d := m.Door("forward_auth", s)
	for range 80 {
		d.Decide("t", liveset.Demand{})
	}
	shown(
		t, m,
		`mintmark_verdict_duration_seconds_count{door="forward_auth"} 10`,
		`mintmark_verdict_duration_seconds_sum{door="forward_auth"} 0.0007`,
		`mintmark_verdict_duration_seconds_bucket{door="forward_auth",le="6.5536e-05"} 0`,
		`mintmark_verdict_duration_seconds_bucket{door="forward_auth",le="0.000131072"} 10`,
		`mintmark_verdict_duration_seconds_bucket{door="forward_auth",le="+Inf"} 10`,
	)
}

func TestADurationFallsIntoTheFirstBucketThatHoldsIt(t *testing.T) {
	for took, le := range map[time.Duration]string{
		-time.Second: "2.56e-07", 0: "2.56e-07", 256: "2.56e-07", 257: "5.12e-07", 1 << 30: "1.073741824", time.Hour: "+Inf",
	} {
		s := &script{verdicts: []liveset.Verdict{{Reason: liveset.Malformed}}, took: took, now: start()}
		m := watch(metrics.State{}, func() time.Time { return s.now })
		m.Door("d", s).Decide("t", liveset.Demand{})
		_, text := get(t, m, "/metrics")
		first := ""
		for line := range strings.SplitSeq(text, "\n") {
			if rest, ok := strings.CutPrefix(line, `mintmark_verdict_duration_seconds_bucket{door="d",le="`); ok && strings.HasSuffix(rest, " 1") {
				first, _, _ = strings.Cut(rest, `"`)
				break
			}
		}
		if first != le {
			t.Errorf("%s is in %s, want %s", took, first, le)
		}
	}
}

func TestAFloodOfKeysIsBounded(t *testing.T) {
	m := watch(metrics.State{}, start)
	s := &script{verdicts: []liveset.Verdict{{}}}
	d := m.Door("d", s)
	for i := range 1000 {
		s.verdicts[0] = of(authority.KeyID("kid-"+strings.Repeat("x", i)), liveset.Allowed)
		d.Decide("t", liveset.Demand{})
	}
	_, text := get(t, m, "/metrics")
	if n := strings.Count(text, `reason="ok"`); n != 64 {
		t.Errorf("%d keys are told apart", n)
	}
	shown(t, m, `mintmark_verdicts_total{class="allow",door="d",key="",reason="ok"} 937`)
}

func TestNoVerdictIsLostBetweenProcessors(t *testing.T) {
	m := watch(metrics.State{}, start)
	d := m.Door("d", decider(func() liveset.Verdict { return of("k", liveset.Allowed) }))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10_000 {
				d.Decide("t", liveset.Demand{})
			}
		})
	}
	group.Wait()
	shown(t, m, `mintmark_verdicts_total{class="allow",door="d",key="k",reason="ok"} 80000`)
}

type decider func() liveset.Verdict

func (d decider) Decide(string, liveset.Demand) liveset.Verdict { return d() }

func TestCountingTakesNoMemory(t *testing.T) {
	m := watch(metrics.State{}, start)
	d := m.Door("d", decider(func() liveset.Verdict { return of("k", liveset.Allowed) }))
	d.Decide("t", liveset.Demand{})
	if n := testing.AllocsPerRun(1000, func() { d.Decide("t", liveset.Demand{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTheStateIsShown(t *testing.T) {
	m := watch(metrics.State{
		Ready: true, Tokens: 42, Store: authority.StoreFacts{Kind: "json", Persistent: true, LastWrite: start()}, SyncAge: 1500 * time.Millisecond, Waiting: 3,
		ClockSkew: -250 * time.Millisecond, Nodes: &metrics.Nodes{Ready: 2, NotReady: 1}, Alarms: 4,
		Keys: []metrics.Key{{ID: "a", Name: "key_2026a", State: authority.KeyNext}, {ID: "b", Name: "key_2026b", State: authority.KeyCurrent, Since: start()}},
	}, start)
	shown(
		t, m,
		`mintmark_ready 1`, `mintmark_live_tokens 42`, `mintmark_store_info{kind="json",persistent="true"} 1`, `mintmark_store_writable 1`,
		`mintmark_store_last_write_timestamp_seconds 1.795442882e+09`, `mintmark_store_sync_age_seconds 1.5`, `mintmark_audit_waiting 3`,
		`mintmark_fleet_clock_skew_seconds -0.25`, `mintmark_fleet_nodes{ready="true"} 2`, `mintmark_fleet_nodes{ready="false"} 1`, `mintmark_store_alarms_total 4`,
		`mintmark_key_info{key="key_2026a",state="next"} 1`, `mintmark_key_info{key="key_2026b",state="current"} 1`,
		`mintmark_key_current_since_timestamp_seconds{key="key_2026b"} 1.795442882e+09`,
		`mintmark_events_total{action="login.refused",outcome="refused"} 0`,
	)
	ill := watch(metrics.State{Store: authority.StoreFacts{Kind: "memory", Problem: "no space left"}}, start)
	shown(t, ill, `mintmark_ready 0`, `mintmark_store_info{kind="memory",persistent="false"} 1`, `mintmark_store_writable 0`)
	if _, text := get(t, ill, "/metrics"); strings.Contains(text, "no space") || strings.Contains(text, "mintmark_store_last_write") || strings.Contains(text, "mintmark_fleet_nodes") {
		t.Errorf("shown: %s", text)
	}
}

func TestProfilesAreServedAndTheCommandLineIsNot(t *testing.T) {
	m := watch(metrics.State{}, start)
	for path, want := range map[string]int{
		"/metrics": 200, "/debug/pprof/": 200, "/debug/pprof/heap": 200, "/debug/pprof/goroutine": 200, "/debug/pprof/symbol": 200, "/": 404, "/debug": 404,
	} {
		if status, _ := get(t, m, path); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}
	if _, text := get(t, m, "/debug/pprof/cmdline"); strings.Contains(text, "metrics.test") {
		t.Error("the command line is served")
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestEventsOfChangesThatWereMadeAreCounted(t *testing.T) {
	inner, err := mapstore.Open(mapstore.Config{Now: start})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	m := watch(metrics.State{}, start)
	s := m.Store(inner)
	note := func(outcome string, then error) error {
		return s.Update(t.Context(), func(tx authority.Tx) error {
			return errors.Join(tx.Audit().Append(authority.Event{At: start(), Action: "login.refused", Outcome: outcome, Actor: authority.Actor{Kind: "anonymous"}}), then)
		})
	}
	for range 2 {
		if err := note(authority.OutcomeRefused, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := note(authority.OutcomeRefused, authority.NotFound); !errors.Is(err, authority.NotFound) {
		t.Fatal(err)
	}
	shown(t, m, `mintmark_events_total{action="login.refused",outcome="refused"} 2`, `mintmark_store_update_duration_seconds_count 2`, `mintmark_store_update_failures_total 0`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ctx, func(tx authority.Tx) error { return nil }); err == nil {
		t.Fatal("a change was made for nobody")
	}
	shown(t, m, `mintmark_store_update_failures_total 1`)
}

func TestAWatchedStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		s, err := mapstore.Open(mapstore.Config{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return storetest.Harness{Store: watch(metrics.State{}, time.Now).Store(s), TokensLost: true}
	})
}
