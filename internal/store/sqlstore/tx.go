package sqlstore

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// kind is the letter of a kind of records, in the table records and in the keys
// of a commit.
type kind string

const (
	kindToken    kind = "t"
	kindReceipt  kind = "r"
	kindKey      kind = "k"
	kindAdmin    kind = "a"
	kindLogin    kind = "l"
	kindThrottle kind = "h"
	kindSystem   kind = "s"
)

// tx is one transaction: what it changed, over the batch that it is part of,
// over the database.
type tx struct {
	store  *Store
	db     *dbtx
	batch  *batch // nil: a view
	own    layers
	events []authority.Event
}

func (t *tx) Tokens() authority.TokenTable {
	return &tokenTable{table[authority.TokenID, authority.Token]{
		t, func(l *layers) *layer[authority.TokenID, authority.Token] { return &l.tokens }, tokenSource{t.db},
	}}
}

func (t *tx) Receipts() authority.Table[string, authority.Receipt] {
	return &table[string, authority.Receipt]{
		t, func(l *layers) *layer[string, authority.Receipt] { return &l.receipts },
		source(t.db, kindReceipt, stored.Receipts(), nil),
	}
}

func (t *tx) Keys() authority.Table[authority.KeyID, authority.Key] {
	return &table[authority.KeyID, authority.Key]{
		t, func(l *layers) *layer[authority.KeyID, authority.Key] { return &l.keys },
		source(t.db, kindKey, stored.Keys(), known(t, func(k *familiar) []authority.Key { return k.keys })),
	}
}

func (t *tx) Admins() authority.Table[string, authority.Admin] {
	return &table[string, authority.Admin]{
		t, func(l *layers) *layer[string, authority.Admin] { return &l.admins },
		source(t.db, kindAdmin, stored.Admins(), nil),
	}
}

func (t *tx) Logins() authority.Table[authority.LoginID, authority.Login] {
	return &table[authority.LoginID, authority.Login]{
		t, func(l *layers) *layer[authority.LoginID, authority.Login] { return &l.logins },
		source(t.db, kindLogin, stored.Logins(), nil),
	}
}

func (t *tx) Throttles() authority.Table[string, authority.Throttle] {
	return &table[string, authority.Throttle]{
		t, func(l *layers) *layer[string, authority.Throttle] { return &l.throttles },
		source(t.db, kindThrottle, stored.Throttles(), nil),
	}
}

func (t *tx) System() authority.Table[string, authority.System] {
	return &table[string, authority.System]{
		t, func(l *layers) *layer[string, authority.System] { return &l.system },
		source(t.db, kindSystem, stored.Systems(), known(t, func(k *familiar) []authority.System { return k.system })),
	}
}

// known answers the records of a kind that the store has at hand, which under
// the lock of the head are those of the database; nil for a view, which sees
// another moment.
func known[T any](t *tx, of func(*familiar) []T) []T {
	if t.batch == nil {
		return nil
	}
	if all := of(t.batch.known); all != nil {
		return all
	}
	return []T{}
}

func (t *tx) idle() bool { return t.own.touched() == 0 && len(t.events) == 0 }

// table is one kind of record within a transaction.
type table[K ~string, T record[K, T]] struct {
	tx *tx
	of func(*layers) *layer[K, T]
	db reader[K, T]
}

// reader reads the records of a kind from the database.
type reader[K cmp.Ordered, T any] interface {
	get(key K) (*T, error) // nil: there is none
	page(after K, first bool, limit int) ([]T, error)
}

var errReadOnlyTx = &authority.Error{Kind: authority.Internal, Code: "store.view", Err: errors.New("a change inside a view")}

// look finds what the transaction sees under a key. Without ask a key that no
// layer has is assumed to be free.
func (t *table[K, T]) look(key K, ask bool) (entry[T], error) {
	if b := t.tx.batch; b != nil {
		for _, l := range []*layers{&t.tx.own, &b.sum, &b.read} {
			if e, ok := (*t.of(l))[key]; ok {
				return e, nil
			}
		}
	}
	if !ask {
		return entry[T]{}, nil
	}
	v, err := t.db.get(key)
	if err != nil {
		return entry[T]{}, err
	}
	e := entry[T]{v, present}
	if v == nil {
		e.base = absent
	}
	if t.tx.batch != nil {
		over(t.of(&t.tx.batch.read), layer[K, T]{key: e})
	}
	return e, nil
}

func (t *table[K, T]) Get(key K) (T, error) {
	var none T
	e, err := t.look(key, true)
	if err != nil {
		return none, err
	}
	if e.value == nil {
		return none, fmt.Errorf("%T %q: %w", none, key, authority.NotFound)
	}
	return (*e.value).Clone(), nil
}

