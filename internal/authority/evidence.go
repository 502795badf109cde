package authority

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// usedRecently is how old a use may be and still say that a client is there.
const usedRecently = 24 * time.Hour

// Movement is how far the client of a token has moved from one key to the
// current one.
type Movement string

// The movements, those of most concern first.
const (
	NotMoved Movement = "not_moved" // since the rotation it came under the old key only
	Mixed    Movement = "mixed"     // it came under both, and not long ago under the old one
	Silent   Movement = "silent"    // it has not come since the rotation, which proves nothing
	Moved    Movement = "moved"     // it comes under the current key
)

// Movements lists them, those of most concern first.
func Movements() []Movement { return []Movement{NotMoved, Mixed, Silent, Moved} }

// TokenEvidence is what is known of one token's move.
type TokenEvidence struct {
	TokenView
	Movement      Movement
	Under, Since  KeyUse   // its use under the key in question and under the current one, both since the rotation
	Day, Rotation Requests // since the rotation: in the last 24 hours, and as far back as hours are known
	TrialRefusals uint64   // refused for nothing but the trial stop that began last
	TrialRefused  time.Time
}

// Evidence is who still depends on a key.
type Evidence struct {
	Key     Key
	Current Key
	AsOf    time.Time
	Counted time.Time // use from here on is known
	Tokens  []TokenEvidence
	Shares  bool // the requests of the tokens are known
	Logins  int  // logins that are signed by it; they end with it
}

// Count counts the tokens of a movement.
func (e *Evidence) Count(m Movement) int {
	n := 0
	for _, t := range e.Tokens {
		if t.Movement == m {
			n++
		}
	}
	return n
}

// LastUse is the latest use of a token under the key.
func (e *Evidence) LastUse() KeyUse {
	var last KeyUse
	for _, t := range e.Tokens {
		if t.Under.Last.After(last.Last) {
			last = t.Under
		}
	}
	return last
}

// Evidence answers, for every live token that the named key may have signed,
// whether its client has moved to the current key: those of most concern first,
// and of them those seen last. It cannot see verifiers that work offline.
func (a *Authority) Evidence(ctx context.Context, c Caller, name string) (Evidence, error) {
	if err := c.mustAdmin(); err != nil {
		return Evidence{}, err
	}
	a.look(ctx)
	var e Evidence
	err := a.Store.View(ctx, func(tx Tx) error {
		var err error
		e = Evidence{AsOf: a.Now().UTC(), Counted: a.Usage.Since()}
		if e.Key, err = namedKey(tx, name); err != nil {
			return err
		}
		if e.Current, err = currentKey(tx); err != nil {
			return err
		}
		if e.Logins, err = loginsUnder(tx, e.Key.ID); err != nil {
			return err
		}
		s, err := system(tx)
		if err != nil {
			return err
		}
		for t, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			if t.State(e.AsOf, s.Generation) != StateActive {
				continue
			}
			if row, depends := a.evidence(&e, a.view(t, s.Generation)); depends {
				e.Tokens = append(e.Tokens, row)
			}
		}
		return nil
	})
	slices.SortFunc(e.Tokens, func(a, b TokenEvidence) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Movements(), a.Movement), slices.Index(Movements(), b.Movement)),
			b.Under.Last.Compare(a.Under.Last), cmp.Compare(a.ClientID, b.ClientID), cmp.Compare(a.ID, b.ID),
		)
	})
	if err != nil {
		return e, err
	}
	e.Shares = a.countUnder(ctx, &e)
	return e, nil
}

// lookTime bounds how long is waited for what other nodes have seen.
const lookTime = time.Second

// look learns what other nodes have seen up to now. Without that an answer is
// still one; LedgerState tells how old what is known of them is.
func (a *Authority) look(ctx context.Context) {
	if a.Fleet == nil || a.Ledger == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	_ = a.Ledger.Look(ctx)
}

// evidence is the row of one live token, unless the key cannot have signed it.
func (a *Authority) evidence(e *Evidence, v TokenView) (TokenEvidence, bool) {
	row := TokenEvidence{TokenView: v, Movement: Silent}
	for _, u := range a.Usage.KeyUses(v.ID) {
		switch {
		case u.Key == e.Key.ID && !(e.Key.State == KeyPrevious && u.Last.Before(e.Current.CurrentSince)):
			row.Under = u
		case u.Key == e.Current.ID:
			row.Since = u
		}
	}
	if row.Under.Key == "" && v.CreatedAt.After(e.Current.CurrentSince) && e.Key.ID != e.Current.ID {
		return row, false // issued after the rotation
	}
	row.TrialRefusals, row.TrialRefused = a.Usage.TrialRefusals(v.ID)
	row.Movement = movement(row.Under, row.Since, e.AsOf)
	if v.Contacted.At.Before(e.Current.CurrentSince) {
		row.Contacted = Contact{} // about an earlier rotation
	}
	return row, true
}

func movement(under, since KeyUse, now time.Time) Movement {
	switch {
	case under.Key == "" && since.Key == "":
		return Silent
	case since.Key == "":
		return NotMoved
	case under.Key == "", under.Last.Before(since.First), now.Sub(under.Last) >= usedRecently:
		return Moved
	}
	return Mixed
}

func (a *Authority) useUnder(id TokenID, kid KeyID) KeyUse {
	for _, u := range a.Usage.KeyUses(id) {
		if u.Key == kid {
			return u
		}
	}
	return KeyUse{}
}

func loginsUnder(tx Tx, kid KeyID) (int, error) {
	n := 0
	for l, err := range tx.Logins().All() {
		if err != nil {
			return 0, err
		}
		if l.KeyID == kid {
			n++
		}
	}
	return n, nil
}
