package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// stepTimeout bounds one step in the browser.
const stepTimeout = 30 * time.Second

// findings is what a browser noticed since it was started, in the order of
// arrival.
type findings struct {
	consoleErrors []string // console.error and errors of the browser's own log
	exceptions    []string // uncaught exceptions and rejected promises
	violations    []string // of the Content-Security-Policy: directive, kind, blocked URL
	requests      []string // every URL that was asked for
}

// browser is one Chromium with a profile of its own and one tab, which records
// what a person with open developer tools would see. A second tab is not watched.
type browser struct {
	ctx context.Context

	mu   sync.Mutex
	seen findings
	sent []string // whole requests: address, headers and body
}

// newBrowser starts a browser for one test. flags are added to the command line,
// for example chromedp.Flag("host-resolver-rules", "MAP tokens.example 127.0.0.1").
func newBrowser(t testing.TB, flags ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 800),
		chromedp.WSURLReadTimeout(commandTimeout), // a busy machine starts a browser slowly
		chromedp.Env("TZ=UTC"),                    // wherever the machine is
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, release := chromedp.NewExecAllocator(context.Background(), append(options, flags...)...)
	t.Cleanup(release)

	b := &browser{}
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithListener(b.watch))
	t.Cleanup(cancel)
	b.ctx = ctx
	// The browser lives as long as the context of its first call: no timeout here.
	if _, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{}); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return b
}

// chromium answers the path of the browser. A machine without one fails: a page
// that no browser opened is not tested.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium on this machine: apt-get install -y --no-install-recommends chromium fonts-dejavu-core")
	return ""
}

// watch runs in the loop that reads the browser's messages, in their order.
func (b *browser) watch(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			b.seen.consoleErrors = append(b.seen.consoleErrors, consoleText(e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			b.seen.consoleErrors = append(b.seen.consoleErrors, e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			text += " " + thrown.Description
		}
		b.seen.exceptions = append(b.seen.exceptions, text)
	case *audits.EventIssueAdded:
		if csp := e.Issue.Details.ContentSecurityPolicyIssueDetails; csp != nil {
			b.seen.violations = append(b.seen.violations,
				fmt.Sprintf("%s %s %s", csp.ViolatedDirective, csp.ContentSecurityPolicyViolationType, csp.BlockedURL))
		}
	case *network.EventRequestWillBeSent:
		b.seen.requests = append(b.seen.requests, e.Request.URL)
		whole, _ := json.Marshal(e.Request)
		b.sent = append(b.sent, string(whole))
		for _, part := range e.Request.PostDataEntries {
			b.sent = append(b.sent, string(part.Bytes))
		}
	case *network.EventWebSocketCreated:
		b.seen.requests = append(b.seen.requests, e.URL)
	}
}

func consoleText(args []*runtime.RemoteObject) string {
	text := ""
	for _, arg := range args {
		text += string(arg.Value) + arg.Description + " "
	}
	return text
}

// do runs steps one after the other.
func (b *browser) do(t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// ask runs one step and answers its value.
func ask[T any](t testing.TB, b *browser, step chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, step)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// holds reports whether an expression of the page is true. A page that is being left
// answers nothing.
func (b *browser) holds(expression string) bool {
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
	return err == nil && is
}

// loaded waits until a page is whole and its scripts have run: until then what they
// do with a key or a dialog is not there.
func (b *browser) loaded(t testing.TB) {
	t.Helper()
	eventually(t, "the page is loaded", func() bool { return b.holds(`document.readyState === "complete"`) })
}

// findings answers what was noticed so far, once the page has drawn a frame and
// run what was waiting: the messages before that answer have arrived by then.
func (b *browser) findings(t testing.TB) findings {
	t.Helper()
	ask(t, b, chromedp.Evaluate[bool](
		`new Promise(done => requestAnimationFrame(() => setTimeout(() => done(true))))`, chromedp.EvalAwaitPromise))
	b.mu.Lock()
	defer b.mu.Unlock()
	return findings{
		consoleErrors: append([]string(nil), b.seen.consoleErrors...),
		exceptions:    append([]string(nil), b.seen.exceptions...),
		violations:    append([]string(nil), b.seen.violations...),
		requests:      append([]string(nil), b.seen.requests...),
	}
}

// screenshot writes the whole page to $SHOTS/name.png, when SHOTS is set.
func (b *browser) screenshot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	png := ask(t, b, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
