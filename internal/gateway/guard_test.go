package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/liveset"
	"mintmark/internal/pathrule"

	"github.com/google/go-cmp/cmp"
)

// notebook is a log that several may write.
type notebook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notebook) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(b)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// guarded is an API behind a guard.
type guarded struct {
	t        testing.TB
	config   gateway.GuardConfig
	proxies  []netip.Prefix
	front    *httptest.Server
	log      notebook
	mu       sync.Mutex
	arrivals []*http.Request
}

const (
	guardPublic = "/healthz, GET|OPTIONS /docs"
	guardRules  = "/admin role=admin, /data tag=team:data, POST /notes tag=notes:write"
)

// guard puts a guard of short patience before an API; change says otherwise.
func guard(t testing.TB, live edge.Decider, api http.HandlerFunc, change ...func(*guarded)) *guarded {
	t.Helper()
	g := &guarded{t: t}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.arrivals = append(g.arrivals, r.Clone(context.Background()))
		g.mu.Unlock()
		if api != nil {
			api(w, r)
		}
	}))
	t.Cleanup(upstream.Close)
	at, err := url.Parse(upstream.URL)
	must(t, err)
	public, err := pathrule.ParsePublic(guardPublic)
	must(t, err)
	rules, err := pathrule.Parse(guardRules)
	must(t, err)
	all, err := pathrule.Join(public, rules)
	must(t, err)
	g.config = gateway.GuardConfig{
		Live: live, Upstream: at, Rules: func() pathrule.Rules { return all }, KeepAuthorization: func() bool { return false },
		Patience: 10 * time.Second, Now: time.Now, Log: slog.New(slog.NewTextHandler(&g.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(g)
	}
	made, err := gateway.NewGuard(g.config)
	must(t, err)
	t.Cleanup(made.Close)
	g.front = httptest.NewUnstartedServer(edge.Wrap(edge.Config{
		Log: g.config.Log, Now: time.Now, NewID: func() string { return "req_1" },
		TrustedProxies: func() []netip.Prefix { return g.proxies },
	}, made))
	g.front.Config.ErrorLog = slog.NewLogLogger(g.config.Log.Handler(), slog.LevelDebug)
	g.front.Config.DisableGeneralOptionsHandler = true
	g.front.Start()
	t.Cleanup(g.front.Close)
	return g
}

// took answers what has reached the API since the last call.
func (g *guarded) took() []*http.Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	got := g.arrivals
	g.arrivals = nil
	return got
}

// only answers the one request that has reached the API.
func (g *guarded) only() *http.Request {
	g.t.Helper()
	got := g.took()
	if len(got) != 1 {
		g.t.Fatalf("%d requests reached the API", len(got))
	}
	return got[0]
}

// line is one connection to the guard.
type line struct {
	net.Conn
	in *bufio.Reader
}

