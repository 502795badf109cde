package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/config"
)

func (c *cli) configCommand() *cobra.Command {
	set := c.configCall("set PROPERTY VALUE | set /path/to/file.json", "Stage a value; a path alone sets the token store", 1, 2, c.setProperty)
	set.Example = c.example("manager config properties set api.access.tokens.store /var/lib/mintmark/token.json", "manager config properties set tokens.lifetime.default 30d")
	set.ValidArgsFunction = completeProperty
	get := c.configCall("get PROPERTY", "Show one property", 1, 1, c.getProperty)
	get.Example = c.example("manager config properties get server.listen", "manager config properties get jwt.audience -o json")
	get.ValidArgsFunction = completeOnlyProperty
	unset := c.configCall("unset PROPERTY", "Stage that a property is unset", 1, 1, c.unsetProperty)
	unset.Example = c.example("manager config properties unset tokens.lifetime.max", "manager config properties unset api.access.tokens.store")
	unset.ValidArgsFunction = completeOnlyProperty
	list := columned(c.configCall("list", "List every property with its values", 0, 0, c.listProperties), propertyColumns())
	list.Example = c.example("manager config properties list", "manager config properties list --columns property,running,environment")
	single := c.group("properties", "Read and stage single properties; nothing runs differently until config apply",
		c.example("manager config properties set tokens.lifetime.default 30d", "manager config apply"), list, get, set, unset)
	return c.group("config", "Read, stage and apply properties", c.example("manager config diff", "manager config apply"),
		single,
		columned(c.configCall("show", "Show the applied configuration", 0, 0, c.showConfig), settingColumns()),
		c.diffCommand(),
		c.configCall("validate", "Check all that is staged, together", 0, 0, c.validate),
		c.applyCommand(),
		c.confirmCommand(), c.extendTrialCommand(), c.revertCommand(),
		c.configCall("discard", "Drop what is staged", 0, 0, c.discard),
		c.rollbackCommand(),
	)
}

// configCall is a command that needs the API, running or not.
func (c *cli) configCall(use, short string, least, most int, fn func(context.Context, *link, []string) error) *cobra.Command {
	name, _, _ := strings.Cut(use, " ")
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(least, most), ValidArgsFunction: cobra.NoFileCompletions,
		Example: c.example("manager config "+name, "manager config "+name+" -o json"),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.withConfig(cmd.Context(), args, fn) },
	}
}

// withConfig reaches the configuration also when the token store cannot be
// opened: changing the property may be what mends that.
func (c *cli) withConfig(ctx context.Context, args []string, fn func(context.Context, *link, []string) error) error {
	l, err := c.reach(ctx, how{})
	if err != nil && c.flags.server == "" && withoutTokens(err) {
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
	return printList(c, "PropertyList", conf.Properties, propertyColumns(), map[string]any{"staging": conf.Staging})
}

// setting is one property as the configuration file has it.
type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // applied or default
}

// configured is the configuration of a revision.
type configured struct {
	Items    []setting  `json:"items"`
	Revision uint64     `json:"revision"`
	Trial    *api.Trial `json:"trial"`
}

// properties are all of them, and what is staged.
type properties struct {
	Items   []api.Property `json:"items"`
	Staging api.Staging    `json:"staging"`
}

// showConfig shows what the configuration file says, over the defaults: what a
// start would find, staged or not.
func (c *cli) showConfig(ctx context.Context, l *link, _ []string) error {
	conf, err := l.Config(ctx)
	if err != nil {
		return err
	}
	var items []setting
	for _, p := range conf.Properties {
		s := setting{p.Name, p.Applied, "applied"}
		if s.Value == "" {
			s.Value, s.Source = p.Default, "default"
		}
		items = append(items, s)
	}
	c.note("Revision %d; %s staged, %s waiting for restart.", conf.Staging.Revision, orNothing(conf.Staging.Count), orNothing(conf.Staging.Waiting))
	c.sayTrial(conf.Staging.Trial, c.flags.server)
	return printList(c, "Configuration", items, settingColumns(), map[string]any{"revision": conf.Staging.Revision, "trial": conf.Staging.Trial})
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
	remark := ""
	switch {
	case len(args) == 1:
		c.say("%s", note)
	case args[0] != name:
		remark = "    (alias of " + args[0] + ")"
	}
	if err := c.staged(staged, remark); err != nil {
		return err
	}
	if c.flags.server == "" && name == config.Store {
		if _, err := os.Lstat(value); errors.Is(err, os.ErrNotExist) && filepath.IsAbs(value) {
			c.say("Make the file first: install -m 600 /dev/null %s", value)
		}
		return nil
	}
	return c.afterChange(ctx, l)
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
	if err := c.staged(staged, ""); err != nil {
		return err
	}
	return c.afterChange(ctx, l)
}

