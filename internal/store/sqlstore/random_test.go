package sqlstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
)

// TestListsOfAnyTokensAreRight asks for random lists of random tokens, page by page,
// from a store that goes the ways of very many tokens with few. Values are few, so
// that they meet: ties, times at which something ends, texts that begin alike. What
// is expected is computed from the port's own words.
func TestListsOfAnyTokensAreRight(t *testing.T) {
	for _, on := range []struct {
		open   func(testing.TB, func() time.Time) database
		rounds int
	}{{openSQLiteBy, 8}, {openPostgresBy, 4}} {
		d := on.open(t, laborious())
		narrow(t, d)
		t.Run(d.name, func(t *testing.T) {
			c := &chance{r: rand.New(rand.NewPCG(7, 9)), used: make(map[authority.TokenID]time.Time)}
			floors := 0
			for round := range on.rounds {
				c.replace(t, d, []int{300, 120, 20, 3}[round%4])
				for range 100 {
					floors += c.pages(t, d, c.query(), fmt.Sprint("round ", round))
				}
			}
			if floors == 0 {
				t.Error("no total was a floor: the test shows too little")
			}
		})
	}
}

// chance makes tokens and queries, and knows what there is.
type chance struct {
	r    *rand.Rand
	all  []authority.Token
	used map[authority.TokenID]time.Time
}

func of[T any](c *chance, list ...T) T { return list[c.r.IntN(len(list))] }

// hour is one of few times; tokens and queries have the same.
func (c *chance) hour() time.Time {
	return time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC).Add(time.Duration(c.r.IntN(40)-20) * time.Hour)
}

func (c *chance) client() string {
	return of(c, "Batch", "batch", "batchy", "BATCH", "Zeta", "a.b", "tok_01", "team", "Äpfel", "env")
}

func (c *chance) tag() string {
	return of(c, "team:blue", "Team:Blue", "team:red", "env:prod", "batch", "tok_", "team")
}

func (c *chance) role() authority.Role {
	return of(c, authority.RoleAdmin, authority.RoleUser, authority.RoleVerifier)
}

func (c *chance) token(id authority.TokenID) authority.Token {
	v := authority.Token{
		ID: id, ClientID: c.client(), Role: c.role(), Issuer: "x", Audience: []string{"y"}, KeyID: "k", CreatedBy: "a", Generation: of(c, uint64(0), 1, 1, 1, 1, 1, 2),
	}
	if c.r.IntN(2) == 0 {
		v.ClientID = fmt.Sprintf("c-%d", c.r.IntN(100))
	}
	for range c.r.IntN(3) {
		if tag := c.tag(); !slices.Contains(v.Tags, tag) {
			v.Tags = append(v.Tags, tag)
		}
	}
	if c.r.IntN(10) > 0 {
		v.CreatedAt = c.hour()
	}
	if c.r.IntN(3) > 0 {
		v.ExpiresAt = c.hour()
	}
	if c.r.IntN(5) == 0 {
		v.DeletedAt, v.DeletedBy = c.hour(), "admin"
	}
	if c.r.IntN(4) == 0 {
		v.ReplacedBy, v.EndsAt = "tok_successor", c.hour()
	}
	return v
}

