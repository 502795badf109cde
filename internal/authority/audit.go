package authority

import (
	"context"
	"errors"
	"time"
)

// Audit answers one page of the audit log, newest first.
func (a *Authority) Audit(ctx context.Context, c Caller, q AuditQuery) (AuditPage, error) {
	if err := c.mustAdmin(); err != nil {
		return AuditPage{}, err
	}
	if q.Limit == 0 {
		q.Limit = DefaultPage
	}
	if q.Limit < 1 || q.Limit > MaxPage {
		return AuditPage{}, invalid(FieldError{"limit", "limit.range", "A page has 1 to 500 entries."})
	}
	if !storable(q.Actor, q.Target, q.Action, q.Outcome) { // nothing matches, as nothing is before the first
		q = AuditQuery{Before: 1, Limit: q.Limit}
	}
	var page AuditPage
	err := a.Store.View(ctx, func(tx Tx) error {
		var err error
		page, err = tx.Audit().Page(q)
		return err
	})
	return page, err
}

// Recorded is a change that committed outside the store together with its own
// note, such as an applied configuration, and belongs in the audit log.
type Recorded struct {
	At     time.Time
	Actor  Actor
	From   string
	Action string // "config.applied"
	Target string
	Detail map[string]string
}

// Record moves such changes into the audit log, in order.
func (a *Authority) Record(ctx context.Context, c Caller, changes []Recorded) error {
	if err := c.mustAdmin(); err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		for _, r := range changes {
			e := Event{At: r.At, Actor: r.Actor, Action: r.Action, Target: r.Target, Label: r.Target, From: r.From, Outcome: OutcomeOK, Detail: r.Detail}
			if err := tx.Audit().Append(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// Maintain puts down what has expired and removes what has ended: deleted
// tokens past their keep, receipts, logins, and secrets that a crash kept from
// being forgotten. It may be called at any time; one failure keeps nothing else
// from being done.
func (a *Authority) Maintain(ctx context.Context) error {
	return errors.Join(a.noteExpired(ctx), a.PurgeDeleted(ctx), a.PurgeLogins(ctx), a.forgetSecrets(ctx), a.pruneUsage(ctx))
}

// pruneUsage drops old counts, but not because of a clock that may have jumped.
func (a *Authority) pruneUsage(ctx context.Context) error {
	if a.Ledger == nil || !a.pulse.settled() {
		return nil
	}
	return a.Ledger.Prune(ctx, a.Now().UTC())
}

func (a *Authority) forgetSecrets(ctx context.Context) error {
	a.keys.Lock()
	defer a.keys.Unlock()
	return a.keepLiveSecrets(ctx)
}
