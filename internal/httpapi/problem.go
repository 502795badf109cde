package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
)

// fault is a refusal that HTTP itself has a status for.
type fault struct {
	status       int
	code, detail string
}

func (f *fault) Error() string { return f.detail }

// verdictError is a refused credential.
type verdictError struct {
	cred    edge.Credential
	verdict liveset.Verdict
}

func (*verdictError) Error() string { return "the credential was refused" }

// unknownRetry is when asking again is worth while the state is unknown.
const unknownRetry = 5 * time.Second

// refuse answers an error as a problem document. It is the one place where
// errors become HTTP.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := api.Problem{Type: "about:blank", RequestID: edge.Of(r).RequestID}
	var wait time.Duration
	var f *fault
	var v *verdictError
	switch {
	case errors.As(err, &f):
		p.Status, p.Code, p.Detail = f.status, f.code, f.detail
	case errors.As(err, &v):
		wait = v.fill(w, &p)
	default:
		wait = fill(&p, err)
		if p.Status == http.StatusUnauthorized {
			_, challenge := edge.Challenge(liveset.ClassMissing, edge.Credential{}, "")
			w.Header().Set("WWW-Authenticate", challenge)
		}
		if p.Status >= http.StatusInternalServerError {
			a.Log.Error("request failed", "request_id", p.RequestID, "route", r.Pattern, "code", p.Code, "err", causes(err))
		}
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	p.Title = http.StatusText(p.Status)
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the status is sent; whoever left does not read the rest
}

// fill tells a refused credential: all invalid tokens read alike.
func (v *verdictError) fill(w http.ResponseWriter, p *api.Problem) time.Duration {
	class := v.verdict.Reason.Class()
	var missing authority.Role
	if v.verdict.Reason == liveset.RoleInsufficient {
		missing = authority.RoleAdmin // the one role that a route asks for
	}
	status, challenge := edge.Challenge(class, v.cred, missing)
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	p.Status = status
	switch {
	case v.cred.Fault != "":
		p.Code, p.Detail = api.CodeCredentialMalformed, v.cred.Fault
	case class == liveset.ClassMissing:
		p.Code, p.Detail = api.CodeTokenMissing, "Sign in, or send an API token."
	case class == liveset.ClassForbidden:
		p.Code, p.Detail = api.CodeTokenInsufficient, "The token does not allow this."
	case class == liveset.ClassLimited:
		p.Code, p.Detail = api.CodeRateLimited, "Too many requests. Retry-After says when one more is admitted."
	case class == liveset.ClassUnknown:
		p.Code, p.Detail = api.CodeStateUnknown, "The server does not know the state of its tokens now. Try again."
		return unknownRetry
	default:
		p.Code, p.Detail = api.CodeTokenInvalid, "Invalid token."
	}
	return 0
}

// fill tells a classed failure of the rules. Its private cause stays private.
func fill(p *api.Problem, err error) time.Duration {
	kind := authority.KindOf(err)
	p.Status = edge.StatusOf(kind)
	var e *authority.Error
	if kind == authority.Internal || !errors.As(err, &e) {
		p.Code, p.Detail = codeOf(kind), publicOf(kind)
		return retryAfter(kind, 0)
	}
	p.Code, p.Detail = e.Code, e.Msg
	if p.Code == "" {
		p.Code = codeOf(kind)
	}
	if p.Detail == "" {
		p.Detail = publicOf(kind)
	}
	for _, field := range e.Fields {
		p.Errors = append(p.Errors, api.FieldProblem{Field: field.Field, Code: field.Code, Detail: field.Msg})
	}
	return retryAfter(kind, e.RetryAfter)
}

// codeOf is the code of a failure that has none of its own.
func codeOf(k authority.Kind) string {
	switch k {
	case authority.Invalid:
		return "request.invalid"
	case authority.Unauthenticated:
		return api.CodeTokenMissing
	case authority.Forbidden:
		return "role.insufficient"
	case authority.StepUp:
		return api.CodeStepUp
	case authority.NotFound:
		return "record.not_found"
	case authority.Conflict:
		return "record.conflict"
	case authority.Throttled:
		return "throttled"
	case authority.Unavailable:
		return api.CodeUnavailable
	case authority.Full:
		return "store.full"
	case authority.Internal:
	}
	return api.CodeInternal
}

// publicOf is the text of a failure that has none of its own.
func publicOf(k authority.Kind) string {
	switch k {
	case authority.Internal:
		return "Something went wrong on the server. The request id finds it in the server's log."
	case authority.Unavailable:
		return "The change may not have been made: the store cannot be reached. Look, then try again."
	case authority.Full:
		return "There is no space left where the change must last."
	case authority.Invalid, authority.Unauthenticated, authority.Forbidden, authority.StepUp, authority.NotFound, authority.Conflict, authority.Throttled:
	}
	return ""
}

func retryAfter(k authority.Kind, told time.Duration) time.Duration {
	switch {
	case k != authority.Throttled && k != authority.Unavailable:
		return 0
	case told > 0:
		return told
	case k == authority.Unavailable:
		return unknownRetry
	}
	return time.Second
}

// causes is an error with its private causes, for the log.
func causes(err error) string {
	text := err.Error()
	for err = errors.Unwrap(err); err != nil; err = errors.Unwrap(err) {
		text += ": " + err.Error()
	}
	return text
}

// write answers a success.
func (a *API) write(w http.ResponseWriter, r *http.Request, status int, answer any) {
	if _, empty := answer.(none); empty {
		w.WriteHeader(status)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever left does not read it
}
