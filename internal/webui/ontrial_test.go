package webui_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

// tries applies a pause after failed sign-ins, on trial.
func (v *visitor) tries(t *testing.T, pause string) string {
	t.Helper()
	v.post("/settings/stage", url.Values{"property": {"login.pause"}, "value": {pause}})
	_, body := v.post("/settings/apply", url.Values{"revision": {"0"}})
	return body
}

func TestWhatCanShutOutIsAskedAboutOnEveryPage(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	body := v.tries(t, "1h")
	shows(t, body, `<dialog id="on-trial-dialog" role="alertdialog"`, "Keep these settings?", "They revert at 14:18 UTC.", "applied by admin:", ">login.pause</span></p>",
		">Keep</button>", ">Revert</button>", ">10 more minutes</button>", "Decide later", "manager config confirm", " On trial</dt><dd class=\"meta\">reverts at 14:18 UTC</dd>")
	for _, page := range []string{"/tokens", "/settings", "/secret", "/status"} {
		_, body = v.get(page)
		shows(t, body, "Settings are on trial. They revert at 14:18 UTC.", `<a href="/settings/trial">Keep or revert</a>`)
		shows(t, body, "Tokens are kept in memory only") // beside it
		lacks(t, body, "on-trial-dialog")
	}
	_, body = v.get("/status")
	shows(t, body, "is on trial until 2026-11-23T14:18")
}

func TestSettingsAreAppliedWithAPasswordThatIsFresh(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	h.clock.Add(int64(16 * 60 * 1e9))
	v.post("/settings/stage", url.Values{"property": {"login.step_up"}, "value": {"12h"}})
	_, body := v.post("/settings/apply", url.Values{"revision": {"0"}})
	shows(t, body, "Enter your password again")
	_, body = v.get("/settings")
	shows(t, body, "1 staged")
	lacks(t, body, "on trial")
	_, body = v.post("/reauth", url.Values{"password": {adminPassword}, "next": {"/settings/review"}})
	shows(t, body, "login.step_up")
	_, body = v.post("/settings/apply", url.Values{"revision": {"0"}})
	shows(t, body, "Keep these settings?")
}

func TestATrialIsKeptRevertedOrExtended(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	revision := between(t, v.tries(t, "1h"), `name="revision" value="`, `"`)
	h.clock.Add(int64(4 * 60 * 1e9))
	_, body := v.post("/settings/trial", url.Values{"answer": {"extend"}, "revision": {revision}})
	shows(t, body, "There are 10 more minutes to keep the settings.", "They revert at 14:28 UTC.")
	_, body = v.post("/settings/trial", url.Values{"answer": {"revert"}, "revision": {revision}})
	shows(t, body, "The settings are what they were before.")
	lacks(t, body, "on trial.", "They revert")

	revision = between(t, v.tries(t, "2h"), `name="revision" value="`, `"`)
	status, body := v.post("/settings/trial", url.Values{"answer": {"keep"}, "revision": {"2"}})
	if status != http.StatusConflict {
		t.Errorf("keeping another trial answered %d", status)
	}
	shows(t, body, `role="alert"`, "Settings are on trial.")
	_, body = v.post("/settings/trial", url.Values{"answer": {"keep"}, "revision": {revision}})
	shows(t, body, "The settings are kept.")
	for _, answer := range []string{"keep", "revert", "extend"} {
		status, body = v.post("/settings/trial", url.Values{"answer": {answer}})
		if status != http.StatusConflict {
			t.Errorf("%s without a trial answered %d", answer, status)
		}
		shows(t, body, "Nothing is on trial: it was kept, or it went back.")
	}
	_, body = v.get("/settings/trial")
	lacks(t, body, "<dialog id=\"on-trial")
}

