package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
)

// patience is how long a change waits for the store to take its event, and the key
// that it needs. The change itself lasts already, and is in force.
const patience = 5 * time.Second

// errWaits says that the store has not answered somebody else yet.
var errWaits = fmt.Errorf("%w: the store does not answer", authority.Unavailable)

// later does what changes have left to do, one caller at a time, while there is
// patience. No change waits for it: a store that hangs keeps no trial from its end.
func (c *Control) later(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return errWaits
	}
	defer func() { <-c.turn }()
	return do(ctx)
}

// record moves what a change has left in the book. The change and its note last
// together already, so a failure fails nothing: the note waits for CatchUp, and the
// status says so.
func (c *Control) record(ctx context.Context, by authority.Caller) {
	_ = c.later(context.WithoutCancel(ctx), func(ctx context.Context) error { return c.move(ctx, by) })
}

// finish is record once something was applied, or was not: then it answers why. An
// apply of nothing mends what was cut short the last time.
func (c *Control) finish(ctx context.Context, by authority.Caller, a Applied, failed error) error {
	if failed != nil || len(a.Differences) > 0 && !a.changes(config.Algorithm) && !c.keyless.Load() {
		c.record(ctx, by)
		return failed
	}
	err := c.later(context.WithoutCancel(ctx), func(ctx context.Context) error {
		_ = c.move(ctx, by) // as record
		return c.renew(ctx, by)
	})
	if errors.Is(err, errWaits) {
		return c.withoutKey(err)
	}
	return err
}

func (a Applied) changes(property string) bool {
	return slices.ContainsFunc(a.Differences, func(d Difference) bool { return d.Property == property })
}

// CatchUp does what changes have left to do, also those of an earlier process: it
// makes the key that an applied algorithm lacks, and moves their notes into the audit
// log. It waits at most 5 s for a store that heeds its context, and may be called
// at any time.
func (c *Control) CatchUp(ctx context.Context, by authority.Caller) error {
	if !c.keyless.Load() && (c.Book == nil || len(c.Book.Pending()) == 0) {
		return nil
	}
	return c.later(ctx, func(ctx context.Context) error {
		var err error
		if c.keyless.Load() { // before the notes: a process that begins knows it by them
			err = c.renew(ctx, by)
		}
		return errors.Join(err, c.move(ctx, by))
	})
}

// renew makes the next key one of the algorithm that is in force.
func (c *Control) renew(ctx context.Context, by authority.Caller) error {
	c.keyless.Store(false) // before the algorithm is read: it may change meanwhile
	if _, err := c.Authority.RenewNext(ctx, by); err != nil {
		return c.withoutKey(err)
	}
	return nil
}

func (c *Control) withoutKey(err error) error {
	c.keyless.Store(true)
	return &authority.Error{
		Kind: authority.KindOf(err), Code: "config.next_key", Err: err,
		Msg: "The settings are applied, but no signing key of that algorithm could be made. Apply once more.",
	}
}

// changeID is the member of an event's detail that holds Change.ID.
const changeID = "change"

// move moves the book's pending changes into the audit log. They get there in
// one commit, so if the newest event of the book's is one of them, a crash kept
// the book from dropping it and all before it.
func (c *Control) move(ctx context.Context, by authority.Caller) error {
	if c.Book == nil {
		return nil
	}
	pending := c.Book.Pending()
	if len(pending) == 0 {
		return nil
	}
	page, err := c.Authority.Audit(ctx, by, authority.AuditQuery{Action: "config.", Limit: 1})
	if err != nil {
		return err
	}
	var news []authority.Recorded
	for _, p := range pending {
		id, revision := strconv.FormatUint(p.ID, 10), strconv.FormatUint(p.Revision, 10)
		if len(page.Events) == 1 && page.Events[0].Detail[changeID] == id && page.Events[0].At.Equal(p.At) {
			news = nil
			continue
		}
		detail := map[string]string{"revision": revision, changeID: id}
		for name, change := range p.Items {
			detail[name] = change
		}
		news = append(news, authority.Recorded{
			At: p.At, Actor: authority.Actor{Kind: p.By.Kind, Name: p.By.Name}, From: p.By.From,
			Action: p.Action, Target: "revision " + revision, Detail: detail,
		})
	}
	if err := c.Authority.Record(ctx, by, news); err != nil {
		return err
	}
	return translate(c.Book.RecordedThrough(pending[len(pending)-1].ID))
}
