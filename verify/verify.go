package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"mintmark/internal/jws"
)

// The errors of a Verifier, told apart with errors.Is. What exactly is wrong
// with a token is not told: a client learns that it is invalid, no more (RFC
// 6750 section 3.1).
var (
	ErrMissing   = errors.New("no token was sent")             // 401 without an error code
	ErrRequest   = errors.New("the credential is malformed")   // 400 invalid_request
	ErrInvalid   = errors.New("invalid token")                 // 401 invalid_token
	ErrForbidden = errors.New("the token does not allow this") // 403 insufficient_scope
	// ErrUnknown (503) is wrapped together with why: for a log, not for a client.
	ErrUnknown = errors.New("the state of the token cannot be found out now")
)

// Identity is who a valid token speaks for. It is the caller's own: changing it
// changes no other.
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
	return !slices.ContainsFunc(d.Tags, func(tag string) bool { return !slices.Contains(i.Tags, tag) })
}

// Verifier checks tokens. Its methods may be called concurrently.
type Verifier interface {
	// Verify answers who a token speaks for, or ErrInvalid, or ErrUnknown.
	Verify(ctx context.Context, token string) (Identity, error)
}

// Check verifies a token and holds it against a demand: ErrForbidden when it is
// valid and not enough.
func Check(ctx context.Context, v Verifier, token string, d Demand) (Identity, error) {
	i, err := v.Verify(ctx, token)
	switch {
	case err != nil:
		return Identity{}, err
	case !i.Meets(d):
		return Identity{}, ErrForbidden
	}
	return i, nil
}

// identityOf reads claims that were verified; without an id, a client and a role
// they speak for nobody.
func identityOf(c jws.Claims) (Identity, bool) {
	i := Identity{TokenID: c.ID, ClientID: c.ClientID, Role: c.Role, Tags: c.Tags, Issuer: c.Issuer, Audience: c.Audience}
	i.IssuedAt, _ = c.IssuedAt.Time()
	if end, expires := c.Expires.Time(); expires {
		i.ExpiresAt = end
	}
	return i, i.TokenID != "" && i.ClientID != "" && i.Role != ""
}
