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
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/home"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/sqlite"
)

// openStore opens the store that the settings name. files is the store as the
// one whose tokens can be switched to another file; nil when the whole state is
// in a database.
func openStore(ctx context.Context, dir home.Dir, value string, files durable.Files, h how) (authority.Store, *mapstore.Store, error) {
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
		return nil, nil, errors.New("this build does not know PostgreSQL")
	case config.StoreMemory, config.StoreJSON:
	}
	s, err := mapstore.Open(mapstore.Config{Home: string(dir), Tokens: place, Files: files, Now: time.Now})
	if err != nil {
		return nil, nil, err
	}
	return s, s, nil
}

func sqliteConfig(path string, files durable.Files) sqlite.Config {
	return sqlite.Config{Path: path, Files: files, Now: time.Now, Rand: rand.Reader}
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
		err = errors.New("this build does not know PostgreSQL")
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
