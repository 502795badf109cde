package authority

import (
	"context"
	"errors"
	"time"
)

// maxReplaceOverlap is how long a replaced token may live on.
const maxReplaceOverlap = 90 * 24 * time.Hour

// ReplaceToken gives a token a successor that inherits everything but the id,
// for the same lifetime within what policy allows, and ends the old one
// after an overlap; 0 ends it now. Until then both are valid, and UndoReplace
// takes it back.
func (a *Authority) ReplaceToken(ctx context.Context, c Caller, id TokenID, overlap time.Duration) (Issued, error) {
	return a.replace(ctx, c, id, overlap, false)
}

// ReplaceWhenSeen is ReplaceToken with an overlap that also ends once the
// successor was allowed from every source that the old token was allowed from in
// the 14 days before the replacement or since, and the old one has not been used
// for ten minutes. A source is an address and the proxy before it. With more
// sources than MaxSources, and with none, the overlap ends at its time alone.
func (a *Authority) ReplaceWhenSeen(ctx context.Context, c Caller, id TokenID, overlap time.Duration) (Issued, error) {
	return a.replace(ctx, c, id, overlap, true)
}

func (a *Authority) replace(ctx context.Context, c Caller, id TokenID, overlap time.Duration, whenSeen bool) (Issued, error) {
	if err := c.mustAdmin(); err != nil {
		return Issued{}, err
	}
	if overlap < 0 || overlap > maxReplaceOverlap {
		return Issued{}, invalid(FieldError{"overlap", "overlap.range", "A replaced token lives on for 90 days at most."})
	}
	random, err := randomText(a.Rand, idLength)
	if err != nil {
		return Issued{}, err
	}
	policy, now := a.Policy(), a.second()
	a.keys.RLock()
	defer a.keys.RUnlock()
	var successor Token
	_, err = a.changeToken(ctx, c, id, func(tx Tx, t *Token, s System) (string, error) {
		switch state := t.State(now, s.Generation); {
		case state != StateActive:
			return "", notLive(t, state)
		case t.ReplacedBy != "":
			return "", fail(Conflict, "token.replaced", "This token has a successor already: "+t.ReplacedBy.String()+".")
		}
		successor = policy.successor(t, now)
		successor.ID, successor.CreatedBy = TokenID(tokenPrefix+random), c.actor.Name
		t.ReplacedBy, t.EndsAt, t.RetireWhenSeen = successor.ID, now.Add(overlap).Truncate(time.Second), whenSeen
		return "token.replaced", a.insertToken(tx, c, &successor, Receipt{})
	})
	if err != nil {
		return Issued{}, err
	}
	if whenSeen {
		a.handovers.add(id)
	}
	return a.issued(ctx, successor)
}

// successor is a new token for whom t was made.
func (p Policy) successor(t *Token, now time.Time) Token {
	n := t.Clone()
	n.Issuer, n.CreatedAt, n.ExpiresAt = p.Issuer, now, time.Time{}
	n.Replaces, n.ReplacedBy, n.EndsAt, n.RetireWhenSeen, n.Contacted = t.ID, "", time.Time{}, false, Contact{}
	life := p.DefaultLifetime
	switch {
	case !t.ExpiresAt.IsZero():
		life = t.ExpiresAt.Sub(t.CreatedAt)
	case p.NeverExpire && p.MaxLifetime == 0:
		return n
	}
	if p.MaxLifetime > 0 {
		life = min(life, p.MaxLifetime)
	}
	n.ExpiresAt = now.Add(life).Truncate(time.Second)
	if last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC); n.ExpiresAt.After(last) {
		n.ExpiresAt = last
	}
	return n
}

// UndoReplace takes a replacement back while the overlap lasts: the successor is
// deleted and the old token goes on as before. It is refused for a token without a
// successor, also once it has been done; and while a token is valid that the
// successor has given way to in its turn: two would be left where there was one.
func (a *Authority) UndoReplace(ctx context.Context, c Caller, id TokenID) (TokenView, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenView{}, err
	}
	now := a.second()
	t, err := a.changeToken(ctx, c, id, func(tx Tx, t *Token, s System) (string, error) {
		if t.ReplacedBy == "" {
			return "", fail(Conflict, "token.not_replaced", t.ID.String()+" has no successor: there is no replacement to take back.")
		}
		if state := t.State(now, s.Generation); state != StateActive {
			return "", notLive(t, state)
		}
		successor, err := tx.Tokens().Get(t.ReplacedBy)
		if err != nil && KindOf(err) != NotFound {
			return "", err
		}
		if err == nil {
			if err := noneAfter(tx, &successor, now, s.Generation); err != nil {
				return "", err
			}
		}
		if err == nil && successor.DeletedAt.IsZero() {
			successor.DeletedAt, successor.DeletedBy = now, c.actor.Name
			err := errors.Join(tx.Tokens().Put(successor), tx.Audit().Append(tokenEvent(c, now, "token.deleted", &successor, nil)))
			if err != nil {
				return "", err
			}
		}
		t.ReplacedBy, t.EndsAt, t.RetireWhenSeen = "", time.Time{}, false
		return "token.replace_undone", nil
	})
	if err != nil {
		return TokenView{}, err
	}
	return a.viewOf(ctx, t)
}

// noneAfter refuses when a token is valid that came in the place of t, however many
// there were in between.
func noneAfter(tx Tx, t *Token, now time.Time, generation uint64) error {
	for next := t.ReplacedBy; next != ""; {
		n, err := tx.Tokens().Get(next)
		switch {
		case KindOf(err) == NotFound:
			return nil
		case err != nil:
			return err
		case n.State(now, generation) == StateActive:
			return fail(Conflict, "token.replaced_again", "Its successor "+t.ID.String()+" was replaced as well, and "+n.ID.String()+" is valid: undo that replacement first, or delete that token.")
		}
		next = n.ReplacedBy
	}
	return nil
}

// MarkContacted notes that whoever uses a token was told to move. A later note
// takes the place of an earlier one.
func (a *Authority) MarkContacted(ctx context.Context, c Caller, id TokenID, note string) (TokenView, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenView{}, err
	}
	note, fault := parseText("note", note, maxDescription)
	if fault != nil {
		return TokenView{}, invalid(*fault)
	}
	t, err := a.changeToken(ctx, c, id, func(_ Tx, t *Token, _ System) (string, error) {
		t.Contacted = Contact{At: a.second(), By: c.actor.Name, Note: note}
		return "token.contacted", nil
	})
	if err != nil {
		return TokenView{}, err
	}
	return a.viewOf(ctx, t)
}