// Insert hopes that the key is free. If it is not, the database says so when the
// batch is written, and the batch runs again and looks first.
func (t *table[K, T]) Insert(v T) error {
	b := t.tx.batch
	if b == nil {
		return errReadOnlyTx
	}
	e, err := t.look(v.RecordKey(), b.careful)
	if err != nil {
		return err
	}
	if e.value != nil {
		return fmt.Errorf("%T %q: %w", v, v.RecordKey(), authority.Conflict)
	}
	t.write(v.RecordKey(), &v, e.base)
	return nil
}

func (t *table[K, T]) Put(v T) error {
	if t.tx.batch == nil {
		return errReadOnlyTx
	}
	e, err := t.look(v.RecordKey(), true)
	if err != nil {
		return err
	}
	if e.value == nil {
		return fmt.Errorf("%T %q: %w", v, v.RecordKey(), authority.NotFound)
	}
	t.write(v.RecordKey(), &v, e.base)
	return nil
}

func (t *table[K, T]) Delete(key K) error {
	if t.tx.batch == nil {
		return errReadOnlyTx
	}
	e, err := t.look(key, true)
	if err != nil || e.value == nil {
		return err
	}
	if e.base == assumed { // nothing will be written that could tell
		below, err := t.db.get(key)
		if err != nil {
			return err
		}
		t.tx.batch.mistaken = t.tx.batch.mistaken || below != nil
		e.base = absent
	}
	t.write(key, nil, e.base)
	return nil
}

func (t *table[K, T]) write(key K, v *T, b base) {
	over(t.of(&t.tx.own), layer[K, T]{key: entry[T]{cloned(v), b}})
}

const pageSize = 1000

func (t *table[K, T]) All() iter.Seq2[T, error] {
	below := func(yield func(T, error) bool) {
		var after K
		for first := true; ; first = false {
			page, err := t.db.page(after, first, pageSize)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, v := range page {
				if !yield(v, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			after = page[len(page)-1].RecordKey()
		}
	}
	if t.tx.batch == nil {
		return below
	}
	// What the transaction changes next does not disturb the reading.
	var frozen layer[K, T]
	over(&frozen, *t.of(&t.tx.batch.sum))
	over(&frozen, *t.of(&t.tx.own))
	return laid(below, frozen)
}

// documents reads records of the table records.
type documents[K ~string, T record[K, T]] struct {
	db    *dbtx
	kind  kind
	codec stored.Codec[T]
	known []T // all there are, by ascending key; nil: the database knows
}

func source[K ~string, T record[K, T]](db *dbtx, k kind, c stored.Codec[T], known []T) reader[K, T] {
	return documents[K, T]{db, k, c, known}
}

func (d documents[K, T]) get(key K) (*T, error) {
	if d.known != nil {
		for _, v := range d.known {
			if v.RecordKey() == key {
				return cloned(&v), nil
			}
		}
		return nil, nil
	}
	var text string
	found, err := d.db.row([]any{&text}, `SELECT record FROM records WHERE kind = $1 AND id = $2`, string(d.kind), string(key))
	if err != nil || !found {
		return nil, err
	}
	v, err := d.codec.Decode([]byte(text))
	if err != nil {
		return nil, broken(fmt.Errorf("record %s %q: %w", d.kind, key, err))
	}
	return &v, nil
}

func (d documents[K, T]) page(after K, first bool, limit int) ([]T, error) {
	if d.known != nil {
		var out []T
		for _, v := range d.known {
			if (first || v.RecordKey() > after) && len(out) < limit {
				out = append(out, v.Clone())
			}
		}
		return out, nil
	}
	text := `SELECT record FROM records WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3`
	if first {
		text = `SELECT record FROM records WHERE kind = $1 AND id >= $2 ORDER BY id LIMIT $3`
	}
	return decoded(d.db, d.codec, text, string(d.kind), string(after), limit)
}

// decoded reads rows of one record each.
func decoded[T any](db *dbtx, c stored.Codec[T], text string, args ...any) ([]T, error) {
	var out []T
	err := db.rows(func(rows *sql.Rows) error {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		v, err := c.Decode([]byte(line))
		if err != nil {
			return broken(err)
		}
		out = append(out, v)
		return nil
	}, text, args...)
	return out, err
}

// tokenSource reads records of the table tokens.
type tokenSource struct{ db *dbtx }

func (s tokenSource) get(key authority.TokenID) (*authority.Token, error) {
	list, err := tokensBy(s.db, `WHERE id = $1`, string(key))
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

func (s tokenSource) page(after authority.TokenID, first bool, limit int) ([]authority.Token, error) {
	if first {
		return tokensBy(s.db, `WHERE id >= $1 ORDER BY id LIMIT $2`, string(after), limit)
	}
	return tokensBy(s.db, `WHERE id > $1 ORDER BY id LIMIT $2`, string(after), limit)
}

func tokensBy(db *dbtx, which string, args ...any) ([]authority.Token, error) {
	var out []authority.Token
	r := newTokenReader()
	err := db.rows(func(rows *sql.Rows) error {
		t, err := r.read(rows)
		out = append(out, t)
		return err
	}, `SELECT `+readColumns+` FROM tokens `+which, args...)
	return out, err
}
