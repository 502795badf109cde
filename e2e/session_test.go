package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// person is somebody in front of the console. What they click they find as
// people do, by what it says; a modal dialog hides everything behind it.
type person struct {
	*browser
	t   *testing.T
	url string // of the home, without a slash at the end
}

// visitor opens a browser for one test, and tells what was on the page when that
// fails.
func visitor(t *testing.T, url string, flags ...chromedp.ExecAllocatorOption) *person {
	t.Helper()
	p := &person{newBrowser(t, flags...), t, url}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page was %s\n%s", p.location(), p.text("body"))
		}
	})
	return p
}

// withoutScript is a visitor whose browser runs no script of any page.
func withoutScript(t *testing.T, url string) *person {
	t.Helper()
	p := visitor(t, url)
	p.scripts(false)
	return p
}

func (p *person) scripts(on bool) {
	p.t.Helper()
	p.do(p.t, command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}))
}

// in is the same person, held to account by another test.
func (p *person) in(t *testing.T) *person { return &person{p.browser, t, p.url} }

// command is a step that sends one command to the page's target.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, c, params)
		return err
	})
}

// named selects what can be pressed and is called name: by its label, or else by
// its text without what only says a state.
func named(name string) chromedp.JSPath {
	text, _ := json.Marshal(name)
	return chromedp.JSPath(fmt.Sprintf(`[...(document.querySelector("dialog:modal") ?? document).querySelectorAll("a, button, summary, label, [role^=menuitem]")]
		.find(e => e.checkVisibility() && (e.ariaLabel ?? e.innerText).trim().replace(/\s+/g, " ") === %s) ?? null`, text))
}

// open goes to a page of the console.
func (p *person) open(path string) {
	p.t.Helper()
	p.do(p.t, chromedp.Navigate(p.url+path))
}

// press clicks on what is called name and stays on the page.
func (p *person) press(name string) {
	p.t.Helper()
	p.do(p.t, chromedp.Click(named(name)))
}

// follow clicks on what is called name and waits for the page it leads to.
func (p *person) follow(name string) { p.t.Helper(); p.leads(named(name)) }

// leads clicks on what a selector finds, waits for the next page and holds it
// to the status 200 or 201.
func (p *person) leads(sel chromedp.JSPath) {
	p.t.Helper()
	if status := p.status(sel); status != http.StatusOK && status != http.StatusCreated {
		p.t.Fatalf("%s leads to a page with status %d", sel, status)
	}
}

// status clicks on what a selector finds and answers the status of the next page.
func (p *person) status(sel chromedp.JSPath) int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, stepTimeout)
	defer cancel()
	got, err := chromedp.RunResponse(ctx, chromedp.Click(sel))
	if err != nil || got == nil {
		p.t.Fatalf("following %s: %v", sel, err)
	}
	return int(got.Status)
}

// fill types into a field, in place of what it holds.
func (p *person) fill(id, text string) {
	p.t.Helper()
	p.do(p.t,
		chromedp.Click(field(id)),
		chromedp.Focus(field(id)),
		command(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeRawKeyDown, Commands: []string{"selectAll"}}),
		command(input.InsertText, input.InsertTextParams{Text: text}),
	)
	if got := p.value(id); got != text {
		p.t.Fatalf("the field %s holds %q after %q was typed", id, got, text)
	}
}

// choose takes the option of a select that says text.
func (p *person) choose(sel, text string) {
	p.t.Helper()
	place := evaluate[int](p, fmt.Sprintf(`{const s = document.querySelector(%q); s.focus(); [...s.options].findIndex(o => o.text.startsWith(%q)) - s.selectedIndex}`, sel, text))
	key := kb.ArrowDown
	if place < 0 {
		key, place = kb.ArrowUp, -place
	}
	p.do(p.t, chromedp.KeyEvent(strings.Repeat(key, place)))
}

// value is what a field holds.
func (p *person) value(id string) string {
	p.t.Helper()
	return ask(p.t, p.browser, chromedp.Value(field(id)))
}

// field selects by an id, which may hold dots.
func field(id string) chromedp.CSS { return chromedp.CSS(`[id="` + id + `"]`) }

