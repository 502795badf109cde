package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/jws"
)

// OfflineConfig is what an Offline verifier is made of.
type OfflineConfig struct {
	Issuer   string   // the iss that is expected, exactly (RFC 9068 section 4)
	Audience []string // this service; one of them must be in aud
	// KeySetURL is where the authority publishes its keys; "" is
	// Issuer + "/.well-known/jwks.json".
	KeySetURL string
	// MaxStale is how long the keys that were fetched last are used when the
	// authority cannot be reached; 0 is one hour.
	MaxStale time.Duration
	Client   *http.Client // nil: one with a timeout of 10 seconds
	Now      func() time.Time
}

const (
	leeway     = 30 * time.Second // how far clocks may differ (RFC 7519 section 4.1.4)
	freshFor   = 5 * time.Minute  // the max-age of the key set
	betweenAsk = 10 * time.Second // at the least, also for kids that are unknown
	maxKeySet  = 64 << 10
)

// Offline verifies tokens by the authority's key set (RFC 7517). It fetches the
// set when it needs it and knows nothing of revocations.
type Offline struct {
	config OfflineConfig
	url    string
	client *http.Client
	keys   atomic.Pointer[keySet]

	fetching sync.Mutex
	asked    time.Time // the last attempt, held by fetching
}

type keySet struct {
	set jws.Set
	at  time.Time
}

// NewOffline checks the configuration; it fetches nothing yet.
func NewOffline(c OfflineConfig) (*Offline, error) {
	if c.Issuer == "" || len(c.Audience) == 0 {
		return nil, errors.New("verify: an issuer and an audience are needed: a check is never skipped")
	}
	if c.KeySetURL == "" {
		c.KeySetURL = c.Issuer + "/.well-known/jwks.json"
	}
	if c.MaxStale == 0 {
		c.MaxStale = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // Now is handed in; its zero value is the system's
	}
	u, err := address(c.KeySetURL)
	if err != nil {
		return nil, err
	}
	return &Offline{config: c, url: u, client: client(c.Client)}, nil
}

// Verify checks form, signature, times, issuer and audience of a token.
func (o *Offline) Verify(ctx context.Context, token string) (Identity, error) {
	u, err := jws.ParseToken(token)
	if err != nil || !u.Header().IsType("at+jwt") {
		return Identity{}, ErrInvalid
	}
	key, err := o.key(ctx, u.Header().Kid)
	if err != nil {
		return Identity{}, err
	}
	verified, err := u.Verify(key)
	if err != nil {
		return Identity{}, ErrInvalid
	}
	c, err := jws.ParseClaims(verified.Payload())
	if err != nil {
		return Identity{}, ErrInvalid
	}
	now := o.config.Now()
	if c.Check(jws.Expect{Issuer: o.config.Issuer, Audience: o.config.Audience, Now: now, Leeway: leeway}) != nil {
		return Identity{}, ErrInvalid
	}
	if end, expires := c.Expires.Time(); expires && !now.Before(end) {
		return Identity{}, ErrInvalid
	}
	return identityOf(c), nil
}

func identityOf(c jws.Claims) Identity {
	i := Identity{TokenID: c.ID, ClientID: c.ClientID, Role: c.Role, Tags: c.Tags, Issuer: c.Issuer, Audience: c.Audience}
	i.IssuedAt, _ = c.IssuedAt.Time()
	if end, expires := c.Expires.Time(); expires {
		i.ExpiresAt = end
	}
	return i
}

// key answers the key of a kid: from the set at hand while it is fresh, else
// from a new one. A kid that is not in it costs the authority at most one
// request in ten seconds, however many tokens name it.
func (o *Offline) key(ctx context.Context, kid string) (*jws.Verifier, error) {
	now := o.config.Now()
	known := o.keys.Load()
	if known != nil && now.Sub(known.at) < freshFor {
		if v := known.set.Verifier(kid); v != nil {
			return v, nil
		}
	}
	fetched, err := o.refresh(ctx, known, now)
	switch {
	case err == nil:
		known = fetched
	case known == nil || now.Sub(known.at) > o.config.MaxStale:
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if v := known.set.Verifier(kid); v != nil {
		return v, nil
	}
	return nil, ErrInvalid
}

// refresh fetches the set, unless somebody did since the caller looked or it was
// tried a moment ago.
func (o *Offline) refresh(ctx context.Context, seen *keySet, now time.Time) (*keySet, error) {
	o.fetching.Lock()
	defer o.fetching.Unlock()
	if known := o.keys.Load(); known != seen {
		return known, nil
	}
	if now.Sub(o.asked) < betweenAsk {
		if seen == nil {
			return nil, errors.New("the key set could not be fetched a moment ago")
		}
		return seen, nil
	}
	o.asked = now
	set, err := o.fetch(ctx)
	if err != nil {
		return nil, err
	}
	known := &keySet{set, now}
	o.keys.Store(known)
	return known, nil
}

func (o *Offline) fetch(ctx context.Context) (jws.Set, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url, nil)
	if err != nil {
		return jws.Set{}, err
	}
	answer, err := o.client.Do(r)
	if err != nil {
		return jws.Set{}, fmt.Errorf("fetch the key set: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return jws.Set{}, fmt.Errorf("fetch the key set: %s", answer.Status)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if err != nil {
		return jws.Set{}, fmt.Errorf("fetch the key set: %w", err)
	}
	return jws.ParseSet(data)
}
