package usagesql

import (
	"context"
	"database/sql"
	"errors"

	"mintmark/internal/authority"
)

// adding is the statements that add a record, in one transaction.
type adding struct {
	statements                                       []*sql.Stmt
	key, hour, day, source, newSource, howMany, fold *sql.Stmt
	drop, refusal                                    *sql.Stmt
}

// addOneByOne adds a batch row by row, which is the quickest way in a file.
func addOneByOne(ctx context.Context, tx *sql.Tx, b authority.UsageBatch) error {
	if fresh, err := isNew(ctx, tx, b); err != nil || !fresh {
		return err
	}
	ctx = context.WithoutCancel(ctx) // the driver has a goroutine watch each statement that can be cancelled
	a, err := prepare(ctx, tx)
	if err != nil {
		return err
	}
	for i := range b.Records {
		if err := a.add(ctx, &b.Records[i]); err != nil {
			return errors.Join(err, a.close())
		}
	}
	return a.close()
}

func prepare(ctx context.Context, tx *sql.Tx) (a *adding, err error) {
	a = new(adding)
	for _, s := range []struct {
		at   **sql.Stmt
		text string
	}{
		{&a.key, `INSERT INTO usage_keys (token, kid, first_at, last_at, address) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (token, kid) DO UPDATE SET ` + later("usage_keys", "address") + `, ` + span("usage_keys")},
		{&a.hour, spanInto("usage_hours")},
		{&a.day, spanInto("usage_days")},
		{&a.source, `UPDATE usage_sources SET kid = CASE WHEN $4 <> '' AND (kid = '' OR $6 >= last_at) THEN $4 ELSE kid END,
			first_at = CASE WHEN $5 < first_at THEN $5 ELSE first_at END, last_at = CASE WHEN $6 > last_at THEN $6 ELSE last_at END,
			allowed = allowed + $7, refused = refused + $8 WHERE token = $1 AND address = $2 AND via = $3`},
		{&a.newSource, `INSERT INTO usage_sources (token, address, via, kid, first_at, last_at, allowed, refused) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT ` + sourceAgain()},
		{&a.howMany, `SELECT count(*) FROM usage_sources WHERE token = $1 AND address <> ''`},
		{&a.fold, `SELECT address, via, kid, first_at, last_at, allowed, refused FROM usage_sources WHERE token = $1 AND address <> ''
			ORDER BY last_at DESC, address, via LIMIT 1000 OFFSET $2`},
		{&a.drop, `DELETE FROM usage_sources WHERE token = $1 AND address = $2 AND via = $3`},
		{&a.refusal, `INSERT INTO usage_refusals (token, reason, address, first_at, last_at, refused) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (token, reason) DO UPDATE SET ` + later("usage_refusals", "address") + `, ` + span("usage_refusals") + `,
			refused = usage_refusals.refused + excluded.refused`},
	} {
		if *s.at, err = tx.PrepareContext(ctx, s.text); err != nil {
			return nil, errors.Join(err, a.close())
		}
		a.statements = append(a.statements, *s.at)
	}
	return a, nil
}

func (a *adding) close() (err error) {
	for _, s := range a.statements {
		err = errors.Join(err, s.Close())
	}
	return err
}

// later takes a column over from a row that was seen later.
func later(table, column string) string {
	return column + ` = CASE WHEN excluded.last_at >= ` + table + `.last_at THEN excluded.` + column + ` ELSE ` + table + `.` + column + ` END`
}

// span is from the earlier first to the later last.
func span(table string) string {
	return `first_at = CASE WHEN excluded.first_at < ` + table + `.first_at THEN excluded.first_at ELSE ` + table + `.first_at END,
		last_at = CASE WHEN excluded.last_at > ` + table + `.last_at THEN excluded.last_at ELSE ` + table + `.last_at END`
}

func sourceAgain() string {
	return `(token, address, via) DO UPDATE SET
		kid = CASE WHEN excluded.kid <> '' AND (usage_sources.kid = '' OR excluded.last_at >= usage_sources.last_at) THEN excluded.kid ELSE usage_sources.kid END, ` +
		span("usage_sources") + `, ` + sums("usage_sources")
}

// sums adds what was allowed and refused.
func sums(table string) string {
	return `allowed = ` + table + `.allowed + excluded.allowed, refused = ` + table + `.refused + excluded.refused`
}

func spanInto(table string) string {
	return `INSERT INTO ` + table + ` (token, at, kid, allowed, refused) VALUES ($1, $2, $3, $4, $5) ON CONFLICT ` + spanAgain(table)
}

func spanAgain(table string) string { return `(token, at, kid) DO UPDATE SET ` + sums(table) }

func (a *adding) add(ctx context.Context, r *authority.UsageRecord) error {
	for _, k := range r.Keys {
		if _, err := a.key.ExecContext(ctx, string(r.Token), string(k.Key), k.First.Unix(), k.Last.Unix(), k.From); err != nil {
			return err
		}
	}
	for into, counts := range map[*sql.Stmt][]authority.UsageCount{a.hour: r.Hours, a.day: r.Days} {
		for _, n := range counts {
			if _, err := into.ExecContext(ctx, string(r.Token), n.Start.Unix(), string(n.Key), int64(n.Allowed), int64(n.Refused)); err != nil {
				return err
			}
		}
	}
	for _, f := range r.Refusals {
		if _, err := a.refusal.ExecContext(ctx, string(r.Token), f.Reason, f.From, f.First.Unix(), f.Last.Unix(), int64(f.Count)); err != nil {
			return err
		}
	}
	return a.addSources(ctx, r)
}

// addSources keeps the bound; whoever adds a source that is known has no need to
// count them.
func (a *adding) addSources(ctx context.Context, r *authority.UsageRecord) error {
	more := false
	for _, s := range r.Sources {
		is, err := a.addSource(ctx, string(r.Token), s)
		if err != nil {
			return err
		}
		more = more || is
	}
	if !more {
		return nil
	}
	var many int
	if err := a.howMany.QueryRowContext(ctx, string(r.Token)).Scan(&many); err != nil || many <= authority.MaxSources {
		return err
	}
	var gone []authority.UsageSource
	rows, err := a.fold.QueryContext(ctx, string(r.Token), authority.MaxSources)
	err = each(rows, err, func(scan func(...any) error) error {
		s, err := readSource(scan)
		gone = append(gone, s)
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range gone {
		if _, err := a.drop.ExecContext(ctx, string(r.Token), s.From, s.Via); err != nil {
			return err
		}
		s.From, s.Via = "", ""
		if _, err := a.addSource(ctx, string(r.Token), s); err != nil {
			return err
		}
	}
	return nil
}

// addSource reports whether the source is new.
func (a *adding) addSource(ctx context.Context, token string, s authority.UsageSource) (bool, error) {
	args := []any{token, s.From, s.Via, string(s.Key), s.First.Unix(), s.Last.Unix(), int64(s.Allowed), int64(s.Refused)}
	done, err := a.source.ExecContext(ctx, args...)
	if err != nil {
		return false, err
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		return false, err
	}
	_, err = a.newSource.ExecContext(ctx, args...)
	return true, err
}
