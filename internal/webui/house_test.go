package webui_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/webui"
)

const adminPassword = "correct horse battery staple 4"

// house is a console over the real rules, store, keyring and live set, with a
// clock that the test moves.
type house struct {
	authority *authority.Authority
	live      *liveset.Set
	running   *control.Running
	handler   http.Handler
	clock     atomic.Int64
	env       map[string]string
}

func (h *house) now() time.Time { return time.Unix(0, h.clock.Load()).UTC() }

func newHouse(t testing.TB, env map[string]string) *house {
	t.Helper()
	h := &house{env: env}
	h.clock.Store(time.Date(2026, 11, 23, 14, 8, 0, 0, time.UTC).UnixNano())
	ring := signing.InMemory(rand.Reader)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	h.running, err = control.NewRunning(config.Layers{Getenv: func(name string) (string, bool) { v, ok := h.env[name]; return v, ok }})
	must(err)
	store, err := mapstore.Open(mapstore.Config{Now: h.now})
	must(err)
	h.live, err = liveset.New(liveset.Config{
		Verifier: ring.Verifier, Audience: func() []string { return h.running.Settings().Audience },
		LoginIssuer: func() string { return h.running.Settings().Issuer }, LoginIdle: h.running.LoginIdle, Now: h.now,
	})
	must(err)
	h.authority, err = authority.New(authority.Config{
		Store: store, Custody: ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: h.live, Policy: h.running.Policy, Now: h.now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(err)
	must(h.authority.Found(context.Background(), operator()))
	must(store.Follow(context.Background(), h.live))
	c, err := control.New(control.Config{
		Authority: h.authority, Running: h.running, Refusals: h.live.Refusals, Now: h.now,
		SwitchStore: func(context.Context, string, func() error) (int, int, error) { return 0, 0, nil },
		CheckStore:  func(string) (string, error) { return "", nil }, CheckTLS: func(string, string) error { return nil },
		Program: control.Program{Version: "test", PID: 1, StartedAt: h.now(), URL: func() string { return "http://127.0.0.1:3000" }},
	})
	must(err)
	var keys atomic.Int64
	console, err := webui.New(webui.Config{
		Authority: h.authority, Live: h.live, Control: c, Policy: h.running.Policy, LoginIdle: h.running.LoginIdle, Now: h.now,
		NewKey: func() string { return strconv.FormatInt(keys.Add(1), 10) }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Host: "tokens-01", Program: "manager",
	})
	must(err)
	h.handler = edge.Wrap(edge.Config{
		Log: slog.New(slog.DiscardHandler), Now: h.now, NewID: func() string { return "req-1" }, TrustedProxies: func() []netip.Prefix { return nil },
	}, console)
	return h
}

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{})
}

// visitor is a browser without script.
type visitor struct {
	t      testing.TB
	base   string
	client *http.Client
}

func (h *house) visitor(t testing.TB) *visitor {
	t.Helper()
	server := httptest.NewServer(h.handler)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	client.Jar = jar
	return &visitor{t, server.URL, client}
}

// signedIn is a visitor with a session of the administrator admin.
func (h *house) signedIn(t testing.TB) *visitor {
	t.Helper()
	if _, err := h.authority.CreateAdmin(context.Background(), operator(), "admin", authority.NewSecret(adminPassword)); err != nil {
		t.Fatal(err)
	}
	v := h.visitor(t)
	status, body := v.post("/sign-in", url.Values{"username": {"admin"}, "password": {adminPassword}})
	if status != http.StatusOK || !strings.Contains(body, "<h1>API Tokens</h1>") {
		t.Fatalf("sign-in answered %d\n%s", status, body)
	}
	return v
}

func (v *visitor) do(r *http.Request) (*http.Response, string) {
	v.t.Helper()
	answer, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var b strings.Builder
	if _, err := copyAll(&b, answer.Body); err != nil {
		v.t.Fatal(err)
	}
	return answer, b.String()
}

func (v *visitor) request(method, path, body string) *http.Request {
	v.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, v.base+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	answer, body := v.do(v.request(http.MethodGet, path, ""))
	return answer.StatusCode, body
}

func (v *visitor) post(path string, form url.Values) (int, string) {
	v.t.Helper()
	r := v.request(http.MethodPost, path, form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", v.base)
	answer, body := v.do(r)
	return answer.StatusCode, body
}
