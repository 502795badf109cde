package e2e

import (
	"fmt"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// shownText is the token that a dialog shows.
func (a *album) shownText(t *testing.T) string {
	t.Helper()
	return ask(t, a.browser, chromedp.Evaluate[string](`document.querySelector("dialog:modal textarea.token").value`))
}

func TestTokensByKeyboardAlone(t *testing.T) {
	home := startHome(t)
	a := newAlbum(t, home)
	p := &person{a.browser, t, home.url}
	p.clipboard(cdpbrowser.PermissionSettingGranted, cdpbrowser.PermissionSettingGranted)
	var token, successor string
	chapter(t, "create, and the focus is on the new row", func(t *testing.T) {
		a.strike(t, "n")
		a.becomes(t, `document.activeElement.id === "f-client_id" && document.activeElement.value === ""`)
		a.keys(t, kb.Escape)
		a.becomes(t, `!document.querySelector("dialog:modal")`)
		a.tabTo(t, "New API Token")
		a.keys(t, kb.Enter)
		a.becomes(t, `document.activeElement.id === "f-client_id"`)
		a.keys(t, "etl-nightly", kb.Enter)
		a.becomes(t, `document.activeElement.matches("dialog:modal #result-title")`)
		token = a.shownText(t)
		home.accepts(t, "Bearer "+token, "etl-nightly")
		a.tabTo(t, "Done")
		a.keys(t, kb.Enter)
		a.becomes(t, fmt.Sprintf(`!document.querySelector("dialog:modal") && %s === "etl-nightly" && !document.documentElement.outerHTML.includes(%q)`, focused, token))
	})
	chapter(t, "find and copy", func(t *testing.T) {
		a.strike(t, "/")
		a.becomes(t, `document.activeElement.id === "search"`)
		a.keys(t, "etl", kb.Enter)
		a.becomes(t, `document.readyState === "complete" && location.search.includes("q=etl")`)
		a.tabTo(t, "Copy token of etl-nightly")
		a.keys(t, kb.Enter)
		a.becomes(t, `document.querySelector("#announce").innerText === "Token of etl-nightly copied." && document.activeElement.innerText.trim() === "Copied" && document.activeElement.querySelector("use").getAttribute("href") === "#i-check"`)
	})
	chapter(t, "replace, and take it back", func(t *testing.T) {
		a.tabTo(t, "etl-nightly")
		a.keys(t, kb.Enter)
		a.becomes(t, `document.readyState === "complete" && location.pathname.startsWith("/tokens/tok_")`)
		for range 2 { // the first time Escape gives the focus back
			a.tabTo(t, "Replace…")
			a.keys(t, kb.Enter)
			a.becomes(t, `document.readyState === "complete" && document.activeElement.matches("dialog:modal [value='24h0m0s']")`)
			if successor == "" {
				a.keys(t, kb.Escape)
				a.becomes(t, fmt.Sprintf(`!document.querySelector("dialog:modal") && %s === "Replace…"`, focused))
				successor = "asked"
			}
		}
		a.keys(t, kb.Enter)
		a.becomes(t, `document.activeElement.matches("dialog:modal #result-title") && document.activeElement.innerText === "New token of etl-nightly"`)
		successor = a.shownText(t)
		home.accepts(t, "Bearer "+successor, "etl-nightly")
		home.accepts(t, "Bearer "+token, "etl-nightly")
		a.keys(t, kb.Escape)
		a.becomes(t, `!document.querySelector("dialog:modal") && !document.querySelector("#result-dialog")`)
		a.do(t, chromedp.Reload()) // by now the successor is in use
		a.tabTo(t, "Type etl-nightly to take it back")
		a.keys(t, "etl-nightly", kb.Enter)
		a.told(t, "The token of etl-nightly goes on; its successor was deleted.")
		home.rejects(t, "Bearer "+successor)
	})
	chapter(t, "delete and restore", func(t *testing.T) {
		a.tabTo(t, "Delete…")
		a.keys(t, kb.Enter)
		a.becomes(t, `document.readyState === "complete" && document.activeElement.matches("dialog:modal #f-confirm")`)
		a.keys(t, "etl-nightly", kb.Enter)
		a.told(t, "The token of etl-nightly was deleted.")
		home.rejects(t, "Bearer "+token)
		a.tabTo(t, "Restore")
		a.keys(t, kb.Enter)
		a.told(t, "The token of etl-nightly works again.")
		home.accepts(t, "Bearer "+token, "etl-nightly")
	})
	chapter(t, "stage a property and apply it", func(t *testing.T) {
		a.strike(t, "g", "s")
		a.becomes(t, `document.readyState === "complete" && location.pathname === "/settings"`)
		a.strike(t, "/")
		a.becomes(t, `document.activeElement.id === "search"`)
		a.keys(t, "tokens.lifetime.default", kb.Enter)
		a.becomes(t, `document.readyState === "complete" && location.search.includes("q=tokens.lifetime.default")`)
		a.tabTo(t, "tokens.lifetime.default")
		a.keys(t, kb.End, kb.Backspace, kb.Backspace, kb.Backspace, "30d", kb.Enter)
		a.becomes(t, `document.readyState === "complete" && location.search.includes("done=staged")`)
		a.tabTo(t, "Review and apply")
		for _, leaves := range []func(){func() { a.keys(t, kb.Escape) }, func() { a.tabTo(t, "Close"); a.keys(t, kb.Enter) }} {
			a.keys(t, kb.Enter)
			a.becomes(t, `document.readyState === "complete" && document.activeElement.matches("dialog:modal #review-title")`)
			leaves()
			a.becomes(t, `!document.querySelector("dialog:modal") && document.activeElement.id === "review" && location.pathname === "/settings"`)
			a.becomes(t, `document.querySelector(".footer").innerText.includes("1 staged change")`)
		}
		a.keys(t, kb.Enter)
		a.becomes(t, `document.readyState === "complete" && document.activeElement.matches("dialog:modal #review-title")`)
		a.tabTo(t, "Apply now")
		a.keys(t, kb.Enter)
		a.told(t, "Applied.")
	})
	a.quiet(t)
}
