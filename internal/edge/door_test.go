package edge_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mintmark/internal/edge"
	"mintmark/internal/liveset"

	"github.com/google/go-cmp/cmp"
)

// door answers with a status, or panics when it is 0.
type door struct {
	status int
	in     edge.Inbound
}

func (d *door) Answer(w http.ResponseWriter, _ *http.Request, in edge.Inbound) liveset.Reason {
	if d.in = in; d.status == 0 {
		panic("eyJsecret")
	}
	w.WriteHeader(d.status)
	return liveset.Expired
}

// entrance is an edge with a door at /door and a multiplexer behind it.
type entrance struct {
	http.Handler
	door     door
	log      bytes.Buffer
	outcomes []edge.Outcome
}

func enter(level slog.Level, traced bool) *entrance {
	e := &entrance{door: door{status: http.StatusUnauthorized}}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("POST /judge/{id}", func(_ http.ResponseWriter, r *http.Request) { edge.Judged(r, liveset.Deleted) })
	mux.HandleFunc("GET /ours", func(_ http.ResponseWriter, r *http.Request) {
		edge.CallerOf(r, &asked{verdict: liveset.Verdict{Reason: liveset.Idle}}, liveset.Demand{})
	})
	c := edge.Config{
		Log: slog.New(slog.NewTextHandler(&e.log, &slog.HandlerOptions{Level: level})), Now: func() time.Time { return time.Unix(0, 0) },
		NewID: func() string { return "req_1" }, TrustedProxies: func() []netip.Prefix { return nil }, Doors: map[string]edge.Door{"/door": &e.door},
	}
	if traced {
		c.Trace = func(r *http.Request, in edge.Inbound) (context.Context, func(edge.Outcome)) {
			return context.WithValue(r.Context(), tracedKey{}, in.RequestID), func(o edge.Outcome) { e.outcomes = append(e.outcomes, o) }
		}
	}
	e.Handler = edge.Wrap(c, mux)
	return e
}

type tracedKey struct{}

func (e *entrance) ask(method, target string) *http.Response {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer eyJsecret")
	e.ServeHTTP(w, r)
	return w.Result()
}

func TestADoorIsReachedByItsPlainPathOnly(t *testing.T) {
	e := enter(slog.LevelInfo, false)
	for target, want := range map[string]int{
		"/door": 401, "/door?x=1": 401, "/door/": 418, "/doors": 418, "/%64oor": 418, "/door%2F": 418, "/Door": 418, "//door": 307, "/./door": 307,
	} {
		for _, method := range []string{"GET", "POST", "BREW"} {
			if got := e.ask(method, target).StatusCode; got != want {
				t.Errorf("%s %s: %d, want %d", method, target, got, want)
			}
		}
	}
}

func TestADoorIsToldWhatTheEdgeKnows(t *testing.T) {
	e := enter(slog.LevelInfo, false)
	resp := e.ask("GET", "/door")
	want := edge.Inbound{RequestID: "req_1", Addr: netip.MustParseAddr("192.0.2.1")}
	if e.door.in != want || resp.Header.Get("X-Request-Id") != "req_1" {
		t.Errorf("%+v", e.door.in)
	}
}

func TestADoorLogsAtDebugUnlessItFailed(t *testing.T) {
	for name, c := range map[string]struct {
		level  slog.Level
		status int
		want   string // "" is no line
	}{
		"refused":            {slog.LevelInfo, 401, ""},
		"refused, at debug":  {slog.LevelDebug, 401, "level=DEBUG msg=request request_id=req_1 method=GET route=/door status=401"},
		"unknown":            {slog.LevelInfo, 503, "level=INFO msg=request request_id=req_1 method=GET route=/door status=503"},
		"panicked":           {slog.LevelInfo, 0, "level=INFO msg=request request_id=req_1 method=GET route=/door status=500"},
		"unknown, at errors": {slog.LevelError, 503, ""},
	} {
		e := enter(c.level, false)
		e.door.status = c.status
		e.ask("GET", "/door?x=eyJsecret")
		line := ""
		for l := range strings.SplitSeq(e.log.String(), "\n") {
			if strings.Contains(l, "msg=request") {
				line = l
			}
		}
		if (c.want == "") != (line == "") || !strings.Contains(line, c.want) || strings.Contains(e.log.String(), "eyJsecret") {
			t.Errorf("%s: logged %q", name, line)
		}
		if panicked := strings.Contains(e.log.String(), "handler panicked"); panicked != (c.status == 0) {
			t.Errorf("%s: logged %s", name, &e.log)
		}
	}
}

