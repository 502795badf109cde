package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/backup"
	"mintmark/internal/config"
	"mintmark/internal/home"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/sqlite"
)

// maxPlan bounds what is read of a restore that was begun.
const maxPlan = 16 << 30

// finishRestore does what a restore has decided on, to its end: each step may be
// done again, so one that was cut short is finished by whoever opens the home
// next. The caller holds the lock. Without a restore it does nothing.
func (c *cli) finishRestore(ctx context.Context, dir home.Dir) error {
	if _, err := os.Lstat(dir.Restore()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	text, err := c.files.Read(dir.Restore(), maxPlan)
	if err != nil {
		return err
	}
	plan, err := backup.Read(bytes.NewReader(text))
	if err != nil || plan.Restored == nil {
		return fmt.Errorf("%s is no restore that was begun here (%w); remove it to go on with what is here", dir.Restore(), err)
	}
	f := finish{cli: c, dir: dir, plan: plan, id: plan.Restored.Detail["restore"]}
	if err := f.run(ctx); err != nil {
		return fmt.Errorf("finish the restore of a backup: %w", err)
	}
	return nil
}

// finish is a restore that is certain.
type finish struct {
	*cli
	dir  home.Dir
	plan *backup.Content
	id   string
}

func (f finish) run(ctx context.Context) error {
	if err := f.mayPut(ctx, f.plan.Properties[config.Store]); err != nil {
		return err // also now: it may have been cut short, and others started since
	}
	kept := f.dir.Kept(f.id)
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err
	}
	if err := f.properties(); err != nil {
		return err
	}
	_, settings, err := config.Resolve(config.Layers{File: f.plan.Properties})
	if err != nil {
		return err
	}
	kind, place := config.StorePlace(settings.Store)
	if err := f.clear(kind, place); err != nil {
		return err
	}
	ring, err := signing.Parse(f.plan.Keyring, rand.Reader)
	if err != nil {
		return err
	}
	store, err := f.open(ctx, settings, ring)
	if err != nil {
		return err
	}
	if err = f.replay(ctx, store); err == nil {
		err = authority.Reinstate(ctx, store, f.plan.Records, *f.plan.Restored)
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return err
	}
	if err := f.notice(); err != nil {
		return err
	}
	return errors.Join(os.Remove(f.dir.Restore()), syncFolder(string(f.dir)))
}

// open makes the store anew, where it is this home's own, and what keeps its
// keys' secrets.
func (f finish) open(ctx context.Context, settings config.Settings, ring *signing.Ring) (authority.Store, error) {
	kind, place := config.StorePlace(settings.Store)
	if kind != config.StorePostgres {
		if _, err := signing.CreateFrom(f.files, f.dir.Keyring(), ring, rand.Reader); err != nil {
			return nil, err
		}
	}
	switch kind {
	case config.StorePostgres:
		if err := f.seal(settings, ring); err != nil {
			return nil, err
		}
		if err := postgres.Create(ctx, postgresConfig(place)); err != nil && !errors.Is(err, postgres.ErrStore) {
			return nil, err
		}
		return postgres.Open(ctx, postgresConfig(place))
	case config.StoreSQLite:
		if err := sqlite.Create(ctx, sqliteConfig(place, f.files)); err != nil {
			return nil, err
		}
		return sqlite.Open(ctx, sqliteConfig(place, f.files))
	case config.StoreJSON, config.StoreMemory:
	}
	cfg := mapstore.Config{Home: string(f.dir), Tokens: place, Files: f.files, Now: time.Now}
	if err := mapstore.CreateBeside(cfg); err != nil {
		return nil, err
	}
	if err := mapstore.CreateTokens(f.files, place); err != nil {
		return nil, err
	}
	return mapstore.Open(cfg)
}

