package webui_test

import (
	"flag"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

var update = flag.Bool("update", false, "write the golden pages anew")

// rotate rotates with an overlap of 14 days.
func (v *visitor) rotate() string {
	v.t.Helper()
	status, body := v.post("/secret/rotate", url.Values{"overlap": {"336h0m0s"}, "reason": {"scheduled"}})
	if status != http.StatusOK || !strings.Contains(body, "key_2026b signs from now on.") {
		v.t.Fatalf("rotating answered %d", status)
	}
	return body
}

// copyNew answers the same token under the key that signs now.
func (v *visitor) copyNew(id authority.TokenID) string {
	v.t.Helper()
	answer, text := v.plain("/secret/copy/" + string(id))
	if answer.StatusCode != http.StatusOK {
		v.t.Fatalf("copying answered %d %s", answer.StatusCode, text)
	}
	return text
}

func (h *house) use(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if v := h.live.Decide(text, liveset.Demand{}); !v.Allow() {
			t.Fatalf("the token is %s", v.Reason)
		}
	}
}

// later moves the clock and keeps the session alive.
func (h *house) later(v *visitor, d time.Duration) {
	v.t.Helper()
	h.clock.Add(int64(d))
	v.signIn(adminPassword)
}

func TestRotateDialogSaysWhatEachOverlapMeans(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"})
	_, body := v.get("/secret/rotate")
	shows(t, body, `<dialog id="rotate-dialog" aria-labelledby="rotate-title" open data-modal>`, "Rotate the signing secret?", `value="scheduled">Scheduled`, `value="suspected leak">Suspected leak`, `value="someone left"`,
		"<b>None – leak</b> <span>1 token fails at once; every sign-in ends, yours included.", "<b>24 hours</b> <span>until Tue 24 Nov 2026, 14:08 UTC: you deploy daily", `value="336h0m0s" data-says="key_2026a is accepted until Mon 7 Dec 2026, 14:08 UTC.`,
		"<b>30 days</b>", "<b>Until a date</b>", "key_2026a is accepted until Mon 7 Dec 2026, 14:08 UTC. New tokens are signed with the new secret immediately. You stay signed in.", `Type <b translate="no">tokens-01</b>`,
		"manager key rotate --overlap 14d", `href="/secret#rotate" data-close>Cancel</a>`)
	if !regexp.MustCompile(`value="336h0m0s"[^>]* checked`).MatchString(body) || strings.Count(body, " checked") != 1 {
		t.Error("14 days is not what is chosen")
	}
	h = newHouse(t, map[string]string{"MINTMARK_TOKENS_LIFETIME_MAX": "20d", "MINTMARK_KEYS_OVERLAP_DEFAULT": "10d", "MINTMARK_TOKENS_LIFETIME_DEFAULT": "20d"})
	_, body = h.signedIn(t).get("/secret/rotate")
	shows(t, body, ": the usual</span>", "At most 20 days, because no token lives longer.", "manager key rotate --overlap 10d")
	lacks(t, body, "<b>30 days</b>")
}

func TestARotationKeepsEverybodyAndTheNextOneWaits(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	text := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"}).Text.Unsafe()
	h.clock.Add(int64(6 * time.Minute))
	body := v.rotate()
	shows(t, body, "key_2026a is accepted until 7 Dec 2026, 14:14 UTC.", "previous · verifies only <span class=\"second\">until Mon 7 Dec 2026, 14:14 UTC</span> <span class=\"second\">reason: Scheduled", "14 days left",
		`<button type="button" disabled aria-describedby="wait">Rotate secret…</button>`, "Finish this rotation first", "Extend…", "Trial stop 15 min…", "Stop accepting previous secret…", "Reset without overlap (leak)", "key evidence")
	lacks(t, body, "published only just before")
	h.use(t, text)
	status, body := v.post("/secret/rotate", url.Values{"overlap": {"24h0m0s"}})
	if status != http.StatusConflict {
		t.Errorf("a second rotation answered %d", status)
	}
	shows(t, body, "Finish this rotation first: key_2026a is accepted until")
}

func TestAFreshNextSecretIsWarnedOf(t *testing.T) {
	body := newHouse(t, nil).signedIn(t).rotate()
	shows(t, body, "The new secret was published only just before")
}

