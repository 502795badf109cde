package liveset

import (
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// Decide is the one decision. The order is: size, form, type, key, an id that is
// here, signature, record, claims, demand. Nothing a token says is used before
// its signature is good, but that an id which is not here is refused at once.
func (s *Set) Decide(raw string, d Demand) Verdict {
	now := s.config.Now()
	v, use := s.decide(raw, &d, now)
	switch {
	case !v.Allow():
	case use.login != nil:
		use.login.used.Store(now.UnixNano())
	default:
		s.mark(use.record, now, d.From, v.Identity.KeyID)
	}
	s.counts[v.Reason].Add(1)
	return v
}

// used is what an allowed token or login was: for its use to be noted.
type used struct {
	record *record
	login  *login
}

func (s *Set) decide(raw string, d *Demand, now time.Time) (Verdict, used) {
	switch {
	case raw == "":
		return Verdict{Reason: NoCredential}, used{}
	case len(raw) > jws.MaxSize:
		return Verdict{Reason: TooLarge}, used{}
	}
	m := s.current.Load()
	digest := digestOf(raw)
	if v := s.cache.get(&digest); m != nil && d.Purpose != ForLogin && v.asVerified(m) {
		if _, reason := m.key(v.identity.KeyID, now); reason != Allowed {
			return Verdict{Reason: reason}, used{}
		}
		return s.answer(m, v, d, now)
	}
	return s.examine(m, raw, &digest, d, now)
}

// asVerified reports whether the record is still as it was when the token was
// verified.
func (v *verified) asVerified(m *moment) bool {
	return v != nil && v.records == m.records && life(m.records.at(v.slot).life.Load()) == v.life
}

// examine makes every check of a token that is not recognised.
func (s *Set) examine(m *moment, raw string, digest *[sha256.Size]byte, d *Demand, now time.Time) (Verdict, used) {
	refuse := func(r Reason) (Verdict, used) { return Verdict{Reason: r}, used{} }
	u, err := jws.ParseToken(raw)
	if err != nil {
		return refuse(reasonOf(err))
	}
	isLogin, reason := kindOf(u.Header(), d.Purpose)
	if reason != Allowed {
		return refuse(reason)
	}
	if m == nil {
		return refuse(StateUnknown)
	}
	kid := authority.KeyID(u.Header().Kid)
	verifier, reason := m.key(kid, now)
	if reason != Allowed {
		return refuse(reason)
	}
	claims, err := u.UnverifiedClaims()
	if err != nil {
		return refuse(reasonOf(err))
	}
	slot, known := uint32(0), isLogin
	if !isLogin {
		slot, known = m.records.find(m.records.name(claims.ID))
	}
	if !known {
		return refuse(UnknownToken)
	}
	if _, err := u.Verify(verifier); err != nil {
		return refuse(reasonOf(err))
	}
	if isLogin {
		return s.login(m, &claims, kid, d, now)
	}
	v, reason := m.read(slot, &claims, now)
	if reason != Allowed {
		return refuse(reason)
	}
	v.digest, v.identity.KeyID = *digest, kid
	if v.life&restricted != 0 {
		v.allowed = s.allowed(slot)
	}
	s.cache.put(v)
	return s.answer(m, v, d, now)
}

// read holds verified claims against the record: the record wins, and any
// difference is a refusal.
func (m *moment) read(slot uint32, c *jws.Claims, now time.Time) (*verified, Reason) {
	r := m.records.at(slot)
	before := life(r.life.Load())
	terms, same := terms(r.terms.Load()), r.check.Load() == m.records.check(c)
	v := &verified{records: m.records, slot: slot, life: before, ends: terms.ends(), begins: begins(c)}
	if life(r.life.Load())&writtenMask != before&writtenMask {
		return nil, UnknownToken // it has just been written anew; nothing was known of it a moment ago
	}
	switch reason := v.standing(m, now); {
	case reason != Allowed:
		return nil, reason
	case !same:
		return nil, Mismatch
	case c.Issuer == "" || c.Issuer != m.records.issuers.value(terms.issuer()):
		return nil, WrongIssuer
	}
	v.identity = identityOf(c)
	return v, Allowed
}

// begins is when a token may be used from: nbf and iat, granted the leeway.
func begins(c *jws.Claims) time.Time {
	from, _ := c.NotBefore.Time()
	if issued, ok := c.IssuedAt.Time(); ok && issued.After(from) {
		from = issued
	}
	return from.Add(-Leeway)
}

func identityOf(c *jws.Claims) Identity {
	i := Identity{ID: c.ID, ClientID: c.ClientID, Role: authority.Role(c.Role), Tags: c.Tags, Issuer: c.Issuer, Audience: c.Audience}
	i.IssuedAt, _ = c.IssuedAt.Time()
	if end, ok := c.Expires.Time(); ok {
		i.ExpiresAt = end
	}
	return i
}

// standing is where the token is in its life.
func (v *verified) standing(m *moment, now time.Time) Reason {
	switch {
	case v.life&gone != 0:
		return Deleted
	case v.life.generation() != m.generation&(1<<32-1):
		return Revoked
	case v.ends != 0 && now.Unix() >= v.ends:
		return Expired
	}
	return Allowed
}

// answer makes the checks that time and the door can change.
func (s *Set) answer(m *moment, v *verified, d *Demand, now time.Time) (Verdict, used) {
	if reason := v.standing(m, now); reason != Allowed {
		return Verdict{Reason: reason}, used{}
	}
	if !meet(v.identity.Audience, s.audience(v.identity.Audience, d)) {
		return Verdict{Reason: WrongAudience}, used{}
	}
	if now.Before(v.begins) {
		return Verdict{Reason: NotYetValid}, used{}
	}
	identity := v.identity
	reason := demanded(&identity, v.allowed, d)
	identity.checked = reason == Allowed
	return Verdict{Reason: reason, Identity: identity}, used{record: m.records.at(v.slot)}
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return s != "" && slices.Contains(b, s) })
}

