package webui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
)

// tokensBody is the list and whichever dialog is open over it.
type tokensBody struct {
	List    authority.TokenList
	Counts  authority.TokenCounts
	Request authority.ListRequest
	Path    string // of the list as it is filtered, for links
	Sorts   map[string]string
	Next    string
	Form    tokenForm
	Dialog  string // "", "new", "result", "reveal", "delete"
	Token   authority.TokenView
	Text    string // of a token; only in an answer to POST
	Mistype bool
	InUse   bool
	CopyOff bool
	Memory  bool
	MyAddr  string
	Issuer  string
}

// tokenForm is the dialog New API Token as it was filled in.
type tokenForm struct {
	ClientID, Role, Tags, Expires, Date, Description, Contact, Addresses, Audience, Key string
	Choices                                                                             []option
	Never                                                                               bool
	filled                                                                              bool
}

type option struct{ Value, Label string }

// States are the choices of the state filter, with what each would show.
func (b tokensBody) States() []option {
	c := b.Counts
	label := func(word string, n int) string { return word + " (" + strconv.Itoa(n) + ")" }
	return []option{
		{"active", label("active", c.Active)},
		{"expired", label("expired", c.Expired)},
		{"deleted", label("deleted", c.Deleted)},
		{"revoked", label("ended by a reset", c.Revoked)},
		{"all", "all"},
	}
}

// home goes to the first page.
func (w *console) home(rw http.ResponseWriter, r *http.Request, _ admin) {
	http.Redirect(rw, r, "/tokens", http.StatusSeeOther)
}

func (w *console) tokensPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showTokens(visit{rw, r, a}, http.StatusOK, tokensBody{}, page{})
}

func (w *console) newTokenPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showTokens(visit{rw, r, a}, http.StatusOK, tokensBody{Dialog: "new"}, page{})
}

// showTokens renders the list with a dialog over it.
func (w *console) showTokens(v visit, status int, b tokensBody, p page) {
	b.Request = listRequest(v.r)
	list, err := w.Authority.Tokens(v.r.Context(), v.Caller, b.Request)
	if authority.KindOf(err) == authority.Invalid && err != nil {
		b.Request = authority.ListRequest{State: string(authority.StateActive)}
		list, err = w.Authority.Tokens(v.r.Context(), v.Caller, b.Request)
	}
	if err != nil {
		p.Problem = "The list could not be loaded: " + publicText(err)
	}
	b.List = list
	b.Counts, _ = w.Authority.TokenCounts(v.r.Context(), v.Caller)
	b.links()
	policy := w.Policy()
	if !b.Form.filled {
		b.Form = w.emptyForm(policy)
	}
	b.Form.Choices, b.Form.Never = expiryChoices(policy), policy.NeverExpire && policy.MaxLifetime == 0
	b.CopyOff, b.Memory, b.MyAddr, b.Issuer = policy.Copy == authority.CopyNever, !w.Authority.Facts().Persistent, edge.Of(v.r).From(), policy.Issuer
	p.Name, p.Nav, p.Body = "tokens", "tokens", b
	if p.Title == "" {
		p.Title = "API Tokens"
	}
	if len(p.Shell) == 0 {
		p.Shell = []string{w.Program + " token list"}
	}
	w.render(v.rw, v.r, &v.admin, status, p)
}

func publicText(err error) string {
	if authority.KindOf(err) == authority.Internal {
		return "something went wrong on the server"
	}
	return err.Error()
}

// listRequest reads the filter form; the list shows active tokens unless asked.
func listRequest(r *http.Request) authority.ListRequest {
	q := r.URL.Query()
	state := q.Get("state")
	if state == "" {
		state = string(authority.StateActive)
	}
	l := authority.ListRequest{
		Text: strings.TrimSpace(q.Get("q")), Role: q.Get("role"), State: state, Tag: q.Get("tag"), Sort: q.Get("sort"), Descending: q.Get("dir") == "desc",
		Cursor: q.Get("cursor"),
	}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil {
		l.Limit = n
	}
	if q.Get("expiring") != "" {
		l.Expiring = 14 * 24 * time.Hour
	}
	return l
}