func (g *guarded) dial() line {
	g.t.Helper()
	c, err := net.Dial("tcp", g.front.Listener.Addr().String())
	must(g.t, err)
	g.t.Cleanup(func() { _ = c.Close() })
	must(g.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return line{c, bufio.NewReader(c)}
}

// send writes a request line and header lines as they are.
func (g *guarded) send(request string, fields ...string) (*http.Response, string) {
	g.t.Helper()
	c := g.dial()
	defer func() { _ = c.Close() }()
	return c.send(g.t, request, fields...)
}

func (c line) send(t testing.TB, request string, fields ...string) (*http.Response, string) {
	t.Helper()
	_, err := io.WriteString(c, strings.Join(append([]string{request + " HTTP/1.1", "Host: api.example"}, fields...), "\r\n")+"\r\n\r\n")
	must(t, err)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	return resp, string(body)
}

func authorization(i authority.Issued) string { return "Authorization: Bearer " + i.Text.Unsafe() }

func TestTheGuardHandsOnWhoCallsAndNotTheToken(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user", Tags: []string{"team:data", "env:prod"}})
	plain := h.issue(authority.TokenRequest{ClientID: "plain", Role: "user"})
	keep := false
	g := guard(t, h.live, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Api", "1")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "the API answers")
	}, func(g *guarded) { g.config.KeepAuthorization = func() bool { return keep } })
	resp, body := g.send("GET /x/y?a=b&c=%20d;e&%zz", authorization(user), "X-Other: kept")
	if resp.StatusCode != http.StatusTeapot || body != "the API answers" || resp.Header.Get("X-Api") != "1" || resp.Header.Get("Cache-Control") != "" {
		t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
	got := g.only()
	want := http.Header{
		"X-Auth-Client-Id": {"etl"}, "X-Auth-Role": {"user"}, "X-Auth-Tags": {"team:data,env:prod"}, "X-Auth-Token-Id": {string(user.ID)},
		"X-Other": {"kept"}, "X-Request-Id": {"req_1"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"api.example"}, "X-Forwarded-Proto": {"http"},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if got.RequestURI != "/x/y?a=b&c=%20d;e&%zz" || got.Host != g.config.Upstream.Host {
		t.Errorf("asked for %s of %s", got.RequestURI, got.Host)
	}
	g.send("GET /", authorization(plain))
	if tags, set := g.only().Header["X-Auth-Tags"]; !set || len(tags) != 1 || tags[0] != "" {
		t.Errorf("no tags are told as %q", tags)
	}
	keep = true
	g.send("GET /", authorization(plain))
	if got := g.only().Header["Authorization"]; len(got) != 1 || got[0] != "Bearer "+plain.Text.Unsafe() {
		t.Error("Authorization was not kept")
	}
	if strings.Contains(g.log.String(), user.Text.Unsafe()) {
		t.Error("a token is in the log")
	}
}

func TestTheGuardRefusesBeforeTheAPIHears(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user", Tags: []string{"team:data"}})
	plain := h.issue(authority.TokenRequest{ClientID: "plain", Role: "user"})
	admin := h.issue(authority.TokenRequest{ClientID: "root", Role: "admin"})
	verifier := h.issue(authority.TokenRequest{ClientID: "gate", Role: "verifier"})
	fenced := h.issue(authority.TokenRequest{ClientID: "fenced", Role: "user", AllowedAddresses: []string{"10.2.0.0/16"}})
	gone := h.issue(authority.TokenRequest{ClientID: "gone", Role: "user"})
	_, err := h.rules.RevokeToken(t.Context(), operator(), gone.ID, false)
	must(t, err)
	g := guard(t, h.live, nil)
	const realm = `Bearer realm="mintmark"`
	forbidden := realm + `, error="insufficient_scope", error_description="the token does not allow this"`
	invalid := realm + `, error="invalid_token", error_description="invalid token"`
	malformed := realm + `, error="invalid_request", error_description=`
	for name, c := range map[string]struct {
		request   string
		fields    []string
		status    int
		code      string
		challenge string
	}{
		"no token":              {"GET /", nil, 401, "token.missing", realm},
		"another scheme":        {"GET /", []string{"Authorization: Basic eDp5"}, 401, "token.missing", realm},
		"bad token":             {"GET /", []string{"Authorization: Bearer x"}, 401, "token.invalid", invalid},
		"revoked":               {"GET /", []string{authorization(gone)}, 401, "token.invalid", invalid},
		"verifier":              {"GET /", []string{authorization(verifier)}, 403, "token.insufficient", forbidden + `, scope="user"`},
		"from elsewhere":        {"GET /", []string{authorization(fenced), "X-Forwarded-For: 10.2.0.1"}, 403, "token.insufficient", forbidden},
		"two":                   {"GET /", []string{authorization(user), authorization(user)}, 400, "credential.malformed", malformed + `"There is more than one Authorization field."`},
		"list":                  {"GET /", []string{authorization(user) + ",Bearer x"}, 400, "credential.malformed", malformed + `"The Authorization field is: Bearer, one space, one token."`},
		"in the URL":            {"GET /?access_token=x", []string{authorization(user)}, 400, "credential.malformed", malformed + `"A token does not belong in the URL."`},
		"role":                  {"GET /admin/x", []string{authorization(user)}, 403, "token.insufficient", forbidden + `, scope="admin"`},
		"role, another case":    {"GET /ADMIN/x", []string{authorization(user)}, 403, "token.insufficient", forbidden + `, scope="admin"`},
		"tag":                   {"PUT /data", []string{authorization(plain)}, 403, "token.insufficient", forbidden},
		"tag by method":         {"POST /notes/1", []string{authorization(user)}, 403, "token.insufficient", forbidden},
		"no public method":      {"POST /docs", nil, 401, "token.missing", realm},
		"public elsewhere":      {"GET /healthz2", nil, 401, "token.missing", realm},
		"lower-case method":     {"post /notes", []string{authorization(user)}, 400, "request.ambiguous", ""},
		"method override":       {"POST /data", []string{authorization(user), "X-HTTP-Method-Override: DELETE"}, 400, "request.ambiguous", ""},
		"method override, _":    {"POST /healthz", []string{"x_http_method: DELETE"}, 400, "request.ambiguous", ""},
		"TRACE":                 {"TRACE /healthz", nil, 501, "method.not_implemented", ""},
		"CONNECT":               {"CONNECT api.example:443", []string{authorization(admin)}, 501, "method.not_implemented", ""},
		"every server":          {"OPTIONS *", []string{authorization(admin)}, 400, "request.ambiguous", ""},
		"opaque":                {"GET x:y", []string{authorization(admin)}, 400, "request.ambiguous", ""},
		"two readings":          {"GET /x/..%2fadmin", []string{authorization(admin)}, 400, "request.ambiguous", ""},
		"two readings, unasked": {"GET /x//admin", nil, 400, "request.ambiguous", ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := g.send(c.request, c.fields...)
			var p struct {
				Code      string `json:"code"`
				Status    int    `json:"status"`
				RequestID string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%d %s: %v", resp.StatusCode, body, err)
			}
			if resp.StatusCode != c.status || p.Status != c.status || p.Code != c.code || p.RequestID != "req_1" {
				t.Errorf("%d %+v", resp.StatusCode, p)
			}
			if got := resp.Header.Get("WWW-Authenticate"); got != c.challenge {
				t.Errorf("challenge %s, want %s", got, c.challenge)
			}
			if resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Request-Id") != "req_1" {
				t.Errorf("%v", resp.Header)
			}
			if got := g.took(); len(got) != 0 {
				t.Errorf("the API hears of %s", got[0].RequestURI)
			}
		})
	}
}

