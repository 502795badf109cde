package webui

import (
	"net/http"
	"time"

	"mintmark/internal/authority"
)

// notice is the outcome of the change before, in the strip under the title.
type notice struct {
	Text      string
	RestoreID string
	Until     time.Time
}

// notice is chosen by a code in the address; no text of the address is shown.
func (w *console) notice(r *http.Request, a *admin) notice {
	if a == nil || r.Method != http.MethodGet {
		return notice{}
	}
	switch done := r.URL.Query().Get("done"); done {
	case "deleted", "restored", "kept":
		return w.tokenNotice(r, a, done)
	case "reset":
		return notice{Text: "The signing secret was reset. Every earlier token is refused from now on."}
	case "staged":
		return notice{Text: "Staged. Nothing runs differently until you apply it."}
	case "applied":
		return notice{Text: "Applied."}
	case "restart":
		return notice{Text: "Applied. Some of it takes effect at the next start."}
	case "nothing":
		return notice{Text: "Nothing was staged, so nothing changed."}
	case "discarded":
		return notice{Text: "What was staged was dropped."}
	}
	return notice{}
}

// tokenNotice says what happened to one token, if its record agrees.
func (w *console) tokenNotice(r *http.Request, a *admin, done string) notice {
	id, err := authority.ParseTokenID(r.URL.Query().Get("id"))
	if err != nil {
		return notice{}
	}
	t, err := w.Authority.Token(r.Context(), a.Caller, id)
	switch {
	case err != nil:
		return notice{}
	case done == "restored" && t.State == authority.StateActive:
		return notice{Text: "The token of " + t.ClientID + " works again."}
	case done == "kept" && t.ReplacedBy == "":
		return notice{Text: "The token of " + t.ClientID + " goes on; its successor was deleted."}
	case done == "deleted" && t.State == authority.StateDeleted:
		n := notice{Text: "The token of " + t.ClientID + " was deleted."}
		if w.Now().Before(t.RestorableUntil) {
			n.RestoreID, n.Until = string(t.ID), t.RestorableUntil
		} else {
			n.Text += " It cannot be restored."
		}
		return n
	}
	return notice{}
}
