package liveset_test

import (
	"crypto/rand"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

const (
	issuer   = "https://tokens.example"
	audience = "https://api.example"
	tokenID  = authority.TokenID("tok_00000000000000000000000001")
	loginID  = authority.LoginID("lgn_00000000000000000000000001")
	idle     = time.Hour
)

func algorithms() []jws.Algorithm { return []jws.Algorithm{jws.ES256, jws.EdDSA, jws.HS256} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start() time.Time { return time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC) }

// house is a live set with keys of one algorithm in every state, whose records
// and clock the test sets.
type house struct {
	masked atomic.Bool // addresses are
	*liveset.Set
	alg   jws.Algorithm
	keys  map[authority.KeyID]*jws.SigningKey
	clock atomic.Int64

	mu      sync.Mutex
	records map[authority.TokenID]authority.Token // as a store would have them
}

// Load and Apply keep the records, too.
func (h *house) Load(c authority.Change) {
	h.keep(c)
	h.Set.Load(c)
}

func (h *house) Apply(c authority.Change) {
	h.keep(c)
	h.Set.Apply(c)
}

func (h *house) keep(c authority.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range c.Tokens {
		if t.Value != nil {
			h.records[t.Key] = *t.Value
		}
	}
}

func (h *house) record(id authority.TokenID) (authority.Token, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.records[id]
	if !ok {
		return t, authority.NotFound
	}
	return t, nil
}

func (h *house) now() time.Time          { return time.Unix(0, h.clock.Load()).UTC() }
func (h *house) advance(d time.Duration) { h.clock.Add(int64(d)) }

// keys are made once: what is tested here is not the making of keys.
var keys = sync.OnceValues(func() (map[jws.Algorithm]map[authority.KeyID]*jws.SigningKey, error) {
	all := make(map[jws.Algorithm]map[authority.KeyID]*jws.SigningKey)
	for _, alg := range algorithms() {
		all[alg] = make(map[authority.KeyID]*jws.SigningKey)
		for _, kid := range []authority.KeyID{"current", "previous", "next", "retired", "elsewhere", "lost"} {
			k, err := jws.GenerateKey(alg, rand.Reader)
			if err != nil {
				return nil, err
			}
			all[alg][kid] = k
		}
	}
	return all, nil
})

// empty makes a house whose set is not loaded.
func empty(t testing.TB, alg jws.Algorithm) *house {
	t.Helper()
	return emptyCounting(t, alg, nil)
}

// emptyCounting is one whose counts somebody is told.
func emptyCounting(t testing.TB, alg jws.Algorithm, counts func(authority.Counted)) *house {
	t.Helper()
	all, err := keys()
	must(t, err)
	h := &house{alg: alg, keys: all[alg], records: make(map[authority.TokenID]authority.Token)}
	h.clock.Store(start().UnixNano())
	h.Set, err = liveset.New(liveset.Config{
		Verifier: func(kid authority.KeyID) *jws.Verifier {
			if kid == "lost" || h.keys[kid] == nil {
				return nil
			}
			return h.keys[kid].Verifier()
		},
		Audience: func() []string { return []string{audience, "https://b.example"} }, LoginIssuer: func() string { return issuer },
		LoginIdle: func() time.Duration { return idle }, Record: h.record, Recognised: 64, Tally: counts, Masked: h.masked.Load, Now: h.now,
	})
	must(t, err)
	return h
}

// newHouse makes a house with one token and one login.
func newHouse(t testing.TB, alg jws.Algorithm) *house {
	t.Helper()
	h := empty(t, alg)
	token, login := theToken(), theLogin()
	h.Load(h.snapshot(&token, &login, 1))
	return h
}

// snapshot holds the keys and what is given; nil is no record.
func (h *house) snapshot(token *authority.Token, login *authority.Login, generation uint64) authority.Change {
	c := authority.Change{System: &authority.System{Generation: generation}}
	for kid, state := range map[authority.KeyID]authority.KeyState{
		"current": authority.KeyCurrent, "previous": authority.KeyPrevious, "next": authority.KeyNext, "retired": authority.KeyRetired, "lost": authority.KeyPrevious,
	} {
		c.Keys = append(c.Keys, keyChange(authority.Key{ID: kid, Algorithm: string(h.alg), State: state}))
	}
	if token != nil {
		c.Tokens = append(c.Tokens, tokenChange(*token))
	}
	if login != nil {
		c.Logins = append(c.Logins, loginChange(*login))
	}
	return c
}

func keyChange(k authority.Key) authority.Changed[authority.KeyID, authority.Key] {
	return authority.Changed[authority.KeyID, authority.Key]{Key: k.ID, Value: &k}
}

func tokenChange(t authority.Token) authority.Changed[authority.TokenID, authority.Token] {
	return authority.Changed[authority.TokenID, authority.Token]{Key: t.ID, Value: &t}
}

func loginChange(l authority.Login) authority.Changed[authority.LoginID, authority.Login] {
	return authority.Changed[authority.LoginID, authority.Login]{Key: l.ID, Value: &l}
}

func tokens(all ...authority.Token) (c authority.Change) {
	for _, t := range all {
		c.Tokens = append(c.Tokens, tokenChange(t))
	}
	return c
}

func theToken() authority.Token {
	return authority.Token{
		ID: tokenID, ClientID: "batch", Role: authority.RoleUser, Tags: []string{"team:a", "env:prod"}, Issuer: issuer, Audience: []string{audience},
		CreatedAt: start().Add(-time.Hour), ExpiresAt: start().Add(90 * 24 * time.Hour), KeyID: "current", Generation: 1,
	}
}

func theLogin() authority.Login {
	return authority.Login{
		ID: loginID, Admin: "maria", CreatedAt: start().Add(-time.Minute), AuthenticatedAt: start().Add(-time.Minute), ExpiresAt: start().Add(12 * time.Hour), KeyID: "current", Generation: 1,
	}
}

func claimsOf(t authority.Token) jws.Claims {
	return jws.Claims{
		Issuer: t.Issuer, Subject: t.ClientID, ClientID: t.ClientID, Audience: t.Audience, ID: string(t.ID), IssuedAt: jws.At(t.CreatedAt), Expires: jws.At(t.ExpiresAt),
		Role: string(t.Role), Tags: t.Tags,
	}
}

func loginClaims(l authority.Login) jws.Claims {
	return jws.Claims{
		Issuer: issuer, Subject: l.Admin, Audience: []string{issuer}, ID: string(l.ID), IssuedAt: jws.At(l.CreatedAt), Expires: jws.At(l.ExpiresAt), Role: string(authority.RoleAdmin),
	}
}

func (h *house) sign(t testing.TB, kid authority.KeyID, typ string, c jws.Claims) string {
	t.Helper()
	raw, err := jws.Sign(h.keys[kid], jws.Header{Alg: h.alg, Kid: string(kid), Typ: typ}, c.Marshal())
	must(t, err)
	return raw
}

// text is the token of a record.
func (h *house) text(t testing.TB, token authority.Token) string {
	t.Helper()
	return h.sign(t, token.KeyID, authority.TypeToken, claimsOf(token))
}

func (h *house) loginText(t testing.TB) string {
	t.Helper()
	return h.sign(t, "current", authority.TypeLogin, loginClaims(theLogin()))
}

func wantReason(t *testing.T, got liveset.Verdict, want liveset.Reason) {
	t.Helper()
	if got.Reason != want {
		t.Errorf("got %s, want %s", got.Reason, want)
	}
	if got.Allow() != (want == liveset.Allowed) {
		t.Errorf("%s allows: %v", got.Reason, got.Allow())
	}
	if class := got.Reason.Class(); (got.Identity.ID != "") != (class == liveset.ClassAllow || class == liveset.ClassForbidden) {
		t.Errorf("%s has the identity %+v", got.Reason, got.Identity)
	}
	// Only what is allowed makes a caller.
	caller := got.Identity.Caller(authority.Origin{From: "192.0.2.1", RequestID: "r1"})
	if (caller.Role() != "") != got.Allow() || (caller.TokenID() != "" || caller.LoginID() != "") != got.Allow() {
		t.Errorf("%s makes the caller %+v", got.Reason, caller)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
