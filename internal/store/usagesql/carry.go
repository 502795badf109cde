package usagesql

import (
	"context"
	"iter"
	"time"

	"mintmark/internal/authority"
)

const (
	inPage  = 1 << 10 // tokens that are read at one time
	inBatch = 1 << 13 // rows that are added at one time, about
)

// Batches hands out all that is kept, for another store to add (AddUsage) under
// the name of a writer. Of counts that stay as they are it always makes the same
// batches, so what was added in part may be added again from the beginning. It
// ends with the first error.
func (s *Store) Batches(ctx context.Context, writer string) iter.Seq2[authority.UsageBatch, error] {
	return func(yield func(authority.UsageBatch, error) bool) {
		b, rows := authority.UsageBatch{Writer: writer, Number: 1}, 0
		for from := []authority.TokenID(nil); ; {
			page, err := s.page(ctx, from)
			if err != nil {
				yield(authority.UsageBatch{}, unavailable(err))
				return
			}
			for _, r := range page {
				b.Records = append(b.Records, *r)
				rows += len(r.Keys) + len(r.Hours) + len(r.Days) + len(r.Sources) + len(r.Refusals)
				if rows < inBatch {
					continue
				}
				if !yield(b, nil) {
					return
				}
				b, rows = authority.UsageBatch{Writer: writer, Number: b.Number + 1}, 0
			}
			if len(page) < inPage {
				break
			}
			from = []authority.TokenID{page[len(page)-1].Token}
		}
		if len(b.Records) > 0 {
			yield(b, nil)
		}
	}
}

// Tokens is how many tokens something is kept of.
func (s *Store) Tokens(ctx context.Context) (n int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM (`+tokensOf(``)+`) AS kept`).Scan(&n)
	return n, unavailable(err)
}

// tokensOf asks which tokens something is kept of.
func tokensOf(where string) string {
	statement := ``
	for i, table := range []string{"usage_keys", "usage_hours", "usage_days", "usage_sources", "usage_refusals"} {
		if i > 0 {
			statement += ` UNION `
		}
		statement += `SELECT token FROM ` + table + where
	}
	return statement
}

// page reads the records of the next tokens behind one, in the order of ids: from
// the first for none.
func (s *Store) page(ctx context.Context, behind []authority.TokenID) ([]*authority.UsageRecord, error) {
	where, args := ``, []any{inPage}
	if len(behind) > 0 {
		where, args = ` WHERE token > $2`, append(args, string(behind[0]))
	}
	var page []*authority.UsageRecord
	byToken := make(map[authority.TokenID]*authority.UsageRecord)
	rows, err := s.db.QueryContext(ctx, tokensOf(where)+` ORDER BY 1 LIMIT $1`, args...)
	err = each(rows, err, func(scan func(...any) error) error {
		r := new(authority.UsageRecord)
		err := scan(&r.Token)
		page, byToken[r.Token] = append(page, r), r
		return err
	})
	if err != nil || len(page) == 0 {
		return nil, err
	}
	return page, s.fill(ctx, page[0].Token, page[len(page)-1].Token, func(id authority.TokenID) *authority.UsageRecord { return byToken[id] })
}

// BeganAt says that the counting began earlier than this store has it.
func (s *Store) BeganAt(ctx context.Context, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE usage_facts SET value = $1 WHERE name = 'since' AND value > $1`, at.Unix())
	return unavailable(err)
}
