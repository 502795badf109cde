package webui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

func TestTheDialogAsksForWhatTheManualNames(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user", Tags: []string{"team:data"}})
	_, body := v.get("/tokens/new")
	shows(t, body, `<dialog id="new-dialog" aria-labelledby="new-title" open data-modal`, "New API Token</h2>", ">Client ID <", "<b>Admin</b>", "<b>User</b>", "<b>Verifier</b>",
		`value="user" checked`, `<option value="90" selected>in 90 days`, "on a date…", `<option value="never">never`, ">Create</button>", ">Cancel</a>",
		"Can read and change everything, including other tokens.", "This token carries no tags.", "Tags do not limit", `<option value="team:data"></option>`,
		"Yours is 127.0.0.1.", `data-mine="127.0.0.1"`, "this one ends when the server restarts", "From the shell", `id="f-client_id" name="client_id"`)
}

func TestExpiryIsWhatWasChosen(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	now := h.now()
	for name, c := range map[string]struct {
		form url.Values
		want string // what the result says
	}{
		"preset":                 {url.Values{"expires": {"30"}}, now.AddDate(0, 0, 30).Format("2 Jan 2006, 15:04 UTC") + ", in 30 days"},
		"never":                  {url.Values{"expires": {"never"}}, "Never. You will have to remember to replace it."},
		"end of a day in UTC":    {url.Values{"expires": {"date"}, "date": {"2027-02-21"}}, "21 Feb 2027, 23:59 UTC"},
		"end of a day in Berlin": {url.Values{"expires": {"date"}, "date": {"2027-02-21"}, "offset": {"-60"}}, "21 Feb 2027, 22:59 UTC"},
		"end of a day in Honolulu, which is in the next of UTC": {url.Values{"expires": {"date"}, "date": {"2027-02-21"}, "offset": {"600"}}, "22 Feb 2027, 09:59 UTC"},
		"an offset that no zone has":                            {url.Values{"expires": {"date"}, "date": {"2027-02-21"}, "offset": {"-90000"}}, "21 Feb 2027, 23:59 UTC"},
		"an offset that is none":                                {url.Values{"expires": {"date"}, "date": {"2027-02-21"}, "offset": {"x"}}, "21 Feb 2027, 23:59 UTC"},
	} {
		c.form.Set("client_id", "etl")
		c.form.Set("role", "user")
		status, body := v.post("/tokens", c.form)
		if status != http.StatusCreated {
			t.Errorf("%s: answered %d", name, status)
		}
		shows(t, body, "<dt>Expires</dt><dd>"+c.want)
	}
}

func TestEveryFaultSaysWhatAndHow(t *testing.T) {
	h := newHouse(t, map[string]string{"MINTMARK_TOKENS_LIFETIME_MAX": "180d"})
	v := h.signedIn(t)
	_, body := v.get("/tokens/new")
	lacks(t, body, `<option value="365"`, `<option value="never"`)
	good := url.Values{"client_id": {"etl"}, "role": {"user"}, "expires": {"90"}}
	for name, c := range map[string]struct {
		field, value string
		want         []string
	}{
		"no client ID":        {"client_id", " ", []string{"1 field needs attention", "Enter a client ID.", `href="#f-client_id"`, `aria-invalid="true" aria-describedby="e-client_id client-hint"`}},
		"a space":             {"client_id", "data team", []string{"contains a space", `value="data team"`}},
		"too long":            {"client_id", strings.Repeat("a", 71), []string{"64 characters at most; this has 71."}},
		"no role":             {"role", "root", []string{`href="#f-role"`, `id="f-role"`, `id="e-role"`}},
		"a tag without value": {"tags", "team", []string{`href="#f-tags"`, `value="team"`}},
		"no such choice":      {"expires", "soon", []string{"Choose when the token expires.", `href="#f-lifetime"`}},
		"beyond policy":       {"expires", "365", []string{"Policy allows 180 days at most (22 May 2027)."}},
		"never":               {"expires", "never", []string{"Policy does not allow tokens that never expire."}},
		"no date":             {"expires", "date", []string{"Choose a date.", `href="#f-expires_at"`, `<option value="date" selected>`}},
		"no address range":    {"allowed_addresses", "10.2.0.0/16\n10.2.0.0/40", []string{"10.2.0.0/40", `<details class="more" open>`, `href="#f-allowed_addresses"`}},
	} {
		form := url.Values{}
		for k, value := range good {
			form[k] = value
		}
		form.Set(c.field, c.value)
		status, body := v.post("/tokens", form)
		if status != http.StatusUnprocessableEntity {
			t.Errorf("%s: answered %d", name, status)
		}
		shows(t, body, append(c.want, `role="alert"`, `id="new-dialog" aria-labelledby="new-title" open`, "Request req-1")...)
	}
	past := url.Values{"client_id": {"etl"}, "role": {"user"}, "expires": {"date"}, "date": {"2026-11-22"}}
	_, body = v.post("/tokens", past)
	shows(t, body, "Choose a date after today.", `value="2026-11-22"`)
}

