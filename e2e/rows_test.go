package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// torn answers what of a row is cut, for a row draws nothing beyond itself, and the
// columns that are too narrow for a word.
const torn = `[...document.querySelectorAll("table.tokens tbody tr")].flatMap(row => {
	const box = row.getBoundingClientRect();
	const cut = [...row.querySelectorAll("*")].filter(e => {
		const r = e.getBoundingClientRect();
		return e.checkVisibility() && r.width > 0 && (r.left < box.left - .5 || r.right > box.right + .5 || r.top < box.top - .5 || r.bottom > box.bottom + .5);
	}).map(e => "cut: " + e.outerHTML.slice(0, 120));
	const thin = [...row.cells].filter(c => c.checkVisibility() && c !== row.cells[row.cells.length - 1] && c.getBoundingClientRect().width < 90).map(c => "thin: " + c.outerHTML.slice(0, 120));
	return [...cut, ...thin];
}).join("\n")`

func TestRowsOfTheListAreWholeAtEveryWidth(t *testing.T) {
	s := newStage(t, true)
	ids := s.cast(t)
	a := newSitter(t, s, "")
	a.show(t, scene{path: "/tokens"})
	deleted := fmt.Sprintf(`fetch("/tokens/%s/delete", {method: "POST", body: ""}).then(() => true)`, ids["old-probe"])
	ask(t, a.browser, chromedp.Evaluate[bool](deleted, chromedp.EvalAwaitPromise))
	for _, language := range []string{"en", "en-XA", "ar-XB"} {
		a.reads(t, language)
		for _, width := range []int64{1440, 1280, 1200, 1024, 960, 800, 720, 600, 390, 320} {
			for _, path := range []string{"/tokens", "/tokens?state=deleted"} {
				a.look(t, width)
				a.show(t, scene{path: path})
				if found := ask(t, a.browser, chromedp.Evaluate[string](torn)); found != "" {
					t.Errorf("%s in %s at %d pixels:\n%s", path, language, width, found)
				}
				if rows := ask(t, a.browser, chromedp.Evaluate[int](`document.querySelectorAll("table.tokens tbody tr").length`)); rows == 0 {
					t.Fatalf("%s shows no row", path)
				}
			}
		}
	}
}
