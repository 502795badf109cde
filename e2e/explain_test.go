package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// refusedAs asks the door with a demand that the token does not meet, and answers
// the id of the request.
func (h home) refusedAs(t *testing.T, token, demand string) string {
	t.Helper()
	got := call(t, request{url: h.url + "/auth/verify?" + demand, authorization: bearer(token)})
	id := got.header.Get("X-Request-Id")
	if got.status != http.StatusForbidden || !strings.Contains(got.body, `"request_id":"`+id+`"`) {
		t.Fatalf("%d %s, request %q", got.status, got.body, id)
	}
	return id
}

// Whoever has the id of a refused request, or the token, finds the cause and what
// to do, with a keyboard alone and without script.
func TestTheConsoleExplainsARefusal(t *testing.T) {
	h := startHome(t)
	token := h.token(t, "etl", "user", "--tag", "team:data")
	id := h.refusedAs(t, token, "role=admin")
	for name, p := range map[string]*person{"with script": visitor(t, h.url), "without script": withoutScript(t, h.url)} {
		t.Run(name, func(t *testing.T) {
			p := p.in(t)
			p.signIn()
			p.open("/tokens")
			p.follow("Explain a refusal")
			p.sees("main h1", "Explain a refusal")
			p.fill("f-subject", id)
			p.follow("Explain")
			p.sees("main h2", "Refused: role insufficient")
			p.sees("main table", "refused here", "user, wanted admin")
			p.sees("main .caution", "What to do:", "The service asks for another role")
			p.fill("f-subject", token)
			p.follow("Explain")
			p.sees("main h2", "This token would be let in")
			p.forgets(token)
			p.follow("The token's record")
			p.sees("main h1", "etl")
			p.open("/explain")
			p.fill("f-subject", "0123456789abcdef")
			if status := p.status(named("Explain")); status != http.StatusNotFound {
				t.Errorf("an unknown request answers %d", status)
			}
			p.sees("[role=alert]", "Each node keeps its own last 4,096 refusals")
			if name == "with script" {
				p.clean("status of 404")
			}
		})
	}
}

// The page and each of its answers can be used by everybody, in both themes and at
// three widths.
func TestExplanationsCanBeUsedByEverybody(t *testing.T) {
	h := startHome(t)
	token := h.token(t, "etl", "user", "--tag", "team:data")
	id := h.refusedAs(t, token, "role=admin&tag=team:data")
	judge, a := axe(t), newAlbum(t, h)
	asked := func(subject string, more ...string) func(testing.TB, *browser) {
		return playing(append(append([]string{fmt.Sprintf(`document.querySelector("#f-subject").value=%q`, subject)}, more...), `document.querySelector("form[action='/explain'] button").click()`, "wait main table, main .errors")...)
	}
	for _, s := range []scene{
		{name: "explain", path: "/explain"},
		{name: "explain-request", path: "/explain?request_id=" + id},
		{name: "explain-token", path: "/explain", steps: asked(token, `document.querySelector("#f-from").value="10.2.0.14"`)},
		{name: "explain-bad", path: "/explain", steps: asked(token[:len(token)-4])},
		{name: "explain-errors", path: "/explain", steps: asked("eyJ.eyJ.x", `document.querySelector("#f-from").value="here"`)},
		{name: "explain-unknown", path: "/explain?request_id=0123456789abcdef"},
	} {
		a.look(t, 1440, "prefers-reduced-motion", "reduce")
		a.show(t, s)
		for _, width := range []int64{1440, 768, 320} {
			for _, theme := range []string{"light", "dark"} {
				a.look(t, width, "prefers-color-scheme", theme, "prefers-reduced-motion", "reduce")
				a.screenshot(t, fmt.Sprintf("%s-%s-%d", s.name, theme, width))
				for _, fault := range append(ask(t, a.browser, chromedp.Evaluate[[]string](everybody)), judge(t, a.browser)...) {
					t.Errorf("%s in %s at %d: %s", s.name, theme, width, fault)
				}
				if ask(t, a.browser, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > innerWidth`)) {
					t.Errorf("%s scrolls sideways at %d", s.name, width)
				}
			}
		}
	}
	a.quiet(t, "status of 404", "status of 422")
}
