package usage

import (
	"context"
	"slices"
	"time"

	"mintmark/internal/authority"
)

// look is how far this process has read what is saved.
type look struct {
	turn chan struct{} // held by who looks
	mark uint64
	keys []authority.KeyID
	at   time.Time
}

// Look is authority.Ledger's. It also hands over what an earlier process has saved,
// so it does so once where nobody else saves.
func (l *Ledger) Look(ctx context.Context) error {
	if l.config.Store == nil || l.config.Recall == nil {
		return nil
	}
	select {
	case l.look.turn <- struct{}{}:
		defer func() { <-l.look.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !l.config.Shared && !l.look.at.IsZero() {
		return nil
	}
	began := l.config.Now().UTC()
	since, err := l.config.Store.UsageSince(ctx)
	if err != nil {
		return err
	}
	err = l.config.Recall(since, func(keys []authority.KeyID, each func(authority.TokenID, authority.KeyUse)) error {
		after := l.look.mark
		if !slices.Equal(keys, l.look.keys) { // what was read before was about others
			after = 0
		}
		mark, err := l.config.Store.LastUses(ctx, keys, after, each)
		if err == nil {
			l.look.mark, l.look.keys = mark, keys
		}
		return err
	})
	if err != nil {
		return err
	}
	l.look.at = began
	if l.config.Shared {
		l.told.Lock()
		l.others = began.Truncate(time.Second)
		l.told.Unlock()
	}
	return nil
}

// lookTime bounds a look: the first one at millions of tokens takes a while.
const lookTime = 10 * Every

// lookNow is a look of Run's.
func (l *Ledger) lookNow(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if err := l.Look(within); err != nil && ctx.Err() == nil {
		l.config.Log.Error("what is saved of how tokens were used was not read; it is tried again", "error", err)
	}
}

// tell has the store of the tokens know when those of some batches were last used,
// for its order. What it cannot take now it is told with the next.
func (l *Ledger) tell(ctx context.Context) error {
	if l.config.Keeper == nil || len(l.used) == 0 {
		return nil
	}
	uses := make([]authority.Used, 0, len(l.used))
	for id, last := range l.used {
		uses = append(uses, authority.Used{ID: id, At: at(last)})
	}
	if err := l.config.Keeper.UsedAt(ctx, uses); err != nil && len(l.used) < maxRows {
		return err
	}
	l.used = nil
	return nil
}

// note remembers the last uses of a batch for tell.
func (l *Ledger) note(b *batch) {
	if l.config.Keeper == nil {
		return
	}
	if l.used == nil {
		l.used = make(map[authority.TokenID]uint32)
	}
	for id, e := range b.tokens {
		for _, k := range e.keys {
			l.used[id] = max(l.used[id], k.last)
		}
	}
}
