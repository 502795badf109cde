package authority

import (
	"context"
	"errors"
	"strconv"
)

// ResealKeys seals the secrets of all keys that are not retired anew, in one
// commit, under what the Custody seals with now: what sealed them before is not
// needed any more when it returns. It answers how many they are. A store that
// carries no secrets is a Conflict, and so is a secret that is not here.
func (a *Authority) ResealKeys(ctx context.Context, c Caller) (int, error) {
	if err := c.mustAdmin(); err != nil {
		return 0, err
	}
	if err := c.mustBeRecent(a.Now(), a.Policy().StepUp); err != nil {
		return 0, err
	}
	a.keys.Lock()
	defer a.keys.Unlock()
	if err := a.Custody.Refresh(); err != nil {
		return 0, err
	}
	var n int
	err := a.Store.Update(ctx, func(tx Tx) error {
		n = 0
		keys, err := allKeys(tx)
		if err != nil {
			return err
		}
		e := c.event(a.second(), "keys.resealed")
		for _, k := range keys {
			if k.State == KeyRetired {
				continue
			}
			if err := a.reseal(tx, k); err != nil {
				return err
			}
			if n++; k.State == KeyCurrent {
				e.Target, e.Label = string(k.ID), k.Name
			}
		}
		e.Detail = map[string]string{"keys": strconv.Itoa(n)}
		return tx.Audit().Append(e)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (a *Authority) reseal(tx Tx, k Key) error {
	if k.Sealed == nil {
		return fail(Conflict, "key.not_sealed", "The secrets of the keys last in this server's own keyring file; only those of a fleet are sealed.")
	}
	sealed, err := a.Custody.Sealed(k.ID)
	if err == nil && sealed == nil {
		err = errors.New("the custody does not seal")
	}
	if err != nil {
		return &Error{Kind: Conflict, Code: "key.secret_missing", Msg: "The secret of " + k.Name + " is not on this node; nothing was sealed.", Err: err}
	}
	k.Sealed = sealed
	return tx.Keys().Put(k)
}
