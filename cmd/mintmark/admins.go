package main

import (
	"context"

	"github.com/spf13/cobra"

	"mintmark/api"
)

func (c *cli) adminCommand() *cobra.Command {
	reset := c.passwordCall("reset-password [NAME]", "Give an administrator (admin) a new password; ends its sign-ins",
		c.example("manager admin reset-password", "manager admin reset-password maria --password-file password.txt"),
		func(ctx context.Context, l *link, name, password string) error {
			err := l.ResetPassword(ctx, name, api.NewPassword{Password: api.NewSecret(password)})
			if err == nil {
				c.say("%s has a new password; its sign-ins have ended.", name)
			}
			return err
		})
	reset.ValidArgsFunction = c.completeAdmin
	return c.group("admin", "Manage administrators", c.example("manager admin list", "manager admin create maria"),
		c.passwordCall("create [NAME]", "Make an administrator (admin)",
			c.example("manager admin create maria", "manager admin create maria --password-file - < password.txt"),
			func(ctx context.Context, l *link, name, password string) error {
				made, err := l.CreateAdmin(ctx, api.Credentials{Username: name, Password: api.NewSecret(password)})
				if err != nil {
					return err
				}
				c.say("Made the administrator %s.", made.Name)
				if c.asJSON() {
					return c.one("Admin", made, nil)
				}
				return nil
			}),
		reset, c.listAdmins(), c.unlockAdmin(),
	)
}

func (c *cli) listAdmins() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the administrators", Args: exactly(0, 0),
		Example: c.example("manager admin list", "manager admin list -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				admins, err := l.Admins(ctx)
				if err != nil {
					return err
				}
				return printList(c, "AdminList", admins.Items, []column[api.Admin]{
					{name: "NAME", of: func(a api.Admin) string { return a.Name }},
					{name: "CREATED", of: func(a api.Admin) string { return c.when(&a.CreatedAt, "–") }, spare: 2},
					{name: "CREATED BY", of: func(a api.Admin) string { return a.CreatedBy }, spare: 1},
					{name: "PASSWORD CHANGED", of: func(a api.Admin) string { return c.when(&a.PasswordChangedAt, "–") }},
				}, nil)
			})
		},
	}
}

func (c *cli) unlockAdmin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unlock [NAME]", Short: "Lift the pause after failed sign-ins", Args: exactly(0, 1),
		Example: c.example("manager admin unlock", "manager admin unlock maria"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				name := adminName(args)
				if err := l.UnlockAdmin(ctx, name); err != nil {
					return err
				}
				c.say("%s may sign in again.", name)
				return c.afterChange(ctx, l)
			})
		},
	}
	cmd.ValidArgsFunction = c.completeAdmin
	return cmd
}

// passwordCall is a command that takes a new password from a file or a prompt,
// never from its arguments.
func (c *cli) passwordCall(use, short, example string, fn func(ctx context.Context, l *link, name, password string) error) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: exactly(0, 1), Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := c.password(cmd.Context(), file)
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				if err := fn(ctx, l, adminName(args), password); err != nil {
					return err
				}
				return c.afterChange(ctx, l)
			})
		},
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.Flags().StringVar(&file, "password-file", "", "read the password from this file (- is the input)")
	return cmd
}

func adminName(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	return "admin"
}
