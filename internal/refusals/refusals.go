// Package refusals keeps what doors refused of late, so that an administrator can
// ask why.
//
// It touches memory only. It stands between a door and the live set, changes no
// verdict, and keeps nothing with which a token could be used: what the token said,
// never its text.
//
// The one hard idea: whoever floods a door must not push out what concerns real
// clients. What is refused without a good signature is kept apart from what is
// refused of a token of ours.
package refusals

import (
	"errors"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// Most is how many refusals a node keeps, half of them of tokens that are its own;
// each takes about a kilobyte at most. None is kept for longer than Keep, or when
// the process ends.
const (
	Most = 4096
	Keep = 24 * time.Hour
)

// Decider answers verdicts; the live set is one.
type Decider interface {
	Decide(token string, d liveset.Demand) liveset.Verdict
}

// Refusal is a refusal and the door that gave it.
type Refusal struct {
	liveset.Refusal
	Door string
}

// Config is what a Log is made of.
type Config struct {
	// Live is asked to explain; verdicts come from whom each door asks.
	Live Explainer
	// Masked reports whether clients' addresses are shown masked; nil: never.
	Masked func() bool
	Now    func() time.Time
}

// Explainer explains; the live set is one.
type Explainer interface {
	Explain(token string, d liveset.Demand) []liveset.Finding
	ExplainRefusal(r liveset.Refusal) []liveset.Finding
}

// Log keeps refusals. All methods may be called concurrently.
type Log struct {
	config        Config
	ours, foreign ring
}

// New makes a log that has kept nothing.
func New(c Config) (*Log, error) {
	if c.Live == nil || c.Now == nil {
		return nil, errors.New("refusals: a member of Config is missing")
	}
	return &Log{config: c}, nil
}

// ring holds the last refusals. No verdict waits in it for another.
type ring struct {
	next atomic.Uint64
	kept [Most / 2]atomic.Pointer[Refusal]
}

func (r *ring) put(one *Refusal) { r.kept[(r.next.Add(1)-1)%uint64(len(r.kept))].Store(one) }

// find answers the newest with the request id that is not older than since, or nil.
func (r *ring) find(requestID string, since time.Time) (found *Refusal) {
	for i := range r.kept {
		if one := r.kept[i].Load(); one != nil && one.Demand.RequestID == requestID && !one.At.Before(since) && (found == nil || !one.At.Before(found.At)) {
			found = one
		}
	}
	return found
}

// Around answers a Decider that asks next for a door and keeps what it refuses.
func (l *Log) Around(door string, next Decider) Decider { return around{l, door, next} }

type around struct {
	*Log
	door string
	next Decider
}

// Decide implements [Decider]. What has no request id is not kept: nobody could
// ask for it.
func (a around) Decide(token string, d liveset.Demand) liveset.Verdict {
	v := a.next.Decide(token, d)
	if v.Reason != liveset.Allowed && d.RequestID != "" {
		to := &a.foreign
		if v.Reason.Signed() {
			to = &a.ours
		}
		to.put(&Refusal{v.Refused(token, &d, a.config.Now()), a.door})
	}
	return v
}

// unknown says that a request id is none that is kept, and for how long any is.
func (l *Log) unknown() error {
	return &authority.Error{Kind: authority.NotFound, Code: CodeUnknown, Msg: Kept}
}

// CodeUnknown is the code of a request id that is not kept.
const CodeUnknown = "explain.unknown_request"

// Kept says what is kept, for whoever asks for something else.
const Kept = "No refusal with this request ID is kept here. Each node keeps its own last 4,096 refusals, for 24 hours at most and until it restarts: ask the node that refused, or send the request again."
