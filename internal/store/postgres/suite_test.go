package postgres_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

// newStore makes a store and answers the way to open it.
func newStore(t testing.TB) postgres.Config {
	t.Helper()
	return create(t, postgrestest.Shared(t).Schema(t))
}

func create(t testing.TB, address string) postgres.Config {
	t.Helper()
	cfg := postgres.Config{URL: address, Now: time.Now, Rand: rand.Reader}
	if err := postgres.Create(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t testing.TB, cfg postgres.Config) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func harness(t *testing.T, cfg postgres.Config) storetest.Harness {
	s := open(t, cfg)
	return storetest.Harness{Store: s, UsedAt: s.UsedAt, Second: func(t *testing.T) authority.Store { return open(t, cfg) }, Reopen: func(t *testing.T) authority.Store {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		return s
	}}
}

func TestPostgreSQLKeepsTheContract(t *testing.T) {
	postgrestest.Shared(t)
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t, newStore(t)) })
}

// plain is the database without the store.
func plain(t testing.TB, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
