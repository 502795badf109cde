package authority

import (
	"context"
	"iter"
	"time"
)

// Store is where records last. Its contract holds for every store and is what
// the suite in storetest checks.
//
// Failures are Kinds: NotFound, Conflict (Insert of a key that exists), Full
// (no space), Unavailable (read-only, out of reach, or the outcome of a commit
// unknown), Internal (anything else). A driver's error is only ever the cause.
//
// Values go in and come out as copies: neither side sees the other's changes.
// All methods may be called concurrently.
type Store interface {
	// View runs fn on one consistent state in which everything is durable. fn
	// must not keep the Tx. An error of fn is returned as it is.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn and commits what it changed, all or nothing. fn sees its own
	// changes and those of every Update that commits before it. fn may be run
	// again, so it changes nothing but the transaction. A nil answer means: the
	// change and its events are durable, and every follower has applied it. After
	// Unavailable with an unknown outcome the store has reconciled itself with
	// what is durable before it answers the next call.
	Update(ctx context.Context, fn func(Tx) error) error
	// Follow hands the follower every live record, then each committed change, in
	// commit order and without a gap. It returns when the records are loaded. The
	// follower must be quick and must not call the store.
	Follow(ctx context.Context, f Follower) error
	// Synced is when the followers were last known to have every commit that there
	// was, by this machine's clock. A store that nobody else writes to answers now.
	Synced() time.Time
	// Facts says where records last, for status pages and warnings.
	Facts() StoreFacts
	// Close waits for what is under way and releases what the store holds.
	Close() error
}

// UseKeeper is a Store that keeps last uses beside its tokens and sorts by them
// itself (TokenQuery.LastUsed is not asked): that order is as fresh as the last
// call of UsedAt.
type UseKeeper interface {
	// UsedAt notes when tokens were last used. An earlier time than the one that is
	// known, and a token that is not there, are passed over. It may be called again
	// with the same uses.
	UsedAt(ctx context.Context, uses []Used) error
}

// Used is one last use, to the microsecond.
type Used struct {
	ID TokenID
	At time.Time
}

// ReadToken reads one record. It checks no caller: what it answers is for
// explanations to administrators.
func ReadToken(ctx context.Context, s Store, id TokenID) (Token, error) {
	var t Token
	err := s.View(ctx, func(tx Tx) error {
		var err error
		t, err = tx.Tokens().Get(id)
		return err
	})
	return t, err
}

// Follower is told of committed state; the live set is one.
type Follower interface {
	// Load replaces everything the follower holds.
	Load(snapshot Change)
	// Apply applies one committed change.
	Apply(change Change)
}

// Change is what one commit did to the records that verdicts depend on. In a
// snapshot every record is there once.
type Change struct {
	Tokens []Changed[TokenID, Token]
	Logins []Changed[LoginID, Login]
	Keys   []Changed[KeyID, Key]
	System *System // nil: unchanged
}

// Changed is one record after a commit; nil means removed.
type Changed[K comparable, T any] struct {
	Key   K
	Value *T
}

// StoreFacts describes a store to people.
type StoreFacts struct {
	Kind       string // "memory", "json", "sqlite", "postgres"
	Location   string // path or address without credentials; "" for memory
	Persistent bool   // tokens survive a restart
	Problem    string // why changes cannot be written now; "" when they can
	LastWrite  time.Time
	Alarm      string // what happened to the store and should be looked at; "" when nothing did
}

// Tx is one transaction. A store whose tokens and other records live in
// different files may refuse (Internal) a transaction that changes both.
type Tx interface {
	Tokens() TokenTable
	Receipts() Table[string, Receipt]
	Keys() Table[KeyID, Key]
	Admins() Table[string, Admin]
	Logins() Table[LoginID, Login]
	Throttles() Table[string, Throttle]
	System() Table[string, System]
	Audit() AuditTable
}

// Table holds one kind of record.
type Table[K comparable, T any] interface {
	// Get answers NotFound when there is no such record.
	Get(key K) (T, error)
	// Insert answers Conflict when the key exists.
	Insert(record T) error
	// Put replaces a record that exists, else NotFound.
	Put(record T) error
	// Delete is idempotent.
	Delete(key K) error
	// All yields every record by ascending key, or one error.
	All() iter.Seq2[T, error]
}

