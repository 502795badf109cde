package api

import (
	"fmt"
	"time"
)

// Problem is how every refusal is told (RFC 9457). Code is stable; title and
// detail are for people.
type Problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Instance  string         `json:"instance,omitempty"`
	Code      string         `json:"code"`
	RequestID string         `json:"request_id,omitempty"`
	Errors    []FieldProblem `json:"errors,omitempty"`
}

// FieldProblem names one member of the request, or one query parameter, that is
// at fault.
type FieldProblem struct {
	Field  string `json:"field"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// ProblemType is the media type of a [Problem].
const ProblemType = "application/problem+json"

// Codes that the HTTP edge itself gives. The rules behind it have codes of
// their own, such as "token.not_found", "client_id.empty" or "login.paused".
const (
	CodeInternal            = "internal"
	CodeUnavailable         = "unavailable"
	CodeNotReady            = "server.not_ready"
	CodePathUnknown         = "path.not_found"
	CodeMethod              = "method.not_allowed"
	CodeMediaType           = "body.media_type"
	CodeBodyMalformed       = "body.malformed"
	CodeBodyTooLarge        = "body.too_large"
	CodeQuery               = "query.invalid"
	CodeHeader              = "header.invalid"
	CodeCredentialMalformed = "credential.malformed"
	CodeTokenMissing        = "token.missing"
	CodeTokenInvalid        = "token.invalid"
	CodeTokenInsufficient   = "token.insufficient"
	CodeRateLimited         = "rate.limited"
	CodeStateUnknown        = "state.unknown"
	CodeStepUp              = "login.step_up"
	CodeOrigin              = "origin.refused"
)

// Error is a refusal as the client hands it out.
type Error struct {
	Code       string // "" when what answered is not Mintmark
	Status     int
	RequestID  string
	RetryAfter time.Duration // 0: the server did not say
	Title      string
	Detail     string
	Fields     []FieldProblem
}

// Error is the detail, or the title, with the request id when there is one.
func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	if e.RequestID == "" {
		return text
	}
	return fmt.Sprintf("%s (request %s)", text, e.RequestID)
}
