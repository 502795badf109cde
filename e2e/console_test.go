package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestTheFirstPageIsCleanAndAsksNobodyElse(t *testing.T) {
	home := startHome(t)
	b := newBrowser(t)
	b.do(t, chromedp.Navigate(home.url+"/"))
	b.screenshot(t, "first-page")

	got := b.findings(t)
	for kind, lines := range map[string][]string{
		"console error": got.consoleErrors, "exception": got.exceptions, "policy violation": got.violations,
	} {
		for _, line := range lines {
			t.Errorf("%s: %s", kind, line)
		}
	}
	for _, url := range got.requests {
		if !strings.HasPrefix(url, home.url+"/") && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asked %s", url)
		}
	}
	if title := ask(t, b, chromedp.Title()); title == "" {
		t.Error("the page has no title")
	}
}

func TestAStoppedHomeSaysSo(t *testing.T) {
	home := startHome(t)
	if said := home.manager(t, "stop"); !strings.Contains(said, "Stopped") {
		t.Errorf("manager stop said %q", said)
	}
}
