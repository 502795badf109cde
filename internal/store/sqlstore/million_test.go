package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sort"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// shape is one way to ask for a list.
type shape struct {
	name string
	set  func(*authority.TokenQuery, *rand.Rand)
}

func shapes() []shape {
	live := []authority.TokenState{authority.StateActive, authority.StateExpired, authority.StateRevoked}
	filters := []shape{
		{"plain", func(q *authority.TokenQuery, _ *rand.Rand) { q.States = live }},
		{"active", func(q *authority.TokenQuery, _ *rand.Rand) { q.States = live[:1] }},
		{"expired", func(q *authority.TokenQuery, _ *rand.Rand) { q.States = live[1:2] }},
		{"deleted", func(q *authority.TokenQuery, _ *rand.Rand) { q.States = []authority.TokenState{authority.StateDeleted} }},
		{"replaced", func(q *authority.TokenQuery, _ *rand.Rand) {
			q.States = []authority.TokenState{authority.StateReplaced}
		}},
		{"revoked", func(q *authority.TokenQuery, _ *rand.Rand) { q.States = []authority.TokenState{authority.StateRevoked} }},
		{"rare tag", func(q *authority.TokenQuery, r *rand.Rand) { q.States, q.Tag = live, tagOf(r, q.Now) }},
		{"common tag", func(q *authority.TokenQuery, _ *rand.Rand) { q.States, q.Tag = live, "env:prod" }},
		{"role", func(q *authority.TokenQuery, _ *rand.Rand) { q.States, q.Role = live, authority.RoleVerifier }},
		{"role and tag", func(q *authority.TokenQuery, _ *rand.Rand) {
			q.States, q.Role, q.Tag = live, authority.RoleAdmin, "env:prod"
		}},
		{"client id", func(q *authority.TokenQuery, r *rand.Rand) {
			q.States, q.ClientID = live, person(r.IntN(1000), q.Now).ClientID
		}},
		{"text of few", func(q *authority.TokenQuery, r *rand.Rand) {
			q.States, q.Text = live, person(r.IntN(1000), q.Now).ClientID[:12]
		}},
		{"text of some", func(q *authority.TokenQuery, r *rand.Rand) {
			q.States, q.Text = live, person(r.IntN(1000), q.Now).ClientID[:7]
		}},
		{"text of many", func(q *authority.TokenQuery, _ *rand.Rand) { q.States, q.Text = live, "team-1" }},
		{"text of all", func(q *authority.TokenQuery, _ *rand.Rand) { q.States, q.Text = live, "tok_" }},
		{"text of a tag", func(q *authority.TokenQuery, _ *rand.Rand) { q.States, q.Text = live, "env:p" }},
		{"text of an id", func(q *authority.TokenQuery, r *rand.Rand) {
			q.States, q.Text = live, string(person(r.IntN(1000), q.Now).ID[:12])
		}},
		{"text of nothing", func(q *authority.TokenQuery, _ *rand.Rand) { q.States, q.Text = live, "zzz" }},
		{"expiring", func(q *authority.TokenQuery, _ *rand.Rand) { q.States, q.Expiring = live[:1], 14*24*time.Hour }},
	}
	var out []shape
	for _, f := range filters {
		for _, s := range []authority.TokenSort{authority.SortClientID, authority.SortRole, authority.SortCreatedAt, authority.SortExpiresAt, authority.SortLastUsed} {
			for _, down := range []bool{false, true} {
				name := f.name + " by " + string(s)
				if down {
					name += " down"
				}
				out = append(out, shape{name, func(q *authority.TokenQuery, r *rand.Rand) {
					f.set(q, r)
					q.Sort, q.Descending = s, down
				}})
			}
		}
	}
	return out
}

func tagOf(r *rand.Rand, now time.Time) string {
	for {
		if v := person(r.IntN(1000), now); len(v.Tags) > 0 {
			return v.Tags[0]
		}
	}
}

