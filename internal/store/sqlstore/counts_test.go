package sqlstore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// laborious is a clock by which everything takes so long that counts are kept.
func laborious() func() time.Time {
	var at atomic.Int64
	return func() time.Time { return time.Unix(0, at.Add(int64(25*time.Millisecond))).UTC() }
}

// TestATotalIsNeverOneOfBefore changes tokens while counts of them are kept. What is
// said to be exact is, and what is said to be the least is not more than there are.
func TestATotalIsNeverOneOfBefore(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	states := []authority.TokenState{authority.StateActive, authority.StateReplaced} // which no index knows together
	for _, open := range []func(testing.TB, func() time.Time) database{openSQLiteBy, openPostgresBy} {
		d, n := open(t, laborious()), 0
		few := func(what string, want int) {
			t.Helper()
			p := find(t, d.store, authority.TokenQuery{States: states, Sort: authority.SortClientID, Limit: 50, Now: now, Generation: 1})
			if p.TotalIsFloor || p.Total != want || len(p.Tokens) != want {
				t.Errorf("%s, %s: %d tokens, total %d, at least %v; want %d", d.name, what, len(p.Tokens), p.Total, p.TotalIsFloor, want)
			}
		}
		add := func(many int, end time.Duration) {
			t.Helper()
			err := d.store.Update(context.Background(), func(tx authority.Tx) error {
				for i := range many {
					v := person(n+i, now)
					v.DeletedAt, v.EndsAt, v.ReplacedBy, v.ExpiresAt = time.Time{}, time.Time{}, "", now.Add(end)
					if err := tx.Tokens().Insert(v); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			n += many
		}
		look := func(what string, at time.Time, want int, exact bool) {
			t.Helper()
			p := find(t, d.store, authority.TokenQuery{States: states, Sort: authority.SortClientID, Limit: 5, Now: at, Generation: 1})
			if p.TotalIsFloor == exact || exact && p.Total != want || p.Total > want || p.Total < want-want/10 {
				t.Errorf("%s, %s: total %d, at least %v; want %d", d.name, what, p.Total, p.TotalIsFloor, want)
			}
		}
		add(29, 24*time.Hour)
		look("few", now, 29, true)
		few("few on one page", 29)
		add(1, 24*time.Hour)
		look("one more", now, 30, true)
		few("one more on one page", 30)
		narrow(t, d) // those that come next are no longer few
		add(370, 24*time.Hour)
		look("many", now, 400, true)
		look("the same again", now, 400, true)
		add(10, time.Minute)
		look("one of forty is new", now, 410, false)
		look("and nothing since", now, 410, false)
		look("those have expired", now.Add(time.Minute), 400, false)
		add(20, time.Minute)
		look("one of fourteen is new", now, 430, true)
		look("some have expired", now.Add(time.Minute), 400, true)
		look("and are at an earlier time", now, 430, true)
		remove := func(i int) {
			t.Helper()
			if err := d.store.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Delete(person(i, now).ID) }); err != nil {
				t.Fatal(err)
			}
		}
		remove(0)
		look("one is gone", now, 429, false)
		remove(1)
		look("two are gone", now, 428, false)
	}
}

// TestATotalIsThatOfItsSnapshot counts in a view, when what is kept was counted of a
// later revision.
func TestATotalIsThatOfItsSnapshot(t *testing.T) {
	const n = 100
	now := time.Now().UTC().Truncate(time.Second)
	q := authority.TokenQuery{States: []authority.TokenState{authority.StateDeleted, authority.StateActive}, Sort: authority.SortClientID, Limit: 5, Now: now, Generation: 1}
	for _, open := range []func(testing.TB, func() time.Time) database{openSQLiteBy, openPostgresBy} {
		d := open(t, laborious())
		narrow(t, d)
		change := func(of func(authority.TokenTable, authority.Token) error) {
			t.Helper()
			err := d.store.Update(context.Background(), func(tx authority.Tx) error {
				for i := range n {
					v := person(i, now)
					v.DeletedAt, v.EndsAt, v.ReplacedBy, v.ExpiresAt = time.Time{}, time.Time{}, "", time.Time{}
					if err := of(tx.Tokens(), v); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		total := func(what string, p authority.TokenPage, want int) {
			t.Helper()
			if p.Total != want || p.TotalIsFloor {
				t.Errorf("%s, %s: total %d, at least %v; want %d", d.name, what, p.Total, p.TotalIsFloor, want)
			}
		}
		change(authority.TokenTable.Insert)
		err := d.store.View(context.Background(), func(tx authority.Tx) error {
			if _, err := tx.Tokens().Get(person(0, now).ID); err != nil { // the snapshot begins
				return err
			}
			change(func(all authority.TokenTable, v authority.Token) error {
				v.ID = "tok_more" + v.ID[8:]
				return all.Insert(v)
			})
			total("after", find(t, d.store, q), 2*n)
			p, err := tx.Tokens().Find(q)
			total("before", p, n)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
