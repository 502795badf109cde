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
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/refusals"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/usage"
	"mintmark/internal/webui"
)

const adminPassword = "correct horse battery staple 4"

// house is a console over the real rules, store, keyring and live set, with a
// clock that the test moves.
type house struct {
	authority *authority.Authority
	live      *liveset.Set
	refused   *refusals.Log
	running   *control.Running
	handler   http.Handler
	store     *faultyStore
	clock     atomic.Int64

	env        map[string]string
	home       string          // of the server, "" without one
	book       *config.Book    // nil: properties cannot be staged
	place      string          // where the store says that it keeps the tokens; "" for memory
	storeFault error           // what is wrong with a store that is staged
	carried    control.Carried // what a switch of the store found
	masked     bool            // addresses of clients are
	from       string          // the address that requests come from; "" is their own
}

// at gives the server a home.
func at(home string) func(testing.TB, *house) {
	return func(_ testing.TB, h *house) { h.home = home }
}

// withBook gives it one whose properties can be staged.
func withBook(t testing.TB, h *house) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	fixed := map[string]string{config.Issuer: "http://127.0.0.1:3000", config.Audience: "http://127.0.0.1:3000"} // as in every home
	if h.book, err = config.Create(durable.Files{}, filepath.Join(dir, "config.json"), fixed, config.Author{Kind: "local", Name: "root@tokens-01"}, h.now()); err != nil {
		t.Fatal(err)
	}
	h.home = dir
}

// faultyStore is the real store, which can be made to fail.
type faultyStore struct {
	authority.Store
	place        string
	problem      string
	refuse, lose error // what changes and reads answer
}

func (s *faultyStore) View(ctx context.Context, fn func(authority.Tx) error) error {
	if s.lose != nil {
		return s.lose
	}
	return s.Store.View(ctx, fn)
}

func (s *faultyStore) Update(ctx context.Context, fn func(authority.Tx) error) error {
	if s.refuse != nil {
		return s.refuse
	}
	return s.Store.Update(ctx, fn)
}

func (s *faultyStore) Facts() authority.StoreFacts {
	facts := s.Store.Facts()
	facts.Problem, facts.Persistent, facts.Location = s.problem, s.place != "", s.place
	return facts
}

// allow reports whether a door lets a token through.
func (h *house) allow(text string) bool { return h.live.Decide(text, liveset.Demand{}).Allow() }

func (h *house) now() time.Time { return time.Unix(0, h.clock.Load()).UTC() }

func newHouse(t testing.TB, env map[string]string, changes ...func(testing.TB, *house)) *house {
	t.Helper()
	h := &house{env: env}
	h.clock.Store(time.Date(2026, 11, 23, 14, 8, 0, 0, time.UTC).UnixNano())
	for _, change := range changes {
		change(t, h)
	}
	ring := signing.InMemory(rand.Reader)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	layers := config.Layers{Getenv: func(name string) (string, bool) { v, ok := h.env[name]; return v, ok }}
	if h.book != nil {
		_, layers.File = h.book.Applied()
	}
	h.running, err = control.NewRunning(layers)
	must(err)
	store, err := mapstore.Open(mapstore.Config{Now: h.now})
	must(err)
	h.store = &faultyStore{Store: store, place: h.place}
	ledger, err := usage.New(usage.Config{
		Settle: func() { h.live.Settle() }, Masked: func() bool { return h.masked }, Now: h.now, Log: slog.New(slog.DiscardHandler),
	})
	must(err)
	h.live, err = liveset.New(liveset.Config{
		Tally: ledger.Count, Masked: func() bool { return h.masked },
		Verifier: ring.Verifier, Audience: func() []string { return h.running.Settings().Audience },
		LoginIssuer: func() string { return h.running.Settings().Issuer }, LoginIdle: h.running.LoginIdle, Now: h.now,
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), h.store, id)
		},
	})
	must(err)
	h.authority, err = authority.New(authority.Config{
		Store: h.store, Custody: ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: h.live, Ledger: ledger, Policy: h.running.Policy, Now: h.now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(err)
	must(h.authority.Found(context.Background(), operator()))
	must(h.store.Follow(context.Background(), h.live))
	c, err := control.New(control.Config{
		Authority: h.authority, Running: h.running, Book: h.book, Refusals: h.live.Refusals, Now: h.now,
		SwitchStore: func(_ context.Context, _ string, commit func() error) (control.Carried, error) {
			return h.carried, commit()
		},
		CheckStore: func(string) (string, error) { return "", h.storeFault }, CheckTLS: func(string, string) error { return nil },
		Program: control.Program{Version: "test", PID: 1, StartedAt: h.now(), URL: func() string { return config.IssuerFor(h.running.Settings().Listen, false) }},
	})
	must(err)
	var keys atomic.Int64
	h.refused, err = refusals.New(refusals.Config{Live: h.live, Now: h.now})
	must(err)
	console, err := webui.New(webui.Config{
		Authority: h.authority, Live: h.live, Refusals: h.refused, Control: c, KeepsTLS: c.KeepsTLS, Policy: h.running.Policy, LoginIdle: h.running.LoginIdle, Now: h.now,
		NewKey: func() string { return strconv.FormatInt(keys.Add(1), 10) }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Host: "tokens-01", Program: "manager", Home: h.home,
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
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if h.from != "" {
			r.RemoteAddr = h.from
		}
		h.handler.ServeHTTP(rw, r)
	}))
	return visit(t, server)
}

// secureVisitor comes by TLS.
func (h *house) secureVisitor(t testing.TB) *visitor {
	t.Helper()
	return visit(t, httptest.NewTLSServer(h.handler))
}

func visit(t testing.TB, server *httptest.Server) *visitor {
	t.Helper()
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
	v.signIn(adminPassword)
	return v
}

func (v *visitor) signIn(password string) {
	v.t.Helper()
	status, body := v.post("/sign-in", url.Values{"username": {"admin"}, "password": {password}})
	if status != http.StatusOK || !strings.Contains(body, "<h1>API Tokens</h1>") {
		v.t.Fatalf("sign-in answered %d\n%s", status, body)
	}
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
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	return r
}

func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	answer, body := v.do(v.request(http.MethodGet, path, ""))
	return answer.StatusCode, body
}

func (v *visitor) post(path string, form url.Values) (int, string) {
	v.t.Helper()
	answer, body := v.send(path, form)
	return answer.StatusCode, body
}

// send posts a form and answers where that ended.
func (v *visitor) send(path string, form url.Values) (*http.Response, string) {
	v.t.Helper()
	r := v.request(http.MethodPost, path, form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", v.base)
	return v.do(r)
}

// plain posts as the console's script does when it copies.
func (v *visitor) plain(path string) (*http.Response, string) {
	v.t.Helper()
	r := v.request(http.MethodPost, path, "")
	r.Header.Set("Accept", "text/plain")
	r.Header.Set("Origin", v.base)
	return v.do(r)
}

// idIn is the id of the first row of a list.
func idIn(t testing.TB, body string) string {
	t.Helper()
	found := regexp.MustCompile(`<tr id="(tok_[0-9a-z]{26})"`).FindStringSubmatch(body)
	if found == nil {
		t.Fatal("the list has no row")
	}
	return found[1]
}
