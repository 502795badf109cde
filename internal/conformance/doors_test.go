package conformance_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"

	"mintmark/internal/authority"
	"mintmark/verify"

	"github.com/google/go-cmp/cmp"
)

// The classes of a verdict, as a client can tell them apart.
const (
	allow     = "allow"
	missing   = "missing"   // 401 without an error
	malformed = "malformed" // 400 invalid_request, 401 where a proxy takes no 400
	invalid   = "invalid"   // 401 invalid_token, {"active":false}, authenticated: false
	forbidden = "forbidden" // 403 insufficient_scope
	unknown   = "unknown"   // 503
	none      = "–"         // the door cannot be asked this
)

// question is what a client sends and what the door is to demand.
type question struct {
	token  string
	id     string   // of the token, for who is let in
	fields []string // Authorization; nil: Bearer and the token
	query  string
	demand demand
	cookie string
}

type demand struct {
	role, clientID, audience string
	tags                     []string
}

// door is one way to be asked.
type door struct {
	name    string
	demands string // those that it can be asked: role, tags, client, audience
	header  bool   // it reads the client's own request
	ask     func(h *house, q question) (class, id string)
}

func doors() []door {
	return []door{
		{"forward-auth", "role tags client audience", true, (*house).askForwardAuth},
		{"ext_authz", "role tags client audience", true, (*house).askExtAuthz},
		{"guard", "role tags", true, (*house).askGuard},
		{"Go, online", "role tags client audience", true, (*house).askOnline},
		{"Go, offline", "role tags client audience", true, (*house).askOffline},
		{"introspection", "audience", false, (*house).askIntrospection},
		{"TokenReview", "audience", false, (*house).askTokenReview},
		{"own API", "role", true, (*house).askOwnAPI},
		{"console", "", false, (*house).askConsole},
	}
}

// request is the client's own.
func (q question) request(method, path string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.URL.RawQuery = strings.Trim(r.URL.RawQuery+"&"+q.query, "&")
	r.RemoteAddr = client + ":4711"
	r.Header["Authorization"] = q.fields
	if q.fields == nil {
		r.Header["Authorization"] = []string{"Bearer " + q.token}
	}
	return r
}

func do(handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// class reads a refusal: status and challenge say the same, and no more.
func (h *house) class(w *httptest.ResponseRecorder) string {
	h.t.Helper()
	const realm = `Bearer realm="mintmark"`
	challenge := w.Header().Get("WWW-Authenticate")
	if w.Header().Get("Cache-Control") != "no-store" && w.Code != http.StatusOK {
		h.t.Errorf("%d may be stored", w.Code)
	}
	switch {
	case w.Code == http.StatusOK && challenge == "":
		return allow
	case w.Code == http.StatusUnauthorized && challenge == realm:
		return missing
	case w.Code == http.StatusUnauthorized && challenge == realm+`, error="invalid_token", error_description="invalid token"`:
		return invalid
	case (w.Code == http.StatusUnauthorized || w.Code == http.StatusBadRequest) && strings.HasPrefix(challenge, realm+`, error="invalid_request"`):
		return malformed
	case w.Code == http.StatusForbidden && strings.HasPrefix(challenge, realm+`, error="insufficient_scope", error_description="the token does not allow this"`):
		return forbidden
	case w.Code == http.StatusServiceUnavailable && challenge == "" && w.Header().Get("Retry-After") != "":
		return unknown
	}
	h.t.Errorf("no class is %d %q: %s", w.Code, challenge, w.Body)
	return "?"
}

// wantUnknown is all that a service is told, unless a reset has ended its own
// token in the meantime.
func (h *house) wantUnknown(w *httptest.ResponseRecorder, as *askers) string {
	h.t.Helper()
	if h.resetting.Load() || h.askers.Load() != as {
		return unknown
	}
	class := h.class(w)
	if class != unknown {
		h.t.Errorf("whoever asks is answered %d: %s", w.Code, w.Body)
	}
	return class
}

func (q question) forwardAuth() *http.Request {
	query := url.Values{"tag": q.demand.tags}
	for name, value := range map[string]string{"role": q.demand.role, "client_id": q.demand.clientID, "audience": q.demand.audience} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return q.request("GET", "/auth/verify?"+query.Encode())
}

func (h *house) askForwardAuth(q question) (class, id string) {
	w := do(h.node, q.forwardAuth())
	return h.class(w), w.Header().Get("X-Auth-Token-Id")
}

func (q question) guarded() *http.Request {
	path := "/"
	switch {
	case q.demand.role == "admin":
		path = "/admin"
	case len(q.demand.tags) > 0:
		path = map[string]string{"env:prod": "/production", "env:prod team:data": "/both", "team:data": "/data"}[strings.Join(q.demand.tags, " ")]
	}
	return q.request("GET", path)
}

func (h *house) askGuard(q question) (class, id string) {
	r := q.guarded()
	number := strconv.FormatInt(h.asked.Add(1), 10)
	r.Header.Set("X-Question", number)
	class = h.class(do(h.guard, r))
	who, arrived := h.arrived.LoadAndDelete(number)
	if arrived != (class == allow) {
		h.t.Errorf("%s, and whether it reached the API is %v", class, arrived)
	}
	id, _ = who.(string)
	return class, id
}

// service is somebody's handler behind package verify.
func (h *house) service(v verify.Verifier, q question) (class, id string) {
	entered := false
	handler := verify.Require(v, verify.Demand{Role: q.demand.role, Tags: q.demand.tags, ClientID: q.demand.clientID})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		who, _ := verify.FromContext(r.Context())
		entered, id = true, who.TokenID
	}))
	class = h.class(do(handler, q.request("GET", "/")))
	if entered != (class == allow) {
		h.t.Errorf("%s, and entered is %v", class, entered)
	}
	return class, id
}

