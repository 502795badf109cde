package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/bitting"
	"mintmark/internal/config"
)

func (c *cli) tokenCommand() *cobra.Command {
	g := c.group("token", "Create, list, copy and delete API tokens",
		c.example("manager token create --client-id dfsadmin --role admin", "manager token list"),
		c.createToken(), c.listTokens(),
		c.tokenCall("show TOKEN", "Show one token's record", "", c.showToken),
		c.tokenCall("usage TOKEN", "Show how a token was used: the last day by the hour, sources, refusals", "", c.showUsage),
		c.copyToken(), c.replaceToken(), c.deleteToken(),
		c.tokenCall("restore TOKEN", "Undo a delete while that is possible", "deleted", c.restoreToken),
		c.inspectToken(),
	)
	g.Long = "TOKEN is an id, a prefix of it that only one token has, or a client ID that only one token has.\n" +
		"With a stopped server the commands work on the installation directory itself; tokens that are kept in\n" +
		"memory exist only while it runs (exit code 3)."
	return g
}

// tokenCall is a command on one token; completion offers those of a state.
func (c *cli) tokenCall(use, short, state string, fn func(context.Context, *link, string) error) *cobra.Command {
	name, _, _ := strings.Cut(use, " ")
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(1, 1),
		Example:           c.example("manager token "+name+" dfsadmin", "manager token "+name+" tok_7k3m9q2x"),
		ValidArgsFunction: c.completeToken(state),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withTokens(cmd.Context(), func(ctx context.Context, l *link) error { return fn(ctx, l, args[0]) })
		},
	}
}

func roleWord(role string) string {
	if role == "" {
		return role
	}
	return strings.ToUpper(role[:1]) + role[1:]
}

func shortID(id string) string { return id[:min(len(id), 12)] }

// afterChange warns, after every change, of tokens that nothing keeps. Those of a
// store that could not be opened are kept.
func (c *cli) afterChange(ctx context.Context, l *link) error {
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if unopened := l.core != nil && l.core.running.Settings().Store != ""; !s.Store.Persistent && !unopened {
		c.warnMemory(s.Home)
	}
	return nil
}

