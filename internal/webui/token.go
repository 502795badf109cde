package webui

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// tokenBody is the page of one token and whichever dialog is open over it, which
// may be about its successor.
type tokenBody struct {
	tokenDialog
	Of      authority.TokenView // whose page it is
	Key     authority.Key
	Claims  string
	History authority.AuditPage
	Usage   usage
	Kept    kept
	Form    replaceForm
	Choices []choice
	InUse   bool
	Mistype bool

	Successor authority.TokenView // while there are both
	Takes     bool                // the successor is in use, and taking it back asks for the client ID
}

// replaceForm is the dialog Replace as it was filled in.
type replaceForm struct {
	Overlap, Confirm string
	WhenSeen         bool
}

// Back is the address of the page.
func (b tokenBody) Back(authority.TokenID) string { return "/tokens/" + string(b.Of.ID) }

func (w *console) tokenPage(rw http.ResponseWriter, r *http.Request, a admin) {
	if t, ok := w.tokenOf(rw, r, a); ok {
		w.showToken(visit{rw, r, a}, http.StatusOK, tokenBody{Of: t}, page{})
	}
}

func (w *console) showToken(v visit, status int, b tokenBody, p page) {
	if err := w.loadToken(v, &b); err != nil {
		w.failure(v.rw, v.r, &v.admin, err)
		return
	}
	w.copyFacts(v.admin, &b.tokenDialog)
	p.Name, p.Nav, p.Body, p.Shell = "token", "tokens", b, []string{w.command("token", "show", b.Of.ID.Short())}
	if p.Title == nil {
		p.Title = message.Verbatim(b.Of.ClientID)
	}
	w.render(v.rw, v.r, &v.admin, status, p)
}

func (w *console) loadToken(v visit, b *tokenBody) error {
	ctx := v.r.Context()
	var err error
	if b.History, err = w.Authority.Audit(ctx, v.Caller, authority.AuditQuery{Target: string(b.Of.ID), Limit: 50}); err != nil {
		return err
	}
	keys, err := w.Authority.Keys(ctx, v.Caller)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.ID == b.Of.KeyID {
			b.Key = k
		}
	}
	known, err := w.Authority.TokenUsage(ctx, v.Caller, b.Of.ID)
	if err != nil {
		return err
	}
	if b.Of.ReplacedBy != "" && b.Of.State == authority.StateActive {
		if b.Successor, err = w.Authority.Token(ctx, v.Caller, b.Of.ReplacedBy); err != nil {
			return err
		}
		b.Takes = w.inUse(b.Successor)
	}
	b.Kept = w.kept()
	b.Usage = usageOf(known, v.r.URL.Query().Get("requests"), keys)
	b.Claims = claimsText(b.Of, b.Key)
	return nil
}

func (w *console) replacePage(rw http.ResponseWriter, r *http.Request, a admin) {
	if t, ok := w.tokenOf(rw, r, a); ok {
		w.askReplace(visit{rw, r, a}, http.StatusOK, tokenBody{Of: t, Form: replaceForm{Overlap: day.String(), WhenSeen: true}}, page{})
	}
}

func (w *console) askReplace(v visit, status int, b tokenBody, p page) {
	if b.Of.State != authority.StateActive || b.Of.ReplacedBy != "" {
		w.failure(v.rw, v.r, &v.admin, &authority.Error{Kind: authority.Conflict, Msg: "Only a token that works and has no successor yet can be replaced."})
		return
	}
	now := w.Now().UTC()
	b.Dialog, b.Token, b.InUse = "replace", b.Of, w.inUse(b.Of)
	b.Choices = []choice{{"0s", say("Now – leak"), say("it is refused at once"), now}}
	for _, c := range []choice{{"", spell(time.Hour), say("you can restart the client now"), now.Add(time.Hour)}, {"", hours24(), say("you deploy daily"), now.Add(day)}, {"", spell(7 * day), say("somebody else has to do it"), now.Add(7 * day)}} {
		c.Value = c.Until.Sub(now).String()
		b.Choices = append(b.Choices, c)
	}
	p.Title, p.Dialog = say("Replace the token of {client}?", "client", b.Of.ClientID), []string{w.command("token", "replace", b.Of.ID.Short(), "--overlap", "24h")}
	w.showToken(v, status, b, p)
}

