package webui

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// home goes to the first page.
func (w *console) home(rw http.ResponseWriter, r *http.Request, _ admin) {
	http.Redirect(rw, r, "/tokens", http.StatusSeeOther)
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

// revealToken is Copy.
func (w *console) revealToken(rw http.ResponseWriter, r *http.Request, a admin) {
	v := visit{rw, r, a}
	w.reveal(v, "/tokens/"+r.PathValue("id"), func(issued authority.Issued, p page) {
		w.showTokens(v, http.StatusOK, tokensBody{tokenDialog: tokenDialog{Dialog: "reveal", Token: issued.TokenView, Text: issued.Text.Unsafe()}}, p)
	})
}

// reveal signs a token again. Script asks for the text alone; without script show
// renders the page with it, selected. back is where to go on once the password
// was entered.
func (w *console) reveal(v visit, back string, show func(authority.Issued, page)) {
	t, ok := w.tokenOf(v.rw, v.r, v.admin)
	if !ok {
		return
	}
	plain := v.r.Header.Get("Accept") == "text/plain"
	issued, err := w.Authority.RevealToken(v.r.Context(), v.Caller, t.ID)
	switch {
	case err != nil && plain:
		v.rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		v.rw.WriteHeader(statusOf(authority.KindOf(err)))
		_, _ = v.rw.Write([]byte(w.language(v.r).String(publicText(err))))
	case err != nil && w.stepUp(v.rw, v.r, err, back):
	case err != nil:
		w.failure(v.rw, v.r, &v.admin, err)
	case plain:
		v.rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = v.rw.Write([]byte(issued.Text.Unsafe()))
	default:
		show(issued, page{Title: say("Token of {client}", "client", t.ClientID), Dialog: []string{w.command("token", "copy", t.ID.Short())}})
	}
}

// inUse is what makes a delete ask for the client ID.
func (w *console) inUse(t authority.TokenView) bool {
	return t.State == authority.StateActive && !t.LastUse.At.IsZero() && w.Now().Sub(t.LastUse.At) < 24*time.Hour
}

func (w *console) deletePage(rw http.ResponseWriter, r *http.Request, a admin) {
	if t, ok := w.tokenOf(rw, r, a); ok {
		w.askDelete(visit{rw, r, a}, http.StatusOK, tokensBody{tokenDialog: tokenDialog{Token: t}}, nil)
	}
}

func (w *console) askDelete(v visit, status int, b tokensBody, problem message.Text) {
	b.Dialog, b.InUse = "delete", w.inUse(b.Token)
	args := []string{"token", "delete", b.Token.ID.Short()}
	if b.InUse {
		args = append(args, "--confirm", b.Token.ClientID)
	}
	w.showTokens(v, status, b, page{
		Title: say("Delete the token of {client}?", "client", b.Token.ClientID), Dialog: []string{w.command(args...)}, Problem: problem,
	})
}

func (w *console) deleteToken(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	v := visit{rw, r, a}
	if w.inUse(t) && strings.TrimSpace(r.PostFormValue("confirm")) != t.ClientID {
		w.askDelete(v, http.StatusUnprocessableEntity, tokensBody{tokenDialog: tokenDialog{Token: t}, Mistype: true}, nil)
		return
	}
	if _, err := w.Authority.RevokeToken(r.Context(), a.Caller, t.ID, r.PostFormValue("leaked") != ""); err != nil {
		if kind := authority.KindOf(err); kind != authority.Internal {
			w.askDelete(v, statusOf(kind), tokensBody{tokenDialog: tokenDialog{Token: t}}, say("The token was not deleted: {problem}", "problem", message.Told(err.Error())))
			return
		}
		w.failure(rw, r, &a, err)
		return
	}
	back(v, "deleted", t.ID)
}

func (w *console) restoreToken(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	if _, err := w.Authority.RestoreToken(r.Context(), a.Caller, t.ID); err != nil {
		if !w.stepUp(rw, r, err, "/tokens/"+string(t.ID)) {
			w.failure(rw, r, &a, err)
		}
		return
	}
	back(visit{rw, r, a}, "restored", t.ID)
}

// back returns to the list as it was filtered and says there what was done.
func back(v visit, done string, id authority.TokenID) {
	b := tokensBody{Request: listRequest(v.r)}
	b.links()
	q, _ := url.ParseQuery(b.Query) // it was made by Encode
	q.Set("done", done)
	q.Set("id", string(id))
	http.Redirect(v.rw, v.r, "/tokens?"+q.Encode(), http.StatusSeeOther)
}
