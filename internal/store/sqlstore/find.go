package sqlstore

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mintmark/internal/authority"
)

type tokenTable struct {
	table[authority.TokenID, authority.Token]
}

// bounds are those of what is looked at for one page.
type bounds struct {
	few     int // records that are read and sorted without a thought
	many    int // and at most, when a walk would pass by more
	fewLate int // of those that a walk comes to late
	counted int // records that are looked at to say how many match at least
}

func usual() bounds { return bounds{few: 5000, many: 50_000, fewLate: 15_000, counted: 500} }

// Find answers a page in one of two ways. Of the conditions that an index
// answers it takes the one that fewest records meet, reads those and sorts them;
// or it walks along the index of the order and leaves out what does not match.
func (t *tokenTable) Find(q authority.TokenQuery) (authority.TokenPage, error) {
	if b := t.tx.batch; b != nil && len(b.sum.tokens)+len(t.tx.own.tokens) > 0 {
		return t.sift(q)
	}
	q.Limit = max(q.Limit, 1)
	f := &finder{q: q, db: t.tx.db, store: t.tx.store, bounds: t.tx.store.bounds}
	lead, n, err := f.choose()
	var sample authority.TokenPage
	all := lead != nil && (n <= f.few || n <= f.fewLate && f.late()) // are to be read
	if err == nil && lead != nil && !all && !f.byState() {
		if err = f.count(&sample, lead, f.counted); err == nil && !f.indexed() && n <= f.many {
			all, err = f.weigh(n, sample.Total)
		}
	}
	if err != nil {
		return authority.TokenPage{}, err
	}
	switch {
	case all:
		return f.sorted(lead, n)
	case lead == nil || f.byState():
	case f.indexed() && sample.Total <= min(q.Limit, f.counted-1), !f.indexed() && sample.Total == 0:
		// A walk may pass by everything. All that matches is looked for where the lead is.
		if page, err := f.sorted(f.narrowed(lead), f.counted); err != nil || page.Total <= f.counted {
			return page, err
		}
	}
	page, err := f.walk()
	if err == nil {
		err = f.total(&page, lead, sample.Total)
	}
	return page, err
}

// total says how many match of what a walk has found one page of.
func (f *finder) total(page *authority.TokenPage, lead lead, sample int) error {
	seen := len(page.Tokens)
	switch {
	case page.Next != nil:
		seen++
	case f.q.After == nil: // these are all
		page.Total = seen
		return nil
	}
	page.Total, page.TotalIsFloor = sample, true
	if lead == nil || f.byState() {
		c, changed, err := f.store.counts(f.db, f.q.Now, f.q.Generation)
		if err != nil {
			return err
		}
		for _, state := range f.q.States {
			page.Total += c.Of(state)
		}
		page.Total, page.TotalIsFloor = page.Total-changed, changed > 0
	}
	page.Total = max(page.Total, seen)
	return nil
}

// late reports whether a walk comes late to all that match: what was replaced
// expires behind what has expired.
func (f *finder) late() bool {
	return f.q.Sort == authority.SortExpiresAt && slices.Equal(f.q.States, []authority.TokenState{authority.StateReplaced}) && f.byState()
}

// byState reports whether the state alone decides what matches.
func (f *finder) byState() bool {
	return f.q.Text == "" && f.q.Tag == "" && f.q.ClientID == "" && f.q.Role == "" && f.q.Expiring == 0
}

// indexed reports whether the index of every order has all that is asked for: a
// walk reads no record that does not match.
func (f *finder) indexed() bool { return f.q.Text == "" && f.q.Tag == "" && f.q.ClientID == "" }

// weigh reports whether to read all of the n records that meet a lead is less
// than what a walk would pass by. How many of the first of them match tells how
// far that would go.
func (f *finder) weigh(n, matching int) (bool, error) {
	c, _, err := f.store.counts(f.db, f.q.Now, f.q.Generation)
	return n*(n*matching/f.counted) < (f.q.Limit+1)*all(c), err
}

