package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// The errors of a Verifier, told apart with errors.Is. What exactly is wrong
// with a token is not told: a client learns that it is invalid, no more (RFC
// 6750 section 3.1).
var (
	ErrMissing   = errors.New("no token was sent")             // 401 without an error code
	ErrRequest   = errors.New("the credential is malformed")   // 400 invalid_request
	ErrInvalid   = errors.New("invalid token")                 // 401 invalid_token
	ErrForbidden = errors.New("the token does not allow this") // 403 insufficient_scope
	ErrUnknown   = errors.New("the state of the token cannot be found out now")
)

// Identity is who a valid token speaks for.
type Identity struct {
	TokenID   string // the jti
	ClientID  string
	Role      string   // "admin", "user" or "verifier"
	Tags      []string // name:value
	Issuer    string
	Audience  []string
	IssuedAt  time.Time
	ExpiresAt time.Time // zero: it does not expire
}

// Demand is what a route asks of a token beyond being valid. The zero Demand
// asks for the role user.
type Demand struct {
	Role     string   // "user", the default, or "admin"; an admin meets both
	Tags     []string // all of them; an admin needs none
	ClientID string   // exactly
}

// Meets reports whether the identity is enough.
func (i Identity) Meets(d Demand) bool {
	const admin, user = "admin", "user"
	if d.ClientID != "" && i.ClientID != d.ClientID {
		return false
	}
	if i.Role == admin {
		return true
	}
	if i.Role != user || d.Role != "" && d.Role != user {
		return false
	}
	for _, tag := range d.Tags {
		if !slices.Contains(i.Tags, tag) {
			return false
		}
	}
	return true
}

// Verifier checks tokens. Its methods may be called concurrently.
type Verifier interface {
	// Verify answers who a token speaks for, or ErrInvalid, or ErrUnknown.
	Verify(ctx context.Context, token string) (Identity, error)
}

// client is an HTTP client that follows no redirect, so that no credential
// reaches a server that was not named, and waits for no answer for ever.
func client(c *http.Client) *http.Client {
	own := http.Client{Timeout: 10 * time.Second}
	if c != nil {
		own = *c
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &own
}

// address accepts https, and http to this machine alone.
func address(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("verify: %q is not the URL of a server", text)
	}
	local := slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return "", errors.New("verify: the authority is reached by https, or by http on this machine")
	}
	return text, nil
}
