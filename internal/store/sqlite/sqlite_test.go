package sqlite_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/sqlstore"
	"mintmark/internal/store/storetest"
)

func newFile(t testing.TB) sqlite.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := sqlite.Config{Path: filepath.Join(dir, "mint.db"), Now: time.Now, Rand: rand.Reader}
	if err := sqlite.Create(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t testing.TB, cfg sqlite.Config) *sqlstore.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLiteKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		cfg := newFile(t)
		s := open(t, cfg)
		return storetest.Harness{Store: s, UsedAt: s.UsedAt, Reopen: func(t *testing.T) authority.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, cfg)
			return s
		}}
	})
}
