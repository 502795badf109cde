package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/bitting"
	"mintmark/internal/signing"
)

func (c *cli) keyCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the signing keys", Args: exactly(0, 0), Example: c.example("manager key list", "manager key list -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				keys, err := l.Keys(ctx)
				if err != nil {
					return err
				}
				return printList(c, "KeyList", keys.Items, c.keyColumns(keys.Items), nil)
			})
		},
	}
	return c.group("key", "Show, rotate and reset the signing secret", c.example("manager key rotate --overlap 14d", "manager key evidence"),
		append(c.rotationCommands(), columned(list, c.keyColumns(nil)), c.resealCommand(), c.resetCommand("key", "reset"))...)
}

func (c *cli) keyColumns(keys []api.Key) []column[api.Key] {
	columns := []column[api.Key]{
		{name: "NAME", of: func(k api.Key) string { return k.Name }},
		{name: "KEY", of: func(k api.Key) string { return bitting.Blocks(k.ID) }, spare: 2},
		{name: "STATE", of: func(k api.Key) string { return k.State }},
		{name: "ALG", of: func(k api.Key) string { return k.Algorithm }, spare: 3},
		{name: "CREATED", of: func(k api.Key) string { return c.when(&k.CreatedAt, "–") }},
		{name: "SIGNS SINCE", of: func(k api.Key) string { return c.when(k.CurrentSince, "–") }},
		{name: "UNTIL", of: func(k api.Key) string { return c.when(cmp.Or(k.Until, k.RetiredAt), "–") }},
		{name: "TRIAL UNTIL", of: func(k api.Key) string { return c.when(k.TrialUntil, "–") }},
		{name: "KID", of: func(k api.Key) string { return k.ID }, spare: 1},
	}
	// Programs find the same columns always, people those that say something.
	if c.across() > 0 && c.flags.columns == "" && !slices.ContainsFunc(keys, func(k api.Key) bool { return k.TrialUntil != nil }) {
		columns = slices.DeleteFunc(columns, func(col column[api.Key]) bool { return col.name == "TRIAL UNTIL" })
	}
	return columns
}

func (c *cli) supportCommand() *cobra.Command {
	return c.group("support", "Rarely needed operations", c.example("manager support reset-jwt-key", "manager support reset-jwt-key --dry-run"),
		c.resetCommand("support", "reset-jwt-key"), c.bundleCommand())
}

func (c *cli) resetCommand(group, use string) *cobra.Command {
	var reason string
	var dry bool
	cmd := &cobra.Command{
		Use: use, Short: "End every token and every sign-in at once with a new signing secret", Args: exactly(0, 0),
		Long:    "It holds from the moment the command returns, whether the server runs or not. No earlier token can be copied\nor restored after it. The host name confirms it (--confirm). Resetting is recommended every six months.",
		Example: c.example("manager "+group+" "+use, "manager "+group+" "+use+" --confirm \"$(hostname)\" --reason \"six months\""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.reset(cmd.Context(), reason, dry) },
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would end")
	return cmd
}

func (c *cli) reset(ctx context.Context, reason string, dry bool) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	confirm := func() error {
		return c.typed(ctx, host, "resetting the signing secret ends every token", "to continue")
	}
	l, err := c.reach(ctx, how{})
	if errors.Is(err, signing.ErrLost) && !dry {
		// A new keyring is made only for somebody who means it.
		c.say("The keyring is lost: no token can be verified any more. A new one ends every token and every sign-in for good.")
		if err := confirm(); err != nil {
			return err
		}
		confirm = func() error { return nil }
		l, err = c.reach(ctx, how{lostKeyring: true})
	}
	if err != nil {
		return err
	}
	return errors.Join(c.resetOver(ctx, l, confirm, api.ResetKeys{Reason: reason}, dry), l.Close())
}

func (c *cli) resetOver(ctx context.Context, l *link, confirm func() error, in api.ResetKeys, dry bool) error {
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if len(s.Unknown) > 0 {
		c.say("This ends every token and every sign-in now. There is no overlap.")
	} else {
		c.say("This ends every token (%d) and every sign-in (%d) now. There is no overlap.", s.Tokens.Active, s.Logins)
	}
	c.say("Gentler: %s key rotate --overlap 14d", c.self())
	if dry {
		r := rehearsed{Would: "Would end them and sign with a new secret."}
		if len(s.Unknown) == 0 {
			r.Counts = map[string]int{"tokens_revoked": s.Tokens.Active, "logins_ended": s.Logins}
		}
		return c.dryRun(r)
	}
	if err := confirm(); err != nil {
		return err
	}
	done, err := l.ResetKeys(ctx, in)
	if err != nil {
		return err
	}
	c.say("%s signs from now. %s and %s ended.", done.Current.Name, plural(done.TokensRevoked, "token"), plural(done.LoginsEnded, "sign-in"))
	if c.asJSON() {
		err = c.one("KeysReset", done, nil)
	}
	return errors.Join(err, c.afterChange(ctx, l))
}
