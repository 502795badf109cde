package usagesql

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
)

// each hands every row to a function, and closes them.
func each(rows *sql.Rows, err error, row func(scan func(...any) error) error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

func readSource(scan func(...any) error) (s authority.UsageSource, err error) {
	var first, last int64
	err = scan(&s.From, &s.Via, &s.Key, &first, &last, &s.Allowed, &s.Refused)
	s.First, s.Last = moment(first), moment(last)
	return s, err
}

// Usage implements authority.UsageStore.
func (s *Store) Usage(ctx context.Context, id authority.TokenID) (authority.UsageRecord, error) {
	ctx, done := s.within(ctx, patience)
	defer done()
	r := authority.UsageRecord{Token: id}
	err := s.fill(ctx, id, id, func(authority.TokenID) *authority.UsageRecord { return &r })
	return r, unavailable(err)
}

// fill reads the rows of the tokens from one to another into their records.
func (s *Store) fill(ctx context.Context, from, to authority.TokenID, record func(authority.TokenID) *authority.UsageRecord) error {
	of := func(statement string, row func(scan func(...any) error) (put func(*authority.UsageRecord), err error)) error {
		rows, err := s.db.QueryContext(ctx, statement+` WHERE token >= $1 AND token <= $2`, string(from), string(to))
		return each(rows, err, func(scan func(...any) error) error {
			var id authority.TokenID
			put, err := row(func(columns ...any) error { return scan(append([]any{&id}, columns...)...) })
			if err == nil {
				put(record(id))
			}
			return err
		})
	}
	return errors.Join(
		of(`SELECT token, kid, first_at, last_at, address FROM usage_keys`, func(scan func(...any) error) (func(*authority.UsageRecord), error) {
			k, err := readUse(scan)
			return func(r *authority.UsageRecord) { r.Keys = append(r.Keys, k) }, err
		}),
		of(`SELECT token, at, kid, allowed, refused FROM usage_hours`, func(scan func(...any) error) (func(*authority.UsageRecord), error) {
			n, err := readCount(scan)
			return func(r *authority.UsageRecord) { r.Hours = append(r.Hours, n) }, err
		}),
		of(`SELECT token, at, kid, allowed, refused FROM usage_days`, func(scan func(...any) error) (func(*authority.UsageRecord), error) {
			n, err := readCount(scan)
			return func(r *authority.UsageRecord) { r.Days = append(r.Days, n) }, err
		}),
		of(`SELECT token, address, via, kid, first_at, last_at, allowed, refused FROM usage_sources`, func(scan func(...any) error) (func(*authority.UsageRecord), error) {
			n, err := readSource(scan)
			return func(r *authority.UsageRecord) { r.Sources = append(r.Sources, n) }, err
		}),
		of(`SELECT token, reason, address, first_at, last_at, refused FROM usage_refusals`, func(scan func(...any) error) (func(*authority.UsageRecord), error) {
			f, err := readRefusal(scan)
			return func(r *authority.UsageRecord) { r.Refusals = append(r.Refusals, f) }, err
		}),
	)
}

func readCount(scan func(...any) error) (n authority.UsageCount, err error) {
	var at int64
	err = scan(&at, &n.Key, &n.Allowed, &n.Refused)
	n.Start = moment(at)
	return n, err
}

func readRefusal(scan func(...any) error) (f authority.UsageRefusal, err error) {
	var first, last int64
	err = scan(&f.Reason, &f.From, &first, &last, &f.Count)
	f.First, f.Last = moment(first), moment(last)
	return f, err
}

func readUse(scan func(...any) error) (k authority.KeyUse, err error) {
	var first, last int64
	err = scan(&k.Key, &first, &last, &k.From)
	k.First, k.Last = moment(first), moment(last)
	return k, err
}

// LastUses implements authority.UsageStore. A file has no marks: nobody else
// writes to it.
func (s *Store) LastUses(ctx context.Context, keys []authority.KeyID, after uint64, use func(authority.TokenID, authority.KeyUse)) (mark uint64, err error) {
	since, args := "", []any{""}
	if s.shared {
		// Who adds commits in the order of numbers, so this one is read first.
		if err := s.db.QueryRowContext(ctx, `SELECT value FROM usage_facts WHERE name = 'added'`).Scan(&mark); err != nil {
			return after, unavailable(err)
		}
		if after > mark { // the database is not the one it was
			after = 0
		}
		since, args = ` AND seen > $2`, []any{"", int64(after)}
	}
	for _, kid := range keys {
		args[0] = string(kid)
		rows, err := s.db.QueryContext(ctx, `SELECT token, kid, first_at, last_at, address FROM usage_keys WHERE kid = $1`+since, args...)
		err = each(rows, err, func(scan func(...any) error) error {
			var id authority.TokenID
			k, err := readUse(func(columns ...any) error { return scan(append([]any{&id}, columns...)...) })
			if err == nil {
				use(id, k)
			}
			return err
		})
		if err != nil {
			return after, unavailable(err)
		}
	}
	return mark, nil
}

// most is how many tokens one statement names.
const most = 500

// among names tokens in a statement.
func among(args *[]any, tokens []authority.TokenID) string {
	var in []string
	for _, id := range tokens {
		*args = append(*args, string(id))
		in = append(in, "$"+strconv.Itoa(len(*args)))
	}
	return `(` + strings.Join(in, ", ") + `)`
}

// UsageSums implements authority.UsageStore.
func (s *Store) UsageSums(ctx context.Context, since time.Time, tokens []authority.TokenID) (all []authority.UsageSum, err error) {
	limit := patience
	if tokens == nil {
		limit = patienceForAll
	}
	ctx, done := s.within(ctx, limit)
	defer done()
	for from := 0; ; from += most {
		where, args := "", []any{since.UTC().Truncate(time.Hour).Unix()}
		if tokens != nil {
			if from >= len(tokens) {
				return all, nil
			}
			where = ` AND token IN ` + among(&args, tokens[from:min(from+most, len(tokens))])
		}
		rows, err := s.db.QueryContext(ctx, `SELECT token, kid, CAST(sum(allowed) AS bigint) FROM usage_hours WHERE at >= $1`+where+` AND token <> '' GROUP BY token, kid`, args...) //nolint:gosec // numbers of parameters are put in, and nothing else
		err = each(rows, err, func(scan func(...any) error) error {
			var n authority.UsageSum
			err := scan(&n.Token, &n.Key, &n.Count)
			all = append(all, n)
			return err
		})
		if err != nil || tokens == nil {
			return all, unavailable(err)
		}
	}
}
