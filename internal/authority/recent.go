package authority

import (
	"context"
	"time"
)

// RecentDays is how many days [Authority.RecentRequests] tells of.
const RecentDays = UsageHours / 24

// RecentRequests is the allowed requests of each of the last RecentDays days
// (UTC), the oldest first; the last is today.
type RecentRequests [RecentDays]uint64

// RecentRequests answers the requests by day with at most MaxPage tokens; every
// one of them is in the answer. Nil: they are not known here.
func (a *Authority) RecentRequests(ctx context.Context, c Caller, ids []TokenID) (map[TokenID]*RecentRequests, error) {
	if err := c.mustAdmin(); err != nil {
		return nil, err
	}
	if a.Ledger == nil || len(ids) > MaxPage {
		return nil, nil
	}
	first := FirstRecentDay(a.Now())
	sums, err := a.Ledger.ByDay(ctx, first, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[TokenID]*RecentRequests, len(ids))
	for _, id := range ids {
		all[id] = new(RecentRequests)
	}
	for _, s := range sums {
		place := int(s.Start.Sub(first) / day)
		if of := all[s.Token]; of != nil && place >= 0 && place < RecentDays {
			of[place] += s.Count
		}
	}
	return all, nil
}

// FirstRecentDay is the day that the first number of [RecentRequests] is of.
func FirstRecentDay(now time.Time) time.Time {
	return now.UTC().Truncate(day).Add(-(RecentDays - 1) * day)
}