func TestRulesAreMetByWhoMeetsThem(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user", Tags: []string{"team:data"}})
	admin := h.issue(authority.TokenRequest{ClientID: "root", Role: "admin"})
	writer := h.issue(authority.TokenRequest{ClientID: "writer", Role: "user", Tags: []string{"notes:write"}})
	g := guard(t, h.live, nil)
	for _, c := range []struct {
		request string
		token   *authority.Issued
	}{
		{"GET /", &user},
		{"GET /admin/x", &admin},
		{"GET /data/x", &user},
		{"GET /data/x", &admin},
		{"GET /notes/1", &user},
		{"POST /notes/1", &writer},
		{"GET /healthz", nil},
		{"DELETE /healthz/x", nil},
		{"HEAD /docs/x", nil},
		{"OPTIONS /docs", nil},
		{"GET /docs", &user},
	} {
		var fields []string
		if c.token != nil {
			fields = []string{authorization(*c.token)}
		}
		if resp, body := g.send(c.request, fields...); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", c.request, resp.StatusCode, body)
		}
		g.only()
	}
}

func TestNobodySaysAtAPublicPathWhoTheyAre(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user"})
	g := guard(t, h.live, nil)
	g.send("GET /healthz", authorization(user), "X-Auth-Role: admin", "x_auth_client_id: root", "X-Auth-Tags: a:b", "X-Auth-Token-Id: tok_1")
	for name := range g.only().Header {
		if name == "Authorization" || strings.HasPrefix(folded(name), "x-auth-") {
			t.Errorf("the API is told %s", name)
		}
	}
}

// folded reads a name as a program does that keeps letters and digits only.
func folded(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
}

