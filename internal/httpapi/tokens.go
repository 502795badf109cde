package httpapi

import (
	"net/http"
	"slices"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/config"
)

func (a *API) listTokens(c *call, _ none) (api.TokenList, error) {
	var wrong faults
	r := authority.ListRequest{
		Text: c.query.Get("q"), Role: c.query.Get("role"), Tag: c.query.Get("tag"), ClientID: c.query.Get("client_id"),
		State: c.query.Get("state"), Sort: c.query.Get("sort"), Cursor: c.query.Get("cursor"),
		Limit: int(wrong.number("limit", c.query.Get("limit"), 31)),
	}
	if c.query.Get("limit") != "" && r.Limit == 0 && len(wrong) == 0 {
		wrong.add("limit", "limit.range", "A page has 1 to 500 tokens.")
	}
	if text := c.query.Get("expiring"); text != "" {
		var err error
		if r.Expiring, err = config.ParseDuration(text); err != nil || r.Expiring == 0 {
			wrong.add("expiring", "expiring.form", "Give a duration such as 14d or 12h, 100 years at most.")
		}
	}
	switch c.query.Get("dir") {
	case "", "asc":
	case "desc":
		r.Descending = true
	default:
		wrong.add("dir", "dir.unknown", "The direction is asc or desc.")
	}
	if err := wrong.err(); err != nil {
		return api.TokenList{}, err
	}
	list, err := a.Authority.Tokens(c.request.Context(), c.caller, r)
	if err != nil {
		return api.TokenList{}, err
	}
	out := api.TokenList{Items: []api.Token{}, NextCursor: list.NextCursor, Total: list.Total, TotalIsFloor: list.TotalIsFloor}
	for _, t := range list.Items {
		out.Items = append(out.Items, tokenOf(t))
	}
	return out, nil
}

func (a *API) createToken(c *call, in api.CreateToken) (api.IssuedToken, error) {
	keys := c.request.Header.Values("Idempotency-Key")
	if len(keys) > 1 || len(keys) == 1 && keys[0] == "" {
		return api.IssuedToken{}, &fault{http.StatusBadRequest, api.CodeHeader, "There is one Idempotency-Key field, and it is not empty."}
	}
	r, err := requestOf(in)
	if err != nil {
		return api.IssuedToken{}, err
	}
	issued, err := a.Authority.IssueToken(c.request.Context(), c.caller, r, first(keys))
	if err != nil {
		return api.IssuedToken{}, err
	}
	c.writer.Header().Set("Location", "/api/v1/tokens/"+issued.ID.String())
	return issuedOf(issued), nil
}

func (a *API) previewToken(c *call, in api.CreateToken) (api.Token, error) {
	r, err := requestOf(in)
	if err != nil {
		return api.Token{}, err
	}
	view, err := a.Authority.PreviewToken(c.caller, r)
	if err != nil {
		return api.Token{}, err
	}
	return tokenOf(view), nil
}

// requestOf reads the members that are text for people; every other rule is the
// authority's. Nothing near zero ever becomes "never" or the default.
func requestOf(in api.CreateToken) (authority.TokenRequest, error) {
	var wrong faults
	r := authority.TokenRequest{
		ClientID: in.ClientID, Role: in.Role, Tags: in.Tags, Audience: in.Audience, ExpiresAt: wrong.time("expires_at", in.ExpiresAt),
		Never: in.Lifetime == "never", Description: in.Description, Contact: in.Contact, AllowedAddresses: in.AllowedAddresses,
	}
	if in.Lifetime != "" && !r.Never {
		var err error
		r.Lifetime, err = config.ParseDuration(in.Lifetime)
		switch {
		case err != nil:
			wrong.add("lifetime", "lifetime.form", "A lifetime is a duration such as 90d or 12h, 100 years at most, or never.")
		case r.Lifetime < time.Second:
			wrong.add("lifetime", "lifetime.past", "A lifetime is a second or longer.")
		}
	}
	return r, wrong.err()
}

func (a *API) findToken(c *call, _ none) (api.Token, error) {
	var wrong faults
	name, deleted := c.query.Get("name"), wrong.flag("deleted", c.query.Get("deleted"))
	if name == "" || len(name) > api.MaxName {
		wrong.add("name", "name.form", "Give an id, a prefix of one, or a client ID.")
	}
	if err := wrong.err(); err != nil {
		return api.Token{}, err
	}
	view, err := a.Authority.FindToken(c.request.Context(), c.caller, name, deleted)
	if err != nil {
		return api.Token{}, err
	}
	return tokenOf(view), nil
}

// tokenID is the id in the path; one that can be none is as unknown as any.
func (c *call) tokenID() (authority.TokenID, error) {
	id, err := authority.ParseTokenID(c.request.PathValue("id"))
	if err != nil {
		return "", &authority.Error{Kind: authority.NotFound, Code: "token.not_found", Msg: "There is no token with that id."}
	}
	return id, nil
}

