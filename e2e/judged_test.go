package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// stillClock makes the page's script see the time of the pictures.
const stillClock = `{
const still = Date.UTC(2026, 10, 23, 14, 8, 2), Real = Date;
globalThis.Date = class extends Real { constructor(...a) { a.length ? super(...a) : super(still); } static now() { return still; } };
}`

// A pose is one picture: how the browser is set, and what leads to it.
type pose struct {
	name  string // its letter in the list of pictures, and what it shows
	path  string
	width int64
	media []string // names and values
	print bool
	whole bool   // the page down to its end
	bare  bool   // no script runs
	reads string // the language, English unless another is named
	steps func(testing.TB, *browser)
}

// sitter is a signed-in browser before a stage.
type sitter struct {
	*album
	stage *stage
	out   string
}

func newSitter(t testing.TB, s *stage, out string) *sitter {
	t.Helper()
	a := &sitter{&album{newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP tokens.example 127.0.0.1"), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb")), home{url: s.url}}, s, out}
	ctx, cancel := context.WithTimeout(a.ctx, stepTimeout)
	defer cancel()
	if _, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: stillClock}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	a.signIn(t, s.url)
	return a
}

// settle waits for two frames, and for the end of every transition.
func (s *sitter) settle(t *testing.T) {
	t.Helper()
	ask(t, s.browser, chromedp.Evaluate[bool](`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => { for (const a of document.getAnimations()) a.finish(); document.activeElement?.matches("input, textarea") && (document.activeElement.style.caretColor = "transparent"); done(true); })))`, chromedp.EvalAwaitPromise))
}

// sit answers the picture of a pose.
func (s *sitter) sit(t *testing.T, p pose) []byte {
	t.Helper()
	media := append([]string{"prefers-reduced-motion", "reduce"}, p.media...)
	if p.width == 0 {
		p.width = 1440
	}
	s.look(t, p.width, media...)
	if p.reads != "" {
		s.reads(t, p.reads)
		defer s.reads(t, "en")
	}
	if p.bare {
		s.runScripts(t, false)
		defer s.runScripts(t, true)
		s.do(t, chromedp.Navigate(s.stage.url+p.path))
		return ask(t, s.browser, chromedp.CaptureScreenshot())
	}
	s.show(t, scene{path: p.path, steps: p.steps})
	if p.print {
		ctx, cancel := context.WithTimeout(s.ctx, stepTimeout)
		defer cancel()
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_, _ = chromedp.Call(s.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
		}()
	}
	s.settle(t)
	if p.whole { // in a window as high as the page: rows far below one are not drawn
		s.do(t, chromedp.EmulateViewport(p.width, ask(t, s.browser, chromedp.Evaluate[int64](`document.documentElement.scrollHeight`))))
		s.settle(t)
	}
	return ask(t, s.browser, chromedp.CaptureScreenshot())
}

func (s *sitter) runScripts(t *testing.T, run bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, stepTimeout)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !run}); err != nil {
		t.Fatal(err)
	}
}

func (s *sitter) keep(t *testing.T, poses ...pose) {
	t.Helper()
	for _, p := range poses {
		must(t, os.MkdirAll(s.out, 0o750))
		must(t, os.WriteFile(filepath.Join(s.out, p.name+".png"), s.sit(t, p), 0o600))
		if ask(t, s.browser, chromedp.Evaluate[bool](`location.pathname === "/sign-in"`)) && !strings.HasSuffix(p.path, "/sign-in") {
			t.Fatalf("%s shows the sign-in", p.name)
		}
		if over := ask(t, s.browser, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); over > 0 && !p.print {
			t.Errorf("%s is %d pixels too wide", p.name, over)
		}
	}
}

