package gateway

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
)

// The error codes of RFC 6749 section 5.2 and RFC 6750 section 3.1 that are told;
// the last one is that of RFC 6749 section 4.1.2.1.
const (
	invalidRequest    = "invalid_request"
	invalidClient     = "invalid_client"
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
	tooMany           = "too_many_requests"
	unavailable       = "temporarily_unavailable"
)

// fault is a refusal in the language of OAuth. Its text is ours throughout.
// The zero fault is none.
type fault struct {
	status     int
	code, text string
	challenge  string         // WWW-Authenticate; "": none
	quota      *liveset.Quota // of a limit that is reached
}

func badRequest(text string) fault {
	return fault{status: http.StatusBadRequest, code: invalidRequest, text: text}
}

// write answers the refusal (RFC 6749 section 5.2).
func (f fault) write(w http.ResponseWriter) {
	f.tell(w)
	answerJSON(w, f.status, []byte(`{"error":"`+f.code+`","error_description":"`+f.text+`"}`))
}

// tell sets the fields that say more than the status.
func (f fault) tell(w http.ResponseWriter) {
	if f.challenge != "" {
		w.Header().Set("WWW-Authenticate", f.challenge)
	}
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	edge.TellQuota(w.Header(), f.quota)
}

// retryAfter is when asking again is worth while the state is unknown, in
// seconds.
const retryAfter = "5"

func answerJSON(w http.ResponseWriter, status int, body []byte) {
	// The names are in their canonical form, and one array holds what they are: a
	// door is asked often.
	h, values := w.Header(), [...]string{"no-store", "nosniff", "application/json"}
	h["Cache-Control"], h["X-Content-Type-Options"], h["Content-Type"] = values[0:1:1], values[1:2:2], values[2:3:3]
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever left does not read it
}

// asker is who asks about a token, somebody else's or its own.
type asker struct {
	caller   authority.Caller
	audience []string // of its own token
	whole    bool     // an administrator of this authority: any token is its business
}

// sees is what a token must be for the asker to know of it. Whoever asks stands
// between us and the client, whose address is not known here: it is in no range,
// so a token that is bound to addresses is not good here.
func (a asker) sees(in edge.Inbound) liveset.Demand {
	return liveset.Demand{Purpose: liveset.ForToken, Audience: a.audience, AnyAudience: a.whole, Via: in.Addr, RequestID: in.RequestID}
}

// askerOf is whom a verdict has let in. An Admin token for other recipients than
// this authority is no administrator of it.
func askerOf(caller authority.Caller, i liveset.Identity, own []string) asker {
	whole := caller.Local() || i.Login
	if i.Role == authority.RoleAdmin {
		whole = whole || slices.ContainsFunc(i.Audience, func(s string) bool { return slices.Contains(own, s) })
	}
	return asker{caller, i.Audience, whole}
}

// proof is the credential of an asker.
type proof struct {
	edge.Credential
	secret bool   // it came as a client secret, in the header or in the form
	id     string // the client ID beside it
}

// proofOf takes the credential from exactly one place (RFC 6749 section 2.3). A
// client secret is the text of a token, the client ID whom it speaks for.
func proofOf(r *http.Request, f *form) proof {
	fields := r.Header["Authorization"]
	if posted := f.clientSecret.value; posted != "" {
		p := proof{edge.Credential{Text: posted, Present: true}, true, f.clientID.value}
		switch {
		case len(fields) > 0:
			p.Fault = "Authenticate in one way only."
		case p.id == "":
			p.Fault = "A client secret comes with its client ID."
		}
		return p
	}
	if len(fields) == 1 && len(fields[0]) > 6 && strings.EqualFold(fields[0][:6], "Basic ") {
		return basicOf(r)
	}
	return proof{Credential: edge.BearerOf(r)}
}

// basicOf reads client_secret_basic: both halves are escaped like a form's (RFC
// 6749 section 2.3.1). Neither a client ID nor a token has a sign that this
// changes, so a client that escapes nothing is understood as well.
func basicOf(r *http.Request) proof {
	user, pass, ok := r.BasicAuth()
	id, wrongID := url.QueryUnescape(user)
	text, wrongText := url.QueryUnescape(pass)
	p := proof{edge.Credential{Text: text, Present: true}, true, id}
	if !ok || wrongID != nil || wrongText != nil {
		p.Fault = "The Authorization field is: Basic, one space, client ID and secret in base64."
	}
	return p
}

