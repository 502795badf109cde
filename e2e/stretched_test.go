package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// cut answers what of a page's text cannot be seen whole: a page or a box that is
// narrower than its words, and a button or link whose words leave it.
const cut = `(() => {
const say = [], scope = document.querySelector("dialog:modal") ?? document.body;
if (document.documentElement.scrollWidth > innerWidth) say.push("the page is " + (document.documentElement.scrollWidth - innerWidth) + " pixels too wide");
for (const e of scope.querySelectorAll("*")) {
  if (!e.checkVisibility() || e.closest("svg, .sr, select, input, textarea, pre")) continue;
  const style = getComputedStyle(e), name = e.tagName.toLowerCase() + "." + e.className + " " + JSON.stringify(e.innerText?.slice(0, 40));
  if (/hidden|clip/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 1) say.push(name + " is cut");
  if (style.overflowX === "auto" && e.scrollWidth > e.clientWidth + 1) say.push(name + " scrolls sideways");
  if (e.matches("button, .button") && e.scrollWidth > e.clientWidth + 1) say.push(name + " does not hold its words");
}
return say.join("\n");
})()`

// TestStretchedWordsFit puts words of two fifths more, and then the other
// direction, on every page, wide and narrow.
func TestStretchedWordsFit(t *testing.T) {
	s := newStage(t, true)
	s.rotated(t)
	a := newSitter(t, s, "")
	id := string(s.made["dfsadmin"].ID)
	const otherWay = `document.documentElement.dir = "rtl"`
	for _, path := range []string{
		"/tokens", "/tokens/new", "/tokens/" + id, "/tokens/" + id + "/delete", "/tokens/" + id + "/replace", "/secret", "/secret/trial", "/secret/extend",
		"/audit", "/explain", "/settings", "/settings/storage", "/status",
	} {
		for _, width := range []int64{1440, 320} {
			for name, line := range map[string]string{"stretched": pseudo, "right to left": otherWay} {
				a.look(t, width)
				a.show(t, scene{path: path, steps: playing(line)})
				if found := ask(t, a.browser, chromedp.Evaluate[string](cut)); found != "" {
					t.Errorf("%s at %d pixels, %s:\n%s", path, width, name, found)
				}
			}
		}
	}
	a.look(t, 320)
	a.show(t, scene{path: "/tokens", steps: playing(`document.querySelector("h1").style.width = "3000px"`, `document.querySelector("#new").style.cssText = "width: 20px; overflow: hidden; white-space: nowrap; display: block"`)})
	if found := ask(t, a.browser, chromedp.Evaluate[string](cut)); len(found) < 80 {
		t.Errorf("what was cut on purpose is not found: %s", found)
	}
}
