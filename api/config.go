package api

import "time"

// Property is one property with its three values: running, applied, staged.
type Property struct {
	Name     string   `json:"name"`
	Group    string   `json:"group"`
	Help     string   `json:"help"`
	Type     string   `json:"type"`
	Choices  []string `json:"choices"`
	Default  string   `json:"default"`
	Example  string   `json:"example"`
	Aliases  []string `json:"aliases"`
	Env      string   `json:"env"`
	Running  string   `json:"running"`
	Source   string   `json:"source"`
	Applied  string   `json:"applied"`
	Staged   *string  `json:"staged"`
	Unsets   bool     `json:"unsets"`
	Live     bool     `json:"live"`
	LockOut  bool     `json:"lock_out"`
	Secret   bool     `json:"secret"`
	Waiting  bool     `json:"waiting"`
	ReadOnly bool     `json:"read_only"`
}

// Trial is a revision that is applied and not kept yet: unless it is confirmed
// before Until, the revision BackTo comes back. Properties are those of it that
// can shut people out, With those that were applied with them and go back with
// them; StoreStays: so was the store, which does not. By is who applied it.
type Trial struct {
	Revision   uint64    `json:"revision"`
	BackTo     uint64    `json:"back_to"`
	Until      time.Time `json:"until"`
	Properties []string  `json:"properties"`
	With       []string  `json:"with"`
	StoreStays bool      `json:"store_stays"`
	By         string    `json:"by"`
}

// Staging is what is staged, by whom and since when. Revision is that of the
// applied configuration; without a Trial that stays.
type Staging struct {
	Revision     uint64     `json:"revision"`
	Count        int        `json:"count"`
	NeedsRestart int        `json:"needs_restart"`
	Waiting      int        `json:"waiting"`
	By           string     `json:"by"`
	At           *time.Time `json:"at"`
	Trial        *Trial     `json:"trial"`
}

// Configuration is every property, what is staged, and the last revisions, newest
// first.
type Configuration struct {
	Properties []Property     `json:"properties"`
	Staging    Staging        `json:"staging"`
	History    []PastRevision `json:"history"`
}

// PastRevision is a revision, when it was applied and by whom. Before: a rollback
// that names none leads there.
type PastRevision struct {
	Revision uint64    `json:"revision"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Before   bool      `json:"before"`
}

// Value is what a property is staged to be.
type Value struct {
	Value string `json:"value"`
}

// Difference is one staged change; "" stands for unset.
type Difference struct {
	Property string `json:"property"`
	Before   string `json:"before"`
	After    string `json:"after"`
	Live     bool   `json:"live"`
	Note     string `json:"note"`
	Warning  string `json:"warning"`
}

// Staged is one change that was just staged.
type Staged struct {
	Difference Difference `json:"difference"`
	Staging    Staging    `json:"staging"`
}

// DifferenceList is every staged change, validated together.
type DifferenceList struct {
	Items   []Difference `json:"items"`
	Staging Staging      `json:"staging"`
}

// Apply asks for what is staged to be applied; Revision 0 is whatever is applied
// now. With a Trial, a duration such as "10m", what can shut people out goes back
// after so long unless it is confirmed.
type Apply struct {
	Revision uint64 `json:"revision,omitempty"`
	Trial    string `json:"trial,omitempty"`
}

// ExtendTrial gives the trial of a revision, 0 of any, more time: By, or 10
// minutes.
type ExtendTrial struct {
	Revision uint64 `json:"revision,omitempty"`
	By       string `json:"by,omitempty"`
}

// Rollback asks for an earlier revision to be applied again; 0 is the newest that
// differs and was not reverted. With a Trial it is on trial, as with Apply.
type Rollback struct {
	Revision uint64 `json:"revision,omitempty"`
	Trial    string `json:"trial,omitempty"`
}

// Revision names a revision of the configuration that is on trial; 0 is whatever
// is.
type Revision struct {
	Revision uint64 `json:"revision,omitempty"`
}

// Applied is what an apply did; no differences: nothing was staged. Without a
// Trial it stays.
type Applied struct {
	Revision      uint64       `json:"revision"`
	Differences   []Difference `json:"differences"`
	Carried       *Carried     `json:"carried"`
	RestartNeeded []string     `json:"restart_needed"`
	Trial         *Trial       `json:"trial"`
}

// Carried counts the valid tokens that a new store held and those brought along.
// A store that was left before lacks what has happened since: how many changes
// were applied to it again, and how many tokens created since it has not.
type Carried struct {
	Existing  int   `json:"existing"`
	Carried   int   `json:"carried"`
	Reapplied int   `json:"reapplied"`
	Missing   int   `json:"missing"`
	Store     Store `json:"store"`
}

// Discarded counts the changes that are staged no more.
type Discarded struct {
	Discarded int `json:"discarded"`
}
