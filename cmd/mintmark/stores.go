package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/home"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/sqlite"
)

// openStore opens the store that the settings name. files is the store as the
// one whose tokens can be switched to another file; nil when the whole state is
// in a database.
func (k *core) openStore(ctx context.Context, value string, files durable.Files, h how) (authority.Store, *mapstore.Store, error) {
	kind, place := config.StorePlace(value)
	if h.noTokens {
		if kind.Whole() {
			return nil, nil, errors.New("the whole state is in the database: nothing can be done without it")
		}
		place = ""
	}
	switch kind {
	case config.StoreSQLite:
		s, err := sqlite.Open(ctx, sqliteConfig(place, files))
		if err != nil {
			return nil, nil, err
		}
		return s, nil, nil
	case config.StorePostgres:
		s, err := postgres.Open(ctx, postgresConfig(place, k.log))
		if err != nil {
			return nil, nil, err
		}
		return s, nil, nil
	case config.StoreMemory, config.StoreJSON:
	}
	s, err := mapstore.Open(mapstore.Config{Home: string(k.dir), Tokens: place, Files: files, Now: time.Now})
	if err != nil {
		return nil, nil, err
	}
	return s, s, nil
}

func sqliteConfig(path string, files durable.Files) sqlite.Config {
	return sqlite.Config{Path: path, Files: files, Now: time.Now, Rand: rand.Reader}
}

func postgresConfig(address string, log *slog.Logger) postgres.Config {
	cfg := postgres.Config{URL: address, Now: time.Now, Rand: rand.Reader}
	if log != nil {
		cfg.Alarm = func(what string) { log.Error("look at the store", "what", what) }
	}
	return cfg
}

// follows is a store that hears of what others change while it runs.
type follows interface {
	Run(ctx context.Context) error
}

// createStore makes what a new home keeps its state in, and its tokens when
// nothing is at that place yet.
func createStore(ctx context.Context, dir home.Dir, value string, files durable.Files) error {
	kind, place := config.StorePlace(value)
	var err error
	switch kind {
	case config.StoreSQLite:
		err = sqlite.Create(ctx, sqliteConfig(place, files))
	case config.StorePostgres:
		if err = postgres.Create(ctx, postgresConfig(place, nil)); errors.Is(err, postgres.ErrStore) {
			err = nil // of a fleet that this is one more node of
		}
	case config.StoreJSON:
		if _, missing := os.Lstat(place); errors.Is(missing, os.ErrNotExist) {
			err = mapstore.CreateTokens(files, place)
		}
	case config.StoreMemory:
	}
	if errors.Is(err, os.ErrNotExist) {
		folder := filepath.Dir(place)
		return fail(exitInvalid, unusableStore, "%s does not exist", folder).advise("make it with: install -d -m 700 " + folder)
	}
	if err != nil {
		return fail(exitInvalid, unusableStore, "%s", err)
	}
	if kind.Whole() {
		return nil
	}
	return mapstore.Create(mapstore.Config{Home: string(dir), Files: files, Now: time.Now})
}

// errMoves says why the store of a running server is not switched.
func errMoves() error {
	const msg = "A state that is in a database, or is to be, is moved while the server is stopped: mintmark store migrate."
	return &authority.Error{Kind: authority.Invalid, Code: unusableStore, Msg: msg}
}

// switchTokens makes another token file the place where tokens last.
func (k *core) switchTokens(ctx context.Context, value string, commit func() error) (control.Carried, error) {
	kind, place := config.StorePlace(value)
	if k.local == nil || kind.Whole() {
		return control.Carried{}, errMoves()
	}
	c, err := k.local.SwitchTokens(ctx, place, commit)
	k.logCaughtUp(c.CaughtUp)
	return control.Carried{Existing: c.Existing, Carried: c.Carried, CaughtUp: c.CaughtUp}, err
}

// checkTokens answers what switchTokens would find, or why it would refuse.
func (k *core) checkTokens(files durable.Files, value string) (string, error) {
	kind, place := config.StorePlace(value)
	if k.local == nil || kind.Whole() {
		return "", errMoves()
	}
	return checkStore(files, k.local, place)
}
