package verify_test

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/jws"
	"mintmark/verify"
)

const (
	issuer   = "https://tokens.example"
	audience = "https://api.example"
	keySet   = "http://127.0.0.1/.well-known/jwks.json"
	inspect  = "http://127.0.0.1/oauth2/introspect"
	own      = "the-verifier's-own-token"
)

func start() time.Time { return time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is an authority that the test can change and silence, and a clock that
// it moves.
type house struct {
	clock atomic.Int64
	asked atomic.Int64

	mu      sync.Mutex
	keys    map[string]*jws.SigningKey
	answer  http.HandlerFunc // nil: the key set, or the active claims
	claims  jws.Claims
	waiting chan struct{} // nil: it answers at once
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{keys: map[string]*jws.SigningKey{"es": newKey(t, jws.ES256), "ed": newKey(t, jws.EdDSA), "hs": newKey(t, jws.HS256)}, claims: goodClaims()}
	h.clock.Store(start().UnixNano())
	return h
}

func newKey(t testing.TB, alg jws.Algorithm) *jws.SigningKey {
	t.Helper()
	k, err := jws.GenerateKey(alg, rand.Reader)
	must(t, err)
	return k
}

func (h *house) now() time.Time { return time.Unix(0, h.clock.Load()).UTC() }

func (h *house) advance(d time.Duration) { h.clock.Add(int64(d)) }

// set changes what the authority has or says.
func (h *house) set(change func(*house)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

// answers lets the authority answer so; status 0 is a connection that breaks.
func (h *house) answers(status int, body string) {
	h.set(func(h *house) {
		h.answer = func(w http.ResponseWriter, _ *http.Request) {
			if status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	})
}

func (h *house) recovers() { h.set(func(h *house) { h.answer = nil }) }

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.asked.Add(1)
	h.mu.Lock()
	answer, waiting := h.answer, h.waiting
	h.mu.Unlock()
	if waiting != nil {
		select {
		case <-waiting:
		case <-r.Context().Done():
			return
		}
	}
	if answer == nil {
		answer = h.good
	}
	answer(w, r)
}

func (h *house) good(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Method == http.MethodPost {
		_, _ = w.Write([]byte(active(h.claims)))
		return
	}
	var set []jws.JWK
	for kid, key := range h.keys {
		if k, public := key.Verifier().JWK(kid); public {
			set = append(set, k)
		}
	}
	_, _ = w.Write(jws.MarshalSet(set))
}

// active is an introspection answer (RFC 7662 section 2.2).
func active(c jws.Claims) string {
	return `{"active":true,"token_type":"Bearer",` + string(c.Marshal()[1:])
}

// RoundTrip is the house without a network between.
func (h *house) RoundTrip(r *http.Request) (_ *http.Response, err error) {
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			err = io.ErrUnexpectedEOF
		}
	}()
	h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (h *house) client() *http.Client { return &http.Client{Transport: h} }

func (h *house) offline(t testing.TB) *verify.Offline {
	t.Helper()
	v, err := verify.NewOffline(verify.OfflineConfig{Issuer: issuer, Audience: []string{"https://other.example", audience}, KeySetURL: keySet, Client: h.client(), Now: h.now})
	must(t, err)
	return v
}

func (h *house) online(t testing.TB, remember time.Duration) *verify.Online {
	t.Helper()
	v, err := verify.NewOnline(verify.OnlineConfig{URL: inspect, Token: func() string { return own }, Audience: []string{audience}, Remember: remember, Client: h.client(), Now: h.now})
	must(t, err)
	return v
}

func goodClaims() jws.Claims {
	return jws.Claims{
		Issuer: issuer, Subject: "batch", ClientID: "batch", Audience: []string{audience}, ID: "tok_00000000000000000000000001",
		IssuedAt: jws.At(start().Add(-time.Hour)), Expires: jws.At(start().Add(90 * 24 * time.Hour)), Role: "user", Tags: []string{"team:data", "env:prod"},
	}
}

// sign makes the token of a key, whoever has it.
func (h *house) sign(t testing.TB, kid, typ string, c jws.Claims) string {
	t.Helper()
	h.mu.Lock()
	key := h.keys[kid]
	h.mu.Unlock()
	return sign(t, key, kid, typ, c)
}

func sign(t testing.TB, key *jws.SigningKey, kid, typ string, c jws.Claims) string {
	t.Helper()
	raw, err := jws.Sign(key, jws.Header{Alg: key.Alg(), Kid: kid, Typ: typ}, c.Marshal())
	must(t, err)
	return raw
}

// asks fails unless the authority was asked so often since the test began.
func (h *house) wantAsked(t *testing.T, want int64) {
	t.Helper()
	if got := h.asked.Load(); got != want {
		t.Errorf("the authority was asked %d times, want %d", got, want)
	}
}

func wantError(t *testing.T, v verify.Verifier, token string, want error) {
	t.Helper()
	i, err := v.Verify(context.Background(), token)
	if !is(err, want) {
		t.Errorf("answered %v, want %v", err, want)
	}
	if err != nil && i.TokenID+i.ClientID+i.Role != "" {
		t.Errorf("refused, and speaks for %+v", i)
	}
}

// elsewhere is another server, and how often it was reached.
func elsewhere(t *testing.T) (*url.URL, *atomic.Int64) {
	t.Helper()
	reached := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	must(t, err)
	return u, reached
}
