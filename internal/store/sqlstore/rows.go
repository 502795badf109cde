package sqlstore

import "strconv"

// rowset is rows of one table that are written in one turn. The first keys
// columns are the key.
type rowset struct {
	table   string
	keys    int
	columns []column
	rows    [][]any // string, int64 or nil, by column
}

type column struct {
	name   string
	number bool // bigint, else text
}

func texts(names ...string) []column {
	out := make([]column, len(names))
	for i, name := range names {
		out[i].name = name
	}
	return out
}

// writer spells the statements that write rows.
type writer struct {
	arrays bool
	kept   map[string]string // statements by what they do; rows differ only in arguments
}

func newWriter(arrays bool) *writer { return &writer{arrays: arrays, kept: make(map[string]string)} }

func (w *writer) insert(r rowset) []Statement {
	return w.statements("insert "+r.table, r, func() string {
		into := "INSERT INTO " + r.table + " (" + list(r.columns) + ")"
		if w.arrays {
			return into + " SELECT * FROM " + unnest(r.columns)
		}
		return into + " VALUES (" + places(len(r.columns)) + ")"
	})
}

func (w *writer) update(r rowset) []Statement {
	return w.statements("update "+r.table, r, func() string {
		text := "UPDATE " + r.table + " SET "
		for i, c := range r.columns[r.keys:] {
			if i > 0 {
				text += ", "
			}
			if w.arrays {
				text += c.name + " = v." + c.name
			} else {
				text += c.name + " = " + place(r.keys+i+1)
			}
		}
		if w.arrays {
			return text + " FROM " + unnest(r.columns) + " AS v (" + list(r.columns) + ") WHERE " + w.match(r)
		}
		return text + " WHERE " + w.match(r)
	})
}

func (w *writer) remove(r rowset) []Statement {
	r.columns = r.columns[:r.keys]
	return w.statements("delete "+r.table, r, func() string {
		if w.arrays {
			return "DELETE FROM " + r.table + " USING " + unnest(r.columns) + " AS v (" + list(r.columns) + ") WHERE " + w.match(r)
		}
		return "DELETE FROM " + r.table + " WHERE " + w.match(r)
	})
}

// match compares the key of a row with the one that is written.
func (w *writer) match(r rowset) string {
	text := ""
	for i, c := range r.columns[:r.keys] {
		if i > 0 {
			text += " AND "
		}
		if w.arrays {
			text += r.table + "." + c.name + " = v." + c.name
		} else {
			text += c.name + " = " + place(i+1)
		}
	}
	return text
}

func (w *writer) statements(what string, r rowset, spell func() string) []Statement {
	if len(r.rows) == 0 {
		return nil
	}
	text := w.kept[what]
	if text == "" {
		text = spell()
		w.kept[what] = text
	}
	if w.arrays {
		return []Statement{{text, arrays(r)}}
	}
	out := make([]Statement, len(r.rows))
	for i, row := range r.rows {
		out[i] = Statement{text, row[:len(r.columns)]}
	}
	return out
}

// arrays turns rows into one array for each column.
func arrays(r rowset) []any {
	out := make([]any, len(r.columns))
	for i, c := range r.columns {
		if c.number {
			out[i] = cells[int64](r.rows, i)
		} else {
			out[i] = cells[string](r.rows, i)
		}
	}
	return out
}

func cells[T any](rows [][]any, at int) []*T {
	out, values := make([]*T, len(rows)), make([]T, len(rows))
	for i, row := range rows {
		if v, ok := row[at].(T); ok {
			values[i] = v
			out[i] = &values[i]
		}
	}
	return out
}

func unnest(columns []column) string {
	text := "unnest("
	for i, c := range columns {
		if i > 0 {
			text += ", "
		}
		if c.number {
			text += place(i+1) + "::bigint[]"
		} else {
			text += place(i+1) + "::text[]"
		}
	}
	return text + ")"
}

func list(columns []column) string {
	text := ""
	for i, c := range columns {
		if i > 0 {
			text += ", "
		}
		text += c.name
	}
	return text
}

// place is the n-th argument.
func place(n int) string { return "$" + strconv.Itoa(n) }

func places(n int) string {
	text := place(1)
	for i := 2; i <= n; i++ {
		text += ", " + place(i)
	}
	return text
}
