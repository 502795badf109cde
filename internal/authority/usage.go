package authority

import (
	"context"
	"net/netip"
	"time"
)

// The bounds of what is kept of a token's use.
const (
	// MaxSources is how many sources of a token are told apart; the rest are one.
	MaxSources = 20
	// UsageHours and UsageDays are how far back requests are known by the hour and
	// by the day.
	UsageHours = 14 * 24
	UsageDays  = 90
)

// UnknownAddress is the source of requests of which nobody said where they came
// from, as it is with most that are introspected.
const UnknownAddress = "unknown"

// AddressText is a client's address as it is kept and shown: masked, it is the
// first three bytes of an IPv4 address, and of IPv6 what a site has (RFC 6177
// section 2).
func AddressText(a netip.Addr, masked bool) string {
	if !masked {
		return a.String()
	}
	return MaskAddress(a).String()
}

// MaskAddress is the network that is kept of a masked address.
func MaskAddress(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	network, _ := a.Prefix(bits) // there is one: bits is in range
	return network
}

// TokenUsage is what is known of how a token was used. Times are to the second.
type TokenUsage struct {
	AsOf     time.Time // when it was put together: what was counted until then is in it
	Saved    time.Time // when counts were last made durable; what came later is lost in a crash. Zero: never
	Since    time.Time // what was before is not known
	Hours    []UsageSpan
	Days     []UsageSpan
	Sources  []UsageSource  // those seen last first; the one that stands for the rest is last
	Refusals []UsageRefusal // those seen last first
}

// UsageSpan is the requests of one hour or one day (UTC). Spans come oldest
// first and without a gap, the last is the present one.
type UsageSpan struct {
	Start    time.Time
	Current  uint64 // allowed, under the key that is current now
	Previous uint64 // allowed, under any key before it
	Refused  uint64
}

// UsageSource is the requests with a token that came from one address.
type UsageSource struct {
	From        string // masked when the property says so; "" stands for every further source
	Via         string // the trusted proxy that it came through, or the server that asked; "" for neither
	Key         KeyID  // under which the last allowed request came; "" for none
	First, Last time.Time
	Allowed     uint64
	Refused     uint64
}

// UsageRefusal is the refused requests with a token for one reason.
type UsageRefusal struct {
	Reason      string // the name of a verdict's reason
	From        string // where the last came from
	First, Last time.Time
	Count       uint64
}

// Counted is verdicts of one kind about one token, as a live set counts them. The
// times are Unix seconds of one hour.
type Counted struct {
	Token       TokenID // "" when it is not certain whose token it was
	Key         KeyID
	Refused     string // the name of the verdict's reason; "" when it allowed
	From, Via   netip.Addr
	First, Last uint32
	Count       uint64
}

// UsageRecord is what is kept of a token's use, or a part of it that is to be
// added to the rest. Each of its rows is told apart by its first members.
type UsageRecord struct {
	Token    TokenID // "" is the tokens that are not known for certain
	Keys     []KeyUse
	Hours    []UsageCount
	Days     []UsageCount // beside the hours: no request is in both
	Sources  []UsageSource
	Refusals []UsageRefusal
}

// UsageCount is the requests with a token under one key, in an hour or a day.
type UsageCount struct {
	Start   time.Time
	Key     KeyID
	Allowed uint64
	Refused uint64
}

// UsageSum is the allowed requests with a token under one key.
type UsageSum struct {
	Token TokenID
	Key   KeyID
	Count uint64
}

// UsageOfDay is the allowed requests with a token on a day (UTC).
type UsageOfDay struct {
	Token TokenID
	Start time.Time
	Count uint64
}

// UsageBatch is what was counted of some tokens, to be added to what is kept. A
// writer numbers its batches upwards, so that one that is sent again after its
// fate was unknown is added once. No token has two records in it.
type UsageBatch struct {
	Writer  string
	Number  uint64
	Records []UsageRecord
}

