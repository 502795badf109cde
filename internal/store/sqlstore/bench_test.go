package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/sqlstore"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

// database is one of the databases that are measured.
type database struct {
	name  string
	store authority.Store
	uses  authority.UseKeeper
	plain *sql.DB // the same database by the same driver
	array bool
}

func databases(t testing.TB) []database {
	t.Helper()
	return []database{openSQLite(t), openPostgres(t)}
}

func openSQLite(t testing.TB) database {
	t.Helper()
	return openSQLiteBy(t, time.Now)
}

func openSQLiteBy(t testing.TB, clock func() time.Time) database {
	t.Helper()
	dir := t.TempDir()
	cfg := sqlite.Config{Path: filepath.Join(dir, "mint.db"), Now: clock, Rand: rand.Reader}
	s, err := (*sqlstore.Store)(nil), errors.Join(os.Chmod(dir, 0o700), sqlite.Create(context.Background(), cfg))
	if err == nil {
		s, err = sqlite.Open(context.Background(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	db, err := sql.Open("sqlite", "file:"+cfg.Path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-32768)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return database{"sqlite", s, s, db, false}
}

func openPostgres(t testing.TB) database {
	t.Helper()
	return openPostgresBy(t, time.Now)
}

func openPostgresBy(t testing.TB, clock func() time.Time) database {
	t.Helper()
	cfg := postgres.Config{URL: postgrestest.Shared(t).Schema(t), Now: clock, Rand: rand.Reader}
	s, err := (*postgres.Store)(nil), postgres.Create(context.Background(), cfg)
	if err == nil {
		s, err = postgres.Open(context.Background(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	db, err := sql.Open("pgx", cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return database{"postgres", s, s, db, true}
}

// person is the n-th token of a population: some hundred clients and tags, all
// roles, some without an end, some deleted, expired or replaced.
func person(n int, now time.Time) authority.Token {
	h := uint64(n)*0x9E3779B97F4A7C15 ^ 0x5bf03635
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	h ^= h >> 32
	pick := func(of uint64) uint64 { h = h*6364136223846793005 + 1442695040888963407; return (h >> 33) % of }
	t := authority.Token{
		ID: authority.TokenID(fmt.Sprintf("tok_%013s%013s", strconv.FormatUint(h>>1, 32), strconv.FormatInt(int64(n), 32))), ClientID: fmt.Sprintf("Team-%03d.Service-%05d", pick(300), pick(60_000)), Role: authority.RoleUser,
		Issuer: "https://mint.example", Audience: []string{"https://api.example"}, CreatedBy: "admin",
		CreatedAt: now.Add(-time.Duration(pick(365*86400)) * time.Second).Truncate(time.Second),
		KeyID:     "7yeAIWf4-Lt7dlk8Xm46bBC-E_3tLBOI-X2natMm1sM", Generation: 1, Description: "nightly job " + strconv.Itoa(n),
	}
	t.ID = authority.TokenID(strings.ReplaceAll(string(t.ID), " ", "0"))
	switch pick(100) {
	case 0:
		t.Role = authority.RoleAdmin
	case 1:
		t.Role = authority.RoleVerifier
	default:
		t.Tags = []string{fmt.Sprintf("team:%d", pick(300)), []string{"env:prod", "env:test", "env:dev"}[pick(3)]}
	}
	if pick(10) > 0 {
		t.ExpiresAt = t.CreatedAt.Add(time.Duration(30+pick(700)) * 24 * time.Hour)
	}
	switch pick(50) {
	case 0:
		t.DeletedAt, t.DeletedBy = now.Add(-time.Hour).Truncate(time.Second), "admin"
	case 1:
		t.ReplacedBy, t.EndsAt = "tok_successor", now.Add(time.Duration(pick(200))*time.Hour-100*time.Hour).Truncate(time.Second)
	}
	return t
}

// lastUse is when the n-th was used last.
func lastUse(n int, now time.Time) time.Time {
	return now.Add(-time.Duration(n*7919%2_000_000) * time.Second)
}

func event(v *authority.Token) authority.Event {
	return authority.Event{
		At: v.CreatedAt, Actor: authority.Actor{Kind: "admin", Name: "admin"}, Action: "token.created", Target: string(v.ID), Label: v.ClientID,
		From: "192.0.2.17", Outcome: authority.OutcomeOK, RequestID: "0123456789abcdef",
		Detail: map[string]string{"role": string(v.Role), "tags": strings.Join(v.Tags, ","), "expires_at": v.ExpiresAt.Format(time.RFC3339)},
	}
}

// fill puts n tokens in a store, many at once, and last uses of a third of them.
func fill(t testing.TB, d database, n int, now time.Time) {
	t.Helper()
	fillOf(t, d, n, now, person)
}

func fillOf(t testing.TB, d database, n int, now time.Time, person func(int, time.Time) authority.Token) {
	t.Helper()
	began := time.Now()
	again := d.withoutIndexes(t)
	err := d.store.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.System().Insert(authority.System{Generation: 1}), tx.Keys().Insert(authority.Key{ID: "7yeAIWf4-Lt7dlk8Xm46bBC-E_3tLBOI-X2natMm1sM", State: authority.KeyCurrent}))
	})
	for from := 0; from < n && err == nil; from += 10_000 {
		var uses []authority.Used
		err = d.store.Update(context.Background(), func(tx authority.Tx) error {
			uses = nil
			for i := from; i < min(from+10_000, n); i++ {
				v := person(i, now)
				if i%3 == 0 {
					uses = append(uses, authority.Used{ID: v.ID, At: lastUse(i, now)})
				}
				if err := tx.Tokens().Insert(v); err != nil {
					return err
				}
			}
			return nil
		})
		err = errors.Join(err, d.uses.UsedAt(context.Background(), uses))
	}
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	again()
	if d.array {
		_, err = d.plain.Exec("VACUUM ANALYZE")
	} else {
		_, err = d.plain.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d tokens in %s", d.name, n, time.Since(began).Round(time.Millisecond))
}

// withoutIndexes takes away the indexes of tokens, which are made faster over many
// rows than row by row; again makes them.
func (d database) withoutIndexes(t testing.TB) (again func()) {
	t.Helper()
	query := `SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'tokens' AND sql IS NOT NULL`
	if d.array {
		query = `SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'tokens' AND indexname NOT LIKE '%pkey'`
	}
	rows, err := d.plain.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names, texts []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		names, texts = append(names, "DROP INDEX "+name), append(texts, text)
	}
	run := func(texts []string) {
		for _, text := range texts {
			if _, err := d.plain.Exec(text); err != nil {
				t.Fatal(text, err)
			}
		}
	}
	run(names)
	return func() { run(texts) }
}

// wanted is how many tokens a measurement has: MINTMARK_TOKENS, or a few.
func wanted() int {
	if n, err := strconv.Atoi(os.Getenv("MINTMARK_TOKENS")); err == nil {
		return n
	}
	return 20_000
}

const callers = 32

// BenchmarkCreates measures durable creates by 32 callers beside a bare
// group-committed insert of the same rows through the same driver, one after the
// other, five times.
func BenchmarkCreates(b *testing.B) {
	for _, d := range databases(b) {
		b.Run(d.name, func(b *testing.B) {
			fill(b, d, wanted(), time.Now())
			var number atomic.Int64
			number.Store(100_000_000)
			bare := &bareGroup{db: d, now: time.Now()}
			var ratios, rates []float64
			for range 5 {
				ours := rate(func() error {
					v := person(int(number.Add(1)), time.Now())
					return d.store.Update(context.Background(), func(tx authority.Tx) error {
						if _, err := tx.System().Get(authority.SystemKey); err != nil {
							return err
						}
						for range tx.Keys().All() {
							break
						}
						return errors.Join(tx.Tokens().Insert(v), tx.Audit().Append(event(&v)))
					})
				}, b)
				theirs := rate(func() error { return bare.insert(person(int(number.Add(1)), time.Now())) }, b)
				b.Logf("%s: %.0f/s, bare %.0f/s", d.name, ours, theirs)
				ratios, rates = append(ratios, ours/theirs), append(rates, ours)
			}
			slices.Sort(ratios)
			slices.Sort(rates)
			b.ReportMetric(ratios[2], "of-bare")
			b.ReportMetric(rates[2], "creates/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rate calls fn by all callers for a while and answers calls a second.
func rate(fn func() error, t testing.TB) float64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for time.Since(began) < 2*time.Second {
				if err := fn(); err != nil {
					t.Error(err, errors.Unwrap(err))
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

// bareGroup is the plainest insert that many callers share a commit of.
type bareGroup struct {
	db      database
	now     time.Time
	mu      sync.Mutex
	waiting []*bareCall
	leading bool
	seq     int64
	stmts   map[string]*sql.Stmt
	conn    *sql.Conn
}

type bareCall struct {
	token authority.Token
	done  chan error // nil: lead
	lead  chan struct{}
}

func (g *bareGroup) insert(v authority.Token) error {
	c := &bareCall{v, make(chan error, 1), make(chan struct{}, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	if !g.leading {
		g.leading = true
		c.lead <- struct{}{}
	}
	g.mu.Unlock()
	for {
		select {
		case err := <-c.done:
			return err
		case <-c.lead:
			g.mu.Lock()
			calls := g.waiting
			g.waiting = nil
			g.mu.Unlock()
			err := g.commit(calls)
			for _, c := range calls {
				c.done <- err
			}
			g.mu.Lock()
			if g.leading = len(g.waiting) > 0; g.leading {
				g.waiting[0].lead <- struct{}{}
			}
			g.mu.Unlock()
		}
	}
}

func (g *bareGroup) commit(calls []*bareCall) error {
	var tokens, tags, events [][]any
	for _, c := range calls {
		v, e := &c.token, event(&c.token)
		tag := ""
		for _, x := range v.Tags {
			tags = append(tags, []any{strings.ToLower(x), x, string(v.Role), string(v.ID)})
			tag += `"` + x + `"`
		}
		tokens = append(tokens, []any{
			string(v.ID), v.ClientID, strings.ToLower(v.ClientID), string(v.Role), tag, tag, v.Issuer, v.Audience[0], string(v.KeyID), int64(1),
			v.CreatedAt.UnixMicro(), v.CreatedBy, v.ExpiresAt.UnixMicro(), v.ExpiresAt.UnixMicro(), "e", v.Description, "", "",
		})
		g.seq++
		events = append(events, []any{
			1_000_000_000 + g.seq, v.CreatedAt.Format(time.RFC3339), "admin", e.Action, e.Target, e.Label, e.Outcome,
			fmt.Sprintf(`{"seq":%d,"at":%q,"actor":"admin","action":%q,"target":%q,"label":%q,"from":%q,"outcome":%q,"request_id":%q,"detail":{"role":%q,"tags":%q},"hash":"f64331d7b425227e284f754d60776a6c58f19a287af3fbe44d57d4b81d3a0145"}`,
				g.seq, v.CreatedAt.Format(time.RFC3339), e.Action, e.Target, e.Label, e.From, e.Outcome, e.RequestID, e.Detail["role"], e.Detail["tags"]),
		})
	}
	if g.conn == nil {
		var err error
		if g.conn, err = g.db.plain.Conn(context.Background()); err != nil {
			return err
		}
		g.stmts = make(map[string]*sql.Stmt)
	}
	begin := "BEGIN IMMEDIATE"
	if g.db.array {
		begin = "BEGIN"
	}
	if err := g.exec(begin); err != nil {
		return err
	}
	err := errors.Join(
		g.rows("tokens", "id, client_id, client_fold, role, tags, tags_fold, issuer, audience, kid, generation, created_at, created_by, expires_at, stops_at, stops_as, description, contact, more", tokens),
		g.rows("token_tags", "fold, tag, role, id", tags),
		g.rows("audit", "seq, at, actor, action, target, label, outcome, event", events))
	if err != nil {
		return err
	}
	return g.exec("COMMIT")
}

func (g *bareGroup) exec(text string, args ...any) error {
	s := g.stmts[text]
	if s == nil {
		var err error
		if s, err = g.conn.PrepareContext(context.Background(), text); err != nil {
			return err
		}
		g.stmts[text] = s
	}
	_, err := s.Exec(args...)
	return err
}

func (g *bareGroup) rows(table, columns string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	n := strings.Count(columns, ",") + 1
	var places, arrays []string
	for i := range n {
		places = append(places, fmt.Sprintf("$%d", i+1))
		kind := "text"
		if _, number := rows[0][i].(int64); number {
			kind = "bigint"
		}
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, kind))
	}
	if !g.db.array {
		text := "INSERT INTO " + table + " (" + columns + ") VALUES (" + strings.Join(places, ", ") + ")"
		for _, row := range rows {
			if err := g.exec(text, row...); err != nil {
				return err
			}
		}
		return nil
	}
	args := make([]any, n)
	for i := range n {
		if _, number := rows[0][i].(int64); number {
			list := make([]int64, len(rows))
			for k := range rows {
				list[k] = rows[k][i].(int64)
			}
			args[i] = list
			continue
		}
		list := make([]string, len(rows))
		for k := range rows {
			list[k] = rows[k][i].(string)
		}
		args[i] = list
	}
	return g.exec("INSERT INTO "+table+" ("+columns+") SELECT * FROM unnest("+strings.Join(arrays, ", ")+")", args...)
}
