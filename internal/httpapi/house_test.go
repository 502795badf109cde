package httpapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/edge"
	"mintmark/internal/httpapi"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/refusals"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/usage"
)

const (
	adminName     = "maria"
	adminPassword = "correct horse battery staple 4"
)

// house is the API over a real authority, store, keyring, live set and control,
// with a clock that the test moves and a log that no secret may reach.
type house struct {
	t       testing.TB
	rules   *authority.Authority
	live    *liveset.Set
	api     *httpapi.API
	handler http.Handler // what a network listener serves
	url     string
	socket  http.Handler // what the home's socket serves
	clock   atomic.Int64
	ready   atomic.Bool
	log     *journal

	keySetFault error  // what reading the key set meets
	issuer      string // instead of the configured one

	admin, user, verifier authority.Issued
	secrets               []string
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (h *house) now() time.Time { return time.Unix(0, h.clock.Load()).UTC() }

func (h *house) advance(d time.Duration) { h.clock.Add(int64(d)) }

// doorKept stands where the doors are mounted; they have tests of their own.
func doorKept(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="mintmark"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// metadataPath is where OAuth libraries look.
const metadataPath = "/.well-known/oauth-authorization-server"

func isDoor(path string) bool {
	return slices.Contains([]string{"/auth/verify", "/oauth2/introspect", "/oauth2/revoke", "/k8s/tokenreview"}, path)
}

// isDocument reports whether a route publishes what looks at no query and no body.
func isDocument(r httpapi.Route) bool {
	return strings.HasSuffix(r.Path, ".json") || strings.HasPrefix(r.Path, metadataPath)
}

func newHouse(t testing.TB) *house {
	t.Helper()
	return newHouseWith(t, password.Params{Memory: 64, Time: 1, Threads: 1})
}

// newHouseWith is a house in which a password costs more.
func newHouseWith(t testing.TB, cost password.Params) *house {
	t.Helper()
	h := &house{t: t, log: new(journal), secrets: []string{adminPassword}}
	h.clock.Store(time.Date(2026, 11, 23, 14, 8, 2, 5e8, time.UTC).UnixNano())
	h.ready.Store(true)
	logger := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	layers := config.Layers{File: map[string]string{
		"jwt.issuer": "https://tokens.example", "jwt.audience": "https://api.example", "server.listen": "127.0.0.1:8443",
		"login.attempts": "5",
	}, Getenv: func(string) (string, bool) { return "", false }}
	running, err := control.NewRunning(layers)
	must(t, err)
	ring := signing.InMemory(rand.Reader)
	store, err := mapstore.Open(mapstore.Config{Now: h.now})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	ledger, err := usage.New(usage.Config{Settle: func() { h.live.Settle() }, Masked: func() bool { return false }, Now: h.now, Log: logger})
	must(t, err)
	h.live, err = liveset.New(liveset.Config{
		Tally:    ledger.Count,
		Verifier: ring.Verifier, Audience: func() []string { return running.Policy().Audience },
		LoginIssuer: func() string { return running.Policy().Issuer }, LoginIdle: running.LoginIdle, Now: h.now,
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), store, id)
		},
	})
	must(t, err)
	h.rules, err = authority.New(authority.Config{
		Store: store, Custody: ring, Passwords: password.NewHasher(cost, 4, rand.Reader),
		Usage: h.live, Ledger: ledger, Policy: running.Policy, Now: h.now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(t, err)
	must(t, h.rules.Found(t.Context(), operator()))
	must(t, store.Follow(t.Context(), h.live))
	refused, err := refusals.New(refusals.Config{Live: h.live, Now: h.now})
	must(t, err)
	h.api, err = httpapi.New(httpapi.Config{
		Authority: h.rules, Live: refused.Around("api", h.live), Refusals: refused, Control: h.control(running, layers), Log: logger,
		Policy: func() authority.Policy {
			p := running.Policy()
			if h.issuer != "" {
				p.Issuer = h.issuer
			}
			return p
		},
		Verify: http.HandlerFunc(doorKept), Introspect: http.HandlerFunc(doorKept), Revoke: http.HandlerFunc(doorKept), TokenReview: http.HandlerFunc(doorKept),
		JWKS: func(ctx context.Context) ([]byte, error) {
			if h.keySetFault != nil {
				return nil, h.keySetFault
			}
			keys, err := h.rules.PublishedKeys(ctx)
			return ring.JWKSet(keys), err
		},
		Ready: func() error {
			if !h.ready.Load() {
				return errors.New("the store at /srv/tokens is still loading")
			}
			return nil
		},
	})
	must(t, err)
	h.serve(logger)
	h.people()
	t.Cleanup(h.noSecretWasLogged)
	return h
}

func (h *house) control(running *control.Running, layers config.Layers) *control.Control {
	h.t.Helper()
	dir := h.t.TempDir()
	must(h.t, os.Chmod(dir, 0o700))
	book, err := config.Create(durable.Files{}, filepath.Join(dir, "config.json"), layers.File, config.Author{Kind: "local", Name: "root"}, h.now())
	must(h.t, err)
	refused := errors.New("no other store here")
	c, err := control.New(control.Config{
		Authority: h.rules, Book: book, Running: running, Now: h.now,
		SwitchStore: func(context.Context, string, func() error) (control.Carried, error) {
			return control.Carried{}, refused
		},
		CheckStore: func(string) (string, error) { return "", refused },
		CheckTLS:   func(string, string) error { return refused },
		Refusals:   h.live.Refusals,
		Program:    control.Program{Version: "1.0.0", PID: 4242, StartedAt: h.now(), URL: func() string { return "http://127.0.0.1:8443" }},
	})
	must(h.t, err)
	return c
}

func (h *house) serve(logger *slog.Logger) {
	mux := http.NewServeMux()
	for _, pattern := range h.api.Patterns() {
		mux.Handle(pattern, h.api)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the console") })
	c := edge.Config{
		Log: logger, Now: h.now, NewID: func() string { return "req_" + strings.ToLower(rand.Text()) },
		TrustedProxies: func() []netip.Prefix { return nil },
	}
	h.handler = edge.Wrap(c, mux)
	server := httptest.NewServer(h.handler)
	h.t.Cleanup(server.Close)
	h.url = server.URL
	c.Operator = "root@tokens-01"
	h.socket = edge.Wrap(c, mux)
}

func (h *house) people() {
	_, err := h.rules.CreateAdmin(h.t.Context(), operator(), adminName, authority.NewSecret(adminPassword))
	must(h.t, err)
	h.admin = h.issue(authority.TokenRequest{ClientID: "root-script", Role: "admin"})
	h.user = h.issue(authority.TokenRequest{ClientID: "dfsadmin", Role: "user", Tags: []string{"team:data"}})
	h.verifier = h.issue(authority.TokenRequest{ClientID: "gateway", Role: "verifier"})
}

func (h *house) issue(r authority.TokenRequest) authority.Issued {
	h.t.Helper()
	issued, err := h.rules.IssueToken(h.t.Context(), operator(), r, "")
	must(h.t, err)
	h.keep(issued.Text.Unsafe())
	return issued
}

// keep remembers a secret that must never be logged.
func (h *house) keep(secret string) { h.secrets = append(h.secrets, secret) }

func (h *house) noSecretWasLogged() {
	text := h.log.String()
	for _, secret := range h.secrets {
		if strings.Contains(text, secret) {
			h.t.Errorf("a secret of %d bytes is in the log", len(secret))
		}
	}
}

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{RequestID: "req_setup"})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request is one call of the API as raw as a test needs it.
type request struct {
	method, path string
	token        string
	body         string
	media        string // "": JSON when there is a body
	header       http.Header
}

// do sends a request over the network and holds every answer to what all
// answers promise.
func (h *house) do(r request) answer {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), r.method, h.url+r.path, strings.NewReader(r.body))
	must(h.t, err)
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.media == "" && r.body != "" {
		r.media = "application/json"
	}
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	resp, err := http.DefaultClient.Do(req)
	must(h.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	must(h.t, err)
	a := answer{resp.StatusCode, resp.Header, body}
	h.holds(r, a)
	return a
}

