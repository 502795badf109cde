package verify

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// OnlineConfig is what an Online verifier is made of.
type OnlineConfig struct {
	URL      string        // of the introspection endpoint: https://…/oauth2/introspect
	Token    func() string // the verifier token with which this service asks
	Audience []string      // this service; one of them must be in aud
	// Remember is how long an active answer is used again, and so how long a
	// revoked token may still be accepted; 0 asks every time. An answer that a
	// token is not active, and an outage, are never remembered.
	Remember time.Duration
	Client   *http.Client // nil: one with a timeout of 10 seconds
	Now      func() time.Time
}

// Online asks the authority about each token (RFC 7662), so a revoked token is
// refused at once.
type Online struct {
	config OnlineConfig
	client *http.Client

	mu   sync.Mutex
	seen map[[sha256.Size]byte]remembered
}

type remembered struct {
	identity Identity
	until    time.Time
}

const (
	maxRemembered = 1 << 16
	maxAnswer     = 64 << 10
	maxToken      = 8 << 10
)

// NewOnline checks the configuration.
func NewOnline(c OnlineConfig) (*Online, error) {
	if c.Token == nil || len(c.Audience) == 0 {
		return nil, errors.New("verify: a verifier token and an audience are needed")
	}
	if _, err := address(c.URL); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // Now is handed in; its zero value is the system's
	}
	return &Online{config: c, client: client(c.Client), seen: make(map[[sha256.Size]byte]remembered)}, nil
}

// Verify asks the authority, or uses an answer that it may remember.
func (o *Online) Verify(ctx context.Context, token string) (Identity, error) {
	if token == "" || len(token) > maxToken {
		return Identity{}, ErrInvalid
	}
	digest := sha256.Sum256([]byte(token))
	now := o.config.Now()
	if i, ok := o.recall(digest, now); ok {
		return i, nil
	}
	i, err := o.ask(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	o.keep(digest, i, now)
	return i, nil
}

func (o *Online) recall(digest [sha256.Size]byte, now time.Time) (Identity, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.seen[digest]
	return r.identity, ok && now.Before(r.until)
}

func (o *Online) keep(digest [sha256.Size]byte, i Identity, now time.Time) {
	if o.config.Remember <= 0 {
		return
	}
	until := now.Add(o.config.Remember)
	if !i.ExpiresAt.IsZero() && i.ExpiresAt.Before(until) {
		until = i.ExpiresAt
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.seen) >= maxRemembered {
		clear(o.seen) // asking again is cheap
	}
	o.seen[digest] = remembered{i, until}
}

// answer is what RFC 7662 section 2.2 names, as far as it is used.
type answer struct {
	Active   bool            `json:"active"`
	ClientID string          `json:"client_id"`
	Issuer   string          `json:"iss"`
	Audience json.RawMessage `json:"aud"`
	ID       string          `json:"jti"`
	IssuedAt int64           `json:"iat"`
	Expires  int64           `json:"exp"`
	Role     string          `json:"role"`
	Tags     []string        `json:"tags"`
}

func (o *Online) ask(ctx context.Context, token string) (Identity, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.config.URL, strings.NewReader(form))
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+o.config.Token())
	resp, err := o.client.Do(r)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: ask the authority: %w", ErrUnknown, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Identity{}, fmt.Errorf("%w: the authority answered %s", ErrUnknown, resp.Status)
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&a); err != nil {
		return Identity{}, fmt.Errorf("%w: the authority's answer cannot be read", ErrUnknown)
	}
	audience, err := oneOrMany(a.Audience)
	if !a.Active || err != nil || !slices.ContainsFunc(audience, func(s string) bool { return slices.Contains(o.config.Audience, s) }) {
		return Identity{}, ErrInvalid
	}
	i := Identity{TokenID: a.ID, ClientID: a.ClientID, Role: a.Role, Tags: a.Tags, Issuer: a.Issuer, Audience: audience, IssuedAt: time.Unix(a.IssuedAt, 0).UTC()}
	if a.Expires != 0 {
		i.ExpiresAt = time.Unix(a.Expires, 0).UTC()
	}
	return i, nil
}

// oneOrMany reads aud, which is a string or a list of them (RFC 7519 section
// 4.1.3).
func oneOrMany(raw json.RawMessage) ([]string, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	err := json.Unmarshal(raw, &many)
	return many, err
}
