package api

import "time"

// Key is one signing key. Of a previous one Until is the end of its overlap,
// TrialUntil that of a trial stop, and Hold says that the overlap goes on while
// it is used.
type Key struct {
	ID           string     `json:"kid"`
	Name         string     `json:"name"`
	Algorithm    string     `json:"alg"`
	State        string     `json:"state"`
	CreatedAt    time.Time  `json:"created_at"`
	Until        *time.Time `json:"until"`
	CurrentSince *time.Time `json:"current_since"`
	RetiredAt    *time.Time `json:"retired_at"`
	TrialUntil   *time.Time `json:"trial_until,omitempty"`
	Hold         bool       `json:"hold,omitempty"`
	Reason       string     `json:"reason,omitempty"` // why it was rotated away
}

// KeyList is every key, newest first; NextCursor is always "".
type KeyList struct {
	Items      []Key  `json:"items"`
	NextCursor string `json:"next_cursor"`
}

// RotateKeys asks for a rotation. Overlap is how long the key that signs now is
// accepted afterwards, a duration such as "14d"; without it the property
// keys.overlap.default decides.
type RotateKeys struct {
	Overlap string `json:"overlap,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// KeysRotated is what a rotation made of the keys.
type KeysRotated struct {
	Current  Key    `json:"current"`
	Previous Key    `json:"previous"`
	Next     Key    `json:"next"`
	Warning  string `json:"warning"` // "" when there is none
}

// ExtendKey lets an overlap end later: at a time (RFC 3339), or by a duration
// such as "7d" after its present end.
type ExtendKey struct {
	Until string `json:"until,omitempty"`
	By    string `json:"by,omitempty"`
}

// TrialStop refuses tokens under a previous key for a while, 15 minutes without
// a duration.
type TrialStop struct {
	Duration string `json:"duration,omitempty"`
}

// EvidenceQuery narrows evidence down; zero members do not.
type EvidenceQuery struct {
	State string // not_moved, mixed, silent or moved
	Limit int    // tokens that are named, 1 to 5000; 500 without it
}

// Evidence is who still depends on a key. The counts are of all tokens; Items
// names those of most concern first. CountedSince is since when uses are known;
// verifiers that work offline by the key set are not seen.
type Evidence struct {
	Key          Key        `json:"key"`
	Current      Key        `json:"current"`
	AsOf         time.Time  `json:"as_of"`
	CountedSince time.Time  `json:"counted_since"`
	OthersAt     *time.Time `json:"others_at"` // what other nodes have seen is known up to here; null: there are none, or it is not known
	NotMoved     int        `json:"not_moved"`
	Mixed        int        `json:"mixed"`
	Silent       int        `json:"silent"`
	Moved        int        `json:"moved"`
	Logins       int        `json:"logins"`       // signed by the key; they end with it
	LastUsedAt   *time.Time `json:"last_used_at"` // the last use of a token under the key since the rotation
	LastUsedFrom string     `json:"last_used_from"`
	// TrialTokens and TrialRequests are what the trial stop that began last has refused.
	TrialTokens   int             `json:"trial_tokens"`
	TrialRequests uint64          `json:"trial_requests"`
	Items         []TokenEvidence `json:"items"`
}

// TokenEvidence is what is known of one token's move. Under is its use under the
// key, Current that under the current one, both since the rotation; null is none.
type TokenEvidence struct {
	Token            Token      `json:"token"`
	State            string     `json:"state"` // not_moved, mixed, silent or moved
	Under            *KeyUse    `json:"under"`
	Current          *KeyUse    `json:"current"`
	Requests24h      *Requests  `json:"requests_24h,omitempty"`      // since the first whole hour after the rotation; not there when they are not known
	RequestsSince    *Requests  `json:"requests_rotation,omitempty"` // since the hour of the rotation, 14 days at most
	TrialRefusals    uint64     `json:"trial_refusals"`
	TrialRefusedLast *time.Time `json:"trial_refused_last"`
}

// Requests is allowed requests under the key in question and under the current one.
type Requests struct {
	Under   uint64 `json:"under"`
	Current uint64 `json:"current"`
}

// KeyUse is the use of a token under one key, to the second.
type KeyUse struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	From  string    `json:"from"` // where the last one came from
}

// ResetKeys asks to end every token and login.
type ResetKeys struct {
	Reason string `json:"reason,omitempty"`
}

// KeysReset says what a reset ended and began.
type KeysReset struct {
	Generation    uint64 `json:"generation"`
	Current       Key    `json:"current"`
	TokensRevoked int    `json:"tokens_revoked"`
	LoginsEnded   int    `json:"logins_ended"`
}

// KeysResealed says how many secrets were sealed anew.
type KeysResealed struct {
	Keys int `json:"keys"`
}

// Event is one entry of the audit log.
type Event struct {
	Seq       uint64            `json:"seq"`
	At        time.Time         `json:"at"`
	Actor     Actor             `json:"actor"`
	Action    string            `json:"action"`
	Target    string            `json:"target"`
	Label     string            `json:"label"`
	From      string            `json:"from"`
	Outcome   string            `json:"outcome"`
	RequestID string            `json:"request_id"`
	Detail    map[string]string `json:"detail"`
	Hash      string            `json:"hash"`
}

// Actor is who an event is about.
type Actor struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// EventList is one page of the audit log, newest first. NextCursor is the
// "cursor" of the next page, "" on the last; NextBefore is the same as the number
// of an event, for "before", and 0 on the last.
type EventList struct {
	Items      []Event `json:"items"`
	NextCursor string  `json:"next_cursor"`
	NextBefore uint64  `json:"next_before"`
	Total      uint64  `json:"total"`
}

// EventQuery filters the audit log; zero members do not filter. A page begins at
// Cursor or before the event of the number Before, not both.
type EventQuery struct {
	Cursor        string
	Before        uint64
	Limit         int
	Actor, Target string
	Action        string // exact, or a group with a final dot: "token."
	Outcome       string
	Since, Until  time.Time
}

// Store says where tokens last.
type Store struct {
	Kind       string     `json:"kind"`
	Location   string     `json:"location"`
	Persistent bool       `json:"persistent"`
	Problem    string     `json:"problem"`
	LastWrite  *time.Time `json:"last_write"`
}

// TokenCounts counts tokens by state; Expiring of the active ones end soon.
type TokenCounts struct {
	Active   int `json:"active"`
	Expired  int `json:"expired"`
	Deleted  int `json:"deleted"`
	Revoked  int `json:"revoked"`
	Replaced int `json:"replaced"`
	Expiring int `json:"expiring"`
}

// Check is one line of the status.
type Check struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning"`
	Fact    string `json:"fact"`
	Fix     string `json:"fix"`
}