func (w *console) replaceToken(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	v := visit{rw, r, a}
	b := tokenBody{Of: t, Form: replaceForm{r.PostFormValue("overlap"), strings.TrimSpace(r.PostFormValue("confirm")), r.PostFormValue("when_seen") != ""}}
	overlap, err := time.ParseDuration(b.Form.Overlap)
	if err != nil {
		b.Form.Overlap = day.String()
		w.askReplace(v, http.StatusUnprocessableEntity, b, page{Problem: say("Choose how long the old token works on.")})
		return
	}
	if overlap == 0 && w.inUse(t) && b.Form.Confirm != t.ClientID {
		b.Mistype = true
		w.askReplace(v, http.StatusUnprocessableEntity, b, page{})
		return
	}
	replace := w.Authority.ReplaceToken
	if b.Form.WhenSeen && overlap > 0 {
		replace = w.Authority.ReplaceWhenSeen
	}
	issued, err := replace(r.Context(), a.Caller, t.ID, overlap)
	if err != nil {
		if kind := authority.KindOf(err); kind != authority.Internal {
			p := page{}
			p.Errors, p.Problem = faults(err)
			w.askReplace(v, statusOf(kind), b, p)
			return
		}
		w.failure(rw, r, &a, err)
		return
	}
	if b.Of, ok = w.tokenOf(rw, r, a); !ok {
		return
	}
	b.tokenDialog = tokenDialog{Dialog: "replaced", Token: issued.TokenView, Text: issued.Text.Unsafe()}
	w.showToken(v, http.StatusCreated, b, page{Title: say("Token replaced"), Dialog: []string{w.command("token", "replace", "--undo", t.ID.Short())}})
}

func (w *console) undoReplace(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	b := tokenBody{Of: t}
	if err := w.loadToken(visit{rw, r, a}, &b); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	if b.Takes && strings.TrimSpace(r.PostFormValue("confirm")) != t.ClientID {
		w.showToken(visit{rw, r, a}, http.StatusUnprocessableEntity, tokenBody{Of: t, Mistype: true}, page{})
		return
	}
	if _, err := w.Authority.UndoReplace(r.Context(), a.Caller, t.ID); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	http.Redirect(rw, r, "/tokens/"+string(t.ID)+"?done=kept&id="+string(t.ID), http.StatusSeeOther)
}

// claimsText is what the token says, without its signature.
func claimsText(t authority.TokenView, k authority.Key) string {
	header := struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
		Typ string `json:"typ"`
	}{k.Algorithm, string(t.KeyID), authority.TypeToken}
	claims := struct {
		Iss      string   `json:"iss"`
		Sub      string   `json:"sub"`
		ClientID string   `json:"client_id"`
		Aud      []string `json:"aud"`
		Jti      string   `json:"jti"`
		Iat      int64    `json:"iat"`
		Exp      int64    `json:"exp,omitempty"`
		Role     string   `json:"role"`
		Tags     []string `json:"tags,omitempty"`
	}{t.Issuer, t.ClientID, t.ClientID, t.Audience, string(t.ID), t.CreatedAt.Unix(), 0, string(t.Role), t.Tags}
	if !t.ExpiresAt.IsZero() {
		claims.Exp = t.ExpiresAt.Unix()
	}
	head, _ := json.Marshal(header) // strings and numbers cannot fail
	body, _ := json.MarshalIndent(claims, "", "  ")
	return string(head) + "\n" + string(body) + "\n(signature not shown)"
}
