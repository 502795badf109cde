package webui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

func TestARefusalIsExplainedWithoutScriptByRequestAndByToken(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	text := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"}).Text.Unsafe()
	h.refused.Around("forward_auth", h.live).Decide(text, liveset.Demand{Role: authority.RoleAdmin, RequestID: "4f2a9c1e77aa03bd"})
	byRequest := url.Values{"subject": {" 4f2a9c1e77aa03bd "}}
	byToken := url.Values{"subject": {"Bearer " + text}, "door": {"guard"}, "role": {"admin"}, "from": {"10.2.0.14"}}
	for name, form := range map[string]url.Values{"request": byRequest, "token": byToken} {
		status, body := v.post("/explain", form)
		if status != http.StatusOK || !strings.Contains(body, "user, wanted admin") || !strings.Contains(body, "refused here") || !strings.Contains(body, "another role") {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if strings.Contains(body, text) || strings.Count(body, "refused here") != 1 {
			t.Errorf("%s: the token is in the page, or there are two causes", name)
		}
	}
	if status, body := v.get("/explain?request_id=4f2a9c1e77aa03bd"); status != http.StatusOK || !strings.Contains(body, "Refused: role insufficient") || !strings.Contains(body, "Forward-auth") {
		t.Errorf("by its address: %d %s", status, body)
	}
	if status, body := v.post("/explain", url.Values{"subject": {text}}); status != http.StatusOK || !strings.Contains(body, "would be let in") {
		t.Errorf("a good token: %d %s", status, body)
	}
}

func TestWhatCannotBeExplainedSaysWhy(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	for name, c := range map[string]struct {
		form   url.Values
		status int
		says   string
	}{
		"nothing":    {url.Values{}, http.StatusUnprocessableEntity, "Paste a token, or a request ID."},
		"unknown":    {url.Values{"subject": {"0000000000000000"}}, http.StatusNotFound, "Each node keeps its own"},
		"no address": {url.Values{"subject": {"eyJ.eyJ.x"}, "from": {"here"}}, http.StatusUnprocessableEntity, "An address is IPv4 or IPv6, without a port and a zone."},
		"no door":    {url.Values{"subject": {"eyJ.eyJ.x"}, "door": {"window"}}, http.StatusUnprocessableEntity, "A door is one of"},
	} {
		status, body := v.post("/explain", c.form)
		if status != c.status || !strings.Contains(body, c.says) || !strings.Contains(body, `name="subject"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// A token never comes by the address, and what cannot be read is not shown again.
func TestATokenIsNotTakenFromTheAddressNorShownAgain(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	text := h.issue(t, authority.TokenRequest{ClientID: "etl", Role: "user"}).Text.Unsafe()
	for _, path := range []string{"/explain?request_id=" + text, "/explain?subject=" + text} {
		if _, body := v.get(path); strings.Contains(body, text[:40]) {
			t.Errorf("%s is shown", path[:20])
		}
	}
	for _, pasted := range []string{text, text + "x", text[:60], "<script>" + text, text + " " + text} {
		if _, body := v.post("/explain", url.Values{"subject": {pasted}, "from": {"here"}}); strings.Contains(body, text[:40]) {
			t.Errorf("%.20s… is shown", pasted)
		}
	}
}