func (c *cli) listTokens() *cobra.Command {
	var q api.TokenQuery
	var failIfAny, all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List tokens", Args: exactly(0, 0),
		Example: c.example("manager token list --sort last_used_at --desc", "manager token list --expiring 14d --fail-if-any -q"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := pageSize(q.Limit); err != nil {
				return err
			}
			if q.Expiring != "" {
				if _, err := config.ParseDuration(q.Expiring); err != nil {
					return fail(exitInvalid, "expiring.form", "--expiring: %s", err)
				}
				q.State = "active"
			}
			if q.Tag != "" {
				if _, err := authority.ParseTag(q.Tag); err != nil {
					return fail(exitInvalid, "tags.form", "--tag: %s", err)
				}
			}
			return c.withTokens(cmd.Context(), func(ctx context.Context, l *link) error {
				n, err := c.printTokens(ctx, l, q, all)
				if err == nil && failIfAny && n > 0 {
					return errAttention
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Text, "search", "", "the beginning of a client ID, an id or a tag")
	f.StringVar(&q.Role, "role", "", "admin, user or verifier")
	f.StringVar(&q.State, "state", "", "active, expired, revoked, replaced, deleted, or all but the deleted (all); the default leaves out the replaced too")
	f.StringVar(&q.Tag, "tag", "", "one tag, a whole `name:value`")
	f.StringVar(&q.ClientID, "client-id", "", "one client ID")
	f.StringVar(&q.Sort, "sort", "", "client_id, role, created_at, expires_at or last_used_at")
	f.BoolVar(&q.Descending, "desc", false, "the other way round")
	f.IntVar(&q.Limit, "limit", 500, "how many at the most")
	f.BoolVar(&all, "all", false, "every page")
	f.StringVar(&q.Expiring, "expiring", "", "only active tokens that end within this time, such as 14d")
	f.BoolVar(&failIfAny, "fail-if-any", false, "exit with 10 when there are any")
	offer(cmd, "role", "admin", "user", "verifier")
	offer(cmd, "state", "active", "expired", "deleted", "revoked", "replaced", "all")
	offer(cmd, "sort", "client_id", "role", "created_at", "expires_at", "last_used_at")
	c.offerTokens(cmd, "tag", func(t api.Token) []string { return t.Tags })
	c.offerTokens(cmd, "client-id", func(t api.Token) []string { return []string{t.ClientID} })
	return columned(cmd, c.tokenColumns())
}

// printTokens prints one page, or all, and answers how many there were.
func (c *cli) printTokens(ctx context.Context, l *link, q api.TokenQuery, all bool) (int, error) {
	var items []api.Token
	total, floor := 0, false
	for {
		page, err := l.Tokens(ctx, q)
		if err != nil {
			return 0, err
		}
		items, total, floor = append(items, page.Items...), page.Total, page.TotalIsFloor
		if q.Cursor = page.NextCursor; q.Cursor == "" || !all {
			break
		}
	}
	switch {
	case q == api.TokenQuery{Sort: q.Sort, Descending: q.Descending, Limit: q.Limit}:
		if c.none(len(items), "No tokens. Make one: %s token create --client-id NAME", c.self()) {
			return 0, nil
		}
	case c.none(len(items), "No token matches."):
		return 0, nil
	}
	if q.Cursor != "" && !c.asJSON() {
		c.note("There are more; see them with --all.")
	}
	return len(items), printList(c, "TokenList", items, c.tokenColumns(), map[string]any{"next_cursor": q.Cursor, "total": total, "total_is_floor": floor})
}

func (c *cli) tokenColumns() []column[api.Token] {
	narrow := c.narrow()
	used := func(t api.Token) string { return c.when(t.LastUsedAt, "never") }
	if narrow {
		used = c.lastUse
	}
	return []column[api.Token]{
		{name: "CLIENT ID", of: func(t api.Token) string { return t.ClientID }},
		{name: "ID", of: func(t api.Token) string { return c.idOf(t.ID) }},
		{name: "KEY", of: func(t api.Token) string { return bitting.Blocks(t.ID) }, spare: 1},
		{name: "ROLE", of: func(t api.Token) string { return roleWord(t.Role) }, spare: 4},
		{name: "TAGS", of: func(t api.Token) string { return c.listed(t.Tags) }, spare: 2},
		{name: "LAST USED", of: used, spare: 6},
		{name: "LAST USED FROM", of: func(t api.Token) string { return orDash(t.LastUsedFrom) }, more: narrow},
		{name: "24H", of: requestsWord, spare: 3},
		{name: "EXPIRES", of: func(t api.Token) string { return c.when(endOf(t), "never") }, spare: 5},
		{name: "STATE", of: c.stateWord, word: true, spare: 7},
		{name: "FULL ID", of: func(t api.Token) string { return t.ID }, more: true},
		{name: "DESCRIPTION", of: func(t api.Token) string { return orDash(t.Description) }, more: true},
		{name: "CONTACT", of: func(t api.Token) string { return orDash(t.Contact) }, more: true},
		{name: "CREATED", of: func(t api.Token) string { return c.when(&t.CreatedAt, "–") }, more: true},
		{name: "CREATED BY", of: func(t api.Token) string { return t.CreatedBy }, more: true},
		{name: "KID", of: func(t api.Token) string { return t.KeyID }, more: true},
	}
}

// lastUse is when and from where, for people.
func (c *cli) lastUse(t api.Token) string {
	return strings.TrimSpace(c.when(t.LastUsedAt, "never") + "  " + t.LastUsedFrom)
}

// endOf is when a token ends: at its own end, or with the overlap after which its
// successor stands alone.
func endOf(t api.Token) *time.Time {
	if t.EndsAt != nil && (t.ExpiresAt == nil || t.EndsAt.Before(*t.ExpiresAt)) {
		return t.EndsAt
	}
	return t.ExpiresAt
}

// stateWord leaves what is normal unmarked at a terminal; programs get the
// state itself.
func (c *cli) stateWord(t api.Token) string {
	const day = 24 * time.Hour
	switch {
	case t.State == "active" && t.ReplacedBy != "":
		return "being replaced"
	case c.exact(c.out) || t.State != "active":
		return t.State
	case t.ExpiresAt != nil && time.Until(*t.ExpiresAt) <= 14*day:
		return "expires soon"
	case t.LastUsedAt == nil && time.Since(t.CreatedAt) > 7*day:
		return "unused " + short(time.Since(t.CreatedAt))
	}
	return ""
}

func (c *cli) showToken(ctx context.Context, l *link, name string) error {
	t, err := l.FindToken(ctx, name, false)
	if err != nil {
		if t, err = c.amongDeleted(ctx, l, name, err); err != nil {
			return err
		}
	}
	lines := [][]string{
		{"id", t.ID},
		{"key", bitting.Blocks(t.ID)},
		{"client id", t.ClientID},
		{"role", roleWord(t.Role)},
		{"tags", c.listed(t.Tags)},
		{"state", t.State},
		{"audience", c.listed(t.Audience)},
		{"issuer", t.Issuer},
		{"description", orDash(t.Description)},
		{"contact", orDash(t.Contact)},
		{"allowed addresses", c.listed(t.AllowedAddresses)},
		{"created", c.when(&t.CreatedAt, "–") + " by " + t.CreatedBy},
		{"expires", c.when(t.ExpiresAt, "never")},
		{"last used", c.when(t.LastUsedAt, "never")},
		{"last used from", orDash(t.LastUsedFrom)},
		{"requests in 24 h", requestsWord(t)},
		{"kid", t.KeyID},
	}
	if t.ReplacedBy != "" {
		lines = append(lines, []string{"replaced by", t.ReplacedBy}, []string{"works until", c.when(t.EndsAt, "never")})
	}
	if r := t.Reuse; r != nil {
		lines = append(lines, []string{"used after its end", fmt.Sprintf("%s, last %s from %s", plural(int(r.Count), "time"), c.when(&r.Last, "–"), r.From)})
	}
	return c.one("Token", t, lines)
}

// record gives programs the record as it is now; people have been told.
func (c *cli) record(t api.Token) error {
	if !c.asJSON() {
		return nil
	}
	return c.one("Token", t, nil)
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

// live finds a token to work with: of one that is deleted it says so.
func (c *cli) live(ctx context.Context, l *link, name string) (api.Token, error) {
	t, err := l.FindToken(ctx, name, false)
	if err == nil {
		return t, nil
	}
	gone, otherwise := c.amongDeleted(ctx, l, name, err)
	if otherwise != nil {
		return api.Token{}, otherwise
	}
	f := fail(exitConflict, "token.deleted", "%s of %s is deleted", shortID(gone.ID), gone.ClientID)
	if gone.RestorableUntil == nil {
		return api.Token{}, f.advise("make a new one: " + c.self() + " token create")
	}
	return api.Token{}, f.advise("restore it: " + c.self() + " token restore " + shortID(gone.ID))
}

func (c *cli) copyToken() *cobra.Command {
	var outFile string
	cmd := c.tokenCall("copy TOKEN", "Print a token's text again", "active", func(ctx context.Context, l *link, name string) error {
		t, err := c.live(ctx, l, name)
		if err != nil {
			return err
		}
		h, err := c.hand(outFile)
		if err != nil {
			return err
		}
		issued, err := l.RevealToken(ctx, t.ID)
		if err != nil {
			return h.drop(err)
		}
		if err := h.over(issued); err != nil {
			return err
		}
		return c.afterChange(ctx, l)
	})
	cmd.Example = c.example("manager token copy dfsadmin", "manager token copy tok_7k3m9q2x --out-file dfsadmin.token")
	cmd.Flags().StringVar(&outFile, "out-file", "", "write the token to a new file (0600) instead of printing it")
	return cmd
}

func (c *cli) restoreToken(ctx context.Context, l *link, name string) error {
	t, err := l.FindToken(ctx, name, true)
	if err != nil {
		if classify(err).exit != exitNotFound {
			return err
		}
		switch t, err = l.FindToken(ctx, name, false); {
		case err != nil:
			return err
		case t.State == "active":
			c.say("%s is active already.", shortID(t.ID))
			return c.record(t)
		case t.State == "expired":
			return fail(exitConflict, "token.expired", "%s of %s was not deleted: its end has passed", shortID(t.ID), t.ClientID)
		} // of any other the refusal says what ended it
	}
	if t, err = l.RestoreToken(ctx, t.ID); err != nil {
		return err
	}
	c.say("Restored. %s of %s works again.", shortID(t.ID), t.ClientID)
	return errors.Join(c.record(t), c.afterChange(ctx, l))
}

func (c *cli) inspectToken() *cobra.Command {
	var in api.Explain
	cmd := &cobra.Command{
		Use: "inspect", Short: "Say why a request was refused, or how a door would answer a token; exit code 10 when it is refused", Args: c.tokenOnTheInput,
		Long: "With --request it explains a refusal that a door of this node gave; the id is in the body and in the header of its answer.\n" +
			"Otherwise it reads a token from the input, and the other flags are what the door asks of it.",
		Example: c.example("manager token inspect --request 4f2a9c1e77aa03bd", "manager token inspect --role admin --from 10.2.0.14 < ci.token"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.RequestID == "" {
				text, err := c.readToken(cmd.Context())
				if err != nil {
					return err
				}
				in.Token = api.NewSecret(text)
			}
			return c.withTokens(cmd.Context(), func(ctx context.Context, l *link) error { return c.explain(ctx, l, in) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.RequestID, "request", "", "the id of a request that was refused")
	f.StringVar(&in.Door, "door", "", "the door: forward_auth, guard, ext_authz, introspection, kubernetes or api")
	f.StringVar(&in.ClientID, "client-id", "", "the client ID that the door asks for")
	f.StringArrayVar(&in.Audience, "audience", nil, "the `audience` that the door asks for; may be given again")
	f.StringVar(&in.From, "from", "", "the address that the request comes from")
	f.StringVar(&in.Role, "role", "", "the role that the door asks for")
	f.StringArrayVar(&in.Tags, "tag", nil, "a `tag` that the door asks for; may be given again")
	offer(cmd, "role", "admin", "user", "verifier")
	offer(cmd, "door", "forward_auth", "guard", "ext_authz", "introspection", "kubernetes", "api")
	c.offerTokens(cmd, "tag", func(t api.Token) []string { return t.Tags })
	return columned(cmd, findingColumns())
}

// tokenOnTheInput refuses arguments: the shell has written them down by then.
func (c *cli) tokenOnTheInput(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fail(exitUsage, "usage", "the token is read from the input; one in an argument is in the shell's history now").
		advise(c.self() + " token inspect < FILE")
}

// bare is a token without the field and the scheme that it was copied with.
func bare(text string) string {
	text = strings.TrimSpace(text)
	for _, before := range []string{"Authorization:", "Bearer "} {
		if n := len(before); len(text) > n && strings.EqualFold(text[:n], before) {
			text = strings.TrimSpace(text[n:])
		}
	}
	return text
}

// readToken reads a token from the input: no argument and no flag takes one.
func (c *cli) readToken(ctx context.Context) (string, error) {
	var text string
	if terminal(c.in) {
		if c.flags.noInput {
			return "", fail(exitUsage, "usage", "there is no token on the input").advise(c.self() + " token inspect < FILE")
		}
		var err error
		if text, err = c.prompt(ctx, "Paste the token and press Enter: "); err != nil && classify(err).exit != exitConfirm {
			return "", err
		}
	} else {
		data, err := io.ReadAll(io.LimitReader(c.in, 64<<10))
		if err != nil {
			return "", err
		}
		text = string(data)
	}
	if text = bare(text); text == "" {
		return "", fail(exitUsage, "usage", "there is no token on the input")
	}
	return text, nil
}

func (c *cli) explain(ctx context.Context, l *link, in api.Explain) error {
	found, err := l.Explain(ctx, in)
	if err != nil {
		return err
	}
	more := map[string]any{}
	if r := found.Refusal; r != nil {
		more["refusal"] = r
		c.say("%s refused request %s at %s, from %s: %s", r.Door, r.RequestID, r.At.UTC().Format(time.RFC3339), orDash(r.From), r.Reason)
	}
	err = printList(c, "FindingList", found.Items, findingColumns(), more)
	if err != nil {
		return err
	}
	for _, f := range found.Items {
		if !f.OK {
			return errAttention
		}
	}
	return nil
}

func findingColumns() []column[api.Finding] {
	return []column[api.Finding]{
		{name: "CHECK", of: func(f api.Finding) string { return f.Check }},
		{name: "STATE", of: func(f api.Finding) string { return checkWord(api.Check{OK: f.OK}) }, word: true},
		{name: "COMPARED", of: func(f api.Finding) string { return f.Compared }},
		{name: "WHAT TO DO", of: func(f api.Finding) string { return orDash(f.Advice) }, below: true},
	}
}
