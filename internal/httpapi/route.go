package httpapi

import (
	"net/http"
	"net/url"
	"reflect"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// Permission is who may use a route.
type Permission uint8

// The permissions. The authority checks administrators again.
const (
	Administrator Permission = iota // the zero value is the strictest
	AnyToken                        // any valid API token or login token
	Anyone                          // no credential needed
	Presented                       // the token that is presented is what is asked about
	Verifiers                       // a token that may introspect; the door finds out
	Owners                          // the owner of what is asked about, or an Admin; the door finds out
)

// Parameter is a query parameter or a header field that a route takes. Values
// are all that it can have, when they are few; Repeats: it may be there twice. Of
// a limit, Most and Usual are what it is at most and without it, when they are not
// those of a page.
type Parameter struct {
	Name, About string
	Values      []string
	Repeats     bool
	Most, Usual int
}

// Route is one line of the table.
type Route struct {
	Method     string // "": any method
	Path       string // pattern of http.ServeMux, without the method
	Permission Permission
	Summary    string
	Status     int  // of success; 0: 200, or 204 without an answer
	Form       bool // the body may be a form
	Query      []Parameter
	Headers    []Parameter
	Refuses    []string     // codes of its own rules; see [Route.Refusals]
	OAuth      bool         // a form, and refusals in the language of OAuth (RFC 6749 section 5.2)
	in, out    reflect.Type // nil for routes that serve themselves
	answer     func(*call) (any, error)
	raw        http.HandlerFunc
	media      string // what a raw route answers
}

// published reports whether the route answers what anyone may keep for a while.
func (r Route) published() bool { return r.raw != nil && r.Permission == Anyone }

// call is one request on its way through a handler.
type call struct {
	request *http.Request
	writer  http.ResponseWriter
	caller  authority.Caller
	verdict liveset.Verdict
	query   url.Values
}

// none is a body without members, or no body.
type none struct{}

// does gives a route its function: the body becomes an In, the Out becomes the
// answer.
func does[In, Out any](r Route, fn func(*call, In) (Out, error)) Route {
	r.in, r.out = reflect.TypeFor[In](), reflect.TypeFor[Out]()
	if r.Status == 0 {
		r.Status = http.StatusOK
		if r.out == reflect.TypeFor[none]() {
			r.Status = http.StatusNoContent
		}
	}
	r.answer = func(c *call) (any, error) {
		var in In
		if err := c.decode(&in, r.Form); err != nil {
			return nil, err
		}
		return fn(c, in)
	}
	return r
}

// forms gives a route that reads a form itself and answers an Out, or nothing.
func forms[Out any](r Route, fn http.HandlerFunc) Route {
	r.in, r.out, r.OAuth = reflect.TypeFor[api.TokenForm](), reflect.TypeFor[Out](), true
	return serves(r, "", fn)
}

// serves gives a route that writes its own answer of a media type.
func serves(r Route, media string, fn http.HandlerFunc) Route {
	r.raw, r.media, r.Status = fn, media, http.StatusOK
	return r
}