// sift finds among what a transaction has changed and what it has not: every
// record is read.
func (t *tokenTable) sift(q authority.TokenQuery) (authority.TokenPage, error) {
	type candidate struct {
		place authority.TokenCursor
		token authority.Token
	}
	var all []candidate
	var page authority.TokenPage
	for v, err := range t.All() {
		if err != nil {
			return page, err
		}
		if !q.Match(&v) {
			continue
		}
		page.Total++
		place := authority.TokenCursor{Value: q.SortValue(&v), ID: v.ID}
		if q.After == nil || q.Compare(place, *q.After) > 0 {
			all = append(all, candidate{place, v})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return q.Compare(a.place, b.place) })
	if limit := max(q.Limit, 1); len(all) > limit {
		all = all[:limit]
		page.Next = &all[limit-1].place
	}
	for _, c := range all {
		page.Tokens = append(page.Tokens, c.token)
	}
	return page, nil
}

// finder answers one query.
type finder struct {
	q     authority.TokenQuery
	db    *dbtx
	store *Store
	bounds
}

// lead is a condition that an index answers, as the selections of the ids that
// meet it.
type lead func(*clause) []string

// leads are the conditions of the query that an index answers.
func (f *finder) leads() []lead {
	q := &f.q
	var out []lead
	from := func(table string, condition func(*clause) string) {
		out = append(out, func(c *clause) []string { return []string{"SELECT id FROM " + table + " WHERE " + condition(c)} })
	}
	if q.Text != "" {
		text := fold(q.Text)
		out = append(out, func(c *clause) []string {
			return []string{
				fromTokens + c.prefixed("client_fold", text), fromTokens + c.prefixed("id", text),
				"SELECT id FROM token_tags WHERE " + c.prefixed("fold", text),
			}
		})
	}
	if q.Tag != "" {
		from("token_tags", func(c *clause) string {
			condition := "fold = " + c.arg(fold(q.Tag)) + " AND tag = " + c.arg(q.Tag)
			if q.Role != "" {
				condition += " AND role = " + c.arg(string(q.Role))
			}
			return condition
		})
	}
	if q.ClientID != "" {
		from("tokens", func(c *clause) string { return "client_fold = " + c.arg(fold(q.ClientID)) })
	}
	if q.Role != "" {
		from("tokens", func(c *clause) string { return "role = " + c.arg(string(q.Role)) })
	}
	if q.Expiring > 0 {
		from("tokens", func(c *clause) string {
			condition := "expires_at <= " + c.arg(q.Now.Add(q.Expiring).UnixMicro())
			if slices.Equal(q.States, []authority.TokenState{authority.StateActive}) {
				condition += " AND expires_at > " + c.arg(q.Now.UnixMicro())
			}
			return condition
		})
	}
	if !slices.Contains(q.States, authority.StateActive) && len(q.States) > 0 || len(q.States) == 1 {
		out = append(out, func(c *clause) []string {
			parts := f.states(c, false)
			for i := range parts {
				parts[i] = fromTokens + parts[i]
			}
			return parts
		})
	}
	return out
}

// narrowed is what meets a lead and everything else that is asked for.
func (f *finder) narrowed(l lead) lead {
	return func(c *clause) []string {
		parts, rest := l(c), &clause{args: c.args}
		f.conditions(rest)
		for i, part := range parts {
			if !strings.HasPrefix(part, fromTokens) {
				part = fromTokens + "id IN (" + part + ")"
			}
			parts[i] = part + " AND " + rest.String()
		}
		return parts
	}
}

const fromTokens = "SELECT id FROM tokens WHERE "

// choose answers the condition that fewest records meet, and how many do; of
// more than a few it counts up to many+1.
func (f *finder) choose() (best lead, n int, err error) {
	for _, limit := range []int{f.few + 1, f.many + 1} {
		best, n = nil, 0
		for _, l := range f.leads() {
			met, err := f.meet(l, limit)
			if err != nil {
				return nil, 0, err
			}
			if best == nil || met < n {
				best, n = l, met
			}
		}
		if n <= f.few || f.indexed() && !f.late() {
			break
		}
	}
	return best, n, nil
}