// speaksFor reports whether the client IDs that were sent, beside the credential
// and in the form, are the token's. A secret needs one.
func (p proof) speaksFor(clientID, inForm string) bool {
	return (p.id == clientID || p.id == "" && !p.secret) && (inForm == clientID || inForm == "")
}

// refused is the refusal of an asker: 401 whatever the reason (RFC 7662 section
// 2.3), in the scheme that was used, Bearer when there was none.
func (p proof) refused(v liveset.Verdict, role authority.Role) fault {
	class := v.Reason.Class()
	if f := undecided(v); f.status != 0 {
		return f
	}
	switch {
	case p.Fault != "" && p.secret:
		return badRequest(p.Fault)
	case p.secret:
		return fault{
			status: http.StatusUnauthorized, code: invalidClient, text: "The client ID and its secret are not good here.",
			challenge: `Basic realm="mintmark", charset="UTF-8"`,
		}
	}
	if v.Reason != liveset.RoleInsufficient {
		role = ""
	}
	status, challenge := edge.Challenge(class, p.Credential, role)
	f := fault{status: http.StatusUnauthorized, code: invalidToken, text: "Invalid token.", challenge: challenge}
	switch {
	case status == http.StatusBadRequest:
		f.status, f.code, f.text = status, invalidRequest, p.Fault
	case class == liveset.ClassMissing:
		f.code, f.text = invalidClient, "Authenticate with a token."
	case class == liveset.ClassForbidden:
		f.code, f.text = insufficientScope, "The token does not allow this."
	}
	return f
}

// undecided is the refusal where nothing is said of the token itself; the zero
// fault where something is.
func undecided(v liveset.Verdict) fault {
	switch v.Reason.Class() {
	case liveset.ClassUnknown:
		return fault{status: http.StatusServiceUnavailable, code: unavailable, text: "The state of the tokens is not known now. Try again."}
	case liveset.ClassLimited:
		return fault{status: http.StatusTooManyRequests, code: tooMany, text: "Too many requests. Retry-After says when one more is admitted.", quota: v.Quota}
	case liveset.ClassAllow, liveset.ClassMissing, liveset.ClassInvalid, liveset.ClassForbidden:
	}
	return fault{}
}

// door is what the OAuth doors have in common: who may ask there.
type door struct {
	live     edge.Decider
	audience func() []string
	role     authority.Role // "": any
}

// admit finds out who asks and what. Unless the reason is Allowed, the refusal has
// been written. Who asks comes first, so nobody else learns what a form should be.
func (d door) admit(w http.ResponseWriter, r *http.Request, in edge.Inbound) (who asker, token string, _ liveset.Reason) {
	f, wrong := formOf(w, r)
	who, v, p := d.authenticate(r, in, &f)
	switch {
	case !v.Allow():
		p.refused(v, d.role).write(w)
		return asker{}, "", v.Reason
	case wrong.status == 0 && f.token.value == "":
		wrong = badRequest("Send the token in the parameter token.")
	}
	if wrong.status != 0 {
		wrong.write(w)
		return asker{}, "", liveset.Undecided
	}
	return who, f.token.value, liveset.Allowed
}

func (d door) authenticate(r *http.Request, in edge.Inbound, f *form) (asker, liveset.Verdict, proof) {
	if in.Operator != "" {
		v := liveset.Verdict{Reason: liveset.Allowed}
		return askerOf(authority.LocalOperator(in.Operator, in.Origin()), v.Identity, nil), v, proof{}
	}
	p := proofOf(r, f)
	if p.Fault != "" {
		p.Text = ""
	}
	v := d.live.Decide(p.Text, liveset.Demand{
		Purpose: liveset.ForOwnCalls, Role: d.role, ClientID: cmp.Or(p.id, f.clientID.value), AnyAudience: true, From: in.Addr, Via: in.Via, RequestID: in.RequestID, Fault: p.Fault,
	})
	if v.Reason == liveset.ClientIDNotAllowed || v.Allow() && !p.speaksFor(v.Identity.ClientID, f.clientID.value) {
		v.Reason = liveset.Mismatch // whose token it is, is not told
	}
	return askerOf(v.Identity.Caller(in.Origin()), v.Identity, d.audience()), v, p
}
