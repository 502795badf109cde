package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	weak "math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/limits"
	"mintmark/internal/liveset"
	"mintmark/internal/metrics"
	"mintmark/internal/pathrule"
	"mintmark/internal/refusals"
	"mintmark/internal/signing"
	"mintmark/internal/store/usagesql"
	"mintmark/internal/usage"
)

// house is the rooms that a verdict passes, wired as the program wires them:
// edge, door, metrics, limits, live set, all with the defaults of every property.
// The tokens come into the live set by the way that every change takes there, and
// from no store: verdicts ask none, and filling one with so many tokens would
// measure the store.
type house struct {
	ring    *signing.Ring
	kid     authority.KeyID
	live    *liveset.Set
	running *control.Running
	metrics *metrics.Metrics
	limits  *limits.Limits
	refused *refusals.Log
	log     *slog.Logger
	counts  *usage.Ledger
	silent  *liveset.Set // the same tokens, and nobody counts; nil unless that is measured
}

func newHouse(logFile *os.File, folder string) (*house, error) {
	h := &house{ring: signing.InMemory(rand.Reader), log: slog.New(slog.NewTextHandler(logFile, nil))}
	var err error
	if h.running, err = control.NewRunning(config.Layers{Getenv: func(string) (string, bool) { return "", false }}); err != nil {
		return nil, err
	}
	if h.kid, err = h.ring.Generate("ES256"); err != nil {
		return nil, err
	}
	if h.counts, err = openLedger(folder, func() { h.live.Settle() }, h.running.Masked); err != nil {
		return nil, err
	}
	if h.live, err = h.newSet(h.counts.Count); err != nil {
		return nil, err
	}
	h.metrics = metrics.New(metrics.Config{Now: time.Now, Draw: weak.Uint64, State: func() metrics.State { return metrics.State{} }})
	h.limits = limits.New(limits.Config{Now: time.Now, Rates: func() (limits.Rate, limits.Rate) {
		token, source := h.running.Limits()
		return limits.Rate(token), limits.Rate(source)
	}})
	h.refused, err = refusals.New(refusals.Config{Live: h.live, Now: time.Now})
	return h, err
}

// newSet is a live set without tokens, whose counts somebody is told.
func (h *house) newSet(counts func(authority.Counted)) (*liveset.Set, error) {
	set, err := liveset.New(liveset.Config{
		Verifier: h.ring.Verifier, Now: authority.NewClock(time.Now).Now, LoginIdle: h.running.LoginIdle, Tally: counts,
		Audience: h.audience, LoginIssuer: func() string { return h.running.Settings().Issuer }, Record: noRecord,
	})
	if err == nil {
		found(set, h.kid)
	}
	return set, err
}

// openLedger keeps counts as a home does.
func openLedger(folder string, settle func(), masked func() bool) (*usage.Ledger, error) {
	counts, _, err := usagesql.Open(context.Background(), filepath.Join(folder, "usage.db"), time.Now())
	if err != nil {
		return nil, err
	}
	return usage.New(usage.Config{Store: counts, Writer: "bench", Settle: settle, Masked: masked, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
}

// found loads a set that has one key and no tokens.
func found(set *liveset.Set, kid authority.KeyID) {
	key := authority.Key{ID: kid, State: authority.KeyCurrent}
	set.Load(authority.Change{System: &authority.System{Generation: 1}, Keys: []authority.Changed[authority.KeyID, authority.Key]{{Key: kid, Value: &key}}})
}

func noRecord(authority.TokenID) (authority.Token, error) {
	return authority.Token{}, authority.NotFound
}

func (h *house) audience() []string { return h.running.Settings().Audience }

func (h *house) proxies() []netip.Prefix { return h.running.Settings().Proxies }

// door is the live set as one door asks it.
func (h *house) door(name string) edge.Decider {
	return h.metrics.Door(name, h.refused.Around(name, h.limits.Around(h.live)))
}

// uncounted is the house with the set that nobody counts.
func (h *house) uncounted() *house {
	same := *h
	same.live = h.silent
	return &same
}

// behindEdge is a handler as a listener of ours serves it.
func (h *house) behindEdge(next http.Handler) http.Handler {
	return edge.Wrap(edge.Config{
		Log: h.log, Now: time.Now, NewID: newID, TrustedProxies: h.proxies,
		Doors: map[string]edge.Door{
			"/auth/verify":       gateway.Verify{Live: h.door("forward_auth"), Audience: h.audience},
			"/oauth2/introspect": gateway.Introspect{Live: h.door("introspection"), Audience: h.audience},
		},
	}, next)
}

// guard is the guard before an API, without rules of its own.
func (h *house) guard(upstream *url.URL) (*http.Server, error) {
	g, err := gateway.NewGuard(gateway.GuardConfig{
		Live: h.door("guard"), Upstream: upstream, Rules: func() pathrule.Rules { return nil }, KeepAuthorization: func() bool { return false },
		Patience: time.Minute, Log: h.log, Now: time.Now,
	})
	s := edge.Server(h.behindEdge(g), h.log, time.Now)
	s.ReadTimeout, s.WriteTimeout = 0, 0
	return s, err
}

// newID is a request id in the form of the program's.
func newID() string {
	var raw [8]byte
	var text [16]byte
	binary.LittleEndian.PutUint64(raw[:], weak.Uint64()) //nolint:gosec // it is the runtime's ChaCha8, which the system seeds
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

// fill puts live tokens into the set, and answers the texts of the first ones
// and that of a token which may introspect.
func (h *house) fill(live, presented int) (texts []string, verifier string, err error) {
	f := filler{set: h.live, issuer: h.running.Settings().Issuer, audience: h.audience(), kid: h.kid, role: authority.RoleUser, at: time.Now().Add(-time.Hour).Truncate(time.Second)}
	f.fill(0, live)
	if h.silent != nil {
		own := f
		own.set = h.silent
		own.fill(0, live)
		own.role = authority.RoleVerifier
		own.fill(live, live+1)
	}
	if texts, err = f.texts(h.ring, 0, presented); err != nil {
		return nil, "", err
	}
	f.role = authority.RoleVerifier
	f.fill(live, live+1)
	one, err := f.texts(h.ring, live, live+1)
	return texts, one[0], err
}

// filler makes tokens by number, with what a usual one has: a client ID, two
// tags, an end.
type filler struct {
	set      *liveset.Set
	issuer   string
	audience []string
	kid      authority.KeyID
	role     authority.Role
	at       time.Time
}

func (f filler) token(n int) authority.Token {
	return authority.Token{
		ID: tokenID(n), ClientID: fmt.Sprintf("client-%d", n), Role: f.role, Tags: []string{"team:data", "env:prod"},
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

// texts signs the tokens from one number to another; they need not be live.
func (f filler) texts(ring *signing.Ring, from, to int) ([]string, error) {
	texts := make([]string, to-from)
	for n := range texts {
		t := f.token(from + n)
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
