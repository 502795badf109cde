package main

import (
	"context"

	"github.com/spf13/cobra"

	"mintmark/api"
)

func (c *cli) adminCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the administrators", Args: exactly(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.reach(cmd.Context(), how{})
			if err != nil {
				return err
			}
			defer l.Close()
			admins, err := l.Admins(cmd.Context())
			if err != nil {
				return err
			}
			return printList(c, "AdminList", admins.Items, []column[api.Admin]{
				{name: "NAME", of: func(a api.Admin) string { return a.Name }},
				{name: "CREATED", of: func(a api.Admin) string { return c.when(&a.CreatedAt, "–") }},
				{name: "CREATED BY", of: func(a api.Admin) string { return a.CreatedBy }},
				{name: "PASSWORD CHANGED", of: func(a api.Admin) string { return c.when(&a.PasswordChangedAt, "–") }},
			}, nil)
		},
	}
	return c.group("admin", "Manage administrators",
		c.passwordCall("create [NAME]", "Make an administrator (admin)", func(ctx context.Context, l *link, name, password string) error {
			made, err := l.CreateAdmin(ctx, api.Credentials{Username: name, Password: api.NewSecret(password)})
			if err == nil {
				c.say("Made the administrator %s.", made.Name)
			}
			return err
		}),
		c.passwordCall("reset-password [NAME]", "Give an administrator (admin) a new password; ends its sign-ins", func(ctx context.Context, l *link, name, password string) error {
			err := l.ResetPassword(ctx, name, api.NewPassword{Password: api.NewSecret(password)})
			if err == nil {
				c.say("%s has a new password; its sign-ins have ended.", name)
			}
			return err
		}),
		list,
		&cobra.Command{
			Use: "unlock [NAME]", Short: "Lift the pause after failed sign-ins", Args: exactly(0, 1),
			RunE: func(cmd *cobra.Command, args []string) error {
				l, err := c.reach(cmd.Context(), how{})
				if err != nil {
					return err
				}
				defer l.Close()
				name := adminName(args)
				if err := l.UnlockAdmin(cmd.Context(), name); err != nil {
					return err
				}
				c.say("%s may sign in again.", name)
				return nil
			},
		},
	)
}

// passwordCall is a command that takes a new password from a file or a prompt,
// never from its arguments.
func (c *cli) passwordCall(use, short string, fn func(ctx context.Context, l *link, name, password string) error) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: exactly(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := c.password(file)
			if err != nil {
				return err
			}
			l, err := c.reach(cmd.Context(), how{})
			if err != nil {
				return err
			}
			defer l.Close()
			return fn(cmd.Context(), l, adminName(args), password)
		},
	}
	cmd.Flags().StringVar(&file, "password-file", "", "read the password from this file (- is the input)")
	return cmd
}

func adminName(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	return "admin"
}
