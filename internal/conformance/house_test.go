// Package conformance asks every door about the same tokens: one decision, so one
// verdict. It holds tests alone.
package conformance_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/httpapi"
	"mintmark/internal/jws"
	"mintmark/internal/limits"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/pathrule"
	"mintmark/internal/refusals"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/webui"
)

const (
	issuer         = "https://tokens.example"
	ownAudience    = "https://api.example"
	secondAudience = "https://batch.example"
	client         = "192.0.2.7" // the address that requests come from
	adminName      = "maria"
	adminPassword  = "correct horse battery staple 4"
)

// house is a node: the rules over a real store and keyring, its live set, and
// every door. The test moves its clock.
type house struct {
	t       testing.TB
	alg     jws.Algorithm
	running *control.Running
	rules   *authority.Authority
	store   *mapstore.Store
	ring    *signing.Ring
	keyring string // its file, if it has one
	live    *liveset.Set
	decider *decider
	refused *refusals.Log
	clock   atomic.Int64
	node    http.Handler
	socket  http.Handler // as the operator reaches it
	guard   http.Handler
	envoy   authv3.AuthorizationClient

	askers    atomic.Pointer[askers]
	resetting atomic.Bool
	arrived   sync.Map // question → whose token reached the API behind the guard
	asked     atomic.Int64
	requests  atomic.Int64
	limits    *limits.Limits
	rate      atomic.Pointer[limits.Rate] // of an address; nil: no limit
}

// newID numbers requests.
func (h *house) newID() string { return requestID(h.requests.Add(1)) }

func requestID(n int64) string { return fmt.Sprintf("req_%08d", n) }

// askers are the tokens with which services ask about others.
type askers struct{ admin, all, own, second authority.Issued }

// decider is a live set, or one that nothing was loaded into.
type decider struct {
	loaded, empty *liveset.Set
	unknown       atomic.Bool
}

func (d *decider) set() *liveset.Set {
	if d.unknown.Load() {
		return d.empty
	}
	return d.loaded
}

func (d *decider) Decide(token string, asked liveset.Demand) liveset.Verdict {
	return d.set().Decide(token, asked)
}

func (d *decider) Explain(token string, asked liveset.Demand) []liveset.Finding {
	return d.set().Explain(token, asked)
}

func (d *decider) ExplainRefusal(r liveset.Refusal) []liveset.Finding {
	return d.set().ExplainRefusal(r)
}

// door is the live set as one door asks it.
func (h *house) door(name string) edge.Decider {
	return h.refused.Around(name, h.limits.Around(h.decider))
}

func (h *house) rates() (token, source limits.Rate) {
	if r := h.rate.Load(); r != nil {
		source = *r
	}
	return token, source
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) now() time.Time { return time.Unix(0, h.clock.Load()).UTC() }

func (h *house) advance(d time.Duration) { h.clock.Add(int64(d)) }

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{RequestID: "req_setup"})
}

// newHouse makes a node whose keyring is in memory.
func newHouse(t testing.TB, alg jws.Algorithm) *house {
	t.Helper()
	return newHouseWith(t, alg, signing.InMemory(rand.Reader))
}

// newForge makes a node whose keyring is a file, for tests that sign as whoever
// has it.
func newForge(t testing.TB, alg jws.Algorithm) *house {
	t.Helper()
	folder := t.TempDir()
	must(t, os.Chmod(folder, 0o700))
	keyring := filepath.Join(folder, "keyring.json")
	ring, err := signing.Create(durable.Files{}, keyring, rand.Reader)
	must(t, err)
	h := newHouseWith(t, alg, ring)
	h.keyring = keyring
	return h
}

