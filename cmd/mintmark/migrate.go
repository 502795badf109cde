package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/home"
)

func (c *cli) storeCommand() *cobra.Command {
	return c.group("store", "Move the tokens to another store, and upgrade a shared one",
		c.example("manager store migrate --to sqlite:/var/lib/mintmark/mintmark.db", "manager store upgrade"), c.migrateCommand(), c.upgradeCommand())
}

func (c *cli) migrateCommand() *cobra.Command {
	var to string
	var dry bool
	cmd := local(&cobra.Command{
		Use: "migrate", Short: "Move everything to another store, and use that from now on", Args: exactly(0, 0),
		Long: "The server is stopped; config apply moves between memory, files and SQLite while it runs. To and from a database\n" +
			"the whole state moves: tokens with those that have ended, keys, administrators, sign-ins and the audit log. Every\n" +
			"record is compared on both sides before the new store is used. The old one stays as it is. A move that was cut\n" +
			"short has changed nothing; the next one goes on with what it left. To memory nothing moves: it starts empty.",
		Example: c.example("manager store migrate --to sqlite:/var/lib/mintmark/mintmark.db", "manager store migrate --to memory --yes"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return fail(exitUsage, "usage", "where to? Give --to VALUE, as for the property %s", config.Store)
			}
			dir, err := c.dir()
			if err != nil {
				return err
			}
			return c.migrate(cmd.Context(), dir, to, dry)
		},
	})
	cmd.Flags().StringVar(&to, "to", "", "an absolute .json path, sqlite:/path.db, postgres://user@host/database, or memory")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only check whether it could be done")
	return cmd
}

// migrated is a move as the command prints it.
type migrated struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Tokens   int    `json:"tokens"` // copied and compared, whatever their state
	Active   int    `json:"tokens_active"`
	Existing int    `json:"tokens_existing"` // active ones that only the new store had
	Again    int    `json:"tokens_resumed"`  // were there from an attempt before
	Events   int    `json:"events"`
	Digest   string `json:"digest"`
}

func (c *cli) migrate(ctx context.Context, dir home.Dir, to string, dry bool) error {
	if state, pid, err := dir.Process(c.files); err != nil {
		return err
	} else if state == home.Running {
		return fail(exitConflict, "server.running", "the server runs (pid %d); a move needs it stopped", pid).
			advise(fmt.Sprintf("or move while it runs: manager config properties set %s %s && manager config apply", config.Store, quoted(to)))
	}
	k, err := c.openCore(ctx, dir, how{wait: patient})
	if err != nil {
		return err
	}
	return errors.Join(c.migrateOver(ctx, k, to, dry), k.Close())
}

func (c *cli) migrateOver(ctx context.Context, k *core, to string, dry bool) error {
	if err := c.mayStage(ctx, k); err != nil {
		return err
	}
	if err := k.alone(ctx); err != nil {
		return err
	}
	from := k.value()
	counts, err := k.authority.TokenCounts(ctx, k.self())
	if err != nil {
		return err
	}
	_, staging, err := k.control.Stage(ctx, k.self(), config.Store, &to)
	if err != nil {
		return err
	}
	if staging.Count == 0 {
		c.say("The state is in %s already.", place(from))
		return c.one("Migrated", migrated{From: place(from), To: place(from)}, nil)
	}
	if to == "memory" {
		c.say("Memory starts empty: %s will not be there. What there is stays in %s.", plural(counts.Active, "valid token"), place(from))
	}
	if dry {
		carried := counts.Active
		if to == "memory" {
			carried = 0
		}
		return errors.Join(c.moveDryRun(ctx, k, carried), c.unstage(ctx, k))
	}
	done, err := c.applyMove(ctx, k, to)
	if err != nil {
		return errors.Join(err, c.unstage(ctx, k))
	}
	if to == "memory" {
		c.say("Nothing moved from %s: the next start begins without a token.", place(from))
		c.warnMemory(string(k.dir))
		return c.one("Migrated", migrated{From: place(from), To: place(to), Events: k.moved.Events}, nil)
	}
	m := migrated{
		From: place(from), To: place(k.value()), Tokens: k.moved.Tokens, Again: k.moved.Again, Events: k.moved.Events, Active: done.Carried.Carried,
		Existing: done.Carried.Existing, Digest: k.moved.Digest,
	}
	if m.Again > 0 {
		c.say("%s there already, from a move before.", wereOrWas(m.Again))
	}
	c.say("Moved from %s to %s: %s carried over, compared on both sides.", m.From, m.To, plural(m.Active, "valid token"))
	if m.Existing > 0 {
		c.say("%s there before, and valid.", wereOrWas(m.Existing))
	}
	if n := done.Carried.CaughtUp.Changes; n > 0 {
		c.say("What was there was older than the audit log: %s made since was applied to it again.", plural(n, "change"))
	}
	return c.one("Migrated", m, nil)
}

// mayStage refuses to apply what somebody else has staged. A store may be staged:
// a move that was cut short leaves it so.
func (c *cli) mayStage(ctx context.Context, k *core) error {
	properties, _, err := k.control.Properties(ctx, k.self())
	if err != nil {
		return err
	}
	others := 0
	for _, p := range properties {
		if p.Name != config.Store && (p.Staged != nil || p.Unsets) {
			others++
		}
	}
	if others > 0 {
		return fail(exitConflict, "config.staged", "%s staged; a move would apply that, too", plural(others, "change")).advise("config apply, or config discard, comes first")
	}
	return nil
}

// unstage drops the move that was staged.
func (c *cli) unstage(ctx context.Context, k *core) error {
	_, err := k.control.Discard(context.WithoutCancel(ctx), k.self())
	return err
}

// moveDryRun says whether what is staged could be done.
func (c *cli) moveDryRun(ctx context.Context, k *core, carried int) error {
	diff, _, err := k.control.Diff(ctx, k.self())
	for _, d := range diff {
		c.say("%s -> %s  %s", place(d.Before), place(d.After), d.Note)
	}
	if err != nil {
		return err
	}
	return c.dryRun(rehearsed{Would: "It could be moved.", Counts: map[string]int{"tokens_active": carried}})
}

func (c *cli) applyMove(ctx context.Context, k *core, to string) (control.Applied, error) {
	if to == "memory" {
		if err := c.agree(ctx, "moving to memory", "A restart will lose every token. Move to memory?"); err != nil {
			return control.Applied{}, err
		}
	}
	k.progress = c.progress
	return k.control.Apply(ctx, k.self(), 0, 0)
}

// place names a store for people.
func place(value string) string {
	if value == "" {
		return "memory"
	}
	return value
}

// progress begins to show how far something is, until end; nil shows nothing.
type progress func(what string) (tell func(done, total int), end func())

func (p progress) of(what string) (tell func(done, total int), end func()) {
	if p == nil {
		return nil, func() {}
	}
	return p(what)
}

// progress draws how far something is for a person at a terminal, once it has
// taken half a second.
func (c *cli) progress(what string) (tell func(done, total int), end func()) {
	const width = 30
	if c.flags.quiet || !terminal(c.err) {
		return nil, func() {}
	}
	began, drawn := time.Now(), false
	return func(done, total int) {
			if time.Since(began) < 500*time.Millisecond || total == 0 {
				return
			}
			drawn = true
			full := width * done / total
			fmt.Fprintf(c.err, "\r%s [%s%s] %d of %d", what, strings.Repeat("#", full), strings.Repeat(".", width-full), done, total)
		}, func() {
			if drawn {
				fmt.Fprintln(c.err)
			}
		}
}
