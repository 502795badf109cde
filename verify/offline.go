package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/jws"
)

// OfflineConfig is what an Offline verifier is made of.
type OfflineConfig struct {
	Issuer   string   // the iss that is expected, exactly (RFC 9068 section 4)
	Audience []string // this service; one of them must be in aud
	// KeySetURL is where the authority publishes its keys, https or on this
	// machine; "" is Issuer + "/.well-known/jwks.json".
	KeySetURL string
	// MaxStale is how long the keys that were fetched last are used when the
	// authority cannot be reached, five minutes at the least; 0 is one hour.
	MaxStale time.Duration
	Client   *http.Client // nil: one of its own; redirects are never followed
	Now      func() time.Time
}

const (
	leeway     = 30 * time.Second // how far clocks may differ (RFC 7519 section 4.1.4)
	freshFor   = 5 * time.Minute  // the max-age of the key set
	betweenAsk = 10 * time.Second // at the least, also for kids that are unknown
)

// Offline verifies tokens by the authority's key set (RFC 7517). It fetches the
// set when it needs it, and knows nothing of deletions.
type Offline struct {
	config OfflineConfig
	client *http.Client
	keys   atomic.Pointer[keySet] // nil until one was fetched

	mu    sync.Mutex
	asked *question[*keySet] // the latest
}

type keySet struct {
	jws.Set
	at time.Time
}

// NewOffline checks the configuration; it fetches nothing yet.
func NewOffline(c OfflineConfig) (*Offline, error) {
	if c.Issuer == "" || len(c.Audience) == 0 || slices.Contains(c.Audience, "") {
		return nil, errors.New("verify: an issuer and an audience are needed: a check is never skipped")
	}
	c.Audience = slices.Clone(c.Audience)
	if c.KeySetURL == "" {
		c.KeySetURL = strings.TrimSuffix(c.Issuer, "/") + "/.well-known/jwks.json"
	}
	if c.MaxStale == 0 {
		c.MaxStale = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // Now is handed in; its zero value is the system's
	}
	if err := checkURL(c.KeySetURL); err != nil {
		return nil, err
	}
	return &Offline{config: c, client: client(c.Client)}, nil
}

// Verify checks form, signature, times, issuer and audience of a token.
func (o *Offline) Verify(ctx context.Context, token string) (Identity, error) {
	u, err := jws.ParseToken(token)
	if err != nil || !u.Header().IsType("at+jwt") {
		return Identity{}, ErrInvalid
	}
	now := o.config.Now()
	key, err := o.key(ctx, u.Header().Kid, now)
	if err != nil {
		return Identity{}, err
	}
	verified, err := u.Verify(key)
	if err != nil {
		return Identity{}, ErrInvalid
	}
	c, err := jws.ParseClaims(verified.Payload())
	if err != nil || c.Check(jws.Expect{Issuer: o.config.Issuer, Audience: o.config.Audience, Now: now, Leeway: leeway}) != nil {
		return Identity{}, ErrInvalid
	}
	// The end of a token is exact, as it is at the authority.
	if end, expires := c.Expires.Time(); expires && !now.Before(end) {
		return Identity{}, ErrInvalid
	}
	i, whole := identityOf(c)
	if !whole {
		return Identity{}, ErrInvalid
	}
	return i, nil
}

// key answers the key of a kid: from the set at hand while it is fresh, else
// from a new one. A kid that is in no set costs the authority at most one
// request in ten seconds, however many tokens name it.
func (o *Offline) key(ctx context.Context, kid string, now time.Time) (*jws.Verifier, error) {
	known := o.keys.Load()
	if known.within(freshFor, now) {
		if v := known.Verifier(kid); v != nil {
			return v, nil
		}
	}
	known, err := o.refresh(ctx, now)
	if known.within(o.config.MaxStale, now) {
		if v := known.Verifier(kid); v != nil {
			return v, nil
		}
	}
	if err == nil {
		err = ErrInvalid
	}
	return nil, err // in an outage the kid may be that of a new key
}

// within reports whether the set was fetched less than age ago.
func (k *keySet) within(age time.Duration, now time.Time) bool {
	return k != nil && now.Sub(k.at) < age
}

// refresh answers the newest set, and why it is not new. It asks for one unless
// somebody did a moment ago, and waits for it unless there are keys to go on
// with and the authority has already been found silent.
func (o *Offline) refresh(ctx context.Context, now time.Time) (*keySet, error) {
	o.mu.Lock()
	before := o.asked
	ended := before != nil && before.answered()
	if before == nil || ended && now.Sub(before.began) >= betweenAsk {
		o.asked = ask(ctx, now, o.fetch)
	}
	latest := o.asked
	o.mu.Unlock()
	if known := o.keys.Load(); ended && before.err != nil && known.within(o.config.MaxStale, now) {
		return known, before.err
	}
	_, err := latest.wait(ctx)
	return o.keys.Load(), err
}

func (o *Offline) fetch(ctx context.Context) (*keySet, error) {
	at := o.config.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.config.KeySetURL, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	text, err := answerOf(o.client, r)
	if err != nil {
		return nil, err
	}
	set, err := jws.ParseSet(text)
	if err != nil {
		return nil, fmt.Errorf("%w: read the key set: %w", ErrUnknown, err)
	}
	known := &keySet{set, at}
	o.keys.Store(known)
	return known, nil
}
