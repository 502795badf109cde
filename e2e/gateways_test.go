package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestGatewaysAdmitOnlyWhatTheDoorAllows runs every gateway with the
// configuration that is shipped, before one API.
func TestGatewaysAdmitOnlyWhatTheDoorAllows(t *testing.T) {
	s := newSite(t)
	short := s.issue(t, fmt.Sprintf(`{"client_id":"short","role":"user","expires_at":%q}`, time.Now().Add(5*time.Second).UTC().Format(time.RFC3339)))
	for _, g := range gateways() {
		t.Run(g.name, func(t *testing.T) {
			r := g.start(t, s)
			for _, c := range []struct {
				name string
				tell func(*testing.T, running)
			}{
				{"a good token passes, and the API is told whose it is", s.goodTokens},
				{"a bad token is refused with the door's challenge", s.badTokens},
				{"a demand is met by no query and no spelling of the path", s.demands},
				{"a revoked token is refused on the next request", s.revocation},
				{"nobody says who they are but the door", s.spoofing},
				{"an address counts where the client has it", s.addresses},
				{"what the API answers passes unchanged", s.answers},
				{"bodies, HEAD and WebSockets pass for a good token alone", s.transport},
				{"a token beyond its limit is refused", func(t *testing.T, r running) { s.limits(t, r, max(g.limited, http.StatusForbidden)) }},
				{"without a verdict nothing passes", s.outages},
				{"an expired token is refused", func(t *testing.T, r running) { s.expiry(t, r, short) }},
			} {
				t.Run(c.name, func(t *testing.T) { c.tell(t, r) })
			}
			for _, token := range []issued{s.admin, s.user, s.plain} {
				if strings.Contains(r.said(t), token.Token) {
					t.Errorf("%s has printed a token", g.name)
				}
			}
		})
	}
}

func (s *site) goodTokens(t *testing.T, r running) {
	s.admits(t, r, question{path: "/"}, s.user)
	s.admits(t, r, question{path: "/x?a=b&c=%20d"}, s.plain)
	s.admits(t, r, question{path: "/x?role=admin&tag=a:b&client_id=root"}, s.plain) // the client's own query asks the door nothing
	s.admits(t, r, question{path: "/admin/x"}, s.admin)
	s.admits(t, r, question{path: "/data/x"}, s.user)
	got := s.admits(t, r, question{path: "/data/x?role=admin&q=1"}, s.admin)
	if got.path != "/data/x" || got.query != "role=admin&q=1" {
		t.Errorf("the API was asked for %s?%s", got.path, got.query)
	}
	jwt := question{path: "/", fields: []string{"authorization: jwt " + s.user.Token}}
	s.api.took()
	if got := r.ask(t, jwt); got.status != http.StatusOK {
		t.Errorf("the scheme JWT answers %d", got.status)
	}
	s.reached(t, jwt, s.user)
}