func TestTheClientsOwnIdentityIsDroppedInEverySpelling(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user"})
	g := guard(t, h.live, nil)
	names := []string{"X-Auth-Client-Id", "X-Auth-Role", "X-Auth-Tags", "X-Auth-Token-Id"}
	var fields []string
	for _, name := range names {
		fields = append(fields, name+": admin", strings.ToLower(name)+": admin", strings.ToUpper(name)+": admin")
		for _, sign := range "!#$%&'*+._`|~" {
			for at := range strings.Count(name, "-") {
				parts := strings.Split(name, "-")
				fields = append(fields, strings.Join(parts[:at+1], "-")+string(sign)+strings.Join(parts[at+1:], "-")+": admin")
			}
			fields = append(fields, strings.ReplaceAll(name, "-", string(sign))+": admin")
		}
	}
	for _, field := range append(fields, "Connection: "+strings.Join(names, ", "), "Connection: close, x-auth-role", "Proxy-Connection: X-Auth-Role") {
		resp, _ := g.send("GET /", authorization(user), field, field)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d", field, resp.StatusCode)
			continue
		}
		got := http.Header{}
		for name, values := range g.only().Header {
			if strings.HasPrefix(folded(name), "x-auth-") || name == "Connection" {
				got[name] = values
			}
		}
		want := http.Header{"X-Auth-Client-Id": {"etl"}, "X-Auth-Role": {"user"}, "X-Auth-Tags": {""}, "X-Auth-Token-Id": {string(user.ID)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", field, diff)
		}
	}
}

func TestWhereAClientIsIsSaidByTheGuardOrAConfiguredProxy(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user"})
	fenced := h.issue(authority.TokenRequest{ClientID: "fenced", Role: "user", AllowedAddresses: []string{"10.2.0.0/16"}})
	forged := []string{
		"X-Forwarded-For: 10.2.0.9", "X-Forwarded-Host: tokens.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "X-Forwarded-Prefix: /admin",
		"x_forwarded_for: 10.2.0.9", "Forwarded: for=10.2.0.9", "X-Real-IP: 10.2.0.9", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "True-Client-Ip: 10.2.0.9",
	}
	interesting := func(r *http.Request) http.Header {
		got := http.Header{}
		for name, values := range r.Header {
			for _, part := range []string{"forwarded", "real", "original", "rewrite", "true"} {
				if strings.Contains(folded(name), part) {
					got[name] = values
				}
			}
		}
		return got
	}
	g := guard(t, h.live, nil)
	g.send("GET /", append(forged, authorization(user))...)
	want := http.Header{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"api.example"}, "X-Forwarded-Proto": {"http"}}
	if diff := cmp.Diff(want, interesting(g.only())); diff != "" {
		t.Errorf("from a stranger (-want +got):\n%s", diff)
	}
	if resp, _ := g.send("GET /", append(forged, authorization(fenced))...); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a stranger says that it is elsewhere: %d", resp.StatusCode)
	}
	g = guard(t, h.live, nil, func(g *guarded) { g.proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	if resp, _ := g.send("GET /", append(forged, authorization(fenced))...); resp.StatusCode != http.StatusOK {
		t.Errorf("a proxy says where its client is: %d", resp.StatusCode)
	}
	want = http.Header{
		"X-Forwarded-For": {"10.2.0.9, 127.0.0.1"}, "X-Forwarded-Host": {"tokens.example"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Port": {"443"},
		"X-Forwarded-Prefix": {"/admin"}, "X_forwarded_for": {"10.2.0.9"}, "Forwarded": {"for=10.2.0.9"}, "X-Real-Ip": {"10.2.0.9"}, "True-Client-Ip": {"10.2.0.9"},
	}
	delete(want, "Forwarded") // a proxy's chain is told in one form
	if diff := cmp.Diff(want, interesting(g.only())); diff != "" {
		t.Errorf("from a proxy (-want +got):\n%s", diff)
	}
}

func TestThePathThatIsJudgedIsThePathThatArrives(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user"})
	g := guard(t, h.live, nil)
	for target, want := range map[string]string{
		"/":                             "/",
		"/%61dm/x":                      "/adm/x",
		"/caf%c3%a9?x=%2f":              "/caf%C3%A9?x=%2f",
		"/a%20b/c%23":                   "/a%20b/c%23",
		"/x/?":                          "/x/?",
		"/a^b":                          "/a%5Eb",
		"http://elsewhere.example/y?z":  "/y?z",
		"http://elsewhere.example":      "/",
		"http://elsewhere.example?a//b": "/?a//b",
	} {
		resp, _ := g.send("GET "+target, authorization(user))
		if got := g.only(); resp.StatusCode != http.StatusOK || got.RequestURI != want {
			t.Errorf("%s answers %d and arrives as %s, want %s", target, resp.StatusCode, got.RequestURI, want)
		}
	}
	for _, target := range []string{"/%61dmin/x", "/%61%64%6d%69%6e", "http://elsewhere.example/admin", "/Admin", "/%41DMIN"} {
		if resp, _ := g.send("GET "+target, authorization(user)); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s answers %d", target, resp.StatusCode)
		}
	}
	for _, target := range []string{
		"//admin", "/./admin", "/x/../admin", "/x/%2e%2e/admin", "/x/..%2fadmin", "/admin%2fx", "/..;/admin", "/admin;x", `/\admin`, "/%5cadmin", "/%252e/admin",
		"/x/%c0%ae%c0%ae/admin", "http://elsewhere.example//admin", "/admin%00", "/...", "/admin/%2e",
	} {
		if resp, _ := g.send("GET "+target, authorization(user)); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s answers %d", target, resp.StatusCode)
		}
	}
	if got := g.took(); len(got) != 0 {
		t.Errorf("%s arrived", got[0].RequestURI)
	}
}

