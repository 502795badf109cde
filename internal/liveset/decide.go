package liveset

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

var reasons = [...]Reason{ //nolint:gochecknoglobals // a constant table: Go has no constant arrays
	Allowed, NoCredential, Malformed, TooLarge, AlgorithmRefused, UnknownKey, RetiredKey, WrongType, BadSignature, BadClaims,
	Expired, NotYetValid, WrongIssuer, WrongAudience, UnknownToken, Deleted, Revoked, Mismatch, SignedOut, Idle,
	AddressNotAllowed, RoleInsufficient, TagMissing, ClientIDNotAllowed, StateUnknown,
}

// Decide is the one decision. The order is: size, form, type, key, signature,
// claims, record, demand; nothing a token says is used before its signature is
// good.
func (s *Set) Decide(raw string, d Demand) Verdict {
	now := s.config.Now()
	v, u := s.decide(raw, d, now)
	if v.Allow() {
		u.mark(now, d.From, v.Identity.KeyID)
	}
	if i := slices.Index(reasons[:], v.Reason); i >= 0 {
		s.counts[i].Add(1)
	}
	return v
}

func (s *Set) decide(raw string, d Demand, now time.Time) (Verdict, *use) {
	if raw == "" {
		return Verdict{Reason: NoCredential}, nil
	}
	unverified, err := jws.ParseToken(raw)
	if err != nil {
		return Verdict{Reason: reasonOf(err)}, nil
	}
	isLogin, reason := kindOf(unverified.Header(), d.Purpose)
	if reason != Allowed {
		return Verdict{Reason: reason}, nil
	}
	// The key is read before the record, and changes are applied whole: a reset
	// that comes between the two is seen in the record's generation.
	kid := authority.KeyID(unverified.Header().Kid)
	k, reason := s.key(kid, now)
	if reason != Allowed {
		return Verdict{Reason: reason}, nil
	}
	verified, err := unverified.Verify(k)
	if err != nil {
		return Verdict{Reason: reasonOf(err)}, nil
	}
	claims, err := jws.ParseClaims(verified.Payload())
	if err != nil {
		return Verdict{Reason: reasonOf(err)}, nil
	}
	var identity Identity
	var u *use
	var allowed []netip.Prefix
	if isLogin {
		identity, u, reason = s.login(claims, now)
	} else {
		identity, u, allowed, reason = s.token(claims, now, d)
	}
	if reason != Allowed {
		return Verdict{Reason: reason}, nil
	}
	identity.KeyID = kid
	if reason := demanded(identity, allowed, d); reason != Allowed {
		return Verdict{Reason: reason, Identity: identity}, nil
	}
	identity.checked = true
	return Verdict{Reason: Allowed, Identity: identity}, u
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

func (s *Set) key(kid authority.KeyID, now time.Time) (*jws.Verifier, Reason) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.loaded {
		return nil, StateUnknown
	}
	k, ok := s.keys[kid]
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

// token holds the claims against the record: the record wins, and any
// difference is a refusal.
func (s *Set) token(c jws.Claims, now time.Time, d Demand) (Identity, *use, []netip.Prefix, Reason) {
	t, generation := s.tokenOf(c)
	if reason := t.standing(now, generation); reason != Allowed {
		return Identity{}, nil, nil, reason
	}
	if !t.matches(c) {
		return Identity{}, nil, nil, Mismatch
	}
	if err := c.Check(jws.Expect{Issuer: t.Issuer, Audience: s.audience(t.Audience, d), Now: now, Leeway: Leeway}); err != nil {
		return Identity{}, nil, nil, reasonOf(err)
	}
	return Identity{
		ID: c.ID, ClientID: t.ClientID, Role: t.Role, Tags: t.Tags, Issuer: t.Issuer, Audience: t.Audience,
		IssuedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
	}, t.use, t.AllowedAddresses, Allowed
}

// tokenOf reads a record and the generation it counts in together.
func (s *Set) tokenOf(c jws.Claims) (*token, uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tokens[authority.TokenID(c.ID)], s.generation
}

// standing is where the record is in its life.
func (t *token) standing(now time.Time, generation uint64) Reason {
	if t == nil {
		return UnknownToken
	}
	switch t.State(now, generation) {
	case authority.StateActive:
		return Allowed
	case authority.StateDeleted:
		return Deleted
	case authority.StateRevoked:
		return Revoked
	case authority.StateExpired:
		return Expired
	}
	return StateUnknown
}

func (t *token) matches(c jws.Claims) bool {
	return c.Subject == t.ClientID && c.ClientID == t.ClientID && c.Role == string(t.Role) && slices.Equal(c.Tags, t.Tags) &&
		slices.Equal(c.Audience, t.Audience) && c.IssuedAt == jws.At(t.CreatedAt) && c.Expires == jws.At(t.ExpiresAt)
}

// audience is which recipients will do for a door.
func (s *Set) audience(own []string, d Demand) []string {
	switch {
	case d.AnyAudience:
		return own
	case d.Audience != nil:
		return d.Audience
	}
	return s.config.Audience()
}

func (s *Set) login(c jws.Claims, now time.Time) (Identity, *use, Reason) {
	l, generation := s.loginOf(c)
	if reason := l.standing(now, generation, s.config.LoginIdle()); reason != Allowed {
		return Identity{}, nil, reason
	}
	if !l.matches(c) {
		return Identity{}, nil, Mismatch
	}
	issuer := s.config.LoginIssuer()
	if err := c.Check(jws.Expect{Issuer: issuer, Audience: []string{issuer}, Now: now, Leeway: Leeway}); err != nil {
		return Identity{}, nil, reasonOf(err)
	}
	return Identity{
		ID: c.ID, Login: true, ClientID: l.Admin, Role: authority.RoleAdmin, Issuer: c.Issuer, Audience: c.Audience,
		IssuedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt, AuthenticatedAt: l.AuthenticatedAt,
	}, l.use, Allowed
}

func (s *Set) loginOf(c jws.Claims) (*login, uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.logins[authority.LoginID(c.ID)], s.generation
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
	case now.Sub(time.Unix(0, l.use.at.Load())) > idle:
		return Idle
	}
	return Allowed
}

func (l *login) matches(c jws.Claims) bool {
	return c.Subject == l.Admin && c.ClientID == "" && c.Role == string(authority.RoleAdmin) && len(c.Tags) == 0 &&
		c.IssuedAt == jws.At(l.CreatedAt) && c.Expires == jws.At(l.ExpiresAt)
}

// demanded checks what the door asks beyond a valid token.
func demanded(i Identity, allowed []netip.Prefix, d Demand) Reason {
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
func hasRole(i Identity, d Demand) bool {
	needed := d.Role
	if needed == "" && d.Purpose == ForToken {
		needed = authority.RoleUser
	}
	return needed == "" || i.Role == needed || i.Role == authority.RoleAdmin
}

func hasClientID(i Identity, d Demand) bool { return d.ClientID == "" || i.ClientID == d.ClientID }

// hasTags wants every tag of anybody but an Admin.
func hasTags(i Identity, d Demand) bool {
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
