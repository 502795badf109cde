package usagesql_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/store/usagesql"
)

func TestRequestsAreAddedUpByDay(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		today := noon().Truncate(24 * time.Hour)
		hour := func(at time.Duration, key authority.KeyID, n uint64) authority.UsageCount {
			return authority.UsageCount{Start: today.Add(at), Key: key, Allowed: n, Refused: 50}
		}
		add(t, s, 1,
			authority.UsageRecord{Token: "a", Hours: []authority.UsageCount{
				hour(-25*time.Hour, "k1", 100), hour(-24*time.Hour, "k1", 1), hour(-time.Hour, "k1", 2), hour(-time.Hour, "k2", 4), hour(0, "k1", 8), hour(23*time.Hour, "k1", 16),
			}},
			authority.UsageRecord{Token: "b", Hours: []authority.UsageCount{hour(0, "k1", 32)}},
			authority.UsageRecord{Token: "c", Hours: []authority.UsageCount{hour(0, "k1", 64)}})
		for _, c := range []struct {
			of   []authority.TokenID
			want []authority.UsageOfDay
		}{
			{nil, nil},
			{manyWith("b"), []authority.UsageOfDay{{Token: "b", Start: today, Count: 32}}},
			{[]authority.TokenID{"a", "b", "d"}, []authority.UsageOfDay{
				{Token: "a", Start: today.Add(-24 * time.Hour), Count: 7}, {Token: "a", Start: today, Count: 24}, {Token: "b", Start: today, Count: 32},
			}},
		} {
			got, err := s.UsageByDay(t.Context(), today.Add(-13*time.Hour), c.of)
			must(t, err)
			sorted := cmpopts.SortSlices(func(a, b authority.UsageOfDay) bool {
				return a.Token < b.Token || a.Token == b.Token && a.Start.Before(b.Start)
			})
			if d := cmp.Diff(c.want, got, sorted); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		}
	})
}

// manyWith is more tokens than one statement names, the last of which is id.
func manyWith(id authority.TokenID) []authority.TokenID {
	out := make([]authority.TokenID, 1100)
	for i := range out {
		out[i] = authority.TokenID(strconv.Itoa(i))
	}
	return append(out, id)
}