// ask sends a request to one of the handlers without a network.
func (h *house) ask(handler http.Handler, r request) answer {
	h.t.Helper()
	req := httptest.NewRequest(r.method, r.path, strings.NewReader(r.body))
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.media == "" && r.body != "" {
		r.media = "application/json"
	}
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	a := answer{w.Code, w.Header(), w.Body.Bytes()}
	h.holds(r, a)
	return a
}

// documented holds a refusal to the table: nothing is refused in a way that the
// route does not name.
func (h *house) documented(r request, p api.Problem) {
	h.t.Helper()
	if h.keySetFault != nil {
		return // the test makes up refusals that no rule has
	}
	path, _, _ := strings.Cut(r.path, "?")
	known := slices.DeleteFunc(httpapi.Refusals(), func(f httpapi.Refusal) bool {
		return f.Code != api.CodePathUnknown && f.Code != api.CodeMethod
	})
	for _, route := range h.api.Routes() {
		words, given := strings.Split(route.Path, "/"), strings.Split(path, "/")
		match := len(words) == len(given)
		for i := 0; match && i < len(words); i++ {
			match = words[i] == given[i] || strings.HasPrefix(words[i], "{")
		}
		if match && (route.Method == r.method || route.Method == "" || route.Method == "GET" && r.method == "HEAD") {
			known = append(known, route.Refusals()...)
		}
	}
	if !slices.ContainsFunc(known, func(f httpapi.Refusal) bool { return f.Code == p.Code && f.Status == p.Status }) {
		h.t.Errorf("%s %s refuses with %d %s, which its route does not name", r.method, path, p.Status, p.Code)
	}
}

