package webui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/message"
)

// soon is how near an end must be for the list to mark it.
const soon = 14 * 24 * time.Hour

// tokenDialog is what is open over a page, and of which token.
type tokenDialog struct {
	Dialog    string // "", "new", "result", "reveal", "delete" and others
	Token     authority.TokenView
	Text      string // of the token; only in an answer to POST
	CopyOff   bool
	CopyStale bool // the password must be entered again first
	Memory    bool
	Issuer    string
}

// copyFacts fills in what the dialog with a text says about every token.
func (w *console) copyFacts(a admin, d *tokenDialog) {
	policy := w.Policy()
	d.CopyOff = policy.Copy == authority.CopyNever
	d.CopyStale = policy.Copy == authority.CopyReauth && w.Now().Sub(a.authenticatedAt) > policy.StepUp
	d.Memory, d.Issuer = !w.Authority.Facts().Persistent, policy.Issuer
}

// tokensBody is the list and whichever dialog is open over it.
type tokensBody struct {
	tokenDialog
	List           authority.TokenList
	Rows           []*tokenRow
	Counts         authority.TokenCounts
	Request        authority.ListRequest
	Sorts          map[string]string
	Query          string // of the list as it is filtered, for links that come back
	Next           string
	First          string // from a later page
	Found          string // the short id that a pasted token was found by
	Secret         bool   // what was searched for looks like a token, and was not
	Elsewhere      int    // tokens of other states that match
	ElsewhereFloor bool   // there are at least so many
	ElsewhereState string // theirs, as the filter has it
	Form           tokenForm
	Mistype        bool
	InUse          bool
	MyAddr         string
	Kept           kept
	Previous       authority.KeyID // "" unless a rotation is under way
	Grace          message.Text    // how long a delete can be undone, nil when it cannot
	recent         map[authority.TokenID]*authority.RecentRequests
	today          time.Time
}

type option struct {
	Value string
	Label message.Text
}

// States are the choices of the state filter, with what each would show.
func (b *tokensBody) States() []option {
	c := b.Counts
	return []option{
		{"active", say("active ({n})", "n", c.Active)},
		{"expired", say("expired ({n})", "n", c.Expired)},
		{"deleted", say("deleted ({n})", "n", c.Deleted)},
		{"replaced", say("replaced ({n})", "n", c.Replaced)},
		{"revoked", say("ended by a reset ({n})", "n", c.Revoked)},
		{"all", say("all but deleted")},
	}
}

// At is the address of something to do with one token that comes back to the
// list as it is filtered.
func (b *tokensBody) At(id authority.TokenID, verb string) string {
	return withQuery("/tokens/"+string(id)+"/"+verb, b.Query)
}

// Back is the address of the list, at the row of a token.
func (b *tokensBody) Back(id authority.TokenID) string {
	return withQuery("/tokens", b.Query) + "#" + string(id)
}

// Unfiltered reports whether every active token is asked for.
func (b *tokensBody) Unfiltered() bool {
	r := b.Request
	return r.Text == "" && r.Role == "" && r.Tag == "" && r.ClientID == "" && r.Expiring == 0 && r.State == string(authority.StateActive) && !b.Secret
}

func withQuery(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

func (w *console) tokensPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showTokens(visit{rw, r, a}, http.StatusOK, tokensBody{}, page{})
}

func (w *console) newTokenPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showTokens(visit{rw, r, a}, http.StatusOK, tokensBody{tokenDialog: tokenDialog{Dialog: "new"}}, page{})
}

// showTokens renders the list with a dialog over it.
func (w *console) showTokens(v visit, status int, b tokensBody, p page) {
	if err := w.loadTokens(v, &b); err != nil {
		p.Problem, p.Retry = say("The list could not be loaded: {problem}", "problem", publicText(err)), true
		status = statusOf(authority.KindOf(err))
		if authority.KindOf(err) == authority.Internal {
			w.Log.Error("list could not be loaded", "request_id", edge.Of(v.r).RequestID, "error", err)
		}
	}
	policy := w.Policy()
	if !b.Form.filled {
		b.Form = w.emptyForm(policy)
	}
	b.Form.Choices, b.Form.Never = expiryChoices(policy), policy.NeverExpire && policy.MaxLifetime == 0
	b.Form.Known = w.knownTags(v)
	w.copyFacts(v.admin, &b.tokenDialog)
	b.Rows = w.rows(v, &b)
	b.MyAddr, b.Kept = edge.Of(v.r).From(), w.kept()
	if policy.RestoreGrace > 0 {
		b.Grace = spell(policy.RestoreGrace)
	}
	p.Name, p.Nav, p.Body = "tokens", "tokens", &b
	if p.Title == nil {
		p.Title = say("API Tokens")
	}
	p.Shell = []string{w.listCommand(b.Request)}
	w.render(v.rw, v.r, &v.admin, status, p)
}

// loadTokens reads the page of the list that is asked for; a filter that means
// nothing is dropped.
func (w *console) loadTokens(v visit, b *tokensBody) error {
	b.Request = listRequest(v.r)
	if holdsToken(b.Request.Text) {
		b.Request.Text, b.Secret = "", true
	}
	var err error
	b.List, err = w.Authority.Tokens(v.r.Context(), v.Caller, b.Request)
	if err != nil && authority.KindOf(err) == authority.Invalid {
		b.Request = authority.ListRequest{State: string(authority.StateActive)}
		b.List, err = w.Authority.Tokens(v.r.Context(), v.Caller, b.Request)
	}
	if err != nil {
		return err
	}
	if b.Counts, err = w.Authority.TokenCounts(v.r.Context(), v.Caller); err != nil {
		return err
	}
	if id, err := authority.ParseTokenID(b.Request.Text); err == nil && v.r.URL.Query().Get("found") != "" {
		b.Found = id.Short()
	}
	if keys, err := w.Authority.Keys(v.r.Context(), v.Caller); err == nil {
		for _, k := range keys {
			if k.State == authority.KeyPrevious && k.Accepted(w.Now()) {
				b.Previous = k.ID
			}
		}
	}
	b.links()
	b.showFresh()
	w.loadRecent(v, b)
	if len(b.List.Items) == 0 && !b.Unfiltered() {
		return w.lookElsewhere(v, b)
	}
	return nil
}

