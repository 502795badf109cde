package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// A scene is one page or dialog to look at.
type scene struct {
	name  string
	path  string
	steps func(testing.TB, *browser)
	sizes []int64 // widths in CSS pixels; nil: all of them

	pictureOnly bool // adds nothing for a check that has seen the others
}

// TestShots takes pictures of every page and dialog, for people to judge. It runs
// only when SHOTS names the folder that gets them.
func TestShots(t *testing.T) {
	if os.Getenv("SHOTS") == "" {
		t.Skip("SHOTS is not set: nobody asked for pictures")
	}
	t.Run("empty", func(t *testing.T) {
		home := startHome(t, "--store", "memory")
		album := newAlbum(t, home)
		album.take(t, scene{name: "empty-memory", path: "/tokens"}, scene{name: "storage", path: "/settings/storage"})
	})
	t.Run("one", func(t *testing.T) {
		home := startHome(t)
		seedTokens(t, home, []map[string]any{{"client_id": "reports", "role": "user", "tags": []string{"team:data"}}})
		newAlbum(t, home).take(t, scene{name: "one", path: "/tokens", sizes: []int64{1440, 390}})
	})
	t.Run("full", func(t *testing.T) {
		t.Setenv("MINTMARK_SERVER_TRUSTED_PROXIES", "127.0.0.1/32")
		home := startHome(t, "--store", "memory")
		tokens := seedTokens(t, home, variousTokens())
		seedTokens(t, home, manyTokens(50-len(variousTokens())))
		useToken(t, home, tokens["dfsadmin"], "10.2.0.14")
		useToken(t, home, tokens["etl-nightly"], "10.2.7.3")
		useToken(t, home, tokens[longest], "2001:db8:85a3::8a2e:370:7334")
		album := newAlbum(t, home)
		album.signIns(t)
		album.take(t, album.tokenScenes(t)...)
		album.take(t, album.serverScenes()...)
		album.oddities(t)
	})
}

const longest = "warehouse-reconciliation-service.production.eu-central-1@corp-01"

// variousTokens is fixed data in which every column has its extremes.
func variousTokens() []map[string]any {
	return []map[string]any{
		{"client_id": "dfsadmin", "role": "admin", "description": "Administration of the data platform", "contact": "ops@corp.example"},
		{"client_id": "etl-nightly", "role": "user", "tags": []string{"team:data", "env:production"}, "lifetime": "9d"},
		{"client_id": "old-probe", "role": "user", "lifetime": "never"},
		{"client_id": longest, "role": "user", "tags": []string{"team:data", "env:production", "region:eu-central-1", "cost-centre:4711", "tier:gold"}, "description": "Reconciles the warehouse against the ledger every night and mails what differs to the owners of both", "allowed_addresses": []string{"10.2.0.0/16", "2001:db8::/32"}},
		{"client_id": "gateway", "role": "verifier", "lifetime": "365d"},
		{"client_id": "ends-at-once", "role": "user", "tags": []string{"team:web"}, "lifetime": "1s"},
		{"client_id": "<b>markup</b>", "role": "user"}, // refused: the name never gets this far
	}
}

func manyTokens(n int) []map[string]any {
	var list []map[string]any
	for i := range n {
		list = append(list, map[string]any{"client_id": fmt.Sprintf("service-%02d", i+1), "role": "user", "tags": []string{"team:web"}, "lifetime": fmt.Sprintf("%dd", 30+7*i)})
	}
	return list
}

// seedTokens makes tokens through the API and answers their texts by client ID.
func seedTokens(t *testing.T, h home, requests []map[string]any) map[string]string {
	t.Helper()
	var in struct{ Token string }
	postJSON(t, h, "/api/v1/signIn", "", map[string]any{"username": "admin", "password": adminPassword}, &in)
	texts := make(map[string]string)
	for _, r := range requests {
		var made struct{ Token string }
		postJSON(t, h, "/api/v1/tokens", in.Token, r, &made)
		texts[r["client_id"].(string)] = made.Token
	}
	return texts
}

func postJSON(t *testing.T, h home, path, token string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, h.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
}

// useToken calls the API with a token as a client behind a proxy would.
func useToken(t *testing.T, h home, token, from string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, h.url+"/api/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if from != "" {
		r.Header.Set("X-Forwarded-For", from)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("whoami answered %s", answer.Status)
	}
}

// An album is a signed-in browser that takes pictures.
type album struct {
	*browser
	home home
}

func newAlbum(t *testing.T, h home) *album {
	t.Helper()
	a := &album{newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP tokens.example 127.0.0.1"), chromedp.Flag("hide-scrollbars", true)), h}
	a.signIn(t, h.url)
	return a
}

func (a *album) signIn(t testing.TB, url string) {
	t.Helper()
	a.do(t, chromedp.Navigate(url+"/sign-in"), chromedp.WaitVisible("#f-password"),
		chromedp.SendKeys("#f-username", "admin"), chromedp.SendKeys("#f-password", adminPassword+"\r"), chromedp.WaitVisible("#main h1"), chromedp.WaitReady("#manage"))
	a.loaded(t)
}

// look sets how the browser sees pages.
func (a *album) look(t testing.TB, width int64, features ...string) {
	t.Helper()
	height := int64(900)
	if width < 500 {
		height = 780
	}
	a.do(t, chromedp.EmulateViewport(width, height))
	var media []*emulation.MediaFeature
	for i := 0; i+1 < len(features); i += 2 {
		media = append(media, &emulation.MediaFeature{Name: features[i], Value: features[i+1]})
	}
	ctx, cancel := context.WithTimeout(a.ctx, stepTimeout)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: media}); err != nil {
		t.Fatal(err)
	}
}

