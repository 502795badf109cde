package webui_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

func copyAll(w io.Writer, r io.Reader) (int64, error) { return io.Copy(w, io.LimitReader(r, 4<<20)) }

func (h *house) issue(t testing.TB, r authority.TokenRequest) authority.Issued {
	t.Helper()
	issued, err := h.authority.IssueToken(context.Background(), operator(), r, "")
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func pagePaths() []string {
	return []string{"/tokens", "/tokens/new", "/tokens?state=all&sort=expires_at&dir=desc", "/secret", "/audit", "/explain", "/settings", "/settings/storage", "/status", "/menu", "/reauth", "/nowhere"}
}

func TestEveryPageRendersWithoutInlineCode(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user", Tags: []string{"team:data"}, Description: "<script>alert(1)</script>"}).ID
	inline := regexp.MustCompile(`(?i)<script(?:>|\s[^>]*>)[^<]+</script>|<style|\sstyle=|\son[a-z]+=|javascript:`)
	for _, path := range append(pagePaths(), "/tokens/"+string(id), "/tokens/"+string(id)+"/delete") {
		answer, body := v.do(v.request(http.MethodGet, path, ""))
		want := http.StatusOK
		if path == "/nowhere" {
			want = http.StatusNotFound
		}
		if answer.StatusCode != want || !strings.Contains(body, "</html>") {
			t.Errorf("%s answered %d", path, answer.StatusCode)
		}
		if found := inline.FindString(body); found != "" {
			t.Errorf("%s has inline code: %s", path, found)
		}
		csp := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "require-trusted-types-for 'script'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s has the policy %q", path, csp)
		}
		for name, value := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin"} {
			if answer.Header.Get(name) != value {
				t.Errorf("%s has %s %q", path, name, answer.Header.Get(name))
			}
		}
		if strings.Contains(body, "<script>alert") {
			t.Errorf("%s does not escape a description", path)
		}
	}
}

func TestManageMenuBeginsWithAPITokens(t *testing.T) {
	v := newHouse(t, nil).signedIn(t)
	_, body := v.get("/tokens")
	_, menu, ok := strings.Cut(body, `id="manage-menu"`)
	if !ok {
		t.Fatal("there is no menu")
	}
	first := regexp.MustCompile(`class="item"[^>]*>([^<]+)<`).FindStringSubmatch(menu)
	if first == nil || first[1] != "API Tokens" {
		t.Errorf("the first entry is %q", first)
	}
}

func TestTokenIsMadeListedCopiedDeletedAndRestoredWithoutScript(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	status, body := v.post("/tokens", url.Values{"client_id": {"etl-nightly"}, "role": {"user"}, "tags": {"team:data, env:prod"}, "expires": {"90"}, "key": {"k1"}})
	text := textIn(body)
	if status != http.StatusCreated || text == "" {
		t.Fatalf("create answered %d", status)
	}
	if v := h.live.Decide(text, liveset.Demand{}); !v.Allow() {
		t.Fatalf("the token is %s", v.Reason)
	}
	_, again := v.post("/tokens", url.Values{"client_id": {"etl-nightly"}, "role": {"user"}, "tags": {"team:data, env:prod"}, "expires": {"90"}, "key": {"k1"}})
	if textIn(again) != text {
		t.Error("sending the form twice made two tokens")
	}
	_, body = v.get("/tokens")
	id := regexp.MustCompile(`<tr id="(tok_[0-9a-z]{26})"`).FindStringSubmatch(body)
	if id == nil || strings.Contains(body, text) {
		t.Fatal("the list lacks the row or holds the token")
	}
	for _, want := range []string{"etl-nightly", "team:data", "env:prod", ">User", "in 90 days", "Copy token of etl-nightly", "Delete token of etl-nightly"} {
		if !strings.Contains(body, want) {
			t.Errorf("the list does not show %q", want)
		}
	}
	if _, body = v.post("/tokens/"+id[1]+"/reveal", nil); textIn(body) != text {
		t.Error("copy gave another text")
	}
	// It has just been used, so its client ID must be typed.
	if status, body = v.post("/tokens/"+id[1]+"/delete", nil); status != http.StatusUnprocessableEntity || !strings.Contains(body, "That is not the client ID.") {
		t.Errorf("delete of a token in use answered %d", status)
	}
	_, body = v.post("/tokens/"+id[1]+"/delete", url.Values{"confirm": {"etl-nightly"}})
	if !strings.Contains(body, "The token of etl-nightly was deleted.") || !strings.Contains(body, "/tokens/"+id[1]+"/restore") {
		t.Error("the notice or its Restore is missing")
	}
	if v := h.live.Decide(text, liveset.Demand{}); v.Reason != liveset.Deleted {
		t.Errorf("after the delete the token is %s", v.Reason)
	}
	if _, body = v.post("/tokens/"+id[1]+"/restore", nil); !strings.Contains(body, "works again") || !h.live.Decide(text, liveset.Demand{}).Allow() {
		t.Error("restore did not bring it back")
	}
}

