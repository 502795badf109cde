package main

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/home"
)

func (c *cli) doctorCommand() *cobra.Command {
	return columned(&cobra.Command{
		Use: "doctor", Short: "Check everything and say what to do; exit code 10 when something needs attention", Args: exactly(0, 0),
		Example: c.example("manager doctor", "manager doctor -q || echo look at this"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := c.examine(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.printChecks(checks); err != nil {
				return err
			}
			for _, k := range checks {
				if !k.OK || k.Warning {
					return errAttention
				}
			}
			return nil
		},
	}, checkColumns())
}

func (c *cli) printChecks(checks []api.Check) error {
	if c.codeAlone() {
		return nil
	}
	return printList(c, "CheckList", checks, checkColumns(), nil)
}

func checkColumns() []column[api.Check] {
	return []column[api.Check]{
		{name: "CHECK", of: func(k api.Check) string { return k.Name }},
		{name: "STATE", of: checkWord, word: true},
		{name: "FACT", of: func(k api.Check) string { return k.Fact }},
		{name: "WHAT TO DO", of: func(k api.Check) string { return orDash(k.Fix) }, below: true},
	}
}

// examine collects the checks. What cannot be opened is a finding, and what can
// be checked without it is checked.
func (c *cli) examine(ctx context.Context) ([]api.Check, error) {
	var found []api.Check
	l, err := c.reach(ctx, how{})
	if err != nil {
		f := classify(err)
		if !withoutTokens(err) || c.flags.server != "" {
			return nil, err
		}
		found = []api.Check{{Name: "start", Fact: strings.TrimSpace(f.message), Fix: cmp.Or(f.hint, "Do what it says, or put a good copy of that file back.")}}
		if l, err = c.reach(ctx, how{noTokens: true}); err != nil {
			return found, nil //nolint:nilerr // it is the finding
		}
	}
	defer l.Close()
	s, err := l.Status(ctx)
	if err != nil {
		return nil, err
	}
	s.Checks = append(s.Checks, c.firstAdmin(ctx, l, s)...)
	switch {
	case len(found) > 0: // opened without its tokens: nothing is known of them
		s.Checks = slices.DeleteFunc(s.Checks, func(k api.Check) bool { return strings.HasPrefix(k.Name, "token") })
	case l.core != nil:
		found = []api.Check{{Name: "server", Warning: true, OK: true, Fact: "not running", Fix: "manager start"}}
	}
	found = append(found, s.Checks...)
	for i := range found {
		found[i].Fix = c.told(found[i].Fix)
	}
	return found, nil
}

func checkWord(k api.Check) string {
	switch {
	case !k.OK:
		return "problem"
	case k.Warning:
		return "attention"
	}
	return "ok"
}

// firstAdmin is there only while nobody can sign in: how somebody can.
func (c *cli) firstAdmin(ctx context.Context, l *link, s api.Status) []api.Check {
	admins, err := l.Admins(ctx)
	if err != nil || len(admins.Items) > 0 {
		return nil // a store that does not answer is told of already
	}
	check := api.Check{Name: noAdmins, OK: true, Fact: "none yet, so nobody can sign in to the console", Fix: "Make one: " + c.self() + " admin create"}
	code := home.Dir(s.Home).Code()
	if _, err := os.Stat(code); err == nil && c.flags.server == "" && l.core == nil {
		check.Fact = "none yet; the one-time code of the first sign-in is in " + code
		check.Fix = "Open " + s.URL + " and enter it, or make one: " + c.self() + " admin create"
	}
	return []api.Check{check}
}

const noAdmins = "administrators"
