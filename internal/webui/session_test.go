package webui_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
)

// asksToSignIn fails the test unless v is signed out and told why.
func asksToSignIn(t *testing.T, v *visitor, why string) {
	t.Helper()
	answer, body := v.do(v.request(http.MethodGet, "/audit?actor=admin", ""))
	if answer.Request.URL.Path != "/sign-in" {
		t.Fatalf("the session goes on at %s", answer.Request.URL)
	}
	shows(t, body, why, `name="next" value="/audit?actor=admin"`)
}

func TestIdleSessionEnds(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	for range 3 { // use keeps it alive
		h.clock.Add(int64(29 * time.Minute))
		if answer, _ := v.do(v.request(http.MethodGet, "/audit", "")); answer.Request.URL.Path != "/audit" {
			t.Fatal("a session in use has ended")
		}
	}
	h.clock.Add(int64(31 * time.Minute))
	asksToSignIn(t, v, "You were signed out after 30 minutes without activity. Sign in to return to Audit log.")
}

func TestEverySessionEndsInTime(t *testing.T) {
	h := newHouse(t, map[string]string{"MINTMARK_LOGIN_ABSOLUTE_TIMEOUT": "1h"})
	v := h.signedIn(t)
	h.clock.Add(int64(29 * time.Minute))
	v.get("/audit")
	h.clock.Add(int64(29 * time.Minute))
	v.get("/audit")
	h.clock.Add(int64(3 * time.Minute))
	asksToSignIn(t, v, "Your sign-in has reached its end. Sign in to return to Audit log.")
}

func TestSignOutEndsTheSessionOnTheServer(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	stolen := h.visitor(t)
	old, err := url.Parse(v.base)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(stolen.base)
	if err != nil {
		t.Fatal(err)
	}
	stolen.client.Jar.SetCookies(at, v.client.Jar.Cookies(old))
	if answer, _ := stolen.do(stolen.request(http.MethodGet, "/audit", "")); answer.Request.URL.Path != "/audit" {
		t.Fatal("the copied cookie does not work, so this test shows nothing")
	}
	_, body := v.post("/sign-out", nil)
	shows(t, body, "You are signed out.", "<h1>Sign in</h1>")
	asksToSignIn(t, stolen, "You are signed out. Sign in to return to Audit log.")
}

func TestAResetEndsEverySession(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	if _, err := h.authority.ResetKeys(t.Context(), operator(), "leak"); err != nil {
		t.Fatal(err)
	}
	asksToSignIn(t, v, "The signing secret was reset, so all sign-ins ended. That was on 23 Nov 2026 at 14:08 UTC.")
}

func TestReauthenticationGivesTheSessionAnotherID(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	base, err := url.Parse(v.base)
	if err != nil {
		t.Fatal(err)
	}
	before := v.client.Jar.Cookies(base)
	v.post("/reauth", url.Values{"password": {adminPassword}, "next": {"/secret?reset"}})
	after := v.client.Jar.Cookies(base)
	if len(before) != 1 || len(after) != 1 || before[0].Value == after[0].Value {
		t.Fatal("the session kept its id")
	}
	v.client.Jar.SetCookies(base, before)
	asksToSignIn(t, v, "You are signed out.")
}

func TestCookieOverTLSIsBoundToItsHost(t *testing.T) {
	h := newHouse(t, map[string]string{"MINTMARK_SERVER_TLS_CERTIFICATE": "/etc/mintmark/tls.crt", "MINTMARK_SERVER_TLS_KEY": "/etc/mintmark/tls.key"})
	h.signedIn(t)
	v := h.secureVisitor(t)
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, _ := v.send("/sign-in", url.Values{"username": {"admin"}, "password": {adminPassword}})
	cookie := answer.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-mintmark_session=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie lacks %s", want)
		}
	}
	if strings.Contains(cookie, "Domain") {
		t.Error("the cookie names a domain")
	}
	if got := answer.Header.Get("Strict-Transport-Security"); got == "" {
		t.Error("HSTS is missing")
	}
	if answer, _ = v.send("/preferences", url.Values{"theme": {"dark"}}); !strings.Contains(answer.Header.Get("Set-Cookie"), "Secure") {
		t.Error("the preference is sent in the clear")
	}
}

