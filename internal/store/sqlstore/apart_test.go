package sqlstore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// twin is the n-th token of a population whose halves have nothing in common: one has
// clients and tags of production, the other one those of tests. One of twenty tokens
// of tests is an administrator's, and does not expire soon.
func twin(n int, now time.Time) authority.Token {
	v, env := person(n, now), []string{"prod", "test"}[n%2]
	v.ClientID, v.Role, v.Tags = fmt.Sprintf("%s-svc-%d", env, n%60_000), authority.RoleUser, []string{"env:" + env}
	if n%20 == 1 {
		v.Role, v.Tags, v.ExpiresAt = authority.RoleAdmin, nil, now.Add(100*24*time.Hour)
	}
	return v
}

// apart are pairs of conditions each of which many tokens meet, and none meets both.
func apart() map[string]func(*authority.TokenQuery) {
	return map[string]func(*authority.TokenQuery){
		"a text and a tag":  func(q *authority.TokenQuery) { q.Text, q.Tag = "prod-", "env:test" },
		"a text and a role": func(q *authority.TokenQuery) { q.Text, q.Role = "prod-", authority.RoleAdmin },
		"a role and a state": func(q *authority.TokenQuery) {
			q.Role, q.States = authority.RoleAdmin, []authority.TokenState{authority.StateExpired}
		},
		"a role and a near end": func(q *authority.TokenQuery) { q.Role, q.Expiring = authority.RoleAdmin, 60*24*time.Hour },
	}
}

func apartQuery(sort authority.TokenSort, now time.Time) authority.TokenQuery {
	return authority.TokenQuery{
		States: []authority.TokenState{authority.StateActive, authority.StateExpired}, Sort: sort, Limit: 50, Now: now, Generation: 1,
		LastUsed: func(authority.TokenID) time.Time { return now },
	}
}

func sorts() []authority.TokenSort {
	return []authority.TokenSort{authority.SortClientID, authority.SortRole, authority.SortCreatedAt, authority.SortExpiresAt, authority.SortLastUsed}
}

func TestWhatNothingMeetsTogetherIsAnEmptyList(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	for _, open := range []func(testing.TB) database{openSQLite, openPostgres} {
		d := open(t)
		fillOf(t, d, 400, now, twin)
		narrow(t, d)
		for name, set := range apart() {
			for _, sort := range sorts() {
				q := apartQuery(sort, now)
				set(&q)
				if p := find(t, d.store, q); len(p.Tokens) > 0 || p.Next != nil || p.Total != 0 || p.TotalIsFloor {
					t.Errorf("%s, %s by %s: %d tokens of %d, at least %v, next %v", d.name, name, sort, len(p.Tokens), p.Total, p.TotalIsFloor, p.Next)
				}
			}
		}
	}
}

// BenchmarkApart fills a store with MINTMARK_TOKENS tokens and measures the lists that
// cannot be quick: of what nothing meets together, all that meets one has to be
// passed by.
func BenchmarkApart(b *testing.B) {
	for _, open := range []func(testing.TB) database{openSQLite, openPostgres} {
		d := open(b)
		b.Run(d.name, func(b *testing.B) {
			now := time.Now().UTC()
			fillOf(b, d, wanted(), now, twin)
			for name, set := range apart() {
				var took []time.Duration
				for _, sort := range sorts() {
					q := apartQuery(sort, now)
					set(&q)
					began := time.Now()
					err := d.store.View(context.Background(), func(tx authority.Tx) error {
						_, err := tx.Tokens().Find(q)
						return err
					})
					if err != nil {
						b.Logf("%s, %s by %s: %v", d.name, name, sort, err)
					}
					took = append(took, time.Since(began))
				}
				slices.Sort(took)
				b.Logf("%s, %s: %s to %s", d.name, name, took[0].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