// replace puts other tokens in the place of those that there are: half of them have
// the ids of before.
func (c *chance) replace(t *testing.T, d database, n int) {
	t.Helper()
	var next []authority.Token
	for i := range n {
		id := authority.TokenID(fmt.Sprintf("tok_%02d%06d", c.r.IntN(3), i))
		if i < len(c.all) && c.r.IntN(2) == 0 {
			id = c.all[i].ID
		}
		next = append(next, c.token(id))
	}
	has := func(list []authority.Token, id authority.TokenID) bool {
		return slices.ContainsFunc(list, func(v authority.Token) bool { return v.ID == id })
	}
	err := d.store.Update(context.Background(), func(tx authority.Tx) error {
		for _, v := range c.all {
			if !has(next, v.ID) {
				if err := tx.Tokens().Delete(v.ID); err != nil {
					return err
				}
			}
		}
		for _, v := range next {
			put := tx.Tokens().Insert
			if has(c.all, v.ID) {
				put = tx.Tokens().Put
			}
			if err := put(v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[authority.TokenID]time.Time)
	var told []authority.Used
	for _, v := range next {
		if has(c.all, v.ID) {
			used[v.ID] = c.used[v.ID]
		}
		if at := c.hour(); c.r.IntN(2) == 0 {
			told = append(told, authority.Used{ID: v.ID, At: at})
			if at.After(used[v.ID]) {
				used[v.ID] = at
			}
		}
	}
	c.all, c.used = next, used
	if err := d.uses.UsedAt(context.Background(), told); err != nil {
		t.Fatal(err)
	}
}

func (c *chance) query() authority.TokenQuery {
	states := []authority.TokenState{authority.StateActive, authority.StateExpired, authority.StateDeleted, authority.StateRevoked, authority.StateReplaced}
	q := authority.TokenQuery{
		Limit: 1 + c.r.IntN(12), Now: c.hour(), Generation: of(c, uint64(1), 1, 1, 1, 1, 1, 1, 2), Descending: c.r.IntN(2) == 0,
		Sort:     of(c, authority.SortClientID, authority.SortRole, authority.SortCreatedAt, authority.SortExpiresAt, authority.SortLastUsed),
		LastUsed: func(id authority.TokenID) time.Time { return c.used[id] },
	}
	if c.r.IntN(2) == 0 { // times of queries are no whole seconds
		q.Now = q.Now.Add(time.Duration(c.r.IntN(3_000_000_000) - 1_500_000_000))
	}
	switch c.r.IntN(6) {
	case 0: // what is asked for ends within the order
		q.States, q.Sort, q.Text = states, authority.SortClientID, of(c, "c-", "c-1", "c-2", "z")
		return q
	case 1:
		q.States, q.Sort = []authority.TokenState{of(c, states...)}, authority.SortExpiresAt
		return q
	case 2:
		q.States = states
	case 3:
		q.States = []authority.TokenState{of(c, states...)}
	default:
		for _, s := range states {
			if c.r.IntN(2) == 0 {
				q.States = append(q.States, s)
			}
		}
	}
	if c.r.IntN(3) == 0 {
		q.Role = c.role()
	}
	if c.r.IntN(4) == 0 {
		q.Text = of(c, "b", "batch", "BATCH", "tok_", "tok_01", "team:", "TEAM", "c-1", "c-", "zzz", "ä", ",", "]", "env:prod", `"`)
	}
	if c.r.IntN(5) == 0 {
		q.Tag = c.tag()
	}
	if c.r.IntN(8) == 0 {
		q.ClientID = c.client()
	}
	if c.r.IntN(4) == 0 {
		if q.Expiring = time.Duration(c.r.IntN(20)) * time.Hour; c.r.IntN(2) == 0 {
			q.States = states[:1]
		}
	}
	if c.r.IntN(3) == 0 { // from anywhere, also from what does not match
		at := of(c, c.all...)
		q.After = &authority.TokenCursor{Value: q.SortValue(&at), ID: at.ID}
	}
	return q
}

// pages reads what a query asks for up to its end, and answers how many totals were
// floors.
func (c *chance) pages(t *testing.T, d database, q authority.TokenQuery, what string) (floors int) {
	t.Helper()
	var want []authority.TokenCursor
	for i := range c.all {
		if q.Match(&c.all[i]) {
			want = append(want, authority.TokenCursor{Value: q.SortValue(&c.all[i]), ID: c.all[i].ID})
		}
	}
	slices.SortFunc(want, q.Compare)
	what += fmt.Sprintf(" %+v", q)
	rest := want
	if q.After != nil {
		rest = slices.DeleteFunc(slices.Clone(want), func(x authority.TokenCursor) bool { return q.Compare(x, *q.After) <= 0 })
	}
	for {
		page, got := find(t, d.store, q), []authority.TokenID{}
		for _, v := range page.Tokens {
			got = append(got, v.ID)
		}
		n := min(q.Limit, len(rest))
		if diff := cmp.Diff(ids(rest[:n]), got); diff != "" {
			t.Fatalf("%s after %v (-want +got):\n%s", what, q.After, diff)
		}
		switch {
		case page.TotalIsFloor:
			floors++
			if page.Total > len(want) || page.Total < len(got) {
				t.Fatalf("%s: at least %d, and %d match", what, page.Total, len(want))
			}
		case page.Total != len(want):
			t.Fatalf("%s: total %d, want %d", what, page.Total, len(want))
		}
		if rest = rest[n:]; (page.Next == nil) != (len(rest) == 0) {
			t.Fatalf("%s: next is %v, and %d are left", what, page.Next, len(rest))
		}
		if q.After = page.Next; q.After == nil {
			return floors
		}
	}
}
