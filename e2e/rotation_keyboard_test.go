package e2e

import (
	"fmt"
	"strings"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// focused is what the focused element is called.
const focused = `(e => (e.ariaLabel ?? e.labels?.[0]?.innerText ?? e.innerText ?? "").trim().replace(/\s+/g, " "))(document.activeElement)`

// tabTo presses Tab until what is called name has the focus, and sees that it is
// in view and shows a ring.
func (a *album) tabTo(t *testing.T, name string) {
	t.Helper()
	for range 80 {
		a.do(t, chromedp.KeyEvent(kb.Tab))
		if ask(t, a.browser, chromedp.Evaluate[string](focused)) == name {
			a.becomes(t, `{const e = document.activeElement, b = e.getBoundingClientRect(); b.bottom > 0 && b.top < innerHeight && getComputedStyle(e).outlineStyle !== "none"}`)
			return
		}
	}
	t.Fatalf("Tab does not lead to %q; the focus is on %q", name, ask(t, a.browser, chromedp.Evaluate[string](focused)))
}

// keyOf is the name of the key in a state.
func (h home) keyOf(t *testing.T, state string) string {
	t.Helper()
	for line := range strings.Lines(h.manager(t, "key", "list", "--no-headers", "--columns", "state,name")) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == state {
			return words[1]
		}
	}
	t.Fatalf("no key is %s", state)
	return ""
}

// keys types one after the other.
func (a *album) keys(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if key == kb.Enter {
			a.enter(t)
			continue
		}
		a.do(t, chromedp.KeyEvent(key))
	}
}

// enter presses Enter as a keyboard does, in one event: what a page does when the
// key goes down keeps the character from going where the focus went.
func (a *album) enter(t *testing.T) {
	t.Helper()
	down := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "Enter", Code: "Enter", Text: "\r", WindowsVirtualKeyCode: 13}
	up := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13}
	a.do(t, command(input.DispatchKeyEvent, down), command(input.DispatchKeyEvent, up))
}

// opens has a dialog open, sees that Escape gives the focus back to what is
// called back, and opens it again.
func (a *album) opens(t *testing.T, name, dialog, back string) {
	t.Helper()
	inDialog := fmt.Sprintf(`document.readyState === "complete" && !!document.activeElement.closest("#%s:modal")`, dialog)
	a.tabTo(t, name)
	a.keys(t, kb.Enter)
	a.becomes(t, inDialog)
	a.keys(t, kb.Escape)
	a.becomes(t, fmt.Sprintf(`!document.querySelector("dialog:modal") && location.pathname === "/secret" && %s === %q`, focused, back))
	if back != name {
		a.tabTo(t, name)
	}
	a.keys(t, kb.Enter)
	a.becomes(t, inDialog)
}

// told waits for a page that begins with what was just done.
func (a *album) told(t *testing.T, text string) {
	t.Helper()
	a.becomes(t, fmt.Sprintf(`document.readyState === "complete" && document.activeElement.matches(".notice") && document.activeElement.innerText.includes(%q)`, text))
}

func TestARotationByKeyboardAlone(t *testing.T) {
	home := startHome(t)
	old := seedTokens(t, home, []map[string]any{{"client_id": "etl-nightly", "role": "user", "contact": "data@corp.example"}})["etl-nightly"]
	a := newAlbum(t, home)
	p := &person{a.browser, t, home.url}
	p.clipboard(cdpbrowser.PermissionSettingGranted, cdpbrowser.PermissionSettingGranted)

	a.strike(t, "g", "k")
	a.becomes(t, `location.pathname === "/secret" && document.readyState === "complete"`)
	a.opens(t, "Rotate secret…", "rotate-dialog", "Rotate secret…")
	a.tabTo(t, "14 days until "+ask(t, a.browser, chromedp.Evaluate[string](`document.querySelector("[value='336h0m0s']").dataset.says.match(/until ([^.]*)\./)[1]`))+": several teams")
	a.keys(t, kb.ArrowUp)
	a.becomes(t, `document.querySelector("#rotate-says").innerText.startsWith(document.querySelector("[value='24h0m0s']").dataset.says)`)
	a.tabTo(t, "Rotate secret")
	a.keys(t, kb.Enter)
	a.told(t, " signs from now on.")
	previous, current := home.keyOf(t, "previous"), home.keyOf(t, "current")
	a.told(t, current+" signs from now on.")
	home.accepts(t, "Bearer "+old, "etl-nightly")

	a.strike(t, "g", "k")
	a.becomes(t, `document.readyState === "complete" && document.querySelector(".lead")?.innerText.startsWith("1 of 1 client still arrives")`)
	a.tabTo(t, "Copy new token of etl-nightly")
	a.keys(t, kb.Enter)
	a.becomes(t, `document.querySelector("#announce").innerText === "Token of etl-nightly copied." && document.activeElement.innerText.trim() === "Copied"`)
	a.opens(t, "Mark contacted: etl-nightly", "contact-dialog", "etl-nightly")
	a.keys(t, "mailed", kb.Enter)
	a.told(t, "It is noted that etl-nightly was contacted.")
	a.becomes(t, `document.querySelector(".evidence").innerText.includes("by admin: mailed")`)

	a.opens(t, "Trial stop 15 min…", "trial-dialog", "Trial stop 15 min…")
	a.keys(t, previous, kb.Enter)
	a.told(t, "is refused for 15 minutes")
	home.rejects(t, "Bearer "+old)
	a.becomes(t, `/^\d+ requests? of 1 token (was|were) refused: etl-nightly \d+\.$/.test(document.querySelector("#trial-refused").innerText)`) // it is kept current
	a.tabTo(t, "Accept again now")
	a.keys(t, kb.Enter)
	a.told(t, previous+" is accepted again.")
	home.accepts(t, "Bearer "+old, "etl-nightly")

	a.opens(t, "Extend…", "extend-dialog", "Extend…")
	a.tabTo(t, "Extend overlap")
	a.keys(t, kb.Enter)
	a.told(t, previous+" is accepted until")

	a.opens(t, "Stop accepting previous secret…", "stop-dialog", "Stop accepting previous secret…")
	a.keys(t, current, kb.Enter)
	a.becomes(t, `document.querySelector("#e-confirm")?.innerText.includes("That is not the name of the key.") && document.activeElement.id === "f-confirm"`)
	a.keys(t, previous, kb.Enter)
	a.told(t, "The previous secret is not accepted any more, for good.")
	home.rejects(t, "Bearer "+old)
	p.open("/secret")
	p.sees("main", "Rotate secret…")
	a.quiet(t, "status of 422")
}
