// Package gateway is the doors that stand before somebody else's API: a proxy
// asks whether a request may pass, or the API whose a token is, and the live set
// answers.
//
// It touches requests and answers only. No store is reached but by the rules, when
// a token is revoked, and no body is read but of who asks about a token.
//
// The one hard idea: what a door is asked can only demand more. Some proxies
// hand the client's own query on, so no parameter may ever widen what is let
// through.
package gateway

import (
	"encoding/json"
	"net/http"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
)

// Verify is the forward-auth door. It answers any method with 200 and who the
// token speaks for, 401 or 403 with a problem document, or 503 while the state is
// unknown, and with nothing else: a proxy takes every other status for a fault
// of the door (nginx answers 500 to its client). So a malformed credential is
// 401 here, a demand that cannot be understood is 403, since no token meets it,
// and so is a limit that is reached: Retry-After tells that one from the others.
//
// The query demands more: role (admin, or user, which is the default), tag
// (repeatable, all are needed), client_id, audience (one of the server's own).
// Other parameters are ignored; Misspelt is told of those that look like a slip.
type Verify struct {
	Live edge.Decider
	// Misspelt is told of a parameter that demands nothing and is one or two
	// letters off one that would; it is called for each request. nil: nobody is told.
	Misspelt func(sent, meant string)
	// Audience is the server's own audience: a door can ask for one of these and
	// for no other.
	Audience func() []string
}

// problem is an RFC 9457 document without details.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	RequestID string `json:"request_id,omitempty"`
}

// ServeHTTP answers r where a multiplexer found the door.
func (v Verify) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	edge.Judged(r, v.Answer(w, r, edge.Of(r)))
}

// Answer is the whole door; see [edge.Door].
func (v Verify) Answer(w http.ResponseWriter, r *http.Request, in edge.Inbound) liveset.Reason {
	cred := edge.BearerOf(r)
	d := v.demand(r, in)
	if cred.Fault != "" {
		d.Fault = cred.Fault
	}
	// The operator's socket opens no door: here the token itself is asked about.
	verdict := v.Live.Decide(cred.Text, d)
	if !verdict.Allow() {
		common(w)
		refuse(w, in, refusal{verdict, cred, d})
		return verdict.Reason
	}
	// All four are set, also when empty: a header that is absent would let the
	// client's own copy through. The names are in their canonical form, and one
	// array holds what they are: a door is asked often.
	h, who := w.Header(), &verdict.Identity
	values := [...]string{"no-store", "nosniff", who.ClientID, string(who.Role), who.TagList, who.ID}
	h["Cache-Control"], h["X-Content-Type-Options"] = values[0:1:1], values[1:2:2]
	h["X-Auth-Client-Id"], h["X-Auth-Role"] = values[2:3:3], values[3:4:4]
	h["X-Auth-Tags"], h["X-Auth-Token-Id"] = values[4:5:5], values[5:6:6]
	edge.TellQuota(h, verdict.Quota)
	w.WriteHeader(http.StatusOK)
	return verdict.Reason
}

// common is what every answer has; Answer sets the same for those that allow.
func common(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// demand reads what the door asks.
func (v Verify) demand(r *http.Request, in edge.Inbound) (d liveset.Demand) {
	if r.URL.RawQuery != "" {
		if query := demands(r.URL.RawQuery, v.Misspelt); query != nil {
			d = ReadDemand(query, v.Audience())
		} else {
			d.Fault = "The query is malformed."
		}
	}
	d.Purpose, d.From, d.Via, d.RequestID = liveset.ForToken, in.Addr, in.Via, in.RequestID
	return d
}

// refusal is why a request may not pass.
type refusal struct {
	verdict liveset.Verdict
	cred    edge.Credential
	demand  liveset.Demand
}

// role is the one that is missing, when that is why.
func (f refusal) role() authority.Role {
	switch {
	case f.verdict.Reason != liveset.RoleInsufficient:
		return ""
	case f.demand.Role == "":
		return authority.RoleUser
	}
	return f.demand.Role
}

// problem is what a client is told, with the challenge that goes with it.
func (f refusal) problem() (p problem, challenge string) {
	if f.verdict.Reason == liveset.DemandInvalid {
		return problem{Status: http.StatusForbidden, Code: "demand.invalid", Detail: f.demand.Fault}, ""
	}
	class := f.verdict.Reason.Class()
	p.Status, challenge = edge.Challenge(class, f.cred, f.role())
	switch p.Status {
	case http.StatusBadRequest:
		p.Code, p.Detail = "credential.malformed", f.cred.Fault
	case http.StatusForbidden:
		p.Code, p.Detail = "token.insufficient", "The token does not allow this."
	case http.StatusTooManyRequests:
		p.Code, p.Detail = "rate.limited", "Too many requests. Retry-After says when one more is admitted."
	case http.StatusServiceUnavailable:
		p.Code, p.Detail = "state.unknown", "The state of the tokens is not known now. Try again."
	case http.StatusUnauthorized:
		p.Code, p.Detail = "token.invalid", "Invalid token."
		if class == liveset.ClassMissing {
			p.Code, p.Detail = "token.missing", "Send an API token."
		}
	}
	return p, challenge
}

// refuse answers by the statuses that a proxy takes from a door; see Verify.
func refuse(w http.ResponseWriter, in edge.Inbound, f refusal) {
	p, challenge := f.problem()
	switch p.Status {
	case http.StatusBadRequest:
		p.Status = http.StatusUnauthorized
	case http.StatusTooManyRequests:
		p.Status = http.StatusForbidden
	}
	f.write(w, in, p, challenge)
}

func (f refusal) write(w http.ResponseWriter, in edge.Inbound, p problem, challenge string) {
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	edge.TellQuota(w.Header(), f.verdict.Quota)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	write(w, in, p)
}

func write(w http.ResponseWriter, in edge.Inbound, p problem) {
	p.RequestID = in.RequestID
	body := p.text()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the status is sent; whoever left does not read the rest
}

func (p problem) text() []byte {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	text, _ := json.Marshal(p) // of texts and a number: it never fails
	return append(text, '\n')
}
