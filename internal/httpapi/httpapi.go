// Package httpapi is the JSON edge: requests under /api/v1, the public
// documents and the probes become calls of the authority, and its answers and
// errors become JSON.
//
// It touches no store and no file, and it keeps no state and no cookie: who
// asks is decided by the live set for each request, what they may do by the
// authority.
//
// The one hard idea: there is one table of routes. The multiplexer, the checks
// before a handler runs, the OpenAPI document and the test that walks every
// route all read it, so a route cannot be served unchecked or undescribed.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/control"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/refusals"
)

// Config is what an API is made of.
type Config struct {
	Authority *authority.Authority
	Live      edge.Decider
	Refusals  *refusals.Log
	Control   control.Controller
	// JWKS answers the published keys as a JWK Set.
	JWKS func(ctx context.Context) ([]byte, error)
	// Verify is the forward-auth door; it answers any method on /auth/verify.
	Verify http.Handler
	// Introspect and Revoke are the OAuth doors, TokenReview is Kubernetes': each
	// finds out itself who asks. They are asked by POST.
	Introspect, Revoke, TokenReview http.Handler
	// Ready answers why the server cannot answer verdicts, or nil.
	Ready func() error
	// Policy is the policy in force; its issuer is the one that is published.
	Policy func() authority.Policy
	Log    *slog.Logger
}

// API serves the routes. It is safe for concurrent use.
type API struct {
	Config
	mux         *http.ServeMux
	origins     *http.CrossOriginProtection
	routes      []Route
	description []byte
}

// New makes the API.
func New(c Config) (*API, error) {
	if c.Authority == nil || c.Live == nil || c.Refusals == nil || c.Control == nil || c.JWKS == nil || c.Ready == nil || c.Policy == nil || c.Log == nil ||
		c.Verify == nil || c.Introspect == nil || c.Revoke == nil || c.TokenReview == nil {
		return nil, errors.New("httpapi: a member of Config is missing")
	}
	a := &API{Config: c, mux: http.NewServeMux(), origins: http.NewCrossOriginProtection()}
	a.routes = a.table()
	var err error
	if a.description, err = describe(a.routes); err != nil {
		return nil, err
	}
	resources := make(map[string]resource)
	for _, r := range a.routes {
		if resources[r.Path] == nil {
			resources[r.Path] = make(resource)
		}
		resources[r.Path][r.Method] = r
	}
	for path, methods := range resources {
		a.mux.Handle(path, a.serve(methods))
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, &fault{http.StatusNotFound, api.CodePathUnknown, "There is nothing at this address."})
	})
	return a, nil
}

// ServeHTTP serves every route, and answers any other path as unknown.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	a.mux.ServeHTTP(w, r)
}

// Routes is the table, for whoever describes or walks it.
func (a *API) Routes() []Route { return slices.Clone(a.routes) }

// Patterns are the patterns under which a multiplexer mounts the API: whatever
// begins like one of its paths is its own, there or not.
func (a *API) Patterns() []string {
	patterns := make(map[string]bool)
	for _, r := range a.routes {
		name, _, more := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
		patterns["/"+name] = true
		if more {
			patterns["/"+name+"/"] = true
		}
	}
	return slices.Sorted(maps.Keys(patterns))
}

// resource is what one path answers, by method; "" is any method.
type resource map[string]Route

// of finds the route of a method: what answers GET answers HEAD.
func (m resource) of(method string) (Route, bool) {
	if r, ok := m[method]; ok {
		return r, true
	}
	if method == http.MethodHead {
		if r, ok := m[http.MethodGet]; ok {
			return r, true
		}
	}
	r, ok := m[""]
	return r, ok
}

func (m resource) allow() string {
	methods := slices.Collect(maps.Keys(m))
	if _, ok := m[http.MethodGet]; ok {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// serve makes every check that comes before a handler: method, origin,
// credential, permission, query.
func (a *API) serve(methods resource) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		route, ok := methods.of(r.Method)
		if !ok {
			w.Header().Set("Allow", methods.allow())
			a.refuse(w, r, &fault{http.StatusMethodNotAllowed, api.CodeMethod, "This address answers " + methods.allow() + " only."})
			return
		}
		c := &call{request: r, writer: w}
		if err := a.admit(c, route.Permission); err != nil {
			a.refuse(w, r, err)
			return
		}
		if route.raw != nil {
			route.raw(w, r)
			return
		}
		var err error
		if c.query, err = queryOf(r, route.Query); err != nil {
			a.refuse(w, r, err)
			return
		}
		answer, err := route.answer(c)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		a.write(w, r, route.Status, answer)
	}
}

// admit finds out who calls and whether the route is for them. A door judges
// what it is presented itself, and knows no origin: the request that it is asked
// about is somebody else's.
func (a *API) admit(c *call, p Permission) error {
	if p == Presented {
		return nil
	}
	if a.origins.Check(c.request) != nil {
		return &fault{http.StatusForbidden, api.CodeOrigin, "A page of another origin may not do this."}
	}
	if p == Verifiers || p == Owners {
		return nil
	}
	if p == Anyone {
		if cred := edge.BearerOf(c.request); cred.Fault != "" {
			return &verdictError{cred: cred}
		}
		c.caller = authority.Nobody(edge.Of(c.request).Origin())
		return nil
	}
	d := liveset.Demand{Purpose: liveset.ForOwnCalls, Role: authority.RoleAdmin}
	if p == AnyToken {
		d = liveset.Demand{Purpose: liveset.ForOwnCalls, AnyAudience: true}
	}
	var cred edge.Credential
	c.caller, c.verdict, cred = edge.CallerOf(c.request, a.Live, d)
	edge.TellQuota(c.writer.Header(), c.verdict.Quota)
	if !c.verdict.Allow() {
		return &verdictError{cred, c.verdict}
	}
	return nil
}
