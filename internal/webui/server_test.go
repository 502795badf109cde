package webui_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func TestStorageIsSetUpWithTheManualsCommands(t *testing.T) {
	for name, c := range map[string]struct {
		home string
		want []string
	}{
		"without a home": {"", []string{
			"install -d -m 700 /srv/mintmark<", "install -m 600 /dev/null /srv/mintmark/token.json<", ">manager stop<",
			">manager config properties set api.access.tokens.store /srv/mintmark/token.json<", ">manager config apply<", ">manager start<",
		}},
		"in a home with a space": {"/opt/mint mark", []string{
			"install -d -m 700 &#39;/opt/mint mark/store&#39;", ">manager config properties set api.access.tokens.store &#39;/opt/mint mark/store/token.json&#39;<", "Or stage it in Settings",
		}},
	} {
		h := newHouse(t, nil, at(c.home))
		v := h.signedIn(t)
		_, body := v.get("/settings/storage")
		shows(t, body, append(c.want, "Set up storage</h1>", "Tokens are kept in memory only.", "Leave out the first and the last command then.")...)
		if n := strings.Count(body, "data-copy-command"); n != 6 {
			t.Errorf("%s: %d commands can be copied", name, n)
		}
	}
}

// Whoever follows the page from the top loses no token.
func TestStorageIsSetUpWithoutAStopWhenThereAreTokens(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	for _, client := range []string{"a", "b"} {
		h.issue(t, authority.TokenRequest{ClientID: client, Role: "user"})
	}
	_, body := v.get("/settings/storage")
	shows(t, body, "the file takes over all 2 tokens that are in memory.", "Stopping the server deletes all 2 tokens that are in memory, and nothing brings them back.")
	before, _, _ := strings.Cut(body, "Or with a stop")
	shows(t, before, ">manager config apply<", "Or stage it in Settings")
	lacks(t, before, ">manager stop<")
	shows(t, strings.TrimPrefix(body, before), ">manager stop<", ">manager config apply<", ">manager start<")
}

func TestSigningSecretAdvisesAndNamesTheFourCommands(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"})
	_, body := v.get("/secret")
	shows(t, body, "Day 1 of 182. Rotation is recommended every six months.", `<meter min="0" max="182" value="1" high="168"`, "key_2026a", "current · signs and verifies", "key_2026b", "next · published, does not sign yet",
		`id="rotate" href="/secret/rotate">Rotate secret…</a>`, "The secret itself is never shown")
	place := 0
	for _, command := range []string{"manager stop", "manager support reset-jwt-key", "manager config apply", "manager start"} {
		next := strings.Index(body[place:], ">"+command+"<")
		if next < 0 {
			t.Fatalf("%s is not there, or not in its place", command)
		}
		place += next
	}
	_, body = v.get("/secret/reset")
	shows(t, body, "A reset ends <b>1 token</b> and every sign-in (1), yours included", `Type <b translate="no">tokens-01</b> to reset`)
	h.clock.Add(int64(170 * 24 * time.Hour))
	v.signIn(adminPassword)
	_, body = v.get("/secret")
	shows(t, body, "Day 171 of 182.")
	_, body = v.get("/status")
	shows(t, body, "signing secret</b> – attention")
}

