package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/bitting"
	"mintmark/internal/config"
)

func (c *cli) tokenCommand() *cobra.Command {
	return c.group("token", "Create, list, copy and delete API tokens",
		c.createToken(), c.listTokens(),
		c.tokenCall("show TOKEN", "Show one token's record", c.showToken),
		c.copyToken(), c.deleteToken(),
		c.tokenCall("restore TOKEN", "Undo a delete while that is possible", c.restoreToken),
		c.inspectToken(),
	)
}

// tokenCall is a command on one token, named by id, prefix or client ID.
func (c *cli) tokenCall(use, short string, fn func(context.Context, *link, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			return fn(cmd.Context(), l, args[0])
		},
	}
}

func (c *cli) createToken() *cobra.Command {
	var in api.CreateToken
	var expires, outFile string
	cmd := &cobra.Command{
		Use: "create", Short: "Create a token and print it", Args: exactly(0, 0),
		Example: "  " + c.program + " token create --client-id dfsadmin --role admin --expires 90d\n" +
			"  T=$(" + c.program + " token create --client-id ci --role user --tag team:data -q)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.ContainsAny(expires, "-T:") {
				in.ExpiresAt = expires
			} else {
				in.Lifetime = expires
			}
			l, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			issued, err := l.CreateToken(cmd.Context(), in, newID())
			if err != nil {
				return err
			}
			until := "without an end"
			if issued.ExpiresAt != nil {
				until = "until " + issued.ExpiresAt.UTC().Format("2006-01-02 15:04 UTC")
			}
			c.say("Created %s  %s  %s, %s, %s", shortID(issued.ID), bitting.Blocks(issued.ID), issued.ClientID, roleWord(issued.Role), until)
			return errors.Join(c.hand(issued, outFile), c.afterChange(cmd.Context(), l))
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.ClientID, "client-id", "", "whom the token speaks for (required)")
	f.StringVar(&in.Role, "role", "user", "admin, user or verifier")
	f.StringArrayVar(&in.Tags, "tag", nil, "a name:value label of a user token; may be given again")
	f.StringVar(&expires, "expires", "", "a lifetime (90d, 12h), a time (RFC 3339), or never; the default is the policy's")
	f.StringVar(&in.Description, "description", "", "what it is for")
	f.StringVar(&in.Contact, "contact", "", "whom to ask about it")
	f.StringArrayVar(&in.AllowedAddresses, "allow", nil, "an address range it may be used from; may be given again")
	f.StringArrayVar(&in.Audience, "audience", nil, "whom it is for; the default is the server's own audience")
	f.StringVar(&outFile, "out-file", "", "write the token to a new file (0600) instead of printing it")
	return cmd
}

func roleWord(role string) string {
	if role == "" {
		return role
	}
	return strings.ToUpper(role[:1]) + role[1:]
}

func shortID(id string) string { return id[:min(len(id), 12)] }

// hand gives a token's text to whoever asked: alone on the output, in a file,
// or as JSON.
func (c *cli) hand(t api.IssuedToken, outFile string) error {
	if outFile != "" {
		f, err := os.OpenFile(outFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return fail(exitConflict, "file.exists", "%s exists already; the token was not written. Copy it with: %s token copy %s", outFile, c.program, shortID(t.ID))
		}
		if err != nil {
			return fail(exitFailed, "file.unwritable", "%s. Copy the token with: %s token copy %s", err, c.program, shortID(t.ID))
		}
		_, err = io.WriteString(f, t.Text.Unsafe()+"\n")
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		c.say("Written to %s.", outFile)
		return nil
	}
	if c.flags.output == "json" || c.flags.output == "jsonl" {
		return c.one("Token", t, nil)
	}
	fmt.Fprintln(c.out, t.Text.Unsafe())
	return nil
}

// afterChange warns, after every change, of tokens that nothing keeps.
func (c *cli) afterChange(ctx context.Context, l *link) error {
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if s.Store.Persistent {
		return nil
	}
	program := "mintmark"
	if s.Home != "" {
		program = s.Home + "/manager"
	}
	c.warn("tokens are kept in memory only and will be lost on restart (%s config properties set api.access.tokens.store <path>)", program)
	return nil
}