func (b *tokensBody) links() {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("q", b.Request.Text)
	set("role", b.Request.Role)
	set("tag", b.Request.Tag)
	if b.Request.State != string(authority.StateActive) {
		set("state", b.Request.State)
	}
	b.Sorts = make(map[string]string)
	current := b.Request.Sort
	if current == "" {
		current = string(authority.SortClientID)
	}
	for _, s := range []authority.TokenSort{authority.SortClientID, authority.SortRole, authority.SortExpiresAt, authority.SortLastUsed} {
		link := url.Values{}
		for k, v := range q {
			link[k] = v
		}
		link.Set("sort", string(s))
		if string(s) == current && !b.Request.Descending {
			link.Set("dir", "desc")
		}
		b.Sorts[string(s)] = "/tokens?" + link.Encode()
	}
	set("sort", b.Request.Sort)
	if b.Request.Descending {
		q.Set("dir", "desc")
	}
	b.Path = "/tokens?" + q.Encode()
	if b.List.NextCursor != "" {
		q.Set("cursor", b.List.NextCursor)
		b.Next = "/tokens?" + q.Encode()
	}
	b.Request.Sort = current
}

func (w *console) emptyForm(p authority.Policy) tokenForm {
	return tokenForm{Role: "user", Expires: strconv.Itoa(int(p.DefaultLifetime / (24 * time.Hour))), Key: w.NewKey()}
}

// expiryChoices are the presets that the policy leaves, and its default.
func expiryChoices(p authority.Policy) []option {
	var out []option
	standard := int(p.DefaultLifetime / (24 * time.Hour))
	listed := false
	for _, days := range []int{7, 30, 90, 180, 365} {
		if p.MaxLifetime > 0 && time.Duration(days)*24*time.Hour > p.MaxLifetime {
			continue
		}
		if !listed && standard < days && standard > 0 {
			out = append(out, option{strconv.Itoa(standard), plural(standard, "day")})
			listed = true
		}
		listed = listed || days == standard
		out = append(out, option{strconv.Itoa(days), plural(days, "day")})
	}
	return out
}

func (w *console) createToken(rw http.ResponseWriter, r *http.Request, a admin) {
	form := readForm(r)
	request, fault := form.request()
	var err error
	if fault != nil {
		err = &authority.Error{Kind: authority.Invalid, Fields: []authority.FieldError{*fault}}
	}
	var issued authority.Issued
	if err == nil {
		issued, err = w.Authority.IssueToken(r.Context(), a.Caller, request, form.Key)
	}
	if err != nil {
		if authority.KindOf(err) == authority.Internal {
			w.failure(rw, r, &a, err)
			return
		}
		p := page{Title: "New API Token"}
		p.Errors, p.Problem = faults(err)
		w.showTokens(visit{rw, r, a}, statusOf(authority.KindOf(err)), tokensBody{Dialog: "new", Form: form}, p)
		return
	}
	w.showTokens(visit{rw, r, a}, http.StatusCreated, tokensBody{Dialog: "result", Token: issued.TokenView, Text: issued.Text.Unsafe()}, page{
		Title: "Token created", Shell: []string{w.Program + " token create --client-id " + issued.ClientID + " --role " + string(issued.Role)},
	})
}

func readForm(r *http.Request) tokenForm {
	f := func(name string) string { return r.PostFormValue(name) }
	return tokenForm{
		filled: true, ClientID: f("client_id"), Role: f("role"), Tags: f("tags"), Expires: f("expires"), Date: f("date"), Description: f("description"),
		Contact: f("contact"), Addresses: f("allowed_addresses"), Audience: f("audience"), Key: f("key"),
	}
}

func (f tokenForm) request() (authority.TokenRequest, *authority.FieldError) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
	}
	request := authority.TokenRequest{
		ClientID: f.ClientID, Role: f.Role, Description: f.Description, Contact: f.Contact,
		AllowedAddresses: split(f.Addresses), Audience: split(f.Audience),
	}
	if f.Role == string(authority.RoleUser) {
		request.Tags = split(f.Tags) // the field is not there for other roles
	}
	switch f.Expires {
	case "never":
		request.Never = true
	case "date":
		day, err := time.Parse("2006-01-02", f.Date)
		if err != nil {
			return request, &authority.FieldError{Field: "expires_at", Code: "expires_at.form", Msg: "Choose a date."}
		}
		request.ExpiresAt = day.AddDate(0, 0, 1).Add(-time.Second) // the end of that day, UTC
	default:
		days, err := strconv.Atoi(f.Expires)
		if err != nil || days < 1 || days > 36500 {
			return request, &authority.FieldError{Field: "lifetime", Code: "lifetime.form", Msg: "Choose when the token expires."}
		}
		request.Lifetime = time.Duration(days) * 24 * time.Hour
	}
	return request, nil
}