// loadRecent reads the requests of the rows by day; a list without them is one.
func (w *console) loadRecent(v visit, b *tokensBody) {
	ids := make([]authority.TokenID, len(b.List.Items))
	for i, t := range b.List.Items {
		ids[i] = t.ID
	}
	b.today = w.Now()
	b.recent, _ = w.Authority.RecentRequests(v.r.Context(), v.Caller, ids)
}

// lookElsewhere counts what the filter would show of other states: those that
// have not been deleted first.
func (w *console) lookElsewhere(v visit, b *tokensBody) error {
	other := b.Request
	other.Expiring, other.Cursor = 0, ""
	for _, other.State = range []string{"all", string(authority.StateDeleted)} {
		list, err := w.Authority.Tokens(v.r.Context(), v.Caller, other)
		if err != nil {
			return err
		}
		if b.Elsewhere, b.ElsewhereFloor, b.ElsewhereState = list.Total, list.TotalIsFloor, other.State; list.Total > 0 {
			break
		}
	}
	return nil
}

// tokenStart is how every token begins: {" in base64url.
const tokenStart = "eyJ"

// holdsToken recognises a token that was pasted into the wrong place, and the
// part of one that fits in a search field: neither is looked for nor shown again.
func holdsToken(s string) bool {
	_, rest, found := strings.Cut(s, tokenStart)
	return found && len(rest) > 60
}

// knownTags are the tags of the newest User tokens, to choose from.
func (w *console) knownTags(v visit) []string {
	list, err := w.Authority.Tokens(v.r.Context(), v.Caller, authority.ListRequest{
		Role: string(authority.RoleUser), State: string(authority.StateActive), Sort: string(authority.SortCreatedAt), Descending: true, Limit: 100,
	})
	if err != nil {
		return nil // the field takes any tag without them
	}
	var tags []string
	for _, t := range list.Items {
		tags = append(tags, t.Tags...)
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return tags[:min(len(tags), 50)]
}

func publicText(err error) message.Text {
	if authority.KindOf(err) == authority.Internal {
		return say("something went wrong on the server")
	}
	return message.Told(curly(err.Error()))
}

// listRequest reads the filter form; the list shows active tokens unless asked.
func listRequest(r *http.Request) authority.ListRequest {
	q := r.URL.Query()
	state := q.Get("state")
	if state == "" {
		state = string(authority.StateActive)
	}
	l := authority.ListRequest{
		Text: strings.TrimSpace(q.Get("q")), Role: q.Get("role"), State: state, Tag: q.Get("tag"), ClientID: q.Get("client_id"),
		Sort: q.Get("sort"), Descending: q.Get("dir") == "desc", Cursor: q.Get("cursor"),
	}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil {
		l.Limit = n
	}
	if q.Get("expiring") != "" {
		l.Expiring = soon
	}
	return l
}

// links makes the addresses that change one thing about the list and keep the
// rest.
func (b *tokensBody) links() {
	r := b.Request
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("q", r.Text)
	set("role", r.Role)
	set("tag", r.Tag)
	set("client_id", r.ClientID)
	if r.State != string(authority.StateActive) {
		set("state", r.State)
	}
	if r.Expiring > 0 {
		q.Set("expiring", "14d")
	}
	if r.Limit > 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
	current := r.Sort
	if current == "" {
		current = string(authority.SortClientID)
	}
	b.Sorts = make(map[string]string)
	for _, s := range []authority.TokenSort{authority.SortClientID, authority.SortRole, authority.SortExpiresAt, authority.SortLastUsed} {
		link := url.Values{"sort": {string(s)}}
		for k, v := range q {
			link[k] = v
		}
		if string(s) == current && !r.Descending {
			link.Set("dir", "desc")
		}
		b.Sorts[string(s)] = "/tokens?" + link.Encode()
	}
	set("sort", r.Sort)
	if r.Descending {
		q.Set("dir", "desc")
	}
	if r.Cursor != "" {
		b.First = withQuery("/tokens", q.Encode())
	}
	if b.List.NextCursor != "" {
		q.Set("cursor", b.List.NextCursor)
		b.Next = "/tokens?" + q.Encode()
	}
	q.Del("cursor")
	set("cursor", r.Cursor)
	b.Query = q.Encode()
	b.Request.Sort = current
}

// listCommand is the list as it is filtered, from the shell.
func (w *console) listCommand(r authority.ListRequest) string {
	args := []string{"token", "list"}
	flag := func(name, value string) {
		if value != "" {
			args = append(args, name, value)
		}
	}
	flag("--search", r.Text)
	flag("--role", r.Role)
	flag("--tag", r.Tag)
	flag("--client-id", r.ClientID)
	if r.Expiring > 0 {
		flag("--expiring", "14d")
	} else {
		flag("--state", r.State)
	}
	if r.Sort != string(authority.SortClientID) {
		flag("--sort", r.Sort)
	}
	if r.Descending {
		args = append(args, "--desc")
	}
	return w.command(args...)
}
