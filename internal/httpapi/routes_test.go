package httpapi_test

import (
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"mintmark/api"
	"mintmark/internal/httpapi"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write api/openapi.json anew")

// place fills the names in a pattern.
func place(path string) string {
	return strings.NewReplacer("{id}", "tok_00000000000000000000000000", "{name}", "nobody", "{kid}", "key_1999a", "{issuer...}", "tenant").Replace(path)
}

func TestTheDescriptionIsThePublishedOne(t *testing.T) {
	h := newHouse(t)
	a := h.do(request{method: "GET", path: "/openapi.json"})
	const golden = "../../api/openapi.json"
	if *update {
		must(t, os.WriteFile(golden, a.body, 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(want), string(a.body)); diff != "" {
		t.Errorf("api/openapi.json is not current; run: go test ./internal/httpapi -run Published -update (-file +served):\n%s", diff)
	}
}

func TestNoRouteAnswersWithoutItsCredential(t *testing.T) {
	h := newHouse(t)
	for _, r := range h.api.Routes() {
		if r.Permission == httpapi.Anyone || isDoor(r.Path) {
			continue
		}
		t.Run(r.Method+r.Path, func(t *testing.T) {
			path := place(r.Path)
			a := h.do(request{method: r.Method, path: path})
			if a.status != http.StatusUnauthorized || h.problem(a).Code != api.CodeTokenMissing {
				t.Errorf("without a credential: %d %s", a.status, a.body)
			}
			if got := a.header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != `Bearer realm="mintmark"` {
				t.Errorf("challenge without a credential: %q", got)
			}
			a = h.do(request{method: r.Method, path: path, token: "eyJhbGciOiJub25lIn0.e30."})
			if a.status != http.StatusUnauthorized || h.problem(a).Code != api.CodeTokenInvalid {
				t.Errorf("with a forged token: %d %s", a.status, a.body)
			}
			if got := a.header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
				t.Errorf("challenge for a forged token: %q", got)
			}
		})
	}
}

func TestOnlyAdministratorsPassWhereOneIsNeeded(t *testing.T) {
	h := newHouse(t)
	for _, r := range h.api.Routes() {
		if r.Permission != httpapi.Administrator {
			continue
		}
		t.Run(r.Method+r.Path, func(t *testing.T) {
			for _, token := range []string{h.user.Text.Unsafe(), h.verifier.Text.Unsafe()} {
				a := h.do(request{method: r.Method, path: place(r.Path), token: token})
				if a.status != http.StatusForbidden {
					t.Errorf("%d %s", a.status, a.body)
				}
				if got := a.header.Get("WWW-Authenticate"); !strings.Contains(got, `error="insufficient_scope"`) || !strings.Contains(got, `scope="admin"`) {
					t.Errorf("challenge %q", got)
				}
			}
		})
	}
}

// Every route, every caller and every way to be refused before a rule is asked,
// from the table. A body that is no object stops whoever is let in.
func TestEveryRouteMeetsEveryCallerAsTheTableSays(t *testing.T) {
	h := newHouse(t)
	login := h.signIn().Token.Unsafe()
	callers := []struct {
		name, token  string
		socket       bool
		known, admin bool
	}{
		{name: "nobody"},
		{name: "forged", token: "eyJhbGciOiJub25lIn0.e30."},
		{name: "user", token: h.user.Text.Unsafe(), known: true},
		{name: "verifier", token: h.verifier.Text.Unsafe(), known: true},
		{name: "admin", token: h.admin.Text.Unsafe(), known: true, admin: true},
		{name: "login", token: login, known: true, admin: true},
		{name: "operator", socket: true, known: true, admin: true},
	}
	for _, r := range h.api.Routes() {
		if isDoor(r.Path) || strings.HasSuffix(r.Path, "...}") {
			continue // they have tests of their own
		}
		public := isDocument(r)
		for _, c := range callers {
			t.Run(r.Method+r.Path+" as "+c.name, func(t *testing.T) {
				h.t = t
				handler := h.handler
				if c.socket {
					handler = h.socket
				}
				send := func(method, query, body string, want int, code string) {
					t.Helper()
					a := h.ask(handler, request{method: method, path: place(r.Path) + query, token: c.token, body: body})
					if a.status != want || code != "" && h.problem(a).Code != code {
						t.Errorf("%s%s with %d bytes: %d %.200s, want %d %s", method, query, len(body), a.status, a.body, want, code)
					}
				}
				in, why := 0, ""
				switch {
				case r.Permission == httpapi.Anyone || r.Permission == httpapi.AnyToken && c.known || c.admin:
				case c.known:
					in, why = 403, api.CodeTokenInsufficient
				case c.token != "":
					in, why = 401, api.CodeTokenInvalid
				default:
					in, why = 401, api.CodeTokenMissing
				}
				or := func(status int, code string) (int, string) {
					if public && status != 405 {
						return 200, "" // these look at no body and no query
					}
					if in != 0 {
						return in, why
					}
					return status, code
				}
				status, code := or(400, api.CodeBodyMalformed)
				send(r.Method, "", "[]", status, code)
				status, code = or(413, api.CodeBodyTooLarge)
				send(r.Method, "", `{"a":"`+strings.Repeat("a", 64<<10)+`"}`, status, code)
				status, code = or(400, api.CodeQuery)
				send(r.Method, "?surely=not", "", status, code)
				send(r.Method, "?access_token=x", "", 400, "")
				send("PATCH", "", "[]", 405, api.CodeMethod)
			})
		}
		h.t = t
	}
}

func TestNoPageOfAnotherOriginChangesAnything(t *testing.T) {
	h := newHouse(t)
	for _, r := range h.api.Routes() {
		if r.Method == "GET" || r.Permission == httpapi.Presented {
			continue
		}
		for name, header := range map[string]http.Header{
			"fetch metadata": {"Sec-Fetch-Site": {"cross-site"}},
			"same site":      {"Sec-Fetch-Site": {"same-site"}},
			"origin":         {"Origin": {"https://evil.example"}},
			"null origin":    {"Origin": {"null"}},
		} {
			a := h.do(request{method: r.Method, path: place(r.Path), token: h.admin.Text.Unsafe(), header: header, body: "[]"})
			if a.status != http.StatusForbidden || h.problem(a).Code != api.CodeOrigin {
				t.Errorf("%s %s, %s: %d %s", r.Method, r.Path, name, a.status, a.body)
			}
		}
		own := h.do(request{method: r.Method, path: place(r.Path), token: h.admin.Text.Unsafe(), header: http.Header{"Sec-Fetch-Site": {"same-origin"}}, body: "[]"})
		want := http.StatusBadRequest
		if isDoor(r.Path) {
			want = http.StatusUnauthorized
		}
		if own.status != want {
			t.Errorf("%s %s from its own origin: %d", r.Method, r.Path, own.status)
		}
	}
}

func TestEveryPathNamesItsMethods(t *testing.T) {
	h := newHouse(t)
	methods := make(map[string][]string)
	for _, r := range h.api.Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	for path, known := range methods {
		if known[0] == "" {
			continue
		}
		t.Run(path, func(t *testing.T) {
			a := h.do(request{method: "PATCH", path: place(path), token: h.admin.Text.Unsafe()})
			if a.status != http.StatusMethodNotAllowed {
				t.Fatalf("%d %s", a.status, a.body)
			}
			for _, method := range known {
				if !strings.Contains(a.header.Get("Allow"), method) {
					t.Errorf("Allow is %q, without %s", a.header.Get("Allow"), method)
				}
			}
			for _, method := range []string{"TRACE", "OPTIONS", "BREW"} {
				if a := h.do(request{method: method, path: place(path)}); a.status != http.StatusMethodNotAllowed {
					t.Errorf("%s: %d", method, a.status)
				}
			}
		})
	}
}

func TestNoBodyIsTakenThatCannotBeRead(t *testing.T) {
	h := newHouse(t)
	for _, r := range h.api.Routes() {
		if isDoor(r.Path) || r.Method == "GET" {
			continue
		}
		t.Run(r.Method+r.Path, func(t *testing.T) {
			for name, c := range map[string]struct {
				body, media string
				status      int
				code        string
			}{
				"large":        {`{"client_id":"` + strings.Repeat("a", 64<<10) + `"}`, "", http.StatusRequestEntityTooLarge, api.CodeBodyTooLarge},
				"cut":          {`{"client_id":`, "", http.StatusBadRequest, api.CodeBodyMalformed},
				"unknown":      {`{"surely_not_a_member":1}`, "", http.StatusBadRequest, api.CodeBodyMalformed},
				"other case":   {`{"Surely_Not":1}`, "", http.StatusBadRequest, api.CodeBodyMalformed},
				"null":         {` null`, "", http.StatusBadRequest, api.CodeBodyMalformed},
				"array":        {`[]`, "", http.StatusBadRequest, api.CodeBodyMalformed},
				"null bytes":   {"{}\x00", "", http.StatusBadRequest, api.CodeBodyMalformed},
				"two values":   {`{}{}`, "", http.StatusBadRequest, api.CodeBodyMalformed},
				"plain text":   {`{}`, "text/plain", http.StatusUnsupportedMediaType, api.CodeMediaType},
				"multipart":    {`{}`, "multipart/form-data; boundary=x", http.StatusUnsupportedMediaType, api.CodeMediaType},
				"no type":      {`{}`, "-", http.StatusUnsupportedMediaType, api.CodeMediaType},
				"json in name": {`{}`, "text/json", http.StatusUnsupportedMediaType, api.CodeMediaType},
			} {
				media := c.media
				if media == "-" {
					media = "application"
				}
				a := h.do(request{method: r.Method, path: place(r.Path), token: h.admin.Text.Unsafe(), body: c.body, media: media})
				if a.status != c.status || h.problem(a).Code != c.code {
					t.Errorf("%s: %d %s", name, a.status, a.body)
				}
				if detail := h.problem(a).Detail; name == "array" && detail != "The body cannot be read: it is not a JSON object." {
					t.Errorf("%s: %q", name, detail)
				}
			}
			if !r.Form {
				a := h.do(request{method: r.Method, path: place(r.Path), token: h.admin.Text.Unsafe(), body: "a=b", media: "application/x-www-form-urlencoded"})
				if a.status != http.StatusUnsupportedMediaType {
					t.Errorf("a form: %d %s", a.status, a.body)
				}
			}
		})
	}
}

func TestNoUnknownQueryIsIgnored(t *testing.T) {
	h := newHouse(t)
	for _, r := range h.api.Routes() {
		if isDoor(r.Path) || isDocument(r) {
			continue
		}
		t.Run(r.Method+r.Path, func(t *testing.T) {
			for _, query := range []string{"?surely=not", "?limit=1&limit=2", "?a=%zz", "?a;b=1"} {
				a := h.do(request{method: r.Method, path: place(r.Path) + query, token: h.admin.Text.Unsafe()})
				if a.status != http.StatusBadRequest || h.problem(a).Code != api.CodeQuery {
					t.Errorf("%s: %d %s", query, a.status, a.body)
				}
			}
			a := h.do(request{method: r.Method, path: place(r.Path) + "?access_token=" + h.admin.Text.Unsafe()})
			if a.status != http.StatusBadRequest || h.problem(a).Code != api.CodeCredentialMalformed {
				t.Errorf("a token in the query: %d %s", a.status, a.body)
			}
		})
	}
}

func TestUnknownPathsOfTheAPIAreProblemsAndTheRestIsTheConsoles(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/auth/verify/", "/auth", "/oauth2/token", "/k8s/", "/.well-known/openid-configuration", "/api/", "/api/v1/", "/api/v1/nothing", "/api/v2/tokens", "/api/v1/tokens/x/y/z"} {
		a := h.do(request{method: "GET", path: path, token: h.admin.Text.Unsafe()})
		if a.status != http.StatusNotFound || h.problem(a).Code != api.CodePathUnknown {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	resp, err := http.Get(h.url + "/anything")
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the console's path answered %d", resp.StatusCode)
	}
}

func TestHeadAnswersAsGetWithoutABody(t *testing.T) {
	h := newHouse(t)
	for _, r := range h.api.Routes() {
		if r.Method != "GET" {
			continue
		}
		path := place(r.Path)
		get := h.do(request{method: "GET", path: path, token: h.admin.Text.Unsafe()})
		head := h.do(request{method: "HEAD", path: path, token: h.admin.Text.Unsafe()})
		if head.status != get.status || len(head.body) != 0 || head.header.Get("Content-Type") != get.header.Get("Content-Type") {
			t.Errorf("%s: GET %d %s, HEAD %d %s with %d bytes", path, get.status, get.header.Get("Content-Type"),
				head.status, head.header.Get("Content-Type"), len(head.body))
		}
	}
}
