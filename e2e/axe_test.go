package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAxe lets axe-core judge every page and dialog, in light and dark, wide and
// narrow. It runs when AXE names the file axe.min.js of that package, for example
// after: npm pack axe-core && tar xzf axe-core-*.tgz package/axe.min.js
func TestAxe(t *testing.T) {
	if os.Getenv("AXE") == "" {
		t.Skip("AXE is not set: nobody asked axe-core; what must hold anyway is in TestEveryPageCanBeUsedByEverybody")
	}
	axe, err := os.ReadFile(os.Getenv("AXE"))
	if err != nil {
		t.Fatal(err)
	}
	visitScenes(t, func(t *testing.T, b *browser, where string) {
		t.Helper()
		ask(t, b, chromedp.Evaluate[bool](string(axe)+";true"))
		found := ask(t, b, chromedp.Evaluate[[]string](
			`axe.run({resultTypes: ["violations"]}).then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + " " + n.target + ": " + n.failureSummary.replace(/\s+/g, " "))))`,
			chromedp.EvalAwaitPromise))
		for _, violation := range found {
			t.Errorf("%s: %s", where, violation)
		}
	})
}

// everybody finds what keeps somebody from using the page: each line is one
// element and what it lacks. Contrast is WCAG 2.2 SC 1.4.3, sizes are SC 2.5.8.
const everybody = `(() => {
const faults = [], say = (e, what) => faults.push(e.outerHTML.slice(0, 120) + " " + what);
const scope = document.querySelector("dialog:modal") ?? document;
const shown = e => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
const ids = new Map();
for (const e of document.querySelectorAll("[id]")) ids.set(e.id, (ids.get(e.id) ?? 0) + 1);
for (const [id, n] of ids) if (n > 1) faults.push(id + " is the id of " + n + " elements");
for (const e of document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]"))
  for (const a of ["aria-labelledby", "aria-describedby", "aria-controls"])
    for (const id of (e.getAttribute(a) ?? "").split(/\s+/).filter(Boolean)) if (!ids.has(id)) say(e, a + " names nothing: " + id);
for (const e of scope.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary, [role^=menuitem]")) {
  if (!shown(e)) continue;
  const name = e.ariaLabel || e.labels?.[0]?.innerText || e.getAttribute("aria-labelledby") || e.innerText || e.value;
  if (!name?.trim()) say(e, "has no name");
  const box = e.getBoundingClientRect(), inText = e.matches("p a, li a, dd a, td a, th a, .second a, .link, .skip");
  if (!inText && e.matches("a, button, select, summary") && (box.width < 24 || box.height < 24) && box.width > 1) say(e, "is " + box.width + " by " + box.height);
}
if (scope.querySelectorAll("h1, dialog:modal h2").length < 1) faults.push("there is no heading");
if (document.querySelectorAll("h1").length !== 1) faults.push("there is not one h1");
const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = c => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = c; paint.fillRect(0, 0, 1, 1); return [...paint.getImageData(0, 0, 1, 1).data]; };
const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
const ground = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
const contrast = (a, b) => { const [x, y] = [light(a.slice(0, 3)), light(b.slice(0, 3))].sort((p, q) => q - p); return (x + .05) / (y + .05); };
const walk = document.createTreeWalker(scope === document ? document.body : scope, NodeFilter.SHOW_TEXT);
for (let n; n = walk.nextNode();) {
  const e = n.parentElement;
  if (!n.data.trim() || !shown(e) || e.closest(".sr, option, datalist, [aria-disabled=true]")) continue;
  const ratio = contrast(rgba(getComputedStyle(e).color), ground(e));
  if (ratio < 4.5) say(e, "has a contrast of " + ratio.toFixed(2));
}
for (const e of scope.querySelectorAll("input:not([type=hidden], [type=radio], [type=checkbox]), select, textarea")) {
  if (!shown(e) || e.matches(".sr")) continue;
  const ratio = contrast(rgba(getComputedStyle(e).borderTopColor), ground(e.parentElement));
  if (ratio < 3) say(e, "has a border with a contrast of " + ratio.toFixed(2));
}
return [...new Set(faults)];
})()`

func TestEveryPageCanBeUsedByEverybody(t *testing.T) {
	visitScenes(t, func(t *testing.T, b *browser, where string) {
		t.Helper()
		for _, fault := range ask(t, b, chromedp.Evaluate[[]string](everybody)) {
			t.Errorf("%s: %s", where, fault)
		}
	})
}

// A page on which something is wrong has to be reported, or the test above
// proves nothing.
func TestEverySeededBarrierIsFound(t *testing.T) {
	for name, body := range map[string]string{
		"has no name":             `<h1>x</h1><button></button>`,
		"has a contrast of":       `<h1>x</h1><link rel="stylesheet" href="/pale.css"><p class="pale">pale</p>`,
		"is the id of 2 elements": `<h1>x</h1><p id="a"></p><p id="a"></p>`,
		"names nothing: b":        `<h1>x</h1><p aria-describedby="b"></p>`,
		"not one h1":              `<p>x</p>`,
		"is 20 by 20":             `<h1>x</h1><button class="small">x</button>`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			page := `data:text/html,<!doctype html><html lang="en"><title>x</title><style>.pale{color:%23ccc}.small{width:20px;height:20px;padding:0}</style>` + body
			b.do(t, chromedp.Navigate(page))
			found := ask(t, b, chromedp.Evaluate[[]string](everybody))
			if !strings.Contains(strings.Join(found, "\n"), name) {
				t.Errorf("found only %q", found)
			}
		})
	}
}

// visitScenes shows every page and dialog to check, in light and dark.
func visitScenes(t *testing.T, check func(t *testing.T, b *browser, where string)) {
	t.Helper()
	home := startHome(t, "--store", "memory")
	tokens := seedTokens(t, home, variousTokens())
	useToken(t, home, tokens["dfsadmin"], "")
	album := newAlbum(t, home)
	scenes := append(album.tokenScenes(t), album.serverScenes()...)
	scenes = append(scenes, scene{name: "storage", path: "/settings/storage"}, scene{name: "shortcuts", path: "/tokens", steps: pressing("?")})
	for _, s := range scenes {
		if s.pictureOnly {
			continue
		}
		for _, look := range []struct {
			width int64
			theme string
		}{{1440, "light"}, {1440, "dark"}, {320, "light"}} {
			album.look(t, look.width, "prefers-color-scheme", look.theme, "prefers-reduced-motion", "reduce")
			album.show(t, s)
			check(t, album.browser, s.name+" in "+look.theme)
		}
	}
	album.look(t, 1440, "prefers-color-scheme", "light")
	album.show(t, scene{path: "/tokens", steps: playing(`document.querySelector("#manage-menu form[action='/sign-out']").submit()`, "wait #f-username")})
	album.show(t, scene{path: "/sign-in"})
	check(t, album.browser, "sign-in")
}