// meet counts the records that meet a lead, up to limit.
func (f *finder) meet(l lead, limit int) (n int, err error) {
	var args []any
	c := &clause{args: &args}
	met := f.some(c, l(c), limit)
	_, err = f.db.row([]any{&n}, "SELECT count(*) FROM ("+met+") u", args...)
	return min(n, limit), err
}

// some takes no more than limit ids from each selection. (Without a limit SQLite
// would merge them in the order of ids, and read all of the table for it.)
func (f *finder) some(c *clause, parts []string, limit int) string {
	var out []string
	for i, part := range parts {
		out = append(out, fmt.Sprintf("SELECT id FROM (%s %s) p%d", part, f.limit(c, limit), i))
	}
	return strings.Join(out, " UNION ALL ")
}

// limit bounds a selection. Where statements are prepared by their text, the number
// is no part of it; elsewhere it tells the planner that few rows are wanted.
func (f *finder) limit(c *clause, n int) string {
	if f.store.driver.Prepare {
		return "LIMIT " + c.arg(n)
	}
	return fmt.Sprintf("LIMIT %d", n)
}

// states are the conditions that put a token in one of the states of the query.
// hidden ones no index answers: see conditions.
func (f *finder) states(c *clause, hidden bool) []string {
	generation, deleted, stops, as := "generation", "deleted_at", "stops_at", "stops_as"
	if hidden {
		generation, deleted, stops, as = "(generation + 0)", "(deleted_at + 0)", "(stops_at + 0)", "(stops_as || '')"
	}
	now := sync.OnceValue(func() string { return c.arg(f.q.Now.UnixMicro()) })
	of := sync.OnceValue(func() string { return c.arg(int64(f.q.Generation)) })
	ended := func(kind string) string {
		return fmt.Sprintf("(%s IS NULL AND %s = %s AND %s = '%s' AND %s <= %s)", deleted, generation, of(), as, kind, stops, now())
	}
	var out []string
	for _, state := range f.q.States {
		switch state {
		case authority.StateActive:
			// Spelled as the index of stops has it.
			out = append(out, fmt.Sprintf("(%s IS NULL AND %s = %s AND %s = '')", deleted, generation, of(), as))
			for _, kind := range []string{stopsExpired, stopsReplaced} {
				out = append(out, fmt.Sprintf("(%s IS NULL AND %s = %s AND %s = '%s' AND %s > %s)", deleted, generation, of(), as, kind, stops, now()))
			}
		case authority.StateExpired:
			out = append(out, ended(stopsExpired))
		case authority.StateReplaced:
			out = append(out, ended(stopsReplaced))
		case authority.StateDeleted:
			out = append(out, deleted+" IS NOT NULL")
		case authority.StateRevoked:
			out = append(out, fmt.Sprintf("(%s IS NULL AND %s < %s)", deleted, generation, of()), fmt.Sprintf("(%s IS NULL AND %s > %s)", deleted, generation, of()))
		}
	}
	return out
}

// conditions are all of the query, spelled so that no index answers them: the
// database is to take the way that was chosen and no other.
func (f *finder) conditions(c *clause) {
	q := &f.q
	c.or(f.states(c, true))
	if q.Role != "" {
		c.and("(role || '') = " + c.arg(string(q.Role)))
	}
	if q.ClientID != "" {
		c.and("(client_id || '') = " + c.arg(q.ClientID))
	}
	if q.Tag != "" {
		c.and(f.store.driver.Position + "(tags, " + c.arg(tagPart(q.Tag, true)) + ") > 0")
	}
	if q.Expiring > 0 {
		c.and("(expires_at + 0) <= " + c.arg(q.Now.Add(q.Expiring).UnixMicro()))
	}
	if q.Text != "" {
		text := fold(q.Text)
		c.or([]string{
			c.prefixed("(client_fold || '')", text), c.prefixed("(tokens.id || '')", text),
			f.store.driver.Position + "(tags_fold, " + c.arg(tagPart(text, false)) + ") > 0",
		})
	}
}