func kindOf(h jws.Header, p Purpose) (isLogin bool, _ Reason) {
	switch {
	case h.IsType(authority.TypeToken) && p != ForLogin:
		return false, Allowed
	case h.IsType(authority.TypeLogin) && p != ForToken:
		return true, Allowed
	}
	return false, WrongType
}

func (m *moment) key(kid authority.KeyID, now time.Time) (*jws.Verifier, Reason) {
	k, ok := m.keys[kid]
	switch {
	case !ok:
		return nil, UnknownKey
	case k.state == authority.KeyRetired, k.state == authority.KeyPrevious && !k.until.IsZero() && !now.Before(k.until):
		return nil, RetiredKey
	case k.verifier == nil || k.state == authority.KeyNext:
		return nil, UnknownKey // a next key has signed nothing yet
	}
	return k.verifier, Allowed
}

// audience is which recipients will do for a door.
func (s *Set) audience(own []string, d *Demand) []string {
	switch {
	case d.AnyAudience:
		return own
	case d.Audience != nil:
		return d.Audience
	}
	return s.config.Audience()
}

func (s *Set) login(m *moment, c *jws.Claims, kid authority.KeyID, d *Demand, now time.Time) (Verdict, used) {
	l := m.logins[authority.LoginID(c.ID)]
	if reason := l.standing(now, m.generation, s.config.LoginIdle()); reason != Allowed {
		return Verdict{Reason: reason}, used{}
	}
	if !l.matches(c) {
		return Verdict{Reason: Mismatch}, used{}
	}
	issuer := s.config.LoginIssuer()
	if err := c.Check(jws.Expect{Issuer: issuer, Audience: []string{issuer}, Now: now, Leeway: Leeway}); err != nil {
		return Verdict{Reason: reasonOf(err)}, used{}
	}
	identity := Identity{
		ID: c.ID, Login: true, ClientID: l.Admin, Role: authority.RoleAdmin, Issuer: c.Issuer, Audience: c.Audience,
		IssuedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt, AuthenticatedAt: l.AuthenticatedAt, KeyID: kid,
	}
	reason := demanded(&identity, nil, d)
	identity.checked = reason == Allowed
	return Verdict{Reason: reason, Identity: identity}, used{login: l}
}

// standing is where the login is in its life.
func (l *login) standing(now time.Time, generation uint64, idle time.Duration) Reason {
	switch {
	case l == nil:
		return SignedOut
	case l.Generation < generation:
		return Revoked
	case !now.Before(l.ExpiresAt):
		return Expired
	case now.Sub(time.Unix(0, l.used.Load())) > idle:
		return Idle
	}
	return Allowed
}

func (l *login) matches(c *jws.Claims) bool {
	return c.Subject == l.Admin && c.ClientID == "" && c.Role == string(authority.RoleAdmin) && len(c.Tags) == 0 &&
		c.IssuedAt == jws.At(l.CreatedAt) && c.Expires == jws.At(l.ExpiresAt)
}

// demanded checks what the door asks beyond a valid token.
func demanded(i *Identity, allowed []netip.Prefix, d *Demand) Reason {
	switch {
	case !comesFrom(allowed, d.From):
		return AddressNotAllowed
	case !hasRole(i, d):
		return RoleInsufficient
	case !hasClientID(i, d):
		return ClientIDNotAllowed
	case !hasTags(i, d):
		return TagMissing
	}
	return Allowed
}

// comesFrom compares IPv4 addresses as such, also when they arrive mapped into
// IPv6, and takes no notice of the interface they arrived by. No address is in
// no range.
func comesFrom(allowed []netip.Prefix, from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return len(allowed) == 0 || slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(from) })
}

// hasRole: an Admin may do what a User may; a Verifier may introspect and
// nothing else, so it passes no door.
func hasRole(i *Identity, d *Demand) bool {
	needed := d.Role
	if needed == "" && d.Purpose == ForToken {
		needed = authority.RoleUser
	}
	return needed == "" || i.Role == needed || i.Role == authority.RoleAdmin
}

func hasClientID(i *Identity, d *Demand) bool { return d.ClientID == "" || i.ClientID == d.ClientID }

// hasTags wants every tag of anybody but an Admin.
func hasTags(i *Identity, d *Demand) bool {
	return i.Role == authority.RoleAdmin || !slices.ContainsFunc(d.Tags, func(tag string) bool { return !slices.Contains(i.Tags, tag) })
}

// reasonOf translates what the reader of tokens found.
func reasonOf(err error) Reason {
	var e *jws.Error
	if !errors.As(err, &e) {
		return Malformed
	}
	switch e.Fault {
	case jws.TooLarge:
		return TooLarge
	case jws.Malformed, jws.HeaderRefused, jws.KidRefused:
		return Malformed
	case jws.AlgorithmRefused, jws.AlgorithmMismatch:
		return AlgorithmRefused
	case jws.TypeRefused:
		return WrongType
	case jws.BadSignature:
		return BadSignature
	case jws.ClaimsMalformed:
		return BadClaims
	case jws.Expired:
		return Expired
	case jws.NotYetValid, jws.IssuedInFuture:
		return NotYetValid
	case jws.WrongIssuer:
		return WrongIssuer
	case jws.WrongAudience:
		return WrongAudience
	}
	return Malformed
}
