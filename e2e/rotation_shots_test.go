package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestShotsOfARotation takes pictures of the signing secret's page and dialogs
// while a rotation is under way, when SHOTS is set.
func TestShotsOfARotation(t *testing.T) {
	if os.Getenv("SHOTS") == "" {
		t.Skip("SHOTS is not set: nobody asked for pictures")
	}
	t.Setenv("MINTMARK_SERVER_TRUSTED_PROXIES", "127.0.0.1/32")
	home := startHome(t)
	album := newAlbum(t, home)
	album.take(t, scene{name: "rotate", path: "/secret/rotate"}, scene{name: "rotate-leak", path: "/secret/rotate", steps: playing(`document.querySelector("[value=none]").click()`), sizes: []int64{1440, 390}})
	seedRotation(t, home)
	album.take(t, album.rotationScenes(t)...)
}

// seedRotation brings a home into the middle of a rotation, with clients that
// have moved and clients that have not.
func seedRotation(t *testing.T, h home) {
	t.Helper()
	requests := []map[string]any{
		{"client_id": "report-monthly", "role": "user"},
		{"client_id": longest, "role": "user", "contact": "warehouse-and-ledger-reconciliation@corp.example"},
	}
	for i, name := range []string{"mailer", "portal", "relay", "search", "billing"} {
		requests = append(requests, map[string]any{"client_id": name, "role": "user", "contact": fmt.Sprintf("team-%d@corp.example", i+1)})
	}
	texts := seedTokens(t, h, requests)
	h.manager(t, "key", "rotate", "--overlap", "14d", "--reason", "scheduled")
	from := func(i int) string { return fmt.Sprintf("10.2.0.%d", i) }
	for i, name := range []string{"mailer", "portal", "billing", longest} {
		useToken(t, h, texts[name], from(i))
	}
	for i, name := range []string{"relay", "search", "billing", "portal"} {
		useToken(t, h, h.copied(t, name), from(20+i))
	}
	useToken(t, h, texts["portal"], from(2))
}

// copied is the text of a token under the key that signs now.
func (h home) copied(t *testing.T, client string) string {
	t.Helper()
	got := h.run(t, "token", "copy", client)
	if got.code != 0 {
		t.Fatalf("token copy: exit code %d\n%s", got.code, got.err)
	}
	return strings.TrimSuffix(got.out, "\n")
}

// rotationScenes are the page in an overlap and its dialogs; the last leaves a
// trial stop running.
func (a *album) rotationScenes(t *testing.T) []scene {
	t.Helper()
	id := ask(t, a.browser, chromedp.Evaluate[string](`fetch("/tokens?q=mailer").then(r=>r.text()).then(s=>/<tr id="([^"]+)"/.exec(s)[1])`, chromedp.EvalAwaitPromise))
	previous := a.home.keyOf(t, "previous")
	return []scene{
		{name: "overlap", path: "/secret"},
		{name: "overlap-end", path: "/secret", steps: playing(`scrollTo(0, 99999)`), pictureOnly: true},
		{name: "overlap-moved", path: "/secret?state=moved&sort=client"},
		{name: "extend", path: "/secret/extend"},
		{name: "trial", path: "/secret/trial"},
		{name: "stop", path: "/secret/stop"},
		{name: "reset", path: "/secret/reset"},
		{name: "contacted", path: "/secret/contact/" + id},
		{name: "trial-running", path: "/secret/trial", steps: func(t testing.TB, b *browser) {
			t.Helper()
			if ask(t, b, chromedp.Evaluate[bool](`!!document.querySelector("#trial-refused")`)) {
				b.do(t, chromedp.Navigate(a.home.url+"/secret"))
				return
			}
			b.do(t, chromedp.SendKeys("#f-confirm", previous+"\r"), chromedp.WaitVisible("#trial-refused"))
		}},
	}
}
