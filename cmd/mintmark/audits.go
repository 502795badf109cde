package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/authority"
)

func (c *cli) auditCommand() *cobra.Command {
	var q api.EventQuery
	cmd := &cobra.Command{
		Use: "list", Short: "List audit entries, newest first", Args: exactly(0, 0),
		Example: c.example("manager audit list --action token.", "manager audit list --target dfsadmin --limit 10 -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := pageSize(q.Limit); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				page, err := l.Audit(ctx, q)
				if err != nil {
					return err
				}
				if len(page.Items) == 0 {
					if err := knownAction(q.Action); err != nil {
						return err
					}
				}
				if c.none(len(page.Items), "No entry matches.") {
					return nil
				}
				return printList(c, "EventList", page.Items, c.eventColumns(), map[string]any{"next_cursor": page.NextCursor, "next_before": page.NextBefore, "total": page.Total})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Actor, "actor", "", "who")
	f.StringVar(&q.Action, "action", "", "what, such as token.created, or a group such as token.")
	f.StringVar(&q.Target, "target", "", "an id or a client ID")
	f.StringVar(&q.Outcome, "outcome", "", "ok or refused")
	f.IntVar(&q.Limit, "limit", 50, "how many at the most")
	f.Uint64Var(&q.Before, "before", 0, "only entries before this number")
	offer(cmd, "outcome", "ok", "refused")
	c.offerEvents(cmd, "action", func(e api.Event) []string {
		group, _, _ := strings.Cut(e.Action, ".")
		return []string{e.Action, group + "."}
	})
	c.offerEvents(cmd, "actor", func(e api.Event) []string { return []string{e.Actor.Name} })
	c.offerEvents(cmd, "target", func(e api.Event) []string { return []string{e.Label} })
	return c.group("audit", "Read, export and check the audit log", c.example("manager audit list", "manager audit verify"),
		columned(cmd, c.eventColumns()), c.followAudit(), c.exportAudit(), c.verifyAudit())
}

func (c *cli) eventColumns() []column[api.Event] {
	narrow, at := c.narrow(), time.RFC3339
	target := func(e api.Event) string { return orDash(e.Label) }
	if narrow {
		at = strings.Replace(at, "T", " ", 1) // RFC 3339, section 5.6: for people
		target = func(e api.Event) string { return orDash(strings.TrimSpace(e.Label + " " + shortTarget(e.Target))) }
	}
	return []column[api.Event]{
		{name: "TIME", of: func(e api.Event) string { return e.At.UTC().Format(at) }},
		{name: "ACTOR", of: func(e api.Event) string { return orDash(e.Actor.Name) }, spare: 2, least: 10},
		{name: "ACTION", of: func(e api.Event) string { return e.Action }},
		{name: "TARGET", of: target, least: 12},
		{name: "TARGET ID", of: func(e api.Event) string { return orDash(e.Target) }, more: narrow},
		{name: "FROM", of: func(e api.Event) string { return orDash(e.From) }, spare: 1},
		{name: "OUTCOME", of: func(e api.Event) string { return e.Outcome }},
		{name: "NUMBER", of: func(e api.Event) string { return strconv.FormatUint(e.Seq, 10) }, more: true},
		{name: "REQUEST", of: func(e api.Event) string { return orDash(e.RequestID) }, more: true},
	}
}

// knownAction refuses what no entry can have, and names what there is: the group that
// was meant, if there is one. It is asked where nothing was found, so that a newer
// server's actions are.
func knownAction(wanted string) error {
	var groups, same []string
	for _, a := range authority.Actions() {
		group, _, _ := strings.Cut(a, ".")
		if wanted == "" || wanted == a || wanted == group+"." {
			return nil
		}
		if groups = append(groups, group+"."); strings.HasPrefix(wanted, group+".") {
			same = append(same, a)
		}
	}
	if len(same) == 0 {
		same = slices.Compact(groups)
	}
	return fail(exitInvalid, "action.unknown", "--action: no entry has %q", wanted).advise("there are: " + strings.Join(same, ", "))
}

// pageSize checks --limit: a page of nothing would read as no limit.
func pageSize(n int) error {
	if n < 1 || n > 500 {
		return fail(exitUsage, "usage", "--limit is from 1 to 500, not %d", n)
	}
	return nil
}

func shortTarget(id string) string {
	if strings.HasPrefix(id, "tok_") {
		return shortID(id)
	}
	return ""
}
