package move

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// Move says where records go.
type Move struct {
	To authority.Store
	// AtOnce is how many tokens one change of To takes; 0: all.
	AtOnce int
	// Key gives a key's record the form that it has in To; nil: without a sealed
	// secret.
	Key func(authority.Key) (authority.Key, error)
	Now func() time.Time
	// Progress is told how many tokens of how many are there; nil: nobody is.
	Progress func(done, total int)
}

// Moved is what a move brought. Of tokens Carried and Existing count those that
// are active.
type Moved struct {
	Tokens   int // copied and compared, whatever their state
	Events   int // of the audit log
	Again    int // tokens that were there from an attempt before
	Carried  int // came along
	Existing int // were there before, and here not
	CaughtUp authority.CaughtUp
	Digest   string // SHA-256 over every token that was moved, alike on both sides
}

// copying is one attempt.
type copying struct {
	Move
	from  authority.Store
	empty bool // no token was there when it began
	moved Moved
}

// most copies what there is at one moment, while changes go on.
func (c *copying) most(ctx context.Context) error {
	return c.from.View(ctx, func(from authority.Tx) error {
		if err := c.log(ctx, from); err != nil {
			return err
		}
		if err := c.home(ctx, from, false); err != nil {
			return err
		}
		total, err := c.total(from)
		if err != nil {
			return err
		}
		if err := c.look(ctx); err != nil {
			return err
		}
		return c.tokens(ctx, from.Tokens().All(), total)
	})
}

// rest brings the other store level while nothing changes, and compares.
func (c *copying) rest(ctx context.Context, changed map[authority.TokenID]bool) (extras []authority.Changed[authority.TokenID, authority.Token], err error) {
	err = c.from.View(ctx, func(from authority.Tx) error {
		if err := c.log(ctx, from); err != nil {
			return err
		}
		if err := c.changes(ctx, from, changed); err != nil {
			return err
		}
		// A store without its System record cannot be opened: it comes last.
		if err := c.home(ctx, from, true); err != nil {
			return err
		}
		return c.To.View(ctx, func(to authority.Tx) error {
			extras, err = c.compare(from, to)
			return err
		})
	})
	return extras, err
}

// look sees whether there are tokens in the other store already.
func (c *copying) look(ctx context.Context) error {
	return c.To.View(ctx, func(to authority.Tx) error {
		c.empty = true
		for _, err := range to.Tokens().All() {
			c.empty = false
			return err
		}
		return nil
	})
}

func (c *copying) total(from authority.Tx) (int, error) {
	s, err := from.System().Get(authority.SystemKey)
	if err != nil {
		return 0, err
	}
	n, err := from.Tokens().Counts(c.Now(), s.Generation)
	return n.Active + n.Expired + n.Deleted + n.Revoked + n.Replaced, err
}

// eventsAtOnce is how many events one change takes.
const eventsAtOnce = 1000

var errForeign = &authority.Error{
	Kind: authority.Conflict, Code: "store.foreign",
	Msg: "That store belongs to another installation: the audit log here does not lead to it. Name an empty one.",
}

// log takes the audit log along, behind what of it is there. When the other
// store was left behind, what has ended since ends there in the same change.
func (c *copying) log(ctx context.Context, from authority.Tx) error {
	var there authority.Place
	err := c.To.View(ctx, func(to authority.Tx) (err error) {
		there, err = authority.LastEvent(to.Audit())
		return err
	})
	if err != nil {
		return err
	}
	if there.Seq > 0 {
		if err := leads(from.Audit(), there); err != nil {
			return err
		}
	}
	var some []authority.Event
	put := func() error {
		err := c.To.Update(ctx, func(to authority.Tx) error {
			caught, err := authority.CatchUp(to.Tokens(), tokenEvents(some))
			if err == nil && there.Seq > 0 { // else there is nothing that could be behind
				c.moved.CaughtUp.Changes += caught.Changes
			}
			return errors.Join(err, to.Audit().Append(some...))
		})
		c.moved.Events += len(some)
		some = some[:0]
		return err
	}
	for e, err := range authority.EventsAfter(from.Audit(), there.Seq) {
		if err != nil {
			return err
		}
		if some = append(some, e); len(some) == eventsAtOnce {
			if err := put(); err != nil {
				return err
			}
		}
	}
	if len(some) == 0 {
		return nil
	}
	return put()
}

// Log takes the audit log of one store along to another that has none, or the
// beginning of it.
func Log(ctx context.Context, from, to authority.Store) error {
	c := &copying{Move: Move{To: to}, from: from}
	return from.View(ctx, func(tx authority.Tx) error { return c.log(ctx, tx) })
}

func tokenEvents(all []authority.Event) []authority.Event {
	var out []authority.Event
	for _, e := range all {
		if strings.HasPrefix(e.Action, "token.") {
			out = append(out, e)
		}
	}
	return out
}

// leads answers nil when a place is one of a log's.
func leads(log authority.AuditTable, at authority.Place) error {
	page, err := log.Page(authority.AuditQuery{Before: at.Seq + 1, Limit: 1})
	if err != nil {
		return err
	}
	if len(page.Events) == 0 || page.Events[0].Seq != at.Seq || page.Events[0].Hash != at.Hash {
		return errForeign
	}
	return nil
}

