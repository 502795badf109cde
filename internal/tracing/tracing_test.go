package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
	"mintmark/internal/tracing"

	"github.com/google/go-cmp/cmp"
)

func TestTheEnvironmentSwitchesTracesOn(t *testing.T) {
	const endpoint, of = "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"
	for name, c := range map[string]struct {
		env    map[string]string
		wanted bool
		fault  string
	}{
		"nothing":            {nil, false, ""},
		"empty":              {map[string]string{endpoint: ""}, false, ""},
		"service name only":  {map[string]string{"OTEL_SERVICE_NAME": "tokens"}, false, ""},
		"endpoint":           {map[string]string{endpoint: of}, true, ""},
		"endpoint of traces": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": of}, true, ""},
		"exporter":           {map[string]string{endpoint: of, "OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"no exporter":        {map[string]string{endpoint: of, "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		"other exporter":     {map[string]string{endpoint: of, "OTEL_TRACES_EXPORTER": "zipkin"}, false, "OTEL_TRACES_EXPORTER"},
		"disabled":           {map[string]string{endpoint: of, "OTEL_SDK_DISABLED": "true"}, false, ""},
		"http":               {map[string]string{endpoint: of, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, true, ""},
		"grpc":               {map[string]string{endpoint: of, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "http/protobuf"},
		"http for traces":    {map[string]string{endpoint: of, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, true, ""},
	} {
		wanted, err := tracing.Wanted(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
		if wanted != c.wanted || (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, %v", name, wanted, err)
		}
	}
}

// gatherer is an OpenTelemetry collector, as far as its wire goes.
type gatherer struct {
	*httptest.Server
	mu       sync.Mutex
	spans    []*trace.Span
	resource map[string]string
	raw      bytes.Buffer
}

func gather(t *testing.T) *gatherer {
	t.Helper()
	g := &gatherer{resource: make(map[string]string)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err = errors.Join(err, proto.Unmarshal(body, &in)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.raw.Write(body)
		for _, of := range in.GetResourceSpans() {
			for _, a := range of.GetResource().GetAttributes() {
				g.resource[a.GetKey()] = a.GetValue().GetStringValue()
			}
			for _, scope := range of.GetScopeSpans() {
				g.spans = append(g.spans, scope.GetSpans()...)
			}
		}
	}))
	t.Cleanup(g.Close)
	return g
}

// traced runs fn with tracing on and answers what was gathered.
func traced(t *testing.T, fn func(*tracing.Tracing)) *gatherer {
	t.Helper()
	g := gather(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", g.URL)
	traces, err := tracing.Start(t.Context(), "v1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	fn(traces)
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gatherer) span(t *testing.T, name string) *trace.Span {
	t.Helper()
	i := slices.IndexFunc(g.spans, func(s *trace.Span) bool { return s.GetName() == name })
	if i < 0 {
		t.Fatalf("no span %q among %d", name, len(g.spans))
	}
	return g.spans[i]
}

func attributes(s *trace.Span) map[string]any {
	found := make(map[string]any)
	for _, a := range s.GetAttributes() {
		found[a.GetKey()] = a.GetValue().GetStringValue()
		if n := a.GetValue().GetIntValue(); n != 0 {
			found[a.GetKey()] = n
		}
	}
	return found
}

// door refuses everything for one reason.
type door struct{}

func (door) Answer(w http.ResponseWriter, _ *http.Request, _ edge.Inbound) liveset.Reason {
	w.WriteHeader(http.StatusUnauthorized)
	return liveset.Expired
}

func wrap(traces *tracing.Tracing, proxies ...string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /things/{id}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /broken", func(http.ResponseWriter, *http.Request) { panic("eyJsecret") })
	return edge.Wrap(edge.Config{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return "request-1" }, Trace: traces.Request,
		Doors: map[string]edge.Door{"/auth/verify": door{}},
		TrustedProxies: func() (all []netip.Prefix) {
			for _, p := range proxies {
				all = append(all, netip.MustParsePrefix(p))
			}
			return all
		},
	}, mux)
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestASpanTellsTheRouteAndNothingThatWasSent(t *testing.T) {
	const mark = "eyJsecret"
	g := traced(t, func(traces *tracing.Tracing) {
		h := wrap(traces)
		for _, target := range []string{"/things/" + mark + "?access_token=" + mark, "/auth/verify?q=" + mark, "/broken", "/" + mark} {
			r := httptest.NewRequest(http.MethodGet, target, nil)
			for _, name := range []string{"Authorization", "Cookie", "X-Request-Id", "Tracestate", "Baggage", "User-Agent"} {
				r.Header.Set(name, mark+"=1")
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("BREW"+mark, "/things/1", nil))
	})
	for name, want := range map[string]map[string]any{
		"GET /things/{id}": {"http.request.method": "GET", "http.route": "GET /things/{id}", "http.response.status_code": int64(200), "mintmark.request_id": "request-1"},
		"/auth/verify": {
			"http.request.method": "GET", "http.route": "/auth/verify", "http.response.status_code": int64(401), "mintmark.request_id": "request-1", "mintmark.verdict": "expired",
		},
		"GET /broken": {"http.request.method": "GET", "http.route": "GET /broken", "http.response.status_code": int64(500), "mintmark.request_id": "request-1"},
		"none":        {"http.request.method": "GET", "http.route": "none", "http.response.status_code": int64(404), "mintmark.request_id": "request-1"},
	} {
		if diff := cmp.Diff(want, attributes(g.span(t, name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := g.span(t, "GET /broken").GetStatus().GetCode(); got != trace.Status_STATUS_CODE_ERROR {
		t.Errorf("a failed request has the status %s", got)
	}
	if bytes.Contains(g.raw.Bytes(), []byte(mark)) {
		t.Error("something that was sent is in a span")
	}
	if g.resource["service.name"] != "mintmark" || g.resource["service.version"] != "v1.2.3" {
		t.Errorf("resource %v", g.resource)
	}
}

func TestTheServiceIsCalledWhatTheEnvironmentSays(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "tokens")
	g := traced(t, func(traces *tracing.Tracing) {
		wrap(traces).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/auth/verify", nil))
	})
	if g.resource["service.name"] != "tokens" {
		t.Errorf("resource %v", g.resource)
	}
}

func TestTheSamplerOfTheEnvironmentIsKept(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	g := traced(t, func(traces *tracing.Tracing) {
		wrap(traces).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/auth/verify", nil))
	})
	if len(g.spans) != 0 {
		t.Errorf("%d spans", len(g.spans))
	}
}

func TestATraceIsTakenOnFromAConfiguredProxyOnly(t *testing.T) {
	for name, c := range map[string]struct {
		proxies []string
		joined  bool
	}{"stranger": {nil, false}, "proxy": {[]string{"192.0.2.1/32"}, true}} {
		g := traced(t, func(traces *tracing.Tracing) {
			r := httptest.NewRequest(http.MethodGet, "/auth/verify", nil)
			r.Header.Set("Traceparent", parent)
			wrap(traces, c.proxies...).ServeHTTP(httptest.NewRecorder(), r)
		})
		id := g.span(t, "/auth/verify").GetTraceId()
		if joined := strings.Contains(parent, hexOf(id)); joined != c.joined {
			t.Errorf("%s: trace %s", name, hexOf(id))
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestAChangeOfTheStoreIsASpanOfItsRequest(t *testing.T) {
	inner, err := mapstore.Open(mapstore.Config{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	g := traced(t, func(traces *tracing.Tracing) {
		ctx, end := traces.Request(httptest.NewRequest(http.MethodPost, "/", nil), edge.Inbound{})
		s := traces.Store(inner)
		must(t, s.Update(ctx, func(authority.Tx) error { return nil }), nil)
		must(t, s.Update(ctx, func(authority.Tx) error { return authority.NotFound }), authority.NotFound)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Update(gone, func(authority.Tx) error { return nil }); err == nil {
			t.Error("a change was made for nobody")
		}
		end(edge.Outcome{Route: "POST /", Status: http.StatusOK})
	})
	var codes []trace.Status_StatusCode
	root := g.span(t, "POST /").GetSpanId()
	for _, s := range g.spans {
		if s.GetName() != "store.update" {
			continue
		}
		codes = append(codes, s.GetStatus().GetCode())
		if !bytes.Equal(s.GetParentSpanId(), root) || attributes(s)["mintmark.store"] != "memory" {
			t.Errorf("%v", s)
		}
	}
	if diff := cmp.Diff([]trace.Status_StatusCode{0, 0, trace.Status_STATUS_CODE_ERROR}, codes); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func must(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestATracedStoreKeepsTheContract(t *testing.T) {
	g := gather(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", g.URL)
	traces, err := tracing.Start(t.Context(), "v1.2.3", slog.New(slog.DiscardHandler))
	must(t, err, nil)
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		s, err := mapstore.Open(mapstore.Config{Now: time.Now})
		must(t, err, nil)
		t.Cleanup(func() { _ = s.Close() })
		return storetest.Harness{Store: traces.Store(s), TokensLost: true}
	})
	must(t, traces.Close(context.WithoutCancel(t.Context())), nil)
}

func TestACollectorThatIsGoneIsLoggedAndDisturbsNobody(t *testing.T) {
	g := gather(t)
	g.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", g.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	var log bytes.Buffer
	traces, err := tracing.Start(t.Context(), "v1.2.3", slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err, nil)
	w := httptest.NewRecorder()
	wrap(traces).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/auth/verify", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("%d", w.Code)
	}
	if err := traces.Close(t.Context()); err == nil && !strings.Contains(log.String(), "traces were not sent") {
		t.Error("nobody is told")
	}
}

func TestWithoutTracingClosingIsNothing(t *testing.T) {
	must(t, (*tracing.Tracing)(nil).Close(t.Context()), nil)
}
