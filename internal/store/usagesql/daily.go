package usagesql

import (
	"context"
	"slices"
	"time"

	"mintmark/internal/authority"
)

// UsageByDay implements authority.UsageStore.
func (s *Store) UsageByDay(ctx context.Context, since time.Time, tokens []authority.TokenID) (all []authority.UsageOfDay, err error) {
	ctx, done := s.within(ctx, patience)
	defer done()
	for some := range slices.Chunk(tokens, most) {
		args := []any{since.UTC().Truncate(24 * time.Hour).Unix()}
		in := among(&args, some)
		//nolint:gosec // numbers of parameters are put in, and nothing else
		rows, err := s.db.QueryContext(ctx, `SELECT token, at / 86400 * 86400, CAST(sum(allowed) AS bigint) FROM usage_hours
			WHERE at >= $1 AND token IN `+in+` GROUP BY 1, 2`, args...)
		err = each(rows, err, func(scan func(...any) error) error {
			var n authority.UsageOfDay
			var start int64
			err := scan(&n.Token, &start, &n.Count)
			n.Start = moment(start)
			all = append(all, n)
			return err
		})
		if err != nil {
			return all, unavailable(err)
		}
	}
	return all, nil
}
