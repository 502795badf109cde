package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/bitting"
)

// replaceToken gives a token a successor.
func (c *cli) replaceToken() *cobra.Command {
	var in api.ReplaceToken
	var outFile string
	var undo, dry bool
	cmd := c.tokenCall("replace TOKEN", "Make a successor that inherits everything; the old token works on for an overlap", "", func(ctx context.Context, l *link, name string) error {
		if undo && (in != api.ReplaceToken{} || outFile != "") {
			return fail(exitUsage, "usage", "--undo makes no token: --overlap, --retire-when-seen and --out-file do not go with it")
		}
		t, err := c.live(ctx, l, name)
		if err != nil {
			return err
		}
		if undo {
			return c.undoReplace(ctx, l, t, dry)
		}
		if dry {
			c.inUse(t)
			return c.dryRun(rehearsed{Would: fmt.Sprintf("Would make a successor of %s of %s.", shortID(t.ID), t.ClientID), Token: &t})
		}
		return c.replace(ctx, l, t, in, outFile)
	})
	cmd.Flags().StringVar(&in.Overlap, "overlap", "", "how long the old token works on, such as 1h or 7d; 0s ends it at once; a day without it")
	cmd.Flags().BoolVar(&in.RetireWhenSeen, "retire-when-seen", false, "end the overlap earlier, once the new token was seen from everywhere the old one came from")
	cmd.Flags().StringVar(&outFile, "out-file", "", "write the new token to a new file (0600) instead of printing it")
	cmd.Flags().BoolVar(&undo, "undo", false, "take a replacement back while its overlap lasts")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be replaced, and who uses it")
	offer(cmd, "overlap", "0s", "1h", "24h", "7d")
	return cmd
}

// undoReplace takes the replacement back by which t went, or came: a client ID
// means the successor.
func (c *cli) undoReplace(ctx context.Context, l *link, t api.Token, dry bool) error {
	if t.ReplacedBy == "" && t.Replaces != "" {
		if before, err := l.Token(ctx, t.Replaces); err == nil && before.ReplacedBy == t.ID {
			t = before
		}
	}
	if t.ReplacedBy != "" && t.State == "active" { // else it is refused by the server, which says why
		if err := c.withoutSuccessor(ctx, l, t, dry); err != nil || dry {
			return err
		}
	}
	t, err := l.UndoReplace(ctx, t.ID)
	if err != nil {
		return err
	}
	c.say("%s of %s works on; its successor is deleted.", shortID(t.ID), t.ClientID)
	return errors.Join(c.record(t), c.afterChange(ctx, l))
}

// withoutSuccessor says what a successor still does, and asks for the name of one
// in use before it goes.
func (c *cli) withoutSuccessor(ctx context.Context, l *link, t api.Token, dry bool) error {
	next, err := l.Token(ctx, t.ReplacedBy)
	if err != nil && classify(err).exit != exitNotFound {
		return err
	}
	used := c.inUse(next)
	switch {
	case dry:
		return c.dryRun(rehearsed{
			Would: fmt.Sprintf("Would delete %s, and let %s of %s work on.", shortID(t.ReplacedBy), shortID(t.ID), t.ClientID), Token: &t,
		})
	case used:
		c.say("Those requests will be refused at once; %s works on.", shortID(t.ID))
		return c.typed(ctx, t.ClientID, shortID(next.ID)+" is in use", "to delete it")
	case c.flags.confirm != "": // a name that is not this token's is no consent
		return c.typed(ctx, t.ClientID, "", "")
	}
	return nil
}

func (c *cli) replace(ctx context.Context, l *link, old api.Token, in api.ReplaceToken, outFile string) error {
	if in.Overlap == "0s" {
		if err := c.confirmDelete(ctx, old); err != nil {
			return err
		}
	}
	h, err := c.hand(outFile)
	if err != nil {
		return err
	}
	issued, err := l.ReplaceToken(ctx, old.ID, in)
	if err != nil {
		return h.drop(err)
	}
	c.say("Created %s  %s  %s", shortID(issued.ID), bitting.Blocks(issued.ID), c.summary(issued.Token))
	if after, err := l.Token(ctx, old.ID); err == nil && after.State == "replaced" {
		c.say("%s has ended.", shortID(old.ID))
	} else if err == nil && after.EndsAt != nil {
		c.say("%s works until %s. Take it back: %s", shortID(old.ID), c.until(*after.EndsAt), fmt.Sprintf("%s token replace --undo %s", c.self(), shortID(old.ID)))
	}
	if err := h.over(issued); err != nil {
		return err
	}
	return c.afterChange(ctx, l)
}