func (c *cli) staged(s api.Staged, remark string) error {
	if c.asJSON() {
		return c.one("Staged", s, nil)
	}
	d := s.Difference
	if d.Before == d.After {
		c.tell("%s is %s already; nothing is staged for it%s", d.Property, shown(d.Property, d.After), remark)
	} else {
		c.tell("Staged  %s  %s -> %s%s", d.Property, shown(d.Property, d.Before), shown(d.Property, d.After), remark)
	}
	if d.Warning != "" {
		c.warn("%s", d.Warning)
	}
	if s.Staging.Count > 0 {
		c.say("%s. Next: %s config apply", plural(s.Staging.Count, "staged change"), c.self())
	}
	return nil
}

// shown prints a value for people: an unset store is memory.
func shown(property, value string) string {
	p, err := config.Lookup(property)
	switch {
	case value == "" && property == config.Store:
		return "(memory)"
	case value == "" && err == nil && p.Default != "":
		return p.Default + " (default)"
	}
	return orUnset(value)
}

func (c *cli) diffCommand() *cobra.Command {
	exitCode := false
	cmd := c.configCall("diff", "Show what is staged against what is applied", 0, 0, func(ctx context.Context, l *link, _ []string) error {
		shows := !exitCode || !c.codeAlone()
		diff, err := l.ConfigDiff(ctx)
		if err != nil && shows {
			return errors.Join(c.faulty(ctx, l, err), err)
		}
		if err != nil {
			return err
		}
		c.sayTrial(diff.Staging.Trial, c.flags.server)
		if shows {
			if err := c.differences(diff.Items); err != nil {
				return err
			}
		}
		if exitCode && len(diff.Items) > 0 {
			return errAttention
		}
		return nil
	})
	cmd.Long = "What is staged is checked together; if it does not go together it is shown all the same, and the exit code is 7, with\n" +
		"--exit-code too: nothing of it could be applied. With --exit-code it is 10 when something is staged that could be, else 0."
	cmd.Example = c.example("manager config diff", "manager config diff --exit-code -q")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 10 when something is staged that can be applied")
	return columned(cmd, differenceColumns())
}

// faulty shows what is staged although something about it is wrong.
func (c *cli) faulty(ctx context.Context, l *link, wrong error) error {
	if classify(wrong).exit != exitInvalid {
		return nil
	}
	conf, err := l.Config(ctx)
	if err != nil {
		return err
	}
	var items []api.Difference
	for _, p := range conf.Properties {
		d := api.Difference{Property: p.Name, Before: p.Applied, Live: p.Live}
		if p.Staged != nil {
			d.After = *p.Staged
		}
		if p.Unsets || p.Staged != nil {
			items = append(items, d)
		}
	}
	return c.differences(items)
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
		return c.table(rows, 0, -1)
	}
	return printList(c, "DifferenceList", items, differenceColumns(), nil)
}

func (c *cli) validate(ctx context.Context, l *link, _ []string) error {
	diff, err := l.ConfigDiff(ctx)
	if err != nil {
		return err
	}
	if c.asJSON() {
		return c.differences(diff.Items)
	}
	c.say("%s, all valid.", plural(len(diff.Items), "staged change"))
	return nil
}

