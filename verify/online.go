package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"mintmark/internal/jws"
	"mintmark/internal/strictjson"
)

// OnlineConfig is what an Online verifier is made of.
type OnlineConfig struct {
	URL      string        // of the introspection endpoint: https://…/oauth2/introspect, or on this machine
	Token    func() string // the verifier token with which this service asks
	Audience []string      // this service; one of them must be in aud
	// Remember is how long an active answer is used again, counted from when it
	// was asked for, and so how long a deleted token may still be accepted. Who
	// comes while it is being asked for shares it. 0 asks for every request. An
	// answer that a token is not active, and an outage, are never remembered.
	Remember time.Duration
	Bound    int          // how many answers are remembered at most; 0 is 65,536
	Client   *http.Client // nil: one of its own; redirects are never followed
	Now      func() time.Time
}

// Online asks the authority about each token (RFC 7662), so a deleted token is
// refused at once, or after Remember.
type Online struct {
	config OnlineConfig
	client *http.Client

	mu    sync.Mutex
	asked map[[sha256.Size]byte]*question[Identity] // for this audience; demands are met anew each time
}

const maxToken = 8 << 10

// NewOnline checks the configuration; it asks nothing yet.
func NewOnline(c OnlineConfig) (*Online, error) {
	if c.Token == nil || len(c.Audience) == 0 || slices.Contains(c.Audience, "") {
		return nil, errors.New("verify: a verifier token and an audience are needed: a check is never skipped")
	}
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	c.Audience = slices.Clone(c.Audience)
	if c.Bound <= 0 {
		c.Bound = 1 << 16
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // Now is handed in; its zero value is the system's
	}
	return &Online{config: c, client: client(c.Client), asked: make(map[[sha256.Size]byte]*question[Identity])}, nil
}

// Verify asks the authority, or uses an answer that it may remember.
func (o *Online) Verify(ctx context.Context, token string) (Identity, error) {
	if token == "" || len(token) > maxToken {
		return Identity{}, ErrInvalid
	}
	own := o.config.Token()
	if o.config.Remember <= 0 {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return o.introspect(ctx, token, own)
	}
	i, err := o.question(ctx, token, own).wait(ctx)
	i.Tags, i.Audience = slices.Clone(i.Tags), slices.Clone(i.Audience) // others have the same answer
	return i, err
}

// question answers one that was put a moment ago, or puts it.
func (o *Online) question(ctx context.Context, token, own string) *question[Identity] {
	now, digest := o.config.Now(), sha256.Sum256([]byte(token))
	o.mu.Lock()
	defer o.mu.Unlock()
	if q := o.asked[digest]; q != nil && o.holds(q, now) {
		return q
	}
	if len(o.asked) >= o.config.Bound {
		clear(o.asked) // asking again is cheap
	}
	q := ask(ctx, now, func(ctx context.Context) (Identity, error) {
		i, err := o.introspect(ctx, token, own)
		if err != nil {
			o.forget(digest)
		}
		return i, err
	})
	o.asked[digest] = q
	return q
}

// holds reports whether an answer, when it is there, may be used now.
func (o *Online) holds(q *question[Identity], now time.Time) bool {
	if age := now.Sub(q.began); age < 0 || age >= o.config.Remember {
		return false
	}
	return !q.answered() || q.err == nil && (q.value.ExpiresAt.IsZero() || now.Before(q.value.ExpiresAt))
}

func (o *Online) forget(digest [sha256.Size]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.asked, digest)
}

func (o *Online) introspect(ctx context.Context, token, own string) (Identity, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.config.URL, strings.NewReader(form))
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+own)
	text, err := answerOf(o.client, r)
	if err != nil {
		return Identity{}, err
	}
	return o.read(text)
}

// read takes an answer apart (RFC 7662 section 2.2). Its members are claims, and
// active; one that is in part readable is none.
func (o *Online) read(text []byte) (Identity, error) {
	active, err := isActive(text)
	if err != nil {
		return Identity{}, err
	}
	if !active {
		return Identity{}, ErrInvalid
	}
	c, err := jws.ParseClaims(text)
	i, whole := identityOf(c)
	switch {
	case err != nil || !whole:
		return Identity{}, unreadable()
	case c.CheckAudience(o.config.Audience) != nil:
		return Identity{}, ErrInvalid
	}
	return i, nil
}

func isActive(text []byte) (bool, error) {
	members, err := strictjson.Members(text)
	if err != nil {
		return false, unreadable()
	}
	for _, m := range members {
		if m.Name == "active" && (string(m.Value) == "true" || string(m.Value) == "false") {
			return string(m.Value) == "true", nil
		}
	}
	return false, unreadable()
}

func unreadable() error {
	return fmt.Errorf("%w: the authority's answer cannot be read", ErrUnknown)
}
