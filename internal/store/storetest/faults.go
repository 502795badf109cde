package storetest

import (
	"context"
	"errors"
	"sync/atomic"

	"mintmark/internal/authority"
)

// FailBefore answers Unavailable to each n-th Update without calling the store.
func FailBefore(s authority.Store, n int) authority.Store {
	return &faulty{Store: s, n: int64(n), fault: func(context.Context, authority.Store, func(authority.Tx) error) error {
		return unavailable()
	}}
}

// FailAndForget runs each n-th Update, throws its changes away and answers
// Unavailable: the commit failed.
func FailAndForget(s authority.Store, n int) authority.Store {
	return &faulty{Store: s, n: int64(n), fault: func(ctx context.Context, s authority.Store, fn func(authority.Tx) error) error {
		return s.Update(ctx, func(tx authority.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			return unavailable()
		})
	}}
}

// FailAndPersist commits each n-th Update and answers Unavailable all the same:
// the answer was lost.
func FailAndPersist(s authority.Store, n int) authority.Store {
	return &faulty{Store: s, n: int64(n), fault: func(ctx context.Context, s authority.Store, fn func(authority.Tx) error) error {
		if err := s.Update(ctx, fn); err != nil {
			return err
		}
		return unavailable()
	}}
}

type faulty struct {
	authority.Store
	n     int64
	calls atomic.Int64
	fault func(context.Context, authority.Store, func(authority.Tx) error) error
}

func (f *faulty) Update(ctx context.Context, fn func(authority.Tx) error) error {
	if f.calls.Add(1)%f.n == 0 {
		return f.fault(ctx, f.Store, fn)
	}
	return f.Store.Update(ctx, fn)
}

var errInjected = errors.New("injected fault")

func unavailable() error {
	return &authority.Error{Kind: authority.Unavailable, Code: "store.unavailable", Err: errInjected}
}

// patient tries an Update again as long as it fails by injection, as a caller
// would.
type patient struct{ authority.Store }

func (p patient) Update(ctx context.Context, fn func(authority.Tx) error) error {
	for {
		if err := p.Store.Update(ctx, fn); !errors.Is(err, errInjected) {
			return err
		}
	}
}
