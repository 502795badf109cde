package webui_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// come has a door asked about a token, by a client at an address.
func (h *house) come(text, from string) bool {
	return h.live.Decide(text, liveset.Demand{From: netip.MustParseAddr(from), Via: netip.MustParseAddr("10.0.0.1")}).Allow()
}

// used is a token with three days of use, before and after a rotation.
func used(t *testing.T, h *house, v *visitor) authority.TokenID {
	t.Helper()
	made := h.issue(t, authority.TokenRequest{ClientID: "etl-nightly", Role: "user", AllowedAddresses: []string{"10.2.0.0/16"}})
	text := made.Text.Unsafe()
	for range 1200 {
		h.come(text, "10.2.0.14")
	}
	h.come(text, "192.0.2.7")
	h.later(v, day)
	v.rotate()
	h.come(text, "10.2.7.3")
	h.later(v, day)
	h.come(v.copyNew(made.ID), "10.2.7.3")
	h.clock.Add(int64(4 * time.Minute))
	return made.ID
}

func TestTokenPageShowsItsRequests(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	path := "/tokens/" + string(used(t, h, v))
	_, body := v.get(path)
	shows(t, body, "1,203 requests in 14 days, 1 refused.", `aria-current="true">14 d</a>`, `role="img" aria-labelledby="chart-title chart-desc"`, "<title id=\"chart-title\">Requests in 14 days</title>",
		`<span>2,000</span><span>1,000</span><span>0</span>`, "accepted under a previous secret", `fill="url(#hatch)"`, "Show as table",
		`<th scope="row">23 Nov 2026, 12:00 UTC</th><td class="num">0</td><td class="num">1,200</td><td class="num">1</td>`,
		`<th scope="row">25 Nov 2026, 12:00 UTC</th><td class="num">1</td><td class="num">0</td><td class="num">0</td>`,
		"Counted up to 14:12:00 UTC. Use is counted in memory, since 23 Nov 2026, 14:08 UTC.",
		`<th scope="row" translate="no">10.2.7.3<span class="folded small">via 10.0.0.1</span></th>`, `<td class="num">1,200</td><td class="wide">key_2026a</td>`, "Addresses are kept for 90 days.",
		`<th scope="row">address not allowed</th><td class="mid" translate="no">192.0.2.7</td>`, "Token created", "key_2026b")
	if n := len(regexp.MustCompile(`<rect class="[a-z]+" x=`).FindAllString(body, -1)); n != 4 {
		t.Errorf("the bars have %d parts", n)
	}
	_, body = v.get(path + "?requests=24h")
	shows(t, body, "1 request in 24 hours, none refused.", `<span>2</span><span>1</span><span>0</span>`)
	lacks(t, body, `class="refused"`)
	_, body = v.get(path + "?requests=90d")
	shows(t, body, "1,203 requests in 90 days, 1 refused.", `<th scope="row">23 Nov 2026</th>`)
	_, body = v.get(path + "?requests=%3Cb%3E")
	shows(t, body, "in 14 days")
	h.later(v, 3*day)
	_, body = v.get(path + "?requests=24h")
	shows(t, body, "No request in 24 hours.", "10.2.0.14")
	lacks(t, body, "<figure")
}

func TestAnUnusedTokenSaysSo(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	_, body := v.get("/tokens/" + string(h.issue(t, authority.TokenRequest{ClientID: "probe", Role: "user"}).ID))
	shows(t, body, "No request has used this token since usage recording began on 23 Nov 2026.", "<h2>History</h2>", "Token created")
	lacks(t, body, "<figure", "Sources</h2>")
}

func TestMaskedAddressesAreSaidToBe(t *testing.T) {
	h := newHouse(t, nil)
	h.masked = true
	v := h.signedIn(t)
	_, body := v.get("/tokens/" + string(used(t, h, v)))
	shows(t, body, "10.2.7.0/24", "Addresses are masked, and kept for 90 days.")
	lacks(t, body, "10.2.7.3")
}

