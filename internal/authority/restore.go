package authority

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RestoreTokens says what becomes of the tokens of a backup when nobody knows
// which of them have ended since.
type RestoreTokens string

// The values of RestoreTokens. The zero value is for a home that knows.
const (
	RestoreRevoke RestoreTokens = "revoke" // every token ends, and the keys are new
	RestoreKeep   RestoreTokens = "keep"   // those that were valid at the backup's time are valid, but for what is known to have ended
)

// Here is what the home that a backup is restored into still knows; the zero
// Here knows nothing.
type Here struct {
	Records
	// Known: its audit log leads back to the backup. Since is what it tells of the
	// time since then, oldest first.
	Known bool
	Since []Event
}

// Restoring is one restore.
type Restoring struct {
	By     Caller
	At     time.Time
	ID     string // tells this restore from others
	From   string // what people call the backup
	Taken  time.Time
	Tokens RestoreTokens
	// Fresh are the ids and algorithms of a current and a next key, for
	// RestoreRevoke.
	Fresh [2]Key
}

// Returned counts what a restore brings back and ends.
type Returned struct {
	Known  bool // what has ended since the backup is known
	Active int  // valid after it
	Ended  int  // valid in the backup, and not after it
	Lost   int  // valid here before it, and not in the backup: they end
}

// Return is what a store holds after a restore, and the event about it. Nothing
// that has ended comes back unless Tokens is RestoreKeep: what the home knows to
// have ended stays so; where nobody knows, every token ends. The generation is
// higher than any before, so no token but those that are given it is valid.
func (r Restoring) Return(b Records, here Here) (Records, Returned, Event) {
	out := b
	out.System.Generation = max(b.System.Generation, here.System.Generation) + 1
	out.Tokens = nil
	did := Returned{Known: here.Known}
	if here.Known {
		r.known(&out, b, here)
	} else {
		r.unknown(&out, b, here)
	}
	if r.Tokens == RestoreRevoke {
		r.renew(&out)
	}
	now := r.At
	active := func(tokens []Token, generation uint64) map[TokenID]bool {
		set := make(map[TokenID]bool)
		for i := range tokens {
			if tokens[i].State(now, generation) == StateActive {
				set[tokens[i].ID] = true
			}
		}
		return set
	}
	after, before, there := active(out.Tokens, out.System.Generation), active(b.Tokens, b.System.Generation), active(here.Tokens, here.System.Generation)
	did.Active = len(after)
	for id := range before {
		if !after[id] {
			did.Ended++
		}
	}
	for id := range there {
		if !after[id] && !before[id] {
			did.Lost++
		}
	}
	return out, did, r.event(did, out.System.Generation)
}

func (r Restoring) event(did Returned, generation uint64) Event {
	tokens := string(r.Tokens)
	if did.Known && r.Tokens != RestoreRevoke {
		tokens = "known"
	}
	e := r.By.event(r.At.UTC(), "backup.restored")
	e.Target, e.Label = r.From, r.From
	e.Detail = map[string]string{
		"restore": r.ID, "taken_at": r.Taken.UTC().Format(time.RFC3339), "tokens": tokens, "generation": strconv.FormatUint(generation, 10),
		"active": strconv.Itoa(did.Active), "ended": strconv.Itoa(did.Ended), "lost": strconv.Itoa(did.Lost),
	}
	return e
}

// known brings records up to what this home knows: whatever it has is newer.
func (r Restoring) known(out *Records, b Records, here Here) {
	tokens := make(map[TokenID]Token, len(b.Tokens))
	for _, t := range b.Tokens {
		tokens[t.ID] = t.Clone()
	}
	for _, e := range here.Since {
		if t, ok := tokens[TokenID(e.Target)]; ok && strings.HasPrefix(e.Action, "token.") && t.redo(e) {
			tokens[t.ID] = t
		}
	}
	for _, t := range here.Tokens {
		if _, ok := tokens[t.ID]; ok {
			tokens[t.ID] = t.Clone()
		}
	}
	for id, t := range tokens {
		// A reset since the backup has left them in a generation that is over.
		if t.Generation == here.System.Generation && r.Tokens != RestoreRevoke {
			t.Generation = out.System.Generation
			tokens[id] = t
		}
	}
	for _, t := range here.Tokens { // issued since: they stay where they can be looked at, and end
		if _, ok := tokens[t.ID]; !ok {
			tokens[t.ID] = t.Clone()
		}
	}
	out.Tokens = ordered(tokens)
	out.Receipts = union(here.Receipts, b.Receipts)
	out.Keys = slices.Clone(here.Keys)
	out.Keys = append(out.Keys, r.tombstones(b.Keys, here.Keys)...)
	if len(here.Admins) > 0 { // who was deleted since does not come back
		out.Admins = here.Admins
	}
	out.Throttles = here.Throttles
	generation := out.System.Generation
	out.System = here.System
	out.System.Generation = generation
}

