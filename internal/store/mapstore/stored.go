package mapstore

import (
	"fmt"

	"mintmark/internal/store/stored"
)

// rowOf makes the row that a table keeps: its own copy, and the line of the
// file when there is one.
func rowOf[K ~string, T record[K, T]](v T, c *stored.Codec[T]) (*row[T], error) {
	w := &row[T]{value: v.Clone()}
	if c == nil {
		return w, nil
	}
	line, err := c.Encode(w.value)
	if err != nil {
		return nil, fmt.Errorf("encode a record: %w", err)
	}
	w.text = textOf(line)
	return w, nil
}

// load decodes the lines of one section into a table.
func load[K ~string, T record[K, T]](lines []text, c stored.Codec[T]) (sorted[K, T], error) {
	var s sorted[K, T]
	var last K
	e := new(edit)
	for i, line := range lines {
		v, err := c.Decode(line.bytes)
		if err != nil {
			return s, fmt.Errorf("record %d: %w", i+1, err)
		}
		// The writer sorts, so a key that does not ascend is there twice or forged.
		if key := v.RecordKey(); i > 0 && key <= last {
			return s, fmt.Errorf("record %d: %q is there twice or out of order", i+1, key)
		}
		last = v.RecordKey()
		s.put(&row[T]{value: v, text: line}, e)
	}
	return s, nil
}
