package mapstore

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// tx is one transaction: its own copy of a state, and what it did to it.
type tx struct {
	state
	trail    trail
	edit     *edit // nil: a view
	memo     *memo // of a view
	codecs   *codecs
	inTokens bool // changed something that belongs to the token file
	inHome   bool // changed something that belongs to state.json
	events   []authority.Event
	changed  changes
}

// codecs of the records that have a file; nil members have none.
type codecs struct {
	token    *stored.Codec[authority.Token]
	receipt  *stored.Codec[authority.Receipt]
	key      *stored.Codec[authority.Key]
	admin    *stored.Codec[authority.Admin]
	login    *stored.Codec[authority.Login]
	throttle *stored.Codec[authority.Throttle]
	system   *stored.Codec[authority.System]
}

// changes collects what followers are told; nil values are removals.
type changes struct {
	tokens map[authority.TokenID]*authority.Token
	logins map[authority.LoginID]*authority.Login
	keys   map[authority.KeyID]*authority.Key
	system map[string]*authority.System
}

func (t *tx) Tokens() authority.TokenTable {
	return &tokenTable{table[authority.TokenID, authority.Token]{
		t, &t.state.tokens, func(c *codecs) *stored.Codec[authority.Token] { return c.token }, &t.inTokens, &t.changed.tokens,
	}}
}

func (t *tx) Receipts() authority.Table[string, authority.Receipt] {
	return &table[string, authority.Receipt]{
		t, &t.state.receipts, func(c *codecs) *stored.Codec[authority.Receipt] { return c.receipt }, &t.inTokens, nil,
	}
}

func (t *tx) Keys() authority.Table[authority.KeyID, authority.Key] {
	return &table[authority.KeyID, authority.Key]{
		t, &t.state.keys, func(c *codecs) *stored.Codec[authority.Key] { return c.key }, &t.inHome, &t.changed.keys,
	}
}

func (t *tx) Admins() authority.Table[string, authority.Admin] {
	return &table[string, authority.Admin]{
		t, &t.state.admins, func(c *codecs) *stored.Codec[authority.Admin] { return c.admin }, &t.inHome, nil,
	}
}

func (t *tx) Logins() authority.Table[authority.LoginID, authority.Login] {
	return &table[authority.LoginID, authority.Login]{
		t, &t.state.logins, func(c *codecs) *stored.Codec[authority.Login] { return c.login }, &t.inHome, &t.changed.logins,
	}
}

func (t *tx) Throttles() authority.Table[string, authority.Throttle] {
	return &table[string, authority.Throttle]{
		t, &t.state.throttles, func(c *codecs) *stored.Codec[authority.Throttle] { return c.throttle }, &t.inHome, nil,
	}
}

func (t *tx) System() authority.Table[string, authority.System] {
	return &table[string, authority.System]{
		t, &t.state.system, func(c *codecs) *stored.Codec[authority.System] { return c.system }, &t.inHome, &t.changed.system,
	}
}

func (t *tx) Audit() authority.AuditTable { return (*auditTable)(t) }

// idle reports whether the transaction changed nothing.
func (t *tx) idle() bool { return !t.inTokens && !t.inHome && len(t.events) == 0 }

// change is what followers are told.
func (t *tx) change() authority.Change {
	c := authority.Change{Tokens: listed(t.changed.tokens), Logins: listed(t.changed.logins), Keys: listed(t.changed.keys)}
	c.System = t.changed.system[authority.SystemKey]
	return c
}

func listed[K cmp.Ordered, T any](m map[K]*T) []authority.Changed[K, T] {
	var out []authority.Changed[K, T]
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, authority.Changed[K, T]{Key: k, Value: m[k]})
	}
	return out
}

// table is one kind of record within a transaction.
type table[K ~string, T record[K, T]] struct {
	tx      *tx
	rows    *sorted[K, T]
	codec   func(*codecs) *stored.Codec[T]
	touched *bool
	told    *map[K]*T // nil: followers do not care
}

var errReadOnlyTx = &authority.Error{Kind: authority.Internal, Code: "store.view", Err: errors.New("a change inside a view")}

func (t *table[K, T]) Get(key K) (T, error) {
	if w := t.rows.get(key); w != nil {
		return w.value.Clone(), nil
	}
	var none T
	return none, fmt.Errorf("%T %q: %w", none, key, authority.NotFound)
}

func (t *table[K, T]) Insert(v T) error {
	if t.rows.get(v.RecordKey()) != nil {
		return fmt.Errorf("%T %q: %w", v, v.RecordKey(), authority.Conflict)
	}
	return t.write(v)
}

func (t *table[K, T]) Put(v T) error {
	if t.rows.get(v.RecordKey()) == nil {
		return fmt.Errorf("%T %q: %w", v, v.RecordKey(), authority.NotFound)
	}
	return t.write(v)
}

func (t *table[K, T]) write(v T) error {
	if t.tx.edit == nil {
		return errReadOnlyTx
	}
	w, err := rowOf[K](v, t.codec(t.tx.codecs))
	if err != nil {
		return &authority.Error{Kind: authority.Internal, Code: "store.encode", Err: err}
	}
	t.rows.put(w, t.tx.edit)
	t.tell(v.RecordKey(), &w.value)
	return nil
}

func (t *table[K, T]) Delete(key K) error {
	if t.tx.edit == nil {
		return errReadOnlyTx
	}
	if t.rows.remove(key, t.tx.edit) {
		t.tell(key, nil)
	}
	return nil
}

func (t *table[K, T]) tell(key K, v *T) {
	*t.touched = true
	if t.told == nil {
		return
	}
	if *t.told == nil {
		*t.told = make(map[K]*T)
	}
	(*t.told)[key] = v
}

func (t *table[K, T]) All() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for w := range t.frozen().all() {
			if !yield(w.value.Clone(), nil) {
				return
			}
		}
	}
}

// frozen answers the rows as they are now, whatever the transaction changes
// next.
func (t *table[K, T]) frozen() sorted[K, T] {
	if t.tx.edit != nil {
		t.tx.edit = new(edit)
	}
	return *t.rows
}

type auditTable tx

func (a *auditTable) Append(events ...authority.Event) error {
	if a.edit == nil {
		return errReadOnlyTx
	}
	for _, e := range events {
		a.events = append(a.events, stored.Printable(e))
	}
	return nil
}

func (a *auditTable) Page(q authority.AuditQuery) (authority.AuditPage, error) {
	page, err := a.trail.page(q)
	if err != nil {
		return page, &authority.Error{Kind: authority.Unavailable, Code: "store.unavailable", Msg: "The audit log cannot be read.", Err: err}
	}
	return page, nil
}