// home copies the records that are few.
func (c *copying) home(ctx context.Context, from authority.Tx, system bool) error {
	r, err := authority.ReadRecords(from)
	if err != nil {
		return err
	}
	for i := range r.Keys {
		if r.Keys[i], err = c.key(r.Keys[i]); err != nil {
			return err
		}
	}
	var logins []authority.Login
	for l, err := range from.Logins().All() {
		if err != nil {
			return err
		}
		logins = append(logins, l)
	}
	err = c.To.Update(ctx, func(to authority.Tx) error {
		err := errors.Join(
			level(to.Keys(), r.Keys, stored.Keys(), false), level(to.Admins(), r.Admins, stored.Admins(), false),
			level(to.Logins(), logins, stored.Logins(), false), level(to.Throttles(), r.Throttles, stored.Throttles(), false),
		)
		if system && err == nil {
			err = level(to.System(), []authority.System{r.System}, stored.Systems(), false)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.To.Update(ctx, func(to authority.Tx) error { return level(to.Receipts(), r.Receipts, stored.Receipts(), true) })
}

func (c *copying) key(k authority.Key) (authority.Key, error) {
	k.Sealed = nil
	if c.Key == nil || k.State == authority.KeyRetired {
		return k, nil
	}
	return c.Key(k)
}

// tokens copies tokens in changes of a bearable size.
func (c *copying) tokens(ctx context.Context, all iter.Seq2[authority.Token, error], total int) error {
	done := 0
	var some []authority.Token
	put := func() error {
		again := 0
		err := c.To.Update(ctx, func(to authority.Tx) error {
			again = 0
			for i := range some {
				same, err := false, error(nil)
				if c.empty { // and a store is asked for nothing that it does not have
					err = to.Tokens().Insert(some[i])
				} else {
					same, err = putToken(to.Tokens(), some[i])
				}
				if err != nil {
					return err
				}
				if same {
					again++
				}
			}
			return nil
		})
		c.moved.Again += again
		done += len(some)
		some = some[:0]
		if c.Progress != nil {
			c.Progress(done, max(done, total))
		}
		return err
	}
	for t, err := range all {
		if err != nil {
			return err
		}
		if some = append(some, t); c.AtOnce > 0 && len(some) == c.AtOnce {
			if err := put(); err != nil {
				return err
			}
		}
	}
	if len(some) == 0 {
		return nil
	}
	return put()
}

// putToken reports whether the token was there as it is.
func putToken(to authority.TokenTable, t authority.Token) (same bool, err error) {
	have, err := to.Get(t.ID)
	switch {
	case err != nil && authority.KindOf(err) == authority.NotFound:
		return false, to.Insert(t)
	case err != nil:
		return false, err
	case !have.SameClaims(&t):
		return false, &authority.Error{
			Kind: authority.Conflict, Code: "store.both",
			Msg: fmt.Sprintf("The token %s is in both stores and is not the same. Name a store that does not hold tokens of this one.", t.ID),
		}
	}
	if same, err = alike(have, t, stored.Tokens()); same || err != nil {
		return same, err
	}
	return false, to.Put(t)
}

// changes copies what has changed while the rest was copied.
func (c *copying) changes(ctx context.Context, from authority.Tx, changed map[authority.TokenID]bool) error {
	var now []authority.Token
	var gone []authority.TokenID
	for id := range changed {
		t, err := from.Tokens().Get(id)
		switch {
		case err == nil:
			now = append(now, t)
		case authority.KindOf(err) == authority.NotFound:
			gone = append(gone, id)
		default:
			return err
		}
	}
	if len(now)+len(gone) == 0 {
		return nil
	}
	return c.To.Update(ctx, func(to authority.Tx) error {
		for _, t := range now {
			if _, err := putToken(to.Tokens(), t); err != nil {
				return err
			}
		}
		for _, id := range gone {
			if err := to.Tokens().Delete(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// level makes a table hold records, and others only if they may stay.
func level[K ~string, T interface{ RecordKey() K }](to authority.Table[K, T], records []T, codec stored.Codec[T], others bool) error {
	wanted := make(map[K]T, len(records))
	for _, r := range records {
		wanted[r.RecordKey()] = r
	}
	have := make(map[K]T)
	for r, err := range to.All() {
		if err != nil {
			return err
		}
		have[r.RecordKey()] = r
	}
	for k, r := range have {
		if _, ok := wanted[k]; !ok && !others {
			if err := to.Delete(r.RecordKey()); err != nil {
				return err
			}
		}
	}
	for _, r := range records {
		was, ok := have[r.RecordKey()]
		if !ok {
			if err := to.Insert(r); err != nil {
				return err
			}
			continue
		}
		if same, err := alike(was, r, codec); err != nil {
			return err
		} else if !same {
			if err := to.Put(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func alike[T any](a, b T, codec stored.Codec[T]) (bool, error) {
	x, err := codec.Encode(a)
	if err != nil {
		return false, err
	}
	y, err := codec.Encode(b)
	return bytes.Equal(x, y), err
}
