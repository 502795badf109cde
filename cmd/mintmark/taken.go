package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/sqlstore"
)

// notWhileTheyRun is how a change is refused that other nodes would not survive;
// nil when none lives.
func notWhileTheyRun(state authority.FleetState) error {
	var names []string
	for _, n := range state.Alive() {
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return fail(exitConflict, "server.running", "other nodes work on the same database: %s; what they change meanwhile would be lost", strings.Join(names, ", ")).
		advise("stop every node first; one that was killed is taken for gone 10 seconds later")
}

// mayPut refuses a store that a state is to be put into, while another server works
// on it or when it is out of reach. Where there is none yet, it is made later.
func (c *cli) mayPut(ctx context.Context, value string) error {
	kind, place := config.StorePlace(value)
	if kind == config.StorePostgres {
		return c.inDatabase(ctx, value, func(s *postgres.Store) error {
			state, err := s.Nodes(ctx)
			if err != nil {
				return err
			}
			return notWhileTheyRun(state)
		})
	}
	if kind == config.StoreMemory {
		return nil
	}
	lock := place + ".lock"
	if _, err := os.Lstat(lock); errors.Is(err, os.ErrNotExist) {
		return nil // nobody has ever opened it
	}
	held, err := c.files.Lock(lock)
	if locked, ok := errors.AsType[*durable.LockedError](err); ok {
		return fail(exitConflict, "server.running", "%s is in use by another server%s; it would go on with what is not there any more", place, pidOf(locked.PID)).
			advise("stop that one first")
	}
	if err != nil {
		return err
	}
	return held.Close()
}

// mayReplace refuses to write over the database of another installation, of which
// nothing would be kept. own is the store of this one; "": it is not known.
func (c *cli) mayReplace(ctx context.Context, value, own string) error {
	kind, _ := config.StorePlace(value)
	if kind != config.StorePostgres || own == "" {
		return nil
	}
	if was, _ := config.StorePlace(own); was == config.StorePostgres {
		if same, err := postgres.Same(value, own); err != nil || same {
			return err
		}
	}
	return c.inDatabase(ctx, value, func(s *postgres.Store) error {
		return s.View(ctx, func(tx authority.Tx) error {
			for _, err := range tx.Keys().All() {
				if err != nil {
					return err
				}
				return fail(exitConflict, "store.foreign", "the database holds the state of another installation, which would be lost; nothing was changed").
					advise("name an empty one, or make an installation on it (init --store) and restore there: then what was in it is kept")
			}
			return nil
		})
	})
}

// inDatabase asks something of the store in a database, if there is one.
func (c *cli) inDatabase(ctx context.Context, value string, ask func(*postgres.Store) error) error {
	done := c.patience("Waiting for the database")
	defer done()
	s, err := postgres.Open(ctx, postgresConfig(value))
	switch {
	case errors.Is(err, sqlstore.ErrEmpty):
		return nil
	case authority.KindOf(err) == authority.Unavailable:
		return err
	case err != nil:
		return fail(exitInvalid, unusableStore, "%s; nothing was changed", err)
	}
	return errors.Join(ask(s), s.Close())
}
