package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/bitting"
)

func (c *cli) keyCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the signing keys", Args: exactly(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.reach(cmd.Context(), how{})
			if err != nil {
				return err
			}
			defer l.Close()
			keys, err := l.Keys(cmd.Context())
			if err != nil {
				return err
			}
			return printList(c, "KeyList", keys.Items, []column[api.Key]{
				{name: "NAME", of: func(k api.Key) string { return k.Name }},
				{name: "KEY", of: func(k api.Key) string { return bitting.Blocks(k.ID) }},
				{name: "STATE", of: func(k api.Key) string { return k.State }},
				{name: "ALG", of: func(k api.Key) string { return k.Algorithm }},
				{name: "CREATED", of: func(k api.Key) string { return c.when(&k.CreatedAt, "–") }},
				{name: "SIGNS SINCE", of: func(k api.Key) string { return c.when(k.CurrentSince, "–") }},
				{name: "KID", of: func(k api.Key) string { return k.ID }},
			}, nil)
		},
	}
	return c.group("key", "Show and reset the signing secret", list, c.resetCommand("reset", "End every token and every sign-in at once with a new signing secret"))
}

func (c *cli) supportCommand() *cobra.Command {
	return c.group("support", "Rarely needed operations", c.resetCommand("reset-jwt-key", "End every token and every sign-in at once with a new signing secret"))
}

func (c *cli) resetCommand(use, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: exactly(0, 0),
		Long: short + ".\n\nIt holds from the moment the command returns, whether the server runs or not. No earlier token can be copied\nor restored after it. Rotating the signing secret is recommended every six months.",
		RunE: func(cmd *cobra.Command, _ []string) error { return c.reset(cmd.Context(), reason) },
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return cmd
}

func (c *cli) reset(ctx context.Context, reason string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	l, err := c.reach(ctx, how{lostKeyring: true})
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	c.say("This ends every token (%d) and every sign-in now. There is no overlap.", s.Tokens.Active)
	if err := c.typed(host, "Resetting the signing secret"); err != nil {
		return err
	}
	done, err := l.ResetKeys(ctx, api.ResetKeys{Reason: reason})
	if err != nil {
		return err
	}
	if c.flags.output == "json" || c.flags.output == "jsonl" {
		return errors.Join(c.one("KeysReset", done, nil), c.afterChange(ctx, l))
	}
	c.say("%s signs from now. %s and %s ended.", done.Current.Name, plural(done.TokensRevoked, "token"), plural(done.LoginsEnded, "sign-in"))
	return c.afterChange(ctx, l)
}