func TestADoorBehindAMultiplexerLogsLikeOne(t *testing.T) {
	e := enter(slog.LevelInfo, false)
	e.ask("POST", "/judge/1")
	if e.log.Len() > 0 {
		t.Errorf("logged %s", &e.log)
	}
	e.ask("GET", "/ours")
	if !strings.Contains(e.log.String(), "GET /ours") {
		t.Error("a request of our own is not logged")
	}
}

func TestATraceEndsWithTheRouteTheStatusAndTheVerdict(t *testing.T) {
	e := enter(slog.LevelInfo, true)
	for _, r := range [][2]string{{"GET", "/door"}, {"POST", "/judge/1"}, {"GET", "/ours"}, {"GET", "/nowhere"}} {
		e.ask(r[0], r[1])
	}
	e.door.status = 0
	e.ask("GET", "/door")
	want := []edge.Outcome{
		{Route: "/door", Status: 401, Verdict: liveset.Expired},
		{Route: "POST /judge/{id}", Status: 200, Verdict: liveset.Deleted},
		{Route: "GET /ours", Status: 200, Verdict: liveset.Idle},
		{Route: "/", Status: 418},
		{Route: "/door", Status: 500},
	}
	if diff := cmp.Diff(want, e.outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestARequestIsAnsweredInTheContextOfItsTrace(t *testing.T) {
	var got any
	h := edge.Wrap(edge.Config{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return "req_1" }, TrustedProxies: func() []netip.Prefix { return nil },
		Trace: func(r *http.Request, in edge.Inbound) (context.Context, func(edge.Outcome)) {
			return context.WithValue(r.Context(), tracedKey{}, in.RequestID), func(edge.Outcome) {}
		},
	}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Context().Value(tracedKey{}) }))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if got != "req_1" {
		t.Errorf("%v", got)
	}
}

func TestOutsideTheEdgeNothingIsKnownAndNothingBreaks(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	edge.Judged(r, liveset.Expired)
	if got := edge.Of(r); got != (edge.Inbound{}) {
		t.Errorf("%+v", got)
	}
}

func TestAQuotaIsToldInWholeSeconds(t *testing.T) {
	for name, c := range map[string]struct {
		quota *liveset.Quota
		want  http.Header
	}{
		"none": {nil, http.Header{}},
		"left": {
			&liveset.Quota{Limit: 100, Window: time.Second, Remaining: 7},
			http.Header{"Ratelimit-Policy": {`"mintmark";q=100;w=1`}, "Ratelimit": {`"mintmark";r=7;t=0`}},
		},
		"nothing left": {
			&liveset.Quota{Limit: 60, Window: time.Minute, Wait: 1100 * time.Millisecond},
			http.Header{"Ratelimit-Policy": {`"mintmark";q=60;w=60`}, "Ratelimit": {`"mintmark";r=0;t=2`}, "Retry-After": {"2"}},
		},
		"nothing left for a moment": {
			&liveset.Quota{Limit: 5, Window: time.Hour, Wait: time.Nanosecond},
			http.Header{"Ratelimit-Policy": {`"mintmark";q=5;w=3600`}, "Ratelimit": {`"mintmark";r=0;t=1`}, "Retry-After": {"1"}},
		},
	} {
		h := make(http.Header)
		edge.TellQuota(h, c.quota)
		if diff := cmp.Diff(c.want, h); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A request of a door costs the same handful of allocations whatever is asked.
func TestADoorTakesLittleMemory(t *testing.T) {
	e := enter(slog.LevelInfo, false)
	r := httptest.NewRequest("GET", "/door", nil)
	w := &silent{http.Header{}}
	if n := testing.AllocsPerRun(100, func() { e.ServeHTTP(w, r) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

type silent struct{ header http.Header }

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(b []byte) (int, error) { return len(b), nil }
func (s *silent) WriteHeader(int)             {}
