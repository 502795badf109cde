package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func states() []authority.TokenState {
	return []authority.TokenState{authority.StateActive, authority.StateExpired, authority.StateDeleted, authority.StateRevoked, authority.StateReplaced}
}

func everything() authority.TokenQuery {
	return authority.TokenQuery{States: states(), Sort: authority.SortClientID, Limit: 500, Now: epoch(), Generation: 1}
}

// population is 60 tokens with ties and missing values in every column.
func population() []authority.Token {
	roles := []authority.Role{authority.RoleAdmin, authority.RoleUser, authority.RoleVerifier}
	var out []authority.Token
	for i := range 60 {
		v := Token(i)
		v.ClientID = []string{"Batch", "batch", "import.nightly", "zeta", "Alpha", fmt.Sprintf("own-%d", i)}[i%6]
		v.Role = roles[i%3]
		v.Tags = [][]string{nil, {"team:blue"}, {"team:red", "env:prod"}, {"Team:Blue"}}[i%4]
		v.CreatedAt = epoch().Add(-time.Duration(i%7) * time.Hour)
		v.ExpiresAt = []time.Time{{}, epoch().Add(24 * time.Hour), epoch().Add(-time.Hour), epoch().Add(14 * 24 * time.Hour), epoch().Add(400 * 24 * time.Hour)}[i%5]
		v.Generation = uint64(i%11) / 3
		if i%8 == 0 {
			v.DeletedAt, v.DeletedBy, v.Leaked = epoch().Add(-time.Minute), "admin", i%16 == 0
		}
		if i%9 == 0 {
			v.ReplacedBy, v.EndsAt = Token(i+1).ID, epoch().Add(time.Duration(i-30)*time.Hour)
		}
		out = append(out, v)
	}
	return out
}

func lastUsed(id authority.TokenID) time.Time {
	n := int(id[len(id)-1] - '0')
	if n%3 == 0 {
		return time.Time{}
	}
	return epoch().Add(-time.Duration(n%4) * time.Hour)
}

// expected answers what a query means, by the port's own words.
func expected(q authority.TokenQuery, all []authority.Token) []authority.Token {
	var out []authority.Token
	for _, v := range all {
		if q.Match(&v) {
			out = append(out, v)
		}
	}
	place := func(v authority.Token) authority.TokenCursor {
		return authority.TokenCursor{Value: q.SortValue(&v), ID: v.ID}
	}
	slices.SortFunc(out, func(a, b authority.Token) int { return q.Compare(place(a), place(b)) })
	return out
}

// wantPages reads all pages and compares them with what the query means.
func wantPages(t *testing.T, s authority.Store, q authority.TokenQuery, all []authority.Token) {
	t.Helper()
	want := expected(q, all)
	var got []authority.Token
	view(t, s, func(tx authority.Tx) error {
		for range len(all) + 1 {
			page, err := tx.Tokens().Find(q)
			if err != nil {
				return err
			}
			if page.Total != len(want) {
				t.Errorf("total %d, want %d", page.Total, len(want))
			}
			if len(page.Tokens) > q.Limit {
				t.Errorf("%d tokens on a page of %d", len(page.Tokens), q.Limit)
			}
			got = append(got, page.Tokens...)
			if q.After = page.Next; q.After == nil {
				return nil
			}
		}
		return errors.New("the pages have no end")
	})
	if d := diff(want, got); d != "" {
		t.Errorf("sort %s, descending %v, limit %d (-want +got):\n%s", q.Sort, q.Descending, q.Limit, d)
	}
}

func queries(t *testing.T, h Harness) {
	all := population()
	put(t, h.Store, all...)
	if h.UsedAt != nil {
		keepUses(t, h, all)
	}
	for _, sort := range []authority.TokenSort{
		authority.SortClientID, authority.SortRole, authority.SortCreatedAt, authority.SortExpiresAt, authority.SortLastUsed,
	} {
		for _, descending := range []bool{false, true} {
			for _, limit := range []int{1, 7, 60, 500} {
				q := everything()
				q.Sort, q.Descending, q.Limit, q.LastUsed = sort, descending, limit, lastUsed
				wantPages(t, h.Store, q, all)
			}
		}
	}
}

