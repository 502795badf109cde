package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/move"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/sqlite"
)

// tokensAtOnce is how many tokens one change of a database takes in a move.
const tokensAtOnce = 10_000

// switchStore makes another store the place where tokens last and, when one of
// the two is a database, the whole state.
func (k *core) switchStore(ctx context.Context, value string, commit func() error) (control.Carried, error) {
	kind, place := config.StorePlace(value)
	local := k.local()
	switch {
	case local != nil && !kind.Whole():
		c, err := local.SwitchTokens(ctx, place, commit)
		if err == nil {
			k.moved = move.Moved{}
			k.moved.Tokens, k.moved.Digest, _ = move.Digest(ctx, k.store) // for whoever asked; what it says is written already
		}
		k.logCaughtUp(c.CaughtUp)
		return control.Carried{Existing: c.Existing, Carried: c.Carried, CaughtUp: c.CaughtUp}, err
	case value == k.value():
		return control.Carried{}, commit()
	}
	if err := k.mayMove(kind); err != nil {
		return control.Carried{}, err
	}
	moved, err := k.move(ctx, value, commit)
	if err != nil {
		return control.Carried{}, unusable(err)
	}
	k.moved = moved
	k.logCaughtUp(moved.CaughtUp)
	facts := k.store.Facts()
	k.log.Info("the state has moved", "store", facts.Kind, "location", facts.Location, "tokens", moved.Tokens, "events", moved.Events, "digest", moved.Digest)
	return control.Carried{Existing: moved.Existing, Carried: moved.Carried, CaughtUp: moved.CaughtUp}, nil
}

// value is the present store as the property names it.
func (k *core) value() string {
	facts := k.store.Facts()
	if facts.Kind == string(config.StoreSQLite) {
		return "sqlite:" + facts.Location
	}
	if facts.Kind == string(config.StorePostgres) {
		return k.running.Settings().Store
	}
	return facts.Location
}

// mayMove refuses what a running server cannot do: who shares a store cannot
// leave it alone, and its signing keys last elsewhere.
func (k *core) mayMove(to config.StoreKind) error {
	if k.serving && (to == config.StorePostgres || k.fleet != nil) {
		return &authority.Error{
			Kind: authority.Invalid, Code: unusableStore,
			Msg: "A state moves to PostgreSQL, and from there, while the server is stopped: store migrate.",
		}
	}
	return nil
}

// unusable tells whoever named a store why it cannot be one.
func unusable(err error) error {
	var classed *authority.Error
	if errors.As(err, &classed) {
		return err
	}
	return &authority.Error{Kind: authority.Invalid, Code: unusableStore, Msg: err.Error(), Err: err}
}

// move copies the whole state. What an attempt before has left in the other store
// is gone on with.
func (k *core) move(ctx context.Context, value string, commit func() error) (move.Moved, error) {
	m, caught, err := k.destination(ctx, value)
	if err != nil {
		return move.Moved{}, err
	}
	var end func()
	m.Now = k.clock.Now
	m.Progress, end = k.progress.of("Moving tokens")
	moved, err := k.store.Move(ctx, m, commit, func(left authority.Store) error {
		if err := left.Close(); err != nil { // the state has moved all the same
			k.log.Warn("the store that was left was not closed", "error", err)
		}
		return nil
	})
	end()
	if err != nil {
		return moved, errors.Join(err, m.To.Close())
	}
	moved.CaughtUp.Changes += caught.Changes
	moved.CaughtUp.Unproven = moved.CaughtUp.Unproven || caught.Unproven
	k.tellUses(ctx)
	switch _, shared := k.store.Present().(*postgres.Store); {
	case shared && k.counts != nil:
		// What was counted goes along, now or else at the next start.
		if err := k.counts.Close(); err != nil {
			k.log.Warn("the file of counts was not closed", "error", err)
		}
		k.counts, _ = k.openCounts(ctx)
	case k.fleet != nil:
		k.keepUses(ctx)
	}
	return moved, nil
}

