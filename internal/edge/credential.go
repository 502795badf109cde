package edge

import (
	"net/http"
	"net/url"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// Credential is what a request offers as a token.
type Credential struct {
	Text    string
	Present bool
	Fault   string // why the request is malformed (400 invalid_request), else ""
}

// BearerOf reads the Authorization field of r; see BearerIn.
func BearerOf(r *http.Request) Credential {
	return BearerIn(r.URL.RawQuery, r.Header["Authorization"])
}

// BearerIn reads the Authorization field (RFC 6750 section 2.1): exactly one,
// scheme Bearer or JWT in any case, one space, one token. Several fields, lists
// and tokens in the query are faults, never guesses (RFC 9110 section 5.3).
func BearerIn(query string, fields []string) Credential {
	if hasQueryToken(query) {
		return Credential{Present: true, Fault: "A token does not belong in the URL."}
	}
	switch len(fields) {
	case 0:
		return Credential{}
	case 1:
	default:
		return Credential{Present: true, Fault: "There is more than one Authorization field."}
	}
	scheme, text, ok := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "JWT") {
		return Credential{} // another scheme is not ours to judge
	}
	if !ok || text == "" || strings.IndexByte(text, ' ') >= 0 || strings.IndexByte(text, ',') >= 0 || strings.IndexByte(text, '\t') >= 0 {
		return Credential{Present: true, Fault: "The Authorization field is: Bearer, one space, one token."}
	}
	return Credential{Text: text, Present: true}
}

// hasQueryToken looks for access_token, escaped or not; no value is decoded.
func hasQueryToken(query string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
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

// Decider answers verdicts; the live set is one.
type Decider interface {
	Decide(token string, d liveset.Demand) liveset.Verdict
}

// noted keeps the verdict on our own caller for whoever traces r.
func noted(r *http.Request, reason liveset.Reason) {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		x.verdict = reason
	}
}

// CallerOf is who sends r: the operator on the socket, or whom the credential
// speaks for. A request without a credential is Nobody with ClassMissing.
func CallerOf(r *http.Request, live Decider, d liveset.Demand) (authority.Caller, liveset.Verdict, Credential) {
	in := Of(r)
	if in.Operator != "" {
		return authority.LocalOperator(in.Operator, in.Origin()), liveset.Verdict{Reason: liveset.Allowed}, Credential{}
	}
	cred := BearerOf(r) // one with a fault has no text
	d.From, d.Via, d.RequestID, d.Fault = in.Addr, in.Via, in.RequestID, cred.Fault
	v := live.Decide(cred.Text, d)
	noted(r, v.Reason)
	return v.Identity.Caller(in.Origin()), v, cred
}

// Challenge is the WWW-Authenticate value for a refusal (RFC 6750 section 3):
// no error when no credential was sent, and never a word of what was sent. scope
// is the role that is missing, when that is why a good token is refused; "" names
// none.
func Challenge(class liveset.Class, cred Credential, scope authority.Role) (status int, value string) {
	const realm = `Bearer realm="mintmark"`
	switch {
	case cred.Fault != "":
		return http.StatusBadRequest, realm + `, error="invalid_request", error_description="` + cred.Fault + `"`
	case class == liveset.ClassMissing:
		return http.StatusUnauthorized, realm
	case class == liveset.ClassForbidden:
		value = realm + `, error="insufficient_scope", error_description="the token does not allow this"`
		if scope != "" {
			value += `, scope="` + string(scope) + `"`
		}
		return http.StatusForbidden, value
	case class == liveset.ClassLimited:
		return http.StatusTooManyRequests, ""
	case class == liveset.ClassUnknown:
		return http.StatusServiceUnavailable, ""
	}
	return http.StatusUnauthorized, realm + `, error="invalid_token", error_description="invalid token"`
}
