package usagesql

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"

	"mintmark/internal/authority"
)

// addTogether adds a batch in a few statements, each of which takes many rows as
// one array for each column: the database is far away, and others write there.
// Who adds waits for who does, so that no two hold rows that the other one waits
// for, and the number of a batch is higher than that of every one before.
func addTogether(ctx context.Context, tx *sql.Tx, b authority.UsageBatch) error {
	var number int64
	if err := tx.QueryRowContext(ctx, `SELECT value + 1 FROM usage_facts WHERE name = 'added' FOR UPDATE`).Scan(&number); err != nil {
		return err
	}
	if fresh, err := isNew(ctx, tx, b); err != nil || !fresh {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE usage_facts SET value = $1 WHERE name = 'added'`, number); err != nil {
		return err
	}
	r := rowsOf(b.Records, number)
	for _, into := range []struct {
		*rowset
		otherwise string // when the row is there
	}{
		{&r.keys, `(token, kid) DO UPDATE SET ` + later("usage_keys", "address") + `, ` + span("usage_keys") + `, seen = excluded.seen`},
		{&r.hours, spanAgain("usage_hours")},
		{&r.days, spanAgain("usage_days")},
		{&r.sources, sourceAgain()},
		{&r.refusals, `(token, reason) DO UPDATE SET ` + later("usage_refusals", "address") + `, ` + span("usage_refusals") + `,
			refused = usage_refusals.refused + excluded.refused`},
	} {
		if into.many() == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, into.insert()+` ON CONFLICT `+into.otherwise, into.args()...); err != nil {
			return err
		}
	}
	return foldTogether(ctx, tx, slices.Compact(slices.Clone(r.sources.texts[0])))
}

// foldTogether makes one of the sources of some tokens that are beyond the bound.
// Which tokens those are is asked apart, and they are named wherever rows are
// looked for: no plan is to read a table of millions.
func foldTogether(ctx context.Context, tx *sql.Tx, tokens []string) error {
	if len(tokens) == 0 {
		return nil
	}
	var many []string
	rows, err := tx.QueryContext(ctx, `SELECT token FROM usage_sources WHERE token = ANY($1::text[]) AND address <> '' GROUP BY token HAVING count(*) > $2`,
		tokens, authority.MaxSources)
	err = each(rows, err, func(scan func(...any) error) error {
		var token string
		err := scan(&token)
		many = append(many, token)
		return err
	})
	if err != nil || len(many) == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, fold(), many, authority.MaxSources)
	return err
}

// fold is the statement for tokens that have more sources than a number.
func fold() string {
	return `WITH placed AS (
			SELECT token, address, via, row_number() OVER (PARTITION BY token ORDER BY last_at DESC, address, via) AS place
			FROM usage_sources WHERE token = ANY($1::text[]) AND address <> ''
		), gone AS (
			DELETE FROM usage_sources AS s USING placed AS p
			WHERE s.token = ANY($1::text[]) AND p.place > $2 AND s.token = p.token AND s.address = p.address AND s.via = p.via RETURNING s.*
		)
		INSERT INTO usage_sources (token, address, via, kid, first_at, last_at, allowed, refused)
		SELECT token, '', '', coalesce((array_agg(kid ORDER BY last_at DESC) FILTER (WHERE kid <> ''))[1], ''), min(first_at), max(last_at), sum(allowed), sum(refused)
		FROM gone GROUP BY token ON CONFLICT ` + sourceAgain()
}

// rowset is rows of one table by column: texts first, then numbers.
type rowset struct {
	table   string
	columns []string
	texts   [][]string
	numbers [][]int64
}

func newRowset(table string, texts, numbers []string) rowset {
	return rowset{table, slices.Concat(texts, numbers), make([][]string, len(texts)), make([][]int64, len(numbers))}
}

func (r *rowset) add(texts []string, numbers ...int64) {
	for i, x := range texts {
		r.texts[i] = append(r.texts[i], x)
	}
	for i, x := range numbers {
		r.numbers[i] = append(r.numbers[i], x)
	}
}

func (r *rowset) many() int { return len(r.texts[0]) }

func (r *rowset) args() []any {
	args := make([]any, 0, len(r.columns))
	for _, x := range r.texts {
		args = append(args, x)
	}
	for _, x := range r.numbers {
		args = append(args, x)
	}
	return args
}

func (r *rowset) insert() string {
	into, from := "", ""
	for i, c := range r.columns {
		kind := "bigint"
		if i < len(r.texts) {
			kind = "text"
		}
		if i > 0 {
			into, from = into+", ", from+", "
		}
		into += c
		from += "$" + strconv.Itoa(i+1) + "::" + kind + "[]"
	}
	return "INSERT INTO " + r.table + " (" + into + ") SELECT * FROM unnest(" + from + ")"
}

// batchRows is the rows of a batch.
type batchRows struct{ keys, hours, days, sources, refusals rowset }

// rowsOf lays records out, by token: neighbours in the tables are written one after
// the other.
func rowsOf(records []authority.UsageRecord, number int64) *batchRows {
	spans := []string{"at", "allowed", "refused"}
	rows := &batchRows{
		keys:     newRowset("usage_keys", []string{"token", "kid", "address"}, []string{"first_at", "last_at", "seen"}),
		hours:    newRowset("usage_hours", []string{"token", "kid"}, spans),
		days:     newRowset("usage_days", []string{"token", "kid"}, spans),
		sources:  newRowset("usage_sources", []string{"token", "address", "via", "kid"}, []string{"first_at", "last_at", "allowed", "refused"}),
		refusals: newRowset("usage_refusals", []string{"token", "reason", "address"}, []string{"first_at", "last_at", "refused"}),
	}
	records = slices.SortedFunc(slices.Values(records), func(a, b authority.UsageRecord) int { return cmp.Compare(a.Token, b.Token) })
	for i := range records {
		r, token := &records[i], string(records[i].Token)
		for _, k := range r.Keys {
			rows.keys.add([]string{token, string(k.Key), k.From}, k.First.Unix(), k.Last.Unix(), number)
		}
		for _, n := range r.Hours {
			rows.hours.add([]string{token, string(n.Key)}, n.Start.Unix(), int64(n.Allowed), int64(n.Refused))
		}
		for _, n := range r.Days {
			rows.days.add([]string{token, string(n.Key)}, n.Start.Unix(), int64(n.Allowed), int64(n.Refused))
		}
		for _, s := range r.Sources {
			rows.sources.add([]string{token, s.From, s.Via, string(s.Key)}, s.First.Unix(), s.Last.Unix(), int64(s.Allowed), int64(s.Refused))
		}
		for _, f := range r.Refusals {
			rows.refusals.add([]string{token, f.Reason, f.From}, f.First.Unix(), f.Last.Unix(), int64(f.Count))
		}
	}
	return rows
}
