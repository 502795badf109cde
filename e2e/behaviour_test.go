package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// becomes waits until an expression of the page is true.
func (a *album) becomes(t *testing.T, expression string) {
	t.Helper()
	for end := time.Now().Add(stepTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a.holds(expression) {
			return
		}
	}
	t.Errorf("never true: %s\nthe focus is on %s", expression, ask(t, a.browser, chromedp.Evaluate[string](`document.activeElement.outerHTML.slice(0, 200)`)))
}

func (a *album) paste(t *testing.T, text string) {
	t.Helper()
	ask(t, a.browser, chromedp.Evaluate[bool](fmt.Sprintf(`{const f = document.querySelector("#search"); f.value = %q; f.dispatchEvent(new Event("input", {bubbles: true}))}; true`, text)))
}

func TestPastedTokenIsFoundAndNeverSent(t *testing.T) {
	home := startHome(t)
	tokens := seedTokens(t, home, []map[string]any{{"client_id": "etl", "role": "user"}, {"client_id": "other", "role": "user"}})
	a := newAlbum(t, home)
	a.show(t, scene{path: "/tokens"})
	a.paste(t, tokens["etl"])
	a.becomes(t, `location.search.includes("found=1") && document.readyState === "complete"`)
	a.becomes(t, `document.querySelector("#found").innerText.startsWith("Found by token: tok_") && document.querySelector("#search").value === "" && document.querySelectorAll("tr[data-client]").length === 1`)
	// One of another server: the same form, an id that nobody has here.
	parts := strings.Split(tokens["etl"], ".")
	foreign := parts[0] + "." + ask(t, a.browser, chromedp.Evaluate[string](fmt.Sprintf(
		`(() => { const c = JSON.parse(atob(%q.replaceAll("-", "+").replaceAll("_", "/"))); c.jti = "tok_" + "0".repeat(26); c.iss = "https://tokens-02.example"; return btoa(JSON.stringify(c)).replaceAll("=", "") })()`, parts[1]))) + "." + parts[2]
	a.paste(t, foreign)
	a.becomes(t, `document.querySelector("#found").innerText === "No token here has that id. It may come from another server (issuer https://tokens-02.example). The pasted token was not sent."`)
	a.paste(t, "eyJ.not.json")
	a.becomes(t, `document.querySelector("#found").innerText === "That does not look like a token." && document.querySelector("#search").value === ""`)
	a.paste(t, longest)
	a.becomes(t, fmt.Sprintf(`document.querySelector("#search").value === %q`, longest))
	a.findings(t) // every message has arrived
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, text := range []string{tokens["etl"], foreign} {
		_, claims, _ := strings.Cut(text, ".") // every token of the server has the same header
		const part = 12
		for i := 0; i+part <= len(claims); i++ {
			for _, request := range a.sent {
				if strings.Contains(request, claims[i:i+part]) {
					t.Fatalf("a part of the pasted token was sent: %.200s", request)
				}
			}
		}
	}
	if len(a.sent) < 10 {
		t.Errorf("no more than %d requests were looked through", len(a.sent))
	}
}

func TestNewTokenDialogSaysWhatItWillMakeAndAsksBeforeItIsLost(t *testing.T) {
	home := startHome(t)
	seedTokens(t, home, []map[string]any{{"client_id": "etl", "role": "user", "tags": []string{"team:data"}}})
	a := newAlbum(t, home)
	a.show(t, scene{path: "/tokens"})
	a.do(t, chromedp.Click(chromedp.CSS(`#new`)), chromedp.WaitVisible("#f-client_id"))
	a.becomes(t, `document.activeElement.id === "f-client_id"`)
	a.do(t, chromedp.KeyEvent(kb.Escape))
	a.becomes(t, `!document.querySelector("#new-dialog").open && document.activeElement.id === "new"`)

	a.do(t, chromedp.Click(chromedp.CSS(`#new`)), chromedp.SendKeys("#f-client_id", "etl\t"))
	a.becomes(t, `document.querySelector("#client-hint").innerText === "etl already has 1 active token. You will have two. Replace it instead" && /^\/tokens\/tok_[0-9a-z]{26}\/replace$/.test(document.querySelector("#client-hint a").pathname)`)
	a.becomes(t, `/^etl – User, until \d+ \w+ \d+, from any address\.$/.test(document.querySelector("#sentence").innerText)`)
	a.do(t, chromedp.SendKeys("#f-tags", "env:prod,"))
	a.becomes(t, `document.querySelector("#known-tags option").value === "env:prod, team:data"`)
	a.do(t, chromedp.Click(chromedp.CSS(`#new-form [name=role][value=admin]`)))
	a.becomes(t, `!document.querySelector("#f-tags").checkVisibility() && document.querySelector("#tags-note").innerText === "Tags do not limit Admin tokens."`)
	a.becomes(t, `document.querySelector("#create-command").textContent.endsWith("token create --client-id etl --role admin --expires 90d")`)
	a.do(t, chromedp.Click(chromedp.CSS(`.more summary`)), chromedp.Click(chromedp.CSS(`[data-mine]`)))
	a.becomes(t, `document.querySelector("#f-allowed_addresses").value === "127.0.0.1" && document.querySelector("#sentence").innerText.endsWith("from the addresses named.")`)
	playing(`{const s = document.querySelector("#f-lifetime"); s.value = "date"; s.dispatchEvent(new Event("change", {bubbles: true})); const d = document.querySelector("#f-expires_at"); d.value = "2099-02-21"; d.dispatchEvent(new Event("input", {bubbles: true}))}`)(t, a.browser)
	a.becomes(t, `/^Sat 21 Feb 2099, \d\d:\d\d UTC \(23:59 your time\)$/.test(document.querySelector("#expiry-text").innerText)`)

	a.do(t, chromedp.KeyEvent(kb.Escape))
	a.becomes(t, `document.querySelector(".ask p").innerText === "Discard this token?" && document.activeElement.innerText === "Keep editing"`)
	a.do(t, chromedp.KeyEvent(kb.Enter))
	a.becomes(t, `!document.querySelector(".ask") && document.querySelector("#new-dialog").open && document.querySelector("#f-client_id").value === "etl"`)
	a.do(t, chromedp.Click(chromedp.CSS(`#new-dialog [data-close]`)), chromedp.Click(chromedp.CSS(".ask button:last-child")))
	a.becomes(t, `!document.querySelector("#new-dialog").open && document.querySelector("#f-client_id").value === "" && document.activeElement.id === "new"`)
	a.quiet(t)
}

