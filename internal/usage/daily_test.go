package usage_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
)

func TestRequestsByDayAreThoseThatAreStoredAndThoseThatAreNot(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"in a home": file(t), "in memory": ""} {
		t.Run(name, func(t *testing.T) {
			d := open(t, path)
			d.now = noon().Add(-48 * time.Hour)
			d.allow("a", "10.0.0.1", 100)
			d.now = noon().Add(-24 * time.Hour)
			d.allow("a", "10.0.0.1", 1)
			must(t, d.Flush(t.Context()))
			d.now = noon()
			d.allow("a", "10.0.0.1", 2)
			d.allow("b", "10.0.0.1", 4)
			d.allow("c", "10.0.0.1", 8)
			for range 2 {
				parts, err := d.ByDay(t.Context(), noon().Add(-24*time.Hour), []authority.TokenID{"a", "b"})
				must(t, err)
				got := make(map[authority.UsageOfDay]uint64)
				for _, p := range parts {
					got[authority.UsageOfDay{Token: p.Token, Start: p.Start}] += p.Count
				}
				today := noon().Truncate(24 * time.Hour)
				if diff := cmp.Diff(map[authority.UsageOfDay]uint64{
					{Token: "a", Start: today.Add(-24 * time.Hour)}: 1, {Token: "a", Start: today}: 2, {Token: "b", Start: today}: 4,
				}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				must(t, d.Flush(t.Context()))
			}
		})
	}
}
