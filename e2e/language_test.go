package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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

// plain answers the text of an accented page that is in no message: what people see
// or hear, shown now or not, that has a letter without an accent. Left out are what
// is marked as no language or as English, what belongs to somebody, and dates that
// the browser writes.
const plain = `(names => {
const say = new Set(), somebodys = "[translate=no], [lang=en]:not(html), .id, bdi, kbd, pre, textarea, script, style, datalist";
const free = text => {
  for (const name of names) text = text.replaceAll(name, "");
  return text.replace(/[\w.:\/@-]*\d[\w.:\/@-]*|\b[a-z_]+(\.[a-z_]+)+/g, "").replace(/\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|AM|PM|UTC)\b/g, "");
};
const look = (text, e) => { if (/[A-Za-z]/.test(free(text))) say.add(e.tagName.toLowerCase() + "." + e.className + ": " + text.trim().replace(/\s+/g, " ").slice(0, 160)); };
const walk = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
for (let n; n = walk.nextNode();) if (n.data.trim() && !n.parentElement.closest(somebodys)) look(n.data, n.parentElement);
for (const a of ["aria-label", "placeholder", "title", "alt", "data-busy", "data-ask", "data-yes", "data-no", "data-says", "data-over"])
  for (const e of document.querySelectorAll("[" + a + "]:not(.property input)")) look(e.getAttribute(a), e);
return [...say].join("\n");
})`

// names are what belongs to somebody and stands within sentences.
func (s *stage) names() []string {
	names := []string{"Mintmark", "tokens-01", "manager", "admin", "127.0.0.1", "operator", "root", "team:data, env:prod", "/opt/mintmark/store/token.json", "mintmark", "ES256", "HS256", "EdDSA", "zzz", "team:data", "chmod 600 ", "MINTMARK_JWT_ALGORITHM", "Envoy (ext_authz)", "Kubernetes (TokenReview)"}
	for client, issued := range s.made {
		names = append(names, client, client+".token", issued.Description, issued.Contact)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // one may be part of another
	return names
}

// reads chooses the language of every page from now on.
func (a *album) reads(t testing.TB, tag string) {
	t.Helper()
	if !ask(t, a.browser, chromedp.Evaluate[bool](fmt.Sprintf(`fetch("/preferences", {method: "POST", body: new URLSearchParams({language: %q})}).then(r => r.ok)`, tag), chromedp.EvalAwaitPromise)) {
		t.Fatal("the language was not taken")
	}
}

// tongues are pages and dialogs with everything that the console says.
func (s *stage) tongues() []scene {
	id := string(s.made["dfsadmin"].ID)
	return []scene{
		{path: "/tokens"},
		{path: "/tokens?q=zzz"},
		{path: "/tokens?state=deleted"},
		{path: "/tokens?expiring=14d&tag=team:data"},
		{path: "/tokens/new"},
		{name: "a form at fault", path: "/tokens/new", steps: playing(`document.querySelector("#f-lifetime").value = "date"`, `document.querySelector("#new-form .primary").click()`, "wait #new-dialog .errors")},
		{name: "a token made", path: "/tokens/new", steps: playing(`document.querySelector("#f-client_id").value = "dfsadmin"`, `document.querySelector("#new-form .primary").click()`, "wait #result-dialog")},
		{name: "a copy", path: "/tokens", steps: playing(`document.querySelector("[data-copy] button").click()`, "wait #text-dialog")},
		{name: "the menu", path: "/tokens", steps: playing(`document.querySelector("#manage").click()`)},
		{name: "shortcuts", path: "/tokens", steps: pressing("?")},
		{name: "a paste", path: "/tokens", steps: playing(`document.querySelector("#search").value = "eyJhbGciOiJub25lIn0.e30.x"`, `document.querySelector("#search").dispatchEvent(new Event("input"))`)},
		{path: "/tokens/" + id},
		{path: "/tokens/" + id + "/delete"},
		{path: "/tokens/" + id + "/replace"},
		{path: "/secret"},
		{path: "/secret?state=moved"},
		{path: "/secret/trial"},
		{path: "/secret/extend"},
		{path: "/secret/stop"},
		{path: "/secret/reset"},
		{path: "/secret/contact/" + id},
		{path: "/audit"},
		{path: "/audit?actor=nobody"},
		{path: "/explain"},
		{name: "an explanation", path: "/explain", steps: playing(`document.querySelector("#f-subject").value = "eyJhbGciOiJub25lIn0.e30.x"`, `document.querySelector("form[action='/explain'] .primary").click()`, "wait #answer")},
		{path: "/settings"},
		{path: "/settings?q=zzz"},
		{path: "/settings/review"},
		{path: "/settings/storage"},
		{path: "/status"},
		{path: "/menu"},
		{path: "/reauth"},
		{path: "/nowhere"},
	}
}

// beginnings are those that are there before anything is rotated, and while tokens
// are kept in memory.
func (s *stage) beginnings() []scene {
	id := string(s.made["old-probe"].ID)
	apply := playing("wait #review-dialog", `document.querySelector("#review-dialog .primary").click()`, "wait #on-trial-dialog")
	return []scene{
		{path: "/tokens"},
		{path: "/tokens/" + id},
		{path: "/tokens/" + id + "/delete"},
		{path: "/secret"},
		{path: "/secret/rotate"},
		{name: "a leak", path: "/secret/rotate", steps: playing(`document.querySelector("[value=none]").click()`)},
		{path: "/settings/storage"},
		{path: "/status"},
		{name: "staged", path: "/settings", steps: staging(s.url, "/settings", "login.pause", "10m", "log.level", "debug")},
		{name: "a review", path: "/settings/review"},
		{name: "a trial", path: "/settings/review", steps: apply},
		{name: "a replacement", path: "/tokens/" + id + "/replace", steps: playing(`document.querySelector("#replace-form .primary").click()`, "wait #result-dialog")},
		{name: "replaced", path: "/tokens/" + id},
		{name: "deleted", path: "/tokens/" + string(s.made["report-monthly"].ID) + "/delete", steps: playing(`document.querySelector("#delete-dialog .danger").click()`, "wait .notice p")},
	}
}

// quoted is a list in a script.
func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return "[" + strings.Join(out, ",") + "]"
}

