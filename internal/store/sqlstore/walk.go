package sqlstore

import (
	"fmt"
	"slices"

	"mintmark/internal/authority"
)

// walk reads along the index of the order, from the cursor on: first those that
// have the cursor's value, then those behind it, then those without a value.
// Records with one value come by ascending id, whichever way the values go.
func (f *finder) walk() (authority.TokenPage, error) {
	w := &walker{finder: f, want: f.q.Limit + 1}
	w.name, _ = f.column()
	w.textIsClient()
	var from any
	if f.q.After != nil {
		var err error
		if from, err = f.value(f.q.After.Value); err != nil {
			return authority.TokenPage{}, err
		}
		w.ties(from, string(f.q.After.ID))
	}
	if f.q.After == nil || from != nil {
		if f.q.Descending {
			w.down(from)
		} else {
			w.up(from)
		}
		if !w.ends() {
			w.ties(nil, "")
		}
	}
	return f.page(w.list), w.err
}

type walker struct {
	*finder
	name string
	want int
	list []found
	err  error

	byClient bool // the text of the query is the beginning of a client ID
}

func (w *walker) full() bool { return w.err != nil || len(w.list) >= w.want }

// stretch reads one stretch of the index, which has all that states, roles and
// expiry ask: what does not match is passed by without its record.
func (w *walker) stretch(limit int, order string, of func(*clause)) []found {
	var args []any
	c := &clause{args: &args}
	of(c)
	w.conditions(c)
	var list []found
	text := fmt.Sprintf(`JOIN (
		SELECT id AS place, %s AS value FROM tokens WHERE %s ORDER BY %s %s) m ON tokens.id = m.place`, w.name, c, order, w.limit(c, limit))
	list, w.err = w.read(text, args)
	slices.SortFunc(list, func(a, b found) int { return w.q.Compare(a.place, b.place) })
	return list
}

// edge is an end of what a walk reads: one comparison of the column that is sorted
// by.
type edge struct {
	than  string
	value any
}

// edges are what the other conditions say of that column, so that the walk does
// not pass by what lies outside; nil: there is no end.
func (w *walker) edges() (low, high *edge) {
	only := func(state authority.TokenState) bool { return slices.Equal(w.q.States, []authority.TokenState{state}) }
	switch w.name {
	case "client_fold":
		if text := fold(w.q.Text); w.byClient {
			return &edge{">=", text}, &edge{"<", text + lastRune}
		}
	case "role":
		if role := string(w.q.Role); role != "" {
			return &edge{">=", role}, &edge{"<=", role}
		}
	case "expires_at":
		now := w.q.Now.UnixMicro()
		if only(authority.StateActive) {
			low = &edge{">", now}
		}
		switch {
		case w.q.Expiring > 0:
			high = &edge{"<=", w.q.Now.Add(w.q.Expiring).UnixMicro()}
		case only(authority.StateExpired):
			high = &edge{"<=", now}
		}
	}
	return low, high
}

// between adds that a value lies behind from, as the walk goes, and within the
// edges. Of two conditions on one side SQLite would begin at the first: only the
// nearer one is told.
func (w *walker) between(c *clause, from any, up bool) {
	low, high := w.edges()
	switch {
	case from == nil:
	case up && (low == nil || !before(from, low.value)):
		low = &edge{">", from}
	case !up && (high == nil || !before(high.value, from)):
		high = &edge{"<", from}
	}
	if low == nil && high == nil {
		c.and(w.name + " IS NOT NULL")
	}
	for _, e := range []*edge{low, high} {
		if e != nil {
			c.and(w.name + " " + e.than + " " + c.arg(e.value))
		}
	}
}

// before compares two values of one column.
func before(a, b any) bool {
	if n, number := a.(int64); number {
		return n < b.(int64)
	}
	return a.(string) < b.(string)
}

// ends reports whether nothing without a value of the column that is sorted by
// can match.
func (w *walker) ends() bool {
	return w.name == "expires_at" && (w.q.Expiring > 0 || slices.Equal(w.q.States, []authority.TokenState{authority.StateExpired}))
}

// textIsClient finds out whether the text can only be the beginning of a client
// ID, because no id and no tag begins with it.
func (w *walker) textIsClient() {
	if w.name != "client_fold" || w.q.Text == "" {
		return
	}
	var args []any
	c, text := &clause{args: &args}, fold(w.q.Text)
	others := []string{fromTokens + c.prefixed("id", text), "SELECT id FROM token_tags WHERE " + c.prefixed("fold", text)}
	met, n := w.some(c, others, 1), 0
	_, w.err = w.db.row([]any{&n}, "SELECT count(*) FROM ("+met+") u", args...)
	w.byClient = n == 0
}

// ties reads the records of one value whose id lies behind after.
func (w *walker) ties(value any, after string) {
	if w.full() {
		return
	}
	w.list = append(w.list, w.stretch(w.want-len(w.list), "id", func(c *clause) {
		if value == nil {
			c.and(w.name + " IS NULL")
		} else {
			c.and(w.name + " = " + c.arg(value))
		}
		c.and("id > " + c.arg(after))
	})...)
}

// up reads behind a value, upwards.
func (w *walker) up(from any) {
	if w.full() {
		return
	}
	w.list = append(w.list, w.stretch(w.want-len(w.list), w.name+", id", func(c *clause) {
		w.between(c, from, true)
	})...)
}

// down reads behind a value, downwards. The index has the ids of one value in
// the wrong order then: whole ties are turned round, and those of the last value,
// which may not be whole, are read again.
func (w *walker) down(from any) {
	for !w.full() {
		limit := w.want - len(w.list)
		list := w.stretch(limit, w.name+" DESC, id DESC", func(c *clause) {
			w.between(c, from, false)
		})
		if w.err != nil || len(list) == 0 {
			return
		}
		last := list[len(list)-1].place.Value
		if len(list) < limit {
			w.list = append(w.list, list...)
			return
		}
		whole := slices.IndexFunc(list, func(x found) bool { return x.place.Value == last })
		w.list = append(w.list, list[:whole]...)
		if from, w.err = w.value(last); w.err != nil {
			return
		}
		w.ties(from, "")
	}
}

// count counts what matches among the first that meet the lead; where the lead's
// index has all that is asked for, the first that match.
func (f *finder) count(page *authority.TokenPage, l lead, first int) error {
	var args []any
	c := &clause{args: &args}
	if f.indexed() {
		met := f.some(c, f.narrowed(l)(c), first)
		_, err := f.db.row([]any{&page.Total}, "SELECT count(*) FROM ("+met+") u", args...)
		return err
	}
	c.and("id IN (" + f.some(c, l(c), first) + ")")
	f.conditions(c)
	_, err := f.db.row([]any{&page.Total}, "SELECT count(*) FROM tokens WHERE "+c.String(), args...)
	return err
}
