package authority

import (
	"context"
	"time"
)

// TokenView is a token as an administrator sees it.
type TokenView struct {
	Token
	State           TokenState
	RestorableUntil time.Time // zero: a delete cannot be undone
	LastUse         Use
	Requests        *uint64      // allowed in the last 24 hours; nil: not known here
	Reused          UsageRefusal // use of a replaced token after its end; zero: none is known here
}

// Token answers one record.
func (a *Authority) Token(ctx context.Context, c Caller, id TokenID) (TokenView, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenView{}, err
	}
	v, err := a.read(ctx, id)
	if err != nil {
		return TokenView{}, err
	}
	return a.counted(ctx, v), nil
}

func (a *Authority) read(ctx context.Context, id TokenID) (TokenView, error) {
	var view TokenView
	err := a.Store.View(ctx, func(tx Tx) error {
		t, err := tx.Tokens().Get(id)
		if err != nil {
			return noToken(err)
		}
		s, err := system(tx)
		view = a.view(t, s.Generation)
		return err
	})
	return view, err
}

func (a *Authority) view(t Token, generation uint64) TokenView {
	v := TokenView{Token: t, State: t.State(a.Now(), generation), LastUse: a.Usage.LastUse(t.ID)}
	if t.Generation == generation {
		v.RestorableUntil = t.RestorableUntil(a.Policy().RestoreGrace)
	}
	return v
}

func (a *Authority) viewOf(ctx context.Context, t Token) (TokenView, error) {
	var view TokenView
	err := a.Store.View(ctx, func(tx Tx) error {
		s, err := system(tx)
		view = a.view(t, s.Generation)
		return err
	})
	return view, err
}
