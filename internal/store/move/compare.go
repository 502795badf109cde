package move

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"iter"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// DifferenceError says that what was copied is not what was there.
type DifferenceError struct{ What string }

func (e *DifferenceError) Error() string {
	return "the records in the new store are not those of the old one (" + e.What + "); the store was not changed"
}

// compare reads every record from both sides. Tokens that only the other store
// has are answered: they are to be told to followers.
func (c *copying) compare(from, to authority.Tx) (extras []authority.Changed[authority.TokenID, authority.Token], err error) {
	if err := c.compareHome(from, to); err != nil {
		return nil, err
	}
	system, err := from.System().Get(authority.SystemKey)
	if err != nil {
		return nil, err
	}
	now, codec := c.Now(), stored.Tokens()
	sides := [2]hash.Hash{sha256.New(), sha256.New()}
	next, stop := iter.Pull2(to.Tokens().All())
	defer stop()
	there, err, more := next()
	c.moved.Tokens, c.moved.Carried, c.moved.Existing = 0, 0, 0
	extra := func() {
		if there.State(now, system.Generation) == authority.StateActive {
			c.moved.Existing++
		}
		t := there
		extras = append(extras, authority.Changed[authority.TokenID, authority.Token]{Key: t.ID, Value: &t})
	}
	for here, failed := range from.Tokens().All() {
		for ; more && err == nil && there.ID < here.ID; there, err, more = next() {
			extra()
		}
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		if !more || there.ID != here.ID {
			return nil, &DifferenceError{"a token is missing"}
		}
		if err := errors.Join(add(sides[0], here, codec), add(sides[1], there, codec)); err != nil {
			return nil, err
		}
		c.moved.Tokens++
		if here.State(now, system.Generation) == authority.StateActive {
			c.moved.Carried++
		}
		there, err, more = next()
	}
	for ; more && err == nil; there, err, more = next() {
		extra()
	}
	if err != nil {
		return nil, err
	}
	if c.moved.Digest = hex.EncodeToString(sides[0].Sum(nil)); c.moved.Digest != hex.EncodeToString(sides[1].Sum(nil)) {
		return nil, &DifferenceError{"the digests of the tokens differ"}
	}
	return extras, nil
}

func add[T any](h hash.Hash, v T, codec stored.Codec[T]) error {
	text, err := codec.Encode(v)
	h.Write(text)
	h.Write([]byte{'\n'})
	return err
}

// Digest counts the tokens of a store and answers the SHA-256 over them that
// Moved.Digest is, where every token of the store was moved.
func Digest(ctx context.Context, s authority.Store) (tokens int, digest string, err error) {
	err = s.View(ctx, func(tx authority.Tx) error {
		h := sha256.New()
		tokens = 0
		for t, err := range tx.Tokens().All() {
			if err = errors.Join(err, add(h, t, stored.Tokens())); err != nil {
				return err
			}
			tokens++
		}
		digest = hex.EncodeToString(h.Sum(nil))
		return nil
	})
	return tokens, digest, err
}

func (c *copying) compareHome(from, to authority.Tx) error {
	a, err := authority.ReadRecords(from)
	if err != nil {
		return err
	}
	b, err := authority.ReadRecords(to)
	if err != nil {
		return err
	}
	for _, keys := range [][]authority.Key{a.Keys, b.Keys} {
		for i := range keys {
			keys[i].Sealed = nil // each store has its own form of it
		}
	}
	logins := func(tx authority.Tx) (out []authority.Login) {
		for l, failed := range tx.Logins().All() {
			err = errors.Join(err, failed)
			out = append(out, l)
		}
		return out
	}
	x, y := logins(from), logins(to)
	lastA, errA := authority.LastEvent(from.Audit())
	lastB, errB := authority.LastEvent(to.Audit())
	if err := errors.Join(err, errA, errB); err != nil {
		return err
	}
	for what, same := range map[string]func() (bool, error){
		"keys":           func() (bool, error) { return equal(a.Keys, b.Keys, stored.Keys()) },
		"administrators": func() (bool, error) { return equal(a.Admins, b.Admins, stored.Admins()) },
		"throttles":      func() (bool, error) { return equal(a.Throttles, b.Throttles, stored.Throttles()) },
		"sign-ins":       func() (bool, error) { return equal(x, y, stored.Logins()) },
		"system":         func() (bool, error) { return alike(a.System, b.System, stored.Systems()) },
		"audit log":      func() (bool, error) { return lastA == lastB, nil },
	} {
		if ok, err := same(); err != nil {
			return err
		} else if !ok {
			return &DifferenceError{what}
		}
	}
	return nil
}

func equal[T any](a, b []T, codec stored.Codec[T]) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		if same, err := alike(a[i], b[i], codec); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}