func TestTagsBelongToUsersAlone(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	_, body := v.post("/tokens", url.Values{"client_id": {"a"}, "role": {"admin"}, "tags": {"team:data"}, "expires": {"7"}})
	shows(t, body, "Token created for a")
	lacks(t, body, "<dt>Tags</dt>")
	_, body = v.post("/tokens", url.Values{"client_id": {"b"}, "role": {"user"}, "tags": {" team:data,env:prod\nteam:web "}, "expires": {"7"}})
	shows(t, body, "<dd translate=\"no\">team:data, env:prod, team:web</dd>", "manager token create --client-id b --role user --tag team:data --tag env:prod --tag team:web --expires 7d")
	_, body = v.post("/tokens", url.Values{"client_id": {"c"}, "role": {"user"}, "expires": {"7"}})
	shows(t, body, "This token carries no tags.")
}

func TestSentTwiceMakesOneTokenAndChangedMakesAnother(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	form := url.Values{"client_id": {"a"}, "role": {"user"}, "expires": {"7"}, "key": {"once"}}
	_, first := v.post("/tokens", form)
	_, second := v.post("/tokens", form)
	if textIn(first) == "" || textIn(first) != textIn(second) {
		t.Fatal("the same form made two tokens")
	}
	form.Set("client_id", "b")
	status, body := v.post("/tokens", form)
	if status != http.StatusConflict {
		t.Errorf("another request of the same form answered %d", status)
	}
	shows(t, body, "This form has already made a token. Press Create again to make another one.", `value="b"`)
	lacks(t, body, `name="key" value="once"`)
	_, body = v.get("/tokens")
	if got := rows(body); got != "a" {
		t.Errorf("the list shows %q", got)
	}
}

func TestResultOffersEveryWayToKeepIt(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	_, body := v.post("/tokens", url.Values{"client_id": {"etl"}, "role": {"user"}, "expires": {"90"}})
	shows(t, body, `<h2 id="result-title" tabindex="-1" autofocus>Token created for etl</h2>`, "data-copy-text", `data-download="etl.token"`, "Copy as curl", "data-print", ">Done</a>",
		"curl -H &#34;Authorization: Bearer $(cat etl.token)&#34; ", "You can copy it again from the list at any time.", "this one ends when the server restarts")
	if strings.Count(body, textIn(body)) != 1 {
		t.Error("the token is on the page more than once")
	}
}

func TestPolicyNeverShowsATokenOnce(t *testing.T) {
	h := newHouse(t, map[string]string{"MINTMARK_TOKENS_COPY": "never"})
	v := h.signedIn(t)
	_, body := v.post("/tokens", url.Values{"client_id": {"etl"}, "role": {"user"}, "expires": {"90"}})
	shows(t, body, "This is the only time it is shown.", "data-single", "Close without copying? The token is not shown again.", "shown once")
	lacks(t, body, "Copy token of etl")
	id := idIn(t, body)
	status, body := v.post("/tokens/"+id+"/reveal", nil)
	if status != http.StatusForbidden || textIn(body) != "" {
		t.Errorf("a copy against policy answered %d", status)
	}
	shows(t, body, "Policy shows a token once")
}

func TestPolicyReauthAsksForThePasswordFirst(t *testing.T) {
	h := newHouse(t, map[string]string{"MINTMARK_TOKENS_COPY": "reauth"})
	v := h.signedIn(t)
	id := string(h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"}).ID)
	_, body := v.get("/tokens")
	shows(t, body, ` data-copy>`)
	h.clock.Add(int64(16 * time.Minute))
	_, body = v.get("/tokens")
	lacks(t, body, ` data-copy>`) // the form leads to the password instead
	answer, text := v.plain("/tokens/" + id + "/reveal")
	if answer.StatusCode != http.StatusForbidden || strings.HasPrefix(text, "eyJ") {
		t.Errorf("script's copy answered %d", answer.StatusCode)
	}
	_, body = v.post("/tokens/"+id+"/reveal", nil)
	shows(t, body, "Enter your password again", "in the last 15 minutes", `name="next" value="/tokens/`+id+`"`)
	status, body := v.post("/reauth", url.Values{"password": {"not the password at all"}, "next": {"/tokens/" + id}})
	if status != http.StatusUnauthorized {
		t.Errorf("a wrong password answered %d", status)
	}
	shows(t, body, "do not match")
	_, body = v.post("/reauth", url.Values{"password": {adminPassword}, "next": {"/tokens/" + id}})
	shows(t, body, "<dt>ID</dt><dd class=\"id\" translate=\"no\">"+id)
	if answer, text = v.plain("/tokens/" + id + "/reveal"); answer.StatusCode != http.StatusOK || !strings.HasPrefix(text, "eyJ") {
		t.Errorf("copy after the password answered %d", answer.StatusCode)
	}
	if cc := answer.Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("the token's text may be kept: %q", cc)
	}
}