func TestARevokedTokenIsRefusedOnTheNextRequestOfItsConnection(t *testing.T) {
	h := newHouse(t)
	g := guard(t, h.live, nil)
	for range 5 {
		leaver := h.issue(authority.TokenRequest{ClientID: "leaver", Role: "user"})
		c := g.dial()
		if resp, _ := c.send(t, "GET /", authorization(leaver)); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d", resp.StatusCode)
		}
		_, err := h.rules.RevokeToken(t.Context(), operator(), leaver.ID, false)
		must(t, err)
		if resp, _ := c.send(t, "GET /", authorization(leaver)); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d", resp.StatusCode)
		}
	}
}

func TestTheGuardKeepsOutWhatIsUnknown(t *testing.T) {
	g := guard(t, state(liveset.StateUnknown), nil)
	resp, body := g.send("GET /", "Authorization: Bearer x")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"state.unknown"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if len(g.took()) != 0 {
		t.Error("the API hears of it")
	}
}

// state is a live set that always finds the same.
type state liveset.Reason

func (s state) Decide(string, liveset.Demand) liveset.Verdict {
	return liveset.Verdict{Reason: liveset.Reason(s), Identity: liveset.Identity{ID: "tok_1", ClientID: "etl", Role: authority.RoleUser}}
}

func TestAnUpstreamThatDoesNotAnswerIsTold(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	down := &url.URL{Scheme: "http", Host: unused.Addr().String()}
	must(t, unused.Close())
	hang := make(chan struct{})
	for name, c := range map[string]struct {
		api    http.HandlerFunc
		change func(*guarded)
		status int
		code   string
	}{
		"down":     {nil, func(g *guarded) { g.config.Upstream = down }, 502, "upstream.unreachable"},
		"slow":     {func(_ http.ResponseWriter, r *http.Request) { <-hang }, func(g *guarded) { g.config.Patience = 100 * time.Millisecond }, 504, "upstream.timeout"},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func(*guarded) {}, 502, "upstream.unreachable"},
		"tongues": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(c, "220 eyJsecret\r\n\r\n")
			_ = c.Close()
		}, func(*guarded) {}, 502, "upstream.unreachable"},
		"upgrades unasked": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			_ = c.Close()
		}, func(*guarded) {}, 502, "upstream.unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, state(liveset.Allowed), c.api, c.change)
			resp, body := g.send("GET /", "Authorization: Bearer x")
			if resp.StatusCode != c.status || !strings.Contains(body, `"code":"`+c.code+`"`) || resp.Header.Get("X-Request-Id") != "req_1" || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if log := g.log.String(); !strings.Contains(log, "the upstream did not answer") || strings.Contains(log, "eyJsecret") {
				t.Errorf("logged %s", log)
			}
			if name == "slow" {
				close(hang)
			}
		})
	}
}