// TokenTable adds what a million tokens need: the store searches, sorts and
// pages.
type TokenTable interface {
	Table[TokenID, Token]
	// Find answers one page. The order is total: ties break by id.
	Find(q TokenQuery) (TokenPage, error)
	// Counts counts every token by state as of now. Where counting takes long a
	// store may answer what it counted up to a minute ago.
	Counts(now time.Time, generation uint64) (TokenCounts, error)
}

// AuditTable is append-only.
type AuditTable interface {
	// Append adds events in order; the store numbers and chains them
	// (Event.ChainAfter) when it commits.
	Append(events ...Event) error
	// Page answers committed events, newest first.
	Page(q AuditQuery) (AuditPage, error)
}

// TokenSort is a column that a list can be ordered by.
type TokenSort string

// The sort columns.
const (
	SortClientID  TokenSort = "client_id"
	SortRole      TokenSort = "role"
	SortCreatedAt TokenSort = "created_at"
	SortExpiresAt TokenSort = "expires_at"   // never sorts last, both ways
	SortLastUsed  TokenSort = "last_used_at" // never used sorts last, both ways
)

// TokenQuery is one request for a page of tokens. The zero value of a filter
// does not filter; the states are always given. Texts are UTF-8 without NUL.
type TokenQuery struct {
	Text       string // prefix of client ID, id or tag, without regard to case
	Role       Role
	Tag        string
	ClientID   string
	States     []TokenState
	Expiring   time.Duration // only those that end within this time
	Sort       TokenSort
	Descending bool
	After      *TokenCursor // the last record of the page before
	Limit      int          // 1 to 500
	Now        time.Time
	Generation uint64
	LastUsed   func(TokenID) time.Time // zero: never; a UseKeeper knows by itself
}

// TokenCursor is a place in an order: the record's sort value and its id.
type TokenCursor struct {
	Value string // see TokenQuery.SortValue
	ID    TokenID
}

// TokenPage is one page.
type TokenPage struct {
	Tokens []Token
	Next   *TokenCursor // nil: this is the last page
	Total  int          // records that match, over all pages
	// TotalIsFloor: at least Total match; a store does not count for long.
	TotalIsFloor bool
}

// TokenCounts counts tokens by state, and the active ones by what needs care.
type TokenCounts struct {
	Active, Expired, Deleted, Revoked, Replaced int
	Expiring                                    int // active and ending within 14 days
}

// CareWithin is how near an end needs care.
const CareWithin = 14 * 24 * time.Hour

// Add counts one token.
func (c *TokenCounts) Add(t *Token, now time.Time, generation uint64) {
	switch t.State(now, generation) {
	case StateActive:
		c.Active++
		if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now.Add(CareWithin)) {
			c.Expiring++
		}
	case StateExpired:
		c.Expired++
	case StateDeleted:
		c.Deleted++
	case StateRevoked:
		c.Revoked++
	case StateReplaced:
		c.Replaced++
	}
}

// Of is the number of tokens in one state.
func (c TokenCounts) Of(state TokenState) int {
	switch state {
	case StateActive:
		return c.Active
	case StateExpired:
		return c.Expired
	case StateDeleted:
		return c.Deleted
	case StateRevoked:
		return c.Revoked
	case StateReplaced:
		return c.Replaced
	}
	return 0
}

// AuditQuery filters the audit log; zero members do not filter. For a store, its
// texts are UTF-8 without NUL.
type AuditQuery struct {
	Before        uint64 // only events with a lower Seq; 0: from the newest
	Limit         int    // 1 to 500
	Actor, Target string // exact name; exact id or label
	Action        string // exact, or a group with a final dot: "token."
	Outcome       string
	Since, Until  time.Time
}

// AuditPage is one page, newest first.
type AuditPage struct {
	Events []Event
	Next   uint64 // Before of the next page; 0: this is the last
	Total  uint64 // events in the log
}