// keepUses tells a store of the last uses, also of some that are older and of
// tokens that are not there, twice.
func keepUses(t *testing.T, h Harness, all []authority.Token) {
	t.Helper()
	var uses, old []authority.Used
	for _, v := range append(all, Token(9999)) {
		if at := lastUsed(v.ID); !at.IsZero() {
			uses = append(uses, authority.Used{ID: v.ID, At: at})
			old = append(old, authority.Used{ID: v.ID, At: at.Add(-time.Minute)})
		}
	}
	for _, list := range [][]authority.Used{uses, old, uses} {
		if err := h.UsedAt(context.Background(), list); err != nil {
			t.Fatalf("used at: %v", err)
		}
	}
}

// goneCursor checks that a page begins where the one before ended, also when its
// last token is gone.
func goneCursor(t *testing.T, h Harness) {
	all := population()
	put(t, h.Store, all...)
	q := everything()
	q.Limit = 20
	want := expected(q, all)
	find := func() (page authority.TokenPage) {
		t.Helper()
		view(t, h.Store, func(tx authority.Tx) (err error) {
			page, err = tx.Tokens().Find(q)
			return err
		})
		return page
	}
	q.After = find().Next
	update(t, h.Store, func(tx authority.Tx) error { return tx.Tokens().Delete(want[19].ID) })
	if d := diff(want[20:40], find().Tokens); d != "" {
		t.Errorf("the second page (-want +got):\n%s", d)
	}
}

func filters(t *testing.T, h Harness) {
	all := population()
	put(t, h.Store, all...)
	for name, narrow := range map[string]func(*authority.TokenQuery){
		"text of client id": func(q *authority.TokenQuery) { q.Text = "BAT" },
		"text of id":        func(q *authority.TokenQuery) { q.Text = string(Token(7).ID) },
		"text of tag":       func(q *authority.TokenQuery) { q.Text = "team:b" },
		"text of nothing":   func(q *authority.TokenQuery) { q.Text = "%" },
		"text as pattern":   func(q *authority.TokenQuery) { q.Text = "own_1" },
		"role":              func(q *authority.TokenQuery) { q.Role = authority.RoleVerifier },
		"tag":               func(q *authority.TokenQuery) { q.Tag = "team:red" },
		"client id":         func(q *authority.TokenQuery) { q.ClientID = "batch" },
		"active":            func(q *authority.TokenQuery) { q.States = q.States[:1] },
		"expired":           func(q *authority.TokenQuery) { q.States = q.States[1:2] },
		"deleted":           func(q *authority.TokenQuery) { q.States = q.States[2:3] },
		"revoked":           func(q *authority.TokenQuery) { q.States, q.Generation = q.States[3:4], 3 },
		"replaced":          func(q *authority.TokenQuery) { q.States = q.States[4:] },
		"expiring":          func(q *authority.TokenQuery) { q.States, q.Expiring = q.States[:1], 14*24*time.Hour },
		"all at once": func(q *authority.TokenQuery) {
			q.Text, q.Role, q.Tag, q.States = "o", authority.RoleVerifier, "team:red", q.States[:2]
		},
		"no state": func(q *authority.TokenQuery) { q.States = nil },
	} {
		t.Run(name, func(t *testing.T) {
			q := everything()
			q.Limit = 5
			narrow(&q)
			wantPages(t, h.Store, q, all)
		})
	}
}

func counts(t *testing.T, h Harness) {
	all := population()
	put(t, h.Store, all...)
	for _, generation := range []uint64{0, 2} {
		var want authority.TokenCounts
		for _, v := range all {
			switch v.State(epoch(), generation) {
			case authority.StateActive:
				want.Active++
				if !v.ExpiresAt.IsZero() && v.ExpiresAt.Sub(epoch()) <= 14*24*time.Hour {
					want.Expiring++
				}
			case authority.StateExpired:
				want.Expired++
			case authority.StateDeleted:
				want.Deleted++
			case authority.StateRevoked:
				want.Revoked++
			case authority.StateReplaced:
				want.Replaced++
			}
		}
		view(t, h.Store, func(tx authority.Tx) error {
			got, err := tx.Tokens().Counts(epoch(), generation)
			if d := diff(want, got); d != "" {
				t.Errorf("generation %d (-want +got):\n%s", generation, d)
			}
			return err
		})
	}
}
