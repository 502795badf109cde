package sqlstore_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
)

// TestListsOfManyAreRightWhicheverWayTheyAreRead has so many tokens that some
// filters let through more than are read and sorted. What is expected is computed
// from the port's own words.
func TestListsOfManyAreRightWhicheverWayTheyAreRead(t *testing.T) {
	const n = 7000 // a third more than are read and sorted without a thought
	now := time.Now().UTC().Truncate(time.Second)
	all := make([]authority.Token, n)
	for i := range all {
		all[i] = person(i, now)
	}
	for _, open := range []func(testing.TB) database{openSQLite, openPostgres} {
		d := open(t)
		t.Run(d.name, func(t *testing.T) {
			fill(t, d, n, now)
			used := make(map[authority.TokenID]time.Time)
			for i := 0; i < n; i += 3 {
				used[all[i].ID] = lastUse(i, now)
			}
			r, floors := rand.New(rand.NewPCG(3, 4)), 0
			for i, s := range shapes() {
				q := authority.TokenQuery{Limit: 50, Now: now, Generation: 1, LastUsed: func(id authority.TokenID) time.Time { return used[id] }}
				s.set(&q, r)
				var want []authority.TokenCursor
				for i := range all {
					if q.Match(&all[i]) {
						want = append(want, authority.TokenCursor{Value: q.SortValue(&all[i]), ID: all[i].ID})
					}
				}
				slices.SortFunc(want, q.Compare)
				// Every second sort, both ways, begins in the middle, and the others at the
				// end: of every filter and of every sort there is each.
				deep := max(0, len(want)-20)
				if i/2%2 == 0 {
					deep = r.IntN(len(want) + 1)
				}
				for _, from := range []int{0, deep} {
					if q.After = nil; from > 0 {
						q.After = &want[from-1]
					}
					page := find(t, d.store, q)
					wantIDs, got := ids(want[from:min(from+50, len(want))]), []authority.TokenID{}
					for _, v := range page.Tokens {
						got = append(got, v.ID)
					}
					if diff := cmp.Diff(wantIDs, got); diff != "" {
						t.Fatalf("%s from %d of %d (-want +got):\n%s", s.name, from, len(want), diff)
					}
					if (page.Next == nil) != (from+50 >= len(want)) {
						t.Errorf("%s from %d of %d: next is %v", s.name, from, len(want), page.Next)
					}
					switch {
					case page.TotalIsFloor:
						floors++
						if page.Total > len(want) || page.Total < len(got) {
							t.Errorf("%s: at least %d, and %d match", s.name, page.Total, len(want))
						}
					case page.Total != len(want):
						t.Errorf("%s: total %d, want %d", s.name, page.Total, len(want))
					}
				}
			}
			if floors == 0 {
				t.Error("no filter lets through more than are counted: the test shows nothing")
			}
		})
	}
}

// narrow makes a store read lists of some hundred tokens as those of millions are.
func narrow(t testing.TB, d database) {
	t.Helper()
	s, ok := d.uses.(interface{ Narrow() })
	if !ok {
		t.Fatalf("%T cannot be narrowed", d.uses)
	}
	s.Narrow()
}

func find(t *testing.T, s authority.Store, q authority.TokenQuery) authority.TokenPage {
	t.Helper()
	var page authority.TokenPage
	err := s.View(context.Background(), func(tx authority.Tx) (err error) {
		page, err = tx.Tokens().Find(q)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func ids(places []authority.TokenCursor) []authority.TokenID {
	out := make([]authority.TokenID, len(places))
	for i, p := range places {
		out[i] = p.ID
	}
	return out
}
