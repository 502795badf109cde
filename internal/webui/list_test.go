package webui_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// squeeze makes a page comparable: one space wherever there is any.
func squeeze(body string) string { return strings.Join(strings.Fields(body), " ") }

func shows(t *testing.T, body string, want ...string) {
	t.Helper()
	body = squeeze(body)
	for _, w := range want {
		if !strings.Contains(body, w) {
			t.Errorf("the page lacks %q", w)
		}
	}
}

func lacks(t *testing.T, body string, unwanted ...string) {
	t.Helper()
	body = squeeze(body)
	for _, w := range unwanted {
		if strings.Contains(body, w) {
			t.Errorf("the page has %q", w)
		}
	}
}

// rows are the client IDs of the list, in its order.
func rows(body string) string {
	var ids []string
	for _, found := range regexp.MustCompile(`<tr id="tok_[^>]* data-client="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		ids = append(ids, found[1])
	}
	return strings.Join(ids, " ")
}

// variety fills a house with one token in each state, and one in use.
func variety(t *testing.T, h *house) map[string]authority.Issued {
	t.Helper()
	made := make(map[string]authority.Issued)
	for _, r := range []authority.TokenRequest{
		{ClientID: "alpha", Role: "admin", Description: "Administration", Never: true},
		{ClientID: "bravo", Role: "user", Tags: []string{"team:data", "env:prod", "tier:gold", "zone:a"}, Lifetime: 9 * 24 * time.Hour},
		{ClientID: "charlie", Role: "verifier", Lifetime: 300 * 24 * time.Hour},
		{ClientID: "short", Role: "user", Lifetime: time.Second},
		{ClientID: "gone", Role: "user"},
	} {
		made[r.ClientID] = h.issue(t, r)
	}
	h.clock.Add(int64(2 * time.Second))
	if _, err := h.authority.RevokeToken(t.Context(), operator(), made["gone"].ID, false); err != nil {
		t.Fatal(err)
	}
	if v := h.live.Decide(made["bravo"].Text.Unsafe(), liveset.Demand{}); !v.Allow() {
		t.Fatalf("bravo is %s", v.Reason)
	}
	return made
}

func TestListFiltersSortsAndSaysWhatItLeavesOut(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	variety(t, h)
	for path, want := range map[string]string{
		"/tokens":                               "alpha bravo charlie",
		"/tokens?dir=desc":                      "charlie bravo alpha",
		"/tokens?sort=expires_at":               "bravo charlie alpha",
		"/tokens?sort=last_used_at&q=b":         "bravo",
		"/tokens?role=admin":                    "alpha",
		"/tokens?q=br":                          "bravo",
		"/tokens?q=team:data":                   "bravo",
		"/tokens?tag=team:data":                 "bravo",
		"/tokens?client_id=charlie":             "charlie",
		"/tokens?expiring=14d":                  "bravo",
		"/tokens?state=expired":                 "short",
		"/tokens?state=deleted":                 "gone",
		"/tokens?state=revoked":                 "",
		"/tokens?q=nobody":                      "",
		"/tokens?sort=colour":                   "alpha bravo charlie", // what means nothing is dropped
		"/tokens?state=asleep&cursor=%3Cb%3E":   "alpha bravo charlie",
		"/tokens?q=%22%3E%3Cscript%3Ealert(1)":  "",
		"/tokens?role=%22%20onfocus%3Dalert(1)": "alpha bravo charlie",
	} {
		status, body := v.get(path)
		if got := rows(body); got != want || status != http.StatusOK {
			t.Errorf("%s answers %d and shows %q, want %q", path, status, got, want)
		}
		lacks(t, body, "<script>alert", `" onfocus`)
	}
	_, body := v.get("/tokens")
	shows(t, body, "3 active</a> ·", "1 expires within 14 days", "1 expired", "1 deleted", `aria-sort="ascending"`, `href="/tokens?dir=desc&amp;sort=client_id"`,
		"+2 more", "in 9 days", "Never", "Never used</span>", `<small class=today>1 in 24 h</small>`, `<small class=num>1 in 24 h</small>`, `aria-label="1 request in 14 days, most on 23 Nov: 1"`, `aria-label="No request in 14 days"`, "Use is counted in memory, since 23 Nov 2026, 14:08 UTC.", "just now", "no tags", "manager token list --state active")
	if strings.Count(body, "aria-sort") != 1 {
		t.Error("more than one column says that it is sorted")
	}
	_, body = v.get("/tokens?q=sho")
	shows(t, body, "Nothing matches “sho” among active tokens. 1 other token does.", ">Show it</a>", `href="/tokens">Clear</a>`)
	_, body = v.get("/tokens?expiring=14d&role=user&sort=expires_at&dir=desc")
	shows(t, body, "Only tokens that expire within 14 days.", "manager token list --role user --expiring 14d --sort expires_at --desc", "/delete?dir=desc&amp;expiring=14d&amp;role=user&amp;sort=expires_at")
	_, body = v.get("/tokens?state=deleted")
	shows(t, body, "Deleted, restorable until 23 Nov 2026, 15:08 UTC", "Restore token of gone")
	_, body = v.get("/tokens?state=expired")
	shows(t, body, `Expired</span>`)
	lacks(t, body, `Copy token of short`)
}

