package authority

import (
	"context"
	"iter"
	"slices"
	"sync"
)

// Records is what a store holds but for logins and the audit log.
type Records struct {
	Tokens    []Token
	Receipts  []Receipt
	Keys      []Key
	Admins    []Admin
	Throttles []Throttle
	System    System
}

// Place is an event of the audit log; the zero Place is before the first.
type Place struct {
	Seq  uint64
	Hash string
}

// Snapshot runs fn on one consistent state for a backup; secrets is called first,
// while the Custody still has the secret of every key in that state. Only the
// local operator may: what a backup holds signs every token. The event about it
// is part of the state.
func (a *Authority) Snapshot(ctx context.Context, c Caller, secrets func(), fn func(Tx) error) error {
	if err := c.mustBeLocal(); err != nil {
		return err
	}
	a.keys.Lock()
	release := sync.OnceFunc(a.keys.Unlock)
	defer release()
	err := a.Store.Update(ctx, func(tx Tx) error {
		e := c.event(a.Now().UTC(), "backup.created")
		e.Target, e.Label = "backup", "backup"
		return tx.Audit().Append(e)
	})
	if err != nil {
		return err
	}
	return a.Store.View(ctx, func(tx Tx) error {
		secrets()
		release() // a backup takes its time, and nobody waits for it
		return fn(tx)
	})
}

// mustBeLocal is the check of what nobody may do from afar.
func (c Caller) mustBeLocal() error {
	if err := c.mustAdmin(); err != nil {
		return err
	}
	if !c.local {
		return fail(Forbidden, "caller.not_local", "This can only be done on the machine of the server, by the user of the service.")
	}
	return nil
}

// ReadRecords reads every record but the tokens.
func ReadRecords(tx Tx) (Records, error) {
	var r Records
	var err error
	r.Keys, err = collect(tx.Keys().All(), err)
	r.Admins, err = collect(tx.Admins().All(), err)
	r.Throttles, err = collect(tx.Throttles().All(), err)
	r.Receipts, err = collect(tx.Receipts().All(), err)
	if err != nil {
		return Records{}, err
	}
	r.System, err = system(tx)
	return r, err
}

func collect[T any](all iter.Seq2[T, error], before error) ([]T, error) {
	if before != nil {
		return nil, before
	}
	var out []T
	for v, err := range all {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// EventsAfter yields the audit log behind a number, oldest first; 0 is all of it.
func EventsAfter(log AuditTable, seq uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		newest, err := LastEvent(log)
		if err != nil {
			yield(Event{}, err)
			return
		}
		for seq < newest.Seq {
			page, err := log.Page(AuditQuery{Before: min(seq+MaxPage, newest.Seq) + 1, Limit: MaxPage})
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range slices.Backward(page.Events) {
				if e.Seq > seq && !yield(e, nil) {
					return
				}
			}
			seq = min(seq+MaxPage, newest.Seq)
		}
	}
}

// LastEvent is the end of the audit log.
func LastEvent(log AuditTable) (Place, error) {
	page, err := log.Page(AuditQuery{Limit: 1})
	if err != nil || len(page.Events) == 0 {
		return Place{}, err
	}
	return Place{page.Events[0].Seq, page.Events[0].Hash}, nil
}
