package liveset

import (
	"net/netip"
	"time"

	"mintmark/internal/authority"
)

// Reason says why a verdict is what it is. Outside only its Class is told.
type Reason string

// The reasons. Allowed is the only one that allows.
const (
	Allowed            Reason = "ok"
	NoCredential       Reason = "no_credential"
	Malformed          Reason = "malformed"
	TooLarge           Reason = "too_large"
	AlgorithmRefused   Reason = "algorithm_refused"
	UnknownKey         Reason = "unknown_key"
	RetiredKey         Reason = "retired_key"
	WrongType          Reason = "wrong_type"
	BadSignature       Reason = "bad_signature"
	BadClaims          Reason = "bad_claims"
	Expired            Reason = "expired"
	NotYetValid        Reason = "not_yet_valid"
	WrongIssuer        Reason = "wrong_issuer"
	WrongAudience      Reason = "wrong_audience"
	UnknownToken       Reason = "unknown_token"
	Deleted            Reason = "deleted"
	Revoked            Reason = "revoked"
	Mismatch           Reason = "record_mismatch"
	SignedOut          Reason = "signed_out"
	Idle               Reason = "idle"
	AddressNotAllowed  Reason = "address_not_allowed"
	RoleInsufficient   Reason = "role_insufficient"
	TagMissing         Reason = "tag_missing"
	ClientIDNotAllowed Reason = "client_id_not_allowed"
	StateUnknown       Reason = "state_unknown"
)

// Class is what a door may tell of a reason.
type Class uint8

// The classes, with the HTTP status that carries each (RFC 6750 section 3.1).
const (
	ClassAllow     Class = iota // 200
	ClassMissing                // 401 without an error code
	ClassInvalid                // 401 invalid_token; all invalid tokens read alike
	ClassForbidden              // 403 insufficient_scope
	ClassUnknown                // 503: unknown is never allow
)

// Class classes the reason.
func (r Reason) Class() Class {
	switch r {
	case Allowed:
		return ClassAllow
	case NoCredential:
		return ClassMissing
	case AddressNotAllowed, RoleInsufficient, TagMissing, ClientIDNotAllowed:
		return ClassForbidden
	case StateUnknown:
		return ClassUnknown
	case Malformed, TooLarge, AlgorithmRefused, UnknownKey, RetiredKey, WrongType, BadSignature, BadClaims, Expired,
		NotYetValid, WrongIssuer, WrongAudience, UnknownToken, Deleted, Revoked, Mismatch, SignedOut, Idle:
		return ClassInvalid
	}
	return ClassInvalid
}

// Purpose is which kind of token a door takes.
type Purpose uint8

// The purposes. A token of the other kind is refused as WrongType.
const (
	ForToken    Purpose = iota // an API token: every door
	ForLogin                   // a login token: the console
	ForOwnCalls                // either: our own API
)

// Demand is what a door asks of a token beyond being valid.
type Demand struct {
	Purpose     Purpose
	Role        authority.Role // an Admin meets any; "" means User at a door and none for our own calls
	Tags        []string       // every one is needed; an Admin meets any
	ClientID    string
	Audience    []string // nil: the server's own audience
	AnyAudience bool     // a token for any recipient will do
	From        netip.Addr
}

// Identity is who a token speaks for. Only Decide makes one that is not zero,
// and only an allowing verdict's makes a Caller, so whoever has a Caller of it
// holds a checked token that may do what was asked. Its slices are the record's:
// they are not to be changed.
type Identity struct {
	ID              string // tok_… or lgn_…
	Login           bool
	ClientID        string // the client ID, or the administrator's name
	Role            authority.Role
	Tags            []string
	Issuer          string
	Audience        []string
	IssuedAt        time.Time
	ExpiresAt       time.Time // zero: never
	AuthenticatedAt time.Time // logins: when the password was last entered
	KeyID           authority.KeyID
	checked         bool
}

// Caller is the identity as the rules know it; nobody, unless the verdict
// allowed.
func (i Identity) Caller(o authority.Origin) authority.Caller {
	switch {
	case !i.checked:
		return authority.Nobody(o)
	case i.Login:
		return authority.LoginCaller(authority.LoginID(i.ID), i.ClientID, i.AuthenticatedAt, o)
	}
	return authority.TokenCaller(authority.TokenID(i.ID), i.ClientID, i.Role, o)
}

// Verdict is the answer to one question. The Identity is zero unless the
// reason's class is ClassAllow or ClassForbidden.
type Verdict struct {
	Reason   Reason
	Identity Identity
}

// Allow reports whether the verdict allows.
func (v Verdict) Allow() bool { return v.Reason == Allowed }
