package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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
			k.trouble(slog.LevelError, "counts of use are not saved: the database does not take them", "error", err)
			return nil, false
		}
		if err := k.carryCounts(ctx, s); err != nil {
			k.trouble(slog.LevelWarn, "what was counted before this server shared a database is not there yet; it is tried again at the next start", "error", err)
		}
		return s, true
	}
	s := k.openFile(ctx)
	if s == nil {
		return nil, false
	}
	return s, false
}

// openFile opens this home's own file of counts; nil: it cannot be opened.
func (k *core) openFile(ctx context.Context) *usagesql.Store {
	s, aside, err := usagesql.Open(ctx, k.dir.Usage(), time.Now())
	if aside != "" {
		k.trouble(slog.LevelWarn, "the file of counts could not be used; another was begun", "file", k.dir.Usage(), "moved_to", aside)
	}
	if err != nil {
		k.trouble(slog.LevelError, "counts of use are not saved: the file cannot be opened", "file", k.dir.Usage(), "error", err)
		return nil
	}
	return s
}

// trouble tells what is wrong with counts of use: in the log of a server, else to
// whoever gave the command.
func (k *core) trouble(level slog.Level, text string, about ...any) {
	k.log.Log(context.Background(), level, text, about...)
	if k.warn == nil {
		return
	}
	for i := 0; i < len(about); i += 2 {
		text += fmt.Sprintf("; %s: %s", about[i], about[i+1])
	}
	k.warn("%s", text)
}

// leaving is behind the name of a file of counts that is carried over; the rest is
// what it is called as a writer in the database.
const leaving = ".leaving-"

// carryCounts adds what this home counted for itself to the counts that nodes
// share. The file gets another name first: nothing is counted into it any more, so
// that an attempt that was cut short can be made again.
func (k *core) carryCounts(ctx context.Context, shared *usagesql.Store) error {
	path := k.dir.Usage()
	if _, err := os.Lstat(path); err == nil {
		if err := setDatabaseAside(path, path+leaving+newID()); err != nil {
			return err
		}
	}
	all, err := os.ReadDir(string(k.dir))
	if err != nil {
		return err
	}
	for _, entry := range all {
		writer, is := strings.CutPrefix(entry.Name(), filepath.Base(path)+leaving)
		if !is || len(writer) != len(newID()) { // it belongs to another file, which SQLite keeps beside it
			continue
		}
		left := path + leaving + writer
		if err := k.carryFile(ctx, left, writer, shared); err != nil {
			return err
		}
		if err := os.Rename(left, path+".before"); err != nil {
			return err
		}
	}
	return nil
}

func (k *core) carryFile(ctx context.Context, path, writer string, shared *usagesql.Store) (err error) {
	file, err := usagesql.OpenKept(ctx, path, time.Now())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	total, err := file.Tokens(ctx)
	if err != nil {
		return err
	}
	tell, end := k.progress.of("Moving counts of use")
	defer end()
	done := 0
	for b, err := range file.Batches(ctx, writer) {
		if err == nil {
			err = shared.AddUsage(ctx, b)
		}
		if err != nil {
			return err
		}
		if done += len(b.Records); tell != nil {
			tell(done, total)
		}
	}
	since, err := file.UsageSince(ctx)
	if err != nil {
		return err
	}
	return shared.BeganAt(ctx, since)
}

// keepUses notes in this home's own file how tokens were last used, when the state
// leaves the database that counts them: the lists say so still, and it adds nothing
// to what a later move back finds there.
func (k *core) keepUses(ctx context.Context) {
	file := k.openFile(ctx)
	if file == nil {
		return
	}
	tell, end := k.progress.of("Keeping last uses")
	defer end()
	b, kept := authority.UsageBatch{Writer: newID()}, 0
	add := func() error {
		b.Number++
		err := file.AddUsage(ctx, b)
		if kept += len(b.Records); tell != nil {
			tell(kept, k.live.Len())
		}
		b.Records = nil
		return err
	}
	err := k.store.View(ctx, func(tx authority.Tx) error {
		b.Records = nil
		for t, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			if uses := k.live.KeyUses(t.ID); len(uses) > 0 {
				b.Records = append(b.Records, authority.UsageRecord{Token: t.ID, Keys: uses})
			}
			if len(b.Records) == tokensAtOnce {
				if err := add(); err != nil {
					return err
				}
			}
		}
		return add()
	})
	if err = errors.Join(err, file.Close()); err != nil {
		k.trouble(slog.LevelWarn, "when tokens were last used is not known from now on", "error", err)
	}
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
