package gateway_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/limits"
)

// limited is a door within limits, reached by its path.
func (h *house) limited(token, source limits.Rate) http.Handler {
	l := limits.New(limits.Config{Now: h.now, Rates: func() (limits.Rate, limits.Rate) { return token, source }})
	return edge.Wrap(edge.Config{
		Log: slog.New(slog.NewJSONHandler(&h.log, nil)), Now: h.now, NewID: func() string { return "req_1" },
		TrustedProxies: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} },
		Doors:          map[string]edge.Door{"/auth/verify": gateway.Verify{Live: l.Around(h.live), Audience: audience}},
	}, http.NotFoundHandler())
}

func TestALimitThatIsReachedIs403WithRetryAfter(t *testing.T) {
	h := newHouse(t)
	token := h.issue(authority.TokenRequest{ClientID: "a", Role: "user"})
	h.handler = h.limited(limits.Rate{Events: 60, Window: time.Minute, Burst: 2}, limits.Rate{})
	for _, left := range []string{`"mintmark";r=1;t=0`, `"mintmark";r=0;t=1`} {
		resp := h.ask("GET", "", bearer(token))
		if resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit") != left || resp.Header.Get("RateLimit-Policy") != `"mintmark";q=60;w=60` {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
	}
	resp := h.ask("GET", "", bearer(token))
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Retry-After") != "1" || resp.Header.Get("WWW-Authenticate") != "" || codeOf(t, resp) != "rate.limited" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	h.clock.Add(int64(time.Second))
	if resp := h.ask("GET", "", bearer(token)); resp.StatusCode != http.StatusOK {
		t.Errorf("a second later: %d", resp.StatusCode)
	}
}

func TestASourceIsLimitedWithAndWithoutAToken(t *testing.T) {
	h := newHouse(t)
	token := h.issue(authority.TokenRequest{ClientID: "a", Role: "user"})
	h.handler = h.limited(limits.Rate{}, limits.Rate{Events: 1, Window: time.Minute, Burst: 3})
	from := func(addr string, header http.Header) int {
		if header == nil {
			header = make(http.Header)
		}
		header.Set("X-Forwarded-For", addr)
		return h.ask("GET", "", header).StatusCode
	}
	for i, c := range []struct {
		header http.Header
		want   int
	}{{nil, 401}, {http.Header{"Authorization": {"Bearer x"}}, 401}, {bearer(token), 200}, {bearer(token), 403}, {nil, 403}} {
		if got := from("203.0.113.9", c.header); got != c.want {
			t.Errorf("request %d: %d, want %d", i+1, got, c.want)
		}
	}
	if got := from("203.0.113.10", bearer(token)); got != 200 {
		t.Errorf("another source: %d", got)
	}
}

// The address that a token is held to is the client's, whatever form it has and
// whoever says so; and no address is none that is allowed.
func TestAnAddressOfEveryFormIsHeldAgainstWhatIsAllowed(t *testing.T) {
	h := newHouse(t) // httptest's peer 192.0.2.1 is the configured proxy
	four := h.issue(authority.TokenRequest{ClientID: "four", Role: "user", AllowedAddresses: []string{"10.2.0.0/16"}})
	six := h.issue(authority.TokenRequest{ClientID: "six", Role: "user", AllowedAddresses: []string{"2001:db8::/32"}})
	every := h.issue(authority.TokenRequest{ClientID: "every", Role: "user", AllowedAddresses: []string{"0.0.0.0/0", "::/0"}})
	for name, c := range map[string]struct {
		token           authority.Issued
		peer, forwarded string
		want            int
	}{
		"4 from 4":                       {four, "10.2.0.9:1", "", 200},
		"4 from 4 beside it":             {four, "10.3.0.9:1", "", 403},
		"4 from mapped":                  {four, "[::ffff:10.2.0.9]:1", "", 200},
		"4 from mapped beside it":        {four, "[::ffff:10.3.0.9]:1", "", 403},
		"4 from 6":                       {four, "[2001:db8::9]:1", "", 403},
		"6 from 6":                       {six, "[2001:db8::9]:1", "", 200},
		"6 from 6 with a zone":           {six, "[2001:db8::9%eth0]:1", "", 200},
		"6 from 6 beside it":             {six, "[2001:db9::9]:1", "", 403},
		"6 from 4":                       {six, "10.2.0.9:1", "", 403},
		"4 behind a proxy":               {four, "192.0.2.1:1", "10.2.0.9", 200},
		"mapped behind a proxy":          {four, "192.0.2.1:1", "::ffff:10.2.0.9", 200},
		"mapped proxy":                   {four, "[::ffff:192.0.2.1]:1", "10.2.0.9", 200},
		"6 behind a proxy":               {six, "192.0.2.1:1", "2001:db8::9", 200},
		"the proxy itself":               {four, "192.0.2.1:1", "", 403},
		"a stranger says so":             {four, "198.51.100.7:1", "10.2.0.9", 403},
		"an allowed peer says otherwise": {four, "10.2.0.9:1", "198.51.100.7", 200},
		"every address":                  {every, "198.51.100.7:1", "", 200},
		"no address":                     {every, "@", "", 403},
	} {
		r := httptest.NewRequest("GET", "/auth/verify", nil)
		r.RemoteAddr = c.peer
		r.Header = bearer(c.token)
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
	}
}