// BenchmarkMillion fills a store with MINTMARK_TOKENS tokens and measures how
// long a start takes beside the plainest read of the same rows, and list pages of
// every kind at any depth beside the plainest indexed query of the same size.
func BenchmarkMillion(b *testing.B) {
	for _, open := range []func(testing.TB) database{openSQLite, openPostgres} {
		d := open(b)
		b.Run(d.name, func(b *testing.B) {
			now := time.Now().UTC()
			fill(b, d, wanted(), now)
			starts(b, d)
			lists(b, d, now)
			b.ReportMetric(float64(d.size(b))/float64(wanted()), "disk-B/token")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// size is what the tables and indexes take on the disk, in bytes.
func (d database) size(b *testing.B) (n int64) {
	b.Helper()
	query := `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`
	if d.array {
		query = `SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`
	}
	if err := d.plain.QueryRow(query).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// counter is a follower that looks at what it is told.
type counter struct{ n int }

func (c *counter) Load(x authority.Change) { c.n = len(x.Tokens) }
func (c *counter) Apply(authority.Change)  {}

func starts(b *testing.B, d database) {
	b.Helper()
	var ratios, times []float64
	for range 5 {
		runtime.GC() // neither pays for what the other left behind
		began, c := time.Now(), &counter{}
		if err := d.store.Follow(context.Background(), c); err != nil || c.n != wanted() {
			b.Fatal(c.n, err)
		}
		ours := time.Since(began)
		runtime.GC()
		began = time.Now()
		plainRead(b, d)
		theirs := time.Since(began)
		b.Logf("%s: start %s, plain read %s", d.name, ours.Round(time.Millisecond), theirs.Round(time.Millisecond))
		ratios, times = append(ratios, ours.Seconds()/theirs.Seconds()), append(times, ours.Seconds())
	}
	slices.Sort(ratios)
	slices.Sort(times)
	b.ReportMetric(ratios[2], "start-of-plain")
	b.ReportMetric(times[2], "start-s")
}

func plainRead(b *testing.B, d database) {
	b.Helper()
	rows, err := d.plain.Query(`SELECT id, client_id, role, tags, issuer, audience, kid, generation, created_at, created_by, expires_at, deleted_at, ends_at, description, contact, more FROM tokens`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	type record struct {
		text       [11]string
		generation int64
		at         [4]sql.NullInt64
	}
	all := make([]record, 0, wanted())
	for rows.Next() {
		var r record
		if err := rows.Scan(&r.text[0], &r.text[1], &r.text[2], &r.text[3], &r.text[4], &r.text[5], &r.text[6], &r.generation,
			&r.at[0], &r.text[7], &r.at[1], &r.at[2], &r.at[3], &r.text[8], &r.text[9], &r.text[10]); err != nil {
			b.Fatal(err)
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil || len(all) != wanted() {
		b.Fatal(len(all), err)
	}
}

// anyOf is one of those that match, if some do.
func anyOf(q *authority.TokenQuery, r *rand.Rand) (authority.Token, bool) {
	for range 2000 {
		if v := person(r.IntN(wanted()), q.Now); q.Match(&v) {
			return v, true
		}
	}
	return authority.Token{}, false
}

func lists(b *testing.B, d database, now time.Time) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	type result struct {
		name   string
		median time.Duration
	}
	var all []time.Duration
	var each []result
	for _, s := range shapes() {
		var own []time.Duration
		for i := range 12 {
			q := authority.TokenQuery{Limit: 50, Now: now, Generation: 1}
			s.set(&q, r)
			if at, ok := anyOf(&q, r); i > 2 && ok { // anywhere in the list
				used := now.Add(-time.Duration(r.IntN(2_000_000)) * time.Second)
				q.LastUsed = func(authority.TokenID) time.Time { return used }
				q.After = &authority.TokenCursor{Value: q.SortValue(&at), ID: at.ID}
			}
			began := time.Now()
			err := d.store.View(context.Background(), func(tx authority.Tx) error {
				_, err := tx.Tokens().Find(q)
				return err
			})
			took := time.Since(began)
			if err != nil {
				b.Fatal(s.name, err, errors.Unwrap(err))
			}
			all, own = append(all, took), append(own, took)
		}
		slices.Sort(own)
		each = append(each, result{s.name, own[len(own)/2]})
	}
	sort.Slice(each, func(i, k int) bool { return each[i].median > each[k].median })
	slowest := ""
	for _, x := range each[:20] {
		slowest += fmt.Sprintf("\n%-40s %s", x.name, x.median.Round(100*time.Microsecond))
	}
	fmt.Printf("%s: the slowest by their median:%s\n", d.name, slowest)
	slices.Sort(all)
	var plain []time.Duration
	into := make([]any, 16)
	for i := range into {
		into[i] = new(any)
	}
	for range 300 {
		began := time.Now()
		rows, err := d.plain.Query(`SELECT id, client_id, role, tags, issuer, audience, kid, generation, created_at, created_by, expires_at, deleted_at, ends_at, description, contact, more
			FROM tokens WHERE id > $1 ORDER BY id LIMIT 51`, string(person(r.IntN(wanted()), now).ID))
		if err != nil {
			b.Fatal(err)
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				b.Fatal(err)
			}
		}
		rows.Close()
		plain = append(plain, time.Since(began))
	}
	slices.Sort(plain)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "list-p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "list-p99-ms")
	b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "list-max-ms")
	b.ReportMetric(float64(plain[len(plain)*99/100].Microseconds())/1000, "plain-p99-ms")
}