// Somebody whose page is about to lose its server is told where that will be: on
// all addresses of the machine, at the one by which they came.
func TestAServerThatMovesSaysWhereTo(t *testing.T) {
	for listen, there := range map[string]string{
		"192.0.2.7:4000": "http://192.0.2.7:4000/settings/trial", "0.0.0.0:4000": "http://127.0.0.1:4000/settings/trial",
		":4000": "http://127.0.0.1:4000/settings/trial", "[::]:4000": "http://127.0.0.1:4000/settings/trial",
	} {
		h := newHouse(t, nil, withBook)
		v := h.signedIn(t)
		v.post("/settings/stage", url.Values{"property": {"server.listen"}, "value": {listen}})
		_, body := v.post("/settings/apply", url.Values{"revision": {"0"}})
		shows(t, body, `<dialog id="moved-dialog" role="alertdialog"`, `<span class="id">`+listen+`</span>`, `href="`+there+`"`, "They revert at 14:18 UTC.")
		lacks(t, body, ">Keep</button>")
		_, body = v.post("/settings/trial", url.Values{"answer": {"revert"}})
		shows(t, body, "The server listens elsewhere", `<span class="id">127.0.0.1:3000</span>`)
	}
}

func TestAServerWithAnotherCertificateIsWhereItWas(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	applied := func(certificate string) string {
		t.Helper()
		for property, value := range map[string]string{config.Certificate: certificate, config.Key: certificate + ".key"} {
			v.post("/settings/stage", url.Values{"property": {property}, "value": {value}})
		}
		_, body := v.post("/settings/apply", url.Values{"revision": {"0"}})
		return body
	}
	shows(t, applied("/etc/tls/one"), `<dialog id="moved-dialog"`)
	v.post("/settings/trial", url.Values{"answer": {"keep"}})
	body := applied("/etc/tls/two")
	shows(t, body, `<dialog id="on-trial-dialog"`, ">Keep</button>")
	lacks(t, body, "does not reach it any more")
}

// A store that was switched, or a change that was made and not all of it, is no
// reason to offer an address that is about to be nobody's.
func TestAServerThatMovesSaysWhereToWhateverElseThereIs(t *testing.T) {
	const there = `<dialog id="moved-dialog" role="alertdialog"`
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	h.carried, h.store.place = control.Carried{Carried: 2}, "/srv/a.json"
	v.post("/settings/stage", url.Values{"property": {"server.listen"}, "value": {"192.0.2.7:4000"}})
	v.post("/settings/stage", url.Values{"property": {"api.access.tokens.store"}, "value": {"/srv/b.json"}})
	_, body := v.get("/settings/review")
	shows(t, body, "at once, for good", "The token store does not revert: tokens stay where they were moved.", "(memory)")
	_, body = v.post("/settings/apply", url.Values{"revision": {"0"}})
	shows(t, body, there, `href="http://192.0.2.7:4000/settings/trial"`, "2 tokens were brought along", "They revert at 14:18 UTC.")
	lacks(t, body, ">Keep</button>")
	_, body = v.get("/settings/trial")
	shows(t, body, "The token store does not revert: tokens stay where they were moved.")
	v.post("/settings/trial", url.Values{"answer": {"revert"}})

	v.post("/settings/stage", url.Values{"property": {"server.listen"}, "value": {"192.0.2.7:4000"}})
	v.post("/settings/stage", url.Values{"property": {"jwt.algorithm"}, "value": {"EdDSA"}})
	h.store.refuse = &authority.Error{Kind: authority.Full, Code: "store.full", Msg: "There is no space left."}
	status, body := v.post("/settings/apply", url.Values{"revision": {"0"}})
	if status != http.StatusInsufficientStorage {
		t.Errorf("answered %d", status)
	}
	shows(t, body, there, `href="http://192.0.2.7:4000/settings/trial"`, "no signing key of that algorithm could be made")
	h.store.refuse = nil
}

func TestATrialThatEndsTomorrowSaysSo(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	h.clock.Add(int64(9*time.Hour + 45*time.Minute))
	v.signIn(adminPassword)
	shows(t, v.tries(t, "1h"), "They revert at 24 Nov 2026, 00:03 UTC.", "<dd class=\"meta\">reverts at 24 Nov 2026, 00:03 UTC</dd>")
	_, body := v.get("/tokens")
	shows(t, body, "Settings are on trial. They revert at 24 Nov 2026, 00:03 UTC.")
}