func TestEachKindOfNothingSaysWhatToDo(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	_, body := v.get("/tokens")
	shows(t, body, "No tokens yet", "A token lets a script or service call the API as one client ID.", `id="new" href="/tokens/new">New API Token`,
		"manager token create --client-id my-script --role user", "Restarting the server deletes any token you create.", "storage is set up")
	_, body = v.get("/tokens?q=spark")
	shows(t, body, "Nothing matches “spark” among active tokens.", ">Clear</a>")
	lacks(t, body, "Show them", "No tokens yet")
	_, body = v.get("/audit?actor=nobody")
	shows(t, body, "No entry matches", "Clear the filters")
	_, body = v.get("/settings?q=nothing-like-it")
	shows(t, body, "No property matches", "Nothing matches “nothing-like-it”.")
}

func TestLongListsPageAndStaySmall(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	for i := range 60 {
		h.issue(t, authority.TokenRequest{ClientID: fmt.Sprintf("service-%02d", i), Role: "user", Tags: []string{"team:data", "env:production"}, Description: "What it is for"})
	}
	_, body := v.get("/tokens")
	if n := strings.Count(body, "data-client="); n != 50 {
		t.Errorf("the page has %d rows", n)
	}
	if len(body) > 150<<10 {
		t.Errorf("the page with 50 rows has %d bytes", len(body))
	}
	shows(t, body, "50 of 60")
	next := regexp.MustCompile(`href="([^"]*cursor=[^"]*)">Next page`).FindStringSubmatch(body)
	if next == nil {
		t.Fatal("there is no next page")
	}
	_, body = v.get(strings.ReplaceAll(next[1], "&amp;", "&"))
	if got := rows(body); !strings.HasPrefix(got, "service-50 ") || !strings.HasSuffix(got, " service-59") {
		t.Errorf("the next page shows %s", got)
	}
	shows(t, body, ">First page</a>")
	// A token that is made is seen, whatever page it belongs to.
	_, body = v.post("/tokens", url.Values{"client_id": {"zulu"}, "role": {"admin"}, "expires": {"7"}, "key": {"k"}})
	if got := rows(body); !strings.HasPrefix(got, "zulu ") {
		t.Errorf("after zulu was made the list shows %s", got)
	}
	shows(t, body, `<span class=new>New</span>`)
}

