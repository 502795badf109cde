package authority

import (
	"net/netip"
	"slices"
	"time"
)

// Token is the record of one API token: claims and state, never the usable
// text. Signing the same claims under the same key gives the same bytes.
type Token struct {
	ID               TokenID
	ClientID         string
	Role             Role
	Tags             []string // name:value, in the order given
	Issuer           string
	Audience         []string
	Description      string
	Contact          string
	AllowedAddresses []netip.Prefix // empty: any address
	CreatedAt        time.Time      // UTC, whole seconds: it is the iat
	CreatedBy        string
	ExpiresAt        time.Time // UTC, whole seconds; zero: never
	KeyID            KeyID     // the key it was last signed under
	Generation       uint64    // the generation it was issued in
	DeletedAt        time.Time // zero: not deleted
	DeletedBy        string
	Leaked           bool // deleted for good: no restore
	Replaces         TokenID
	ReplacedBy       TokenID
	EndsAt           time.Time // end of the overlap with its successor, whole seconds; zero: not replaced
	RetireWhenSeen   bool      // the overlap ends early once the successor was seen wherever this one came from
	Contacted        Contact
}

// Contact is a note that somebody was told to move a client to a new token or
// key; the zero Contact says that nobody was.
type Contact struct {
	At   time.Time
	By   string
	Note string
}

// TokenState is the one word for where a token is in its life.
type TokenState string

// The states of a token.
const (
	StateActive  TokenState = "active"
	StateExpired TokenState = "expired"
	StateDeleted TokenState = "deleted"
	StateRevoked TokenState = "revoked" // a reset ended it
	// StateReplaced: the overlap with its successor is over.
	StateReplaced TokenState = "replaced"
)

// State derives the state at now in a store whose generation is generation; a
// token of any other is revoked.
func (t *Token) State(now time.Time, generation uint64) TokenState {
	switch {
	case !t.DeletedAt.IsZero():
		return StateDeleted
	case t.Generation != generation:
		// A reset came later; or, when it is higher, it is a number of another
		// home's, which the resets of this one could not end.
		return StateRevoked
	}
	end, state := t.End()
	if !end.IsZero() && !now.Before(end) {
		return state
	}
	return StateActive
}

// End is when the token ends by itself and what it is from then on; zero:
// never.
func (t *Token) End() (time.Time, TokenState) {
	if !t.EndsAt.IsZero() && (t.ExpiresAt.IsZero() || !t.EndsAt.After(t.ExpiresAt)) {
		return t.EndsAt, StateReplaced
	}
	return t.ExpiresAt, StateExpired
}

// RestorableUntil is the end of the grace in which a delete can be undone;
// zero when it cannot.
func (t *Token) RestorableUntil(grace time.Duration) time.Time {
	if t.DeletedAt.IsZero() || t.Leaked || grace <= 0 {
		return time.Time{}
	}
	return t.DeletedAt.Add(grace)
}

// RecordKey is the key of the record in its table.
func (t Token) RecordKey() TokenID { return t.ID }

// Clone copies the record and all it refers to.
func (t Token) Clone() Token {
	t.Tags = slices.Clone(t.Tags)
	t.Audience = slices.Clone(t.Audience)
	t.AllowedAddresses = slices.Clone(t.AllowedAddresses)
	return t
}

// KeyState is where a key is in its life.
type KeyState string

// The states of a key. Next is published and does not sign yet; current signs;
// previous verifies until its overlap ends; retired is a tombstone.
const (
	KeyNext     KeyState = "next"
	KeyCurrent  KeyState = "current"
	KeyPrevious KeyState = "previous"
	KeyRetired  KeyState = "retired"
)

// Key is the record of one signing key; its secret is with the [Custody].
type Key struct {
	ID           KeyID
	Name         string // "key_2026b"; works wherever a kid does
	Algorithm    string // "ES256", "EdDSA", "HS256": one key has exactly one
	State        KeyState
	CreatedAt    time.Time
	CurrentSince time.Time // zero until it signs
	Until        time.Time // end of its overlap; zero when it has none
	RetiredAt    time.Time
	Hold         bool      // the overlap does not end by itself at Until while tokens are used under it
	TrialUntil   time.Time // tokens under it are refused until then, and accepted again; zero: no trial
	Reason       string    // why it was rotated away
	Sealed       []byte    // its secret, encrypted by the Custody; nil when secrets last elsewhere, and when it is retired
}