func TestARotationIsRefusedWithItsInputKept(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	for name, c := range map[string]struct {
		form url.Values
		want []string
	}{
		"nothing chosen":   {url.Values{"overlap": {"soon"}}, []string{"Choose how long the previous secret is accepted.", `href="#f-overlap"`}},
		"no date":          {url.Values{"overlap": {"date"}}, []string{"Choose a date.", `id="e-date"`}},
		"a day gone by":    {url.Values{"overlap": {"date"}, "date": {"2026-11-22"}, "reason": {"other"}, "other": {"moving house"}}, []string{"Choose a date after today.", `value="2026-11-22"`, `value="moving house"`}},
		"too long":         {url.Values{"overlap": {"date"}, "date": {"2030-01-01"}}, []string{"so an overlap is no longer, either."}},
		"another host":     {url.Values{"overlap": {"none"}, "confirm": {"tokens-02"}}, []string{"That is not the host name.", `value="none" data-says="0 tokens`}},
		"a leak unnamed":   {url.Values{"overlap": {"none"}}, []string{"That is not the host name."}},
		"too long a story": {url.Values{"overlap": {"24h0m0s"}, "reason": {"other"}, "other": {strings.Repeat("a", 300)}}, []string{`href="#f-reason"`}},
	} {
		status, body := v.post("/secret/rotate", c.form)
		if status != http.StatusUnprocessableEntity {
			t.Errorf("%s: answered %d", name, status)
		}
		shows(t, body, append(c.want, `<dialog id="rotate-dialog"`)...)
	}
	if keys, err := h.authority.Keys(t.Context(), operator()); err != nil || len(keys) != 2 {
		t.Errorf("there are %d keys, %v", len(keys), err)
	}
}

func TestNoOverlapIsAReset(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	text := h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"}).Text.Unsafe()
	_, body := v.post("/secret/rotate", url.Values{"overlap": {"none"}, "confirm": {"tokens-01"}, "reason": {"suspected leak"}, "other": {"laptop"}})
	shows(t, body, "The signing secret was reset, so all sign-ins ended.")
	if h.allow(text) {
		t.Error("the token still works")
	}
	page, err := h.authority.Audit(t.Context(), operator(), authority.AuditQuery{Action: "keys.reset"})
	if err != nil || len(page.Events) != 1 || page.Events[0].Detail["reason"] != "suspected leak: laptop" {
		t.Errorf("%+v, %v", page.Events, err)
	}
}

func TestWhatIsDangerousAsksForARecentPasswordFirst(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.clock.Add(int64(16 * time.Minute))
	for _, path := range []string{"/secret/rotate", "/secret/reset"} {
		_, body := v.get(path)
		shows(t, body, "Enter your password again", `name="next" value="`+path+`"`)
	}
	_, body := v.post("/secret/rotate", url.Values{"overlap": {"24h0m0s"}})
	shows(t, body, "Enter your password again", `name="next" value="/secret/rotate"`)
	_, body = v.post("/reauth", url.Values{"password": {adminPassword}, "next": {"/secret/rotate"}})
	shows(t, body, `<dialog id="rotate-dialog"`)
	v.rotate()
	h.clock.Add(int64(16 * time.Minute))
	for _, path := range []string{"/secret/stop", "/secret/evidence.csv"} {
		_, body := v.get(path)
		shows(t, body, "Enter your password again", `name="next" value="`+path+`"`)
	}
	_, body = v.post("/secret/stop", nil)
	shows(t, body, "Enter your password again")
}

func TestWithoutARotationItsDialogsSayWhy(t *testing.T) {
	v := newHouse(t, nil).signedIn(t)
	for _, path := range []string{"/secret/extend", "/secret/trial", "/secret/stop", "/secret/evidence.csv", "/secret/trial/refused"} {
		status, body := v.get(path)
		if status != http.StatusConflict {
			t.Errorf("%s answered %d", path, status)
		}
		shows(t, body, "No rotation is under way")
	}
	for _, path := range []string{"/secret/extend", "/secret/trial", "/secret/stop", "/secret/trial/end"} {
		if status, _ := v.post(path, nil); status != http.StatusConflict {
			t.Errorf("POST %s answered %d", path, status)
		}
	}
}