func TestTokenShownOnceIsNotLostByOneKey(t *testing.T) {
	t.Setenv("MINTMARK_TOKENS_COPY", "never")
	home := startHome(t)
	a := newAlbum(t, home)
	a.show(t, scene{path: "/tokens/new"})
	a.do(t, chromedp.SendKeys("#f-client_id", "etl\r"), chromedp.WaitVisible("#result-dialog"))
	a.becomes(t, `document.activeElement.id === "result-title"`)
	a.do(t, chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent(kb.Escape))
	a.becomes(t, `document.querySelector("#result-dialog").open`)
	a.do(t, chromedp.Click(chromedp.CSS(`#result-dialog [data-close]`)))
	a.becomes(t, `document.querySelector(".ask p").innerText === "Close without copying? The token is not shown again."`)
	a.do(t, chromedp.Click(chromedp.CSS(`.ask button`)), chromedp.Click(chromedp.CSS(`[data-copy-text]`)))
	a.becomes(t, `document.querySelector("#result-dialog [data-said]").innerText === "Copied."`)
	text := ask(t, a.browser, chromedp.Evaluate[string](`document.querySelector("#result-dialog textarea").value`))
	a.do(t, chromedp.Click(chromedp.CSS(`#result-dialog [data-close]`)))
	a.becomes(t, fmt.Sprintf(`!document.querySelector("#result-dialog") && !document.documentElement.outerHTML.includes(%q) && document.activeElement.closest("tr")?.dataset.client === "etl"`, text))
	a.quiet(t)
}

func TestMenuAndShortcutsFollowTheKeyboard(t *testing.T) {
	home := startHome(t)
	a := newAlbum(t, home)
	a.show(t, scene{path: "/tokens"})
	word := func(text string) string { return fmt.Sprintf(`document.activeElement.innerText.startsWith(%q)`, text) }
	a.do(t, chromedp.Focus("#manage"), chromedp.KeyEvent(kb.Enter))
	a.becomes(t, word("API Tokens")+` && document.querySelector("#manage").ariaExpanded === "true"`)
	for _, step := range []struct{ key, lands string }{
		{kb.ArrowDown, "Signing secret"}, {kb.End, "Sign out"}, {kb.ArrowDown, "API Tokens"}, {kb.ArrowUp, "Sign out"}, {kb.Home, "API Tokens"}, {"d", "Dark"}, {"s", "Sign out"},
	} {
		a.do(t, chromedp.KeyEvent(step.key))
		a.becomes(t, word(step.lands))
	}
	a.do(t, chromedp.KeyEvent(kb.Escape))
	a.becomes(t, `document.querySelector("#manage-menu").hidden && document.activeElement.id === "manage"`)
	a.do(t, chromedp.KeyEvent(kb.ArrowUp))
	a.becomes(t, word("Sign out"))
	a.do(t, chromedp.KeyEvent(kb.Escape))

	ask(t, a.browser, chromedp.Evaluate[bool](`document.activeElement.blur(); true`))
	a.strike(t, "/")
	a.becomes(t, `document.activeElement.id === "search"`)
	a.strike(t, "n")
	a.becomes(t, `document.querySelector("#search").value === "n" && !document.querySelector("#new-dialog").open`)
	ask(t, a.browser, chromedp.Evaluate[bool](`document.activeElement.blur(); true`))
	a.strike(t, "?")
	a.becomes(t, `document.querySelector("#shortcuts").open`)
	a.do(t, chromedp.KeyEvent(kb.Escape))
	a.becomes(t, `!document.activeElement.closest("dialog")`)
	a.strike(t, "g", "a")
	a.becomes(t, `location.pathname === "/audit" && document.readyState === "complete"`)

	playing(`document.querySelector("#manage-menu [name=keys]").click()`)(t, a.browser)
	a.becomes(t, `!("keys" in document.documentElement.dataset) && document.readyState === "complete" && location.pathname === "/audit"`)
	a.strike(t, "?", "g", "t")
	a.becomes(t, `!document.querySelector("#shortcuts").open && location.pathname === "/audit"`)
	a.quiet(t)
}

// strike presses keys as a keyboard does: what the page does with a key keeps it
// from being typed.
func (a *album) strike(t *testing.T, keys ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(a.ctx, stepTimeout)
	defer cancel()
	for _, key := range keys {
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
			event := input.DispatchKeyEventParams{Type: kind, Key: key}
			if kind == input.DispatchKeyEventTypeKeyDown {
				event.Text = key
			}
			if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, event); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// quiet fails the test for everything the browser complains of, but lines that
// hold one of the expected words.
func (a *album) quiet(t *testing.T, expected ...string) {
	t.Helper()
	found := a.findings(t)
	for _, line := range append(append(found.consoleErrors, found.exceptions...), found.violations...) {
		if !slices.ContainsFunc(expected, func(word string) bool { return strings.Contains(line, word) }) {
			t.Error(line)
		}
	}
}
