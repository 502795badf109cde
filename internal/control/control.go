// Package control is what an operator does to a running authority: stage and
// apply properties, switch the store, and be told how it stands.
//
// It touches the configuration book and asks the authority for permission; what
// an applied property does to the process is handed in.
//
// The one hard idea: three values are kept apart everywhere. Running is what
// the process uses, applied is what it will use from its next start, staged is
// what nobody uses yet. What can shut people out may be applied on trial: it runs,
// and unless somebody keeps it, what ran before runs again.
package control

import (
	"context"
	"slices"
	"time"

	"mintmark/internal/authority"
)

// Property is one property with its three values.
type Property struct {
	Name    string
	Group   string
	Help    string // one sentence
	Type    string // "duration", "path", "choice", …
	Choices []string
	Default string
	Example string
	Aliases []string
	Env     string // the environment variable that overrides it

	Running  string // in force in this process
	Source   string // where Running comes from: "flag", "environment", "file", "default"
	Applied  string // in the configuration file; "" = unset
	Staged   *string
	Unsets   bool // staged to be unset
	Live     bool // takes effect when applied; else at the next start
	LockOut  bool // a mistake can shut everybody out
	Secret   bool // values are shown as "[secret]"
	Waiting  bool // applied, and waits for a restart
	ReadOnly bool // an environment variable or a flag decides it
}

// Staging is what is staged, by whom and since when.
type Staging struct {
	Revision     uint64 // of the applied configuration
	Count        int
	NeedsRestart int // staged changes that wait for a restart once applied
	Waiting      int // applied changes that wait for a restart
	By           string
	At           time.Time
	Trial        *Trial // nil: nothing is on trial
	History      []Past // the last revisions, newest first
}

// Past is a revision of the configuration.
type Past struct {
	Revision uint64
	At       time.Time // when it was applied
	By       string
	Before   bool // a rollback without a number leads there
}

// Difference is one staged change.
type Difference struct {
	Property string
	Before   string // applied now; "" = unset
	After    string // "" = unset
	Live     bool
	Note     string // what was checked: "directory 0700, writable"
	Warning  string // true of a valid value and still worth knowing
}

// Applied is what an apply did.
type Applied struct {
	Revision      uint64
	Differences   []Difference // empty: nothing was staged
	Carried       *Carried     // the store was switched while running
	RestartNeeded []string     // properties that take effect at the next start
	Trial         *Trial       // nil: what was applied stays
}

// Carried counts what a switch of the store found and brought.
type Carried struct {
	Existing int                // valid tokens that the new store held
	Carried  int                // valid tokens brought from the old one
	CaughtUp authority.CaughtUp // what had happened since the new store was left, and was redone
	Store    authority.StoreFacts
}

// Check is one line of the status page and of doctor.
type Check struct {
	Name    string // "token store"
	OK      bool
	Warning bool   // needs attention but works
	Fact    string // "persistent, /srv/token.json (0600)"
	Fix     string // what to do; "" when OK
}

// Status is how the server stands.
type Status struct {
	Version    string
	PID        int
	Home       string // "" without one
	StartedAt  time.Time
	Listen     string // address the server listens on
	URL        string // where people go
	Store      authority.StoreFacts
	Tokens     authority.TokenCounts
	CurrentKey authority.Key
	KeyDue     time.Time // when rotating it is recommended
	Staging    Staging
	Checks     []Check // problems first
	Logins     int     // sign-ins that have not ended
	Refusals   map[string]uint64
	Verdicts   Verdicts
	Usage      authority.LedgerState
	Fleet      authority.FleetState // without nodes when the store is this process's own
	Unknown    []string             // what the store did not answer in time; what it is about is empty here
}

// What a store may not have answered.
const (
	Tokens = "tokens"
	Keys   = "keys"
	Nodes  = "nodes"
	Logins = "logins"
)

// Knows reports whether the store answered what something is about.
func (s Status) Knows(about string) bool { return !slices.Contains(s.Unknown, about) }

// Verdicts are those of this node at all of its doors, since a minute or two ago.
// The zero Verdicts is that of a program that answers none.
type Verdicts struct {
	Since, AsOf time.Time
	Count       uint64
	P50, P99    time.Duration // what half of them, and 99 of 100, took at most; 0: it is not known
}

// Controller is what the edges ask for; every method checks the caller.
type Controller interface {
	Properties(ctx context.Context, c authority.Caller) ([]Property, Staging, error)
	Stage(ctx context.Context, c authority.Caller, name string, value *string) (Difference, Staging, error) // nil unsets
	Diff(ctx context.Context, c authority.Caller) ([]Difference, Staging, error)                            // validates all that is staged
	Apply(ctx context.Context, c authority.Caller, revision uint64, trial time.Duration) (Applied, error)   // revision 0: whatever it is; trial 0: for good
	Settle(ctx context.Context, c authority.Caller, a Answer) (Applied, error)                              // what becomes of a trial
	Discard(ctx context.Context, c authority.Caller) (int, error)
	Rollback(ctx context.Context, c authority.Caller, revision uint64, trial time.Duration) (Applied, error) // applies what differs, or leaves all as it was; revision 0: the newest that differs and was not reverted; trial 0: for good
	Status(ctx context.Context, c authority.Caller) (Status, error)
}