func newHouseWith(t testing.TB, alg jws.Algorithm, ring *signing.Ring) *house {
	t.Helper()
	h := &house{t: t, alg: alg, ring: ring}
	h.clock.Store(time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC).UnixNano())
	layers := config.Layers{File: map[string]string{
		config.Issuer: issuer, config.Audience: ownAudience + "," + secondAudience, config.Listen: "127.0.0.1:8443", config.Algorithm: string(alg),
	}, Getenv: func(string) (string, bool) { return "", false }}
	var err error
	h.running, err = control.NewRunning(layers)
	must(t, err)
	h.store, err = mapstore.Open(mapstore.Config{Now: h.now})
	must(t, err)
	t.Cleanup(func() { _ = h.store.Close() })
	h.live = h.liveSet()
	h.decider = &decider{loaded: h.live, empty: h.liveSet()}
	h.limits = limits.New(limits.Config{Rates: h.rates, Now: h.now})
	h.refused, err = refusals.New(refusals.Config{Live: h.decider, Now: h.now})
	must(t, err)
	h.rules, err = authority.New(authority.Config{
		Store: h.store, Custody: h.ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: h.live, Policy: h.running.Policy, Now: h.now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(t, err)
	must(t, h.rules.Found(t.Context(), operator()))
	must(t, h.store.Follow(t.Context(), h.live))
	_, err = h.rules.CreateAdmin(t.Context(), operator(), adminName, authority.NewSecret(adminPassword))
	must(t, err)
	h.openDoors(layers)
	h.openGuard()
	h.openExtAuthz()
	h.hireAskers()
	return h
}

func (h *house) audience() []string { return h.running.Settings().Audience }

func (h *house) liveSet() *liveset.Set {
	h.t.Helper()
	live, err := liveset.New(liveset.Config{
		Verifier: h.ring.Verifier, Audience: h.audience, LoginIssuer: func() string { return issuer }, LoginIdle: h.running.LoginIdle, Now: h.now,
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), h.store, id)
		},
	})
	must(h.t, err)
	return live
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// openDoors makes what the public listener of a node serves.
func (h *house) openDoors(layers config.Layers) {
	h.t.Helper()
	refused := errors.New("no other store here")
	desk, err := control.New(control.Config{
		Authority: h.rules, Running: h.running, Now: h.now, Refusals: h.live.Refusals,
		SwitchStore: func(context.Context, string, func() error) (control.Carried, error) {
			return control.Carried{}, refused
		},
		CheckStore: func(string) (string, error) { return "", refused }, CheckTLS: func(string, string) error { return refused },
		Program: control.Program{Version: "1.0.0", PID: 4242, StartedAt: h.now(), URL: func() string { return issuer }},
	})
	must(h.t, err)
	verify := gateway.Verify{Live: h.door("forward_auth"), Audience: h.audience}
	api, err := httpapi.New(httpapi.Config{
		Authority: h.rules, Live: h.door("api"), Refusals: h.refused, Control: desk, Policy: h.running.Policy, Log: quiet(), Verify: verify,
		Introspect: gateway.Introspect{Live: h.door("introspection"), Audience: h.audience}, TokenReview: gateway.TokenReview{Live: h.door("kubernetes"), Audience: h.audience},
		Revoke: gateway.Revoke{Live: h.door("revocation"), Audience: h.audience, Rules: h.rules, Log: quiet()},
		JWKS: func(ctx context.Context) ([]byte, error) {
			keys, err := h.rules.PublishedKeys(ctx)
			return h.ring.JWKSet(keys), err
		},
		Ready: func() error { return nil },
	})
	must(h.t, err)
	// Its pages take a while to read: most nodes are asked for none.
	console := sync.OnceValue(func() http.Handler {
		pages, err := webui.New(webui.Config{
			Authority: h.rules, Live: h.decider, Refusals: h.refused, Control: desk, Policy: h.running.Policy, LoginIdle: h.running.LoginIdle, Now: h.now,
			NewKey: rand.Text, Log: quiet(), Host: "tokens-01", Program: "manager",
		})
		must(h.t, err)
		return pages
	})
	mux := http.NewServeMux()
	for _, pattern := range api.Patterns() {
		mux.Handle(pattern, api)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { console().ServeHTTP(w, r) })
	h.node = h.wrap("", mux, map[string]edge.Door{"/auth/verify": verify})
	h.socket = h.wrap("root@tokens-01", mux, nil)
}

func (h *house) wrap(operator string, next http.Handler, doors map[string]edge.Door) http.Handler {
	return edge.Wrap(edge.Config{
		Operator: operator,
		Log:      quiet(), Now: h.now, NewID: h.newID, TrustedProxies: func() []netip.Prefix { return nil }, Doors: doors,
	}, next)
}

