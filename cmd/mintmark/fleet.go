package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/home"
	"mintmark/internal/signing"
)

const (
	beatEvery  = 2 * time.Second
	levelEvery = 100 * time.Millisecond
	// levelWithin is how old the newest word of a shared store may be while a node
	// says of itself that it is ready: less than anybody waits for a revocation.
	levelWithin = 1500 * time.Millisecond
	// maxSkew is by how much the clocks of a node and of its store may differ.
	maxSkew = 30 * time.Second
)

// fleet is this process as one node of several.
type fleet struct {
	store authority.Fleet
	node  authority.Node
	skew  atomic.Int64 // nanoseconds that this machine's clock is ahead of the store's
	seen  atomic.Pointer[sighting]
}

// openSealing opens the key-encryption key of a home whose store is shared.
func (k *core) openSealing(h how) (*signing.Sealing, error) {
	path := k.sealingPath()
	sealing, err := signing.OpenSealing(k.files, path, rand.Reader)
	if h.lostKeyring && errors.Is(err, fs.ErrNotExist) {
		sealing, err = signing.CreateSealing(k.files, path, rand.Reader)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(exitInvalid, "sealing.missing", "%s does not exist: without it the signing keys of the fleet cannot be opened", path).
			advise("copy the file of another node there, by a safe way, with mode 0600")
	}
	if err != nil {
		return nil, fail(exitInvalid, "sealing.unusable", "%s", err)
	}
	return sealing, nil
}

func (k *core) sealingPath() string {
	if path := k.running.Settings().Fleet.SealingKey; path != "" {
		return path
	}
	return k.dir.Sealing()
}

// prepareCustody makes what a new home keeps its signing keys' secrets by: a
// keyring of its own, or the fleet's key-encryption key, which is made for the
// first node and given to every other.
func prepareCustody(files durable.Files, dir home.Dir, settings config.Settings) error {
	kind, _ := config.StorePlace(settings.Store)
	if kind != config.StorePostgres {
		_, err := signing.Create(files, dir.Keyring(), rand.Reader)
		return err
	}
	var err error
	if given := settings.Fleet.SealingKey; given != "" {
		_, err = signing.OpenSealing(files, given, rand.Reader)
	} else {
		_, err = signing.CreateSealing(files, dir.Sealing(), rand.Reader)
	}
	if err != nil {
		return fail(exitInvalid, "sealing.unusable", "%s", err)
	}
	return nil
}

// joinFleet makes a core one node of several, if its store is shared.
func (k *core) joinFleet() {
	store, ok := k.store.Present().(authority.Fleet)
	if !ok {
		return
	}
	settings := k.running.Settings()
	k.fleet = &fleet{store: store, node: authority.Node{
		ID: newID(), Name: k.host + " " + settings.Listen, Version: version(), Issuer: settings.Issuer, StartedAt: time.Now().UTC(),
	}}
}

// shared is the store as one that several nodes share; nil when it is not.
func (k *core) shared() authority.Fleet {
	if k.fleet == nil {
		return nil
	}
	return k.fleet.store
}

// alone refuses what must not be done while other nodes change the same store.
func (k *core) alone(ctx context.Context) error {
	if k.fleet == nil {
		return nil
	}
	state, err := k.fleet.store.Nodes(ctx)
	if err != nil {
		return err
	}
	return notWhileTheyRun(state)
}

// attend bounds how long verdicts are given from a state that others may have
// changed, and says that this node lives, until ctx ends; then, that it stops.
func (k *core) attend(ctx context.Context) {
	if k.fleet == nil {
		return
	}
	level := time.NewTicker(levelEvery)
	defer level.Stop()
	left := make(chan struct{})
	go func() {
		defer close(left)
		k.beat(ctx)
	}()
	defer func() { <-left }()
	k.bound()
	var said *unready
	for {
		select {
		case <-ctx.Done():
			return
		case <-level.C:
			k.bound()
			said = k.sayReady(said)
		}
	}
}

// age is how old the newest word of a shared store is: the time that has passed,
// so that a clock that is set back makes nothing younger; and by the clock as well,
// because the other stands still in a machine that sleeps.
func (k *core) age() time.Duration {
	level := k.store.Synced()
	return max(time.Since(level), time.Now().Round(0).Sub(level.Round(0)))
}

// bound tells the live set until when it may be answered from.
func (k *core) bound() {
	left := k.running.Settings().Fleet.MaxStaleness - k.age()
	if left <= 0 {
		k.live.GoodUntil(time.Time{})
		return
	}
	k.live.GoodUntil(k.clock.Now().Add(left))
}

// beat says that this node lives and compares its clock with the store's; at the
// end it says that it stops.
func (k *core) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		n := k.fleet.node
		n.Ready = k.ready() == nil
		asked := time.Now()
		if now, err := k.fleet.store.Beat(ctx, n); err == nil {
			took := time.Since(asked)
			k.fleet.skew.Store(int64(asked.Add(took / 2).Sub(now)))
			k.fleet.look(ctx)
		} else if ctx.Err() == nil {
			k.log.Debug("the store was not told that this node lives", "err", err)
		}
		select {
		case <-ctx.Done():
			if err := k.fleet.store.Leave(context.WithoutCancel(ctx), n.ID); err != nil {
				k.log.Debug("the store was not told that this node stops", "err", err)
			}
			return
		case <-tick.C:
		}
	}
}
