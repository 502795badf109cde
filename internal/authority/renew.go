package authority

import (
	"context"
	"errors"
	"time"
)

// RenewLogin lets the key that signs now sign the caller's login, so that it
// outlives the key that signed it before: the same login, with the same end. The
// zero SignedIn says that nothing had to be done.
func (a *Authority) RenewLogin(ctx context.Context, c Caller) (SignedIn, error) {
	if c.login == "" {
		return SignedIn{}, nil
	}
	a.keys.RLock()
	defer a.keys.RUnlock()
	var l Login
	renewed := false
	err := a.Store.Update(ctx, func(tx Tx) error {
		renewed = false
		var err error
		if l, err = tx.Logins().Get(c.login); err != nil {
			return err
		}
		key, err := currentKey(tx)
		if err != nil || l.KeyID == key.ID {
			return err
		}
		renewed, l.KeyID = true, key.ID
		e := c.event(a.Now().UTC(), "login.renewed")
		e.Target, e.Label, e.Detail = string(l.ID), l.Admin, map[string]string{"key": key.Name}
		return errors.Join(tx.Logins().Put(l), tx.Audit().Append(e))
	})
	if err != nil || !renewed {
		return SignedIn{}, err
	}
	return a.signLogin(ctx, l)
}

// ResetAt is when the last reset was; zero when there was none. Anyone may know:
// it tells those whom it signed out why.
func (a *Authority) ResetAt(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := a.Store.View(ctx, func(tx Tx) error {
		s, err := system(tx)
		at = s.ResetAt
		return err
	})
	return at, err
}

// ExportEvidence is [Authority.Evidence] to take away; a login needs a recent
// password for it.
func (a *Authority) ExportEvidence(ctx context.Context, c Caller, name string) (Evidence, error) {
	if err := c.mustBeRecent(a.Now(), a.Policy().StepUp); err != nil {
		return Evidence{}, err
	}
	return a.Evidence(ctx, c, name)
}