func (c *cli) listTokens() *cobra.Command {
	var q api.TokenQuery
	var expiring string
	var failIfAny, all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List tokens", Args: exactly(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if expiring != "" {
				if _, err := config.ParseDuration(expiring); err != nil {
					return fail(exitInvalid, "expiring.form", "%s", err)
				}
				q.Expiring, q.State = expiring, "active"
			}
			l, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			var items []api.Token
			for {
				page, err := l.Tokens(cmd.Context(), q)
				if err != nil {
					return err
				}
				items = append(items, page.Items...)
				if q.Cursor = page.NextCursor; q.Cursor == "" || !all && len(items) >= q.Limit {
					break
				}
			}
			if err := printList(c, "TokenList", items, c.tokenColumns(), map[string]any{"next_cursor": q.Cursor}); err != nil {
				return err
			}
			if failIfAny && len(items) > 0 {
				return errAttention
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Text, "search", "", "the beginning of a client ID, an id or a tag")
	f.StringVar(&q.Role, "role", "", "admin, user or verifier")
	f.StringVar(&q.State, "state", "", "active, expired, deleted, revoked or all; the default is all but deleted")
	f.StringVar(&q.Tag, "tag", "", "one tag")
	f.StringVar(&q.ClientID, "client-id", "", "one client ID")
	f.StringVar(&q.Sort, "sort", "", "client_id, role, created_at, expires_at or last_used_at")
	f.BoolVar(&q.Descending, "desc", false, "the other way round")
	f.IntVar(&q.Limit, "limit", 500, "how many at the most")
	f.BoolVar(&all, "all", false, "every page")
	f.StringVar(&expiring, "expiring", "", "only active tokens that end within this time, such as 14d")
	f.BoolVar(&failIfAny, "fail-if-any", false, "exit with 10 when there are any")
	return cmd
}

func (c *cli) tokenColumns() []column[api.Token] {
	return []column[api.Token]{
		{name: "CLIENT ID", of: func(t api.Token) string { return t.ClientID }},
		{name: "ID", of: func(t api.Token) string { return shortID(t.ID) }},
		{name: "KEY", of: func(t api.Token) string { return bitting.Blocks(t.ID) }},
		{name: "ROLE", of: func(t api.Token) string { return roleWord(t.Role) }},
		{name: "TAGS", of: func(t api.Token) string { return orDash(strings.Join(t.Tags, ",")) }},
		{name: "LAST USED", of: func(t api.Token) string {
			return strings.TrimSpace(c.when(t.LastUsedAt, "never") + " " + t.LastUsedFrom)
		}},
		{name: "EXPIRES", of: func(t api.Token) string { return c.when(t.ExpiresAt, "never") }},
		{name: "STATE", of: func(t api.Token) string { return t.State }},
		{name: "FULL ID", of: func(t api.Token) string { return t.ID }, more: true},
		{name: "DESCRIPTION", of: func(t api.Token) string { return orDash(t.Description) }, more: true},
		{name: "CONTACT", of: func(t api.Token) string { return orDash(t.Contact) }, more: true},
		{name: "CREATED", of: func(t api.Token) string { return c.when(&t.CreatedAt, "–") }, more: true},
		{name: "CREATED BY", of: func(t api.Token) string { return t.CreatedBy }, more: true},
		{name: "KID", of: func(t api.Token) string { return t.KeyID }, more: true},
	}
}

func (c *cli) showToken(ctx context.Context, l *link, name string) error {
	t, err := l.FindToken(ctx, name, false)
	if err != nil {
		if t, err = c.amongDeleted(ctx, l, name, err); err != nil {
			return err
		}
	}
	return c.one("Token", t, [][]string{
		{"id", t.ID + "  " + bitting.Blocks(t.ID)},
		{"client id", t.ClientID},
		{"role", t.Role},
		{"tags", orDash(strings.Join(t.Tags, ","))},
		{"state", t.State},
		{"audience", strings.Join(t.Audience, ",")},
		{"issuer", t.Issuer},
		{"description", orDash(t.Description)},
		{"contact", orDash(t.Contact)},
		{"allowed addresses", orDash(strings.Join(t.AllowedAddresses, ","))},
		{"created", c.when(&t.CreatedAt, "–") + " by " + t.CreatedBy},
		{"expires", c.when(t.ExpiresAt, "never")},
		{"last used", strings.TrimSpace(c.when(t.LastUsedAt, "never") + " " + t.LastUsedFrom)},
		{"kid", t.KeyID},
	})
}

// amongDeleted looks for a token that is not among the others.
func (c *cli) amongDeleted(ctx context.Context, l *link, name string, otherwise error) (api.Token, error) {
	if classify(otherwise).exit != exitNotFound {
		return api.Token{}, otherwise
	}
	t, err := l.FindToken(ctx, name, true)
	if err != nil {
		return api.Token{}, otherwise
	}
	return t, nil
}

