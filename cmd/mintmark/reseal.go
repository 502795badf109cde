package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

func (c *cli) resealCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reseal", Short: "Seal the secrets of a fleet's keys under the first line of the sealing file", Args: exactly(0, 0),
		Long: "For a fleet whose nodes all have the new key-encryption key as the first line of their file. The file is read anew, and\n" +
			"the secrets of all keys that are not retired are sealed in one commit; no token and no sign-in changes. Then the old\n" +
			"line can be taken out of the file on every node.",
		Example: c.example("manager key reseal", "manager key reseal -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				done, err := l.ResealKeys(ctx)
				if err != nil {
					return err
				}
				c.say("%s sealed anew, under the first line of the sealing file. No other line of it is needed any more.", plural(done.Keys, "secret"))
				if c.asJSON() {
					err = c.one("KeysResealed", done, nil)
				}
				return errors.Join(err, c.afterChange(ctx, l))
			})
		},
	}
}