func (w *console) tokenOf(rw http.ResponseWriter, r *http.Request, a admin) (authority.TokenView, bool) {
	id, err := authority.ParseTokenID(r.PathValue("id"))
	if err != nil {
		w.notFound(rw, r, a)
		return authority.TokenView{}, false
	}
	t, err := w.Authority.Token(r.Context(), a.Caller, id)
	if err != nil {
		w.failure(rw, r, &a, err)
		return authority.TokenView{}, false
	}
	return t, true
}

// revealToken is Copy. Script asks for the text alone; without script the page
// shows it, selected.
func (w *console) revealToken(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	plain := r.Header.Get("Accept") == "text/plain"
	issued, err := w.Authority.RevealToken(r.Context(), a.Caller, t.ID)
	switch {
	case err != nil && plain:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.WriteHeader(statusOf(authority.KindOf(err)))
		_, _ = rw.Write([]byte(publicText(err)))
	case err != nil && w.stepUp(rw, r, err, "/tokens/"+string(t.ID)):
	case err != nil:
		w.failure(rw, r, &a, err)
	case plain:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = rw.Write([]byte(issued.Text.Unsafe()))
	default:
		w.showTokens(visit{rw, r, a}, http.StatusOK, tokensBody{Dialog: "reveal", Token: issued.TokenView, Text: issued.Text.Unsafe()}, page{
			Title: "Token of " + t.ClientID, Shell: []string{w.Program + " token copy " + t.ID.Short()},
		})
	}
}

// inUse is what makes a delete ask for the client ID.
func (w *console) inUse(t authority.TokenView) bool {
	return !t.LastUse.At.IsZero() && w.Now().Sub(t.LastUse.At) < 24*time.Hour
}

func (w *console) deletePage(rw http.ResponseWriter, r *http.Request, a admin) {
	if t, ok := w.tokenOf(rw, r, a); ok {
		w.askDelete(visit{rw, r, a}, http.StatusOK, t, false)
	}
}

func (w *console) askDelete(v visit, status int, t authority.TokenView, mistyped bool) {
	w.showTokens(v, status, tokensBody{Dialog: "delete", Token: t, InUse: w.inUse(t), Mistype: mistyped}, page{
		Title: "Delete the token of " + t.ClientID + "?", Shell: []string{w.Program + " token delete " + t.ID.Short()},
	})
}

func (w *console) deleteToken(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	if w.inUse(t) && strings.TrimSpace(r.PostFormValue("confirm")) != t.ClientID && t.State == authority.StateActive {
		w.askDelete(visit{rw, r, a}, http.StatusUnprocessableEntity, t, true)
		return
	}
	if _, err := w.Authority.RevokeToken(r.Context(), a.Caller, t.ID, r.PostFormValue("leaked") != ""); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	http.Redirect(rw, r, "/tokens?done=deleted&id="+string(t.ID), http.StatusSeeOther)
}

func (w *console) restoreToken(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	if _, err := w.Authority.RestoreToken(r.Context(), a.Caller, t.ID); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	http.Redirect(rw, r, "/tokens?done=restored&id="+string(t.ID), http.StatusSeeOther)
}

type tokenBody struct {
	Token   authority.TokenView
	History []authority.Event
	CopyOff bool
}

func (w *console) tokenPage(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	audit, err := w.Authority.Audit(r.Context(), a.Caller, authority.AuditQuery{Target: string(t.ID), Limit: 50})
	if err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	w.render(rw, r, &a, http.StatusOK, page{
		Name: "token", Title: t.ClientID, Nav: "tokens", Shell: []string{w.Program + " token show " + t.ID.Short()},
		Body: tokenBody{Token: t, History: audit.Events, CopyOff: w.Policy().Copy == authority.CopyNever},
	})
}