// TestJudgedShots takes the pictures that the console is judged by, when
// JUDGED_SHOTS names the folder that gets them: make shots.
func TestJudgedShots(t *testing.T) {
	out := os.Getenv("JUDGED_SHOTS")
	if out == "" {
		t.Skip("JUDGED_SHOTS is not set: nobody asked for pictures")
	}
	dark := []string{"prefers-color-scheme", "dark"}
	light := []string{"prefers-color-scheme", "light"}
	t.Run("none", func(t *testing.T) {
		newSitter(t, newStage(t, true), out).keep(t, pose{name: "e-empty", path: "/tokens"}, pose{name: "e-empty-390-dark", path: "/tokens", width: 390, media: dark})
		newSitter(t, newStage(t, false), out).keep(t, pose{name: "e-empty-memory", path: "/tokens"})
		one := newStage(t, true)
		one.issue(t, authority.TokenRequest{ClientID: "reports", Role: "user", Tags: []string{"team:data"}})
		newSitter(t, one, out).keep(t, pose{name: "e-one", path: "/tokens"}, pose{name: "e-none-matches", path: "/tokens?q=spark"})
	})
	t.Run("memory", func(t *testing.T) {
		s := newStage(t, false)
		s.cast(t)
		newSitter(t, s, out).keep(t, pose{name: "k-banner", path: "/tokens"}, pose{name: "k-banner-390", path: "/tokens", width: 390}, pose{name: "e-storage", path: "/settings/storage", whole: true}, pose{name: "p-status", path: "/status", whole: true}, pose{name: "p-status-390-dark", path: "/status", width: 390, media: dark})
	})
	t.Run("few", func(t *testing.T) {
		s := newStage(t, true)
		poses := s.poses(t, dark, light)
		newSitter(t, s, out).keep(t, poses...)
	})
	t.Run("overlap", func(t *testing.T) {
		s := newStage(t, true)
		s.rotated(t)
		newSitter(t, s, out).keep(t, pose{name: "m-overlap", path: "/secret", whole: true}, pose{name: "m-overlap-dark", path: "/secret", media: dark, whole: true}, pose{name: "m-overlap-390", path: "/secret", width: 390, whole: true}, pose{name: "n-trial", path: "/secret/trial"}, pose{name: "n-stop", path: "/secret/stop"},
			pose{name: "l-token-overlap", path: "/tokens/" + string(s.made["billing"].ID), steps: playing(`document.querySelector(".chart details").open = true`), whole: true}, pose{name: "r-forced-overlap", path: "/secret", media: []string{"forced-colors", "active", "prefers-color-scheme", "dark"}})
	})
	t.Run("trial", func(t *testing.T) {
		s := newStage(t, true)
		newSitter(t, s, out).keep(t, s.onTrial()...)
	})
	for _, n := range []int{50, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newStage(t, true)
			ids := s.cast(t)
			s.extras(t, n-len(ids))
			newSitter(t, s, out).keep(t, pose{name: fmt.Sprintf("u-rows-%d", n), path: "/tokens", steps: playing(`scrollTo(0, 1200)`)}, pose{name: fmt.Sprintf("u-foot-%d", n), path: "/tokens", steps: playing(`scrollTo(0, 99999)`)})
		})
	}
}

