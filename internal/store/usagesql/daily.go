package usagesql

import (
	"context"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
)

// UsageByDay implements authority.UsageStore.
func (s *Store) UsageByDay(ctx context.Context, since time.Time, tokens []authority.TokenID) ([]authority.UsageOfDay, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	args := []any{since.UTC().Truncate(24 * time.Hour).Unix()}
	var in []string
	for _, id := range tokens {
		args = append(args, string(id))
		in = append(in, "$"+strconv.Itoa(len(args)))
	}
	//nolint:gosec // numbers of parameters are put in, and nothing else
	rows, err := s.db.QueryContext(ctx, `SELECT token, at / 86400 * 86400, CAST(sum(allowed) AS bigint) FROM usage_hours
		WHERE at >= $1 AND token IN (`+strings.Join(in, ", ")+`) GROUP BY 1, 2`, args...)
	var all []authority.UsageOfDay
	err = each(rows, err, func(scan func(...any) error) error {
		var n authority.UsageOfDay
		var start int64
		err := scan(&n.Token, &start, &n.Count)
		n.Start = time.Unix(start, 0).UTC()
		all = append(all, n)
		return err
	})
	return all, unavailable(err)
}