func TestPastedTokenIsNeverSearchedNorShownAgain(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	issued := h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"})
	text := issued.Text.Unsafe()
	_, body := v.get("/tokens")
	field := regexp.MustCompile(`<input id="search"[^>]* maxlength="(\d+)"`).FindStringSubmatch(body)
	if field == nil {
		t.Fatal("without script the search field takes a whole token")
	}
	if payload := strings.LastIndex(text, "."); payload < 128 {
		t.Errorf("the first 128 characters of a token reach into its signature at %d", payload)
	}
	for _, q := range []string{text, text[:128]} {
		_, body = v.get("/tokens?q=" + url.QueryEscape(q))
		shows(t, body, "That looks like a token. It was not searched for")
		lacks(t, body, text[:100])
	}
	for _, path := range []string{"/audit?actor=", "/audit?target=", "/settings?q=", "/tokens/", "/nowhere/"} {
		_, body = v.get(path + text)
		lacks(t, body, text[:100])
	}
	_, body = v.get("/tokens?state=all&found=1&q=" + string(issued.ID))
	shows(t, body, `Found by token: <span class="id">`+issued.ID.Short()+`</span>. The pasted token was not sent.`)
	lacks(t, body, `value="`+string(issued.ID)+`"`)
	_, body = v.get("/tokens?found=%3Cb%3Eevil&q=other")
	lacks(t, body, "Found by token", "<b>evil")
}

func TestOnlyExceptionsAreMarked(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "healthy", Role: "user"})
	_, body := v.get("/tokens")
	lacks(t, body, `class="state"`, `class="due"`, "Active<", `class="new"`)
}

func TestListShowsWhoComesUnderThePreviousSecret(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	stays, moves := h.issue(t, authority.TokenRequest{ClientID: "stays", Role: "user"}), h.issue(t, authority.TokenRequest{ClientID: "moves", Role: "user"})
	h.use(t, stays.Text.Unsafe(), moves.Text.Unsafe())
	_, body := v.get("/tokens")
	lacks(t, body, "Uses previous secret")
	v.rotate()
	h.use(t, v.copyNew(moves.ID))
	_, body = v.get("/tokens")
	if strings.Count(body, "Uses previous secret") != 1 {
		t.Error("it is not said of one token")
	}
	_, row, _ := strings.Cut(body, `<tr id="`+string(stays.ID))
	row, _, _ = strings.Cut(row, "</tr>")
	shows(t, row, "Uses previous secret")
}

func TestTheTimeOfADeletedTokenEndsTooAndThenItDoesNotExpire(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "gone", Role: "user", Lifetime: time.Hour}).ID
	v.post("/tokens/"+string(id)+"/delete", nil)
	_, body := v.get("/tokens?state=deleted")
	shows(t, body, "<span class=folded>Expires</span>", "in 1 hour")
	h.clock.Add(int64(2 * time.Hour))
	v.signIn(adminPassword)
	_, body = v.get("/tokens?state=deleted")
	shows(t, body, "<span class=folded>Expired</span>", "1 hour ago")
}

// hasty is a store that does not count for long.
type hasty struct{ authority.Store }

func (s hasty) View(ctx context.Context, fn func(authority.Tx) error) error {
	return s.Store.View(ctx, func(tx authority.Tx) error { return fn(hastyTx{tx}) })
}

type hastyTx struct{ authority.Tx }

func (t hastyTx) Tokens() authority.TokenTable { return hastyTokens{t.Tx.Tokens()} }

type hastyTokens struct{ authority.TokenTable }

func (t hastyTokens) Find(q authority.TokenQuery) (authority.TokenPage, error) {
	page, err := t.TokenTable.Find(q)
	page.TotalIsFloor = page.Total > 1
	return page, err
}

func TestWhatMatchesElsewhereIsNotToldMoreExactlyThanItIsKnown(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	for _, client := range []string{"one", "twin-a", "twin-b"} {
		h.issue(t, authority.TokenRequest{ClientID: client, Role: "user"})
	}
	h.store.Store = hasty{h.store.Store}
	_, body := v.get("/tokens?state=expired&q=one")
	shows(t, body, "among expired tokens. 1 other token does.")
	_, body = v.get("/tokens?state=expired&q=twin")
	shows(t, body, "among expired tokens. At least 2 other tokens do.", ">Show them</a>")
}