func (s *site) badTokens(t *testing.T, r running) {
	s.refuses(t, r, question{path: "/"}, http.StatusUnauthorized, "")
	s.refuses(t, r, question{path: "/", token: "x"}, http.StatusUnauthorized, "")
	s.refuses(t, r, question{path: "/", token: s.user.Token[:len(s.user.Token)-2]}, http.StatusUnauthorized, "")
	s.refuses(t, r, question{path: "/admin/x", token: s.user.Token}, http.StatusForbidden, "role=admin")
	s.refuses(t, r, question{path: "/data/x", token: s.plain.Token}, http.StatusForbidden, "tag=team:data")
	s.refuses(t, r, question{method: http.MethodHead, path: "/"}, http.StatusUnauthorized, "")
	s.refuses(t, r, question{method: http.MethodPost, path: "/", token: "x", body: strings.Repeat("x", 1<<16)}, http.StatusUnauthorized, "")
	s.api.took()
	for name, fields := range map[string][]string{
		"two fields":        {"Authorization: Bearer " + s.user.Token, "Authorization: Bearer " + s.admin.Token},
		"two and one bad":   {"Authorization: Bearer x", "Authorization: Bearer " + s.user.Token},
		"a list":            {"Authorization: Bearer " + s.user.Token + ", Bearer x"},
		"basic":             {"Authorization: Basic eDp5"},
		"another name":      {"Proxy-Authorization: Bearer " + s.user.Token},
		"taken back":        {"Authorization: Bearer x", "Connection: Authorization", "X-Authorization: Bearer " + s.user.Token},
		"rewritten address": {"X-Original-URL: /auth/verify", "X-Forwarded-Uri: /", "X-Rewrite-URL: /healthz"},
	} {
		if got := r.ask(t, question{path: "/", fields: fields}); got.status != http.StatusUnauthorized && got.status != http.StatusBadRequest {
			t.Errorf("%s answers %d", name, got.status)
		}
	}
	inURL := s.issue(t, `{"client_id":"careless","role":"user"}`)
	if got := r.ask(t, question{path: "/?access_token=" + inURL.Token}); got.status != http.StatusUnauthorized && got.status != http.StatusBadRequest {
		t.Errorf("a token in the URL answers %d", got.status)
	}
	if took := s.api.took(); len(took) != 0 {
		t.Errorf("%d of them reached the API", len(took))
	}
}

func (s *site) demands(t *testing.T, r running) {
	for _, query := range []string{"role=user", "role=user&role=user", "&role=user", "%72ole=user", "tag=team:data", "role=user%23", "audience=x"} {
		s.refuses(t, r, question{path: "/admin/x?" + query, token: s.user.Token}, http.StatusForbidden, "role=admin")
		s.refuses(t, r, question{path: "/data/x?" + query, token: s.plain.Token}, http.StatusForbidden, "tag=team:data")
	}
	for _, path := range []string{
		"/admin", "/admin/", "/%61dmin/x", "/%61%64%6d%69%6e/x", "//admin/x", "/./admin/x", "/x/../admin/x", "/x/%2e%2e/admin/x", "/x/..%2fadmin/x",
		"/x/%2e%2e%2fadmin/x", "/admin%2fx", "/%2fadmin/x", "/admin/../admin/x", "/%2e/admin/x", "/..;/admin/x", "/x//../admin/x", "///admin", "/data/../admin/x",
		"/admin;x=1", "/admin?", "/admin%3fx", "/admin/%2e%2e/admin", "/x/..\\admin", "/\\admin", "/%5cadmin", "http://127.0.0.1/admin/x", "http://127.0.0.1//admin/x",
	} {
		s.api.took()
		got := r.ask(t, question{path: path, token: s.user.Token})
		for _, a := range s.api.took() {
			if read := cleaned(a.path); read == "/admin" || strings.HasPrefix(read, "/admin/") {
				t.Errorf("%s answers %d to a User and reaches the API as %s", path, got.status, a.path)
			}
		}
	}
}

// cleaned is a path as a lenient program reads it.
func cleaned(p string) string {
	var parts []string
	for _, part := range strings.FieldsFunc(p, func(r rune) bool { return r == '/' || r == '\\' }) {
		part, _, _ = strings.Cut(part, ";")
		switch {
		case part == "..":
			parts = parts[:max(0, len(parts)-1)]
		case part != "." && part != "":
			parts = append(parts, part)
		}
	}
	return "/" + strings.Join(parts, "/")
}

func (s *site) revocation(t *testing.T, r running) {
	for range 5 {
		token := s.issue(t, `{"client_id":"leaver","role":"user"}`)
		kept := r.dial(t, "")
		s.api.took()
		if got := kept.ask(t, question{path: "/", token: token.Token}); got.status != http.StatusOK {
			t.Fatalf("before it was revoked the token answers %d", got.status)
		}
		s.reached(t, question{}, token)
		s.revoke(t, token)
		if got := kept.ask(t, question{path: "/", token: token.Token}); got.status != http.StatusUnauthorized {
			t.Errorf("on the same connection a revoked token answers %d", got.status)
		}
		s.refuses(t, r, question{path: "/", token: token.Token}, http.StatusUnauthorized, "")
	}
}