func (h *house) holds(r request, a answer) {
	h.t.Helper()
	if got := a.header.Get("X-Content-Type-Options"); got != "nosniff" {
		h.t.Errorf("%s %s: X-Content-Type-Options is %q", r.method, r.path, got)
	}
	path, _, _ := strings.Cut(r.path, "?")
	public := strings.HasSuffix(path, "jwks.json") || strings.HasSuffix(path, "openapi.json") || strings.HasPrefix(path, metadataPath)
	if got := a.header.Get("Cache-Control"); got != "no-store" && !public {
		h.t.Errorf("%s %s: Cache-Control is %q", r.method, r.path, got)
	}
	if a.status < 400 || isDoor(path) && a.status == http.StatusUnauthorized {
		return
	}
	for _, secret := range h.secrets {
		if bytes.Contains(a.body, []byte(secret)) {
			h.t.Errorf("%s %s: a secret is in the problem", r.method, r.path)
		}
	}
	if r.method == http.MethodHead {
		return
	}
	if got := a.header.Get("Content-Type"); got != api.ProblemType {
		h.t.Errorf("%s %s: %d is %q", r.method, r.path, a.status, got)
	}
	p := h.problem(a)
	if p.Status != a.status || p.Code == "" || p.Title == "" || p.RequestID == "" || p.RequestID != a.header.Get("X-Request-Id") {
		h.t.Errorf("%s %s: incomplete problem %+v", r.method, r.path, p)
	}
	h.documented(r, p)
	if a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
		h.t.Errorf("%s %s: 401 without a challenge", r.method, r.path)
	}
}

func (h *house) problem(a answer) api.Problem {
	h.t.Helper()
	var p api.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		h.t.Fatalf("%d with %q: %v", a.status, a.body, err)
	}
	return p
}

// client is the public client with a token.
func (h *house) client(token string) *api.Client {
	h.t.Helper()
	c, err := api.NewClient(h.url, http.DefaultClient, func() api.Secret { return api.NewSecret(token) })
	must(h.t, err)
	return c
}

func (h *house) asAdmin() *api.Client { return h.client(h.admin.Text.Unsafe()) }

// refused takes an error apart; anything but a refusal of the server fails.
func refused(t testing.TB, err error) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("not refused: %v", err)
	}
	return e
}
