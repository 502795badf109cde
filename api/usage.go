package api

import (
	"context"
	"net/http"
	"time"
)

// TokenUsage is how a token was used. What was counted until AsOf is in it; what
// was counted after SavedAt is lost in a crash; what was before CountedSince is not
// known. What other nodes count is in it when they have saved it, every 30 seconds.
// Hours go back 14 days and Days 90; those without a request are left out.
type TokenUsage struct {
	AsOf         time.Time      `json:"as_of"`
	SavedAt      *time.Time     `json:"saved_at"`
	CountedSince time.Time      `json:"counted_since"`
	Hours        []UsageSpan    `json:"hours"`
	Days         []UsageSpan    `json:"days"`
	Sources      []UsageSource  `json:"sources"`  // those seen last first
	Refusals     []UsageRefusal `json:"refusals"` // those seen last first
}

// UsageSpan is the requests of one hour or day (UTC).
type UsageSpan struct {
	Start    time.Time `json:"start"`
	Current  uint64    `json:"current"`  // allowed, under the key that signs now
	Previous uint64    `json:"previous"` // allowed, under any key before it
	Refused  uint64    `json:"refused"`
}

// UsageSource is the requests from one address, or with "" from all those beyond
// the twenty that are told apart.
type UsageSource struct {
	From    string    `json:"from"` // "unknown" when nobody said it
	Via     string    `json:"via"`  // the trusted proxy before it, or the server that asked; "" for neither
	KeyID   string    `json:"kid"`  // under which the last allowed request came; "" for none
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Allowed uint64    `json:"allowed"`
	Refused uint64    `json:"refused"`
}

// UsageRefusal is the requests that were refused for one reason.
type UsageRefusal struct {
	Reason string    `json:"reason"`
	From   string    `json:"from"` // where the last came from
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Count  uint64    `json:"count"`
}

// Reuse is the use of a replaced token after its end: somebody has a copy.
type Reuse struct {
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"`
	From  string    `json:"from"`
}

// UsageState is how far counts of use are saved.
type UsageState struct {
	Durable  bool       `json:"durable"`   // they outlast the process
	SavedAt  *time.Time `json:"saved_at"`  // when all were last saved
	Problem  string     `json:"problem"`   // why they are not saved; "" when they are
	OthersAt *time.Time `json:"others_at"` // when last uses that other nodes have saved were last read; null: there are none
	Lost     uint64     `json:"lost"`      // requests that were not counted because there was no room
}

// TokenUsage answers how a token was used.
func (c *Client) TokenUsage(ctx context.Context, id string) (TokenUsage, error) {
	var out TokenUsage
	return out, c.do(ctx, call{method: http.MethodGet, path: tokenPath(id) + "/usage", out: &out})
}

// UnknownUsage answers what was refused of tokens that are not known for certain.
func (c *Client) UnknownUsage(ctx context.Context) (TokenUsage, error) {
	var out TokenUsage
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/usage/unknown", out: &out})
}