// spellings are the forms in which a name is another's to some program.
func spellings() map[string]func(name string) []string {
	forms := map[string]func(string) []string{
		"as it is":   func(name string) []string { return []string{name} },
		"lower case": func(name string) []string { return []string{strings.ToLower(name)} },
		"upper case": func(name string) []string { return []string{strings.ToUpper(name)} },
	}
	for _, c := range "!#$%&'*+._`^|~" {
		forms["with "+string(c)] = func(name string) []string {
			var made []string
			for at := range strings.Count(name, "-") {
				parts := strings.Split(name, "-")
				made = append(made, strings.Join(parts[:at+1], "-")+string(c)+strings.Join(parts[at+1:], "-"))
				made = append(made, strings.Join(parts[:at+1], string(c))+"-"+strings.Join(parts[at+1:], string(c)))
			}
			return append(made, strings.ReplaceAll(name, "-", string(c)))
		}
	}
	return forms
}

// spoofed are header lines in which a client says that it is somebody else.
func spoofed(spell func(string) []string, value string) []string {
	var lines []string
	for _, name := range []string{"X-Auth-Client-Id", "X-Auth-Role", "X-Auth-Tags", "X-Auth-Token-Id"} {
		for _, form := range spell(name) {
			lines = append(lines, form+": "+value)
		}
	}
	return lines
}

func (s *site) spoofing(t *testing.T, r running) {
	same := spellings()["as it is"]
	const all = "X-Auth-Client-Id, X-Auth-Role, X-Auth-Tags, X-Auth-Token-Id"
	cases := map[string][]string{
		"twice":                      append(spoofed(same, "admin"), spoofed(same, "root")...),
		"empty":                      spoofed(same, ""),
		"in Connection":              {"Connection: " + all},
		"in Connection, lower case":  {"Connection: close, " + strings.ToLower(all)},
		"in two Connections":         {"Connection: keep-alive", "Connection: " + all},
		"in Connection, and sent":    append(spoofed(same, "admin"), "Connection: "+all),
		"in Connection, upgrading":   {"Upgrade: websocket2", "Connection: upgrade, " + all},
		"in Proxy-Connection":        {"Proxy-Connection: " + all},
		"the address in Connection":  {"Connection: X-Forwarded-For, X-Real-Ip"},
		"folded":                     {"X-Other: a", " X-Auth-Role: admin"},
		"space before the colon":     {"X-Auth-Role : admin", "X-Auth-Tags\t: team:data"},
		"after a bare line feed":     {"X-Other: a\nX-Auth-Role: admin"},
		"after a bare return":        {"X-Other: a\rX-Auth-Role: admin"},
		"as a trailer":               {"Trailer: X-Auth-Role", "Transfer-Encoding: chunked", "", "1\r\nx\r\n0\r\nX-Auth-Role: admin"},
		"as a trailer, underscored":  {"Trailer: X_Auth_Role", "Transfer-Encoding: chunked", "", "1\r\nx\r\n0\r\nX_Auth_Role: admin"},
		"as an unannounced trailer":  {"Transfer-Encoding: chunked", "", "1\r\nx\r\n0\r\nX-Auth-Role: admin"},
		"removed by the door's name": {"X-Auth-Role-Remove: 1", "X-Auth: admin"},
	}
	for name, spell := range spellings() {
		cases[name] = spoofed(spell, "admin")
	}
	strict := 0
	for name, fields := range cases {
		s.api.took()
		q := question{path: "/", token: s.plain.Token, fields: fields}
		got := r.ask(t, q)
		switch got.status {
		case http.StatusOK:
			for trailer, values := range s.reached(t, question{path: name, fields: fields}, s.plain).trailer {
				if len(values) > 0 && !r.passesTrailers {
					t.Errorf("%s: the API got the trailer %s: %q", name, trailer, values)
				}
			}
			strict++
		case http.StatusBadRequest:
			if took := s.api.took(); len(took) != 0 {
				t.Errorf("%s: refused, and reached the API", name)
			}
		default:
			t.Errorf("%s answers %d", name, got.status)
		}
		q.token = ""
		if got := r.ask(t, q); got.status != http.StatusUnauthorized && got.status != http.StatusBadRequest {
			t.Errorf("%s without a token answers %d", name, got.status)
		}
	}
	if strict < len(spellings()) {
		t.Errorf("only %d of %d reached the API, so little was tested", strict, len(cases))
	}
}

