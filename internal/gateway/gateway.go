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
// 401 here, and a demand that cannot be understood is 403: no token meets it.
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

func (v Verify) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	cred := edge.BearerOf(r)
	if !cred.Present || cred.Fault != "" {
		refuse(w, r, refusal{reason: liveset.NoCredential, cred: cred})
		return
	}
	// The operator's socket opens no door: here the token itself is asked about.
	d, fault := v.demand(r)
	if fault != "" {
		write(w, r, problem{Status: http.StatusForbidden, Code: "demand.invalid", Detail: fault})
		return
	}
	verdict := v.Live.Decide(cred.Text, d)
	if !verdict.Allow() {
		refuse(w, r, refusal{verdict.Reason, cred, d})
		return
	}
	// All four are set, also when empty: a header that is absent would let the
	// client's own copy through.
	h, who := w.Header(), verdict.Identity
	h.Set("X-Auth-Client-Id", who.ClientID)
	h.Set("X-Auth-Role", string(who.Role))
	h.Set("X-Auth-Tags", strings.Join(who.Tags, ","))
	h.Set("X-Auth-Token-Id", who.ID)
	w.WriteHeader(http.StatusOK)
}

// demand reads what the door asks; fault says what of it cannot be understood,
// never what was sent.
func (v Verify) demand(r *http.Request) (d liveset.Demand, fault string) {
	d = liveset.Demand{Purpose: liveset.ForToken, From: edge.Of(r).Addr}
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
	reason liveset.Reason
	cred   edge.Credential
	demand liveset.Demand
}

// role is the one that is missing, when that is why.
func (f refusal) role() authority.Role {
	switch {
	case f.reason != liveset.RoleInsufficient:
		return ""
	case f.demand.Role == "":
		return authority.RoleUser
	}
	return f.demand.Role
}

func refuse(w http.ResponseWriter, r *http.Request, f refusal) {
	status, challenge := edge.Challenge(f.reason.Class(), f.cred, f.role())
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	p := problem{Status: status}
	switch status {
	case http.StatusBadRequest:
		p.Status, p.Code, p.Detail = http.StatusUnauthorized, "credential.malformed", f.cred.Fault
	case http.StatusForbidden:
		p.Code, p.Detail = "token.insufficient", "The token does not allow this."
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
		p.Code, p.Detail = "state.unknown", "The state of the tokens is not known now. Try again."
	case http.StatusUnauthorized:
		p.Code, p.Detail = "token.invalid", "Invalid token."
		if f.reason.Class() == liveset.ClassMissing {
			p.Code, p.Detail = "token.missing", "Send an API token."
		}
	}
	write(w, r, p)
}

func write(w http.ResponseWriter, r *http.Request, p problem) {
	p.Type, p.Title, p.RequestID = "about:blank", http.StatusText(p.Status), edge.Of(r).RequestID
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the status is sent; whoever left does not read the rest
}
