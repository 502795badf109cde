package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/httpapi"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
)

// house is the real rooms, wired as the program wires them, over the memory
// store. What is presented was issued into the live set alone, by the way that
// every change takes there: no file and no table of a store is needed for
// verdicts, and filling one with so many tokens would measure the store.
type house struct {
	ring    *signing.Ring
	kid     authority.KeyID
	live    *liveset.Set
	running *control.Running
	rules   *authority.Authority
	handler http.Handler
	log     *slog.Logger
}

func newHouse(ctx context.Context, logFile *os.File) (*house, error) {
	h := &house{ring: signing.InMemory(rand.Reader), log: slog.New(slog.NewTextHandler(logFile, nil))}
	var err error
	if h.running, err = control.NewRunning(config.Layers{Getenv: func(string) (string, bool) { return "", false }}); err != nil {
		return nil, err
	}
	store, err := mapstore.Open(mapstore.Config{Now: time.Now})
	if err != nil {
		return nil, err
	}
	clock := authority.NewClock(time.Now)
	h.live, err = liveset.New(liveset.Config{
		Verifier: h.ring.Verifier, Now: clock.Now, LoginIdle: h.running.LoginIdle,
		Audience: h.audience, LoginIssuer: func() string { return h.running.Settings().Issuer },
		Record: func(id authority.TokenID) (authority.Token, error) { return authority.ReadToken(ctx, store, id) },
	})
	if err != nil {
		return nil, err
	}
	h.rules, err = authority.New(authority.Config{
		Store: store, Custody: h.ring, Passwords: password.NewHasher(password.Recommended(), 2, rand.Reader), Usage: h.live,
		Policy: h.running.Policy, Now: clock.Now, Rand: rand.Reader, Host: "localhost",
	})
	if err == nil {
		err = h.rules.Found(ctx, operator())
	}
	if err == nil {
		err = store.Follow(ctx, h.live)
	}
	if err != nil {
		return nil, err
	}
	if err := h.open(); err != nil {
		return nil, err
	}
	keys, err := h.rules.Keys(ctx, operator())
	for _, k := range keys {
		if k.State == authority.KeyCurrent {
			h.kid = k.ID
		}
	}
	return h, err
}

func operator() authority.Caller {
	return authority.LocalOperator("bench@localhost", authority.Origin{})
}

func (h *house) audience() []string { return h.running.Settings().Audience }

// open makes the handler of the public listener.
func (h *house) open() error {
	refused := errors.New("not while figures are taken")
	desk, err := control.New(control.Config{
		Authority: h.rules, Running: h.running, Refusals: h.live.Refusals, Now: time.Now,
		SwitchStore: func(context.Context, string, func() error) (int, int, error) { return 0, 0, refused },
		CheckStore:  func(string) (string, error) { return "", refused }, CheckTLS: func(string, string) error { return refused },
		Program: control.Program{Version: "bench", StartedAt: time.Now(), URL: func() string { return "" }},
	})
	if err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Config{
		Authority: h.rules, Live: h.live, Control: desk, Policy: h.running.Policy, Log: h.log,
		Verify: gateway.Verify{Live: h.live, Audience: h.audience}, Introspect: gateway.Introspect{Live: h.live, Audience: h.audience},
		Revoke: gateway.Revoke{Live: h.live, Audience: h.audience, Rules: h.rules, Log: h.log}, TokenReview: gateway.TokenReview{Live: h.live, Audience: h.audience},
		JWKS: func(ctx context.Context) ([]byte, error) {
			keys, err := h.rules.PublishedKeys(ctx)
			return h.ring.JWKSet(keys), err
		},
		Ready: func() error { return nil },
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for _, pattern := range api.Patterns() {
		mux.Handle(pattern, api)
	}
	h.handler = edge.Wrap(edge.Config{
		Log: h.log, Now: time.Now, NewID: newID, TrustedProxies: func() []netip.Prefix { return h.running.Settings().Proxies },
	}, mux)
	return nil
}

func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// fill puts live tokens into the set and answers the texts of the first ones.
func (h *house) fill(live, presented int) ([]string, error) {
	f := filler{set: h.live, issuer: h.running.Settings().Issuer, audience: h.audience(), kid: h.kid, at: time.Now().Add(-time.Hour).Truncate(time.Second)}
	f.fill(0, live)
	return f.texts(h.ring, presented)
}

// filler makes tokens by number, with what a usual one has: a client ID, two
// tags, an end.
type filler struct {
	set      *liveset.Set
	issuer   string
	audience []string
	kid      authority.KeyID
	at       time.Time
}

func (f filler) token(n int) authority.Token {
	return authority.Token{
		ID: tokenID(n), ClientID: fmt.Sprintf("client-%d", n), Role: authority.RoleUser, Tags: []string{"team:data", "env:prod"},
		Issuer: f.issuer, Audience: f.audience, CreatedAt: f.at, ExpiresAt: f.at.Add(90 * 24 * time.Hour), KeyID: f.kid, Generation: 1,
	}
}

// tokenID is an id as the authority draws it, but of a number.
func tokenID(n int) authority.TokenID {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	sum := sha256.Sum256([]byte(fmt.Sprint(n)))
	id := []byte("tok_")
	for _, c := range sum[:26] {
		id = append(id, alphabet[c&31])
	}
	return authority.TokenID(id)
}

func (f filler) fill(from, to int) {
	for n := from; n < to; n++ {
		t := f.token(n)
		f.set.Apply(change(&t))
	}
}

func change(t *authority.Token) authority.Change {
	return authority.Change{Tokens: []authority.Changed[authority.TokenID, authority.Token]{{Key: t.ID, Value: t}}}
}

func (f filler) texts(ring *signing.Ring, count int) ([]string, error) {
	texts := make([]string, count)
	for n := range texts {
		t := f.token(n)
		text, err := ring.Mint(f.kid, authority.TypeToken, authority.Claims{
			Issuer: t.Issuer, Subject: t.ClientID, ClientID: t.ClientID, Audience: t.Audience, ID: string(t.ID),
			IssuedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Role: t.Role, Tags: t.Tags,
		})
		if err != nil {
			return nil, err
		}
		texts[n] = text.Unsafe()
	}
	return texts, nil
}