func (s *site) addresses(t *testing.T, r running) {
	fenced := s.issue(t, `{"client_id":"fenced","role":"user","allowed_addresses":["127.0.0.2/32"]}`)
	got := s.admits(t, r, question{path: "/", from: "127.0.0.2", fields: []string{"X-Forwarded-For: 127.0.0.9"}}, fenced)
	if forwarded := strings.Join(got.header.Values("X-Forwarded-For"), ", "); forwarded != "127.0.0.2" {
		t.Errorf("the API is told that %q is the client", forwarded)
	}
	for _, fields := range [][]string{
		nil,
		{"X-Forwarded-For: 127.0.0.2"},
		{"X-Forwarded-For: 127.0.0.2", "X-Forwarded-For: 127.0.0.2"},
		{"x_forwarded_for: 127.0.0.2"},
		{"Forwarded: for=127.0.0.2"},
		{"X-Real-IP: 127.0.0.2"},
		{"X-Forwarded-For: 127.0.0.2", "Connection: X-Forwarded-For"},
	} {
		for _, from := range []string{"127.0.0.1", "127.0.0.3"} {
			s.api.took()
			if got := r.ask(t, question{path: "/", token: fenced.Token, from: from, fields: fields}); got.status != http.StatusForbidden {
				t.Errorf("from %s with %q the token answers %d", from, fields, got.status)
			}
			if len(s.api.took()) != 0 {
				t.Errorf("from %s with %q the token reaches the API", from, fields)
			}
		}
	}
}

func (s *site) answers(t *testing.T, r running) {
	for path, want := range map[string]struct {
		status    int
		challenge string
	}{
		"/forbids": {http.StatusForbidden, `Bearer realm="the API's own"`},
		"/fails":   {http.StatusInternalServerError, ""},
	} {
		got := r.ask(t, question{path: path, token: s.user.Token})
		if got.status != want.status || got.header.Get("WWW-Authenticate") != want.challenge || got.body != "the API answers" {
			t.Errorf("%s answers %d %q %s", path, got.status, got.header.Get("WWW-Authenticate"), got.body)
		}
	}
	for name := range r.ask(t, question{path: "/", token: s.user.Token}).header {
		if slices.Contains(identityNames(), fold(name)) {
			t.Errorf("the client is told %s", name)
		}
	}
}

