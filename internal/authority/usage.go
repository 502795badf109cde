package authority

import "time"

// The bounds of what is kept of a token's use.
const (
	// MaxSources is how many sources of a token are told apart; the rest are one.
	MaxSources = 20
	// UsageHours and UsageDays are how far back requests are known by the hour and
	// by the day.
	UsageHours = 14 * 24
	UsageDays  = 90
)

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
	Via         string // the trusted proxy that it came through; "" for none
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
