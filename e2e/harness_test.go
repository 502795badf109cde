package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// seededSite serves one page under a strict policy, with its script and style in
// files and body as its only variable.
func seededSite(t *testing.T, body string) string {
	t.Helper()
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:"
	files := map[string]struct{ kind, text string }{
		"/":           {"text/html; charset=utf-8", `<!doctype html><html lang="en"><title>seeded</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css"><p id="ready">waiting</p>` + body + `<script src="/script.js"></script>`},
		"/script.js":  {"text/javascript", `document.getElementById("ready").textContent = "ready"`},
		"/style.css":  {"text/css", `#ready { color: green }`},
		"/throws.js":  {"text/javascript", `throw new Error("seeded exception")`},
		"/rejects.js": {"text/javascript", `Promise.reject(new Error("seeded rejection"))`},
		"/says.js":    {"text/javascript", `console.error("seeded error", 7)`},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, found := files[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", file.kind)
		_, _ = io.WriteString(w, file.text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func visitSeeded(t *testing.T, body string) (site string, found findings) {
	t.Helper()
	site = seededSite(t, body)
	b := newBrowser(t)
	b.do(t, chromedp.Navigate(site+"/"), chromedp.WaitVisible(chromedp.ID("ready")))
	if got := ask(t, b, chromedp.Text(chromedp.ID("ready"))); got != "ready" {
		t.Fatalf("the page's script said %q", got)
	}
	found = b.findings(t)
	b.screenshot(t, "harness-"+strings.ReplaceAll(t.Name(), "/", "-"))
	return site, found
}

func TestACleanPageIsNotFlagged(t *testing.T) {
	site, got := visitSeeded(t, "")
	want := findings{requests: []string{site + "/", site + "/style.css", site + "/script.js"}}
	sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(findings{}), sorted, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestEverySeededFaultIsCaught(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		in   func(findings) []string
		want string
	}{
		"inline script":      {`<script>document.title = "seeded"</script>`, violations, "script-src-elem kInlineViolation"},
		"inline style":       {`<p style="color: red">seeded</p>`, violations, "style-src-attr kInlineViolation"},
		"event handler":      {`<img src="data:," alt="" onerror="document.title = 1">`, violations, "script-src-attr kInlineViolation"},
		"foreign image":      {`<img src="http://127.0.0.1:1/seeded.png" alt="">`, violations, "img-src kURLViolation http://127.0.0.1:1/seeded.png"},
		"violation as error": {`<script>document.title = "seeded"</script>`, consoleErrors, "Content Security Policy"},
		"missing file":       {`<img src="/missing.png" alt="">`, consoleErrors, "404"},
		"console error":      {`<script src="/says.js"></script>`, consoleErrors, "seeded error"},
		"exception":          {`<script src="/throws.js"></script>`, exceptions, "seeded exception"},
		"rejected promise":   {`<script src="/rejects.js"></script>`, exceptions, "seeded rejection"},
		"request":            {`<img src="/missing.png" alt="">`, requests, "/missing.png"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := visitSeeded(t, c.body)
			for _, line := range c.in(found) {
				if strings.Contains(line, c.want) {
					return
				}
			}
			t.Errorf("%q is not among %q; all findings: %+v", c.want, c.in(found), found)
		})
	}
}

func violations(f findings) []string    { return f.violations }
func consoleErrors(f findings) []string { return f.consoleErrors }
func exceptions(f findings) []string    { return f.exceptions }
func requests(f findings) []string      { return f.requests }