func textIn(body string) string {
	found := regexp.MustCompile(`(?s)<textarea class="token"[^>]*>(eyJ[^<]+)</textarea>`).FindStringSubmatch(body)
	if found == nil {
		return ""
	}
	return found[1]
}

func TestFaultsKeepTheInputAndNameTheFields(t *testing.T) {
	v := newHouse(t, nil).signedIn(t)
	status, body := v.post("/tokens", url.Values{"client_id": {"data team"}, "role": {"user"}, "tags": {"team"}, "expires": {"90"}, "contact": {"data@corp.example"}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("answered %d", status)
	}
	for _, want := range []string{"2 fields need attention", `value="data team"`, `value="data@corp.example"`, "contains a space", `id="new-dialog" aria-labelledby="new-title" open`, `href="#f-client_id"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestMemoryIsSaidOnEveryPage(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"})
	h.issue(t, authority.TokenRequest{ClientID: "b", Role: "user"})
	for _, path := range pagePaths() {
		if _, body := v.get(path); !strings.Contains(body, "Tokens are kept in memory only. Restarting the server deletes all 2.") {
			t.Errorf("%s does not warn", path)
		}
	}
	if _, body := v.get("/settings/storage"); !strings.Contains(body, "manager config properties set api.access.tokens.store ") {
		t.Error("the storage page lacks the command")
	}
}

func TestWithoutALoginThereIsOnlySignIn(t *testing.T) {
	h := newHouse(t, nil)
	h.signedIn(t)
	v := h.visitor(t)
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range pagePaths() {
		answer, body := v.do(v.request(http.MethodGet, path, ""))
		if answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(answer.Header.Get("Location"), "/sign-in") || strings.Contains(body, "API Tokens") {
			t.Errorf("%s answered %d to %s", path, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/tokens", "/secret/reset", "/settings/apply", "/settings/stage"} {
		if status, _ := v.post(path, nil); status != http.StatusSeeOther {
			t.Errorf("POST %s answered %d", path, status)
		}
	}
}

// Whoever asks for no page gets none, and is sent nowhere.
func TestAProgramIsNotShownThePages(t *testing.T) {
	h := newHouse(t, nil)
	v := h.visitor(t)
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, c := range []struct{ method, path, accept string }{
		{"GET", "/metrics", ""},
		{"GET", "/nowhere", "*/*"},
		{"HEAD", "/nowhere", "application/json"},
		{"POST", "/nowhere", "text/html"},
		{"DELETE", "/tokens", "text/html"},
		{"PUT", "/", ""},
		{"OPTIONS", "/sign-in", ""},
	} {
		r := v.request(c.method, c.path, "")
		r.Header.Set("Accept", c.accept)
		if answer, body := v.do(r); answer.StatusCode != http.StatusNotFound || strings.Contains(body, "<") {
			t.Errorf("%s %s as %q: %d %s", c.method, c.path, c.accept, answer.StatusCode, body)
		}
	}
}

func TestSignInSaysHowManyAttemptsAreLeft(t *testing.T) {
	h := newHouse(t, nil)
	h.signedIn(t)
	v := h.visitor(t)
	wrong := url.Values{"username": {"admin"}, "password": {"not the password at all"}}
	status, body := v.post("/sign-in", wrong)
	if status != http.StatusUnauthorized || !strings.Contains(body, "do not match. 4 attempts left before a 5-minute pause.") || !strings.Contains(body, `value="admin"`) {
		t.Errorf("answered %d", status)
	}
	for range 4 {
		v.post("/sign-in", wrong)
	}
	if status, body = v.post("/sign-in", wrong); status != http.StatusTooManyRequests || !strings.Contains(body, "Try again at 14:13 UTC") {
		t.Errorf("answered %d", status)
	}
}

func TestRedirectsStayHere(t *testing.T) {
	h := newHouse(t, nil)
	h.signedIn(t)
	for _, next := range []string{"https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", ""} {
		v := h.visitor(t)
		v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		r := v.request(http.MethodPost, "/sign-in", url.Values{"username": {"admin"}, "password": {adminPassword}, "next": {next}}.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, _ := v.do(r)
		if got := answer.Header.Get("Location"); got != "/tokens" {
			t.Errorf("next %q leads to %q", next, got)
		}
		cookie := answer.Header.Get("Set-Cookie")
		if !strings.HasPrefix(cookie, "mintmark_session=") || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") || strings.Contains(cookie, "Secure") {
			t.Errorf("the cookie is %s", regexp.MustCompile(`=ey[^;]*`).ReplaceAllString(cookie, "=…"))
		}
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"}).ID
	for name, header := range map[string][2]string{"origin": {"Origin", "https://evil.example"}, "fetch metadata": {"Sec-Fetch-Site", "cross-site"}} {
		r := v.request(http.MethodPost, "/tokens/"+string(id)+"/delete", "")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(header[0], header[1])
		if answer, _ := v.do(r); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: answered %d", name, answer.StatusCode)
		}
	}
	if view, err := h.authority.Token(context.Background(), operator(), id); err != nil || view.State != authority.StateActive {
		t.Errorf("the token is %s, %v", view.State, err)
	}
}

func TestResetAsksForTheHostAndARecentPassword(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	if status, body := v.post("/secret/reset", url.Values{"confirm": {"other"}}); status != http.StatusUnprocessableEntity || !strings.Contains(body, "That is not the host name.") {
		t.Errorf("a wrong name answered %d", status)
	}
	h.clock.Add(int64(16 * time.Minute))
	if _, body := v.post("/secret/reset", url.Values{"confirm": {"tokens-01"}}); !strings.Contains(body, "Enter your password again") {
		t.Error("no password was asked for")
	}
	v.post("/reauth", url.Values{"password": {adminPassword}})
	if _, body := v.post("/secret/reset", url.Values{"confirm": {"tokens-01"}}); !strings.Contains(body, "The signing secret was reset, so all sign-ins ended.") {
		t.Error("the reset did not end the sign-in")
	}
}

func TestFirstSignInSetsThePassword(t *testing.T) {
	h := newHouse(t, nil)
	v := h.visitor(t)
	if _, body := v.get("/tokens"); !strings.Contains(body, "<h1>First sign-in</h1>") {
		t.Fatal("a server without an administrator does not lead to its set-up")
	}
	code, err := h.authority.OpenSetup(context.Background(), operator())
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"code": {code.Unsafe()}, "username": {"admin"}, "password": {"short"}}
	if status, body := v.post("/setup", form); status != http.StatusUnprocessableEntity || !strings.Contains(body, "at least 15 characters") {
		t.Errorf("a short password answered %d", status)
	}
	form.Set("password", adminPassword)
	if _, body := v.post("/setup", form); !strings.Contains(body, "<h1>API Tokens</h1>") {
		t.Error("the set-up did not sign in")
	}
}

// A token that was pasted into the search field stands in the address, whole or its
// beginning; the page leads back to somewhere else.
func TestThePartOfATokenInTheAddressIsInNoForm(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	const back = `name="next" value="`
	for path, want := range map[string]string{
		"/tokens?q=dfs": "/tokens?q=dfs", "/tokens?q=eyJhbGciOiJFUzI1NiIs": "/tokens", "/tokens?tag=eyJ": "/tokens", "/audit?q=x.eyJpc3MiOiJ4": "/tokens",
	} {
		_, body := v.get(path)
		if n := strings.Count(body, back); n < 3 || n != strings.Count(body, back+want+`"`) {
			t.Errorf("%s: not all of %d forms lead to %s", path, n, want)
		}
		stranger := h.visitor(t)
		stranger.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		answer, _ := stranger.do(stranger.request(http.MethodGet, path, ""))
		if got := answer.Header.Get("Location"); got != "/sign-in?next="+url.QueryEscape(want) {
			t.Errorf("%s leads a stranger to %s", path, got)
		}
	}
}
