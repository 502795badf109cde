package authority

import (
	"context"
	"time"
)

// usedRecently is how old a use may be and still say that a client is there.
const usedRecently = 24 * time.Hour

// othersRecently is how old what is known of other nodes' uses may be for a key to
// be said to be unused.
const othersRecently = time.Hour

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
	Counted time.Time        // use from here on is known
	Others  time.Time        // and up to here what other nodes have seen; zero: there are none, or it is not known
	All     int              // tokens that the key may have signed
	Counts  map[Movement]int // all of them by their movement
	Last    KeyUse           // the latest use under the key
	Tokens  []TokenEvidence  // those that were asked for
	Depends []TokenEvidence  // of those that still come under the key the first few, those of most concern first
	Trial   TrialRefused
	Shares  bool // the requests of the tokens are known
	Logins  int  // logins that are signed by it; they end with it
}

// TrialRefused is what the trial stop that began last has refused.
type TrialRefused struct {
	Requests uint64
	Tokens   int
	First    []TokenEvidence // a few of them, those of most concern first
}

// Named is how many tokens Depends and TrialRefused name.
const Named = 10

// EvidenceOrder is an order of evidence.
type EvidenceOrder string

// The orders of evidence.
const (
	ByConcern EvidenceOrder = ""       // by movement, and of each those seen last under the key first
	ByClient  EvidenceOrder = "client" // by client ID
	ByLast    EvidenceOrder = "last"   // those seen last under the key first
)

// EvidenceQuery says which rows of the evidence are wanted. However few, the rest
// is about all of them.
type EvidenceQuery struct {
	Movements []Movement // none: any
	Order     EvidenceOrder
	Limit     int // 0: no bound
}

// Count counts the tokens of a movement.
func (e *Evidence) Count(m Movement) int { return e.Counts[m] }

// LastUse is the latest use of a token under the key.
func (e *Evidence) LastUse() KeyUse { return e.Last }

// Evidence answers, for every live token that the named key may have signed,
// whether its client has moved to the current key: those of most concern first,
// and of them those seen last. It cannot see verifiers that work offline. It is
// refused of a key that nobody can move away from: the current and the next one.
func (a *Authority) Evidence(ctx context.Context, c Caller, name string) (Evidence, error) {
	return a.SomeEvidence(ctx, c, name, EvidenceQuery{})
}

// SomeEvidence is [Authority.Evidence] with the rows that are asked for.
func (a *Authority) SomeEvidence(ctx context.Context, c Caller, name string, q EvidenceQuery) (Evidence, error) {
	if err := c.mustAdmin(); err != nil {
		return Evidence{}, err
	}
	a.look(ctx)
	var s *survey
	err := a.Store.View(ctx, func(tx Tx) error {
		s = a.survey(q)
		return s.read(tx, name)
	})
	if err != nil {
		return Evidence{}, err
	}
	e := s.result()
	e.Shares = a.countUnder(ctx, e)
	if a.Ledger != nil {
		e.Others = a.Ledger.State().Others
	}
	return *e, nil
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

func loginsUnder(tx Tx, kid KeyID, now time.Time) (int, error) {
	n := 0
	for l, err := range tx.Logins().All() {
		if err != nil {
			return 0, err
		}
		if l.KeyID == kid && now.Before(l.ExpiresAt) {
			n++
		}
	}
	return n, nil
}
