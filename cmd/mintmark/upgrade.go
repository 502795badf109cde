package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/home"
	"mintmark/internal/store/postgres"
)

func (c *cli) upgradeCommand() *cobra.Command {
	var as string
	cmd := local(&cobra.Command{
		Use: "upgrade", Short: "Bring the schema of a shared database to what this program needs", Args: exactly(0, 0),
		Long: "For a fleet, once for each release that changes the schema, before the first node gets it; nodes run on meanwhile. It\n" +
			"connects as the owner of the tables, whom --as names: the address of the store with another user. Its password is\n" +
			"in the file that PGPASSFILE, or passfile= in the address, names. Without an installation directory --as alone says\n" +
			"where the database is. A file needs no upgrade by hand: a server that opens it makes it.",
		Example: c.example("manager store upgrade --as 'postgres://mintmark_owner@db.example/mintmark?sslmode=verify-full'", "manager store upgrade -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := c.dirOrMemory()
			switch {
			case err != nil:
				return err
			case dir == "" && as == "":
				_, err = c.dir() // says how to name one
				return err
			}
			return c.upgrade(cmd.Context(), dir, as)
		},
	})
	cmd.Flags().StringVar(&as, "as", "", "the address of the store's database with the owner of its tables as the user; without it as the nodes do")
	return cmd
}

// upgraded is an upgrade of a schema as the command prints it. Of a store that
// has none to upgrade the versions are empty.
type upgraded struct {
	Store string   `json:"store"`
	From  string   `json:"from"`
	To    string   `json:"to"`
	Made  []string `json:"made"` // what was missing beside the store
}

// upgrade takes no lock of the home: its server runs on.
func (c *cli) upgrade(ctx context.Context, dir home.Dir, as string) error {
	address, err := c.ownersAddress(dir, as)
	if err != nil {
		return err
	}
	if kind, _ := config.StorePlace(address); kind != config.StorePostgres {
		c.say("Nothing to do: the store is %s, which nobody shares.", place(address))
		return c.one("Upgraded", upgraded{Store: place(address), Made: []string{}}, nil)
	}
	done := c.patience("Waiting for the database")
	u, err := postgres.Upgrade(ctx, postgresConfig(address))
	done()
	switch {
	case authority.KindOf(err) == authority.Unavailable:
		return err
	case err != nil:
		return fail(exitInvalid, unusableStore, "%s", err)
	}
	switch {
	case u.From != u.To:
		c.say("The schema of %s is %s now; it was %s.", u.Location, u.To, u.From)
	case len(u.Made) == 0:
		c.say("Nothing to do: %s has schema %s.", u.Location, u.To)
	}
	if len(u.Made) > 0 {
		c.say("Made what was missing in %s: %s.", u.Location, strings.Join(u.Made, ", "))
	}
	return c.one("Upgraded", upgraded{Store: u.Location, From: u.From.String(), To: u.To.String(), Made: append([]string{}, u.Made...)}, nil)
}

// ownersAddress is the value of the store whose schema is meant: that of the home,
// with the user that as has. No error tells an address that was given, as a
// password may be in there.
func (c *cli) ownersAddress(dir home.Dir, as string) (string, error) {
	var own config.Settings
	var err error
	if dir != "" {
		if own, err = c.settings(dir); err != nil || as == "" {
			return own.Store, err
		}
	}
	_, given, err := config.Resolve(config.Layers{File: map[string]string{config.Store: as}})
	if err != nil {
		return "", fail(exitInvalid, "config.invalid", "--as: %s", err)
	}
	if dir == "" {
		return given.Store, nil
	}
	if kind, _ := config.StorePlace(own.Store); kind != config.StorePostgres {
		return own.Store, nil
	}
	same, err := postgres.Same(given.Store, own.Store)
	if err != nil {
		return "", fail(exitInvalid, "config.invalid", "--as: %s", err)
	}
	if !same {
		return "", fail(exitInvalid, "config.invalid", "--as names another database than the store's, %s", own.Store).advise("give that address with another user")
	}
	return given.Store, nil
}

// settings are those that a home's server would start with.
func (c *cli) settings(dir home.Dir) (config.Settings, error) {
	book, err := config.Open(c.files, dir.Config())
	if err != nil {
		return config.Settings{}, err
	}
	layers := config.Layers{Getenv: c.getenv}
	_, layers.File = book.Applied()
	_, settings, err := config.Resolve(layers)
	if err != nil {
		return config.Settings{}, fail(exitInvalid, "config.invalid", "%s", err)
	}
	return settings, nil
}