// UsageStore is where counts last. It is not a [Store]: losing it loses evidence
// and no token, and it is written in batches, never for a verdict. Its methods
// may be called concurrently.
type UsageStore interface {
	// AddUsage adds a batch, all or nothing; one that was added before changes
	// nothing. Of a token's sources it keeps MaxSources, those seen last, and adds
	// up the rest.
	AddUsage(ctx context.Context, b UsageBatch) error
	// Usage answers the empty record for a token that nothing is kept of.
	Usage(ctx context.Context, id TokenID) (UsageRecord, error)
	// UsageSums adds up the allowed requests since an hour: of some tokens, or of
	// all for nil.
	UsageSums(ctx context.Context, since time.Time, tokens []TokenID) ([]UsageSum, error)
	// UsageByDay adds up the allowed requests with at most MaxPage tokens by day, from
	// the day of since on, as far back as hours are kept. Days without any are left
	// out.
	UsageByDay(ctx context.Context, since time.Time, tokens []TokenID) ([]UsageOfDay, error)
	// LastUses hands over the latest use of every token under some keys: all for 0,
	// else those that were added to since the call that answered that mark, if not
	// more. Where nobody else adds, marks are 0.
	LastUses(ctx context.Context, keys []KeyID, after uint64, each func(TokenID, KeyUse)) (mark uint64, err error)
	// UsageSince is when the counting began.
	UsageSince(ctx context.Context) (time.Time, error)
	// PruneUsage turns the hours of whole days into days once they are older than
	// UsageHours, and drops what was seen last more than UsageDays ago.
	PruneUsage(ctx context.Context, now time.Time) error
	// Close releases what the store holds.
	Close() error
}

// Ledger is the counts of verdicts: what is kept, and what is not yet kept.
type Ledger interface {
	// Record answers everything that is known of a token up to now.
	Record(ctx context.Context, id TokenID) (UsageRecord, error)
	// Sums is that of a [UsageStore], up to now.
	Sums(ctx context.Context, since time.Time, tokens []TokenID) ([]UsageSum, error)
	// ByDay is UsageByDay of a [UsageStore], up to now. A day may come in several
	// parts, which add up.
	ByDay(ctx context.Context, since time.Time, tokens []TokenID) ([]UsageOfDay, error)
	// Look brings last uses that other processes have saved to whoever tells them
	// (Usage). Alone it has nothing to do.
	Look(ctx context.Context) error
	// State says how far the counts are durable.
	State() LedgerState
	// Prune is that of a [UsageStore].
	Prune(ctx context.Context, now time.Time) error
}

// LedgerState is how a ledger stands.
type LedgerState struct {
	Durable bool      // counts outlast the process
	Saved   time.Time // when all counts were last made durable; zero: never
	Problem string    // why they are not made durable; "" when they are
	Others  time.Time // when it was last read what other processes have saved; zero: never, or there are none
	Lost    uint64    // verdicts that were not counted because there was no room
}

// TokenUsage answers what is known of a token's use.
func (a *Authority) TokenUsage(ctx context.Context, c Caller, id TokenID) (TokenUsage, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenUsage{}, err
	}
	var current Key
	err := a.Store.View(ctx, func(tx Tx) error {
		if _, err := tx.Tokens().Get(id); err != nil {
			return noToken(err)
		}
		var err error
		current, err = currentKey(tx)
		return err
	})
	if err != nil {
		return TokenUsage{}, err
	}
	return a.usage(ctx, id, current.ID)
}

// UnknownUsage answers what was refused of tokens of which it is not certain that
// they are ours: made up, forged, forgotten, signed by a key that is retired.
func (a *Authority) UnknownUsage(ctx context.Context, c Caller) (TokenUsage, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenUsage{}, err
	}
	return a.usage(ctx, "", "")
}

// usage is what the ledger knows, with every hour and day in its place.
func (a *Authority) usage(ctx context.Context, id TokenID, current KeyID) (TokenUsage, error) {
	u := TokenUsage{AsOf: a.second(), Since: a.Usage.Since().Truncate(time.Second)}
	var kept UsageRecord
	if a.Ledger != nil {
		u.Saved = a.Ledger.State().Saved
		var err error
		if kept, err = a.Ledger.Record(ctx, id); err != nil {
			return TokenUsage{}, err
		}
	}
	u.Hours, u.Days = spans(u.AsOf, time.Hour, UsageHours), spans(u.AsOf, day, UsageDays)
	for _, n := range kept.Hours {
		n.enter(u.Hours, time.Hour, current)
		n.enter(u.Days, day, current)
	}
	for _, n := range kept.Days {
		n.enter(u.Days, day, current)
	}
	u.Sources, u.Refusals = kept.Sources, kept.Refusals
	return u, nil
}

const day = 24 * time.Hour

// spans are empty ones, of which the last is the present one.
func spans(now time.Time, width time.Duration, many int) []UsageSpan {
	all := make([]UsageSpan, many)
	for i := range all {
		all[i].Start = now.Truncate(width).Add(-time.Duration(many-1-i) * width)
	}
	return all
}

// enter adds the count to the span that it lies in, if there is one.
func (n UsageCount) enter(spans []UsageSpan, width time.Duration, current KeyID) {
	at := int(n.Start.Sub(spans[0].Start) / width)
	if n.Start.Before(spans[0].Start) || at >= len(spans) {
		return
	}
	spans[at].Refused += n.Refused
	if n.Key == current {
		spans[at].Current += n.Allowed
	} else {
		spans[at].Previous += n.Allowed
	}
}
