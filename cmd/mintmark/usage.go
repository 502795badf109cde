package main

import (
	"context"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/usagesql"
	"mintmark/internal/usage"
)

// openUsage opens the ledger of what tokens are used for. A home has a file of
// counts; if it cannot be used, that stops nothing: nothing but counts is in it.
func (k *core) openUsage(ctx context.Context, h how) (err error) {
	c := usage.Config{Settle: func() { k.live.Settle() }, Masked: k.running.Masked, Now: k.clock.Now, Log: k.log, Writer: newID()}
	if k.dir != "" && !h.fresh {
		counts, aside, err := usagesql.Open(ctx, k.dir.Usage(), time.Now())
		if aside != "" {
			k.log.Warn("the file of counts could not be used; another was begun", "file", k.dir.Usage(), "moved_to", aside)
		}
		if err != nil {
			k.log.Error("counts of use are not saved: the file cannot be opened", "file", k.dir.Usage(), "error", err)
		} else {
			c.Store, k.counts = counts, counts
		}
	}
	k.usage, err = usage.New(c)
	return err
}

// recall tells the live set how tokens were used before this process began.
func (k *core) recall(ctx context.Context) {
	if k.counts == nil {
		return
	}
	since, err := k.counts.UsageSince(ctx)
	if err == nil {
		err = k.live.Recall(since, func(keys []authority.KeyID, each func(authority.TokenID, authority.KeyUse)) error {
			return k.counts.LastUses(ctx, keys, each)
		})
	}
	if err != nil && ctx.Err() == nil {
		k.log.Error("how tokens were used before this start is not known", "error", err)
	}
}
