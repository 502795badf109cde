package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Keys lists every key, newest first.
func (a *Authority) Keys(ctx context.Context, c Caller) ([]Key, error) {
	if err := c.mustAdmin(); err != nil {
		return nil, err
	}
	var keys []Key
	err := a.Store.View(ctx, func(tx Tx) error {
		var err error
		keys, err = allKeys(tx)
		return err
	})
	return keys, err
}

// PublishedKeys lists the keys that anyone may know of: the next one, the
// current one, and previous ones while they are accepted.
func (a *Authority) PublishedKeys(ctx context.Context) ([]Key, error) {
	var published []Key
	err := a.Store.View(ctx, func(tx Tx) error {
		keys, err := allKeys(tx)
		published = nil
		for _, k := range keys {
			if k.State == KeyNext || k.Accepted(a.Now()) {
				published = append(published, k)
			}
		}
		return err
	})
	return published, err
}

// ResetResult is what a reset ended and began.
type ResetResult struct {
	Generation uint64
	Current    Key
	Tokens     int // active tokens that are revoked now
	Logins     int // logins that ended
}

// ResetKeys ends every token and every login at once: new keys, and a persisted
// generation that no earlier token or login has. No times are compared, so a
// token issued in the same second is as dead as any other. It holds when this
// returns.
func (a *Authority) ResetKeys(ctx context.Context, c Caller, reason string) (ResetResult, error) {
	if err := c.mustAdmin(); err != nil {
		return ResetResult{}, err
	}
	policy := a.Policy()
	if err := c.mustBeRecent(a.Now(), policy.StepUp); err != nil {
		return ResetResult{}, err
	}
	reason, fault := parseText("reason", reason, maxDescription)
	if fault != nil {
		return ResetResult{}, invalid(*fault)
	}
	a.keys.Lock()
	defer a.keys.Unlock()
	// The secrets exist before a record names them; should the transaction fail,
	// Keep forgets them.
	pair, err := a.generatePair(policy.Algorithm)
	if err != nil {
		return ResetResult{}, err
	}
	var result ResetResult
	err = a.Store.Update(ctx, func(tx Tx) error {
		result, err = a.reset(tx, c, pair, reason)
		return err
	})
	if keepErr := a.keepLiveSecrets(ctx); err == nil && keepErr != nil {
		return result, keepErr
	}
	return result, err
}

func (a *Authority) reset(tx Tx, c Caller, pair [2]Key, reason string) (ResetResult, error) {
	now := a.second()
	s, err := system(tx)
	if err != nil {
		return ResetResult{}, err
	}
	counts, err := tx.Tokens().Counts(now, s.Generation)
	if err != nil {
		return ResetResult{}, err
	}
	result := ResetResult{Tokens: counts.Active}
	for l, err := range tx.Logins().All() {
		if err != nil {
			return ResetResult{}, err
		}
		if err := tx.Logins().Delete(l.ID); err != nil {
			return ResetResult{}, err
		}
		if now.Before(l.ExpiresAt) {
			result.Logins++
		}
	}
	keys, err := allKeys(tx)
	if err != nil {
		return ResetResult{}, err
	}
	for _, k := range keys {
		if k.State == KeyRetired {
			continue
		}
		k.retire(now)
		if err := tx.Keys().Put(k); err != nil {
			return ResetResult{}, err
		}
	}
	s.Generation++
	s.ResetAt = now
	if err := tx.System().Put(s); err != nil {
		return ResetResult{}, err
	}
	if result.Current, err = insertPair(tx, pair, now); err != nil {
		return ResetResult{}, err
	}
	result.Generation = s.Generation
	e := c.event(now, "keys.reset")
	e.Target, e.Label = string(result.Current.ID), result.Current.Name
	e.Detail = map[string]string{
		"tokens": strconv.Itoa(result.Tokens), "logins": strconv.Itoa(result.Logins),
		"generation": strconv.FormatUint(s.Generation, 10), "reason": reason,
	}
	return result, tx.Audit().Append(e)
}

// Found makes the first records of an empty store: the system record and a
// current and a next key. Only the creation of a home, and a store that lives
// in memory, call it; it refuses a store that already has them.
func (a *Authority) Found(ctx context.Context, c Caller) error {
	if err := c.mustAdmin(); err != nil {
		return err
	}
	policy := a.Policy()
	pair, err := a.generatePair(policy.Algorithm)
	if err != nil {
		return err
	}
	cursorKey := make([]byte, 32)
	if _, err := io.ReadFull(a.Rand, cursorKey); err != nil {
		return &Error{Kind: Internal, Err: err}
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		if err := tx.System().Insert(System{Generation: 1, CursorKey: cursorKey}); err != nil {
			return err
		}
		key, err := insertPair(tx, pair, a.second())
		if err != nil {
			return err
		}
		e := c.event(a.Now().UTC(), "store.founded")
		e.Target, e.Label = string(key.ID), key.Name
		return tx.Audit().Append(e)
	})
}

// Founded reports whether the store has its first records.
func (a *Authority) Founded(ctx context.Context) (bool, error) {
	err := a.Store.View(ctx, func(tx Tx) error {
		_, err := tx.System().Get(SystemKey)
		return err
	})
	if KindOf(err) == NotFound {
		return false, nil
	}
	return err == nil, err
}