// evaluate answers the value of an expression on the page.
func evaluate[T any](p *person, expression string) T {
	p.t.Helper()
	return ask(p.t, p.browser, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// text is what can be read of the first element that a CSS selector finds.
func (p *person) text(css string) string {
	p.t.Helper()
	return evaluate[string](p, fmt.Sprintf(`{const e = document.querySelector(%q); e?.checkVisibility() ? e.innerText : ""}`, css))
}

func (p *person) location() string {
	p.t.Helper()
	return ask(p.t, p.browser, chromedp.Location())
}

// path is where on the console the person is.
func (p *person) path() string {
	p.t.Helper()
	return strings.TrimPrefix(p.location(), p.url)
}

// sees waits until all of words can be read in the first element that a CSS
// selector finds.
func (p *person) sees(css string, words ...string) {
	p.t.Helper()
	for _, word := range words {
		shown := fmt.Sprintf(`{const e = document.querySelector(%q); !!e?.checkVisibility() && e.innerText.replace(/\s+/g, " ").includes(%q)}`, css, word)
		eventually(p.t, fmt.Sprintf("%q can be read in %s", word, css), func() bool { return p.holds(shown) })
	}
}

// paste puts what the clipboard holds into the text area of an empty page, as
// Ctrl+V does.
func (p *person) paste() string {
	p.t.Helper()
	p.do(p.t,
		chromedp.Navigate(`data:text/html,<!doctype html><title>paste</title><link rel="icon" href="data:,"><textarea id="here" rows="9" cols="80"></textarea>`),
		chromedp.Click(chromedp.ID("here")),
		command(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeRawKeyDown, Commands: []string{"paste"}}),
	)
	return p.value("here")
}

// cookie is the value of a cookie of the console.
func (p *person) cookie(name string) string {
	p.t.Helper()
	got := ask(p.t, p.browser, func(ctx context.Context, target *chromedp.Target) (network.GetCookiesResult, error) {
		return cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{URLs: []string{p.url}})
	})
	for _, c := range got.Cookies {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// signIn signs in as admin with the password of these tests.
func (p *person) signIn() { p.t.Helper(); p.signInAs("admin") }

func (p *person) signInAs(name string) {
	p.t.Helper()
	p.open("/")
	p.fill("f-username", name)
	p.fill("f-password", adminPassword)
	p.follow("Sign in")
	p.sees("h1", "API Tokens")
}

// newToken fills in the dialog New API Token, presses Create and answers the
// token that is shown. fields are by their ids, without f-.
func (p *person) newToken(clientID, role string, fields map[string]string) string {
	p.t.Helper()
	if p.path() != "/tokens" {
		p.open("/tokens")
	}
	p.press("New API Token") // a dialog, or without script the page with it
	p.do(p.t, chromedp.WaitVisible(field("f-client_id")))
	p.fill("f-client_id", clientID)
	p.do(p.t, chromedp.Click(chromedp.CSS(`#new-form input[name=role][value=`+role+`]`)))
	if len(fields) > 0 {
		p.do(p.t, chromedp.Click(chromedp.CSS("#new-form .more summary")))
	}
	for id, text := range fields {
		p.fill("f-"+id, text)
	}
	p.follow("Create")
	p.sees("#result-title", "Token created for "+clientID)
	return evaluate[string](p, `document.querySelector("#result-dialog textarea").value`)
}

// forgets waits until a token that was shown has left the page.
func (p *person) forgets(token string) {
	p.t.Helper()
	gone := fmt.Sprintf(`!document.documentElement.outerHTML.includes(%[1]q) && [...document.querySelectorAll("input, textarea")].every(e => !e.value.includes(%[1]q))`, token)
	eventually(p.t, "the token has left the page", func() bool { return p.holds(gone) })
}

// clean fails the test for everything that a browser complains of, but lines
// that hold one of the expected words. Nobody else may have been asked for
// anything.
func (p *person) clean(expected ...string) {
	p.t.Helper()
	found := p.findings(p.t)
	for kind, lines := range map[string][]string{"console error": found.consoleErrors, "exception": found.exceptions, "policy violation": found.violations} {
		for _, line := range lines {
			if !slices.ContainsFunc(expected, func(word string) bool { return strings.Contains(line, word) }) {
				p.t.Errorf("%s: %s", kind, line)
			}
		}
	}
	for _, url := range found.requests {
		if !strings.HasPrefix(url, p.url+"/") && !strings.HasPrefix(url, "data:") {
			p.t.Errorf("the page asked %s", url)
		}
	}
}

// row is the line of the list that belongs to a client ID.
func row(clientID string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("table.list tbody tr")].find(r => r.querySelector("th bdi")?.textContent === %q)`, clientID)
}