func TestMistypedResetChangesNothingAndKeepsTheReason(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	text := h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"}).Text.Unsafe()
	status, body := v.post("/secret/reset", url.Values{"confirm": {"elsewhere"}, "reason": {"laptop <lost>"}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("answered %d", status)
	}
	shows(t, body, "That is not the host name.", `value="laptop &lt;lost&gt;"`, `<dialog id="reset-dialog"`)
	if v := h.allow(text); !v {
		t.Error("the token has ended")
	}
	_, body = v.post("/secret/reset", url.Values{"confirm": {"tokens-01"}})
	shows(t, body, "The signing secret was reset, so all sign-ins ended. That was on 23 Nov 2026 at 14:08 UTC.")
	if h.allow(text) {
		t.Error("the token still works")
	}
	v.signIn(adminPassword)
	_, body = v.get("/tokens?state=revoked")
	shows(t, body, "Ended by a reset", "1 ended by a reset")
	lacks(t, body, "Copy token of a")
}

func TestAuditNamesWhoDidWhatFromWhere(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	_, body := v.post("/tokens", url.Values{"client_id": {"etl"}, "role": {"user"}, "tags": {"team:data"}, "expires": {"7"}})
	id := idIn(t, body)
	v.post("/tokens/"+id+"/reveal", nil)
	h.visitor(t).post("/sign-in", url.Values{"username": {"admin"}, "password": {"wrong wrong wrong"}})
	_, body = v.get("/audit")
	shows(t, body, "Token created", "token.created", "Token copied", "127.0.0.1", "<b>refused</b>", "Sign-in refused", "<dt translate=\"no\">tags</dt><dd translate=\"no\">team:data</dd>", "Request</dt><dd class=\"id\">req-1", "23 Nov 2026, 14:08 UTC", "manager audit list")
	for query, c := range map[string]struct{ with, without string }{
		"action=token.":                     {"Token created", "Sign-in refused"},
		"outcome=refused":                   {"Sign-in refused", "Token created"},
		"target=etl":                        {"Token copied", "Sign-in refused"},
		"actor=admin&action=token.created":  {"Token created", "Token copied"},
		"since=2026-11-23&until=2026-11-23": {"Token created", "No entry matches"},
		"until=2026-11-22":                  {"No entry matches", "Token created"},
		"since=2026-11-24":                  {"No entry matches", "Token created"},
		"since=yesterday&before=x":          {"Token created", "No entry matches"},
	} {
		_, body := v.get("/audit?" + query)
		if !strings.Contains(body, c.with) || strings.Contains(body, ">"+c.without) {
			t.Errorf("%s does not show %q alone", query, c.with)
		}
	}
	_, body = v.get("/audit?actor=o'neil&action=token.&outcome=ok&target=etl")
	shows(t, body, `manager audit list --actor &#39;o&#39;\&#39;&#39;neil&#39; --action token. --target etl --outcome ok`)
}

func TestAuditLoadsOlderEntries(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	for range 60 {
		h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"})
	}
	_, body := v.get("/audit?action=token.")
	_, link, found := strings.Cut(body, `class="button" href="/audit?`)
	if !found {
		t.Fatal("there is nothing older")
	}
	link, _, _ = strings.Cut(link, `"`)
	_, body = v.get("/audit?" + strings.ReplaceAll(link, "&amp;", "&"))
	if n := strings.Count(body, ">Token created<"); n != 10 {
		t.Errorf("the second page has %d entries", n)
	}
	lacks(t, body, "Load older")
}

func TestSettingsAreStagedReviewedAndApplied(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	_, body := v.get("/settings")
	shows(t, body, "api.access.tokens.store", "com.unraveldata.api.access.tokens.store", `<span class="value" translate="no">90d</span> <span class="meta">default</span>`, "Needs restart", "Live")
	lacks(t, body, "staged change", ">Staged<")
	_, body = v.post("/settings/stage", url.Values{"property": {"tokens.lifetime.default"}, "value": {" 30d "}})
	shows(t, body, "Staged. Nothing runs differently until you apply it.", "<b>1 staged change</b>", "Staged by admin, just now.", "Review and apply", `Settings <span class="count">1<`)
	_, body = v.post("/settings/stage", url.Values{"property": {"server.listen"}, "value": {"127.0.0.1:4000"}})
	shows(t, body, "<b>2 staged changes</b>. ")
	_, body = v.post("/settings/stage", url.Values{"property": {"log.level"}, "value": {"debug"}})
	shows(t, body, "<b>3 staged changes</b>, 1 needs a restart")
	_, body = v.get("/settings/review")
	shows(t, body, `<dialog id="review-dialog"`, ">90d (default)</td>", "<b>30d</b>", "at once, on trial", "<b>127.0.0.1:4000</b>", "next start", "can shut everybody out of this console. So all of this is applied on trial", `<a class="button primary" id="review" href="/settings/review">`, `href="/settings#review" data-close`, "manager config apply --trial 10m", ">Apply now</button>", "manager config diff")
	revision := between(t, body, `name="revision" value="`, `"`)
	status, body := v.post("/settings/apply", url.Values{"revision": {"99"}})
	if status != http.StatusConflict {
		t.Errorf("applying another revision answered %d", status)
	}
	shows(t, body, `<dialog id="review-dialog"`, `class="errors" role="alert"`)
	lacks(t, body, "Apply now")
	_, body = v.post("/settings/apply", url.Values{"revision": {revision}})
	shows(t, body, `role="alertdialog"`, "Keep these settings?", "They revert at 14:18 UTC.", "Waiting for restart", "Applied. Some of it takes effect at the next start.", `Applied with it, and reverting with it: <span class="id" translate="no">log.level, tokens.lifetime.default</span>`)
	_, body = v.post("/settings/trial", url.Values{"answer": {"keep"}})
	shows(t, body, "The settings are kept.")
	lacks(t, body, "alertdialog", "on trial")
	if _, body = v.get("/tokens"); !strings.Contains(squeeze(body), "1 more notice") {
		t.Error("with two notices the second one is not mentioned")
	}
	_, body = v.get("/tokens/new")
	shows(t, body, `<option value="30" selected>`)
	v.post("/settings/stage", url.Values{"property": {"tokens.copy"}, "value": {"never"}})
	_, body = v.post("/settings/apply", url.Values{"revision": {"0"}})
	shows(t, body, "Waiting for restart", ">Applied.</p>") // what waits was not part of it
	_, body = v.post("/settings/apply", url.Values{"revision": {"0"}})
	shows(t, body, "Nothing was staged, so nothing changed.")
	_, body = v.get("/settings/review")
	shows(t, body, "Nothing is staged, so there is nothing to apply.")
	v.post("/settings/stage", url.Values{"property": {"tokens.lifetime.default"}, "unset": {"1"}, "value": {"30d"}})
	_, body = v.get("/settings")
	shows(t, body, "<b>90d (default)</b>")
	_, body = v.post("/settings/discard", nil)
	shows(t, body, "What was staged was dropped.")
	lacks(t, body, "staged change")
}

func TestRefusedSettingKeepsItsInput(t *testing.T) {
	h := newHouse(t, map[string]string{"MINTMARK_LOG_LEVEL": "debug"}, withBook)
	v := h.signedIn(t)
	status, body := v.post("/settings/stage", url.Values{"property": {"tokens.lifetime.default"}, "value": {"a fortnight"}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("answered %d", status)
	}
	shows(t, body, "1 field needs attention", `href="#f-tokens.lifetime.default"`, `value="a fortnight"`, "“a fortnight” is not a duration", `id="e-tokens.lifetime.default"`, `aria-invalid="true"`)
	if status, _ = v.post("/settings/stage", url.Values{"property": {"no.such"}, "value": {"1"}}); status != http.StatusNotFound && status != http.StatusUnprocessableEntity {
		t.Errorf("an unknown property answered %d", status)
	}
	_, body = v.get("/settings?q=LOG.level")
	shows(t, body, "Read-only here: MINTMARK_LOG_LEVEL decides it.")
	lacks(t, body, "tokens.copy")
}

func TestStagedValuesThatDoNotAgreeAreAllNamed(t *testing.T) {
	h := newHouse(t, nil, withBook)
	v := h.signedIn(t)
	h.storeFault = errors.New("/srv/token.json: its folder can be written by others (0777)")
	v.post("/settings/stage", url.Values{"property": {"api.access.tokens.store"}, "value": {"/srv/token.json"}})
	status, body := v.get("/settings/review")
	if status != http.StatusUnprocessableEntity {
		t.Errorf("answered %d", status)
	}
	shows(t, body, `<b class="id">api.access.tokens.store</b> /srv/token.json: its folder can be written by others (0777)`)
	lacks(t, body, "Apply now")
}

func TestWithoutAHomeSettingsSaySo(t *testing.T) {
	v := newHouse(t, nil).signedIn(t)
	_, body := v.get("/settings")
	shows(t, body, "This server has no installation directory", "manager init DIR")
}

func TestStatusBeginsWithOneSentence(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	_, body := v.get("/status")
	shows(t, body, "1 thing needs attention.</h2>", "As of 23 Nov 2026, 14:08 UTC.", "token store</b> – attention", "What to do:", `<code translate="no">manager config properties set api.access.tokens.store /path/to/token.json</code>, then <code translate="no">manager config apply</code></span>`, "Tokens are kept in memory only; a restart deletes all 0", "Plain HTTP on 127.0.0.1:3000, which is this machine only", ">key_2026a, day 1 of 182<", "up 0 seconds", "manager doctor")
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user", Lifetime: time.Hour})
	h.allow("eyJhbGciOiJub25lIn0.e30.")
	_, body = v.get("/status")
	shows(t, body, "2 things need attention.</h2>")
	lacks(t, body, "since the start</dt><dd>none</dd>")
}

func TestAStoreOutOfReachIsSaidAndNothingIsHidden(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	id := string(h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"}).ID)
	h.store.problem = "no space left on /srv/token.json"
	_, body := v.get("/tokens")
	shows(t, body, "Changes cannot be written: no space left on /srv/token.json. New tokens and deletions are refused until they can.")
	lacks(t, body, "kept in memory only. Restarting")
	h.store.refuse = &authority.Error{Kind: authority.Full, Code: "store.full", Msg: "There is no space left."}
	status, body := v.post("/tokens", url.Values{"client_id": {"kept"}, "role": {"user"}, "expires": {"7"}})
	if status != http.StatusInsufficientStorage {
		t.Errorf("create answered %d", status)
	}
	shows(t, body, `value="kept"`, `id="new-dialog" aria-labelledby="new-title" open`, "Request req-1")
	status, body = v.post("/tokens/"+id+"/delete", nil)
	if status != http.StatusInsufficientStorage {
		t.Errorf("delete answered %d", status)
	}
	shows(t, body, "The token was not deleted: ", `<dialog id="delete-dialog"`)
	h.store.lose = &authority.Error{Kind: authority.Unavailable, Code: "store.unavailable", Msg: "The token store is out of reach."}
	status, body = v.get("/tokens?q=etl")
	if status != http.StatusServiceUnavailable {
		t.Errorf("the list answered %d", status)
	}
	shows(t, body, "The list could not be loaded: ", "Request req-1", `href="/tokens?q=etl">Try again</a>`, `id="new" href="/tokens/new"`)
	lacks(t, body, "No tokens yet", "Nothing matches")
}

func TestPrivateCausesStayPrivate(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.store.refuse = errors.New("private cause")
	for _, path := range []string{"/tokens", "/secret/reset"} {
		status, body := v.post(path, url.Values{"client_id": {"a"}, "role": {"user"}, "expires": {"7"}, "confirm": {"tokens-01"}})
		if status != http.StatusInternalServerError {
			t.Errorf("%s answered %d", path, status)
		}
		shows(t, body, "Something went wrong on the server.")
		lacks(t, body, "private cause")
	}
}

func between(t testing.TB, body, before, after string) string {
	t.Helper()
	_, rest, found := strings.Cut(body, before)
	rest, _, ended := strings.Cut(rest, after)
	if !found || !ended {
		t.Fatalf("there is nothing between %q and %q", before, after)
	}
	return rest
}
