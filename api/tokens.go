package api

import "time"

// Token is the record of one API token. A time that is null has not happened
// and, for expires_at, never will.
type Token struct {
	ID               string     `json:"id"`
	ClientID         string     `json:"client_id"`
	Role             string     `json:"role"`
	Tags             []string   `json:"tags"`
	Audience         []string   `json:"audience"`
	Issuer           string     `json:"issuer,omitempty"`
	Description      string     `json:"description"`
	Contact          string     `json:"contact"`
	AllowedAddresses []string   `json:"allowed_addresses"`
	CreatedAt        time.Time  `json:"created_at"`
	CreatedBy        string     `json:"created_by"`
	ExpiresAt        *time.Time `json:"expires_at"`
	KeyID            string     `json:"kid"`
	State            string     `json:"state"`
	LastUsedAt       *time.Time `json:"last_used_at"`
	LastUsedFrom     string     `json:"last_used_from"`
	Requests24h      *uint64    `json:"requests_24h,omitempty"` // allowed, in this hour and the 23 before; not there when it is not known
	DeletedAt        *time.Time `json:"deleted_at,omitempty"`
	DeletedBy        string     `json:"deleted_by,omitempty"`
	RestorableUntil  *time.Time `json:"restorable_until,omitempty"`
	Replaces         string     `json:"replaces,omitempty"`
	ReplacedBy       string     `json:"replaced_by,omitempty"`
	EndsAt           *time.Time `json:"ends_at,omitempty"` // end of the overlap with its successor
	RetireWhenSeen   bool       `json:"retire_when_seen,omitempty"`
	Reuse            *Reuse     `json:"reuse,omitempty"` // of a replaced token, when that one record is read
	Contacted        *Contact   `json:"contacted,omitempty"`
}

// Contact is a note that somebody was told to move to a new token or key.
type Contact struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Note string    `json:"note"`
}

// ReplaceToken asks for a successor. Overlap is how long the old token lives on:
// a duration such as "24h", or "0s" for not at all; a day without it. With
// RetireWhenSeen it ends earlier, once the successor was seen from every source
// that the old token came from in the 14 days before or since.
type ReplaceToken struct {
	Overlap        string `json:"overlap,omitempty"`
	RetireWhenSeen bool   `json:"retire_when_seen,omitempty"`
}

// MarkContacted notes that somebody was told to move.
type MarkContacted struct {
	Note string `json:"note,omitempty"`
}

// IssuedToken is a record with the token's text.
type IssuedToken struct {
	Token
	Text Secret `json:"token"`
}

// TokenList is one page. NextCursor is "" on the last page; Total counts what
// matches over all pages, or at least as many do when TotalIsFloor.
type TokenList struct {
	Items      []Token `json:"items"`
	NextCursor string  `json:"next_cursor"`
	Total      int     `json:"total"`
	// TotalIsFloor: more may match than a store of very many tokens counts.
	TotalIsFloor bool `json:"total_is_floor"`
}

// CreateToken asks for a new token. Lifetime ("90d", "12h", "never") and
// ExpiresAt (RFC 3339) exclude each other; without both the policy decides.
type CreateToken struct {
	ClientID         string   `json:"client_id"`
	Role             string   `json:"role"`
	Tags             []string `json:"tags,omitempty"`
	Audience         []string `json:"audience,omitempty"`
	ExpiresAt        string   `json:"expires_at,omitempty"`
	Lifetime         string   `json:"lifetime,omitempty"`
	Description      string   `json:"description,omitempty"`
	Contact          string   `json:"contact,omitempty"`
	AllowedAddresses []string `json:"allowed_addresses,omitempty"`
}

// TokenQuery filters and orders a list of tokens; zero members do not filter.
type TokenQuery struct {
	Text       string // prefix of client ID, id or tag
	Role       string
	State      string // active, expired, revoked, deleted, replaced or all; "" is all but deleted and replaced
	Tag        string
	ClientID   string
	Expiring   string // a duration: those that end within it
	Sort       string
	Descending bool
	Limit      int
	Cursor     string
}

// Explain asks why a request was refused, by the id that its answer had; or how a
// door would answer a token. The other members are what the door demands of the
// token; of a request they are known.
type Explain struct {
	Token     Secret `json:"token,omitzero"`
	RequestID string `json:"request_id,omitempty"`
	// Door is forward_auth (without it), guard, ext_authz, introspection, kubernetes
	// or api.
	Door     string   `json:"door,omitempty"`
	Role     string   `json:"role,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Audience []string `json:"audience,omitempty"`
	From     string   `json:"from,omitempty"` // the address that the request came from
}

// Finding is one check and the values that it compared.
type Finding struct {
	Check    string `json:"check"`
	OK       bool   `json:"ok"`
	Compared string `json:"compared"`
	Advice   string `json:"advice"`
}

// Findings is every check in the order in which it is made; the last one is the
// verdict, and the first that is not OK its cause.
type Findings struct {
	Items   []Finding `json:"items"`
	Refusal *Refused  `json:"refusal,omitempty"` // when a request id was asked about
}

// Refused is a request that a door refused. What the token said of itself, nobody
// has vouched for.
type Refused struct {
	RequestID string    `json:"request_id"`
	At        time.Time `json:"at"`
	Door      string    `json:"door"`
	From      string    `json:"from"` // the client's address; "": it is not known at this door
	Reason    string    `json:"reason"`
	Role      string    `json:"role"` // demanded, and so are the next three
	Tags      []string  `json:"tags"`
	ClientID  string    `json:"client_id"`
	Audience  []string  `json:"audience"`
	Token     Said      `json:"token"`
}

// Said is what a token said of itself; empty members could not be read.
type Said struct {
	ID       string `json:"id"`
	ClientID string `json:"client_id"`
	KeyID    string `json:"kid"`
}