func TestATokenIsReplacedWithAnOverlapAndTakenBack(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user", Tags: []string{"team:data"}})
	path := "/tokens/" + string(old.ID)
	_, body := v.get(path + "/replace")
	shows(t, body, "Replace the token of etl?", "No use of it is known.", "<b>Now – leak</b> <span>it is refused at once</span>", "<b>24 hours</b> <span>until Tue 24 Nov 2026, 14:08 UTC: you deploy daily</span>",
		"End it sooner, once the successor was seen from every source of the old one", "manager token replace", `href="`+path+`#replace" data-close`)
	if !regexp.MustCompile(`value="24h0m0s" checked autofocus`).MatchString(body) {
		t.Error("24 hours is not what is chosen")
	}
	status, body := v.post(path+"/replace", url.Values{"overlap": {"24h0m0s"}, "when_seen": {"1"}})
	successor := textIn(body)
	if status != http.StatusCreated || !h.allow(successor) || !h.allow(old.Text.Unsafe()) {
		t.Fatalf("replacing answered %d", status)
	}
	shows(t, body, "New token of etl</h2>", "which works until Tue 24 Nov 2026, 14:08 UTC, or until this one was seen from every source of it.", "team:data", "manager token replace --undo",
		"It has a successor,", "Take the replacement back")
	status, body = v.post(path+"/replace", url.Values{"overlap": {"1h0m0s"}})
	if status != http.StatusConflict {
		t.Errorf("replacing it twice answered %d", status)
	}
	shows(t, body, "has no successor yet")
	_, body = v.get("/tokens")
	shows(t, body, "Being replaced, until 24 Nov 2026, 14:08 UTC")
	_, body = v.post(path+"/undo", url.Values{"confirm": {"etl"}}) // its successor was let in above
	shows(t, body, "The token of etl goes on; its successor was deleted.", "Replace…")
	if h.allow(successor) || !h.allow(old.Text.Unsafe()) {
		t.Error("it was not taken back")
	}
}

func TestAReplacementInUseIsTakenBackByItsName(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"})
	path := "/tokens/" + string(old.ID)
	_, body := v.post(path+"/replace", url.Values{"overlap": {"24h0m0s"}})
	successor := textIn(body)
	h.use(t, successor)
	_, body = v.get(path)
	shows(t, body, "The successor was used just now", `to take it back</label><input id="f-take"`)
	status, body := v.post(path+"/undo", url.Values{"confirm": {"etc"}})
	if status != http.StatusUnprocessableEntity || !h.allow(successor) {
		t.Errorf("taking it back without its name answered %d", status)
	}
	shows(t, body, "That is not the client ID.")
	_, body = v.post(path+"/undo", url.Values{"confirm": {"etl"}})
	shows(t, body, "The token of etl goes on; its successor was deleted.")
	if h.allow(successor) {
		t.Error("it was not taken back")
	}
}

func TestAReplacedTokenEndsAndIsKept(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"})
	h.use(t, old.Text.Unsafe())
	path := "/tokens/" + string(old.ID)
	_, body := v.get(path + "/delete")
	shows(t, body, `href="`+path+`/replace">Rather replace it with an overlap…</a>`)
	status, body := v.post(path+"/replace", url.Values{"overlap": {"0s"}})
	if status != http.StatusUnprocessableEntity || !h.allow(old.Text.Unsafe()) {
		t.Errorf("ending a token in use without its client ID answered %d", status)
	}
	shows(t, body, "That is not the client ID.", `value="0s" checked`)
	status, body = v.post(path+"/replace", url.Values{"overlap": {"soon"}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("no overlap answered %d", status)
	}
	shows(t, body, "Choose how long the old token works on.")
	status, body = v.post(path+"/replace", url.Values{"overlap": {"2400h"}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("too long an overlap answered %d", status)
	}
	shows(t, body, `href="#f-overlap"`)
	_, body = v.post(path+"/replace", url.Values{"overlap": {"0s"}, "confirm": {"etl"}})
	shows(t, body, "New token of etl</h2>", "which has ended.", "Its successor has taken over")
	if h.allow(old.Text.Unsafe()) || !h.allow(textIn(body)) {
		t.Error("the old token works, or the new one does not")
	}
	_, body = v.get("/tokens?state=replaced")
	shows(t, body, "replaced (1)", "Replaced</span>", "1 replaced</a>")
	if rows(body) != "etl" {
		t.Errorf("the list shows %q", rows(body))
	}
	_, body = v.get(path)
	shows(t, body, "Its successor has taken over; it ended 23 Nov 2026, 14:08 UTC.", `<th scope="row">replaced</th>`)
	lacks(t, body, "Replace…", "Take the replacement back")
	if status, _ := v.get(path + "/replace"); status != http.StatusConflict {
		t.Errorf("its dialog answered %d", status)
	}
	if status, _ := v.post(path+"/undo", nil); status == http.StatusOK {
		t.Error("it was taken back after its end")
	}
	if _, body = v.get("/tokens"); strings.Count(body, "data-client=") != 1 {
		t.Error("the list shows both")
	}
}