func (r Restoring) unknown(out *Records, b Records, here Here) {
	for _, t := range b.Tokens {
		if t = t.Clone(); r.Tokens == RestoreKeep && t.Generation == b.System.Generation {
			t.Generation = out.System.Generation
		}
		out.Tokens = append(out.Tokens, t)
	}
	out.Keys = append(slices.Clone(b.Keys), r.tombstones(here.Keys, b.Keys)...)
	if len(b.Admins) == 0 {
		out.Admins = here.Admins
	}
}

// renew retires every key for two new ones.
func (r Restoring) renew(out *Records) {
	now := r.At.UTC().Truncate(time.Second)
	out.System.ResetAt = now
	for i := range out.Keys {
		if out.Keys[i].State != KeyRetired {
			out.Keys[i].retire(now)
		}
	}
	for i, state := range []KeyState{KeyCurrent, KeyNext} {
		k := r.Fresh[i]
		k.Name, k.State, k.CreatedAt = keyName(out.Keys, now), state, now
		if state == KeyCurrent {
			k.CurrentSince = now
		}
		out.Keys = append(out.Keys, k)
	}
}

// tombstones are the keys of one side that the other does not know, retired: a
// kid is never used twice.
func (r Restoring) tombstones(keys, known []Key) []Key {
	var out []Key
	for _, k := range keys {
		if slices.ContainsFunc(known, func(o Key) bool { return o.ID == k.ID }) {
			continue
		}
		if k.State != KeyRetired {
			k.retire(r.At.UTC().Truncate(time.Second))
		}
		out = append(out, k)
	}
	return out
}

// union is every record of both; of two with one key, the first side's.
func union[K ~string, T interface{ RecordKey() K }](first, second []T) []T {
	all := make(map[K]T)
	for _, v := range slices.Concat(second, first) {
		all[v.RecordKey()] = v
	}
	return ordered(all)
}

func ordered[K ~string, T any](all map[K]T) []T {
	out := make([]T, 0, len(all))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[k])
	}
	return out
}

// Reinstate makes records all that a store holds, and the event about it its
// newest: every login ends. It is for a store that nobody else uses; it may be
// done again after it was cut short, and does nothing twice. Tokens come first:
// until the generation follows, none of them is valid.
func Reinstate(ctx context.Context, s Store, r Records, e Event) error {
	err := s.Update(ctx, func(tx Tx) error {
		if err := replace(tx.Tokens(), r.Tokens); err != nil {
			return err
		}
		return replace(tx.Receipts(), r.Receipts)
	})
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx Tx) error {
		if err := replace(tx.Keys(), r.Keys); err != nil {
			return err
		}
		if err := replace(tx.Admins(), r.Admins); err != nil {
			return err
		}
		if err := replace(tx.Logins(), nil); err != nil {
			return err
		}
		if err := replace(tx.Throttles(), r.Throttles); err != nil {
			return err
		}
		if err := replace(tx.System(), []System{r.System}); err != nil {
			return err
		}
		page, err := tx.Audit().Page(AuditQuery{Action: e.Action, Limit: 1})
		if err != nil || len(page.Events) == 1 && page.Events[0].Detail["restore"] == e.Detail["restore"] {
			return err
		}
		return tx.Audit().Append(e)
	})
}

// Replay appends the events of another log to an empty one, where they get the
// numbers and hashes that they had if the other began with its first. It goes on
// where it was cut short.
func Replay(ctx context.Context, s Store, events []Event) error {
	const atOnce = 1000
	var have Place
	err := s.View(ctx, func(tx Tx) error {
		var err error
		have, err = LastEvent(tx.Audit())
		return err
	})
	if err != nil {
		return err
	}
	for rest := events[min(have.Seq, uint64(len(events))):]; len(rest) > 0; {
		some := rest[:min(atOnce, len(rest))]
		if err := s.Update(ctx, func(tx Tx) error { return tx.Audit().Append(some...) }); err != nil {
			return err
		}
		rest = rest[len(some):]
	}
	return nil
}

// replace makes records all that a table holds.
func replace[K ~string, T interface{ RecordKey() K }](t Table[K, T], records []T) error {
	wanted := make(map[K]T, len(records))
	for _, v := range records {
		wanted[v.RecordKey()] = v
	}
	var put, gone []K
	for v, err := range t.All() {
		if err != nil {
			return err
		}
		if _, ok := wanted[v.RecordKey()]; ok {
			put = append(put, v.RecordKey())
		} else {
			gone = append(gone, v.RecordKey())
		}
	}
	for _, k := range gone {
		if err := t.Delete(k); err != nil {
			return err
		}
	}
	for _, k := range put {
		if err := t.Put(wanted[k]); err != nil {
			return err
		}
		delete(wanted, k)
	}
	for _, k := range slices.Sorted(maps.Keys(wanted)) {
		if err := t.Insert(wanted[k]); err != nil {
			return err
		}
	}
	return nil
}