func TestAnIDOfTheAPIsOwnIsTold(t *testing.T) {
	own := ""
	g := guard(t, state(liveset.Allowed), func(w http.ResponseWriter, _ *http.Request) {
		if own != "" {
			w.Header().Set("X-Request-Id", own)
		}
	})
	for _, want := range []string{"", "api_7"} {
		own = want
		resp, _ := g.send("GET /", "Authorization: Bearer x")
		if want == "" {
			want = "req_1"
		}
		if got := resp.Header["X-Request-Id"]; len(got) != 1 || got[0] != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBothSidesStream(t *testing.T) {
	g := guard(t, state(liveset.Allowed), func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		must(t, out.EnableFullDuplex())
		w.WriteHeader(http.StatusOK)
		must(t, out.Flush())
		in := bufio.NewReader(r.Body)
		for {
			text, err := in.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, strings.ToUpper(text))
			must(t, out.Flush())
		}
	})
	body, more := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.front.URL+"/", body)
	must(t, err)
	r.Header.Set("Authorization", "Bearer x")
	resp, err := http.DefaultClient.Do(r) // answers before the body has an end
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReader(resp.Body)
	for _, word := range []string{"one\n", "two\n", "three\n"} {
		_, err := io.WriteString(more, word)
		must(t, err)
		if got, err := in.ReadString('\n'); err != nil || got != strings.ToUpper(word) {
			t.Fatalf("%q, %v", got, err)
		}
	}
	must(t, more.Close())
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestBodiesOfAnySizePassUnchanged(t *testing.T) {
	g := guard(t, state(liveset.Allowed), func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		w.Header().Set("X-Got", fmt.Sprintf("%d %x %v", n, sum.Sum(nil), err))
		_, _ = io.Copy(w, io.LimitReader(endless{}, n))
	})
	for _, size := range []int64{1, 1 << 16, 8 << 20} {
		for _, length := range []int64{size, -1} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.front.URL+"/", io.LimitReader(endless{}, size))
			must(t, err)
			r.ContentLength = length
			r.Header.Set("Authorization", "Bearer x")
			resp, err := http.DefaultClient.Do(r)
			must(t, err)
			back, sum := sha256.New(), sha256.New()
			n, err := io.Copy(back, resp.Body)
			must(t, err)
			must(t, resp.Body.Close())
			_, err = io.CopyN(sum, endless{}, size)
			must(t, err)
			want := fmt.Sprintf("%d %x <nil>", size, sum.Sum(nil))
			if got := resp.Header.Get("X-Got"); got != want || n != size || !bytes.Equal(back.Sum(nil), sum.Sum(nil)) {
				t.Errorf("%d bytes with length %d: the API got %s, we got %d", size, length, got, n)
			}
		}
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i * 7)
	}
	return len(b), nil
}

func TestTrailersPassBothWaysAndNameNobody(t *testing.T) {
	got := make(chan http.Header, 1)
	g := guard(t, state(liveset.Allowed), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Checksum")
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer.Clone()
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Checksum", "right")
		w.Header().Set(http.TrailerPrefix+"X-Late", "too")
	})
	c := g.dial()
	_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Auth-Role, X_Auth_Tags, X-Forwarded-For, Authorization\r\n\r\n"+
		"4\r\nbody\r\n0\r\nX-Sum: 7\r\nX-Auth-Role: admin\r\nX_Auth_Tags: a:b\r\nX-Forwarded-For: 10.2.0.9\r\nAuthorization: Bearer y\r\nX-Unannounced: 1\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(c.in, nil)
	must(t, err)
	_, err = io.ReadAll(resp.Body)
	must(t, err)
	if diff := cmp.Diff(http.Header{"X-Sum": {"7"}}, <-got); diff != "" {
		t.Errorf("the API's (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{"X-Checksum": {"right"}, "X-Late": {"too"}}, resp.Trailer); diff != "" {
		t.Errorf("the client's (-want +got):\n%s", diff)
	}
}