// applied says what an apply did.
func (c *cli) applied(ctx context.Context, l *link, applied api.Applied) error {
	if k := applied.Carried; k != nil && k.Missing > 0 {
		defer c.warnMissing(k.Missing)
	}
	if len(applied.Differences) > 0 {
		defer func() { _ = c.afterChange(ctx, l) }() // a warning at the most
	}
	if c.flags.output != "table" {
		return c.one("Applied", applied, [][]string{{"revision", strconv.FormatUint(applied.Revision, 10)}})
	}
	if len(applied.Differences) == 0 {
		c.tell("Nothing was staged; nothing changed.")
		return nil
	}
	if err := c.differences(applied.Differences); err != nil {
		return err
	}
	if k := applied.Carried; k != nil {
		switch {
		case k.Store.Persistent:
			c.tell("Store: %s. It held %s; %s carried over.", k.Store.Location, plural(k.Existing, "token"), wereOrWas(k.Carried))
			if k.Reapplied > 0 {
				c.tell("It is older than the audit log: %s made since was applied to it again.", plural(k.Reapplied, "change"))
			}
		case l.core != nil: // the memory of this process ends with it
			c.tell("Store: memory. %s left behind in the file that was the store.", wereOrWas(k.Carried))
		default:
			c.tell("Store: memory. %s carried over; a restart loses them.", wereOrWas(k.Carried))
		}
	}
	switch {
	case l.core != nil:
		c.tell("Applied revision %d. Takes effect on start.", applied.Revision)
	case len(applied.RestartNeeded) > 0:
		c.tell("Applied revision %d. After a restart: %s.", applied.Revision, strings.Join(applied.RestartNeeded, ", "))
	default:
		c.tell("Applied revision %d. It is in effect.", applied.Revision)
	}
	c.sayTrial(applied.Trial, c.place(ctx, l, applied.Differences))
	for _, d := range applied.Differences {
		if d.Property == config.Algorithm {
			c.say("The key that signs keeps its algorithm. The next key has the new one, and signs from the next rotation on.")
		}
	}
	return nil
}

func (c *cli) discard(ctx context.Context, l *link, _ []string) error {
	d, err := l.ConfigDiscard(ctx)
	if err != nil {
		return err
	}
	c.say("Dropped %s.", plural(d.Discarded, "staged change"))
	if c.asJSON() {
		err = c.one("Discarded", d, nil)
	}
	return errors.Join(err, c.afterChange(ctx, l))
}

func propertyColumns() []column[api.Property] {
	return []column[api.Property]{
		{name: "PROPERTY", of: func(p api.Property) string { return p.Name }},
		{name: "RUNNING", of: func(p api.Property) string { return orUnset(p.Running) }},
		{name: "SOURCE", of: func(p api.Property) string { return p.Source }, spare: 2},
		{name: "STAGED", of: stagedText},
		{name: "EFFECT", of: func(p api.Property) string { return effect(p.Live) }, spare: 1},
		{name: "APPLIED", of: func(p api.Property) string { return orUnset(p.Applied) }, more: true},
		{name: "DEFAULT", of: func(p api.Property) string { return orUnset(p.Default) }, more: true},
		{name: "ENVIRONMENT", of: func(p api.Property) string { return p.Env }, more: true},
	}
}

func settingColumns() []column[setting] {
	return []column[setting]{
		{name: "PROPERTY", of: func(s setting) string { return s.Name }},
		{name: "VALUE", of: func(s setting) string { return shown(s.Name, s.Value) }},
		{name: "SOURCE", of: func(s setting) string { return s.Source }, spare: 1},
	}
}

func differenceColumns() []column[api.Difference] {
	return []column[api.Difference]{
		{name: "PROPERTY", of: func(d api.Difference) string { return d.Property }},
		{name: "BEFORE", of: func(d api.Difference) string { return d.Before }},
		{name: "AFTER", of: func(d api.Difference) string { return d.After }},
		{name: "EFFECT", of: func(d api.Difference) string { return effect(d.Live) }},
		{name: "NOTE", of: func(d api.Difference) string { return d.Note }},
	}
}
