package verify

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

type identityKey struct{}

// FromContext answers who a request that passed the middleware speaks for.
func FromContext(ctx context.Context) (Identity, bool) {
	i, ok := ctx.Value(identityKey{}).(Identity)
	return i, ok
}

// NewContext is ctx with an identity, for interceptors of other transports and
// for tests of handlers.
func NewContext(ctx context.Context, i Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, i)
}

// Require lets only requests through whose bearer token is valid and meets the
// demand; next finds the identity with FromContext. The others are answered
// with 400, 401, 403 or 503 and, but for the last, a challenge (RFC 6750 section
// 3), and next is not called.
func Require(v Verifier, d Demand) func(next http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			i, err := authenticate(v, d, r)
			if err != nil {
				refuse(w, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), i)))
		})
	}
}

func authenticate(v Verifier, d Demand, r *http.Request) (Identity, error) {
	if hasQueryToken(r.URL.RawQuery) {
		return Identity{}, ErrRequest
	}
	token, err := Bearer(r.Header.Values("Authorization"))
	if err != nil {
		return Identity{}, err
	}
	return Check(r.Context(), v, token, d)
}

// Bearer reads the one token of the Authorization fields of a request (RFC 6750
// section 2.1), or answers ErrMissing or ErrRequest. The scheme is Bearer or
// JWT, in any case. Two fields, a list, or more than one space are never a guess.
func Bearer(fields []string) (string, error) {
	switch len(fields) {
	case 0:
		return "", ErrMissing
	case 1:
	default:
		return "", ErrRequest
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "JWT"):
		return "", ErrMissing
	case token == "" || strings.ContainsAny(token, " ,\t"):
		return "", ErrRequest
	}
	return token, nil
}

// hasQueryToken looks for access_token, escaped or not and in any case; a pair
// that net/url passes over counts too, as the next reader may not.
func hasQueryToken(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if strings.EqualFold(name, "access_token") {
			return true
		}
	}
	return false
}

func refuse(w http.ResponseWriter, err error) {
	const realm = `Bearer realm="mintmark"`
	status, challenge := http.StatusServiceUnavailable, ""
	switch {
	case errors.Is(err, ErrMissing):
		status, challenge = http.StatusUnauthorized, realm
	case errors.Is(err, ErrRequest):
		status, challenge = http.StatusBadRequest, realm+`, error="invalid_request", error_description="the credential is malformed"`
	case errors.Is(err, ErrInvalid):
		status, challenge = http.StatusUnauthorized, realm+`, error="invalid_token", error_description="invalid token"`
	case errors.Is(err, ErrForbidden):
		status, challenge = http.StatusForbidden, realm+`, error="insufficient_scope", error_description="the token does not allow this"`
	default:
		w.Header().Set("Retry-After", "5")
	}
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}