func TestWebSocketsPassAndOtherUpgradesDoNot(t *testing.T) {
	g := guard(t, state(liveset.Allowed), func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			return
		}
		c, buffered, err := http.NewResponseController(w).Hijack()
		must(t, err)
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		_, _ = io.Copy(c, buffered)
	}, func(g *guarded) { g.config.Patience = 150 * time.Millisecond })
	for _, upgrade := range []string{"websocket", "WebSocket"} {
		c := g.dial()
		_, err := io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nConnection: Upgrade, X-Auth-Role\r\nUpgrade: "+upgrade+"\r\nSec-WebSocket-Key: x\r\n\r\n")
		must(t, err)
		resp, err := http.ReadResponse(c.in, nil)
		must(t, err)
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %d", upgrade, resp.StatusCode)
		}
		for range 3 {
			heard := make([]byte, 4)
			_, err = io.WriteString(c, "ping")
			must(t, err)
			if _, err := io.ReadFull(c.in, heard); err != nil || string(heard) != "ping" {
				t.Errorf("%q, %v", heard, err)
			}
			time.Sleep(200 * time.Millisecond) // longer than any patience: a WebSocket may rest
		}
		must(t, c.Close())
		if got := g.only(); got.Header.Get("X-Auth-Role") != "user" || got.Header.Get("Connection") != "Upgrade" {
			t.Errorf("%v", got.Header)
		}
	}
	for _, upgrade := range []string{"h2c", "websocket2", "websocket, h2c", "TLS/1.0"} {
		resp, _ := g.send("GET /", "Authorization: Bearer x", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__", "Upgrade: "+upgrade)
		got := g.only().Header
		if resp.StatusCode != http.StatusOK || len(got["Upgrade"]) > 0 || len(got["Connection"]) > 0 || len(got["Http2-Settings"]) > 0 {
			t.Errorf("%s: %d %v", upgrade, resp.StatusCode, got)
		}
	}
	g.send("GET /", "Authorization: Bearer x", "HTTP2-Settings: AAMAAABkAAQAAP__")
	if got := g.only().Header["Http2-Settings"]; len(got) > 0 {
		t.Errorf("HTTP2-Settings: %s", got)
	}
	g.eventually("a WebSocket is logged as one", func() bool { return strings.Contains(g.log.String(), "status=101") })
}

func (g *guarded) eventually(what string, holds func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("not yet: %s\n%s", what, g.log.String())
		}
	}
}

func TestAClientThatStallsIsGivenUp(t *testing.T) {
	impatient := func(g *guarded) { g.config.Patience = 150 * time.Millisecond }
	t.Run("in its body", func(t *testing.T) {
		ended := make(chan error, 1)
		g := guard(t, state(liveset.Allowed), func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		}, impatient)
		resp, body := g.send("POST /", "Authorization: Bearer x", "Content-Length: 10")
		if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, `"code":"request.timeout"`) || !resp.Close {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if err := <-ended; err == nil {
			t.Error("the API takes the body for whole")
		}
	})
	t.Run("before it is let in", func(t *testing.T) {
		g := guard(t, state(liveset.UnknownToken), nil)
		resp, _ := g.send("POST /", "Authorization: Bearer x", "Content-Length: 10")
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d", resp.StatusCode)
		}
	})
	t.Run("and leaves", func(t *testing.T) {
		ended := make(chan error, 1)
		g := guard(t, state(liveset.Allowed), func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		})
		c := g.dial()
		_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: 10\r\n\r\nhalf")
		must(t, err)
		g.eventually("the API hears of it", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.arrivals) == 1 })
		must(t, c.Close())
		if err := <-ended; err == nil {
			t.Error("the API takes the body for whole")
		}
		if strings.Contains(g.log.String(), "the upstream did not answer") {
			t.Errorf("logged %s", g.log.String())
		}
	})
	t.Run("in its answer", func(t *testing.T) {
		ended := make(chan error, 1)
		g := guard(t, state(liveset.Allowed), func(w http.ResponseWriter, _ *http.Request) {
			_, err := io.Copy(w, endless{})
			ended <- err
		}, impatient)
		c := g.dial()
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n")
		must(t, err)
		if err := <-ended; err == nil {
			t.Error("an endless answer has ended")
		}
	})
	t.Run("a silent API does not matter", func(t *testing.T) {
		g := guard(t, state(liveset.Allowed), func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			must(t, err)
			_, _ = io.WriteString(w, "first ")
			must(t, http.NewResponseController(w).Flush())
			time.Sleep(400 * time.Millisecond)
			_, _ = io.WriteString(w, "second")
		}, impatient)
		c := g.dial()
		for range 2 { // nor does it on a connection that has waited
			_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: 4\r\n\r\nbody")
			must(t, err)
			resp, err := http.ReadResponse(c.in, nil)
			must(t, err)
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "first second" {
				t.Errorf("%q, %v", body, err)
			}
			time.Sleep(300 * time.Millisecond)
		}
	})
}

