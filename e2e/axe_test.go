package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// axeCore is the script of that package, which npm fetches by its lock file.
var axeCore = sync.OnceValues(func() (string, error) {
	dir, err := npmInstall("axe")
	if err != nil {
		return "", err
	}
	script, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(script), err
})

// axe answers a check by axe-core. A machine without npm is judged by our own
// check alone, but not in continuous integration.
func axe(t *testing.T) func(*testing.T, *browser) []string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		missing := "npm IS NOT INSTALLED, axe-core was not asked; on Debian: apt-get install nodejs npm"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Log(missing)
		return func(*testing.T, *browser) []string { return nil }
	}
	script, err := axeCore()
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, b *browser) []string {
		t.Helper()
		ask(t, b, chromedp.Evaluate[bool](script+";true"))
		return ask(t, b, chromedp.Evaluate[[]string](
			`axe.run({resultTypes: ["violations"]}).then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + " " + n.target + ": " + n.failureSummary.replace(/\s+/g, " "))))`,
			chromedp.EvalAwaitPromise))
	}
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

// TestEveryPageCanBeUsedByEverybody shows every page and dialog to axe-core and
// to the check above, in both themes and at three widths.
func TestEveryPageCanBeUsedByEverybody(t *testing.T) {
	judge := axe(t)
	visitScenes(t, func(t *testing.T, b *browser, where string) {
		t.Helper()
		for _, fault := range append(ask(t, b, chromedp.Evaluate[[]string](everybody)), judge(t, b)...) {
			t.Errorf("%s: %s", where, fault)
		}
		if over := ask(t, b, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); over > 0 { // SC 1.4.10
			t.Errorf("%s: it is %d pixels too wide", where, over)
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

// visitScenes shows every page and dialog to check, in both themes and at three
// widths, and lets nothing that the browser complains of go by.
func visitScenes(t *testing.T, check func(t *testing.T, b *browser, where string)) {
	t.Helper()
	home := startHome(t, "--store", "memory")
	tokens := seedTokens(t, home, variousTokens())
	useToken(t, home, tokens["dfsadmin"], "")
	album := newAlbum(t, home)
	visit := func(scenes ...scene) {
		for _, s := range scenes {
			if s.pictureOnly {
				continue
			}
			album.look(t, 1440, "prefers-reduced-motion", "reduce")
			album.show(t, s)
			for _, width := range []int64{1440, 768, 320} {
				for _, theme := range []string{"light", "dark"} {
					album.look(t, width, "prefers-color-scheme", theme, "prefers-reduced-motion", "reduce")
					check(t, album.browser, fmt.Sprintf("%s in %s at %d", s.name, theme, width))
				}
			}
		}
	}
	visit(album.tokenScenes(t)...)
	visit(album.serverScenes()...)
	visit(scene{name: "storage", path: "/settings/storage"}, scene{name: "shortcuts", path: "/tokens", steps: pressing("?")})
	visit(scene{name: "rotate", path: "/secret/rotate"}, scene{name: "rotate for a leak", path: "/secret/rotate", steps: playing(`document.querySelector("[value=none]").click()`)})
	home.manager(t, "config", "properties", "set", "login.pause", "6m")
	home.manager(t, "config", "apply", "--trial", "1h")
	visit(scene{name: "trial of settings", path: "/settings/trial"}, scene{name: "list during a trial", path: "/tokens"})
	home.manager(t, "config", "confirm")
	seedRotation(t, home)
	visit(album.rotationScenes(t)...)
	album.look(t, 1440, "prefers-color-scheme", "light")
	album.show(t, scene{path: "/tokens", steps: playing(`document.querySelector("#manage-menu form[action='/sign-out']").submit()`, "wait #f-username")})
	visit(scene{name: "sign-in", path: "/sign-in"})
	album.quiet(t, "status of 422", "status of 404")
}