// poses are the pictures of a console in good order.
func (s *stage) poses(t *testing.T, dark, light []string) []pose {
	t.Helper()
	ids := s.cast(t)
	used, unused := string(ids["dfsadmin"]), string(ids["old-probe"])
	fill := func(lines ...string) func(testing.TB, *browser) { return playing(lines...) }
	wrong := fill(`document.querySelector("#f-client_id").value="data team"`, `document.querySelector("#f-tags").value="team"`, `document.querySelector("#new-form .primary").click()`, "wait #new-dialog .errors")
	address, err := url.Parse(s.url)
	must(t, err)
	elsewhere := "http://tokens.example:" + address.Port()
	made := func(t testing.TB, b *browser) {
		t.Helper()
		if ask(t, b, chromedp.Evaluate[bool](`!!document.querySelector("#f-password")`)) {
			b.do(t, chromedp.SendKeys("#f-username", "admin"), chromedp.SendKeys("#f-password", adminPassword+"\r"), chromedp.WaitVisible("#f-client_id"))
		}
		playing(`document.querySelector("#f-client_id").value="nightly-report"`, `document.querySelector("#new-form .primary").click()`, "wait #result-dialog")(t, b)
	}
	return []pose{
		{name: "a-tokens", path: "/tokens", media: light},
		{name: "b-tokens-dark", path: "/tokens", media: dark},
		{name: "c-tokens-1280", path: "/tokens", width: 1280},
		{name: "c-tokens-1200", path: "/tokens", width: 1200},
		{name: "c-tokens-1024", path: "/tokens", width: 1024},
		{name: "c-tokens-800", path: "/tokens", width: 800},
		{name: "c-tokens-390", path: "/tokens", width: 390},
		{name: "c-tokens-320-dark", path: "/tokens", width: 320, media: dark},
		{name: "d-tokens-320-twice", path: "/tokens", width: 320, steps: playing(`document.documentElement.style.fontSize = "200%"`), whole: true},
		{name: "f-new", path: "/tokens/new"},
		{name: "f-new-390", path: "/tokens/new", width: 390},
		{name: "g-errors", path: "/tokens/new", steps: wrong},
		{name: "i-delete-used", path: "/tokens/" + used + "/delete"},
		{name: "j-delete-unused", path: "/tokens/" + unused + "/delete"},
		{name: "l-token", path: "/tokens/" + used, whole: true},
		{name: "l-token-dark", path: "/tokens/" + used, media: dark, whole: true},
		{name: "n-rotate", path: "/secret/rotate"},
		{name: "q-menu", path: "/tokens", steps: func(t testing.TB, b *browser) {
			t.Helper()
			b.do(t, chromedp.Focus("#manage"))
			pressing("\r", "\ue015")(t, b) // Enter, ArrowDown
		}},
		{name: "r-forced", path: "/tokens", media: append([]string{"forced-colors", "active"}, dark...)},
		{name: "r-forced-new", path: "/tokens/new", media: append([]string{"forced-colors", "active"}, dark...)},
		{name: "r-contrast", path: "/tokens", media: []string{"prefers-contrast", "more"}},
		{name: "t-pseudo", path: "/tokens", reads: "en-XA"},
		{name: "t-pseudo-new", path: "/tokens/new", reads: "en-XA"},
		{name: "t-pseudo-390", path: "/tokens", width: 390, reads: "en-XA"},
		{name: "t-right-to-left", path: "/tokens", reads: "ar-XB"},
		{name: "t-right-to-left-390", path: "/tokens", width: 390, reads: "ar-XB"},
		{name: "o-settings", path: "/settings", steps: staging(s.url, "/settings", "tokens.lifetime.default", "30d", "server.drain_timeout", "20s")},
		{name: "o-review", path: "/settings/review"},
		{name: "v-no-script-review", path: "/settings/review", bare: true},
		{name: "w-sign-in", path: elsewhere + "/sign-in"},
		{name: "h-result-http", path: elsewhere + "/tokens/new", steps: made},
		{name: "s-print", path: elsewhere + "/tokens/new", steps: made, width: 718, print: true},
		{name: "s-print-tokens", path: "/tokens", width: 718, print: true},
		{name: "v-no-script-new", path: "/tokens/new", bare: true},
		{name: "v-no-script-delete", path: "/tokens/" + used + "/delete", bare: true},
		{name: "v-no-script-menu", path: "/menu", bare: true},
		{name: "w-audit", path: "/audit"},
		{name: "w-audit-320", path: "/audit", width: 320},
		{name: "w-explain", path: "/explain"},
		{name: "w-replace", path: "/tokens/" + used + "/replace"},
		{name: "x-deleted", path: "/tokens", steps: func(t testing.TB, b *browser) {
			t.Helper()
			ask(t, b, chromedp.Evaluate[bool](`fetch("/tokens/`+unused+`/delete", {method: "POST", body: ""}).then(() => true)`, chromedp.EvalAwaitPromise))
			b.do(t, chromedp.Navigate(s.url+"/tokens?state=deleted"))
		}},
		{name: "x-deleted-390", path: "/tokens?state=deleted", width: 390},
	}
}