func (a *API) readToken(c *call, _ none) (api.Token, error) {
	id, err := c.tokenID()
	if err != nil {
		return api.Token{}, err
	}
	view, err := a.Authority.Token(c.request.Context(), c.caller, id)
	if err != nil {
		return api.Token{}, err
	}
	return tokenOf(view), nil
}

func (a *API) deleteToken(c *call, _ none) (none, error) {
	var wrong faults
	leaked := wrong.flag("leaked", c.query.Get("leaked"))
	if err := wrong.err(); err != nil {
		return none{}, err
	}
	id, err := c.tokenID()
	if err != nil {
		return none{}, err
	}
	_, err = a.Authority.RevokeToken(c.request.Context(), c.caller, id, leaked)
	return none{}, err
}

func (a *API) revealToken(c *call, _ none) (api.IssuedToken, error) {
	id, err := c.tokenID()
	if err != nil {
		return api.IssuedToken{}, err
	}
	issued, err := a.Authority.RevealToken(c.request.Context(), c.caller, id)
	if err != nil {
		return api.IssuedToken{}, err
	}
	return issuedOf(issued), nil
}

func (a *API) restoreToken(c *call, _ none) (api.Token, error) {
	id, err := c.tokenID()
	if err != nil {
		return api.Token{}, err
	}
	view, err := a.Authority.RestoreToken(c.request.Context(), c.caller, id)
	if err != nil {
		return api.Token{}, err
	}
	return tokenOf(view), nil
}

const defaultReplaceOverlap = 24 * time.Hour

func (a *API) replaceToken(c *call, in api.ReplaceToken) (api.IssuedToken, error) {
	var wrong faults
	overlap := wrong.duration("overlap", in.Overlap, defaultReplaceOverlap)
	if err := wrong.err(); err != nil {
		return api.IssuedToken{}, err
	}
	id, err := c.tokenID()
	if err != nil {
		return api.IssuedToken{}, err
	}
	replace := a.Authority.ReplaceToken
	if in.RetireWhenSeen {
		replace = a.Authority.ReplaceWhenSeen
	}
	issued, err := replace(c.request.Context(), c.caller, id, overlap)
	if err != nil {
		return api.IssuedToken{}, err
	}
	c.writer.Header().Set("Location", "/api/v1/tokens/"+issued.ID.String())
	return issuedOf(issued), nil
}

func (a *API) undoReplace(c *call, _ none) (api.Token, error) {
	id, err := c.tokenID()
	if err != nil {
		return api.Token{}, err
	}
	return tokenAnswer(a.Authority.UndoReplace(c.request.Context(), c.caller, id))
}

func (a *API) markContacted(c *call, in api.MarkContacted) (api.Token, error) {
	id, err := c.tokenID()
	if err != nil {
		return api.Token{}, err
	}
	return tokenAnswer(a.Authority.MarkContacted(c.request.Context(), c.caller, id, in.Note))
}

func tokenAnswer(v authority.TokenView, err error) (api.Token, error) {
	if err != nil {
		return api.Token{}, err
	}
	return tokenOf(v), nil
}

func issuedOf(i authority.Issued) api.IssuedToken {
	return api.IssuedToken{Token: tokenOf(i.TokenView), Text: api.NewSecret(i.Text.Unsafe())}
}

func tokenOf(v authority.TokenView) api.Token {
	t := api.Token{
		ID: v.ID.String(), ClientID: v.ClientID, Role: string(v.Role), Tags: list(v.Tags), Audience: list(v.Audience), Issuer: v.Issuer,
		Description: v.Description, Contact: v.Contact, AllowedAddresses: []string{}, CreatedAt: v.CreatedAt.UTC(), CreatedBy: v.CreatedBy,
		ExpiresAt: moment(v.ExpiresAt), KeyID: v.KeyID.String(), State: string(v.State),
		LastUsedAt: moment(v.LastUse.At), LastUsedFrom: v.LastUse.From, Requests24h: v.Requests,
		DeletedAt: moment(v.DeletedAt), DeletedBy: v.DeletedBy, RestorableUntil: moment(v.RestorableUntil),
		Replaces: v.Replaces.String(), ReplacedBy: v.ReplacedBy.String(), EndsAt: moment(v.EndsAt),
		RetireWhenSeen: v.RetireWhenSeen, Reuse: reuseOf(v.Reused),
	}
	if at := moment(v.Contacted.At); at != nil {
		t.Contacted = &api.Contact{At: *at, By: v.Contacted.By, Note: v.Contacted.Note}
	}
	for _, p := range v.AllowedAddresses {
		t.AllowedAddresses = append(t.AllowedAddresses, p.String())
	}
	return t
}

// list is never null on the wire.
func list[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return slices.Clone(in)
}

// moment is null on the wire when it is zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
