package main

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

func (c *cli) applyCommand() *cobra.Command {
	var revision uint64
	var trial string
	var dry, forGood bool
	cmd := c.configCall("apply", "Make what is staged the applied configuration, at once", 0, 0, func(ctx context.Context, l *link, _ []string) error {
		length, err := c.trialLength(trial, forGood)
		if err != nil {
			return err
		}
		if !dry {
			return c.apply(ctx, l, api.Apply{Revision: revision, Trial: length})
		}
		diff, err := l.ConfigDiff(ctx)
		if err != nil {
			return err
		}
		if err := c.differences(diff.Items); err != nil {
			return err
		}
		c.looked("Would apply %s.", plural(len(diff.Items), "staged change"))
		return nil
	})
	cmd.Long = "All staged properties are checked together, here and on the disk; then all are applied, or none is.\n" +
		"With --trial, what can shut people out (the address, TLS, proxies, the audience, the sign-in) goes back by itself after that\n" +
		"time unless config confirm keeps it. With --server that is so for 10 minutes without a word; on the machine itself, from\n" +
		"where it can always be changed back, it is not."
	cmd.Example = c.example("manager config apply", "manager config apply --trial 10m")
	cmd.Flags().Uint64Var(&revision, "revision", 0, "only if this is still the applied revision")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only check it and show the difference")
	trialFlags(cmd, &trial, &forGood)
	return cmd
}

func trialFlags(cmd *cobra.Command, trial *string, forGood *bool) {
	cmd.Flags().StringVar(trial, "trial", "", "how long it is on trial, as in 10m")
	cmd.Flags().BoolVar(forGood, "no-trial", false, "for good, also with --server")
}

// trialText checks the length of a trial that was given with a flag. A length of 0
// is not "for good".
func trialText(flag, text string) error {
	switch d, err := config.ParseDuration(text); {
	case text == "":
	case err != nil:
		return fail(exitInvalid, flag+".form", "--%s: %s", flag, err)
	case d == 0:
		return fail(exitInvalid, "trial.length", "--%s: %s", flag, control.TrialLasts)
	}
	return nil
}

// trialLength is what the server is asked for. Only who comes over the network
// can be shut out.
func (c *cli) trialLength(trial string, forGood bool) (string, error) {
	switch {
	case trial != "" && forGood:
		return "", fail(exitUsage, "usage", "on trial, or for good: give one of --trial and --no-trial")
	case trial != "":
		return trial, trialText("trial", trial)
	case forGood || c.flags.server == "":
		return "", nil
	}
	return config.FormatDuration(config.TrialLength), nil
}

func (c *cli) apply(ctx context.Context, l *link, asked api.Apply) error {
	applied, err := l.ConfigApplyAs(ctx, asked)
	if err != nil {
		return err
	}
	return c.applied(ctx, l, applied)
}

// sayTrial says that settings go back by themselves, and how to keep them. server is
// where they are kept; "": on this machine.
func (c *cli) sayTrial(t *api.Trial, server string) {
	if t == nil {
		return
	}
	program := c.self()
	if server != "" {
		program = cmp.Or(c.called, c.program) + " --server " + quoted(server) // it may be there since this very change
	}
	more := ""
	if len(t.With) > 0 {
		more = "\n         going back with that: " + strings.Join(t.With, ", ")
	}
	if t.StoreStays {
		more += "\n         the token store does not go back"
	}
	c.warn("revision %d is on trial until %s: %s%s\n         keep it: %s config confirm    go back now: %s config revert",
		t.Revision, c.until(t.Until), strings.Join(t.Properties, ", "), more, program, program)
}

// place is where the server is to be reached from now on, when that was applied. It
// still answers where it was.
func (c *cli) place(ctx context.Context, l *link, applied []api.Difference) string {
	changed := func(property string) int {
		return slices.IndexFunc(applied, func(d api.Difference) bool { return d.Property == property })
	}
	i := changed(config.Listen)
	if c.flags.server == "" || i < 0 && changed(config.Certificate) < 0 {
		return c.flags.server
	}
	now, err := l.Status(ctx)
	if err != nil {
		return c.flags.server
	}
	before := now.Listen
	if i >= 0 {
		before = applied[i].Before
	}
	return moved(c.flags.server, before, now)
}

// moved is where a server is now that was asked at an address and listened at
// another. A proxy between, which seldom has the same port, stays where it was.
func moved(server, before string, now api.Status) string {
	at, err := url.Parse(server)
	to, badly := url.Parse(now.URL)
	if p, err := config.Lookup(config.Listen); err == nil && before == "" {
		before = p.Default
	}
	if err != nil || badly != nil || at.Host == "" || at.Port() != port(before) {
		return server
	}
	host, port, err := net.SplitHostPort(now.Listen)
	if err != nil {
		return server
	}
	if unspecified(host) {
		host = at.Hostname()
	}
	at.Scheme, at.Host = to.Scheme, net.JoinHostPort(host, port)
	return at.String()
}

func (c *cli) confirmCommand() *cobra.Command {
	cmd := c.settling("confirm", "Keep what is on trial", func(ctx context.Context, l *link, revision uint64) (api.Applied, error) {
		return l.ConfigConfirm(ctx, revision)
	}, func(a api.Applied) { c.tell("Revision %d is kept.", a.Revision) })
	cmd.Long = "It ends the trial of config apply --trial: the settings stay. Of a confirmation and the end of the time at the same moment\n" +
		"one wins, and the other is told."
	return cmd
}

func (c *cli) revertCommand() *cobra.Command {
	return c.settling("revert", "Go back from what is on trial to the revision before", func(ctx context.Context, l *link, revision uint64) (api.Applied, error) {
		return l.ConfigRevert(ctx, revision)
	}, func(a api.Applied) {
		c.tell("Back to what was applied before, as revision %d.", a.Revision)
		if len(a.RestartNeeded) > 0 {
			c.tell("From the next start on: %s.", strings.Join(a.RestartNeeded, ", "))
		}
	})
}

func (c *cli) extendTrialCommand() *cobra.Command {
	more := ""
	cmd := c.settling("extend", "Give what is on trial more time", func(ctx context.Context, l *link, revision uint64) (api.Applied, error) {
		if err := trialText("by", more); err != nil {
			return api.Applied{}, err
		}
		return l.ConfigExtend(ctx, api.ExtendTrial{Revision: revision, By: more})
	}, func(a api.Applied) { c.sayTrial(a.Trial, c.flags.server) })
	cmd.Flags().StringVar(&more, "by", "", "how much more, 10m without it")
	cmd.Example = c.example("manager config extend", "manager config extend --by 1h")
	return cmd
}

// settling is a command about the trial that runs.
func (c *cli) settling(use, short string, do func(context.Context, *link, uint64) (api.Applied, error), say func(api.Applied)) *cobra.Command {
	var revision uint64
	cmd := c.configCall(use, short, 0, 0, func(ctx context.Context, l *link, _ []string) error {
		applied, err := do(ctx, l, revision)
		if err != nil {
			return err
		}
		defer func() { _ = c.afterChange(ctx, l) }() // a warning at the most
		if c.flags.output != "table" {
			return c.one("Applied", applied, [][]string{{"revision", strconv.FormatUint(applied.Revision, 10)}})
		}
		if len(applied.Differences) > 0 {
			if err := c.differences(applied.Differences); err != nil {
				return err
			}
		}
		say(applied)
		return nil
	})
	cmd.Flags().Uint64Var(&revision, "revision", 0, "only if this is the revision on trial")
	return cmd
}