// destination opens the store that a state moves to, and makes it where there is
// none.
func (k *core) destination(ctx context.Context, value string) (m move.Move, caught authority.CaughtUp, err error) {
	kind, place := config.StorePlace(value)
	m.AtOnce = tokensAtOnce
	if k.fleet != nil && kind != config.StorePostgres {
		if err := k.keyringFile(); err != nil {
			return m, caught, err
		}
	}
	switch kind {
	case config.StoreJSON, config.StoreMemory:
		m.AtOnce = 0
		s, err := k.stateInFiles(ctx, place)
		if err == nil {
			m.To, caught = s, s.Opened().CaughtUp
		}
		return m, caught, err
	case config.StoreSQLite:
		if err = sqlite.Create(ctx, sqliteConfig(place, k.files)); errors.Is(err, sqlite.ErrStore) {
			err = nil // whose it is will show
		}
	case config.StorePostgres:
		if err = postgres.Create(ctx, postgresConfig(place)); errors.Is(err, postgres.ErrStore) {
			err = nil // whose it is will show
		}
		if err == nil {
			m.Key, err = sealedBy(k.files, k.sealingPath(), k.ring)
		}
	}
	if err == nil {
		m.To, err = k.openStore(ctx, value, how{})
	}
	return m, caught, err
}

// stateInFiles opens the files of a state, those of before or new ones. A token
// file that has tokens is opened by a log that leads to it: so the log goes
// first.
func (k *core) stateInFiles(ctx context.Context, tokens string) (*mapstore.Store, error) {
	cfg := mapstore.Config{Home: string(k.dir), Files: k.files, Now: time.Now, Arriving: true}
	if _, err := os.Lstat(filepath.Join(string(k.dir), mapstore.StateFile)); errors.Is(err, os.ErrNotExist) {
		if err := mapstore.CreateBeside(cfg); err != nil {
			return nil, err
		}
	}
	if tokens == "" {
		return mapstore.Open(cfg)
	}
	if _, err := os.Lstat(tokens); errors.Is(err, os.ErrNotExist) {
		if err := mapstore.CreateTokens(k.files, tokens); err != nil {
			return nil, err
		}
	}
	s, err := mapstore.Open(cfg)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(move.Log(ctx, k.store, s), s.Close()); err != nil {
		return nil, err
	}
	cfg.Tokens = tokens
	return mapstore.Open(cfg)
}

// sealedBy seals the secrets of a ring's keys, for a store that keeps them in
// their records.
func sealedBy(files durable.Files, path string, from *signing.Ring) (func(authority.Key) (authority.Key, error), error) {
	sealing, err := signing.OpenSealing(files, path, rand.Reader)
	if errors.Is(err, os.ErrNotExist) {
		sealing, err = signing.CreateSealing(files, path, rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	ring := signing.InRecords(sealing, rand.Reader)
	if err := ring.Adopt(from); err != nil {
		return nil, err
	}
	return func(key authority.Key) (authority.Key, error) {
		var err error
		key.Sealed, err = ring.Sealed(key.ID)
		return key, err
	}, nil
}

// keyringFile puts the secrets that came from records into the file of this home.
func (k *core) keyringFile() error {
	if err := setAside(k.dir.Keyring(), k.dir.Keyring()+".before"); err != nil {
		return err
	}
	_, err := signing.CreateFrom(k.files, k.dir.Keyring(), k.ring, rand.Reader)
	return err
}

// checkStore says what would be found at a place, or why it is refused. It
// changes nothing.
func (k *core) checkStore(value string) (string, error) {
	kind, place := config.StorePlace(value)
	if local := k.local(); local != nil && !kind.Whole() {
		return checkStore(k.files, local, place)
	}
	if err := k.mayMove(kind); err != nil {
		return "", err
	}
	if kind == config.StorePostgres {
		return "whether the database can be used shows when it is applied", nil
	}
	folder := filepath.Dir(place)
	if err := k.files.CheckFolder(folder); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist. Make it with: install -d -m 700 %s", folder, folder)
	} else if err != nil {
		return "", err
	}
	if err := unix.Access(folder, unix.W_OK); err != nil {
		return "", fmt.Errorf("%s: the folder cannot be written: %w", folder, err)
	}
	switch err := k.files.CheckFile(place); {
	case errors.Is(err, os.ErrNotExist):
		return "checked: the folder is closed to others, writable; the file is made", nil
	case err != nil:
		return "", err
	}
	return "checked: folder and file are closed to others, writable", nil
}
