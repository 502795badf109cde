package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/authority"
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
				return c.adminRecord(made)
			}),
		reset, c.listAdmins(), c.unlockAdmin(), c.deleteAdmin(),
	)
}

func (c *cli) listAdmins() *cobra.Command {
	return columned(&cobra.Command{
		Use: "list", Short: "List the administrators", Args: exactly(0, 0),
		Example: c.example("manager admin list", "manager admin list -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				admins, err := l.Admins(ctx)
				if err != nil {
					return err
				}
				if c.none(len(admins.Items), "No administrators. Make one: %s admin create", c.self()) {
					return nil
				}
				return printList(c, "AdminList", admins.Items, c.adminColumns(), nil)
			})
		},
	}, c.adminColumns())
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

func (c *cli) deleteAdmin() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Remove an administrator who leaves; ends its sign-ins", Args: exactly(1, 1),
		Long: "The last administrator stays. The name confirms it (--confirm NAME: --yes is not enough). Tokens stay valid, also those\n" +
			"that this administrator made or copied: token list --columns client_id,created_by says whose they are.",
		Example: c.example("manager admin delete maria", "manager admin delete maria --confirm maria"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				admin, err := leaver(ctx, l, args[0])
				if err != nil {
					return err
				}
				if dry {
					return c.dryRun(rehearsed{Would: "Would remove the administrator " + admin.Name + " and end its sign-ins.", Admin: &admin})
				}
				if err := c.typed(ctx, admin.Name, "deleting the administrator "+admin.Name+" cannot be undone", "to delete it"); err != nil {
					return err
				}
				if err := l.DeleteAdmin(ctx, admin.Name); err != nil {
					return err
				}
				c.say("%s is no administrator any more; its sign-ins have ended.", admin.Name)
				return errors.Join(c.adminRecord(admin), c.afterChange(ctx, l))
			})
		},
	}
	cmd.ValidArgsFunction = c.completeAdmin
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say who would be removed")
	return cmd
}

// leaver is the administrator of a name, before anything is asked about it; the last
// one is refused as the server does.
func leaver(ctx context.Context, l *link, name string) (api.Admin, error) {
	name, err := authority.CanonicalName(name)
	if err != nil {
		return api.Admin{}, err
	}
	admins, err := l.Admins(ctx)
	if err != nil {
		return api.Admin{}, err
	}
	i := slices.IndexFunc(admins.Items, func(a api.Admin) bool { return a.Name == name })
	switch {
	case i < 0:
		return api.Admin{}, fail(exitNotFound, "admin.not_found", "There is no administrator of that name.")
	case len(admins.Items) == 1:
		return api.Admin{}, fail(exitConflict, "admin.last", "%s is the last administrator. Add another one first.", name)
	}
	return admins.Items[i], nil
}

// adminRecord gives programs the record as it was; people have been told.
func (c *cli) adminRecord(a api.Admin) error {
	if !c.asJSON() {
		return nil
	}
	return c.one("Admin", a, nil)
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

func (c *cli) adminColumns() []column[api.Admin] {
	return []column[api.Admin]{
		{name: "NAME", of: func(a api.Admin) string { return a.Name }},
		{name: "CREATED", of: func(a api.Admin) string { return c.when(&a.CreatedAt, "–") }, spare: 2},
		{name: "CREATED BY", of: func(a api.Admin) string { return a.CreatedBy }, spare: 1},
		{name: "PASSWORD CHANGED", of: func(a api.Admin) string { return c.when(&a.PasswordChangedAt, "–") }},
	}
}
