package webui_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/control"
)

// saidEverywhere is the strip on a page of the console.
func saidEverywhere(t *testing.T, v *visitor, path string) string {
	t.Helper()
	_, body := v.get(path)
	_, strip, found := strings.Cut(body, `<section class="banner`)
	if !found {
		return ""
	}
	strip, _, _ = strings.Cut(strip, "</section>")
	return squeeze(strip)
}

// persistent lets the store say that it outlasts the process.
func persistent(_ testing.TB, h *house) { h.place = "/srv/token.json" }

func TestAKeyThatIsDueIsSaidOnEveryPage(t *testing.T) {
	h := newHouse(t, nil, persistent)
	v := h.signedIn(t)
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, ""}, {167 * day, ""}, {169 * day, "Rotating key_2026a is due in 13 days."}, {190 * day, "key_2026a has signed for 190 days; rotating it was due after 182."},
	} {
		h.clock.Store(time.Date(2026, 11, 23, 14, 8, 0, 0, time.UTC).Add(c.after).UnixNano())
		v.signIn(adminPassword)
		for _, path := range []string{"/tokens", "/audit", "/secret"} {
			if got := saidEverywhere(t, v, path); got == "" != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("after %s %s says %q", c.after, path, got)
			}
		}
	}
	v.rotate()
	if got := saidEverywhere(t, v, "/audit"); got != "" {
		t.Errorf("after the rotation it says %q", got)
	}
}

func TestAnOverlapThatEndsTooSoonIsSaidOnEveryPage(t *testing.T) {
	h := newHouse(t, nil, persistent)
	v := h.signedIn(t)
	text := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"}).Text.Unsafe()
	v.rotate()
	h.later(v, 10*day)
	h.use(t, text)
	if got := saidEverywhere(t, v, "/audit"); got != "" {
		t.Errorf("4 days before its end it says %q", got)
	}
	h.later(v, 2*day)
	if got := saidEverywhere(t, v, "/audit"); !strings.Contains(got, `key_2026a stops being accepted in 2 days, and 1 client still uses it. <a href="/secret">Signing secret</a>`) {
		t.Errorf("it says %q", got)
	}
	v.post("/secret/trial", url.Values{"confirm": {"key_2026a"}})
	if got := saidEverywhere(t, v, "/audit"); !strings.Contains(got, "key_2026a is refused on trial until 14:23 UTC.") {
		t.Errorf("on trial it says %q", got)
	}
	v.post("/secret/stop", nil)
	if got := saidEverywhere(t, v, "/audit"); got != "" {
		t.Errorf("once it is over it says %q", got)
	}
}

func TestTokensThatEndSoonAreSaidQuietly(t *testing.T) {
	h := newHouse(t, nil, persistent)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user", Lifetime: 9 * day})
	if got := saidEverywhere(t, v, "/audit"); !strings.HasPrefix(got, `quiet" aria-label="Notice"`) || !strings.Contains(got, `1 token expires within 14 days. <a href="/tokens?expiring=14d">Show</a>`) {
		t.Errorf("it says %q", got)
	}
	if got := saidEverywhere(t, v, "/tokens"); got != "" {
		t.Errorf("the list says it twice: %q", got)
	}
}

func TestOneNoticeIsShownAndTheOthersAreCounted(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user", Lifetime: 180 * day})
	h.later(v, 175*day)
	got := saidEverywhere(t, v, "/audit")
	if !strings.Contains(got, "kept in memory only") || !strings.Contains(got, `<a href="/status">2 more notices</a>`) || strings.Contains(got, "Rotating") {
		t.Errorf("it says %q", got)
	}
}

func TestApplyingAStoreCountsWhatBecameOfTheTokens(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	for name, c := range map[string]struct {
		place   string
		carried control.Carried
		want    []string
	}{
		"a new file":     {"/srv/a.json", control.Carried{Carried: 2}, []string{"Applied. Tokens are kept in /srv/a.json from now on: 2 tokens were brought along, 0 were there.</p>"}},
		"an older one":   {"/srv/b.json", control.Carried{Carried: 1, Existing: 3, CaughtUp: authority.CaughtUp{Changes: 1, Missing: []authority.TokenID{"tok_x", "tok_y"}}}, []string{"1 token was brought along, 3 were there.", "It is older than the audit log: 1 change made since was applied to it again.", "2 tokens were created since and not in it: lost."}},
		"one from afar":  {"/srv/c.json", control.Carried{CaughtUp: authority.CaughtUp{Unproven: true}}, []string{"The audit log does not reach back to it"}},
		"back to memory": {"", control.Carried{Carried: 1}, []string{"Applied. Tokens are kept in memory only from now on: 1 token was brought along"}},
	} {
		h.carried, h.store.place = c.carried, c.place
		v.post("/settings/stage", url.Values{"property": {"api.access.tokens.store"}, "value": {"/srv/" + name + ".json"}})
		_, body := v.get("/settings/review")
		_, body = v.post("/settings/apply", url.Values{"revision": {between(t, body, `name="revision" value="`, `"`)}})
		shows(t, body, append(c.want, `data-result-of-change`)...)
	}
}
