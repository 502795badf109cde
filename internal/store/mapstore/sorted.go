package mapstore

import (
	"cmp"
	"iter"
	"slices"
)

// record is what a table holds.
type record[K cmp.Ordered, T any] interface {
	RecordKey() K
	Clone() T
}

// row is one record and its stored text; a row never changes.
type row[T any] struct {
	value T
	text  text // its line in the file; empty when the table has no file
}

// edit is the right to change nodes in place; a new one for each transaction.
type edit struct{ _ byte }

const maxChunk = 256

// sorted is an ordered map whose copies are independent: a copy costs one
// header, and a change copies only the nodes that another edit made. So a state
// is a value, a transaction works on a copy, and giving up is forgetting it.
type sorted[K cmp.Ordered, T record[K, T]] struct {
	chunks []*chunk[K, T] // none is empty
	size   int
	owner  *edit
}

type chunk[K cmp.Ordered, T record[K, T]] struct {
	owner *edit
	rows  []*row[T]
}

func (s *sorted[K, T]) find(key K) (c, r int, ok bool) {
	c, _ = slices.BinarySearchFunc(s.chunks, key, func(c *chunk[K, T], key K) int {
		if c.rows[len(c.rows)-1].value.RecordKey() < key {
			return -1
		}
		return 1
	})
	if c == len(s.chunks) {
		if c == 0 {
			return 0, 0, false
		}
		return c - 1, len(s.chunks[c-1].rows), false
	}
	r, ok = slices.BinarySearchFunc(s.chunks[c].rows, key, func(w *row[T], key K) int {
		return cmp.Compare(w.value.RecordKey(), key)
	})
	return c, r, ok
}

// same reports whether two maps that nobody changes any more are copies of one
// another, and not whether they are equal.
func (s *sorted[K, T]) same(other *sorted[K, T]) bool {
	return s.size == other.size && len(s.chunks) == len(other.chunks) && (len(s.chunks) == 0 || &s.chunks[0] == &other.chunks[0])
}

func (s *sorted[K, T]) get(key K) *row[T] {
	if c, r, ok := s.find(key); ok {
		return s.chunks[c].rows[r]
	}
	return nil
}

// own makes chunk c changeable by e.
func (s *sorted[K, T]) own(c int, e *edit) *chunk[K, T] {
	if s.owner != e {
		s.chunks, s.owner = slices.Clone(s.chunks), e
	}
	if c == len(s.chunks) {
		s.chunks = append(s.chunks, &chunk[K, T]{owner: e})
	}
	if old := s.chunks[c]; old.owner != e {
		s.chunks[c] = &chunk[K, T]{owner: e, rows: slices.Clone(old.rows)}
	}
	return s.chunks[c]
}

// put inserts or replaces.
func (s *sorted[K, T]) put(w *row[T], e *edit) {
	c, r, ok := s.find(w.value.RecordKey())
	own := s.own(c, e)
	if ok {
		own.rows[r] = w
		return
	}
	s.size++
	own.rows = slices.Insert(own.rows, r, w)
	if n := len(own.rows); n > maxChunk {
		// Ascending inserts fill the last chunk: split it off nearly full.
		at := n / 2
		if c == len(s.chunks)-1 && r == n-1 {
			at = n - 1
		}
		s.chunks = slices.Insert(s.chunks, c+1, &chunk[K, T]{owner: e, rows: slices.Clone(own.rows[at:])})
		own.rows = slices.Delete(own.rows, at, n)
	}
}

func (s *sorted[K, T]) remove(key K, e *edit) bool {
	c, r, ok := s.find(key)
	if !ok {
		return false
	}
	s.size--
	own := s.own(c, e)
	if own.rows = slices.Delete(own.rows, r, r+1); len(own.rows) == 0 {
		s.chunks = slices.Delete(s.chunks, c, c+1)
	}
	return true
}

// all yields the rows by ascending key. It reads a copy of the header, which
// the caller must have made unchangeable.
func (s sorted[K, T]) all() iter.Seq[*row[T]] {
	return func(yield func(*row[T]) bool) {
		for _, c := range s.chunks {
			for _, w := range c.rows {
				if !yield(w) {
					return
				}
			}
		}
	}
}