// TestEveryTextIsTranslatedAndFits shows every page and dialog in a language whose
// words are two fifths longer and have accents, narrow and wide: a text without
// accents is one that no translator gets.
func TestEveryTextIsTranslatedAndFits(t *testing.T) {
	s := newStage(t, true)
	s.rotated(t)
	a := newSitter(t, s, "")
	a.reads(t, "en-XA")
	check := func(width int64, of scene) { a.isTranslatedAndFits(t, width, of) }
	for _, of := range s.tongues() {
		for _, width := range []int64{1440, 768, 320} {
			check(width, of)
		}
	}
	first := newStage(t, false)
	first.cast(t)
	b := newSitter(t, first, "")
	b.reads(t, "en-XA")
	for _, of := range first.beginnings() {
		b.isTranslatedAndFits(t, 1440, of)
	}
	apply := staging(s.url, "/settings/review", "login.pause", "10m")
	a.show(t, scene{path: "/settings", steps: func(t testing.TB, b *browser) {
		t.Helper()
		apply(t, b)
		playing("wait #review-dialog", `document.querySelector("#review-dialog .primary").click()`, "wait #on-trial-dialog")(t, b)
	}})
	for _, path := range []string{"/settings/trial", "/settings", "/status", "/tokens"} {
		for _, width := range []int64{1440, 768, 320} {
			check(width, scene{name: "settings on trial", path: path})
		}
	}
	a.show(t, scene{path: "/tokens", steps: playing(`document.querySelector("#manage-menu form[action='/sign-out']").submit()`, "wait #f-username")})
	for _, width := range []int64{1440, 768, 320} {
		check(width, scene{path: "/sign-in?ended=idle&next=/audit"})
	}
}

func (s *sitter) isTranslatedAndFits(t *testing.T, width int64, of scene) {
	t.Helper()
	s.look(t, width, "prefers-reduced-motion", "reduce")
	s.show(t, of)
	if found := ask(t, s.browser, chromedp.Evaluate[string](cut)); found != "" {
		t.Errorf("%s %s at %d pixels:\n%s", of.name, of.path, width, found)
	}
	if found := ask(t, s.browser, chromedp.Evaluate[string](plain+"("+quoted(s.stage.names())+")")); found != "" && width == 1440 {
		t.Errorf("%s %s is not translated:\n%s", of.name, of.path, found)
	}
}

// What is cut or plain has to be reported, or the test above proves nothing.
func TestWhatIsCutOrPlainIsReported(t *testing.T) {
	s := newStage(t, true)
	a := newSitter(t, s, "")
	a.look(t, 320)
	a.show(t, scene{path: "/tokens", steps: playing(`document.querySelector("h1").style.width = "3000px"`, `document.querySelector("#new").style.cssText = "width: 20px; overflow: hidden; white-space: nowrap; display: block"`)})
	if found := ask(t, a.browser, chromedp.Evaluate[string](cut)); len(found) < 80 {
		t.Errorf("what was cut on purpose is not found: %s", found)
	}
	found := ask(t, a.browser, chromedp.Evaluate[string](plain+`([])`))
	for _, want := range []string{"API Tokens", "No tokens yet", "Search client, tag or ID", "Creating…", "Discard this token?"} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is plain and not found", want)
		}
	}
}

// TestEveryPageCanBeReadFromRightToLeft shows every page and dialog in a language
// of that direction.
func TestEveryPageCanBeReadFromRightToLeft(t *testing.T) {
	judge := axe(t)
	s := newStage(t, true)
	s.rotated(t)
	a := newSitter(t, s, "")
	a.reads(t, "ar-XB")
	for _, of := range s.tongues() {
		for _, width := range []int64{1440, 320} {
			a.look(t, width, "prefers-reduced-motion", "reduce")
			a.show(t, of)
			if dir := ask(t, a.browser, chromedp.Evaluate[string](`getComputedStyle(document.querySelector("h1")).direction`)); dir != "rtl" {
				t.Errorf("%s %s is read %s", of.name, of.path, dir)
			}
			if found := ask(t, a.browser, chromedp.Evaluate[string](cut)); found != "" {
				t.Errorf("%s %s at %d pixels:\n%s", of.name, of.path, width, found)
			}
		}
		for _, fault := range judge(t, a.browser) {
			t.Errorf("%s %s: %s", of.name, of.path, fault)
		}
	}
}
