package mapstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/store/mapstore"
)

// TestWhatWasAskedBeforeIsAnsweredAnewOnceItChanges asks the same again and again,
// of a store that was asked before and of one that was not.
func TestWhatWasAskedBeforeIsAnsweredAnewOnceItChanges(t *testing.T) {
	start := time.Date(2026, 11, 23, 14, 8, 0, 0, time.UTC)
	token := func(n int, end time.Duration) authority.Token {
		return authority.Token{ID: authority.TokenID(fmt.Sprintf("tok_%026d", n)), ClientID: fmt.Sprint("c", n), Role: authority.RoleUser, Generation: 1, CreatedAt: start, ExpiresAt: start.Add(end)}
	}
	const day = 24 * time.Hour
	tokens := []authority.Token{token(1, time.Hour), token(2, 15*day), token(3, 90*day)}
	tokens[2].EndsAt = start.Add(2 * time.Hour)
	open := func() *mapstore.Store {
		s, err := mapstore.Open(mapstore.Config{Now: func() time.Time { return start }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	put := func(s *mapstore.Store, list []authority.Token) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx authority.Tx) error {
			for _, v := range list {
				if err := tx.Tokens().Insert(v); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		Counts authority.TokenCounts
		Pages  []authority.TokenPage
	}
	ask := func(s *mapstore.Store, now time.Time, generation uint64) answer {
		t.Helper()
		var a answer
		if err := s.View(t.Context(), func(tx authority.Tx) error {
			var err error
			a.Counts, err = tx.Tokens().Counts(now, generation)
			for _, q := range []authority.TokenQuery{
				{States: []authority.TokenState{authority.StateActive}},
				{States: []authority.TokenState{authority.StateActive}, Expiring: 14 * day},
				{States: []authority.TokenState{authority.StateExpired, authority.StateReplaced}, Descending: true},
				{States: []authority.TokenState{authority.StateActive}, Text: "c2"},
				{States: []authority.TokenState{authority.StateActive}, Sort: authority.SortLastUsed, LastUsed: func(authority.TokenID) time.Time { return now }},
			} {
				q.Now, q.Generation, q.Limit = now, generation, 2
				if q.Sort == "" {
					q.Sort = authority.SortClientID
				}
				page, fault := tx.Tokens().Find(q)
				if fault != nil {
					return fault
				}
				a.Pages = append(a.Pages, page)
				if len(page.Tokens) > 0 {
					page.Tokens[0].ClientID = "changed by who asked"
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for i := range a.Pages {
			for j := range a.Pages[i].Tokens {
				if j == 0 {
					a.Pages[i].Tokens[j].ClientID = ""
				}
			}
		}
		return a
	}
	old := open()
	put(old, tokens)
	check := func(now time.Time, generation uint64, all []authority.Token) {
		t.Helper()
		fresh := open()
		put(fresh, all)
		want := ask(fresh, now, generation)
		for range 2 {
			if d := cmp.Diff(want, ask(old, now, generation)); d != "" {
				t.Errorf("at %v (-fresh +asked before):\n%s", now, d)
			}
		}
	}
	for _, at := range []time.Duration{0, time.Second, time.Hour - 1, time.Hour, 2 * time.Hour, day - 1, day, 15*day - 1, 15 * day, 76 * day, 90 * day, -time.Second, 0} {
		check(start.Add(at), 1, tokens)
	}
	check(start, 2, tokens) // as after a reset
	more := append(tokens, token(4, 10*day))
	put(old, more[3:])
	check(start, 1, more)
}
