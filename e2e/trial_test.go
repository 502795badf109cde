package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// free is an address at which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	return l.Addr().String()
}

// listens waits until somebody listens at an address, or until nobody does.
func listens(t *testing.T, address string, is bool) {
	t.Helper()
	for end := time.Now().Add(stepTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			must(t, conn.Close())
		}
		if (err == nil) == is {
			return
		}
	}
	t.Fatalf("somebody listens at %s: %t", address, !is)
}

// stages stages a property in the console, by keyboard, and applies it.
func (a *album) stages(t *testing.T, property, value string) {
	t.Helper()
	a.strike(t, "g", "s")
	a.becomes(t, `document.readyState === "complete" && location.pathname === "/settings" && !location.search`)
	a.strike(t, "/")
	a.becomes(t, `document.activeElement.id === "search"`)
	a.keys(t, property, kb.Enter)
	a.becomes(t, `document.readyState === "complete" && location.search.includes("q=`+property+`")`)
	a.tabTo(t, property)
	a.becomes(t, `{document.activeElement.select(); true}`)
	a.keys(t, value, kb.Enter)
	a.becomes(t, `document.readyState === "complete" && location.search.includes("done=staged")`)
	a.tabTo(t, "Review and apply")
	a.keys(t, kb.Enter)
	a.becomes(t, `document.readyState === "complete" && document.activeElement.matches("dialog:modal #review-title")`)
	a.becomes(t, `document.querySelector("#review-dialog .caution").innerText.includes("unless it is kept, it reverts after 10 minutes")`)
	a.tabTo(t, "Apply now")
	a.keys(t, kb.Enter)
}

func TestSettingsOnTrialByKeyboardAlone(t *testing.T) {
	const asked = `document.readyState === "complete" && document.activeElement.matches("dialog[role=alertdialog]:modal [value=keep]")`
	home := startHome(t)
	a := newAlbum(t, home)
	a.stages(t, "login.pause", "6m")
	a.becomes(t, asked)
	a.becomes(t, `/^They revert at (\d+ \w+ \d+, )?\d\d:\d\d UTC\./.test(document.querySelector("#on-trial-text").innerText)`)
	a.keys(t, kb.Escape)
	a.becomes(t, `!document.querySelector("dialog:modal") && `+focused+` === "Keep or revert" && location.pathname === "/settings"`)
	a.keys(t, kb.Enter)
	a.becomes(t, asked)
	a.tabTo(t, "10 more minutes")
	a.keys(t, kb.Enter)
	a.told(t, "There are 10 more minutes to keep the settings.")
	a.strike(t, "g", "t")
	a.becomes(t, `document.readyState === "complete" && location.pathname === "/tokens"`)
	a.tabTo(t, "Keep or revert")
	a.keys(t, kb.Enter)
	a.becomes(t, asked)
	a.tabTo(t, "Revert")
	a.keys(t, kb.Enter)
	a.told(t, "The settings are what they were before.")
	a.becomes(t, `!document.querySelector("#on-trial")`)
	a.stages(t, "login.pause", "7m")
	a.becomes(t, asked)
	a.keys(t, kb.Enter)
	a.told(t, "The settings are kept.")
	a.quiet(t)
	if got := home.manager(t, "config", "properties", "get", "login.pause"); !strings.Contains(got, "running        7m") {
		t.Errorf("got %s", got)
	}
}

func TestSettingsOnTrialWithoutScript(t *testing.T) {
	home := startHome(t)
	p := withoutScript(t, home.url).in(t)
	p.signIn()
	stages := func(value string) {
		t.Helper()
		p.open("/settings")
		p.fill("p-login.pause", value)
		p.follow("Stage login.pause")
		p.follow("Review and apply")
		p.follow("Apply now")
		p.sees("dialog[open][role=alertdialog]", "Keep these settings?", "They revert at ", "login.pause")
	}
	stages("6m")
	p.follow("10 more minutes")
	p.sees(".notice", "There are 10 more minutes to keep the settings.")
	p.follow("Keep or revert")
	p.follow("Revert")
	p.sees(".notice", "The settings are what they were before.")
	stages("7m")
	p.follow("Decide later")
	p.follow("Keep or revert")
	p.follow("Keep")
	p.sees(".notice", "The settings are kept.")
}

