package postgres_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/sqlstore"
)

// then are the steps of this program and one more, as a later program has them.
func then(major, minor int, statements ...string) []sqlstore.Step {
	return append(slices.Clone(sqlstore.Steps()), sqlstore.Step{Major: major, Minor: minor, Statements: statements})
}

// now is the version of this program's own schema.
func now() sqlstore.Version {
	steps := sqlstore.Steps()
	last := steps[len(steps)-1]
	return sqlstore.Version{Major: last.Major, Minor: last.Minor}
}

// with is the same database as another program knows it.
func with(cfg postgres.Config, steps []sqlstore.Step) postgres.Config {
	cfg.Steps = steps
	return cfg
}

func TestTwoVersionsWorkOnOneDatabaseWhileAFleetIsUpgraded(t *testing.T) {
	cfg := newStore(t)
	minor := sqlstore.Version{Major: now().Major, Minor: now().Minor + 1}
	newer := with(cfg, then(minor.Major, minor.Minor, `ALTER TABLE tokens ADD COLUMN colour text{c} NOT NULL DEFAULT ''`))
	older := open(t, cfg) // a node that runs on, with statements that it has prepared
	if err := issue(older, 1); err != nil {
		t.Fatal(err)
	}
	done, err := postgres.Upgrade(t.Context(), newer)
	if err != nil || done.From != now() || done.To != minor {
		t.Fatalf("%+v, %v", done, err)
	}
	late, next := open(t, cfg), open(t, newer) // one that is started again before it has its new program
	for i, s := range []*postgres.Store{older, late, next} {
		id := authority.TokenID("tok_" + string(rune('a'+i)))
		if err := s.Update(t.Context(), func(tx authority.Tx) error {
			return tx.Tokens().Insert(authority.Token{ID: id, ClientID: "ci", Role: authority.RoleUser, Generation: 1})
		}); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		for _, other := range []*postgres.Store{older, late, next} {
			if _, err := authority.ReadToken(t.Context(), other, id); err != nil {
				t.Errorf("%s is not read: %v", id, err)
			}
		}
	}
	if done, err = postgres.Upgrade(t.Context(), cfg); err != nil || done.From != minor || done.To != minor {
		t.Errorf("the older program: %+v, %v", done, err)
	}
}

func TestAnOlderProgramRefusesAMajorStep(t *testing.T) {
	cfg := newStore(t)
	major := now().Major + 1
	if _, err := postgres.Upgrade(t.Context(), with(cfg, then(major, 0, `ALTER TABLE tokens RENAME COLUMN contact TO contacts`))); err != nil {
		t.Fatal(err)
	}
	s, err := postgres.Open(t.Context(), cfg)
	if newer, ok := errors.AsType[*sqlstore.NewerError](err); !ok || newer.Major != major || newer.Known != now().Major {
		t.Errorf("opened: %v, %v", s, err)
	}
	if _, err = postgres.Upgrade(t.Context(), cfg); !strings.Contains(err.Error(), "start the version that it belongs to") {
		t.Errorf("upgraded: %v", err)
	}
}

// A step that cannot be made twice shows that it was made once.
func TestNodesThatStartAtOnceMigrateOnce(t *testing.T) {
	cfg := newStore(t)
	newer := with(cfg, then(now().Major, now().Minor+1, `CREATE TABLE made (n bigint)`, `SELECT pg_sleep(0.2)`, `INSERT INTO made VALUES (1)`))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), newer)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var rows int
	if err := plain(t, cfg.URL).QueryRow(`SELECT count(*) FROM made`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestATableThatIsInUseIsNotWaitedForLong(t *testing.T) {
	cfg := newStore(t)
	newer := with(cfg, then(now().Major, now().Minor+1, `ALTER TABLE tokens ADD COLUMN colour text`))
	long, err := plain(t, cfg.URL).Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := long.Exec(`SELECT count(*) FROM tokens`); err != nil {
		t.Fatal(err)
	}
	_, err = postgres.Upgrade(t.Context(), newer)
	if authority.KindOf(err) != authority.Unavailable || err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("with a table in use: %v", err)
	}
	if err := long.Rollback(); err != nil {
		t.Fatal(err)
	}
	if done, err := postgres.Upgrade(t.Context(), newer); err != nil || done.To.Minor != now().Minor+1 {
		t.Errorf("afterwards: %+v, %v", done, err)
	}
}

