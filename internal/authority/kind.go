package authority

import (
	"errors"
	"time"
)

// Kind classes every failure; each edge translates it once. It is itself an
// error, so errors.Is(err, NotFound) works through any wrapping.
type Kind uint8

// The kinds. The zero Kind is Internal: an error nobody classed is ours to fix
// and its text is never shown.
const (
	Internal        Kind = iota
	Invalid              // the request itself is wrong; the same request will always fail
	Unauthenticated      // no valid credential
	Forbidden            // known caller, not allowed
	StepUp               // allowed after the password has been entered again
	NotFound             // no such record, or none that this caller may know of
	Conflict             // the record's state or revision does not allow it
	Throttled            // too many attempts; RetryAfter says when
	Unavailable          // state unknown or store out of reach; safe to try again
	Full                 // no space left where the change must last
)

// Kinds lists every kind, for edges and tests that must be exhaustive.
func Kinds() []Kind {
	return []Kind{Internal, Invalid, Unauthenticated, Forbidden, StepUp, NotFound, Conflict, Throttled, Unavailable, Full}
}

// Error names the kind in lower case words.
func (k Kind) Error() string {
	switch k {
	case Internal:
		return "internal error"
	case Invalid:
		return "invalid request"
	case Unauthenticated:
		return "not signed in"
	case Forbidden:
		return "not allowed"
	case StepUp:
		return "password needed again"
	case NotFound:
		return "not found"
	case Conflict:
		return "conflict"
	case Throttled:
		return "too many attempts"
	case Unavailable:
		return "unavailable"
	case Full:
		return "no space left"
	}
	return "internal error"
}

// Error is a classed failure. Msg is safe to show to the caller and says what
// to do; Err is the private cause and is only ever logged.
type Error struct {
	Kind       Kind
	Code       string        // stable, dotted: "token.not_found"
	Msg        string        // a sentence for people
	Fields     []FieldError  // for Invalid: each member at fault
	RetryAfter time.Duration // for Throttled and Unavailable; 0 = unknown
	Err        error
}

// FieldError names one member of a request that is at fault.
type FieldError struct {
	Field string // the wire name: "client_id"
	Code  string // stable: "client_id.empty"
	Msg   string
}

// Error gives the public message; the private cause is reached by Unwrap.
func (e *Error) Error() string {
	if e.Msg != "" {
		return e.Msg
	}
	return e.Kind.Error()
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is this error's Kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// KindOf classes any error; one that was never classed is Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}

func fail(kind Kind, code, msg string) *Error {
	return &Error{Kind: kind, Code: code, Msg: msg}
}

func invalid(fields ...FieldError) *Error {
	msg := "The request is not valid."
	if len(fields) == 1 {
		msg = fields[0].Msg
	}
	return &Error{Kind: Invalid, Code: "request.invalid", Msg: msg, Fields: fields}
}
