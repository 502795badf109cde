package sqlstore_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/sqlstore"
)

// TestListsKeepFewStatements asks one connection for as many lists as a server is
// asked for in its life. A statement that is kept for each would be memory that is
// never given back.
func TestListsKeepFewStatements(t *testing.T) {
	d, now := openSQLite(t), time.Now().UTC().Truncate(time.Second)
	fill(t, d, 1000, now)
	kept := func() (n, most int) {
		t.Helper()
		s, ok := d.uses.(*sqlstore.Store)
		if !ok {
			t.Fatalf("%T keeps no statements", d.uses)
		}
		return s.Kept()
	}
	// The same question, which other numbers of tokens meet, for pages of any length.
	ask := func(i int) {
		q := authority.TokenQuery{States: []authority.TokenState{authority.StateActive, authority.StateExpired}, Limit: 1 + i, Now: now, Generation: 1}
		q.Expiring, q.Sort = time.Duration(i)*5*24*time.Hour, authority.SortCreatedAt
		find(t, d.store, q)
	}
	ask(1)
	before, _ := kept()
	for i := range 100 {
		ask(i + 1)
	}
	if after, _ := kept(); after != before {
		t.Errorf("%d statements are kept for one list, and %d for the same with other numbers", before, after)
	}
	// Every question.
	r, at := rand.New(rand.NewPCG(5, 6)), person(7, now)
	for _, s := range shapes() {
		q := authority.TokenQuery{Limit: 10, Now: now, Generation: 1}
		s.set(&q, r)
		find(t, d.store, q)
		q.LastUsed = func(authority.TokenID) time.Time { return now }
		q.After = &authority.TokenCursor{Value: q.SortValue(&at), ID: at.ID}
		find(t, d.store, q)
	}
	if after, most := kept(); after != most {
		t.Errorf("%d statements are kept, want %d", after, most)
	}
}