// take shows each scene in light and dark at each width; a page that scrolls
// sideways fails.
func (a *album) take(t *testing.T, scenes ...scene) {
	t.Helper()
	for _, s := range scenes {
		sizes := s.sizes
		if sizes == nil {
			sizes = []int64{1440, 768, 390, 320}
		}
		for _, width := range sizes {
			for _, theme := range []string{"light", "dark"} {
				if theme == "dark" && width != 1440 && width != 390 {
					continue
				}
				a.look(t, width, "prefers-color-scheme", theme, "prefers-reduced-motion", "reduce")
				a.show(t, s)
				a.picture(t, fmt.Sprintf("%s-%d-%s", s.name, width, theme))
				if over := ask(t, a.browser, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); over > 0 {
					t.Errorf("%s at %d pixels is %d pixels too wide", s.name, width, over)
				}
			}
		}
	}
}

func (a *album) show(t testing.TB, s scene) {
	t.Helper()
	path := s.path
	if strings.HasPrefix(path, "/") {
		path = a.home.url + path
	}
	a.do(t, chromedp.Navigate("about:blank"), chromedp.Navigate(path), chromedp.WaitReady("#main"))
	if s.steps != nil {
		s.steps(t, a.browser)
		a.loaded(t)
	}
}

func (a *album) picture(t *testing.T, name string) {
	t.Helper()
	png := ask(t, a.browser, chromedp.CaptureScreenshot())
	dir := os.Getenv("SHOTS")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+name+".png", png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func pressing(keys ...string) func(testing.TB, *browser) {
	return func(t testing.TB, b *browser) {
		t.Helper()
		for _, k := range keys {
			b.do(t, chromedp.KeyEvent(k))
		}
	}
}

// playing runs lines in the page; "wait" and a selector waits for what it finds, and
// for the page that it is on.
func playing(lines ...string) func(testing.TB, *browser) {
	return func(t testing.TB, b *browser) {
		t.Helper()
		for _, line := range lines {
			if wait, found := strings.CutPrefix(line, "wait "); found {
				b.do(t, chromedp.WaitVisible(wait))
				b.loaded(t)
				continue
			}
			ask(t, b, chromedp.Evaluate[bool](line+";true"))
		}
	}
}

func (a *album) signIns(t *testing.T) {
	t.Helper()
	wrong := playing(`document.querySelector("#f-username").value="somebody"`, `document.querySelector("#f-password").value="not it"`, `document.querySelector("form .primary").click()`, "wait .errors")
	a.take(t,
		scene{name: "sign-in", path: "/sign-in"},
		scene{name: "sign-in-ended", path: "/sign-in?ended=idle&next=/tokens", sizes: []int64{1440}},
		scene{name: "sign-in-wrong", path: "/sign-in", steps: wrong, sizes: []int64{390}})
}

// tokenScenes are the list and its dialogs.
func (a *album) tokenScenes(t *testing.T) []scene {
	t.Helper()
	id := func(client string) string {
		return ask(t, a.browser, chromedp.Evaluate[string](fmt.Sprintf(`fetch("/tokens?state=all&q=%s").then(r=>r.text()).then(s=>/<tr id="([^"]+)"/.exec(s)[1])`, client), chromedp.EvalAwaitPromise))
	}
	used, unused, replaced := id("dfsadmin"), id("old-probe"), id("gateway")
	a.home.manager(t, "token", "replace", replaced)
	wide := []int64{1440, 390}
	create := playing(`document.querySelector("#f-client_id").value="nightly-report"`, `document.querySelector("#new-form .primary").click()`, "wait #result-dialog")
	deleted := playing(`document.querySelector("#delete-dialog .danger").click()`, "wait .notice form")
	return []scene{
		{name: "tokens", path: "/tokens"},
		{name: "tokens-end", pictureOnly: true, path: "/tokens", steps: playing(`scrollTo(0, 99999)`), sizes: wide},
		{name: "tokens-all", pictureOnly: true, path: "/tokens?state=all&q=e", sizes: wide},
		{name: "none", path: "/tokens?q=ends", sizes: wide},
		{name: "menu", path: "/tokens", steps: playing(`document.querySelector("#manage").click()`)},
		{name: "new", path: "/tokens/new"},
		{name: "new-filled", pictureOnly: true, path: "/tokens/new", steps: playing(`document.querySelector("#f-client_id").value="dfsadmin"`, `document.querySelector("[value=admin][name=role]").click()`, `document.querySelector("#f-lifetime").value="date"`, `document.querySelector("#f-expires_at").value="2027-02-21"`, `document.querySelector("#new-form").dispatchEvent(new Event("change", {bubbles: true}))`, `document.querySelector("#f-client_id").dispatchEvent(new Event("change", {bubbles: true}))`), sizes: wide},
		{name: "new-errors", path: "/tokens/new", steps: playing(`document.querySelector("#f-client_id").value="data team"`, `document.querySelector("#f-tags").value="team"`, `document.querySelector("#new-form .primary").click()`, "wait #new-dialog .errors"), sizes: wide},
		{name: "result", pictureOnly: true, path: "http://tokens.example" + a.home.url[strings.LastIndex(a.home.url, ":"):] + "/tokens/new", steps: func(t testing.TB, b *browser) {
			t.Helper()
			if ask(t, b, chromedp.Evaluate[bool](`!!document.querySelector("#f-password")`)) {
				b.do(t, chromedp.SendKeys("#f-username", "admin"), chromedp.SendKeys("#f-password", adminPassword+"\r"), chromedp.WaitVisible("#f-client_id"))
			}
			create(t, b)
		}, sizes: wide},
		{name: "delete-used", path: "/tokens/" + used + "/delete"},
		{name: "delete-used-mistyped", pictureOnly: true, path: "/tokens/" + used + "/delete", steps: playing(`document.querySelector("#delete-dialog .danger").click()`, "wait #delete-dialog .fault"), sizes: []int64{390}},
		{name: "delete-unused", path: "/tokens/" + unused + "/delete", sizes: wide},
		{name: "deleted", pictureOnly: true, path: "/tokens/" + unused + "/delete", steps: deleted, sizes: wide},
		{name: "token", path: "/tokens/" + used},
		{name: "token-requests", path: "/tokens/" + used + "?requests=24h#requests", steps: playing(`document.querySelector(".chart details").open = true`), sizes: wide},
		{name: "replace", path: "/tokens/" + used + "/replace"},
		{name: "replaced", path: "/tokens/" + replaced, sizes: wide},
		{name: "token-deleted", path: "/tokens/" + unused, sizes: wide},
	}
}

func (a *album) serverScenes() []scene {
	wide := []int64{1440, 390}
	return []scene{
		{name: "secret", path: "/secret"},
		{name: "secret-reset", pictureOnly: true, path: "/secret/reset", sizes: wide},
		{name: "explain", path: "/explain"},
		{name: "audit", path: "/audit"},
		{name: "settings", path: "/settings"},
		{name: "settings-staged", path: "/settings", sizes: wide, steps: staging(a.home.url, "/settings", "tokens.lifetime.default", "30d", "server.drain_timeout", "20s")},
		{name: "review", path: "/settings/review"},
		{name: "status", path: "/status"},
		{name: "reauth", path: "/reauth", sizes: wide},
		{name: "missing", pictureOnly: true, path: "/nowhere", sizes: wide},
	}
}

// oddities are what few people see and nobody may be shut out by.
func (a *album) oddities(t *testing.T) {
	t.Helper()
	a.look(t, 1440, "prefers-color-scheme", "light", "prefers-reduced-motion", "reduce")
	a.show(t, scene{path: "/tokens"})
	a.do(t, chromedp.Focus("#manage"))
	pressing("\r", "\ue015")(t, a.browser) // Enter, ArrowDown
	a.picture(t, "menu-keyboard")
	a.look(t, 1440, "forced-colors", "active", "prefers-color-scheme", "dark")
	for _, s := range []scene{{name: "tokens", path: "/tokens"}, {name: "new", path: "/tokens/new"}, {name: "secret", path: "/secret"}} {
		a.show(t, s)
		a.picture(t, s.name+"-forced")
	}
	a.look(t, 1440, "prefers-color-scheme", "light")
	a.withoutScript(t)
	a.printed(t)
	a.look(t, 640) // 320 CSS pixels at 200 %
	a.show(t, scene{path: "/tokens"})
	ask(t, a.browser, chromedp.Evaluate[bool](`document.documentElement.style.setProperty("font-size", "200%");true`))
	a.findings(t) // a frame later
	a.picture(t, "tokens-640-zoom")
}

// withoutScript shows the dialogs as they are where no script runs.
func (a *album) withoutScript(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(a.ctx, stepTimeout)
	defer cancel()
	for _, off := range []bool{true, false} {
		if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off}); err != nil {
			t.Fatal(err)
		}
		if off {
			a.do(t, chromedp.Navigate(a.home.url+"/tokens/new"))
			a.picture(t, "new-noscript")
		}
	}
}

// printed shows the sheet of a token as paper would.
func (a *album) printed(t *testing.T) {
	t.Helper()
	a.show(t, scene{path: "/tokens/new", steps: playing(`document.querySelector("#f-client_id").value="nightly-report"`, `document.querySelector("#new-form .primary").click()`, "wait #result-dialog")})
	ctx, cancel := context.WithTimeout(a.ctx, stepTimeout)
	defer cancel()
	for _, media := range []string{"print", ""} {
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media}); err != nil {
			t.Fatal(err)
		}
		if media == "print" {
			a.picture(t, "result-print")
		}
	}
}