// Status is how the server stands. Unknown names what the store did not answer in
// time: "tokens", "keys", "nodes" or "logins", which are empty here then.
type Status struct {
	Version    string            `json:"version"`
	PID        int               `json:"pid"`
	Home       string            `json:"home"`
	StartedAt  time.Time         `json:"started_at"`
	Listen     string            `json:"listen"`
	URL        string            `json:"url"`
	Store      Store             `json:"store"`
	Tokens     TokenCounts       `json:"tokens"`
	CurrentKey Key               `json:"current_key"`
	KeyDue     *time.Time        `json:"key_due"`
	Logins     int               `json:"logins"` // sign-ins that a reset would end
	Staging    Staging           `json:"staging"`
	Checks     []Check           `json:"checks"`
	Verdicts   Verdicts          `json:"verdicts"`
	Refusals   map[string]uint64 `json:"refusals"`
	Usage      UsageState        `json:"usage"`
	Nodes      []Node            `json:"nodes"` // that share the store; none when it is this server's own
	Unknown    []string          `json:"unknown"`
}

// Verdicts are those that a node gave lately, at all of its doors. Half of them
// took at most P50 and 99 of 100 at most P99, in nanoseconds, as far as the one of
// 8 that is timed tells; 0: none was.
type Verdicts struct {
	Since *time.Time `json:"since"`
	AsOf  *time.Time `json:"as_of"`
	Count uint64     `json:"count"`
	P50   int64      `json:"p50_nanoseconds"`
	P99   int64      `json:"p99_nanoseconds"`
}

// Node is one server of a fleet, as it says of itself. Behind is how many
// revisions of the store it has not followed yet.
type Node struct {
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Issuer    string    `json:"issuer"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	Revision  uint64    `json:"revision"`
	Behind    uint64    `json:"behind"`
	Ready     bool      `json:"ready"`
}

// Health is the answer of the probes.
type Health struct {
	Status string `json:"status"`
}

// Metadata describes the authority to OAuth libraries (RFC 8414 section 2).
type Metadata struct {
	Issuer               string   `json:"issuer"`
	KeySetURI            string   `json:"jwks_uri"`
	Introspection        string   `json:"introspection_endpoint"`
	IntrospectionMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	Revocation           string   `json:"revocation_endpoint"`
	RevocationMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
	ResponseTypes        []string `json:"response_types_supported"` // none: no grant exists
	GrantTypes           []string `json:"grant_types_supported"`    // none
}

// TokenForm is the form that introspection and revocation take (RFC 7662 section
// 2.1, RFC 7009 section 2.1). A client that does not authenticate in a header does
// so by its client ID and the text of one of its tokens as secret (RFC 6749
// section 2.3.1).
type TokenForm struct {
	Token        Secret `json:"token"`
	Hint         string `json:"token_type_hint,omitempty"`
	ClientID     string `json:"client_id,omitempty"`
	ClientSecret Secret `json:"client_secret,omitempty"`
}

// Introspection is what is told of a token (RFC 7662 section 2.2). Of one that is
// not active nothing but that is told.
type Introspection struct {
	Active    bool     `json:"active"`
	ClientID  string   `json:"client_id,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	ID        string   `json:"jti,omitempty"`
	IssuedAt  int      `json:"iat,omitempty"` // seconds since 1970
	ExpiresAt int      `json:"exp,omitempty"` // seconds since 1970; not there: never
	Role      string   `json:"role,omitempty"`
	Tags      []string `json:"tags,omitempty"`
}

// OAuthError is a refusal of introspection and revocation (RFC 6749 section 5.2).
type OAuthError struct {
	Code string `json:"error"`
	Text string `json:"error_description"`
}