func TestDeleteWeighsTheEvidence(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	made := variety(t, h)
	page := func(client string) string {
		_, body := v.get("/tokens/" + string(made[client].ID) + "/delete")
		_, dialog, _ := strings.Cut(body, `<dialog id="delete-dialog"`)
		dialog, _, _ = strings.Cut(dialog, "</dialog>")
		return dialog
	}
	unused := page("alpha")
	shows(t, unused, `role="alertdialog"`, "Delete the token of alpha?", made["alpha"].ID.Short(), "It has never been used. You can restore it for 1 hour.",
		">Delete token</button>", `data-close autofocus>Cancel`, "delete for good (no restore)", "manager token delete "+made["alpha"].ID.Short())
	lacks(t, unused, "to delete</label>", "Are you sure")
	used := page("bravo")
	shows(t, used, `role="dialog"`, "<b>Used just now</b>", "refused at once with 401.", `Type <b translate="no">bravo</b> to delete`, "--confirm bravo")
	shows(t, page("short"), "It has expired.")
	h.clock.Add(int64(25 * time.Hour))
	if !h.live.Decide(made["alpha"].Text.Unsafe(), liveset.Demand{}).Allow() {
		t.Fatal("alpha does not work")
	}
	v.signIn(adminPassword)
	shows(t, page("bravo"), `role="alertdialog"`, "It was last used 1 day ago.")
	shows(t, page("alpha"), `role="dialog"`)
}

func TestDeleteAndRestoreComeBackToTheFilteredList(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	made := variety(t, h)
	id := string(made["charlie"].ID)
	_, body := v.get("/tokens/" + id + "/delete?role=verifier")
	shows(t, body, `action="/tokens/`+id+`/delete?role=verifier"`, `href="/tokens?role=verifier#`+id+`"`)
	answer, body := v.send("/tokens/"+id+"/delete?role=verifier", nil)
	if got := answer.Request.URL.RequestURI(); got != "/tokens?done=deleted&id="+id+"&role=verifier" {
		t.Errorf("the delete leads to %s", got)
	}
	shows(t, body, "The token of charlie was deleted.", "until 23 Nov 2026, 15:08 UTC", `action="/tokens/`+id+`/restore"`, `role="status"`, "Nothing matches")
	if status, _ := v.post("/tokens/"+id+"/delete", nil); status != http.StatusOK {
		t.Errorf("a second delete answered %d", status)
	}
	// The notice follows the record, not the address.
	_, body = v.get("/tokens?done=restored&id=" + id)
	lacks(t, body, "works again")
	_, body = v.post("/tokens/"+id+"/restore", nil)
	shows(t, body, "The token of charlie works again.")
	_, body = v.get("/tokens?done=deleted&id=" + id)
	lacks(t, body, "was deleted")
	_, body = v.post("/tokens/"+id+"/delete", url.Values{"leaked": {"1"}})
	shows(t, body, "The token of charlie was deleted. It cannot be restored.")
	lacks(t, body, ">Restore<")
	status, body := v.post("/tokens/"+id+"/restore", nil)
	if status != http.StatusConflict {
		t.Errorf("restoring what may have leaked answered %d", status)
	}
	shows(t, body, "deleted for good")
}

func TestUnknownTokensAreNotFound(t *testing.T) {
	v := newHouse(t, nil).signedIn(t)
	unknown := "tok_" + strings.Repeat("a", 26)
	for _, path := range []string{"/tokens/" + unknown, "/tokens/" + unknown + "/delete", "/tokens/nonsense", "/tokens/nonsense/delete"} {
		if status, body := v.get(path); status != http.StatusNotFound || !strings.Contains(body, "Go to API Tokens") {
			t.Errorf("%s answered %d", path, status)
		}
	}
	for _, verb := range []string{"reveal", "delete", "restore"} {
		if status, _ := v.post("/tokens/"+unknown+"/"+verb, nil); status != http.StatusNotFound {
			t.Errorf("%s answered %d", verb, status)
		}
	}
}

func TestDetailShowsEverythingButTheToken(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	issued := h.issue(t, authority.TokenRequest{
		ClientID: "etl", Role: "user", Tags: []string{"team:data", "env:prod", "tier:gold"}, Description: "Nightly load", Contact: "data@corp.example",
		AllowedAddresses: []string{"10.2.0.0/16"}, Lifetime: 9 * 24 * time.Hour,
	})
	_, body := v.get("/tokens/" + string(issued.ID))
	shows(t, body, string(issued.ID), "tier:gold", "Nightly load", "data@corp.example", "10.2.0.0/16", "by root@tokens-01", "key_2026a", string(issued.KeyID), "<dt>Last used</dt><dd>Never</dd>",
		"&#34;client_id&#34;: &#34;etl&#34;", "at&#43;jwt", "(signature not shown)", "Token created", "token.created", "in 9 days", "manager token show "+issued.ID.Short(), `id="text-dialog"`)
	parts := strings.Split(issued.Text.Unsafe(), ".")
	lacks(t, body, parts[1], parts[2])
	if _, err := h.authority.RevokeToken(t.Context(), operator(), issued.ID, false); err != nil {
		t.Fatal(err)
	}
	_, body = v.get("/tokens/" + string(issued.ID))
	shows(t, body, "Deleted 23 Nov 2026, 14:08 UTC by root@tokens-01. It can be restored until 23 Nov 2026, 15:08 UTC.", ">Restore</button>")
	lacks(t, body, "Copy token of", ">Delete…")
}
