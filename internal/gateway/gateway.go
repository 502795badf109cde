// Package gateway is the doors that stand before somebody else's API: a proxy
// asks whether a request may pass, and the live set answers.
//
// It touches requests and answers only; no store is reached and no body is read.
//
// The one hard idea: what a door is asked can only demand more. Some proxies
// hand the client's own query on, so no parameter may ever widen what is let
// through.
package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

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
// Other parameters are ignored.
type Verify struct {
	Live edge.Decider
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
	d, fault := v.demand(r, in)
	if fault != "" && cred.Text != "" {
		common(w)
		write(w, in, problem{Status: http.StatusForbidden, Code: "demand.invalid", Detail: fault})
		return liveset.Undecided
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
	values := [...]string{"no-store", "nosniff", who.ClientID, string(who.Role), strings.Join(who.Tags, ","), who.ID}
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

// demand reads what the door asks; fault says what of it cannot be understood,
// never what was sent.
func (v Verify) demand(r *http.Request, in edge.Inbound) (d liveset.Demand, fault string) {
	d = liveset.Demand{Purpose: liveset.ForToken, From: in.Addr}
	if r.URL.RawQuery == "" {
		return d, ""
	}
	query := demands(r.URL.RawQuery)
	if query == nil {
		return d, "The query is malformed."
	}
	for _, role := range query["role"] {
		switch authority.Role(role) {
		case authority.RoleAdmin:
			d.Role = authority.RoleAdmin
		case authority.RoleUser: // the least that a door asks
		default:
			return d, "A door asks for the role user or admin."
		}
	}
	for _, tag := range query["tag"] {
		if _, err := authority.ParseTag(tag); err != nil {
			return d, "A tag is name:value."
		}
		d.Tags = append(d.Tags, tag)
	}
	if ids := query["client_id"]; len(ids) > 0 {
		id, err := authority.ParseClientID(ids[0])
		if err != nil || id != ids[0] || len(ids) > 1 {
			return d, "A door asks for one client ID."
		}
		d.ClientID = id
	}
	if audience := query["audience"]; len(audience) > 0 {
		if len(audience) > 1 || !slices.Contains(v.Audience(), audience[0]) {
			return d, "A door asks for one audience, and it is one of the server's own."
		}
		d.Audience = audience
	}
	return d, ""
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

func refuse(w http.ResponseWriter, in edge.Inbound, f refusal) {
	class := f.verdict.Reason.Class()
	status, challenge := edge.Challenge(class, f.cred, f.role())
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	p := problem{Status: status}
	switch status {
	case http.StatusBadRequest:
		p.Status, p.Code, p.Detail = http.StatusUnauthorized, "credential.malformed", f.cred.Fault
	case http.StatusForbidden:
		p.Code, p.Detail = "token.insufficient", "The token does not allow this."
	case http.StatusTooManyRequests:
		edge.TellQuota(w.Header(), f.verdict.Quota)
		p.Status, p.Code, p.Detail = http.StatusForbidden, "rate.limited", "Too many requests. Retry-After says when one more is admitted."
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
		p.Code, p.Detail = "state.unknown", "The state of the tokens is not known now. Try again."
	case http.StatusUnauthorized:
		p.Code, p.Detail = "token.invalid", "Invalid token."
		if class == liveset.ClassMissing {
			p.Code, p.Detail = "token.missing", "Send an API token."
		}
	}
	write(w, in, p)
}

func write(w http.ResponseWriter, in edge.Inbound, p problem) {
	p.Type, p.Title, p.RequestID = "about:blank", http.StatusText(p.Status), in.RequestID
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the status is sent; whoever left does not read the rest
}
