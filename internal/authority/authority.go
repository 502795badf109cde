package authority

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// Claims is what a token or a login says when it is signed (RFC 7519 section
// 4.1, RFC 9068 section 2.2).
type Claims struct {
	Issuer    string
	Subject   string
	ClientID  string
	Audience  []string
	ID        string
	IssuedAt  time.Time
	ExpiresAt time.Time // zero: no exp
	Role      Role
	Tags      []string
}

// The values of typ (RFC 8725 section 3.11): neither is accepted as the other.
const (
	TypeToken = "at+jwt"
	TypeLogin = "login+jwt"
)

// Custody keeps the signing keys' secrets. The rules never see one.
type Custody interface {
	// Generate makes a key and returns when it is durable. A key that no record
	// names is harmless.
	Generate(algorithm string) (KeyID, error)
	// Sealed is the secret of kid as its record carries it; nil when secrets last
	// elsewhere.
	Sealed(kid KeyID) ([]byte, error)
	// Refresh learns under what secrets are sealed from now on, if that was changed.
	// What cannot be read is a Conflict and changes nothing.
	Refresh() error
	// Mint signs claims under kid. The same claims under the same key give the
	// same bytes (RFC 6979 for ES256). An unknown kid is Internal.
	Mint(kid KeyID, typ string, c Claims) (Secret, error)
	// Keep forgets every secret but those named.
	Keep(kids []KeyID) error
}

// Passwords judges and hashes administrators' passwords.
type Passwords interface {
	// Check answers why a password may not be used, in a sentence, or "".
	Check(password Secret, words ...string) string
	// Hash answers a PHC string.
	Hash(ctx context.Context, password Secret) (string, error)
	// Verify compares; an empty phc takes as long and never matches. again asks
	// for a new hash because the parameters have changed.
	Verify(ctx context.Context, phc string, password Secret) (ok, again bool, err error)
}

// Usage knows how tokens are used; the live set counts it. Its methods are
// quick and call nobody.
type Usage interface {
	// Since is when the counting began: what was used before is not known.
	Since() time.Time
	// LastUse answers the zero Use for a token never seen.
	LastUse(id TokenID) Use
	// KeyUses answers the use of a token under each of the two keys that were
	// made current last; none for a token never seen.
	KeyUses(id TokenID) []KeyUse
	// TrialRefusals answers how often, and when last, a token was refused for
	// nothing but the trial stop that began last.
	TrialRefusals(id TokenID) (count uint64, last time.Time)
}

// Use is the latest accepted use of a token.
type Use struct {
	At   time.Time
	From string
	Key  KeyID
}

// KeyUse is the accepted use of a token under one key, to the second. The zero
// KeyUse is none.
type KeyUse struct {
	Key         KeyID
	First, Last time.Time
	From        string // where Last came from
}

// Policy is what the applied properties say about tokens and logins.
type Policy struct {
	Issuer          string
	Audience        []string
	Algorithm       string // for the next key that is made
	Copy            string // CopyAllow, CopyReauth, CopyNever
	DefaultLifetime time.Duration
	MaxLifetime     time.Duration // 0: no cap
	NeverExpire     bool          // tokens without an end are allowed
	RestoreGrace    time.Duration
	Overlap         time.Duration // proposed for a rotation; see DefaultOverlap
	HoldIfUsed      bool          // an overlap does not end by itself while it is used
	RotateAuto      bool          // a key is rotated by itself when it is RotateEvery old
	RotateEvery     time.Duration
	StepUp          time.Duration
	LoginAbsolute   time.Duration
	LoginAttempts   int
	LoginPause      time.Duration
}

// The values of Policy.Copy.
const (
	CopyAllow  = "allow"
	CopyReauth = "reauth"
	CopyNever  = "never"
)

// Config is what an Authority is made of.
type Config struct {
	Store     Store
	Fleet     Fleet // nil: the store is this process's own
	Custody   Custody
	Passwords Passwords
	Usage     Usage
	Ledger    Ledger        // nil: nothing is counted
	Policy    func() Policy // the policy in force at this moment
	Now       func() time.Time
	Rand      io.Reader // a cryptographic source
	Host      string    // a word that no password may be
}

// Authority applies the rules. Its methods may be called concurrently.
type Authority struct {
	Config
	// keys is held from the making of secrets until the records name them, so
	// that nobody forgets a secret that is about to be needed; and shared by
	// whoever signs, from finding the current key until the text is made, so that
	// nothing is signed by a key after it was rotated away.
	keys      sync.RWMutex
	pulse     pulse
	sources   sources
	handovers handovers
}

// New checks the configuration.
func New(c Config) (*Authority, error) {
	if c.Store == nil || c.Custody == nil || c.Passwords == nil || c.Usage == nil || c.Policy == nil || c.Now == nil || c.Rand == nil {
		return nil, errors.New("authority: a member of Config is missing")
	}
	return &Authority{Config: c}, nil
}

// Facts says where records last.
func (a *Authority) Facts() StoreFacts { return a.Store.Facts() }

// second is the present at the resolution of NumericDate (RFC 7519 section 2).
func (a *Authority) second() time.Time { return a.Now().UTC().Truncate(time.Second) }

// system reads the one record that a store has from the beginning.
func system(tx Tx) (System, error) {
	s, err := tx.System().Get(SystemKey)
	if errors.Is(err, NotFound) {
		return System{}, &Error{Kind: Internal, Err: err}
	}
	return s, err
}
