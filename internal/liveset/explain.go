package liveset

import (
	"cmp"
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

// explanation collects findings in the order of Decide, so the first that is not
// OK is the cause of the verdict.
//
// Of a refusal that was given, the cause is known: what comes before it was passed
// then, whatever it would be now.
type explanation struct {
	*Set
	demand   *Demand
	now      time.Time // when it is asked, or was
	findings []Finding
	cause    string // the check by which it was refused; "" behind it, and when it is asked about now
	masked   bool   // the client's address is not shown whole
	was      Reason // that of the cause
	isLogin  bool
	state    authority.TokenState // of the token's record, as far as it is known which
}

func (e *explanation) add(check string, reason Reason, compared string) bool {
	switch {
	case e.cause == "":
	case check == e.cause:
		if reason != e.was {
			compared = fmt.Sprintf("%s then; now: %s", e.was, compared)
		}
		reason, e.cause = e.was, ""
	case reason != Allowed:
		reason, compared = Allowed, "good then; now: "+compared
	}
	e.findings = append(e.findings, Finding{check, reason == Allowed, compared, e.advice(reason)})
	return reason == Allowed
}

// whether is reason unless ok.
func whether(ok bool, reason Reason) Reason {
	if ok {
		return Allowed
	}
	return reason
}

// because is Allowed without an error.
func because(err error) Reason {
	if err == nil {
		return Allowed
	}
	return reasonOf(err)
}

// Explain runs every check of Decide on a token and says what each compared; it
// goes on after a check that fails while the rest can still be checked. It
// counts nothing and marks no use. The last finding is the verdict.
func (s *Set) Explain(raw string, d Demand) []Finding {
	now := s.config.Now().UTC()
	var verdict Verdict
	s.decide(&question{raw: raw, hint: hintOf(raw), now: now, unix: now.Unix()}, &d, &verdict)
	e := explanation{Set: s, demand: &d, now: now}
	said, unverified := hear(raw)
	e.credential(&said, func(v *jws.Verifier) (Reason, string) {
		if _, err := unverified.Verify(v); err != nil {
			return reasonOf(err), err.Error()
		}
		return Allowed, fmt.Sprintf("%s under %s", said.Header.Alg, said.Header.Kid)
	})
	e.add("verdict", verdict.Reason, verdict.Reason.String())
	return e.findings
}

// ExplainRefusal says what the checks of a refusal compared, as far as the present
// state still tells. The first finding that is not OK is why it was refused, also
// if it would not be now. The signature is gone and is not checked again.
func (s *Set) ExplainRefusal(r Refusal) []Finding {
	e := explanation{Set: s, demand: &r.Demand, now: r.At.UTC(), cause: causeOf(&r), was: r.Reason, masked: s.masked()}
	e.credential(&r.Said, func(*jws.Verifier) (Reason, string) {
		h := r.Said.Header
		switch {
		case e.cause != "signature":
			return Allowed, fmt.Sprintf("%s under %s", h.Alg, h.Kid)
		case r.Reason == BadSignature:
			return r.Reason, fmt.Sprintf("the signature does not match kid %s", h.Kid)
		}
		return r.Reason, fmt.Sprintf("the header says %s, the key is for another algorithm", h.Alg)
	})
	if e.cause != "" {
		e.add(e.cause, r.Reason, "it was refused for this; what it was held against has changed since")
	}
	e.add("verdict", r.Reason, r.Reason.String())
	return e.findings
}

// causeOf is the check that refuses for a reason.
func causeOf(r *Refusal) string {
	switch r.Reason {
	case NoCredential:
		return "credential"
	case DemandInvalid:
		return "demand"
	case TooMany:
		return "limit"
	case StateUnknown:
		return "state"
	case Malformed, TooLarge:
		return "form"
	case AlgorithmRefused, BadSignature:
		if r.Said.form == nil {
			return "signature"
		}
		return "form"
	case WrongType:
		if r.Said.form == nil {
			return "type"
		}
		return "form"
	case UnknownKey, RetiredKey:
		return "key"
	case BadClaims:
		return "claims"
	case UnknownToken, Deleted, Revoked, Replaced, Expired, SignedOut, Idle:
		return "live set"
	case Mismatch:
		return "record"
	case WrongIssuer:
		return "issuer"
	case WrongAudience:
		return "audience"
	case NotYetValid:
		return "time"
	case AddressNotAllowed:
		return "address"
	case RoleInsufficient:
		return "role"
	case ClientIDNotAllowed:
		return "client"
	case TagMissing:
		return "tags"
	case TrialStopped:
		return "trial"
	case Undecided, Allowed:
	}
	return "verdict"
}

const unknownState = "this node does not know the state of its tokens"

// credential makes the checks that come before any record is read; verify is that
// of the signature.
func (e *explanation) credential(said *Said, verify func(*jws.Verifier) (Reason, string)) {
	if e.cause == "limit" {
		e.add("limit", TooMany, fmt.Sprintf("the limit of the token, or that of the address %s, is reached", e.from()))
	}
	switch {
	case said.Size == 0:
		e.add("credential", NoCredential, cmp.Or(e.demand.Fault, "nothing was sent"))
		return
	case e.demand.Fault != "":
		e.add("demand", DemandInvalid, e.demand.Fault)
		return
	case e.cause == "" && e.fresh.over(e.now):
		e.add("state", StateUnknown, unknownState)
		return
	case said.form != nil:
		e.add("form", reasonOf(said.form), fmt.Sprintf("%s (it has %d bytes)", said.form, said.Size))
		return
	}
	h := said.Header
	e.add("form", Allowed, fmt.Sprintf("compact JWS of %d bytes", said.Size))
	_, reason := kindOf(h, e.demand.Purpose)
	e.add("type", reason, fmt.Sprintf("typ %q, wanted %s", h.Typ, e.demand.Purpose.types()))
	isLogin, reason := kindOf(h, ForOwnCalls)
	if reason != Allowed {
		return
	}
	m := e.current.Load()
	if e.cause == "state" || m == nil {
		e.add("state", StateUnknown, unknownState)
		return
	}
	kid := authority.KeyID(h.Kid)
	key := m.keys[kid]
	e.isLogin, e.state = isLogin, e.stateOf(m, said)
	if !e.add("key", key.standing(e.now), "kid "+h.Kid+m.keyState(kid)) {
		return
	}
	if said.claims != nil {
		e.add("claims", reasonOf(said.claims), said.claims.Error())
		return
	}
	_, here := m.records.find(m.records.name(said.Claims.ID))
	if !here && !isLogin && !e.add("live set", UnknownToken, fmt.Sprintf("jti %q has no record here", said.Claims.ID)) {
		return
	}
	var verifier *jws.Verifier
	if key != nil {
		verifier = key.verifier
	}
	if reason, compared := verify(verifier); !e.add("signature", reason, compared) {
		return
	}
	switch {
	case isLogin:
		e.login(m, said)
		return
	case !here:
		c := &said.Claims
		e.demanded(&Identity{ClientID: c.ClientID, Role: roleOf(c.Role), Tags: c.Tags}, nil)
		return
	}
	e.token(m, said)
	if key != nil && key.onTrial(e.now) {
		e.add("trial", TrialStopped, fmt.Sprintf("kid %s is not accepted until %s", key.id, key.trial.UTC().Format(time.RFC3339)))
	}
}

// stateOf is the state of the token's record, "" without one that can be read.
func (e *explanation) stateOf(m *moment, said *Said) authority.TokenState {
	t, err := e.config.Record(authority.TokenID(said.Claims.ID))
	if err != nil {
		return ""
	}
	return t.State(e.now, m.generation)
}

func (e *explanation) token(m *moment, said *Said) {
	c := &said.Claims
	t, err := e.config.Record(authority.TokenID(c.ID))
	if err != nil {
		e.add("live set", StateUnknown, "there is no record that can be read now")
		return
	}
	state := t.State(e.now, m.generation)
	compared := fmt.Sprintf("%s of %s is %s", t.ID.Short(), t.ClientID, state)
	if state == authority.StateReplaced {
		compared += fmt.Sprintf(" since %s, by %s", t.EndsAt.UTC().Format(time.RFC3339), t.ReplacedBy.Short())
	}
	e.add("live set", reasonFor(state), compared)
	if e.claimed() {
		e.claims(m, said, &t)
	}
	e.demanded(&Identity{ClientID: t.ClientID, Role: t.Role, Tags: t.Tags}, t.AllowedAddresses)
}

// reasonFor is why a token in a state is refused, whatever its key is.
func reasonFor(state authority.TokenState) Reason {
	return map[authority.TokenState]Reason{
		authority.StateActive: Allowed, authority.StateDeleted: Deleted, authority.StateRevoked: Revoked, authority.StateExpired: Expired,
		authority.StateReplaced: Replaced,
	}[state]
}

// claimed reports whether it is known what the token claims: of a refusal that
// anybody can bring about, that is not kept.
func (e *explanation) claimed() bool { return e.was == Undecided || e.was.Signed() }

// claims are the checks of what a token claims.
func (e *explanation) claims(m *moment, said *Said, t *authority.Token) {
	c, record := &said.Claims, claimsOf(t)
	compared := fmt.Sprintf("sub %q, client_id %q, role %q, tags %q, aud %q, iat %s, exp %s", c.Subject, c.ClientID, c.Role, c.Tags, c.Audience, c.IssuedAt, c.Expires)
	if said.cut || m.records.check(&record) == m.records.check(c) {
		e.add("record", Allowed, compared+", as in the record")
	} else {
		e.add("record", Mismatch, fmt.Sprintf("%s; record %q, role %q, tags %q, aud %q, iat %s, exp %s", compared, t.ClientID, t.Role, t.Tags, t.Audience, record.IssuedAt, record.Expires))
	}
	e.times(c, jws.Expect{Issuer: t.Issuer, Audience: e.audience(t.Audience, e.demand), Now: e.now})
}

func (e *explanation) login(m *moment, said *Said) {
	c := &said.Claims
	l, idle := m.logins[authority.LoginID(c.ID)], e.config.LoginIdle()
	reason := l.standing(e.now, m.generation, idle)
	if l == nil {
		e.add("live set", reason, fmt.Sprintf("jti %q is no login here", c.ID))
		return
	}
	e.add("live set", reason, fmt.Sprintf("the login of %s ends %s, last used %s, idle at most %s",
		l.Admin, l.ExpiresAt.UTC().Format(time.RFC3339), time.Unix(0, l.used.Load()).UTC().Format(time.RFC3339), idle))
	if e.claimed() {
		e.add("record", whether(said.cut || l.matches(c), Mismatch), fmt.Sprintf("sub %q, client_id %q, role %q, tags %q, iat %s, exp %s; record %q, iat %s, exp %s",
			c.Subject, c.ClientID, c.Role, c.Tags, c.IssuedAt, c.Expires, l.Admin, jws.At(l.CreatedAt), jws.At(l.ExpiresAt)))
		issuer := e.config.LoginIssuer()
		e.times(c, jws.Expect{Issuer: issuer, Audience: []string{issuer}, Now: e.now})
	}
	e.demanded(&Identity{ClientID: l.Admin, Role: authority.RoleAdmin}, nil)
}

// times are the checks of what a token is for and of its time.
func (e *explanation) times(c *jws.Claims, want jws.Expect) {
	e.add("issuer", because(c.CheckIssuer(want.Issuer)), fmt.Sprintf("iss %q, wanted %q", c.Issuer, want.Issuer))
	e.add("audience", because(c.CheckAudience(want.Audience)), fmt.Sprintf("aud %q, wanted one of %q", c.Audience, want.Audience))
	e.add("time", because(c.CheckTimes(want.Now, Leeway)), fmt.Sprintf("iat %s, nbf %s, exp %s, now %s", c.IssuedAt, c.NotBefore, c.Expires, want.Now.Format(time.RFC3339)))
}

// demanded are the checks of what the door asks beyond a valid token.
func (e *explanation) demanded(i *Identity, allowed []netip.Prefix) {
	d := e.demand
	if len(allowed) > 0 {
		e.add("address", whether(comesFrom(allowed, d.From), AddressNotAllowed), fmt.Sprintf("%s, allowed %s", e.from(), allowed))
	}
	role := d.Role
	if role == "" {
		role = "any that the service takes"
	}
	e.add("role", whether(hasRole(i, d), RoleInsufficient), fmt.Sprintf("%s, wanted %s", i.Role, role))
	e.add("client", whether(hasClientID(i, d), ClientIDNotAllowed), fmt.Sprintf("%s, wanted %s", i.ClientID, cmp.Or(d.ClientID, "any")))
	e.add("tags", whether(hasTags(i, d), TagMissing), fmt.Sprintf("%q, wanted %q", i.Tags, d.Tags))
}

// from is the client's address as it is shown.
func (e *explanation) from() string {
	if !e.demand.From.IsValid() {
		return "an address that is not known at this door"
	}
	return authority.AddressText(e.demand.From, e.masked)
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

// advice is what to do. The end of a key ends its logins, and no record of a token:
// whoever copies that has it under the current key, unless it has ended, too.
func (e *explanation) advice(r Reason) string {
	switch {
	case r == RetiredKey && e.isLogin:
		return advice(SignedOut)
	case r == RetiredKey && e.state == authority.StateActive:
		return "Its key was retired, and the token goes on. Copy it to have it under the current key."
	case r == RetiredKey && e.state != "":
		return advice(reasonFor(e.state))
	}
	return advice(r)
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
	case RetiredKey:
		return "Its key was retired. Copy the token to have it under the current key; create a new one if the signing secret was reset."
	case Revoked:
		return "The signing secret was reset. Create a new token."
	case WrongType:
		return "API tokens and tokens of sign-ins are not interchangeable. Use the kind that this service takes."
	case Expired:
		return "Create or replace the token; its end has passed."
	case NotYetValid:
		return "Check the clocks: the token says that it was issued in the future."
	case WrongIssuer:
		return "The token names another issuer. Compare jwt.issuer."
	case WrongAudience:
		return "The token is for another audience. Issue one for this API, or ask the service for that audience."
	case UnknownToken:
		return "There is no such token here. If tokens were kept in memory, a restart ended it."
	case Deleted:
		return "The token was deleted. Restore it while that is possible, or create a new one."
	case Replaced:
		return "The token has a successor, and the time to change over is over. Copy the successor."
	case DemandInvalid:
		return "The service is configured to ask for what no token can have. Correct its query, or its context_extensions."
	case TrialStopped:
		return "The previous key is on a trial stop and will be accepted again. Copy the token to have it under the current key."
	case Mismatch:
		return "The token differs from its record. Copy it again."
	case SignedOut, Idle:
		return "The sign-in has ended. Sign in again."
	case AddressNotAllowed:
		return "The request came from an address that the token does not allow. Allow it, or look who uses the token; behind a proxy, name that in server.trusted_proxies."
	case RoleInsufficient:
		return "The service asks for another role. Issue a token with that role, or have the service ask for less."
	case TagMissing:
		return "The service asks for a tag that the token does not have. Issue a token with that tag, or have the service ask for less."
	case ClientIDNotAllowed:
		return "The service asks for another client ID. Use that client's token, or have the service ask for this one."
	case TooMany:
		return "Ask less often, or raise the limit: limits.token and limits.source."
	case StateUnknown:
		return "The server did not know the state of its tokens. Look at its status, and try again."
	}
	return ""
}
