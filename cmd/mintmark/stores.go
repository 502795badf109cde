package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/home"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/usagesql"
)

// openStore opens the store that the settings name.
func (k *core) openStore(ctx context.Context, value string, h how) (authority.Store, error) {
	kind, place := config.StorePlace(value)
	if h.noTokens {
		if kind.Whole() {
			return nil, errors.New("the whole state is in the database: nothing can be done without it")
		}
		place = ""
	}
	// A nil store of a kind would be none of the port's.
	switch kind {
	case config.StoreSQLite:
		if s, err := sqlite.Open(ctx, sqliteConfig(place, k.files)); err == nil {
			return s, nil
		} else {
			return nil, err
		}
	case config.StorePostgres:
		if s, err := postgres.Open(ctx, k.postgresConfig(place)); err == nil {
			return s, nil
		} else {
			return nil, err
		}
	case config.StoreMemory, config.StoreJSON:
	}
	s, err := mapstore.Open(mapstore.Config{Home: string(k.dir), Tokens: place, Files: k.files, Now: time.Now})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func sqliteConfig(path string, files durable.Files) sqlite.Config {
	return sqlite.Config{Path: path, Files: files, Now: time.Now, Rand: rand.Reader}
}

// postgresConfig is that of a store whose alarms are logged and counted.
func (k *core) postgresConfig(address string) postgres.Config {
	cfg := postgresConfig(address)
	cfg.Alarm = func(what string) {
		k.alarms.Add(1)
		k.log.Error("look at the store", "what", what)
	}
	return cfg
}

func postgresConfig(address string) postgres.Config {
	return postgres.Config{URL: address, Now: time.Now, Rand: rand.Reader, Tables: usagesql.Tables()}
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
		if err = postgres.Create(ctx, postgresConfig(place)); errors.Is(err, postgres.ErrStore) {
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
	if authority.KindOf(err) == authority.Unavailable {
		return err
	}
	if err != nil {
		return fail(exitInvalid, unusableStore, "%s", err)
	}
	if kind.Whole() {
		return nil
	}
	return mapstore.Create(mapstore.Config{Home: string(dir), Files: files, Now: time.Now})
}

// local is the present store, if its tokens are in a file or in memory; else
// nil.
func (k *core) local() *mapstore.Store {
	s, _ := k.store.Present().(*mapstore.Store)
	return s
}