// moving is a rotation two days old with one token in each state.
func moving(t *testing.T, h *house, v *visitor) map[string]authority.Issued {
	t.Helper()
	made := make(map[string]authority.Issued)
	for _, name := range []string{"mixed", "moved", "silent", "stays"} {
		made[name] = h.issue(t, authority.TokenRequest{ClientID: name, Role: "user", Contact: name + "@corp.example"})
	}
	h.later(v, 6*time.Minute)
	v.rotate()
	h.later(v, 2*day)
	old := func(name string) string { return made[name].Text.Unsafe() }
	h.use(t, old("stays"), old("mixed"), old("moved"))
	h.clock.Add(int64(time.Minute))
	h.use(t, v.copyNew(made["mixed"].ID), v.copyNew(made["moved"].ID))
	h.clock.Add(int64(time.Minute))
	h.use(t, old("mixed"))
	h.later(v, 25*time.Hour)
	h.use(t, old("mixed"), v.copyNew(made["moved"].ID))
	h.clock.Add(int64(4 * time.Minute))
	return made
}

const day = 24 * time.Hour

// dependents are the client IDs of the evidence, in its order.
func dependents(body string) string {
	_, table, _ := strings.Cut(body, `class="list evidence"`)
	table, _, _ = strings.Cut(table, "</table>")
	var names []string
	for _, found := range regexp.MustCompile(`<bdi translate="no">([^<]+)</bdi>`).FindAllStringSubmatch(table, -1) {
		names = append(names, found[1])
	}
	return strings.Join(names, " ")
}

func TestEvidenceNamesWhoHasNotMoved(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	made := moving(t, h, v)
	for path, want := range map[string]string{
		"/secret": "stays mixed silent", "/secret?state=moved": "moved", "/secret?state=silent": "silent", "/secret?state=not_moved": "stays",
		"/secret?sort=client": "mixed silent stays", "/secret?sort=last": "mixed stays silent", "/secret?sort=%3Cb%3E&state=%3Cb%3E": "stays mixed silent",
	} {
		_, body := v.get(path)
		if got := dependents(body); got != want {
			t.Errorf("%s shows %q, want %q", path, got, want)
		}
		if strings.Count(body, "aria-sort") != 1 {
			t.Errorf("%s does not say by what it is sorted", path)
		}
	}
	_, body := v.get("/secret")
	shows(t, body, "<b>2 of 4 clients</b> still arrive under the previous secret. Last: 4 minutes ago.", "Silence is not proof: monthly jobs look like this.", "Services that check tokens by themselves are not seen here.",
		"All but moved 3", "Moved 1", "Evidence as of 15:20:00 UTC", "export CSV", "Copy new token of stays", "Mark contacted: stays", "11 days left", "stays@corp.example")
	_, body = v.post("/secret/copy/"+string(made["stays"].ID), nil)
	if textIn(body) != v.copyNew(made["stays"].ID) {
		t.Error("without script the token is not shown")
	}
	shows(t, body, "<h1>Signing secret</h1>", `href="/secret#`+string(made["stays"].ID)+`" data-close>Done</a>`)
}

func TestEvidenceCanBeTakenAway(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	made := moving(t, h, v)
	if _, err := h.authority.MarkContacted(t.Context(), operator(), made["stays"].ID, "=cmd()"); err != nil {
		t.Fatal(err)
	}
	h.later(v, 0)
	answer, body := v.do(v.request(http.MethodGet, "/secret/evidence.csv", ""))
	if got := answer.Header.Get("Content-Disposition"); got != `attachment; filename="evidence-key_2026a.csv"` {
		t.Errorf("it is a file %s", got)
	}
	lines := strings.Split(strings.TrimSpace(body), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "stays,"+string(made["stays"].ID)+",not_moved,2026-11-25T14:14:00Z,,,,0,stays@corp.example,2026-11-26T15:20:00Z,root@tokens-01,'=cmd()") {
		t.Errorf("it says\n%s", body)
	}
}