// seal puts the secrets of keys into their records, for a store that keeps them
// there.
func (f finish) seal(settings config.Settings, ring *signing.Ring) error {
	path := settings.Fleet.SealingKey
	if path == "" {
		path = f.dir.Sealing()
	}
	seal, err := sealedBy(f.files, path, ring)
	if err != nil {
		return err
	}
	for i, k := range f.plan.Records.Keys {
		if k.State != authority.KeyRetired {
			if f.plan.Records.Keys[i], err = seal(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// replay takes the audit log along into a store that has none, or its beginning.
func (f finish) replay(ctx context.Context, store authority.Store) error {
	var last authority.Place
	err := store.View(ctx, func(tx authority.Tx) (err error) {
		last, err = authority.LastEvent(tx.Audit())
		return err
	})
	if n := uint64(len(f.plan.Events)); err != nil || last.Seq > n || last.Seq > 0 && f.plan.Events[last.Seq-1].Hash != last.Hash {
		return err // it has a log of its own, which goes on
	}
	return authority.Replay(ctx, store, f.plan.Events)
}

// clear sets aside what is here. Of the audit log only one that does not go on;
// a database that others use too stays where it is.
func (f finish) clear(kind config.StoreKind, place string) error {
	files := []string{filepath.Base(f.dir.Keyring())}
	if !kind.Whole() {
		files = append(files, mapstore.StateFile)
	}
	if len(f.plan.Events) > 0 && !kind.Whole() {
		files = append(files, mapstore.AuditFile)
	}
	kept := f.dir.Kept(f.id)
	for _, name := range files {
		if err := setAside(filepath.Join(string(f.dir), name), filepath.Join(kept, name)); err != nil {
			return err
		}
	}
	err := errors.Join(syncFolder(kept), syncFolder(string(f.dir)))
	// Its folder may be on another disk, where a rename does not reach.
	switch kind {
	case config.StoreJSON:
		err = errors.Join(err, setAside(place, place+".before-"+f.id), syncFolder(filepath.Dir(place)))
	case config.StoreSQLite:
		err = errors.Join(err, setDatabaseAside(place, place+".before-"+f.id), syncFolder(filepath.Dir(place)))
	case config.StoreMemory, config.StorePostgres:
	}
	return err
}

// setAside moves a file out of the way. One that is there when that was done
// already is what an earlier attempt has made.
func setAside(path, to string) error {
	if _, err := os.Lstat(to); err == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.Rename(path, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// setDatabaseAside is setAside for a file that SQLite keeps others beside, which
// belong to it alone: it goes last.
func setDatabaseAside(path, to string) error {
	beside := []string{"-wal", "-shm"}
	if _, err := os.Lstat(to); err == nil {
		for _, suffix := range beside {
			if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return setAside(path, to)
	}
	for _, suffix := range beside {
		if err := setAside(path+suffix, to+suffix); err != nil {
			return err
		}
	}
	return setAside(path, to)
}

// properties applies the configuration of the plan: as a revision of the book
// that is here, or in a new one when that cannot be read.
func (f finish) properties() error {
	by, now := config.Author{Kind: "local", Name: operator(), From: "local"}, time.Now().UTC()
	kept := filepath.Join(f.dir.Kept(f.id), filepath.Base(f.dir.Config()))
	book, err := config.Open(f.files, f.dir.Config())
	if err != nil {
		if err := setAside(f.dir.Config(), kept); err != nil {
			return err
		}
		_, err := config.Create(f.files, f.dir.Config(), f.plan.Properties, by, now)
		return err
	}
	if before, err := f.files.Read(f.dir.Config(), maxPlan); err != nil {
		return err
	} else if err := f.files.CreateNew(kept, before); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := book.Keep(0, by, now); err != nil && !errors.Is(err, config.ErrNoTrial) {
		return err // nothing can be applied over a trial
	}
	if _, err := book.Discard(by, now); err != nil {
		return err
	}
	_, applied := book.Applied()
	for name := range applied {
		if _, stays := f.plan.Properties[name]; !stays {
			if err := book.Stage(name, nil, by, now); err != nil {
				return err
			}
		}
	}
	for name, value := range f.plan.Properties {
		if err := book.Stage(name, &value, by, now); err != nil {
			return err
		}
	}
	_, _, err = book.Apply(0, by, now)
	return err
}

// noticeFile says in a kept folder what the restore did.
const noticeFile = "restored.txt"

// notice is what the status says until the kept folder is removed.
func (f finish) notice() error {
	d := f.plan.Restored.Detail
	text := fmt.Sprintf("restored at %s from %s of %s, made at %s: valid tokens %s, ended %s", f.plan.Restored.At.UTC().Format(time.RFC3339),
		f.plan.Restored.Label, f.plan.Host, d["taken_at"], d["active"], d["ended"])
	if d["tokens"] == string(authority.RestoreKeep) {
		text += "; tokens that were deleted in between are valid again"
	}
	err := f.files.CreateNew(filepath.Join(f.dir.Kept(f.id), noticeFile), []byte(text+"\n"))
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
