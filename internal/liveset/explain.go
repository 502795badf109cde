package liveset

import (
	"fmt"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// Finding is one check of a token with the values it compared. Findings are for
// administrators only; a door never tells them.
type Finding struct {
	Check    string // "form", "key", "signature", …
	OK       bool
	Compared string // the value found and the value wanted
	Advice   string // what to do; "" when OK
}

// Explain runs every check of Decide on a token and says what each compared. It
// counts nothing and marks no use. The last finding is the verdict.
func (s *Set) Explain(raw string, d Demand) []Finding {
	v := s.decideQuietly(raw, d)
	var found []Finding
	add := func(check string, ok bool, compared, advice string) bool {
		if ok {
			advice = ""
		}
		found = append(found, Finding{check, ok, compared, advice})
		return ok
	}
	verdict := func() []Finding {
		add("verdict", v.Allow(), string(v.Reason), advice(v.Reason))
		return found
	}
	unverified, err := jws.ParseToken(raw)
	if err != nil {
		add("form", false, err.Error(), "Send the whole token as it was copied: three parts joined by dots.")
		return verdict()
	}
	h := unverified.Header()
	add("form", true, fmt.Sprintf("compact JWS of %d bytes", len(raw)), "")
	add("type", v.Reason != WrongType, "typ "+h.Typ, advice(WrongType))
	verifier, reason := s.key(authority.KeyID(h.Kid))
	if !add("key", reason == Allowed, "kid "+h.Kid+s.keyState(h.Kid), advice(reason)) {
		return verdict()
	}
	verified, err := unverified.Verify(verifier)
	if !add("signature", err == nil, fmt.Sprintf("%s under %s", h.Alg, h.Kid), advice(BadSignature)) {
		return verdict()
	}
	claims, err := jws.ParseClaims(verified.Payload())
	if err != nil {
		add("claims", false, err.Error(), advice(BadClaims))
		return verdict()
	}
	s.explainClaims(claims, v.Reason, d, add)
	return verdict()
}

func (s *Set) explainClaims(c jws.Claims, reason Reason, d Demand, add func(string, bool, string, string) bool) {
	now := s.config.Now().UTC()
	add("time", reason != Expired && reason != NotYetValid, fmt.Sprintf("iat %v, exp %v, now %s", c.IssuedAt, c.Expires, now.Format(time.RFC3339)), advice(Expired))
	s.mu.RLock()
	t, generation := s.tokens[authority.TokenID(c.ID)], s.generation
	s.mu.RUnlock()
	if t == nil {
		add("live set", reason == Allowed, c.ID+" has no record here", advice(reason))
		return
	}
	add("live set", t.State(now, generation) == authority.StateActive, fmt.Sprintf("%s of %s is %s", t.ID.Short(), t.ClientID, t.State(now, generation)), advice(reason))
	add("record", reason != Mismatch, "claims against the record", advice(Mismatch))
	add("issuer", reason != WrongIssuer, fmt.Sprintf("iss %q, record %q", c.Issuer, t.Issuer), advice(WrongIssuer))
	add("audience", reason != WrongAudience, fmt.Sprintf("aud %q, wanted one of %q", c.Audience, s.audience(t.Audience, d)), advice(WrongAudience))
	add("role", reason != RoleInsufficient, fmt.Sprintf("%s, wanted %s", t.Role, orAny(string(d.Role))), advice(RoleInsufficient))
	add("tags", reason != TagMissing, fmt.Sprintf("%q, wanted %q", t.Tags, d.Tags), advice(TagMissing))
	add("client", reason != ClientIDNotAllowed, fmt.Sprintf("%s, wanted %s", t.ClientID, orAny(d.ClientID)), advice(ClientIDNotAllowed))
	if len(t.AllowedAddresses) > 0 {
		add("address", reason != AddressNotAllowed, fmt.Sprintf("%s, allowed %s", d.From, t.AllowedAddresses), advice(AddressNotAllowed))
	}
}

// decideQuietly decides without counting: explaining is no use of a token.
func (s *Set) decideQuietly(raw string, d Demand) Verdict {
	v, _ := s.decide(raw, d)
	return v
}

func (s *Set) keyState(kid string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if k, ok := s.keys[authority.KeyID(kid)]; ok {
		return " is " + string(k.state)
	}
	return " is no key of this server"
}

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}

func advice(r Reason) string {
	switch r {
	case Allowed:
		return ""
	case NoCredential:
		return "Send the token in the header: Authorization: Bearer <token>."
	case Malformed, TooLarge, BadClaims:
		return "Copy the token again; it was cut or changed on its way."
	case AlgorithmRefused, BadSignature:
		return "The token was not signed by this server with this key. Copy it again, or look for a forgery."
	case UnknownKey:
		return "Another server signed this token, or its key was dropped. Compare the issuer."
	case RetiredKey, Revoked:
		return "The signing secret was reset or its key retired. Create a new token."
	case WrongType:
		return "API tokens and login tokens are not interchangeable. Use the kind that this door takes."
	case Expired:
		return "Create or replace the token; its end has passed."
	case NotYetValid:
		return "Check the clocks: the token says that it was issued in the future."
	case WrongIssuer:
		return "The token names another issuer. Compare jwt.issuer."
	case WrongAudience:
		return "The token is for another audience. Issue one for this API, or ask the door for that audience."
	case UnknownToken:
		return "There is no such token here. If tokens were kept in memory, a restart ended it."
	case Deleted:
		return "The token was deleted. Restore it while that is possible, or create a new one."
	case Mismatch:
		return "The token differs from its record. Copy it again."
	case SignedOut, Idle:
		return "The login has ended. Sign in again."
	case AddressNotAllowed:
		return "The request came from an address that the token does not allow."
	case RoleInsufficient:
		return "The door asks for another role."
	case TagMissing:
		return "The door asks for a tag that the token does not have."
	case ClientIDNotAllowed:
		return "The door asks for another client ID."
	case StateUnknown:
		return "The server does not know the state of its tokens. Look at its status."
	}
	return ""
}
