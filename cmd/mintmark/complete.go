package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/config"
)

// completing is how long completion may take; then it offers nothing.
const completing = 500 * time.Millisecond

// offer completes a flag from fixed values.
func offer(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// offerTokens completes a flag from what tokens have.
func (c *cli) offerTokens(cmd *cobra.Command, flag string, of func(api.Token) []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.known(cmd, api.TokenQuery{Limit: 500}, of), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeToken offers the names by which a token can be meant. A state of ""
// is every state but deleted; of the deleted those that can come back are offered.
func (c *cli) completeToken(state string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := c.known(cmd, api.TokenQuery{State: state, Limit: 500}, func(t api.Token) []string {
			if state == "deleted" && t.RestorableUntil == nil {
				return nil
			}
			return []string{t.ClientID, t.ID + "\t" + t.ClientID}
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// known asks a running server for its tokens: records, never a token's text.
func (c *cli) known(cmd *cobra.Command, q api.TokenQuery, of func(api.Token) []string) []string {
	return c.ask(cmd, func(ctx context.Context, l *link) ([]string, error) {
		page, err := l.Tokens(ctx, q)
		var out []string
		for _, t := range page.Items {
			out = append(out, of(t)...)
		}
		return out, err
	})
}

// completeKey offers the name of the key that is rotated away, for all that is
// done with a key by its name is done with that one.
func (c *cli) completeKey(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.ask(cmd, func(ctx context.Context, l *link) ([]string, error) {
		keys, err := l.Keys(ctx)
		var out []string
		for _, k := range keys.Items {
			if k.State == "previous" {
				out = append(out, k.Name+"\t"+k.State)
			}
		}
		return out, err
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeAdmin offers the names of administrators.
func (c *cli) completeAdmin(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.ask(cmd, func(ctx context.Context, l *link) ([]string, error) {
		admins, err := l.Admins(ctx)
		var out []string
		for _, a := range admins.Items {
			out = append(out, a.Name)
		}
		return out, err
	}), cobra.ShellCompDirectiveNoFileComp
}

// offerEvents completes a flag from what the latest audit entries have.
func (c *cli) offerEvents(cmd *cobra.Command, flag string, of func(api.Event) []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.ask(cmd, func(ctx context.Context, l *link) ([]string, error) {
			page, err := l.Audit(ctx, api.EventQuery{Limit: pageOfTrail})
			var out []string
			for _, e := range page.Items {
				out = append(out, of(e)...)
			}
			return out, err
		}), cobra.ShellCompDirectiveNoFileComp
	})
}

// ask is asked, in order of the alphabet and each once.
func (c *cli) ask(cmd *cobra.Command, offers func(context.Context, *link) ([]string, error)) []string {
	out := c.asked(cmd, offers)
	slices.Sort(out)
	return slices.Compact(out)
}

// asked asks a running server; it offers nothing when that fails or takes too long.
func (c *cli) asked(cmd *cobra.Command, offers func(context.Context, *link) ([]string, error)) []string {
	c.flags.quiet, c.flags.verbose, c.flags.timeout = true, false, completing
	ctx, cancel := context.WithTimeout(cmd.Context(), completing)
	defer cancel()
	if c.settle(cmd) != nil {
		return nil
	}
	l, err := c.connect(ctx)
	if err != nil {
		return nil
	}
	found, err := offers(ctx, l)
	if err != nil {
		return nil
	}
	var out []string
	for _, text := range found {
		out = append(out, clean(text))
	}
	return out
}

// columned notes the columns that a command's list has, for their completion.
func columned[T any](cmd *cobra.Command, columns []column[T]) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = make(map[string]string)
	}
	cmd.Annotations["columns"] = strings.Join(namesOf(columns), ",")
	return cmd
}

// completeColumns offers the columns of a command's list that are not typed yet, one
// after the other.
func completeColumns(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	var out []string
	for name := range strings.SplitSeq(cmd.Annotations["columns"], ",") {
		if name != "" && !slices.Contains(strings.Split(before, ","), name) {
			out = append(out, before+name)
		}
	}
	return out, directive
}

// completeCommand offers the commands below those that are given.
func completeCommand(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	found, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, sub := range found.Commands() {
		if sub.IsAvailableCommand() {
			out = append(out, sub.Name()+"\t"+sub.Short)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeProperty offers the names of properties, and then the values that a
// property with few of them takes.
func completeProperty(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		var names []string
		for _, p := range config.Catalogue() {
			names = append(names, p.Name+"\t"+p.Help)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	case 1:
		p, err := config.Lookup(args[0])
		switch {
		case err != nil || p.Secret:
		case p.Type == "path" || p.Type == "store":
			return nil, cobra.ShellCompDirectiveDefault
		case len(p.Choices) > 0:
			return p.Choices, cobra.ShellCompDirectiveNoFileComp
		case p.Default != "":
			return []string{p.Default + "\tthe default"}, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeOnlyProperty offers names and no values.
func completeOnlyProperty(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeProperty(cmd, args, typed)
}