func TestAStepThatFailsLeavesTheSchemaAsItWas(t *testing.T) {
	cfg := newStore(t)
	_, err := postgres.Upgrade(t.Context(), with(cfg, then(now().Major, now().Minor+1, `CREATE TABLE half (n bigint)`, `SELECT 1/0`)))
	if err == nil {
		t.Fatal("the step was made")
	}
	var half bool
	if err := plain(t, cfg.URL).QueryRow(`SELECT to_regclass('half') IS NOT NULL`).Scan(&half); err != nil || half {
		t.Errorf("half of it is there: %v, %v", half, err)
	}
	if done, err := postgres.Upgrade(t.Context(), cfg); err != nil || done.From != now() || done.To != now() {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestARoleThatMayNotChangeTheSchemaIsToldWhoMay(t *testing.T) {
	server := postgrestest.Shared(t)
	database := server.Database(t, "")
	server.Exec(t, "postgres", `CREATE ROLE `+database+`_node LOGIN`)
	t.Cleanup(func() { server.Exec(t, "postgres", `DROP OWNED BY `+database+`_node`) })
	cfg := create(t, server.URL(database))
	server.Exec(t, database, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+database+`_node`)
	node := cfg
	node.URL = strings.Replace(cfg.URL, "postgres@", database+"_node@", 1)
	node.Steps = then(now().Major, now().Minor+1, `ALTER TABLE tokens ADD COLUMN colour text`)
	for name, try := range map[string]func() error{
		"open":    func() error { _, err := postgres.Open(t.Context(), node); return err },
		"upgrade": func() error { _, err := postgres.Upgrade(t.Context(), node); return err },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), "run mintmark store upgrade as the owner") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := postgres.Upgrade(t.Context(), with(cfg, node.Steps)); err != nil {
		t.Errorf("the owner: %v", err)
	}
	s, err := postgres.Open(t.Context(), node)
	if err != nil {
		t.Fatalf("after the owner has: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Someone restored the store's tables and not those beside it, or a later program
// has one more.
func TestAnUpgradeMakesWhatIsMissingBesideAStoreOfTheRightVersion(t *testing.T) {
	server := postgrestest.Shared(t)
	database := server.Database(t, "")
	cfg := create(t, server.URL(database))
	cfg.Tables = [][2]string{{"beside", `CREATE TABLE beside (n bigint)`}, {"beside_n", `CREATE INDEX beside_n ON beside (n)`}}
	server.Exec(t, "postgres", `CREATE ROLE `+database+`_node LOGIN`)
	t.Cleanup(func() { server.Exec(t, "postgres", `DROP OWNED BY `+database+`_node`) })
	server.Exec(t, database, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+database+`_node`)
	node := cfg
	node.URL = strings.Replace(cfg.URL, "postgres@", database+"_node@", 1)

	if _, err := postgres.Upgrade(t.Context(), node); err == nil || !strings.Contains(err.Error(), "run mintmark store upgrade as the owner") {
		t.Errorf("a node that may not: %v", err)
	}
	for _, want := range [][]string{{"beside", "beside_n"}, nil} {
		done, err := postgres.Upgrade(t.Context(), cfg)
		if err != nil || done.From != now() || done.To != now() || !slices.Equal(done.Made, want) {
			t.Errorf("got %+v, %v; want %v made", done, err, want)
		}
	}
	if _, err := postgres.Upgrade(t.Context(), node); err != nil {
		t.Errorf("a node, with nothing missing: %v", err)
	}
}

func TestADatabaseOfAnotherProgramIsLeftAsItWas(t *testing.T) {
	for name, made := range map[string]string{
		"a head":         `CREATE TABLE head (id bigint, one text)`,
		"a view":         `CREATE VIEW head AS SELECT 1 AS one`,
		"tokens, a head": `CREATE TABLE tokens (id bigint); CREATE TABLE head (major text, minor text)`,
		"tokens alone":   `CREATE TABLE tokens (id bigint)`,
	} {
		t.Run(name, func(t *testing.T) {
			server := postgrestest.Shared(t)
			database := server.Database(t, "")
			server.Exec(t, database, made)
			relations := func() (n int) {
				if err := plain(t, server.URL(database)).QueryRow(`SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			before, cfg := relations(), postgres.Config{URL: server.URL(database), Now: time.Now, Rand: rand.Reader}
			if err := postgres.Create(t.Context(), cfg); !errors.Is(err, postgres.ErrForeign) || authority.KindOf(err) == authority.Unavailable {
				t.Errorf("made: %v", err)
			}
			if n := relations(); n != before {
				t.Errorf("%d relations, there were %d", n, before)
			}
			_, err := postgres.Open(t.Context(), cfg)
			if !errors.Is(err, postgres.ErrForeign) && !errors.Is(err, sqlstore.ErrEmpty) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

func TestAddressesOfOneDatabaseAreToldFromOthers(t *testing.T) {
	const at = "postgres://node@db1.example:5432,db2.example:5433/mintmark?sslmode=verify-full"
	for address, want := range map[string]bool{
		"postgres://owner@db1.example:5432,db2.example:5433/mintmark?sslmode=require":                   true,
		"postgres://owner@db2.example:5433,db1.example/mintmark?sslmode=verify-full&passfile=/a/pgpass": true,
		"postgres://owner@db1.example/mintmark":                                                         false,
		"postgres://owner@db1.example:5432,db2.example:5433/other?sslmode=verify-full":                  false,
		"postgres://node@db3.example:5432,db2.example:5433/mintmark?sslmode=verify-full":                false,
	} {
		if got, err := postgres.Same(at, address); err != nil || got != want {
			t.Errorf("%s: %v, %v", address, got, err)
		}
	}
}
