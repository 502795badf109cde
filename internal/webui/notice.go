package webui

import (
	"net/http"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// notice is the outcome of the change before, in the strip under the title.
type notice struct {
	Texts     []message.Text // a sentence each
	RestoreID string
	Until     time.Time
}

func noted(sentences ...message.Text) notice { return notice{Texts: sentences} }

// notice is chosen by a code in the address; no text of the address is shown.
func (w *console) notice(r *http.Request, a *admin) notice {
	if a == nil || r.Method != http.MethodGet {
		return notice{}
	}
	done := r.URL.Query().Get("done")
	switch done {
	case "deleted", "restored", "kept":
		return w.tokenNotice(r, a, done)
	}
	return outcome(done)
}

// outcome is what there is to say of a change that is known by its code alone.
func outcome(done string) notice {
	switch done {
	case "reset":
		return noted(say("The signing secret was reset. Every earlier token is refused from now on."))
	case "staged":
		return noted(say("Staged. Nothing runs differently until you apply it."))
	case "applied":
		return noted(say("Applied."))
	case "restart":
		return noted(say("Applied. Some of it takes effect at the next start."))
	case "settings-kept":
		return noted(say("The settings are kept."))
	case "settings-back":
		return noted(say("The settings are what they were before."))
	case "more-time":
		return noted(say("There are 10 more minutes to keep the settings."))
	case "nothing":
		return noted(say("Nothing was staged, so nothing changed."))
	case "discarded":
		return noted(say("What was staged was dropped."))
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
		return noted(say("The token of {client} works again.", "client", t.ClientID))
	case done == "kept" && t.ReplacedBy == "":
		return noted(say("The token of {client} goes on; its successor was deleted.", "client", t.ClientID))
	case done == "deleted" && t.State == authority.StateDeleted:
		n := noted(say("The token of {client} was deleted.", "client", t.ClientID))
		if w.Now().Before(t.RestorableUntil) {
			n.RestoreID, n.Until = string(t.ID), t.RestorableUntil
		} else {
			n.Texts = append(n.Texts, say("It cannot be restored."))
		}
		return n
	}
	return notice{}
}
