package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/bitting"
)

func (c *cli) createToken() *cobra.Command {
	var in api.CreateToken
	var expires, outFile string
	var dry bool
	cmd := &cobra.Command{
		Use: "create", Short: "Create a token and print it", Args: exactly(0, 0),
		Example: c.example("manager token create --client-id dfsadmin --role admin --expires 90d",
			"T=$(manager token create --client-id ci --role user --tag team:data -q)"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.ClientID == "" {
				return fail(exitUsage, "usage", "whom does the token speak for? Give --client-id")
			}
			if !strings.HasPrefix(expires, "-") && strings.ContainsAny(expires, "-T:") {
				in.ExpiresAt = expires
			} else {
				in.Lifetime = expires
			}
			return c.withTokens(cmd.Context(), func(ctx context.Context, l *link) error {
				if dry {
					return c.previewToken(ctx, l, in)
				}
				return c.create(ctx, l, in, outFile)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.ClientID, "client-id", "", "whom the token speaks for (required)")
	f.StringVar(&in.Role, "role", "user", "admin, user or verifier")
	f.StringArrayVar(&in.Tags, "tag", nil, "a `name:value` label of a user token; may be given again")
	f.StringVar(&expires, "expires", "", "a lifetime (90d, 12h), a time (RFC 3339), or never; the default is the policy's")
	f.StringVar(&in.Description, "description", "", "what it is for")
	f.StringVar(&in.Contact, "contact", "", "whom to ask about it")
	f.StringArrayVar(&in.AllowedAddresses, "allow", nil, "an address `range` it may be used from; may be given again")
	f.StringArrayVar(&in.Audience, "audience", nil, "the `audience` it is for; the server's own without it; may be given again")
	f.StringVar(&outFile, "out-file", "", "write the token to a new file (0600) instead of printing it")
	f.BoolVar(&dry, "dry-run", false, "only check it and say what it would be")
	offer(cmd, "role", "admin", "user", "verifier")
	offer(cmd, "expires", "12h", "30d", "90d", "180d", "never")
	c.offerTokens(cmd, "tag", func(t api.Token) []string { return t.Tags })
	c.offerTokens(cmd, "client-id", func(t api.Token) []string { return []string{t.ClientID} })
	return cmd
}

func (c *cli) create(ctx context.Context, l *link, in api.CreateToken, outFile string) error {
	h, err := c.hand(outFile)
	if err != nil {
		return err
	}
	issued, err := l.CreateToken(ctx, in, newID())
	if err != nil {
		return h.drop(err)
	}
	c.say("Created %s  %s  %s", shortID(issued.ID), bitting.Blocks(issued.ID), c.summary(issued.Token))
	if err := h.over(issued); err != nil {
		return err
	}
	return c.afterChange(ctx, l)
}

// previewToken says what a create would make.
func (c *cli) previewToken(ctx context.Context, l *link, in api.CreateToken) error {
	t, err := l.PreviewToken(ctx, in)
	if err != nil {
		return err
	}
	return c.dryRun(rehearsed{Would: "Would create a token of " + c.summary(t) + ".", Token: &t})
}

// summary is "dfsadmin, Admin, until 2027-02-21 14:08 UTC".
func (c *cli) summary(t api.Token) string {
	until := "without an end"
	if t.ExpiresAt != nil {
		until = "until " + c.until(*t.ExpiresAt)
	}
	return t.ClientID + ", " + roleWord(t.Role) + ", " + until
}

// hand gives a token's text to whoever asked: alone on the output, in a file, or
// as JSON.
type hand struct {
	c    *cli
	file *os.File // nil: the output
}

// hand is made before the token is, so that nothing is issued that cannot be
// handed over.
func (c *cli) hand(outFile string) (hand, error) {
	if outFile == "" {
		return hand{c: c}, nil
	}
	f, err := newFile(outFile)
	return hand{c, f}, err
}

// drop removes the file again when there is no token for it.
func (h hand) drop(err error) error {
	if h.file == nil {
		return err
	}
	return errors.Join(err, h.file.Close(), os.Remove(h.file.Name()))
}

func (h hand) over(t api.IssuedToken) error {
	text := t.Text.Unsafe()
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return h.drop(errors.New("the answer holds no token: is this a Mintmark server?"))
	}
	switch {
	case h.file != nil:
		_, err := io.WriteString(h.file, text+"\n")
		if err = errors.Join(err, h.file.Close()); err != nil {
			return h.unwritten(t, err)
		}
		h.c.say("Written to %s.", h.file.Name())
		if h.c.asJSON() {
			return h.c.one("Token", t.Token, nil)
		}
		return nil
	case h.c.asJSON():
		return h.unwritten(t, h.c.one("Token", t, nil))
	}
	_, err := fmt.Fprintln(h.c.out, text)
	return h.unwritten(t, err)
}

// unwritten says of a token whose text nobody got that there is one.
func (h hand) unwritten(t api.IssuedToken, err error) error {
	if err == nil {
		return nil
	}
	return fail(exitFailed, "failed", "%s of %s exists, and could not be written: %s", shortID(t.ID), t.ClientID, err).
		advise("print it with: " + h.c.self() + " token copy " + shortID(t.ID))
}

func (c *cli) deleteToken() *cobra.Command {
	var leaked, dry bool
	cmd := c.tokenCall("delete TOKEN", "Delete a token: it is refused at once", "", func(ctx context.Context, l *link, name string) error {
		t, err := l.FindToken(ctx, name, false)
		if err != nil {
			if t, err = c.amongDeleted(ctx, l, name, err); err != nil {
				return err
			}
			if !leaked {
				c.say("Already deleted.")
				return c.record(t)
			}
		}
		if dry {
			c.inUse(t)
			return c.dryRun(rehearsed{Would: fmt.Sprintf("Would delete %s of %s.", shortID(t.ID), t.ClientID), Token: &t})
		}
		if err := c.confirmDelete(ctx, t); err != nil {
			return err
		}
		if err := l.DeleteToken(ctx, t.ID, leaked); err != nil {
			return err
		}
		after, err := l.Token(ctx, t.ID)
		if err == nil && after.RestorableUntil != nil {
			c.say("Deleted. Restore until %s: %s token restore %s", c.until(*after.RestorableUntil), c.self(), shortID(t.ID))
		} else {
			c.say("Deleted for good.")
		}
		return errors.Join(err, c.record(after), c.afterChange(ctx, l))
	})
	cmd.Long = "A token that has ended is deleted without a question; one that was not used in the last 24 hours is asked about\n" +
		"([y/N], or --yes); of one that was, the client ID has to be typed (or --confirm CLIENT_ID: --yes is not enough)."
	cmd.Flags().BoolVar(&leaked, "leaked", false, "it may have leaked: delete for good, no restore")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be deleted, and who uses it")
	return cmd
}

// inUse reports whether a token was used in the last 24 hours, and tells it.
func (c *cli) inUse(t api.Token) bool {
	if t.State != "active" || t.LastUsedAt == nil || time.Since(*t.LastUsedAt) >= 24*time.Hour {
		return false
	}
	from := ""
	if t.LastUsedFrom != "" {
		from = " from " + t.LastUsedFrom
	}
	if n := t.Requests24h; n != nil {
		from += fmt.Sprintf(" (%s in 24 h)", plural(int(min(*n, math.MaxInt32)), "request"))
	}
	c.say("%s %s was used %s ago%s.", shortID(t.ID), bitting.Blocks(t.ID), long(time.Since(*t.LastUsedAt)), from)
	return true
}

// confirmDelete asks in proportion to the evidence.
func (c *cli) confirmDelete(ctx context.Context, t api.Token) error {
	switch used := c.inUse(t); {
	case used:
		c.say("Those requests will be refused at once. To replace it with an overlap: %s token replace %s --overlap 24h", c.self(), shortID(t.ID))
		return c.typed(ctx, t.ClientID, shortID(t.ID)+" is in use", "to delete it")
	case c.flags.confirm != "": // a name that is not this token's is no consent
		return c.typed(ctx, t.ClientID, "", "")
	case t.State != "active":
		return nil
	}
	return c.agree(ctx, "deleting "+shortID(t.ID), fmt.Sprintf("Delete %s of %s?", shortID(t.ID), t.ClientID))
}
