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

// Decide is the one decision. The order is: size, form, key, signature, claims,
// record, demand; nothing a token says is used before its signature is good.
func (s *Set) Decide(raw string, d Demand) Verdict {
	v, u := s.decide(raw, d)
	if v.Allow() {
		u.mark(s.config.Now(), d.From)
	}
	if i := slices.Index(reasons[:], v.Reason); i >= 0 {
		s.counts[i].Add(1)
	}
	return v
}

func (s *Set) decide(raw string, d Demand) (Verdict, *use) {
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
	kid := authority.KeyID(unverified.Header().Kid)
	k, reason := s.key(kid)
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
	now := s.config.Now()
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
	identity.KeyID, identity.checked = kid, true
	if reason := demanded(identity, allowed, d); reason != Allowed {
		return Verdict{Reason: reason, Identity: identity}, nil
	}
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

func (s *Set) key(kid authority.KeyID) (*jws.Verifier, Reason) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.loaded {
		return nil, StateUnknown
	}
	k, ok := s.keys[kid]
	switch {
	case !ok:
		return nil, UnknownKey
	case k.state == authority.KeyRetired:
		return nil, RetiredKey
	case k.verifier == nil || k.state == authority.KeyNext:
		return nil, UnknownKey // a next key has signed nothing yet
	}
	return k.verifier, Allowed
}

// token holds the claims against the record: the record wins, and any
// difference is a refusal.
func (s *Set) token(c jws.Claims, now time.Time, d Demand) (Identity, *use, []netip.Prefix, Reason) {
	s.mu.RLock()
	t, generation := s.tokens[authority.TokenID(c.ID)], s.generation
	s.mu.RUnlock()
	if t == nil {
		return Identity{}, nil, nil, UnknownToken
	}
	switch t.State(now, generation) {
	case authority.StateDeleted:
		return Identity{}, nil, nil, Deleted
	case authority.StateRevoked:
		return Identity{}, nil, nil, Revoked
	case authority.StateExpired:
		return Identity{}, nil, nil, Expired
	case authority.StateActive:
	}
	if c.Subject != t.ClientID || c.ClientID != t.ClientID || c.Role != string(t.Role) || !slices.Equal(c.Tags, t.Tags) ||
		!slices.Equal(c.Audience, t.Audience) || c.IssuedAt != jws.At(t.CreatedAt) || c.Expires != jws.At(t.ExpiresAt) {
		return Identity{}, nil, nil, Mismatch
	}
	if reason := s.checkClaims(c, t.Issuer, s.audience(t.Audience, d), now); reason != Allowed {
		return Identity{}, nil, nil, reason
	}
	return Identity{
		ID: c.ID, ClientID: t.ClientID, Role: t.Role, Tags: t.Tags, Issuer: t.Issuer, Audience: t.Audience,
		IssuedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
	}, t.use, t.AllowedAddresses, Allowed
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
	s.mu.RLock()
	l, generation := s.logins[authority.LoginID(c.ID)], s.generation
	s.mu.RUnlock()
	switch {
	case l == nil:
		return Identity{}, nil, SignedOut
	case l.Generation < generation:
		return Identity{}, nil, Revoked
	case !now.Before(l.ExpiresAt):
		return Identity{}, nil, Expired
	case now.Sub(time.Unix(0, l.use.at.Load())) > s.config.LoginIdle():
		return Identity{}, nil, Idle
	case c.Subject != l.Admin || c.IssuedAt != jws.At(l.CreatedAt) || c.Expires != jws.At(l.ExpiresAt):
		return Identity{}, nil, Mismatch
	}
	issuer := s.config.LoginIssuer()
	if reason := s.checkClaims(c, issuer, []string{issuer}, now); reason != Allowed {
		return Identity{}, nil, reason
	}
	return Identity{
		ID: c.ID, Login: true, ClientID: l.Admin, Role: authority.RoleAdmin, Issuer: c.Issuer, Audience: c.Audience,
		IssuedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt, AuthenticatedAt: l.AuthenticatedAt,
	}, l.use, Allowed
}

func (s *Set) checkClaims(c jws.Claims, issuer string, audience []string, now time.Time) Reason {
	if len(audience) == 0 {
		return WrongAudience // a token for nobody is for nobody
	}
	if err := c.Check(jws.Expect{Issuer: issuer, Audience: audience, Now: now, Leeway: Leeway}); err != nil {
		return reasonOf(err)
	}
	return Allowed
}

// demanded checks what the door asks beyond a valid token. An Admin may do what
// a User may, whatever the tags; a Verifier may introspect and nothing else.
func demanded(i Identity, allowed []netip.Prefix, d Demand) Reason {
	if len(allowed) > 0 && !slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(d.From.Unmap()) }) {
		return AddressNotAllowed
	}
	needed := d.Role
	if needed == "" && d.Purpose == ForToken {
		needed = authority.RoleUser
	}
	if needed != "" && i.Role != needed && i.Role != authority.RoleAdmin {
		return RoleInsufficient
	}
	if d.ClientID != "" && i.ClientID != d.ClientID {
		return ClientIDNotAllowed
	}
	if i.Role != authority.RoleAdmin {
		for _, tag := range d.Tags {
			if !slices.Contains(i.Tags, tag) {
				return TagMissing
			}
		}
	}
	return Allowed
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
