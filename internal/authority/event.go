package authority

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// Event is one entry of the audit log: who did what to which record, when,
// from where and with what outcome. It commits together with its change.
type Event struct {
	Seq       uint64 // 1, 2, 3 … in commit order; given by the store
	At        time.Time
	Actor     Actor
	Action    string // "token.created"
	Target    string // the record's id
	Label     string // what people call it: the client ID, the key's name
	From      string // source address, "local" for the socket
	Outcome   string // "ok" or "refused"
	RequestID string
	Detail    map[string]string // before, after, counts; never a secret
	Hash      string            // hex SHA-256 over the previous hash and this event
}

// Actions are those that events have, in order.
func Actions() []string {
	return []string{
		"admin.created", "admin.deleted", "admin.password_reset", "admin.unlocked",
		"backup.created", "backup.restored",
		"config.applied", "config.confirmed", "config.created", "config.discarded", "config.reverted", "config.rollback_staged", "config.rollback_undone",
		"config.staged", "config.trial_extended",
		"key.extended", "key.next_renewed", "key.overlap_ended", "key.overlap_held", "key.retired", "key.rotated", "key.trial_ended", "key.trial_started",
		"keys.resealed", "keys.reset",
		"login.ended", "login.refused", "login.renewed", "login.succeeded",
		"setup.completed", "setup.opened",
		"store.founded",
		"token.contacted", "token.copied", "token.created", "token.deleted", "token.handed_over", "token.replace_undone", "token.replaced", "token.restored",
		"tokens.caught_up", "tokens.expired",
	}
}

// Actor is who an event is about.
type Actor struct {
	Kind string // "admin", "token", "local", "system", "anonymous"
	Name string
}

// The outcomes of an event.
const (
	OutcomeOK      = "ok"
	OutcomeRefused = "refused"
)

// Clone copies the event and all it refers to.
func (e Event) Clone() Event {
	e.Detail = maps.Clone(e.Detail)
	return e
}

// ChainAfter gives the event its place behind the last one: the next number and
// a hash over the previous hash and every member, each with its length in
// front, so that no two events hash alike and none can be changed, dropped or
// moved without the rest of the chain showing it.
func (e Event) ChainAfter(seq uint64, hash string) Event {
	e.Seq = seq + 1
	h := sha256.New()
	write := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], e.Seq)
	h.Write(n[:])
	for _, s := range []string{
		hash, e.At.UTC().Format(time.RFC3339Nano), e.Actor.Kind, e.Actor.Name, e.Action,
		e.Target, e.Label, e.From, e.Outcome, e.RequestID,
	} {
		write(s)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		write(k)
		write(e.Detail[k])
	}
	e.Hash = hex.EncodeToString(h.Sum(nil))
	return e
}