func (c *cli) copyToken() *cobra.Command {
	var outFile string
	cmd := c.tokenCall("copy TOKEN", "Print a token's text again", func(ctx context.Context, l *link, name string) error {
		t, err := l.FindToken(ctx, name, false)
		if err != nil {
			return err
		}
		issued, err := l.RevealToken(ctx, t.ID)
		if err != nil {
			return err
		}
		return errors.Join(c.hand(issued, outFile), c.afterChange(ctx, l))
	})
	cmd.Flags().StringVar(&outFile, "out-file", "", "write the token to a new file (0600) instead of printing it")
	return cmd
}

func (c *cli) deleteToken() *cobra.Command {
	var leaked bool
	cmd := c.tokenCall("delete TOKEN", "Delete a token: it is refused at once", func(ctx context.Context, l *link, name string) error {
		t, err := l.FindToken(ctx, name, false)
		if err != nil {
			if t, err = c.amongDeleted(ctx, l, name, err); err != nil {
				return err
			}
			if !leaked {
				c.say("Already deleted.")
				return nil
			}
		}
		if err := c.confirmDelete(t); err != nil {
			return err
		}
		if err := l.DeleteToken(ctx, t.ID, leaked); err != nil {
			return err
		}
		if after, err := l.Token(ctx, t.ID); err == nil && after.RestorableUntil != nil {
			c.say("Deleted. Restore until %s: %s token restore %s", after.RestorableUntil.UTC().Format("15:04 UTC"), c.program, shortID(t.ID))
		} else {
			c.say("Deleted for good.")
		}
		return c.afterChange(ctx, l)
	})
	cmd.Flags().BoolVar(&leaked, "leaked", false, "it may have leaked: delete for good, no restore")
	return cmd
}

// confirmDelete asks in proportion to the evidence.
func (c *cli) confirmDelete(t api.Token) error {
	switch {
	case t.State != "active":
		return nil
	case t.LastUsedAt != nil && time.Since(*t.LastUsedAt) < 24*time.Hour:
		from := ""
		if t.LastUsedFrom != "" {
			from = " from " + t.LastUsedFrom
		}
		c.say("%s %s was used %s ago%s.", shortID(t.ID), bitting.Blocks(t.ID), short(time.Since(*t.LastUsedAt)), from)
		c.say("Its requests will be refused at once.")
		return c.typed(t.ClientID, shortID(t.ID)+" is in use. Deleting it")
	}
	return c.agree(fmt.Sprintf("Delete %s of %s?", shortID(t.ID), t.ClientID))
}

func (c *cli) restoreToken(ctx context.Context, l *link, name string) error {
	t, err := l.FindToken(ctx, name, true)
	if err != nil {
		if live, liveErr := l.FindToken(ctx, name, false); liveErr == nil && live.State == "active" {
			c.say("%s is active already.", shortID(live.ID))
			return nil
		}
		return err
	}
	if t, err = l.RestoreToken(ctx, t.ID); err != nil {
		return err
	}
	c.say("Restored. %s of %s works again.", shortID(t.ID), t.ClientID)
	return c.afterChange(ctx, l)
}

func (c *cli) inspectToken() *cobra.Command {
	var in api.Explain
	cmd := &cobra.Command{
		Use: "inspect", Short: "Read a token from the input and say why it is accepted or refused", Args: exactly(0, 0),
		Example: "  " + c.program + " token inspect < ci.token",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if terminal(c.in) {
				c.say("Paste the token and end with Enter:")
			}
			text, err := io.ReadAll(io.LimitReader(c.in, 64<<10))
			if err != nil {
				return err
			}
			in.Token = api.NewSecret(strings.TrimSpace(string(text)))
			if in.Token.Unsafe() == "" {
				return fail(exitUsage, "usage", "there is no token on the input")
			}
			l, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			found, err := l.Explain(cmd.Context(), in)
			if err != nil {
				return err
			}
			err = printList(c, "FindingList", found.Items, []column[api.Finding]{
				{name: "CHECK", of: func(f api.Finding) string { return f.Check }},
				{name: "OK", of: func(f api.Finding) string { return strconv.FormatBool(f.OK) }},
				{name: "COMPARED", of: func(f api.Finding) string { return f.Compared }},
				{name: "WHAT TO DO", of: func(f api.Finding) string { return orDash(f.Advice) }},
			}, nil)
			if err != nil {
				return err
			}
			for _, f := range found.Items {
				if !f.OK {
					return errAttention
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Role, "role", "", "the role that the door asks for")
	f.StringArrayVar(&in.Tags, "tag", nil, "a tag that the door asks for; may be given again")
	return cmd
}