func TestWhoeverWasToldIsNoted(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	id := string(moving(t, h, v)["stays"].ID)
	_, body := v.get("/secret/contact/" + id)
	shows(t, body, "Mark stays as contacted</h2>", "Contact: <span translate=\"no\">stays@corp.example</span>.", `href="/secret#`+id+`" data-close`)
	status, body := v.post("/secret/contact/"+id, url.Values{"note": {strings.Repeat("a", 300)}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("too long a note answered %d", status)
	}
	shows(t, body, `href="#f-note"`)
	_, body = v.post("/secret/contact/"+id, url.Values{"note": {"mailed <them>"}})
	shows(t, body, "It is noted that stays was contacted.", "told 26 Nov 2026 by admin: mailed &lt;them&gt;")
}

func TestTrialStopNamesWhoIsRefusedAndEndsByItself(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	made := moving(t, h, v)
	_, body := v.get("/secret/trial")
	shows(t, body, "Refuse key_2026a for 15 minutes?", "<b>2 clients</b> still arrive under key_2026a and will be refused with 401:", "1 client is silent since the rotation, which is no proof.",
		`Type <b translate="no">key_2026a</b> to continue`, `<dialog id="trial-dialog" role="dialog"`, "manager key trial-stop --for 15m")
	status, body := v.post("/secret/trial", url.Values{"confirm": {"key_2026b"}})
	if status != http.StatusUnprocessableEntity || !h.allow(made["stays"].Text.Unsafe()) {
		t.Errorf("another name answered %d", status)
	}
	shows(t, body, "That is not the name of the key.")
	_, body = v.post("/secret/trial", url.Values{"confirm": {"key_2026a"}})
	shows(t, body, "key_2026a is refused for 15 minutes and then accepted again by itself.", "Trial stop: key_2026a is refused until 15:35:00 UTC", "Nothing has been refused so far.", `aria-live="polite"`, "Accept again now")
	lacks(t, body, `href="/secret/trial"`)
	for range 2 {
		if h.allow(made["stays"].Text.Unsafe()) {
			t.Fatal("the previous key is not refused")
		}
	}
	h.allow(made["mixed"].Text.Unsafe())
	_, said := v.get("/secret/trial/refused")
	for _, want := range []string{"3 requests of 2 tokens were refused: ", "stays 2", "mixed 1"} {
		if !strings.Contains(said, want) {
			t.Errorf("it says %q", said)
		}
	}
	_, body = v.post("/secret/trial/end", nil)
	shows(t, body, "key_2026a is accepted again.", "refused 2 times on trial")
	h.use(t, made["stays"].Text.Unsafe())
	v.post("/secret/trial", url.Values{"confirm": {"key_2026a"}})
	h.clock.Add(int64(15 * time.Minute))
	h.use(t, made["stays"].Text.Unsafe())
	if status, _ := v.get("/secret/trial/refused"); status != http.StatusNoContent {
		t.Errorf("once it is over it answers %d", status)
	}
}

func TestExtendingNamesTheNewEnd(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	v.rotate()
	_, body := v.get("/secret/extend")
	shows(t, body, "Accept key_2026a for longer?", "It is accepted until Mon 7 Dec 2026, 14:08 UTC.", "<b>7 days</b> <span>until Mon 14 Dec 2026, 14:08 UTC</span>")
	_, body = v.post("/secret/extend", url.Values{"overlap": {"168h0m0s"}})
	shows(t, body, "key_2026a is accepted until 14 Dec 2026, 14:08 UTC.")
	status, body := v.post("/secret/extend", url.Values{"overlap": {"date"}, "date": {"2026-12-01"}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("an earlier end answered %d", status)
	}
	shows(t, body, "give a later time", `<dialog id="extend-dialog"`, `value="2026-12-01"`)
	_, body = v.post("/secret/extend", url.Values{"overlap": {"date"}, "date": {"2026-12-31"}, "offset": {"-60"}})
	shows(t, body, "key_2026a is accepted until 31 Dec 2026, 22:59 UTC.")
}

func TestStoppingEndsThePreviousKeyAndNotTheSession(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"})
	other := h.visitor(t)
	other.signIn(adminPassword)
	v.rotate()
	h.use(t, old.Text.Unsafe())
	_, body := v.get("/secret/stop")
	shows(t, body, "Stop accepting key_2026a?", "<b>1 client</b> still arrives under key_2026a and will be refused with 401:", `Type <b translate="no">key_2026a</b>`, "manager key retire --confirm key_2026a")
	status, _ := v.post("/secret/stop", nil)
	if status != http.StatusUnprocessableEntity {
		t.Errorf("without its name it answered %d", status)
	}
	_, body = v.post("/secret/stop", url.Values{"confirm": {"key_2026a"}})
	shows(t, body, "The previous secret is not accepted any more, for good.", `id="rotate" href="/secret/rotate"`)
	lacks(t, body, "key_2026a", "Extend…")
	if h.allow(old.Text.Unsafe()) {
		t.Error("the token still works")
	}
	_, body = other.get("/audit")
	shows(t, body, "<h1>Sign in</h1>", "The signing secret was rotated, and the one before is not accepted any more.")
}

func TestWithoutUseStoppingAsksForNoName(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	v.rotate()
	_, body := v.get("/secret")
	shows(t, body, "Nobody has used the previous secret since 23 Nov 2026, 14:08 UTC. You can stop accepting it.", "#i-check")
	_, body = v.get("/secret/stop")
	shows(t, body, `role="alertdialog"`, "Nobody is known to depend on key_2026a.", ">Cancel</a>")
	lacks(t, body, "to continue</label>")
	_, body = v.post("/secret/stop", nil)
	shows(t, body, "The previous secret is not accepted any more, for good.")
}

// TestGoldenEvidence holds the page in each of the four states of a token.
func TestGoldenEvidence(t *testing.T) {
	for name, act := range map[string]func(h *house, v *visitor, made authority.Issued){
		"not_moved": func(h *house, _ *visitor, made authority.Issued) { h.use(t, made.Text.Unsafe()) },
		"mixed": func(h *house, v *visitor, made authority.Issued) {
			h.use(t, made.Text.Unsafe(), v.copyNew(made.ID))
			h.clock.Add(int64(time.Minute))
			h.use(t, made.Text.Unsafe())
		},
		"silent": func(*house, *visitor, authority.Issued) {},
		"moved": func(h *house, v *visitor, made authority.Issued) {
			h.use(t, made.Text.Unsafe())
			h.clock.Add(int64(time.Minute))
			h.use(t, v.copyNew(made.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			v := h.signedIn(t)
			made := h.issue(t, authority.TokenRequest{ClientID: "etl-nightly", Role: "user", Contact: "data@corp.example"})
			h.later(v, 6*time.Minute)
			v.rotate()
			h.later(v, 7*day)
			act(h, v, made)
			h.clock.Add(int64(4 * time.Minute))
			path := "/secret"
			if name == "moved" {
				path += "?state=moved"
			}
			_, body := v.get(path)
			golden(t, "evidence-"+name, body)
		})
	}
}

// A token that is used under both secrets is used under neither alone.
func TestMixedUseIsNeverAllOfIt(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	made := h.issue(t, authority.TokenRequest{ClientID: "etl-nightly", Role: "user"})
	h.later(v, 6*time.Minute)
	v.rotate()
	h.later(v, day)
	h.use(t, v.copyNew(made.ID))
	h.clock.Add(int64(time.Minute))
	h.use(t, slices.Repeat([]string{made.Text.Unsafe()}, 400)...)
	_, body := v.get("/secret")
	shows(t, body, "Mixed", "99 %")
}

// golden compares the content of a page with what is stored; what is random in
// it is numbered.
func golden(t *testing.T, name, body string) {
	t.Helper()
	_, body, found := strings.Cut(body, `<main id="main" tabindex="-1">`)
	body, _, ended := strings.Cut(body, "</main>")
	if !found || !ended {
		t.Fatal("the page has no content")
	}
	seen := make(map[string]string)
	random := regexp.MustCompile(`tok_[0-9a-z]{8,26}|[\w-]{43}\b|d="M0 14[^"]*"|/static/[0-9a-f]+`)
	body = random.ReplaceAllStringFunc(body, func(s string) string {
		if seen[s] == "" {
			seen[s] = "(" + strconv.Itoa(len(seen)+1) + ")"
		}
		return seen[s]
	})
	if strings.Contains(body, "eyJ") {
		t.Error("the page holds a token")
	}
	path := "testdata/" + name + ".html"
	if *update {
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), body); diff != "" {
		t.Errorf("the page is another; write it with -update (-stored +served):\n%s", diff)
	}
}

// heard is a ledger that has read what other nodes have saved.
type heard struct {
	authority.Ledger
	at time.Time
}

func (l heard) State() authority.LedgerState { return authority.LedgerState{Others: l.at} }

func TestEvidenceOfSeveralNodesSaysHowFarItReaches(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"})
	v.post("/secret/rotate", url.Values{"overlap": {"336h0m0s"}, "reason": {"other"}, "other": {"moving <b>house</b>"}})
	_, body := v.get("/secret")
	shows(t, body, "reason: moving &lt;b&gt;house&lt;/b&gt;")
	lacks(t, body, "other nodes")
	h.authority.Ledger = heard{h.authority.Ledger, h.now().Add(-3 * time.Second)}
	_, body = v.get("/secret")
	shows(t, body, "· what other nodes have saved, as of 14:07:57 UTC ·")
}
