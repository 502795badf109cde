package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// Both say that everything is to be read again.
var (
	errGap  = errors.New("the changes since are not remembered any more")
	errFork = errors.New("the database is not the continuation of what was followed")
)

// publish tells followers what a commit of this store did. The caller holds
// follow.
func (s *Store) publish(to position, changes []authority.Change) {
	if s.at.revision != to.revision-1 {
		return // somebody has read it from the database already
	}
	for _, c := range changes {
		s.tell(c)
	}
	s.at.revision, s.at.batch = to.revision, to.batch
	s.level.change(func(t *time.Time) { *t = s.now() })
}

// tell hands one change to every follower, to each its own copy, and takes from
// it what the store itself keeps.
func (s *Store) tell(c authority.Change) {
	s.at.known = s.at.known.with(c)
	for _, f := range s.followers {
		f.Apply(cloneChange(c))
	}
}

// with is k after a change.
func (k *familiar) with(c authority.Change) *familiar {
	if len(c.Keys) == 0 && c.System == nil {
		return k
	}
	next := &familiar{keys: slices.Clone(k.keys), system: k.system}
	for _, x := range c.Keys {
		i, found := slices.BinarySearchFunc(next.keys, x.Key, func(a authority.Key, id authority.KeyID) int { return strings.Compare(string(a.ID), string(id)) })
		switch {
		case x.Value == nil && found:
			next.keys = slices.Delete(next.keys, i, i+1)
		case x.Value == nil:
		case found:
			next.keys[i] = x.Value.Clone()
		default:
			next.keys = slices.Insert(next.keys, i, x.Value.Clone())
		}
	}
	if c.System != nil {
		next.system = []authority.System{c.System.Clone()}
	}
	return next
}

// catchUp brings followers to the head that a transaction reads, and answers
// what the store knows there.
func (s *Store) catchUp(d *dbtx, h head) (*familiar, error) {
	s.follow.Lock()
	defer s.follow.Unlock()
	if err := s.reach(d, h, s.now()); err != nil {
		return nil, err
	}
	return s.at.known, nil
}

// reach brings followers to the head of a snapshot that was begun at a time. The
// caller holds follow.
func (s *Store) reach(d *dbtx, h head, began time.Time) error {
	c, err := authority.Change{}, error(nil)
	switch {
	case h.revision == s.at.revision && h.batch == s.at.batch:
	case h.revision <= s.at.revision:
		err = errFork
	default:
		c, err = changesSince(d, s.at, h.revision)
	}
	switch {
	case errors.Is(err, errFork), errors.Is(err, errGap):
		if errors.Is(err, errFork) {
			s.alarm(fmt.Sprintf("the database is not the continuation of the one before: it went from revision %d to another revision %d; changes may be lost, and everything was read again", s.at.revision, h.revision))
		}
		if err := s.reload(d, s.followers); err != nil {
			return err
		}
	case err != nil:
		return err
	case h.revision != s.at.revision:
		s.tell(c)
	}
	s.at.revision, s.at.batch = h.revision, h.batch
	s.level.change(func(t *time.Time) { *t = began })
	return nil
}

// reload reads everything, for some followers and for the store itself.
func (s *Store) reload(d *dbtx, followers []authority.Follower) error {
	k, err := readFamiliar(d)
	if err != nil {
		return err
	}
	s.at.known = k
	if len(followers) == 0 {
		return nil
	}
	all, err := snapshot(d)
	if err != nil {
		return err
	}
	for i, f := range followers {
		if i == len(followers)-1 {
			f.Load(all)
		} else {
			f.Load(cloneChange(all))
		}
	}
	return nil
}

// Follow implements authority.Store.
func (s *Store) Follow(ctx context.Context, f authority.Follower) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.follow.Lock()
	defer s.follow.Unlock()
	d, began := &dbtx{ctx: ctx, pool: s.views, bulk: true}, s.now()
	defer d.end()
	h, err := readHead(d, SelectHead)
	if err != nil {
		return err
	}
	if err := s.reach(d, h, began); err != nil {
		return err
	}
	if err := s.reload(d, []authority.Follower{f}); err != nil {
		return err
	}
	s.followers = append(s.followers, f)
	return nil
}

// Refresh brings followers level with the database, and keeps why it cannot
// among the facts. Who has seen a revision gives it, so that nothing is asked when
// the followers are there already; 0 asks in any case.
func (s *Store) Refresh(ctx context.Context, seen int64) error {
	s.follow.Lock()
	defer s.follow.Unlock()
	if seen > 0 && seen <= s.at.revision {
		return nil
	}
	err := s.refresh(ctx)
	if ctx.Err() == nil {
		s.apart.change(func(v *error) { *v = err })
	}
	return err
}

func (s *Store) refresh(ctx context.Context) error {
	d, began := &dbtx{ctx: ctx, pool: s.views}, s.now()
	defer d.end()
	h, err := readHead(d, SelectHead)
	if err != nil {
		return err
	}
	d.bulk = h.revision != s.at.revision
	return s.reach(d, h, began)
}

