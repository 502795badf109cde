package gateway

import (
	"errors"
	"log/slog"
	"net/http"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
)

// Revoke is token revocation (RFC 7009). Whoever holds a valid token of any role
// may end that token and every other of its client ID; an administrator any. They
// authenticate as at [Introspect].
//
// On 200 a token that the asker may end has ended, durably and on this node before
// the answer; about any other, and about what is none, nothing was done and
// nothing is told. When it is not known whether the change lasts the answer is
// 503, and the token must be taken for good (section 2.2.1).
type Revoke struct {
	Live edge.Decider
	// Audience is the server's own audience.
	Audience func() []string
	Rules    *authority.Authority
	Log      *slog.Logger
}

func (v Revoke) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, token, reason := door{v.Live, v.Audience, ""}.admit(w, r, edge.Of(r))
	if reason != liveset.Allowed {
		return
	}
	// What a token is allowed does not matter, only that it is one; and to end it is
	// not to use it.
	verdict := v.Live.Decide(token, liveset.Demand{AnyAudience: true, Look: true, Via: edge.Of(r).Addr, RequestID: edge.Of(r).RequestID})
	if f := undecided(verdict); f.status != 0 {
		f.write(w)
		return
	}
	if err := v.end(r, who, authority.TokenID(verdict.Identity.ID)); err != nil {
		v.Log.Error("revocation failed", "request_id", edge.Of(r).RequestID, "err", err, "cause", errors.Unwrap(err))
		fault{
			status: http.StatusServiceUnavailable, code: unavailable,
			text: "It is not known whether the token was revoked: take it for good, and try again.",
		}.write(w)
		return
	}
	common(w)
	w.WriteHeader(http.StatusOK)
}

// end ends a token of the asker's; "" is none. A foreign one is as good as
// unknown, and nobody is told.
func (v Revoke) end(r *http.Request, who asker, id authority.TokenID) (err error) {
	switch {
	case id == "":
		return nil
	case who.whole:
		_, err = v.Rules.RevokeToken(r.Context(), who.caller, id, false)
	default:
		err = v.Rules.RevokeOwn(r.Context(), who.caller, id)
	}
	if authority.KindOf(err) == authority.NotFound {
		return nil
	}
	return err
}
