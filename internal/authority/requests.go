package authority

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Requests is allowed requests with a token, under the key in question and under
// the current one.
type Requests struct{ Under, Since uint64 }

// countRequests notes how many requests came with each token in the last 24
// hours, the present one and the 23 before. Without that a list is a list still.
func (a *Authority) countRequests(ctx context.Context, views ...*TokenView) {
	if a.Ledger == nil || len(views) == 0 {
		return
	}
	ids := make([]TokenID, len(views))
	for i, v := range views {
		ids[i] = v.ID
	}
	sums, err := a.Ledger.Sums(ctx, a.dayAgo(), ids)
	if err != nil {
		return
	}
	all := make(map[TokenID]uint64)
	for _, s := range sums {
		all[s.Token] += s.Count
	}
	for _, v := range views {
		n := all[v.ID]
		v.Requests = &n
	}
}

// counted is a token with what is counted of it.
func (a *Authority) counted(ctx context.Context, v TokenView) TokenView {
	a.countRequests(ctx, &v)
	a.findReuse(ctx, &v)
	return v
}

// UsageState says how far the counts of use are saved.
func (a *Authority) UsageState() LedgerState {
	if a.Ledger == nil {
		return LedgerState{}
	}
	return a.Ledger.State()
}

// dayAgo is when the last 24 hours began, by whole hours.
func (a *Authority) dayAgo() time.Time {
	return a.Now().UTC().Truncate(time.Hour).Add(-23 * time.Hour)
}

// ReasonReplaced is the name of the reason for which a replaced token is refused
// after its end.
const ReasonReplaced = "replaced"

// findReuse notes whether a token that was replaced is still used: somebody has a
// copy who was not told.
func (a *Authority) findReuse(ctx context.Context, v *TokenView) {
	if a.Ledger == nil || v.State != StateReplaced {
		return
	}
	kept, err := a.Ledger.Record(ctx, v.ID)
	if err != nil {
		return
	}
	for _, r := range kept.Refusals {
		if r.Reason == ReasonReplaced {
			v.Reused = r
		}
	}
}

// sinceRotation is when the last 24 hours began, or the first whole hour after a
// rotation that was later; in the hour of the rotation itself, that hour.
func (a *Authority) sinceRotation(e *Evidence) time.Time {
	first := e.Current.CurrentSince.Truncate(time.Hour)
	if next := first.Add(time.Hour); !e.AsOf.Before(next) {
		first = next
	}
	if day := a.dayAgo(); day.After(first) {
		return day
	}
	return first
}

// countUnder notes the requests under both keys of a rotation and reports whether
// they are known. Requests are known by the hour, so those of the hour of the
// rotation are all in.
func (a *Authority) countUnder(ctx context.Context, e *Evidence) bool {
	if a.Ledger == nil {
		return false
	}
	rows := make(map[TokenID][]*TokenEvidence) // a token may be in several lists
	for _, list := range [][]TokenEvidence{e.Tokens, e.Depends, e.Trial.First} {
		for i := range list {
			rows[list[i].ID] = append(rows[list[i].ID], &list[i])
		}
	}
	var ids []TokenID // nil: more than it pays to name
	if len(rows) <= MaxPage {
		ids = slices.Collect(maps.Keys(rows))
	}
	for _, span := range []struct {
		since time.Time
		of    func(*TokenEvidence) *Requests
	}{
		{a.sinceRotation(e), func(t *TokenEvidence) *Requests { return &t.Day }},
		{e.Current.CurrentSince.Truncate(time.Hour), func(t *TokenEvidence) *Requests { return &t.Rotation }},
	} {
		sums, err := a.Ledger.Sums(ctx, span.since, ids)
		if err != nil {
			return false
		}
		for _, s := range sums {
			for _, row := range rows[s.Token] {
				switch s.Key {
				case e.Key.ID:
					span.of(row).Under += s.Count
				case e.Current.ID:
					span.of(row).Since += s.Count
				}
			}
		}
	}
	return true
}
