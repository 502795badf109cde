package mapstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

// newHome makes a home and a token file in it and answers the way to open them.
func newHome(t testing.TB, files durable.Files) mapstore.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Files: files, Now: time.Now}
	if err := mapstore.Create(cfg); err != nil {
		t.Fatal(err)
	}
	if err := mapstore.CreateTokens(files, cfg.Tokens); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t testing.TB, cfg mapstore.Config) *mapstore.Store {
	t.Helper()
	s, err := mapstore.Open(cfg)
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

func harness(t *testing.T, cfg mapstore.Config) storetest.Harness {
	s := open(t, cfg)
	h := storetest.Harness{Store: s, TokensLost: cfg.Tokens == "", Split: cfg.Tokens != ""}
	if cfg.Home != "" {
		h.Reopen = func(t *testing.T) authority.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, cfg)
			return s
		}
	}
	return h
}

func TestMemoryStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t, mapstore.Config{Now: time.Now}) })
}

func TestHomeWithTokensInMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		cfg := newHome(t, durable.Files{})
		cfg.Tokens = ""
		return harness(t, cfg)
	})
}

func TestTokenFileKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t, newHome(t, durable.Files{})) })
}