func TestPlainHTTPFromElsewhereWarns(t *testing.T) {
	h := newHouse(t, nil)
	h.from = "192.0.2.7:1234"
	v := h.visitor(t)
	_, body := v.get("/setup")
	shows(t, body, "This connection is not encrypted. Your password can be read on the network.", "How to turn on TLS", "manager config properties set server.tls.certificate")
	h.from = ""
	_, body = h.visitor(t).get("/setup")
	lacks(t, body, "not encrypted")
}

func TestSignInTexts(t *testing.T) {
	h := newHouse(t, nil)
	h.signedIn(t)
	v := h.visitor(t)
	_, body := v.get("/sign-in")
	shows(t, body, `autocomplete="username"`, `autocomplete="current-password"`, `data-show="f-password" aria-pressed="false"`, "manager admin reset-password", "manager admin unlock")
	lacks(t, body, `id="manage"`, `role="alert"`)
	wrong := url.Values{"username": {`"><b>x`}, "password": {"not the password at all"}, "next": {"/audit"}}
	_, body = v.post("/sign-in", wrong)
	shows(t, body, "That user name and password do not match. 4 attempts left before a 5-minute pause.", `role="alert" tabindex="-1" autofocus`, `value="&#34;&gt;&lt;b&gt;x"`, `name="next" value="/audit"`)
	lacks(t, body, "not the password at all", "<b>x")
	for range 4 {
		v.post("/sign-in", wrong)
	}
	h.clock.Add(int64(time.Minute))
	answer, body := v.send("/sign-in", wrong)
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a paused name answered %d", answer.StatusCode)
	}
	shows(t, body, "Too many attempts. Try again at 14:13 UTC (in 4 minutes).")
	for code, text := range map[string]string{"idle": "without activity", "expired": "reached its end", "out": "Sign in to go on.", "other": "You are signed out.", "bye": "You are signed out.", "<b>": ""} {
		_, body = v.get("/sign-in?next=/menu&ended=" + url.QueryEscape(code))
		if shows(t, body, text); text == "" {
			lacks(t, body, `class="notice"`, "<b>")
		}
	}
}

func TestSetupIsThereOnceAndOnlyWithTheCode(t *testing.T) {
	h := newHouse(t, nil)
	v := h.visitor(t)
	code, err := h.authority.OpenSetup(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"code": {"wrong-wrong-wrong-wrong"}, "username": {"admin"}, "password": {adminPassword}}
	status, body := v.post("/setup", form)
	if status != http.StatusUnauthorized {
		t.Errorf("a wrong code answered %d", status)
	}
	shows(t, body, "That code is not valid.", `value="admin"`, "manager admin create")
	lacks(t, body, adminPassword)
	form.Set("code", " "+code.Unsafe()+" ")
	form.Set("username", "no body")
	status, body = v.post("/setup", form)
	if status != http.StatusUnprocessableEntity {
		t.Errorf("a name that can be none answered %d", status)
	}
	shows(t, body, `href="#f-username"`, `id="e-username"`)
	form.Set("username", "admin")
	if _, body = v.post("/setup", form); !strings.Contains(body, "<h1>API Tokens</h1>") {
		t.Fatal("the code does not work")
	}
	other := h.visitor(t)
	if answer, _ := other.do(other.request(http.MethodGet, "/setup", "")); answer.Request.URL.Path != "/sign-in" {
		t.Error("the set-up is still there")
	}
	if status, _ = other.post("/setup", form); status != http.StatusConflict {
		t.Errorf("the code used again answered %d", status)
	}
}

func TestPreferencesLastAndTakeNothingElse(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"})
	_, body := v.get("/tokens")
	shows(t, body, `data-theme="system" data-times="relative" data-keys>`)
	for _, form := range []url.Values{{"theme": {"dark"}}, {"times": {"utc"}}, {"keys": {"off"}}, {"theme": {`"><script>`}}} {
		form.Set("next", "/tokens")
		_, body = v.post("/preferences", form)
	}
	shows(t, body, `data-theme="dark" data-times="utc">`, "21 Feb 2027, 14:08 UTC</time>")
	answer, _ := v.send("/preferences", url.Values{"theme": {"light"}, "next": {"//evil.example"}})
	if answer.Request.URL.Path != "/tokens" {
		t.Errorf("preferences lead to %s", answer.Request.URL)
	}
	base, err := url.Parse(v.base)
	if err != nil {
		t.Fatal(err)
	}
	v.client.Jar.SetCookies(base, []*http.Cookie{{Name: "mintmark_theme", Value: "evil", Path: "/"}})
	_, body = v.get("/tokens")
	shows(t, body, `data-theme="system"`)
}

