package main

import (
	"context"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/usagesql"
	"mintmark/internal/usage"
)

// openUsage opens the ledger of what tokens are used for. Counts last in the
// database that nodes share, else in a file of the home; if that cannot be used,
// it stops nothing: nothing but counts is in it.
func (k *core) openUsage(ctx context.Context, h how) (err error) {
	c := usage.Config{
		Settle: func() { k.live.Settle() }, Masked: k.running.Masked, Now: k.clock.Now, Log: k.log, Writer: newID(), Keeper: k.store,
		Recall: func(since time.Time, load func([]authority.KeyID, func(authority.TokenID, authority.KeyUse)) error) error {
			return k.live.Recall(since, load)
		},
	}
	if k.dir != "" && !h.fresh {
		c.Store, c.Shared = k.openCounts(ctx)
		k.counts = c.Store
	}
	k.usage, err = usage.New(c)
	return err
}

// openCounts opens where counts last, nil when they cannot, and reports whether
// other nodes count there, too.
func (k *core) openCounts(ctx context.Context) (counts authority.UsageStore, shared bool) {
	if store, ok := k.store.Present().(*postgres.Store); ok {
		db := store.Beside(usagesql.Connections)
		s, err := usagesql.Attach(ctx, db, time.Now())
		if err != nil {
			_ = db.Close()
			k.log.Error("counts of use are not saved: the database does not take them", "error", err)
			return nil, false
		}
		return s, true
	}
	s, aside, err := usagesql.Open(ctx, k.dir.Usage(), time.Now())
	if aside != "" {
		k.log.Warn("the file of counts could not be used; another was begun", "file", k.dir.Usage(), "moved_to", aside)
	}
	if err != nil {
		k.log.Error("counts of use are not saved: the file cannot be opened", "file", k.dir.Usage(), "error", err)
		return nil, false
	}
	return s, false
}

// recall tells the live set how tokens were used before this process began.
func (k *core) recall(ctx context.Context) {
	if err := k.usage.Look(ctx); err != nil && ctx.Err() == nil {
		k.log.Error("how tokens were used before this start is not known", "error", err)
	}
}

// tellUses has a store that sorts by last use know the last uses of before it was
// the present one.
func (k *core) tellUses(ctx context.Context) {
	if _, sorts := k.store.Present().(authority.UseKeeper); !sorts {
		return
	}
	var uses []authority.Used
	err := k.store.View(ctx, func(tx authority.Tx) error {
		uses = nil
		for t, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			if at := k.live.LastUse(t.ID).At; !at.IsZero() {
				uses = append(uses, authority.Used{ID: t.ID, At: at})
			}
		}
		return nil
	})
	if err == nil {
		err = k.store.UsedAt(ctx, uses)
	}
	if err != nil {
		k.log.Warn("the order of tokens by last use begins anew", "error", err)
	}
}