func (s *site) transport(t *testing.T, r running) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, size := range []int{1, 1 << 10, 1 << 19} {
			body := strings.Repeat("body of "+method, 1+size/len(method))[:size]
			got := s.admits(t, r, question{method: method, path: "/", body: body}, s.user)
			if got.method != method || got.body != body {
				t.Errorf("the API got %s with %d bytes, want %s with %d", got.method, len(got.body), method, len(body))
			}
		}
	}
	if got := s.admits(t, r, question{method: http.MethodHead, path: "/"}, s.user); got.method != http.MethodHead {
		t.Errorf("HEAD reached the API as %s", got.method)
	}
	if got := s.admits(t, r, question{method: http.MethodOptions, path: "/"}, s.user); got.method != http.MethodOptions {
		t.Errorf("OPTIONS reached the API as %s", got.method)
	}
	// An API that speaks HTTP/2 would take what follows past every demand.
	got := s.admits(t, r, question{path: "/", fields: []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"}}, s.user)
	if upgrade := got.header.Get("Upgrade"); upgrade != "" {
		t.Errorf("the API is asked to upgrade to %s", upgrade)
	}
	upgrade := []string{
		"Connection: Upgrade, X-Auth-Role", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	s.refuses(t, r, question{path: "/ws", fields: upgrade}, http.StatusUnauthorized, "")
	s.webSocket(t, r, question{path: "/ws", fields: upgrade, token: s.user.Token})
}

func (s *site) webSocket(t *testing.T, r running, q question) {
	t.Helper()
	w := r.dial(t, "")
	if _, err := io.WriteString(w, q.text()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("an upgrade to WebSocket answers %v, %v", resp, err)
	}
	if _, err := io.WriteString(w, "ping"); err != nil {
		t.Fatal(err)
	}
	heard := make([]byte, len("ping"))
	if _, err := io.ReadFull(w.in, heard); err != nil || string(heard) != "ping" {
		t.Errorf("over a WebSocket the API answers %q, %v", heard, err)
	}
	s.reached(t, q, s.user)
}

// An answer that comes later than this was not bounded by the gateway's
// configuration, which waits for 2 or 3 s; the machine may be busy.
const patience = 10 * time.Second

func (s *site) outages(t *testing.T, r running) {
	closed := func(what string, q question) {
		t.Helper()
		s.api.took()
		began := time.Now()
		if got := r.ask(t, q); got.status < 500 || got.status > 504 {
			t.Errorf("%s: %d, want 5xx", what, got.status)
		}
		if took := time.Since(began); took > patience {
			t.Errorf("%s: answered after %s", what, took)
		}
		if len(s.api.took()) != 0 {
			t.Errorf("%s: the request reached the API", what)
		}
	}
	good := question{path: "/", token: s.user.Token, fields: spoofed(spellings()["as it is"], "admin")}
	defer s.line.through()
	for what, says := range map[string]string{
		"the authority never answers":      "",
		"the authority answers 500":        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
		"the state is unknown":             "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
		"the authority hangs up half-way":  "HTTP/1.1 200 OK\r\nX-Auth-Token-Id: tok_x\r\nX-Auth-Role: ad",
		"the authority speaks in tongues":  "220 smtp.example ESMTP\r\nX-Auth-Token-Id: x\r\n\r\n",
		"somebody else listens there":      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"the authority sends a wrong line": "HTTP/1.1 2000 OK\r\nX-Auth-Token-Id: x\r\nContent-Length: 0\r\n\r\n",
	} {
		s.line.answers(says)
		closed(what, good)
	}
	s.line.answers("HTTP/1.1 302 Found\r\nLocation: /healthz\r\nContent-Length: 0\r\n\r\n")
	s.api.took()
	if got := r.ask(t, good); got.status == http.StatusOK || len(s.api.took()) != 0 {
		t.Errorf("the authority redirects: %d", got.status)
	}
	s.line.through()
	s.home.manager(t, "stop")
	closed("the authority is stopped", good)
	s.line.hangUp()
	closed("nobody listens", good)
	s.line.listen(t)
	s.home.manager(t, "start")
	s.admits(t, r, question{path: "/"}, s.user)
}

// The leeway for clocks that differ makes a token end later than it says, by at
// most a minute (RFC 7519 section 4.1.4).
func (s *site) expiry(t *testing.T, r running, short issued) {
	for deadline := short.ExpiresAt.Add(time.Minute); ; time.Sleep(250 * time.Millisecond) {
		got := r.ask(t, question{path: "/", token: short.Token})
		if got.status == http.StatusUnauthorized {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute after its end the token answers %d", got.status)
		}
	}
	s.refuses(t, r, question{path: "/", token: short.Token}, http.StatusUnauthorized, "")
}