// column is what the query sorts by.
func (f *finder) column() (name string, number bool) {
	switch f.q.Sort {
	case authority.SortRole:
		return "role", false
	case authority.SortCreatedAt:
		return "created_at", true
	case authority.SortExpiresAt:
		return "expires_at", true
	case authority.SortLastUsed:
		return "last_used_at", true
	case authority.SortClientID:
	}
	return "client_fold", false
}

// found is a token and its place in the order.
type found struct {
	token authority.Token
	place authority.TokenCursor
}

// read reads tokens and their places; rest are the columns of another table
// behind those of tokens.
func (f *finder) read(text string, args []any, rest ...any) ([]found, error) {
	name, number := f.column()
	columns := readColumns + ", " + name
	if len(rest) > 0 {
		columns += ", matching"
	}
	var out []found
	r := newTokenReader()
	err := f.db.rows(func(rows *sql.Rows) error {
		var word sql.NullString
		var at sql.NullInt64
		value := any(&word)
		if number {
			value = &at
		}
		t, err := r.read(rows, slices.Concat([]any{value}, rest)...)
		place := authority.TokenCursor{Value: word.String, ID: t.ID}
		if at.Valid {
			place.Value = authority.SortTime(fromMicro(at))
		}
		out = append(out, found{t, place})
		return err
	}, "SELECT "+columns+" FROM tokens "+text, args...)
	return out, err
}

// sorted looks at all that meet the lead, counts and sorts what matches, and
// reads the records of the page.
func (f *finder) sorted(l lead, n int) (authority.TokenPage, error) {
	var args []any
	name, _ := f.column()
	c := &clause{args: &args}
	if f.late() { // the index of stops has all that is asked for
		c.or(f.states(c, false))
	} else {
		c.and("id IN (" + f.some(c, l(c), n+1) + ")")
		f.conditions(c)
	}
	way := ""
	if f.q.Descending {
		way = " DESC"
	}
	behind := &clause{args: &args}
	if err := f.behind(behind); err != nil {
		return authority.TokenPage{}, err
	}
	text := fmt.Sprintf(`JOIN (
		SELECT * FROM (SELECT id AS place, %s AS value, count(*) OVER () AS matching FROM tokens WHERE %s) a
		WHERE %s ORDER BY (value IS NULL), value%s, place %s) m ON tokens.id = m.place
		ORDER BY (value IS NULL), value%[4]s, place`, name, c, behind, way, f.limit(c, f.q.Limit+1))
	var total int
	list, err := f.read(text, args, &total)
	page := f.page(list)
	page.Total = total
	if err == nil && len(list) == 0 && f.q.After != nil { // nothing is behind the cursor
		err = f.count(&page, l, n+1)
	}
	return page, err
}

// behind adds that a place lies behind the cursor.
func (f *finder) behind(c *clause) error {
	if f.q.After == nil {
		return nil
	}
	v, err := f.value(f.q.After.Value)
	if err != nil {
		return err
	}
	id := c.arg(string(f.q.After.ID))
	if v == nil {
		c.and("value IS NULL AND place > " + id)
		return nil
	}
	beyond := ">"
	if f.q.Descending {
		beyond = "<"
	}
	at := c.arg(v)
	c.and(fmt.Sprintf("(value IS NULL OR value %s %s OR (value = %[2]s AND place > %s))", beyond, at, id))
	return nil
}

// value is the value of a cursor as the column has it; nil: there is none.
func (f *finder) value(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if _, number := f.column(); !number {
		return text, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil, &authority.Error{Kind: authority.Invalid, Code: "cursor.invalid", Err: err}
	}
	return t.UnixMicro(), nil
}

func (f *finder) page(list []found) authority.TokenPage {
	var page authority.TokenPage
	if len(list) > f.q.Limit {
		list = list[:f.q.Limit]
		page.Next = &list[f.q.Limit-1].place
	}
	for _, x := range list {
		page.Tokens = append(page.Tokens, x.token)
	}
	return page
}
