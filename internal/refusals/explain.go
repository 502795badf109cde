package refusals

import (
	"net/netip"
	"slices"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// Question asks why a request was refused, by its id; or how a door would answer a
// token, with what it demands. The members are as people write them.
type Question struct {
	RequestID string
	Token     authority.Secret
	Door      string // one of Doors; "": forward_auth
	Role      string
	Tags      []string
	ClientID  string
	Audience  []string
	From      string // the address that the request comes from
}

// Answer is every check in the order in which it is made; the last is the verdict.
type Answer struct {
	Refusal  *Refusal     // nil: a token was asked about
	From     string       // the refused client's address as it is shown; "": the door did not know it
	Said     liveset.Said // by the token
	Findings []liveset.Finding
}

// Cause is the first finding that is not good, or nil.
func (a Answer) Cause() *liveset.Finding {
	for i := range a.Findings {
		if !a.Findings[i].OK {
			return &a.Findings[i]
		}
	}
	return nil
}

// Doors are those that a token can be asked about.
func Doors() []string {
	return []string{"forward_auth", "guard", "ext_authz", "introspection", "kubernetes", "api"}
}

// Explain answers an administrator. It is NotFound for a request ID that is not
// kept, and Invalid with the fields for a question that is none.
func (l *Log) Explain(c authority.Caller, q Question) (Answer, error) {
	if err := authority.Permit(c); err != nil {
		return Answer{}, err
	}
	demand, err := q.demand()
	if err != nil {
		return Answer{}, err
	}
	if q.RequestID == "" {
		return Answer{Said: liveset.SaidBy(q.Token.Unsafe()), Findings: l.config.Live.Explain(q.Token.Unsafe(), demand)}, nil
	}
	since := l.config.Now().Add(-Keep)
	found, other := l.ours.find(q.RequestID, since), l.foreign.find(q.RequestID, since)
	if found == nil || other != nil && other.At.After(found.At) {
		found = other
	}
	if found == nil {
		return Answer{}, l.unknown()
	}
	out := Answer{Refusal: found, Said: found.Said, Findings: l.config.Live.ExplainRefusal(found.Refusal)}
	if from := found.Demand.From; from.IsValid() {
		out.From = authority.AddressText(from, l.config.Masked != nil && l.config.Masked())
	}
	return out, nil
}

// demand reads the question.
func (q Question) demand() (liveset.Demand, error) {
	var wrong []authority.FieldError
	add := func(field, code, msg string) {
		wrong = append(wrong, authority.FieldError{Field: field, Code: code, Msg: msg})
	}
	d := liveset.Demand{Tags: q.Tags, ClientID: q.ClientID}
	if len(q.Audience) > 0 {
		d.Audience = q.Audience
	}
	switch {
	case q.Token.Unsafe() == "" && q.RequestID == "":
		add("token", "token.empty", "Paste a token, or a request ID.")
	case q.Token.Unsafe() != "" && q.RequestID != "":
		add("request_id", "request_id.both", "Paste a token or a request ID, not both.")
	case q.RequestID != "" && q.asks():
		add("request_id", "request_id.demand", "What was demanded is kept with the request ID: leave the rest out.")
	}
	if q.Role != "" {
		role, err := authority.ParseRole(q.Role)
		if err != nil {
			add("role", "role.unknown", err.Error())
		}
		d.Role = role
	}
	if q.From != "" {
		from, err := netip.ParseAddr(q.From)
		if err != nil || from.Zone() != "" {
			add("from", "from.form", "An address is IPv4 or IPv6, without a port and a zone.")
		}
		d.From = from.Unmap()
	}
	switch q.Door {
	case "", "forward_auth", "guard", "ext_authz":
	case "introspection", "kubernetes": // whoever asks there stands between us and the client
		d.From = netip.Addr{}
	case "api":
		d.Purpose = liveset.ForOwnCalls
	default:
		add("door", "door.unknown", "A door is one of "+strings.Join(Doors(), ", ")+".")
	}
	if len(wrong) == 0 {
		return d, nil
	}
	msg := "The request is not valid."
	if len(wrong) == 1 {
		msg = wrong[0].Msg
	}
	return d, &authority.Error{Kind: authority.Invalid, Code: "request.invalid", Msg: msg, Fields: wrong}
}

// asks reports whether anything is demanded.
func (q Question) asks() bool {
	return q.Door+q.Role+q.ClientID+q.From != "" || len(slices.Concat(q.Tags, q.Audience)) > 0
}
