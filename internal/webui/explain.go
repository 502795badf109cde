package webui

import (
	"net/http"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/message"
	"mintmark/internal/refusals"
)

// explainForm is what was asked. A token that was pasted is not in it: it is never
// shown again.
type explainForm struct {
	RequestID, Door, Role, Tags, ClientID, From string
}

type explainBody struct {
	explainForm
	DoorName message.Text // that refused
	Reason   message.Text
	Doors    []option
	Asked    bool // there are findings
	Verdict  bool // it is let in
	Checks   []explained
	Cause    *liveset.Finding
	Refusal  *refusals.Refusal
	CameFrom string            // the refused client's address, "" when the door did not know it
	Token    authority.TokenID // of which there may be a record; "": it does not say
}

// explained is a finding and what is said of it.
type explained struct {
	liveset.Finding
	Cause bool // the first that is not good
}

// explainPage asks; a request ID may be in the address, a token never.
func (w *console) explainPage(rw http.ResponseWriter, r *http.Request, a admin) {
	if id := r.URL.Query().Get("request_id"); isRequestID(id) {
		w.showExplanation(visit{rw, r, a}, explainForm{RequestID: id}, "")
		return
	}
	w.renderExplain(visit{rw, r, a}, http.StatusOK, explainBody{}, page{})
}

func (w *console) explain(rw http.ResponseWriter, r *http.Request, a admin) {
	f := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	form, pasted := explainForm{Door: f("door"), Role: f("role"), Tags: f("tags"), ClientID: f("client_id"), From: f("from")}, f("subject")
	if scheme, rest, ok := strings.Cut(pasted, " "); ok && (strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "JWT")) {
		pasted = strings.TrimSpace(rest)
	}
	if isRequestID(pasted) {
		form.RequestID, pasted = pasted, ""
	}
	w.showExplanation(visit{rw, r, a}, form, pasted)
}

// isRequestID tells a request ID from a token, and from the beginning of one: {" in
// base64url.
func isRequestID(s string) bool { return edge.IsID(s) && !strings.HasPrefix(s, "eyJ") }

func (w *console) showExplanation(v visit, form explainForm, token string) {
	q := refusals.Question{RequestID: form.RequestID, Token: authority.NewSecret(token)}
	if q.RequestID == "" { // else what was demanded is known
		q.Door, q.Role, q.Tags, q.ClientID, q.From = form.Door, form.Role, words(form.Tags), form.ClientID, form.From
	}
	b := explainBody{explainForm: form}
	answer, err := w.Refusals.Explain(v.Caller, q)
	switch kind := authority.KindOf(err); {
	case err == nil:
	case kind == authority.Invalid || kind == authority.NotFound:
		p := page{}
		p.Errors, p.Problem = faults(err)
		for i := range p.Errors {
			if p.Errors[i].Field == "token" {
				p.Errors[i].Field = "subject"
			}
		}
		w.renderExplain(v, statusOf(kind), b, p)
		return
	default:
		w.failure(v.rw, v.r, &v.admin, err)
		return
	}
	b.Asked, b.Refusal, b.CameFrom, b.Cause = true, answer.Refusal, answer.From, answer.Cause()
	b.Verdict = b.Cause == nil
	for i := range answer.Findings {
		b.Checks = append(b.Checks, explained{answer.Findings[i], b.Cause == &answer.Findings[i]})
	}
	b.Checks = b.Checks[:len(b.Checks)-1] // the last is the verdict, which the page itself says
	if b.Refusal != nil {
		b.DoorName, b.Reason = doorName(b.Refusal.Door), reason(b.Refusal.Reason.String())
	}
	if id, err := authority.ParseTokenID(answer.Said.Claims.ID); err == nil {
		b.Token = id
	}
	w.renderExplain(v, http.StatusOK, b, page{})
}

func (w *console) renderExplain(v visit, status int, b explainBody, p page) {
	for _, door := range refusals.Doors() {
		b.Doors = append(b.Doors, option{door, doorName(door)})
	}
	p.Name, p.Title, p.Nav, p.Body = "explain", say("Explain a refusal"), "explain", b
	p.Shell = []string{w.command("token", "inspect") + " < token.txt", w.command("token", "inspect", "--request", "ID")}
	w.render(v.rw, v.r, &v.admin, status, p)
}

// doorName is what people call a door.
func doorName(door string) message.Text {
	switch door {
	case "forward_auth":
		return say("Forward-auth")
	case "guard":
		return say("Guard")
	case "ext_authz":
		return message.Verbatim("Envoy (ext_authz)")
	case "introspection":
		return say("Introspection")
	case "revocation":
		return say("Revocation")
	case "kubernetes":
		return message.Verbatim("Kubernetes (TokenReview)")
	case "api":
		return say("API of Mintmark")
	}
	return message.Verbatim(door)
}
