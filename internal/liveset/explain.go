package liveset

import (
	"fmt"
	"net/netip"
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

// findings are collected in the order of Decide, so the first that is not OK is
// the cause of the verdict.
type findings []Finding

func (f *findings) add(check string, reason Reason, compared string) bool {
	*f = append(*f, Finding{check, reason == Allowed, compared, advice(reason)})
	return reason == Allowed
}

// whether is reason unless ok.
func whether(ok bool, reason Reason) Reason {
	if ok {
		return Allowed
	}
	return reason
}

// Explain runs every check of Decide on a token and says what each compared; it
// goes on after a check that fails while the rest can still be checked. It
// counts nothing and marks no use. The last finding is the verdict.
func (s *Set) Explain(raw string, d Demand) []Finding {
	now := s.config.Now().UTC()
	var verdict Verdict
	s.decide(&question{raw: raw, hint: hintOf(raw), now: now, unix: now.Unix()}, &d, &verdict)
	var f findings
	s.explain(&f, raw, d, now)
	f.add("verdict", verdict.Reason, verdict.Reason.String())
	return f
}

func (s *Set) explain(f *findings, raw string, d Demand, now time.Time) {
	if raw == "" {
		f.add("form", NoCredential, "nothing was sent")
		return
	}
	if s.fresh.over(now) {
		f.add("state", StateUnknown, "the state is older than this server may answer from: its store is out of reach")
		return
	}
	unverified, err := jws.ParseToken(raw)
	if err != nil {
		f.add("form", reasonOf(err), err.Error())
		return
	}
	h := unverified.Header()
	f.add("form", Allowed, fmt.Sprintf("compact JWS of %d bytes", len(raw)))
	_, reason := kindOf(h, d.Purpose)
	f.add("type", reason, fmt.Sprintf("typ %q, wanted %s", h.Typ, d.Purpose.types()))
	isLogin, reason := kindOf(h, ForOwnCalls)
	if reason != Allowed {
		return
	}
	m := s.current.Load()
	if m == nil {
		f.add("key", StateUnknown, "kid "+h.Kid+" cannot be looked up: the state is not loaded")
		return
	}
	kid := authority.KeyID(h.Kid)
	key := m.keys[kid]
	if reason := key.standing(now); !f.add("key", reason, "kid "+h.Kid+m.keyState(kid)) {
		return
	}
	claims, err := unverified.UnverifiedClaims()
	if err != nil {
		f.add("claims", reasonOf(err), err.Error())
		return
	}
	if _, here := m.records.find(m.records.name(claims.ID)); !here && !isLogin {
		f.add("live set", UnknownToken, fmt.Sprintf("jti %q has no record here", claims.ID))
		return
	}
	if _, err := unverified.Verify(key.verifier); err != nil {
		f.add("signature", reasonOf(err), err.Error())
		return
	}
	f.add("signature", Allowed, fmt.Sprintf("%s under %s", h.Alg, h.Kid))
	if isLogin {
		s.explainLogin(f, m, &claims, d, now)
		return
	}
	s.explainToken(f, m, &claims, d, now)
	if key.onTrial(now) {
		f.add("trial", TrialStopped, fmt.Sprintf("kid %s is not accepted until %s", key.id, key.trial.UTC().Format(time.RFC3339)))
	}
}

func (s *Set) explainToken(f *findings, m *moment, c *jws.Claims, d Demand, now time.Time) {
	t, err := s.config.Record(authority.TokenID(c.ID))
	if err != nil {
		f.add("live set", StateUnknown, "the record cannot be read now")
		return
	}
	state := t.State(now, m.generation)
	reason := map[authority.TokenState]Reason{
		authority.StateActive: Allowed, authority.StateDeleted: Deleted, authority.StateRevoked: Revoked, authority.StateExpired: Expired,
		authority.StateReplaced: Replaced,
	}[state]
	compared := fmt.Sprintf("%s of %s is %s", t.ID.Short(), t.ClientID, state)
	if state == authority.StateReplaced {
		compared += fmt.Sprintf(" since %s, by %s", t.EndsAt.UTC().Format(time.RFC3339), t.ReplacedBy.Short())
	}
	f.add("live set", reason, compared)
	said := claimsOf(&t)
	f.add("record", whether(m.records.check(&said) == m.records.check(c), Mismatch), fmt.Sprintf("sub %q, client_id %q, role %q, tags %q, aud %q, iat %s, exp %s; record %q, role %q, tags %q, aud %q, iat %s, exp %s",
		c.Subject, c.ClientID, c.Role, c.Tags, c.Audience, c.IssuedAt, c.Expires, t.ClientID, t.Role, t.Tags, t.Audience, said.IssuedAt, said.Expires))
	explainClaims(f, c, jws.Expect{Issuer: t.Issuer, Audience: s.audience(t.Audience, &d), Now: now})
	explainDemand(f, &Identity{ClientID: t.ClientID, Role: t.Role, Tags: t.Tags}, t.AllowedAddresses, &d)
}

func (s *Set) explainLogin(f *findings, m *moment, c *jws.Claims, d Demand, now time.Time) {
	l, idle := m.logins[authority.LoginID(c.ID)], s.config.LoginIdle()
	reason := l.standing(now, m.generation, idle)
	if l == nil {
		f.add("live set", reason, fmt.Sprintf("jti %q is no login here", c.ID))
		return
	}
	f.add("live set", reason, fmt.Sprintf("the login of %s ends %s, last used %s, idle at most %s",
		l.Admin, l.ExpiresAt.UTC().Format(time.RFC3339), time.Unix(0, l.used.Load()).UTC().Format(time.RFC3339), idle))
	f.add("record", whether(l.matches(c), Mismatch), fmt.Sprintf("sub %q, client_id %q, role %q, tags %q, iat %s, exp %s; record %q, iat %s, exp %s",
		c.Subject, c.ClientID, c.Role, c.Tags, c.IssuedAt, c.Expires, l.Admin, jws.At(l.CreatedAt), jws.At(l.ExpiresAt)))
	issuer := s.config.LoginIssuer()
	explainClaims(f, c, jws.Expect{Issuer: issuer, Audience: []string{issuer}, Now: now})
	explainDemand(f, &Identity{ClientID: l.Admin, Role: authority.RoleAdmin}, nil, &d)
}

func explainClaims(f *findings, c *jws.Claims, e jws.Expect) {
	check := func(name string, err error, compared string) {
		reason := Allowed
		if err != nil {
			reason = reasonOf(err)
		}
		f.add(name, reason, compared)
	}
	check("issuer", c.CheckIssuer(e.Issuer), fmt.Sprintf("iss %q, wanted %q", c.Issuer, e.Issuer))
	check("audience", c.CheckAudience(e.Audience), fmt.Sprintf("aud %q, wanted one of %q", c.Audience, e.Audience))
	check("time", c.CheckTimes(e.Now, Leeway), fmt.Sprintf("iat %s, nbf %s, exp %s, now %s", c.IssuedAt, c.NotBefore, c.Expires, e.Now.Format(time.RFC3339)))
}

func explainDemand(f *findings, i *Identity, allowed []netip.Prefix, d *Demand) {
	if len(allowed) > 0 {
		f.add("address", whether(comesFrom(allowed, d.From), AddressNotAllowed), fmt.Sprintf("%s, allowed %s", d.From, allowed))
	}
	role := d.Role
	if role == "" {
		role = "any that the door takes"
	}
	f.add("role", whether(hasRole(i, d), RoleInsufficient), fmt.Sprintf("%s, wanted %s", i.Role, role))
	clientID := d.ClientID
	if clientID == "" {
		clientID = "any"
	}
	f.add("client", whether(hasClientID(i, d), ClientIDNotAllowed), fmt.Sprintf("%s, wanted %s", i.ClientID, clientID))
	f.add("tags", whether(hasTags(i, d), TagMissing), fmt.Sprintf("%q, wanted %q", i.Tags, d.Tags))
}

func (m *moment) keyState(kid authority.KeyID) string {
	k, ok := m.keys[kid]
	switch {
	case !ok:
		return " is no key of this server"
	case !k.until.IsZero():
		return fmt.Sprintf(" is %s until %s", k.state, k.until.UTC().Format(time.RFC3339))
	case k.verifier == nil && k.state != authority.KeyRetired:
		return " is " + string(k.state) + ", and its secret is not in the keyring"
	}
	return " is " + string(k.state)
}

// types says which typ a purpose takes.
func (p Purpose) types() string {
	switch p {
	case ForToken:
		return authority.TypeToken
	case ForLogin:
		return authority.TypeLogin
	case ForOwnCalls:
	}
	return authority.TypeToken + " or " + authority.TypeLogin
}

func advice(r Reason) string {
	switch r {
	case Allowed:
		return ""
	case NoCredential:
		return "Send the token in the header: Authorization: Bearer <token>."
	case Malformed, TooLarge, BadClaims:
		return "Copy the token again, all three parts of it; it was cut or changed on its way."
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
	case Replaced:
		return "The token has a successor, and the time to change over is over. Copy the successor."
	case TrialStopped:
		return "The previous key is on a trial stop and will be accepted again. Copy the token to have it under the current key."
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
	case TooMany:
		return "Ask less often, or raise the limit: limits.token and limits.source."
	case StateUnknown:
		return "The server does not know the state of its tokens. Look at its status."
	}
	return ""
}
