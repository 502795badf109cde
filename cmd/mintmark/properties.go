package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/config"
)

func (c *cli) configCommand() *cobra.Command {
	return c.group("config", "Read, stage and apply properties",
		c.group("properties", "Read and stage single properties; nothing runs differently until config apply",
			c.configCall("list", "List every property with its values", 0, 0, c.listProperties),
			c.configCall("get PROPERTY", "Show one property", 1, 1, c.getProperty),
			c.configCall("set PROPERTY VALUE | set /path/to/file.json", "Stage a value; a path alone sets the token store", 1, 2, c.setProperty),
			c.configCall("unset PROPERTY", "Stage that a property is unset", 1, 1, c.unsetProperty),
		),
		c.configCall("show", "Show what is applied and what is staged", 0, 0, c.listProperties),
		c.diffCommand(),
		c.configCall("validate", "Check all that is staged, together", 0, 0, c.validate),
		c.configCall("apply", "Make what is staged the applied configuration, at once", 0, 0, c.apply),
		c.configCall("discard", "Drop what is staged", 0, 0, c.discard),
		c.configCall("rollback [REVISION]", "Apply an earlier revision again; without a number the one before", 0, 1, c.rollback),
	)
}

// configCall is a command that needs the API, running or not.
func (c *cli) configCall(use, short string, least, most int, fn func(context.Context, *link, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(least, most),
		RunE: func(cmd *cobra.Command, args []string) error { return c.withConfig(cmd.Context(), args, fn) },
	}
}

// withConfig reaches the configuration also when the token store cannot be
// opened: changing the property may be what mends that.
func (c *cli) withConfig(ctx context.Context, args []string, fn func(context.Context, *link, []string) error) error {
	l, err := c.reach(ctx, how{})
	if err != nil && c.flags.server == "" && classify(err).exit == exitFailed {
		broken := err
		if l, err = c.reach(ctx, how{noTokens: true}); err != nil {
			return errors.Join(broken, err)
		}
		c.warn("the token store cannot be opened: %s", broken)
	}
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, l, args), l.Close())
}

func (c *cli) listProperties(ctx context.Context, l *link, _ []string) error {
	conf, err := l.Config(ctx)
	if err != nil {
		return err
	}
	return printList(c, "PropertyList", conf.Properties, []column[api.Property]{
		{name: "PROPERTY", of: func(p api.Property) string { return p.Name }},
		{name: "RUNNING", of: func(p api.Property) string { return orUnset(p.Running) }},
		{name: "SOURCE", of: func(p api.Property) string { return p.Source }},
		{name: "STAGED", of: stagedText},
		{name: "EFFECT", of: func(p api.Property) string { return effect(p.Live) }},
		{name: "APPLIED", of: func(p api.Property) string { return orUnset(p.Applied) }, more: true},
		{name: "DEFAULT", of: func(p api.Property) string { return orUnset(p.Default) }, more: true},
		{name: "ENVIRONMENT", of: func(p api.Property) string { return p.Env }, more: true},
	}, map[string]any{"staging": conf.Staging})
}

func stagedText(p api.Property) string {
	switch {
	case p.Unsets:
		return "(unset)"
	case p.Staged != nil:
		return *p.Staged
	}
	return "–"
}

func orUnset(s string) string {
	if s == "" {
		return "(unset)"
	}
	return s
}

func effect(live bool) string {
	if live {
		return "at once"
	}
	return "next start"
}

func (c *cli) getProperty(ctx context.Context, l *link, args []string) error {
	wanted, err := config.Lookup(args[0])
	if err != nil {
		return fail(exitNotFound, "property.unknown", "%s", err)
	}
	conf, err := l.Config(ctx)
	if err != nil {
		return err
	}
	for _, p := range conf.Properties {
		if p.Name == wanted.Name {
			return c.one("Property", p, [][]string{
				{"property", p.Name},
				{"help", p.Help},
				{"running", orUnset(p.Running) + "  (" + p.Source + ")"},
				{"applied", orUnset(p.Applied)},
				{"staged", stagedText(p)},
				{"default", orUnset(p.Default)},
				{"takes effect", effect(p.Live)},
				{"environment", p.Env},
				{"also known as", orDash(strings.Join(p.Aliases, ", "))},
			})
		}
	}
	return fail(exitNotFound, "property.unknown", "there is no property %q", args[0])
}

func (c *cli) setProperty(ctx context.Context, l *link, args []string) error {
	name, value, note, err := config.ResolveSet(args)
	var unknown *config.UnknownError
	switch {
	case errors.As(err, &unknown):
		return fail(exitNotFound, "property.unknown", "%s", err)
	case err != nil:
		return fail(exitUsage, "usage", "%s", err)
	}
	staged, err := l.SetProperty(ctx, name, value)
	if err != nil {
		return err
	}
	return c.staged(staged, note)
}

func (c *cli) unsetProperty(ctx context.Context, l *link, args []string) error {
	p, err := config.Lookup(args[0])
	if err != nil {
		return fail(exitNotFound, "property.unknown", "%s", err)
	}
	staged, err := l.UnsetProperty(ctx, p.Name)
	if err != nil {
		return err
	}
	return c.staged(staged, "")
}