func TestStaticFilesAreKeptAndNothingElseIs(t *testing.T) {
	v := newHouse(t, nil).visitor(t)
	_, body := v.get("/sign-in")
	for _, path := range regexp.MustCompile(`(?:src|href)="(/static/[^"#]+)`).FindAllStringSubmatch(body, -1) {
		answer, text := v.do(v.request(http.MethodGet, path[1], ""))
		if answer.StatusCode != http.StatusOK || text == "" || !strings.Contains(answer.Header.Get("Cache-Control"), "immutable") || answer.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s answered %d, %q", path[1], answer.StatusCode, answer.Header.Get("Cache-Control"))
		}
	}
	for _, path := range []string{"/static/x/", "/static/x/nothing.js", "/static/x/..%2fwebui.go"} {
		if answer, _ := v.do(v.request(http.MethodGet, path, "")); answer.StatusCode == http.StatusOK && strings.HasPrefix(answer.Request.URL.Path, "/static/") {
			t.Errorf("%s answered %d", path, answer.StatusCode)
		}
	}
}

func TestUnsafeMethodsAndForeignSitesChangeNothing(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	id := string(h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"}).ID)
	changes := []string{"/tokens", "/tokens/new", "/tokens/" + id + "/reveal", "/tokens/" + id + "/delete", "/tokens/" + id + "/restore", "/secret/reset", "/secret/rotate", "/secret/extend", "/secret/trial", "/secret/trial/end", "/secret/stop", "/secret/contact/" + id, "/secret/copy/" + id, "/settings/stage", "/settings/apply", "/settings/discard", "/sign-out", "/reauth", "/preferences", "/sign-in", "/setup"}
	for _, path := range changes {
		r := v.request(http.MethodPost, path, "confirm=tokens-01&client_id=b&role=user&expires=7")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if answer, _ := v.do(r); answer.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s from another site answered %d", path, answer.StatusCode)
		}
	}
	for _, path := range []string{"/tokens/" + id + "/reveal", "/tokens/" + id + "/restore", "/secret/copy/" + id, "/secret/trial/end", "/settings/apply", "/settings/discard", "/settings/stage"} {
		answer, body := v.do(v.request(http.MethodGet, path, ""))
		if answer.StatusCode == http.StatusOK || textIn(body) != "" {
			t.Errorf("GET %s answered %d", path, answer.StatusCode)
		}
	}
	page, err := h.authority.Audit(t.Context(), operator(), authority.AuditQuery{Action: "token."})
	if err != nil || page.Total == 0 || len(page.Events) != 1 {
		t.Errorf("%d events of tokens, %v", len(page.Events), err)
	}
}

// What a browser is told outlasts the certificate: of one on trial nothing is said,
// nor at an entrance that is left open for a moment when that has gone.
func TestTLSThatMayGoIsNotAskedForInTheFuture(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v, by := h.secureVisitor(t), h.signedIn(t)
	told := func(when string, want bool) {
		t.Helper()
		answer, _ := v.send("/sign-in", nil)
		if got := answer.Header.Get("Strict-Transport-Security"); (got != "") != want {
			t.Errorf("%s browsers are told %q", when, got)
		}
	}
	apply := func(then string, values map[string]string) {
		t.Helper()
		for property, value := range values {
			by.post("/settings/stage", url.Values{"property": {property}, "value": {value}})
		}
		by.post("/settings/apply", url.Values{"revision": {"0"}})
		if _, runs := h.book.Trial(); !runs {
			t.Fatal("nothing is on trial")
		}
		if then != "" {
			by.post("/settings/trial", url.Values{"revision": {"0"}, "answer": {then}})
		}
	}
	tls := map[string]string{config.Certificate: "/etc/mintmark/tls.crt", config.Key: "/etc/mintmark/tls.key"}
	apply("", tls)
	told("while the certificate is on trial", false)
	by.post("/settings/trial", url.Values{"revision": {"0"}, "answer": {"revert"}})
	told("when it has gone back", false)
	apply("keep", tls)
	told("when it was kept", true)
	apply("", map[string]string{config.LoginPause: "6m"})
	told("while something else is on trial", true)
}
