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
	before := make(map[authority.TokenID]uint32) // what was saved before this process began
	err = l.config.Recall(since, func(keys []authority.KeyID, each func(authority.TokenID, authority.KeyUse)) error {
		after := l.look.mark
		if !slices.Equal(keys, l.look.keys) { // what was read before was about others
			after = 0
		}
		if l.look.at.IsZero() && l.config.Keeper != nil {
			tellUse := each
			each = func(id authority.TokenID, use authority.KeyUse) {
				before[id] = max(before[id], seconds(use.Last))
				tellUse(id, use)
			}
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
	l.missed(before)
	if l.config.Shared {
		l.told.Lock()
		l.others = began.Truncate(time.Second)
		l.told.Unlock()
	}
	return nil
}

// tellNow is a tell of Run's, without a flush before it.
func (l *Ledger) tellNow(ctx context.Context) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.tell(ctx)
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

// missed has the next tell name last uses that the store of the tokens may not know:
// it was made anew, from a backup, or was away when it was to be told.
func (l *Ledger) missed(uses map[authority.TokenID]uint32) {
	if len(uses) == 0 {
		return
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	for id, last := range l.used {
		uses[id] = max(uses[id], last)
	}
	l.used = uses
}

// tell has the store of the tokens know when those of some batches were last used,
// for its order. What it cannot take now it is told with the next. The caller holds
// writing.
func (l *Ledger) tell(ctx context.Context) {
	if l.config.Keeper == nil || len(l.used) == 0 {
		return
	}
	uses := make([]authority.Used, 0, len(l.used))
	for id, last := range l.used {
		uses = append(uses, authority.Used{ID: id, At: at(last)})
	}
	if err := l.config.Keeper.UsedAt(ctx, uses); err != nil {
		l.config.Log.Warn("the order of tokens by last use is not up to date; it is tried again", "error", err)
		return
	}
	l.used = nil
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