// recipients are the audiences of a service, and what it asks others as.
func (h *house) recipients(q question, as *askers) ([]string, authority.Issued) {
	switch q.demand.audience {
	case ownAudience:
		return []string{ownAudience}, as.own
	case secondAudience:
		return []string{secondAudience}, as.second
	}
	return h.audience(), as.all
}

func (h *house) askOnline(q question) (class, id string) {
	audience, as := h.recipients(q, h.askers.Load())
	v, err := verify.NewOnline(verify.OnlineConfig{
		URL: "http://127.0.0.1/oauth2/introspect", Token: func() string { return as.Text.Unsafe() }, Audience: audience, Client: &http.Client{Transport: h}, Now: h.now,
	})
	must(h.t, err)
	return h.service(v, q)
}

func (h *house) askOffline(q question) (class, id string) {
	audience, _ := h.recipients(q, h.askers.Load())
	v, err := verify.NewOffline(verify.OfflineConfig{
		Issuer: issuer, Audience: audience, KeySetURL: "http://127.0.0.1/.well-known/jwks.json", Client: &http.Client{Transport: h}, Now: h.now,
	})
	must(h.t, err)
	return h.service(v, q)
}

// form asks an OAuth door about a token.
func (h *house) form(path, token string, as authority.Issued) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader(url.Values{"token": {token}}.Encode()))
	r.Header.Set("Authorization", "Bearer "+as.Text.Unsafe())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (h *house) askIntrospection(q question) (class, id string) {
	all := h.askers.Load()
	_, as := h.recipients(q, all)
	w := do(h.node, h.form("/oauth2/introspect", q.token, as))
	if w.Code != http.StatusOK {
		return h.wantUnknown(w, all), ""
	}
	var answer struct {
		Active bool   `json:"active"`
		ID     string `json:"jti"`
	}
	must(h.t, json.Unmarshal(w.Body.Bytes(), &answer))
	if answer.Active {
		return allow, answer.ID
	}
	always := http.Header{"Cache-Control": {"no-store"}, "Content-Type": {"application/json"}, "X-Content-Type-Options": {"nosniff"}, "X-Request-Id": w.Header()["X-Request-Id"]}
	if diff := cmp.Diff(always, w.Header()); diff != "" || w.Body.String() != `{"active":false}` {
		h.t.Errorf("what is not active is %q, with (-want +got):\n%s", w.Body, diff)
	}
	return invalid, ""
}

// review asks the door of Kubernetes.
func (h *house) review(q question, as authority.Issued) *http.Request {
	var review struct {
		Version string `json:"apiVersion"`
		Kind    string `json:"kind"`
		Spec    struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences,omitempty"`
		} `json:"spec"`
	}
	review.Version, review.Kind, review.Spec.Token = "authentication.k8s.io/v1", "TokenReview", q.token
	if q.demand.audience != "" {
		review.Spec.Audiences = []string{q.demand.audience}
	}
	body, err := json.Marshal(review)
	must(h.t, err)
	r := httptest.NewRequest("POST", "/k8s/tokenreview", strings.NewReader(string(body)))
	r.Header.Set("Authorization", "Bearer "+as.Text.Unsafe())
	r.Header.Set("Content-Type", "application/json")
	return r
}

func (h *house) askTokenReview(q question) (class, id string) {
	as := h.askers.Load()
	w := do(h.node, h.review(q, as.all))
	if w.Code != http.StatusOK {
		return h.wantUnknown(w, as), ""
	}
	var answer struct {
		Status struct {
			Authenticated bool `json:"authenticated"`
			User          struct {
				UID string `json:"uid"`
			} `json:"user"`
		} `json:"status"`
	}
	must(h.t, json.Unmarshal(w.Body.Bytes(), &answer))
	if answer.Status.Authenticated {
		return allow, answer.Status.User.UID
	}
	if w.Body.String() != `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":false}}` {
		h.t.Errorf("what is not authenticated is %s", w.Body)
	}
	return invalid, ""
}

func (q question) ownCall() *http.Request {
	path := "/api/v1/whoami"
	if q.demand.role == "admin" {
		path = "/api/v1/tokens"
	}
	return q.request("GET", path)
}

func (h *house) askOwnAPI(q question) (class, id string) {
	r := q.ownCall()
	w := do(h.node, r)
	var who struct {
		ID string `json:"id"`
	}
	if class = h.class(w); class == allow {
		must(h.t, json.Unmarshal(w.Body.Bytes(), &who))
	}
	if r.URL.Path != "/api/v1/whoami" {
		who.ID = q.id // a list says nothing of who asks
	}
	return class, who.ID
}

func (h *house) askConsole(q question) (class, id string) {
	r := httptest.NewRequest("GET", "/tokens", nil)
	if q.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "mintmark_session", Value: q.cookie})
	}
	w := do(h.node, r)
	to := w.Header().Get("Location")
	switch {
	case w.Code == http.StatusOK:
		return allow, q.id
	case w.Code == http.StatusServiceUnavailable:
		return unknown, ""
	case w.Code == http.StatusSeeOther && strings.HasPrefix(to, "/sign-in?") && strings.Contains(to, "ended="):
		return invalid, ""
	case w.Code == http.StatusSeeOther && strings.HasPrefix(to, "/sign-in?"):
		return missing, ""
	}
	h.t.Errorf("the console answers %d to %q", w.Code, to)
	return "?", ""
}