func (c *cli) staged(s api.Staged, note string) error {
	if c.flags.output == "json" || c.flags.output == "jsonl" {
		return c.one("Staged", s, nil)
	}
	d := s.Difference
	if note != "" {
		c.say("%s", note)
	}
	if d.Before == d.After {
		fmt.Fprintf(c.out, "%s is %s already; nothing is staged for it\n", d.Property, shown(d.Property, d.After))
	} else {
		fmt.Fprintf(c.out, "Staged  %s  %s -> %s\n", d.Property, shown(d.Property, d.Before), shown(d.Property, d.After))
	}
	if d.Warning != "" {
		c.warn("%s", d.Warning)
	}
	c.say("%s. Next: %s config apply", plural(s.Staging.Count, "staged change"), c.program)
	return nil
}

// shown prints a value for people: an unset store is memory.
func shown(property, value string) string {
	if value == "" && property == config.Store {
		return "(memory)"
	}
	return orUnset(value)
}

func (c *cli) diffCommand() *cobra.Command {
	exitCode := false
	cmd := c.configCall("diff", "Show what is staged against what is applied", 0, 0, func(ctx context.Context, l *link, _ []string) error {
		diff, err := l.ConfigDiff(ctx)
		if err != nil {
			return err
		}
		if err := c.differences(diff.Items); err != nil {
			return err
		}
		if exitCode && len(diff.Items) > 0 {
			return errAttention
		}
		return nil
	})
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 10 when something is staged")
	return cmd
}

func (c *cli) differences(items []api.Difference) error {
	if c.flags.output == "table" {
		if len(items) == 0 {
			c.say("Nothing is staged.")
		}
		rows := make([][]string, 0, len(items))
		for _, d := range items {
			rows = append(rows, []string{"  " + d.Property, shown(d.Property, d.Before), "->", shown(d.Property, d.After), d.Note})
			if d.Warning != "" {
				c.warn("%s: %s", d.Property, d.Warning)
			}
		}
		return c.table(rows)
	}
	return printList(c, "DifferenceList", items, []column[api.Difference]{
		{name: "PROPERTY", of: func(d api.Difference) string { return d.Property }},
		{name: "BEFORE", of: func(d api.Difference) string { return d.Before }},
		{name: "AFTER", of: func(d api.Difference) string { return d.After }},
		{name: "EFFECT", of: func(d api.Difference) string { return effect(d.Live) }},
		{name: "NOTE", of: func(d api.Difference) string { return d.Note }},
	}, nil)
}

func (c *cli) validate(ctx context.Context, l *link, _ []string) error {
	diff, err := l.ConfigDiff(ctx)
	if err != nil {
		return err
	}
	c.say("%s, all valid.", plural(len(diff.Items), "staged change"))
	return nil
}

func (c *cli) apply(ctx context.Context, l *link, _ []string) error {
	applied, err := l.ConfigApply(ctx, 0)
	if err != nil {
		return err
	}
	if c.flags.output != "table" {
		return c.one("Applied", applied, [][]string{{"revision", strconv.FormatUint(applied.Revision, 10)}})
	}
	if len(applied.Differences) == 0 {
		fmt.Fprintln(c.out, "Nothing was staged; nothing changed.")
		return nil
	}
	if err := c.differences(applied.Differences); err != nil {
		return err
	}
	if k := applied.Carried; k != nil {
		place := k.Store.Location
		if place == "" {
			place = "memory"
		}
		fmt.Fprintf(c.out, "Store: %s. It held %s; %s carried over.\n", place, plural(k.Existing, "token"), wereOrWas(k.Carried))
	}
	switch {
	case l.core != nil:
		fmt.Fprintf(c.out, "Applied revision %d. Takes effect on start.\n", applied.Revision)
	case len(applied.RestartNeeded) > 0:
		fmt.Fprintf(c.out, "Applied revision %d. After a restart: %s.\n", applied.Revision, strings.Join(applied.RestartNeeded, ", "))
	default:
		fmt.Fprintf(c.out, "Applied revision %d. It is in effect.\n", applied.Revision)
	}
	return nil
}

func (c *cli) discard(ctx context.Context, l *link, _ []string) error {
	d, err := l.ConfigDiscard(ctx)
	if err != nil {
		return err
	}
	c.say("Dropped %s.", plural(d.Discarded, "staged change"))
	return nil
}

// rollback stages the way back and applies it, once that is agreed.
func (c *cli) rollback(ctx context.Context, l *link, args []string) error {
	var revision uint64
	if len(args) == 1 {
		var err error
		if revision, err = strconv.ParseUint(args[0], 10, 64); err != nil || revision == 0 {
			return fail(exitUsage, "usage", "%q is not a revision", args[0])
		}
	}
	if err := c.agree("Rolling back applies an earlier revision and drops what is staged. Go on?"); err != nil {
		return err
	}
	if _, err := l.ConfigRollback(ctx, revision); err != nil {
		return err
	}
	return c.apply(ctx, l, nil)
}
