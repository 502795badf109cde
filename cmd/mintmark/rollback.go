package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mintmark/api"
)

func (c *cli) rollbackCommand() *cobra.Command {
	var trial string
	var forGood bool
	cmd := c.configCall("rollback [REVISION]", "Apply an earlier revision again; without a number the one before", 0, 1, func(ctx context.Context, l *link, args []string) error {
		length, err := c.trialLength(trial, forGood)
		if err != nil {
			return err
		}
		return c.rollback(ctx, l, args, length)
	})
	cmd.Long = "Without a number it is the newest revision that differs from what is applied and was not reverted. Like config apply, it is on\n" +
		"trial for 10 minutes with --server, and for good on the machine itself, unless told otherwise."
	cmd.Example = c.example("manager config rollback", "manager config rollback 14 --yes")
	cmd.ValidArgsFunction = c.completeRevision
	trialFlags(cmd, &trial, &forGood)
	return cmd
}

// rollback applies an earlier revision again, once that is agreed.
func (c *cli) rollback(ctx context.Context, l *link, args []string, trial string) error {
	conf, err := l.Config(ctx)
	if err != nil {
		return err
	}
	to, err := earlier(conf, args)
	if err != nil {
		return err
	}
	if conf.Staging.Trial == nil { // else it is refused by the server, which says why
		staged := ""
		if n := conf.Staging.Count; n > 0 {
			staged = " and drops " + plural(n, "staged change")
		}
		doing := "rolling back to revision " + strconv.FormatUint(to.Revision, 10)
		question := fmt.Sprintf("Rolling back applies revision %d again (%s, %s)%s. Go on?", to.Revision, c.until(to.At), orDash(to.By), staged)
		if err := c.agree(ctx, doing, question); err != nil {
			return err
		}
	}
	applied, err := l.ConfigRollbackAs(ctx, api.Rollback{Revision: to.Revision, Trial: trial})
	if err != nil {
		return err
	}
	return c.applied(ctx, l, applied)
}

// earlier is the revision that is meant: the named one, or the one before.
func earlier(conf api.Configuration, args []string) (api.PastRevision, error) {
	var revision uint64
	if len(args) == 1 {
		var err error
		if revision, err = strconv.ParseUint(args[0], 10, 64); err != nil || revision == 0 {
			return api.PastRevision{}, fail(exitUsage, "usage", "%q is not a revision", args[0])
		}
	}
	var there []string
	for _, r := range conf.History {
		if r.Revision == revision || revision == 0 && r.Before {
			return r, nil
		}
		if r.Revision != conf.Staging.Revision {
			there = append(there, strconv.FormatUint(r.Revision, 10))
		}
	}
	none := fail(exitNotFound, "config.no_revision", "The history does not hold that revision.")
	switch {
	case len(there) == 0:
		none.hint = "there is no earlier revision"
	case revision == 0:
		none.message, none.hint = "No earlier revision differs from what is applied.", "there are: "+strings.Join(there, ", ")
	default:
		none.hint = "there are: " + strings.Join(there, ", ")
	}
	return api.PastRevision{}, none
}

// completeRevision offers the revisions to go back to, newest first.
func (c *cli) completeRevision(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.asked(cmd, func(ctx context.Context, l *link) ([]string, error) {
		conf, err := l.Config(ctx)
		var out []string
		for _, r := range conf.History {
			if r.Revision == conf.Staging.Revision {
				continue
			}
			out = append(out, fmt.Sprintf("%d\t%s, %s", r.Revision, r.At.UTC().Format("2006-01-02 15:04 UTC"), r.By))
		}
		return out, err
	}), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