// CheckCustody refuses to go on when a key that signs or verifies has no
// secret: a lost keyring is an error, never a reason to make another.
func (a *Authority) CheckCustody(ctx context.Context, has func(KeyID) bool) error {
	return a.Store.View(ctx, func(tx Tx) error {
		keys, err := allKeys(tx)
		if err != nil {
			return err
		}
		if _, err := currentKey(tx); err != nil {
			return err
		}
		for _, k := range keys {
			if k.State != KeyRetired && !has(k.ID) {
				return fail(Conflict, "key.secret_missing", fmt.Sprintf(
					"The secret of %s is not in the keyring. Put the keyring file of this home back, or end every token and login with: manager support reset-jwt-key", k.Name))
			}
		}
		return nil
	})
}

// RenewNext replaces the next key when the policy asks for another algorithm
// than it has; the current key stays. It reports whether it did.
func (a *Authority) RenewNext(ctx context.Context, c Caller) (bool, error) {
	if err := c.mustAdmin(); err != nil {
		return false, err
	}
	algorithm := a.Policy().Algorithm
	a.keys.Lock()
	defer a.keys.Unlock()
	keys, err := a.Keys(ctx, c)
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		if k.State == KeyNext && k.Algorithm == algorithm {
			return false, nil
		}
	}
	next, err := a.generate(algorithm)
	if err != nil {
		return false, err
	}
	err = a.Store.Update(ctx, func(tx Tx) error {
		now := a.second()
		keys, err := allKeys(tx)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if k.State != KeyNext {
				continue
			}
			k.retire(now)
			if err := tx.Keys().Put(k); err != nil {
				return err
			}
		}
		next.Name, next.State, next.CreatedAt = keyName(keys, now), KeyNext, now
		if err := tx.Keys().Insert(next); err != nil {
			return err
		}
		e := c.event(now, "key.next_renewed")
		e.Target, e.Label, e.Detail = string(next.ID), next.Name, map[string]string{"algorithm": algorithm}
		return tx.Audit().Append(e)
	})
	if err != nil {
		return false, err
	}
	return true, a.keepLiveSecrets(ctx)
}

// generate makes a secret, and the beginning of the record that will name it.
func (a *Authority) generate(algorithm string) (Key, error) {
	kid, err := a.Custody.Generate(algorithm)
	if err != nil {
		return Key{}, err
	}
	sealed, err := a.Custody.Sealed(kid)
	return Key{ID: kid, Algorithm: algorithm, Sealed: sealed}, err
}

func (a *Authority) generatePair(algorithm string) (pair [2]Key, err error) {
	for i := range pair {
		if pair[i], err = a.generate(algorithm); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// insertPair adds a current and a next key and answers the current one.
func insertPair(tx Tx, pair [2]Key, now time.Time) (Key, error) {
	for i, state := range []KeyState{KeyCurrent, KeyNext} {
		keys, err := allKeys(tx)
		if err != nil {
			return Key{}, err
		}
		k := &pair[i]
		k.Name, k.State, k.CreatedAt = keyName(keys, now), state, now
		if state == KeyCurrent {
			k.CurrentSince = now
		}
		if err := tx.Keys().Insert(*k); err != nil {
			return Key{}, err
		}
	}
	return pair[0], nil
}

// keepLiveSecrets drops the secrets of keys that are retired or never came to
// have a record.
func (a *Authority) keepLiveSecrets(ctx context.Context) error {
	var keep []KeyID
	err := a.Store.View(ctx, func(tx Tx) error {
		keys, err := allKeys(tx)
		keep = nil
		for _, k := range keys {
			if k.State != KeyRetired {
				keep = append(keep, k.ID)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return a.Custody.Keep(keep)
}

func allKeys(tx Tx) ([]Key, error) {
	var keys []Key
	for k, err := range tx.Keys().All() {
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	sortNewestFirst(keys)
	return keys, nil
}

func currentKey(tx Tx) (Key, error) {
	for k, err := range tx.Keys().All() {
		if err != nil {
			return Key{}, err
		}
		if k.State == KeyCurrent {
			return k, nil
		}
	}
	return Key{}, &Error{Kind: Internal, Err: errors.New("the store has no current key")}
}

// keyName gives the next free name of the year: key_2026a … key_2026z,
// key_2026aa …
func keyName(keys []Key, now time.Time) string {
	prefix := "key_" + strconv.Itoa(now.Year())
	last := 0
	for _, k := range keys {
		if letters, ok := strings.CutPrefix(k.Name, prefix); ok {
			last = max(last, lettersToNumber(letters))
		}
	}
	return prefix + numberToLetters(last+1)
}

func lettersToNumber(s string) int {
	n := 0
	for _, c := range []byte(s) {
		n = n*26 + int(c-'a') + 1
	}
	return n
}

func numberToLetters(n int) string {
	var b []byte
	for ; n > 0; n = (n - 1) / 26 {
		b = append([]byte{byte('a' + (n-1)%26)}, b...)
	}
	return string(b)
}