// openGuard puts a guard before an API that lets everybody in.
func (h *house) openGuard() {
	h.t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h.arrived.Store(r.Header.Get("X-Question"), r.Header.Get("X-Auth-Token-Id"))
	}))
	h.t.Cleanup(api.Close)
	upstream, err := url.Parse(api.URL)
	must(h.t, err)
	rules, err := pathrule.Parse("/admin role=admin, /production tag=env:prod, /both tag=env:prod tag=team:data")
	must(h.t, err)
	all, err := pathrule.Join(nil, rules)
	must(h.t, err)
	guard, err := gateway.NewGuard(gateway.GuardConfig{
		Live: h.door("guard"), Upstream: upstream, Rules: func() pathrule.Rules { return all }, KeepAuthorization: func() bool { return false },
		Patience: time.Minute, Log: quiet(), Now: time.Now,
	})
	must(h.t, err)
	h.t.Cleanup(guard.Close)
	h.guard = h.wrap("", guard, nil)
}

func (h *house) hireAskers() {
	h.t.Helper()
	h.askers.Store(&askers{
		admin:  h.issue(authority.TokenRequest{ClientID: "root-gate", Role: "admin"}),
		all:    h.issue(authority.TokenRequest{ClientID: "main-gate", Role: "verifier"}),
		own:    h.issue(authority.TokenRequest{ClientID: "gate", Role: "verifier", Audience: []string{ownAudience}}),
		second: h.issue(authority.TokenRequest{ClientID: "batch-gate", Role: "verifier", Audience: []string{secondAudience}}),
	})
}

func (h *house) issue(r authority.TokenRequest) authority.Issued {
	h.t.Helper()
	issued, err := h.rules.IssueToken(h.t.Context(), operator(), r, "")
	must(h.t, err)
	return issued
}

// user is a token that every door lets through.
func (h *house) user() authority.Issued {
	h.t.Helper()
	return h.issue(authority.TokenRequest{ClientID: "nightly", Role: "user", Tags: []string{"team:data", "env:test"}, Audience: []string{ownAudience}})
}

func (h *house) signIn() authority.SignedIn {
	h.t.Helper()
	in, err := h.rules.SignIn(h.t.Context(), authority.Nobody(authority.Origin{From: client}), adminName, authority.NewSecret(adminPassword))
	must(h.t, err)
	return in
}

// reset revokes everything, and the askers with it: they get new tokens, as a
// service would.
func (h *house) reset() {
	h.t.Helper()
	h.resetting.Store(true)
	defer h.resetting.Store(false)
	_, err := h.rules.ResetKeys(h.t.Context(), operator(), "")
	must(h.t, err)
	h.hireAskers()
}

// key is the secret of a key, as only the keyring has it.
func (h *house) key(kid authority.KeyID) *jws.SigningKey {
	h.t.Helper()
	text, err := os.ReadFile(h.keyring)
	must(h.t, err)
	var ring struct {
		Keys []struct{ Kid, Alg, Secret string }
	}
	must(h.t, json.Unmarshal(text, &ring))
	for _, k := range ring.Keys {
		if k.Kid == string(kid) {
			secret, err := base64.StdEncoding.DecodeString(k.Secret)
			must(h.t, err)
			key, err := jws.ParseSigningKey(jws.Algorithm(k.Alg), secret)
			must(h.t, err)
			return key
		}
	}
	h.t.Fatalf("the keyring has no key %s", kid)
	return nil
}

// kid is the key of a state.
func (h *house) kid(state authority.KeyState) authority.KeyID {
	h.t.Helper()
	keys, err := h.rules.Keys(h.t.Context(), operator())
	must(h.t, err)
	for _, k := range keys {
		if k.State == state {
			return k.ID
		}
	}
	h.t.Fatalf("there is no key that is %s", state)
	return ""
}

// RoundTrip is the node as a service's HTTP client reaches it.
func (h *house) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = io.NopCloser(http.NoBody)
	}
	r.RemoteAddr, r.RequestURI = "192.0.2.1:9", r.URL.RequestURI()
	w := httptest.NewRecorder()
	h.node.ServeHTTP(w, r)
	return w.Result(), nil
}