// alarm tells of something that somebody should look at.
func (s *Store) alarm(what string) {
	s.facts.change(func(f *authority.StoreFacts) { f.Alarm = what })
	if s.warn != nil {
		s.warn(what)
	}
}

// touched are the keys of the records that commits behind a revision touched.
func touched(d *dbtx, from position, to int64) (map[kind]map[string]bool, error) {
	var batch string
	found, err := d.row([]any{&batch}, `SELECT batch FROM commits WHERE revision = $1`, from.revision)
	switch {
	case err == nil && !found && from.revision > 0:
		err = errGap
	case err == nil && found && batch != from.batch:
		err = errFork
	}
	if err != nil {
		return nil, err
	}
	keys := make(map[kind]map[string]bool)
	seen := int64(0)
	err = d.rows(func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		var list []string
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return broken(fmt.Errorf("a commit: %w", err))
		}
		for _, k := range list {
			if keys[kind(k[:1])] == nil {
				keys[kind(k[:1])] = make(map[string]bool)
			}
			keys[kind(k[:1])][k[1:]] = true
		}
		seen++
		return nil
	}, `SELECT keys FROM commits WHERE revision > $1 AND revision <= $2`, from.revision, to)
	if err == nil && seen != to-from.revision {
		err = errGap
	}
	return keys, err
}

// changesSince reads the records that commits behind a revision touched, as they
// are now.
func changesSince(d *dbtx, from position, to int64) (authority.Change, error) {
	keys, err := touched(d, from, to)
	if err != nil {
		return authority.Change{}, err
	}
	var c authority.Change
	if c.Tokens, err = changed(tokenSource{d}, keys[kindToken]); err != nil {
		return c, err
	}
	if c.Logins, err = changed(source(d, kindLogin, stored.Logins(), nil), keys[kindLogin]); err != nil {
		return c, err
	}
	if c.Keys, err = changed(source(d, kindKey, stored.Keys(), nil), keys[kindKey]); err != nil {
		return c, err
	}
	if keys[kindSystem] != nil {
		c.System, err = source(d, kindSystem, stored.Systems(), nil).get(authority.SystemKey)
	}
	return c, err
}

func changed[K ~string, T any](r reader[K, T], keys map[string]bool) ([]authority.Changed[K, T], error) {
	var out []authority.Changed[K, T]
	for _, k := range sortedKeys(keys) {
		v, err := r.get(K(k))
		if err != nil {
			return nil, err
		}
		out = append(out, authority.Changed[K, T]{Key: K(k), Value: v})
	}
	return out, nil
}

// snapshot reads every record that followers are told of.
func snapshot(d *dbtx) (authority.Change, error) {
	var c authority.Change
	var n int
	if _, err := d.row([]any{&n}, `SELECT count(*) FROM tokens`); err != nil {
		return c, err
	}
	if err := d.exec(d.driver().Whole); err != nil {
		return c, err
	}
	c.Tokens = make([]authority.Changed[authority.TokenID, authority.Token], 0, n)
	values := make([]authority.Token, 0, n)
	r := newTokenReader()
	r.share = true
	err := d.rows(func(rows *sql.Rows) error {
		t, err := r.read(rows)
		values = append(values, t)
		return err
	}, `SELECT `+readColumns+` FROM tokens`)
	if err != nil {
		return c, err
	}
	for i := range values {
		c.Tokens = append(c.Tokens, authority.Changed[authority.TokenID, authority.Token]{Key: values[i].ID, Value: &values[i]})
	}
	t := &tx{db: d}
	for v, err := range t.Logins().All() {
		if err != nil {
			return c, err
		}
		c.Logins = append(c.Logins, authority.Changed[authority.LoginID, authority.Login]{Key: v.ID, Value: &v})
	}
	for v, err := range t.Keys().All() {
		if err != nil {
			return c, err
		}
		c.Keys = append(c.Keys, authority.Changed[authority.KeyID, authority.Key]{Key: v.ID, Value: &v})
	}
	for v, err := range t.System().All() {
		if err != nil {
			return c, err
		}
		c.System = &v
	}
	return c, nil
}

// cloneChange copies a change, so that no follower shares values with another
// or with the store.
func cloneChange(c authority.Change) authority.Change {
	return authority.Change{Tokens: cloneChanged(c.Tokens), Logins: cloneChanged(c.Logins), Keys: cloneChanged(c.Keys), System: cloned(c.System)}
}

func cloneChanged[K comparable, T interface{ Clone() T }](in []authority.Changed[K, T]) []authority.Changed[K, T] {
	if len(in) == 0 {
		return nil
	}
	out := make([]authority.Changed[K, T], len(in))
	for i, c := range in {
		out[i] = authority.Changed[K, T]{Key: c.Key, Value: cloned(c.Value)}
	}
	return out
}