// Nobody has to have a shell for it, and what is kept in memory is kept.
func TestAnAddressThatNobodyReachesComesBackByItself(t *testing.T) {
	home := startHome(t, "--store", "memory")
	token := home.token(t, "ci", "user")
	a := newAlbum(t, home)
	there, here := free(t), strings.TrimPrefix(home.url, "http://")
	home.manager(t, "config", "properties", "set", "server.listen", there)
	home.manager(t, "config", "apply", "--trial", "15s")
	listens(t, there, true)
	listens(t, here, false)
	listens(t, here, true)
	listens(t, there, false)
	a.show(t, scene{path: "/tokens"}) // still signed in
	a.becomes(t, `document.querySelector("main h1").innerText === "API Tokens" && !document.querySelector("#on-trial")`)
	home.accepts(t, "Bearer "+token, "ci")
	got := home.manager(t, "audit", "list", "--action", "config.reverted", "-o", "json")
	if !strings.Contains(got, "it was not confirmed in time") {
		t.Errorf("the audit log has %s", got)
	}
}

func TestAServerThatMovesIsFollowedAndKept(t *testing.T) {
	home := startHome(t)
	a := newAlbum(t, home)
	there, here := free(t), strings.TrimPrefix(home.url, "http://")
	a.stages(t, "server.listen", there)
	a.becomes(t, `document.readyState === "complete" && document.activeElement.matches("dialog[role=alertdialog]:modal a.primary")`)
	for _, fault := range append(axe(t)(t, a.browser), ask(t, a.browser, chromedp.Evaluate[[]string](everybody))...) {
		t.Error(fault)
	}
	listens(t, there, true)
	listens(t, here, false)
	a.keys(t, kb.Enter)
	a.becomes(t, `document.readyState === "complete" && location.host === "`+there+`" && document.activeElement.matches("dialog:modal [value=keep]")`)
	a.keys(t, kb.Enter)
	a.told(t, "The settings are kept.")
	listens(t, there, true)
	listens(t, here, false)
	a.quiet(t)
}

// Every door of the server has its certificate or has none, and is the same door
// however often it is opened.
func TestTLSOnTrialComesAndGoesAtEveryDoor(t *testing.T) {
	home := startHome(t)
	certificate, key := pair(t, t.TempDir(), "trial")
	entrance, figures, envoy := free(t), free(t), free(t)
	for name, value := range map[string]string{
		"guard.upstream": "http://127.0.0.1:1", "guard.listen": entrance, "gateway.ext_authz.listen": envoy, "metrics.listen": figures,
	} {
		home.manager(t, "config", "properties", "set", name, value)
	}
	home.manager(t, "config", "apply")
	home.manager(t, "restart")
	home.manager(t, "config", "properties", "set", "server.tls.certificate", certificate)
	home.manager(t, "config", "properties", "set", "server.tls.key", key)
	has := func(scheme string) {
		t.Helper()
		for address, want := range map[string]int{strings.TrimPrefix(home.url, "http://") + "/healthz": http.StatusOK, entrance + "/": http.StatusUnauthorized} {
			eventually(t, address+" by "+scheme, func() bool { return statusOf(scheme+"://"+address, "") == want })
		}
		eventually(t, "Envoy's door by "+scheme, func() bool {
			conn, err := tls.Dial("tcp", envoy, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			if err == nil {
				_ = conn.Close()
			}
			return (err == nil) == (scheme == "https")
		})
		if got := statusOf("http://"+figures+"/metrics", ""); got != http.StatusOK {
			t.Errorf("by %s the metrics answer %d", scheme, got)
		}
	}
	has("http")
	home.manager(t, "config", "apply", "--trial", "1h")
	has("https")
	home.manager(t, "config", "revert")
	has("http")
}