// staging stages properties, by name and value, and goes to a page of the console.
func staging(url, then string, properties ...string) func(testing.TB, *browser) {
	return func(t testing.TB, b *browser) {
		t.Helper()
		for i := 0; i+1 < len(properties); i += 2 {
			ask(t, b, chromedp.Evaluate[bool](fmt.Sprintf(`fetch("/settings/stage", {method: "POST", body: new URLSearchParams({property: %q, value: %q})}).then(() => true)`, properties[i], properties[i+1]), chromedp.EvalAwaitPromise))
		}
		b.do(t, chromedp.Navigate(url+then))
	}
}

// onTrial are the pictures of settings that are applied.
func (s *stage) onTrial() []pose {
	apply := playing("wait #review-dialog", `document.querySelector("#review-dialog .primary").click()`)
	return []pose{
		{name: "o-waiting", path: "/settings", steps: func(t testing.TB, b *browser) {
			t.Helper()
			staging(s.url, "/settings/review", "log.level", "debug")(t, b)
			apply(t, b)
			playing("wait .notice p", `document.getElementById("log.level").scrollIntoView({block: "center"})`)(t, b)
		}},
		{name: "o-review-trial", path: "/settings", steps: staging(s.url, "/settings/review", "login.pause", "10m", "tokens.copy", "reauth")},
		{name: "o-on-trial", path: "/settings/review", steps: func(t testing.TB, b *browser) {
			t.Helper()
			apply(t, b)
			playing("wait #on-trial-dialog")(t, b)
		}},
	}
}

// rotated brings the stage into the middle of a rotation.
func (s *stage) rotated(t *testing.T) {
	t.Helper()
	s.cast(t)
	for _, name := range []string{"billing", "mailer", "portal", "relay"} {
		s.issue(t, authority.TokenRequest{ClientID: name, Role: "user", Contact: name + "@corp.example"})
	}
	s.at(curtain().Add(time.Minute)) // a token that is made in the second of a rotation belongs to both keys
	_, err := s.rules.RotateKey(t.Context(), manager(), authority.RotateRequest{Overlap: 14 * 24 * time.Hour, Reason: "scheduled"})
	must(t, err)
	s.at(curtain().Add(7 * 24 * time.Hour))
	for _, name := range []string{"billing", "mailer"} {
		s.use(t, name, "10.2.0.9", 3)
	}
	for _, name := range []string{"portal", "relay", "billing"} {
		issued, err := s.rules.RevealToken(t.Context(), manager(), s.made[name].ID)
		must(t, err)
		s.made[name] = issued
		s.use(t, name, "10.2.0.31", 5)
	}
	s.live.Decide(s.made["billing"].Text.Unsafe(), liveset.Demand{From: netip.MustParseAddr("10.2.0.31"), Role: authority.RoleAdmin})
	s.at(curtain().Add(7*24*time.Hour + 4*time.Minute))
}

// TestPicturesOfAStageAreTheSame holds the stage to what it is for: two of them,
// in two browsers, look the same to the pixel.
func TestPicturesOfAStageAreTheSame(t *testing.T) {
	poses := []pose{{name: "tokens", path: "/tokens"}, {name: "tokens at 390", path: "/tokens", width: 390}, {name: "keys", path: "/secret"}, {name: "new", path: "/tokens/new"}}
	var first [][]byte
	for run := range 2 {
		s := newStage(t, true)
		s.cast(t)
		sitter := newSitter(t, s, "")
		for i, p := range poses {
			png := sitter.sit(t, p)
			if run == 0 {
				first = append(first, png)
			} else if !bytes.Equal(first[i], png) {
				t.Errorf("%s looks different: %x and %x", p.name, sha256.Sum256(first[i]), sha256.Sum256(png))
			}
		}
	}
}
