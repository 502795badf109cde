package httpapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mintmark/api"
	"mintmark/internal/corpora"
	"mintmark/internal/httpapi"
)

// No body of any media type meets a fault of ours at any route, and what is taken
// is JSON or a form.
func FuzzNoBodyIsAFaultOfOurs(f *testing.F) {
	h := newHouse(f)
	var routes []httpapi.Route
	for _, r := range h.api.Routes() {
		if !isDoor(r.Path) && !isDocument(r) {
			routes = append(routes, r)
		}
	}
	seeds := []string{
		"", "{}", `{"username":"maria","password":"x"}`, "username=maria&password=x", `{"client_id":"a","role":"user","tags":["a:b"],"lifetime":"90d"}`,
		`{"client_id":"a","role":"user","expires_at":"2027-01-01T00:00:00Z","allowed_addresses":["::1/128","10.0.0.0/8"]}`,
		`{"token":"a.b.c","role":"user","tags":["a:b"],"audience":["x"],"from":"::ffff:1.2.3.4"}`, `{"revision":18446744073709551615}`, `{"value":"\u0000"}`,
		`{"reason":"` + strings.Repeat("\u00e9", 200) + `"}`, `{"password":"` + strings.Repeat("p", 2000) + `"}`, strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17),
	}
	bodies := corpora.JSON(f)
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		if len(bodies[name]) < 4096 {
			seeds = append(seeds, string(bodies[name]))
		}
	}
	for i, seed := range seeds {
		f.Add(uint8(i), "application/json", seed)
		f.Add(uint8(0), "application/x-www-form-urlencoded", seed)
	}
	f.Fuzz(func(t *testing.T, route uint8, media, body string) {
		h.t = t
		r := routes[int(route)%len(routes)]
		a := h.ask(h.socket, request{method: r.Method, path: place(r.Path), body: body, media: media})
		if a.status >= 500 {
			t.Errorf("%s %s: %d %s", r.Method, r.Path, a.status, a.body)
		}
		if a.status < 300 && body != "" && !json.Valid([]byte(body)) && !r.Form {
			t.Errorf("%s %s took %q", r.Method, r.Path, body)
		}
		h.t = f
	})
}

func FuzzNoQueryIsAFaultOfOurs(f *testing.F) {
	h := newHouse(f)
	var routes []httpapi.Route
	for _, r := range h.api.Routes() {
		if len(r.Query) > 0 && !isDoor(r.Path) {
			routes = append(routes, r)
		}
	}
	for i, seed := range []string{
		"", "q=a&role=user&state=deleted&tag=a:b&sort=last_used_at&dir=desc&limit=500", "limit=0", "limit=-1&dir=up", "cursor=" + strings.Repeat("A", 60), "cursor=%00",
		"expiring=14d", "expiring=99999999999999d", "name=tok_&deleted=true", "name=%ff", "before=18446744073709551615&limit=1", "since=2026-11-23T14:08:02Z&until=9999-12-31T23:59:60Z",
		"action=token.&actor=%F0%9F%98%80&target=", "a;b", "%zz", "&&&=&", "leaked=TRUE", "q=%5C%22%00",
	} {
		f.Add(uint8(i), seed)
	}
	f.Fuzz(func(t *testing.T, route uint8, query string) {
		h.t = t
		r := routes[int(route)%len(routes)]
		req := httptest.NewRequest(r.Method, place(r.Path), nil)
		req.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.socket.ServeHTTP(w, req)
		a := answer{w.Code, w.Header(), w.Body.Bytes()}
		h.holds(request{method: r.Method, path: place(r.Path)}, a)
		if a.status >= 500 {
			t.Errorf("%s %s?%s: %d %s", r.Method, r.Path, query, a.status, a.body)
		}
		if values, err := url.ParseQuery(query); err != nil && a.status != http.StatusBadRequest {
			t.Errorf("%q is malformed and answered %d (%v)", query, a.status, values)
		}
		h.t = f
	})
}

// Without a token nothing is answered but what anyone may have, however the
// address is written.
func FuzzNoAddressOpensWithoutAToken(f *testing.F) {
	h := newHouse(f)
	public := []string{"/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/healthz", "/readyz", "/openapi.json"}
	for _, seed := range []string{
		"/api/v1/tokens", "/api/v1//tokens", "/api/v1/./tokens", "/healthz/../api/v1/tokens", "/api/v1/tokens/", "/API/v1/tokens", "/api/v1/tokens%2f", "/api/v1/tokens;x",
		"//api/v1/tokens", "/api/v1/tokens\x00", "/api/v1/tokens/find", "/healthz", "*", "", "/api/v1/keys/reset",
	} {
		f.Add("GET", seed)
		f.Add("POST", seed)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		h.t = t
		req := httptest.NewRequest("GET", "/", nil)
		req.Method, req.URL, req.RequestURI = method, &url.URL{Path: path}, path
		w := httptest.NewRecorder()
		h.api.ServeHTTP(w, req)
		if w.Code >= 500 || w.Code < 300 && !slices.Contains(public, path) {
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
		if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s %q: no challenge", method, path)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != api.ProblemType && method != "HEAD" && !strings.Contains(path, "*") {
			t.Errorf("%s %q: %d as %s", method, path, w.Code, w.Header().Get("Content-Type"))
		}
		h.t = f
	})
}