// Accepted reports whether tokens signed by this key count at now, trials aside.
func (k *Key) Accepted(now time.Time) bool {
	return k.State == KeyCurrent || k.State == KeyPrevious && !k.Over(now)
}

// Over reports whether the key's overlap has ended by itself.
func (k *Key) Over(now time.Time) bool {
	return k.State == KeyPrevious && !k.Hold && !k.Until.IsZero() && !now.Before(k.Until)
}

// MaxTrial is the longest trial stop.
const MaxTrial = 24 * time.Hour

// OnTrial reports whether tokens signed by this key are refused for a while. An
// end that is further away than any trial lasts was given by a clock that was
// wrong.
func (k *Key) OnTrial(now time.Time) bool {
	return k.State == KeyPrevious && now.Before(k.TrialUntil) && k.TrialUntil.Sub(now) <= MaxTrial
}

// RecordKey is the key of the record in its table.
func (k Key) RecordKey() KeyID { return k.ID }

// Clone copies the record and all it refers to.
func (k Key) Clone() Key {
	k.Sealed = slices.Clone(k.Sealed)
	return k
}

// Admin is an administrator's account.
type Admin struct {
	Name              string // canonical, see CanonicalName
	PasswordHash      string // PHC string; never shown
	CreatedAt         time.Time
	CreatedBy         string
	PasswordChangedAt time.Time
}

// RecordKey is the key of the record in its table.
func (a Admin) RecordKey() string { return a.Name }

// Clone copies the record.
func (a Admin) Clone() Admin { return a }

// Login is one signed-in administrator: the server's side of a login token.
type Login struct {
	ID              LoginID
	Admin           string
	CreatedAt       time.Time // whole seconds: the iat
	AuthenticatedAt time.Time // when the password was last entered
	ExpiresAt       time.Time // the absolute end; whole seconds: the exp
	From            string
	KeyID           KeyID
	Generation      uint64
}

// RecordKey is the key of the record in its table.
func (l Login) RecordKey() LoginID { return l.ID }

// Clone copies the record.
func (l Login) Clone() Login { return l }

// Throttle counts consecutive failures to sign in under one name.
type Throttle struct {
	Name        string // canonical name, or "" and a digest for names that are none
	Failures    int    // since the last success or the last pause
	Total       int    // consecutive, over all pauses
	LastAt      time.Time
	PausedUntil time.Time // zero: not paused
	Known       bool      // an account of that name existed
}

// RecordKey is the key of the record in its table.
func (t Throttle) RecordKey() string { return t.Name }

// Clone copies the record.
func (t Throttle) Clone() Throttle { return t }

// SystemKey is the key of the one System record.
const SystemKey = "system"

// System is what exists once in a store.
type System struct {
	Generation   uint64 // raised by every reset; persisted, never lowered
	ResetAt      time.Time
	SetupDigest  []byte    // SHA-256 of the one-time code for the first sign-in
	SetupExpires time.Time // the code's end
	CursorKey    []byte    // authenticates list cursors
}

// RecordKey is the key of the record in its table.
func (System) RecordKey() string { return SystemKey }

// Clone copies the record and all it refers to.
func (s System) Clone() System {
	s.SetupDigest = slices.Clone(s.SetupDigest)
	s.CursorKey = slices.Clone(s.CursorKey)
	return s
}

// Receipt makes a repeated create answer as the first did.
type Receipt struct {
	Key     string // digest of caller and Idempotency-Key
	TokenID TokenID
	Request []byte // digest of the request
	At      time.Time
}

// RecordKey is the key of the record in its table.
func (r Receipt) RecordKey() string { return r.Key }

// Clone copies the record and all it refers to.
func (r Receipt) Clone() Receipt {
	r.Request = slices.Clone(r.Request)
	return r
}
