package liveset

import (
	"net/netip"
	"time"

	"mintmark/internal/authority"
)

// Reason says why a verdict is what it is. Outside only its Class is told.
type Reason uint8

// The reasons. Allowed is the only one that allows; the zero Reason is that of a
// verdict which nobody gave.
const (
	Undecided Reason = iota
	Allowed
	NoCredential
	Malformed
	TooLarge
	AlgorithmRefused
	UnknownKey
	RetiredKey
	WrongType
	BadSignature
	BadClaims
	Expired
	NotYetValid
	WrongIssuer
	WrongAudience
	UnknownToken // its id is not in the set; whoever made it up, or signed it, was not looked for
	Deleted
	Revoked
	Replaced // the overlap with its successor is over
	Mismatch
	SignedOut
	Idle
	AddressNotAllowed
	RoleInsufficient
	TagMissing
	ClientIDNotAllowed
	DemandInvalid // the door was asked for what no token can have
	TrialStopped  // nothing is wrong with it: its key is on a trial stop
	TooMany       // the door's limit does not admit it, see Demand.Admit
	StateUnknown
)

var names = [...]string{ //nolint:gochecknoglobals // a constant table: Go has no constant arrays
	Undecided: "undecided", Allowed: "ok", NoCredential: "no_credential", Malformed: "malformed", TooLarge: "too_large", AlgorithmRefused: "algorithm_refused",
	UnknownKey: "unknown_key", RetiredKey: "retired_key", WrongType: "wrong_type", BadSignature: "bad_signature", BadClaims: "bad_claims",
	Expired: "expired", NotYetValid: "not_yet_valid", WrongIssuer: "wrong_issuer", WrongAudience: "wrong_audience",
	UnknownToken: "unknown_token", Deleted: "deleted", Revoked: "revoked", Replaced: "replaced", Mismatch: "record_mismatch", SignedOut: "signed_out", Idle: "idle",
	AddressNotAllowed: "address_not_allowed", RoleInsufficient: "role_insufficient", TagMissing: "tag_missing",
	ClientIDNotAllowed: "client_id_not_allowed", DemandInvalid: "demand_invalid", TrialStopped: "trial_stopped", TooMany: "too_many", StateUnknown: "state_unknown",
}

// Reasons lists every reason of a verdict that was given, for doors and tests
// that must be exhaustive.
func Reasons() []Reason {
	all := make([]Reason, 0, len(names))
	for r := Allowed; int(r) < len(names); r++ {
		all = append(all, r)
	}
	return all
}

// String is the reason's name in logs, counts and explanations.
func (r Reason) String() string {
	if int(r) >= len(names) {
		return names[Undecided]
	}
	return names[r]
}

// Class is what a door may tell of a reason.
type Class uint8

// The classes, with the HTTP status that carries each (RFC 6750 section 3.1).
const (
	ClassAllow     Class = iota // 200
	ClassMissing                // 401 without an error code
	ClassInvalid                // 401 invalid_token; all invalid tokens read alike
	ClassForbidden              // 403 insufficient_scope, or a demand that no token meets
	ClassLimited                // 429; 403 at forward-auth, whose proxies know no other refusal
	ClassUnknown                // 503: unknown is never allow
)

// Class classes the reason.
func (r Reason) Class() Class {
	switch r {
	case Allowed:
		return ClassAllow
	case NoCredential:
		return ClassMissing
	case AddressNotAllowed, RoleInsufficient, TagMissing, ClientIDNotAllowed, DemandInvalid:
		return ClassForbidden
	case TooMany:
		return ClassLimited
	case StateUnknown:
		return ClassUnknown
	case Undecided, Malformed, TooLarge, AlgorithmRefused, UnknownKey, RetiredKey, WrongType, BadSignature, BadClaims, Expired,
		NotYetValid, WrongIssuer, WrongAudience, UnknownToken, Deleted, Revoked, Replaced, Mismatch, SignedOut, Idle, TrialStopped:
		return ClassInvalid
	}
	return ClassInvalid
}

// Signed reports whether a token that is refused for the reason has a good
// signature. Anybody can bring the others about.
func (r Reason) Signed() bool {
	switch r {
	case Undecided, NoCredential, Malformed, TooLarge, AlgorithmRefused, UnknownKey, RetiredKey, WrongType, BadSignature, BadClaims, UnknownToken, DemandInvalid,
		TooMany, StateUnknown:
		return false
	case Allowed, Expired, NotYetValid, WrongIssuer, WrongAudience, Deleted, Revoked, Replaced, Mismatch, SignedOut, Idle, AddressNotAllowed, RoleInsufficient,
		TagMissing, ClientIDNotAllowed, TrialStopped:
	}
	return true
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
	Via         netip.Addr // who stands between us and the client and may be believed; zero: nobody, or it is not known
	RequestID   string     // under which a refusal is kept; "": it is not. No verdict depends on it
	Fault       string     // what is wrong with the credential, which is "" then, or with the demand: nothing passes
	Look        bool       // the token is looked at, and not used: nothing is counted, and a trial stop stops nothing
	// Admit is asked about a limit: with "" before anything is looked at, and with the
	// id of a token or login once it is known to be good. What it does not admit is
	// refused as TooMany. nil: there is no limit.
	Admit func(id string) bool
}

// Identity is who a token speaks for. Only Decide makes one that is not zero,
// and only an allowing verdict's makes a Caller, so whoever has a Caller of it
// holds a checked token that may do what was asked. Its slices are the record's:
// they are not to be changed.
type Identity struct {
	ID              string // tok_… or lgn_…
	ClientID        string // the client ID, or the administrator's name
	Role            authority.Role
	Tags            []string
	TagList         string // the tags, joined by commas
	Issuer          string
	Audience        []string
	IssuedAt        time.Time
	ExpiresAt       time.Time // zero: never
	AuthenticatedAt time.Time // logins: when the password was last entered
	KeyID           authority.KeyID
	Login           bool // it is a login, not a token
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
// reason's class is ClassAllow or ClassForbidden; of DemandInvalid, which looks at
// no token, it is zero, too.
type Verdict struct {
	Reason   Reason
	Identity Identity
	Quota    *Quota // what a limit leaves; nil without a limit
	said     *Said  // by a token that was examined and refused, if it is known
}

// Quota is what a limit leaves to whoever asked.
type Quota struct {
	Limit     int           // requests of one window
	Window    time.Duration // how long a window is
	Remaining int           // requests that are admitted now
	Wait      time.Duration // until one more is admitted
}

// Allow reports whether the verdict allows.
func (v Verdict) Allow() bool { return v.Reason == Allowed }