func TestAGuardIsMadeWhole(t *testing.T) {
	whole := func() gateway.GuardConfig {
		return gateway.GuardConfig{
			Live: state(liveset.Allowed), Upstream: &url.URL{Scheme: "http", Host: "a"}, Rules: func() pathrule.Rules { return nil },
			KeepAuthorization: func() bool { return false }, Patience: time.Second, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		}
	}
	for name, break1 := range map[string]func(*gateway.GuardConfig){
		"live":     func(c *gateway.GuardConfig) { c.Live = nil },
		"upstream": func(c *gateway.GuardConfig) { c.Upstream = nil },
		"scheme":   func(c *gateway.GuardConfig) { c.Upstream = &url.URL{Scheme: "ftp", Host: "a"} },
		"host":     func(c *gateway.GuardConfig) { c.Upstream = &url.URL{Scheme: "http"} },
		"rules":    func(c *gateway.GuardConfig) { c.Rules = nil },
		"patience": func(c *gateway.GuardConfig) { c.Patience = 0 },
		"log":      func(c *gateway.GuardConfig) { c.Log = nil },
	} {
		c := whole()
		break1(&c)
		if _, err := gateway.NewGuard(c); err == nil {
			t.Errorf("made without %s", name)
		}
	}
	if _, err := gateway.NewGuard(whole()); err != nil {
		t.Error(err)
	}
}

// asked allows everybody and remembers the demand.
type asked struct {
	mu     sync.Mutex
	demand *liveset.Demand
}

func (a *asked) Decide(_ string, d liveset.Demand) liveset.Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.demand = &d
	return state(liveset.Allowed).Decide("", d)
}

// Whatever is written as a request's target: when a lenient API could read the
// path that arrives as one that has a rule, the rule was asked.
func FuzzNoPathArrivesUnjudged(f *testing.F) {
	for _, target := range []string{
		"/", "/admin", "/admin/x?y", "/%61dmin", "//admin", "/x/../admin", "/x/%2e%2e/admin", "/admin;x", `/\admin`, "http://a/admin", "http://a//admin", "/Admin", "/data/x", "/healthz", "/a%2fb", "*", "x:y", "/%252e",
	} {
		f.Add(target)
	}
	live := &asked{}
	g := guard(f, live, nil)
	transport := &http.Transport{}
	f.Cleanup(transport.CloseIdleConnections)
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n")))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1"
		live.demand = nil
		g.took()
		g.front.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
		for _, a := range g.took() {
			path := lenient(a.URL.Path)
			public := path == "/healthz" || strings.HasPrefix(path, "/healthz/") || path == "/docs" || strings.HasPrefix(path, "/docs/")
			switch {
			case live.demand == nil && !public:
				t.Errorf("%q arrives as %s, and nobody was asked", target, a.RequestURI)
			case live.demand == nil:
			case (path == "/admin" || strings.HasPrefix(path, "/admin/")) && live.demand.Role != authority.RoleAdmin,
				(path == "/data" || strings.HasPrefix(path, "/data/")) && len(live.demand.Tags) == 0:
				t.Errorf("%q arrives as %s with the demand %+v", target, a.RequestURI, *live.demand)
			}
		}
	})
}

// lenient is a path as a careless program reads it.
func lenient(path string) string {
	for range 3 {
		if again, err := url.PathUnescape(path); err == nil {
			path = again
		}
	}
	var parts []string
	for _, part := range strings.FieldsFunc(strings.ToLower(path), func(c rune) bool { return c == '/' || c == '\\' }) {
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
