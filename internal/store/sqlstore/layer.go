package sqlstore

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"mintmark/internal/authority"
)

// record is what a table holds.
type record[K cmp.Ordered, T any] interface {
	RecordKey() K
	Clone() T
}

// base is what the database has under a key.
type base uint8

const (
	assumed base = iota // nothing, it is hoped: the database will tell
	absent
	present
)

// entry is one record of a layer; nil: there is none.
type entry[T any] struct {
	value *T
	base  base
}

// layer is what lies over a table of the database.
type layer[K cmp.Ordered, T record[K, T]] map[K]entry[T]

// layers is one layer for each table.
type layers struct {
	tokens    layer[authority.TokenID, authority.Token]
	receipts  layer[string, authority.Receipt]
	keys      layer[authority.KeyID, authority.Key]
	admins    layer[string, authority.Admin]
	logins    layer[authority.LoginID, authority.Login]
	throttles layer[string, authority.Throttle]
	system    layer[string, authority.System]
}

// touched counts records.
func (l *layers) touched() int {
	return len(l.tokens) + len(l.receipts) + len(l.keys) + len(l.admins) + len(l.logins) + len(l.throttles) + len(l.system)
}

// merge lays what is in top over l.
func (l *layers) merge(top *layers) {
	over(&l.tokens, top.tokens)
	over(&l.receipts, top.receipts)
	over(&l.keys, top.keys)
	over(&l.admins, top.admins)
	over(&l.logins, top.logins)
	over(&l.throttles, top.throttles)
	over(&l.system, top.system)
}

func over[K cmp.Ordered, T record[K, T]](bottom *layer[K, T], top layer[K, T]) {
	if len(top) == 0 {
		return
	}
	if *bottom == nil {
		*bottom = make(layer[K, T], len(top))
	}
	maps.Copy(*bottom, top)
}

// change is what followers are told of a layer.
func (l *layers) change() authority.Change {
	c := authority.Change{Tokens: listed(l.tokens), Logins: listed(l.logins), Keys: listed(l.keys)}
	if e, ok := l.system[authority.SystemKey]; ok {
		c.System = cloned(e.value)
	}
	return c
}

func listed[K cmp.Ordered, T record[K, T]](l layer[K, T]) []authority.Changed[K, T] {
	var out []authority.Changed[K, T]
	for _, k := range slices.Sorted(maps.Keys(l)) {
		out = append(out, authority.Changed[K, T]{Key: k, Value: cloned(l[k].value)})
	}
	return out
}

func cloned[T interface{ Clone() T }](v *T) *T {
	if v == nil {
		return nil
	}
	c := (*v).Clone()
	return &c
}

// laid yields the records of a database, which come by ascending key, with a
// layer over them.
func laid[K cmp.Ordered, T record[K, T]](below iter.Seq2[T, error], top layer[K, T]) iter.Seq2[T, error] {
	keys := slices.Sorted(maps.Keys(top))
	return func(yield func(T, error) bool) {
		at := 0
		upTo := func(limit *K) bool {
			for ; at < len(keys) && (limit == nil || keys[at] <= *limit); at++ {
				if v := top[keys[at]].value; v != nil && !yield((*v).Clone(), nil) {
					return false
				}
			}
			return true
		}
		for v, err := range below {
			if err != nil {
				yield(v, err)
				return
			}
			key := v.RecordKey()
			if !upTo(&key) {
				return
			}
			if _, covered := top[key]; !covered && !yield(v, nil) {
				return
			}
		}
		upTo(nil)
	}
}
