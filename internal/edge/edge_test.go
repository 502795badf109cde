package edge_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mintmark/internal/edge"
)

// wrapped is one handler behind the edge, with what it logged.
type wrapped struct {
	http.Handler
	log bytes.Buffer
}

func wrap(operator string, proxies []string, handler http.HandlerFunc) *wrapped {
	w := new(wrapped)
	var trusted []netip.Prefix
	for _, p := range proxies {
		trusted = append(trusted, netip.MustParsePrefix(p))
	}
	at := time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC)
	w.Handler = edge.Wrap(edge.Config{
		Log: slog.New(slog.NewJSONHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Operator: operator,
		Now:            func() time.Time { at = at.Add(1500 * time.Microsecond); return at },
		NewID:          func() string { return "req_1" },
		TrustedProxies: func() []netip.Prefix { return trusted },
	}, handler)
	return w
}

func TestTheClientsAddressIsTheOneThatMayBeBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		peer      string
		proxies   []string
		forwarded []string
		want      string
		via       bool
	}{
		"no proxy":                     {"203.0.113.9:1", nil, nil, "203.0.113.9", false},
		"stranger forges":              {"203.0.113.9:1", []string{"10.0.0.1/32"}, []string{"127.0.0.1"}, "203.0.113.9", false},
		"proxy tells":                  {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"203.0.113.9"}, "203.0.113.9", true},
		"client forges before it":      {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"127.0.0.1, 203.0.113.9"}, "203.0.113.9", true},
		"client forges a field":        {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"127.0.0.1", "203.0.113.9"}, "203.0.113.9", true},
		"two proxies":                  {"10.0.0.1:1", []string{"10.0.0.0/24"}, []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9", true},
		"client is in the proxies":     {"10.0.0.1:1", []string{"10.0.0.0/24"}, []string{"10.0.0.7"}, "10.0.0.7", true},
		"proxy tells nothing":          {"10.0.0.1:1", []string{"10.0.0.1/32"}, nil, "10.0.0.1", false},
		"proxy tells no address":       {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"unknown"}, "10.0.0.1", false},
		"proxy vouches for garbage":    {"10.0.0.1:1", []string{"10.0.0.0/24"}, []string{"garbage, 10.0.0.7"}, "10.0.0.7", true},
		"an address with a port":       {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"203.0.113.9:4711"}, "10.0.0.1", false},
		"an empty element":             {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"203.0.113.9,"}, "10.0.0.1", false},
		"last one is no address":       {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"203.0.113.9, _hidden"}, "10.0.0.1", false},
		"mapped address":               {"[::ffff:10.0.0.1]:1", []string{"10.0.0.1/32"}, []string{"::ffff:203.0.113.9"}, "203.0.113.9", true},
		"zone":                         {"[fe80::1%eth0]:1", nil, nil, "fe80::1", false},
		"forged zone":                  {"10.0.0.1:1", []string{"10.0.0.1/32"}, []string{"fe80::1%x\" y"}, "fe80::1", true},
		"version 6 behind a proxy":     {"[2001:db8::1]:1", []string{"2001:db8::/64"}, []string{"2001:db8:1::9"}, "2001:db8:1::9", true},
		"other proxy header is no use": {"203.0.113.9:1", nil, nil, "203.0.113.9", false},
	} {
		t.Run(name, func(t *testing.T) {
			var got edge.Inbound
			h := wrap("", c.proxies, func(_ http.ResponseWriter, r *http.Request) { got = edge.Of(r) })
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			r.Header.Set("X-Real-Ip", "127.0.0.1")
			r.Header.Set("Forwarded", "for=127.0.0.1")
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got.Addr.String() != c.want || got.Via.IsValid() != c.via || got.From() != c.want {
				t.Errorf("%s, via proxy %v", got.Addr, got.Via)
			}
		})
	}
}

func TestEncryptionIsBelievedOfAConfiguredProxyOnly(t *testing.T) {
	for name, c := range map[string]struct {
		proxies, proto []string
		want           bool
	}{
		"stranger":    {nil, []string{"https"}, false},
		"proxy":       {[]string{"192.0.2.1/32"}, []string{"https"}, true},
		"plain proxy": {[]string{"192.0.2.1/32"}, []string{"http"}, false},
		"two fields":  {[]string{"192.0.2.1/32"}, []string{"http", "https"}, false},
	} {
		var got edge.Inbound
		h := wrap("", c.proxies, func(_ http.ResponseWriter, r *http.Request) { got = edge.Of(r) })
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["X-Forwarded-Proto"] = c.proto
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got.TLS != c.want {
			t.Errorf("%s: TLS is %v", name, got.TLS)
		}
	}
}

func TestTheSocketBelievesNoHeader(t *testing.T) {
	var got edge.Inbound
	h := wrap("root@tokens-01", []string{"0.0.0.0/0"}, func(_ http.ResponseWriter, r *http.Request) { got = edge.Of(r) })
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "@"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if got.From() != "local" || got.Operator != "root@tokens-01" || got.Via.IsValid() {
		t.Errorf("%+v", got)
	}
}

func TestOneLineIsLoggedAndHoldsNothingThatWasSent(t *testing.T) {
	const mark = "eyJsecret"
	mux := http.NewServeMux()
	mux.HandleFunc("POST /things/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, mark)
	})
	h := wrap("", nil, mux.ServeHTTP)
	r := httptest.NewRequest("POST", "/things/"+mark+"?access_token="+mark, strings.NewReader(mark))
	for _, name := range []string{"Authorization", "Cookie", "Referer", "User-Agent", "X-Request-Id", "X-Forwarded-For"} {
		r.Header.Set(name, mark)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Header().Get("X-Request-Id"); got != "req_1" {
		t.Errorf("X-Request-Id is %q", got)
	}
	if strings.Contains(h.log.String(), mark) {
		t.Errorf("logged %s", &h.log)
	}
	var line map[string]any
	if err := json.Unmarshal(h.log.Bytes(), &line); err != nil {
		t.Fatalf("no single line: %v in %s", err, &h.log)
	}
	for name, want := range map[string]any{
		"msg": "request", "request_id": "req_1", "method": "POST", "route": "POST /things/{id}", "status": 201.0, "bytes": 9.0, "duration_ms": 1.5, "from": "192.0.2.1",
	} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
}

func TestAPathThatNothingServesIsNotLogged(t *testing.T) {
	h := wrap("", nil, http.NewServeMux().ServeHTTP)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/eyJsecret", nil))
	if text := h.log.String(); strings.Contains(text, "eyJsecret") || !strings.Contains(text, `"route":"none"`) || !strings.Contains(text, `"status":404`) {
		t.Errorf("logged %s", text)
	}
}

func TestNoRequestFollowsAChunkedOne(t *testing.T) {
	h := wrap("", nil, func(http.ResponseWriter, *http.Request) {})
	for name, coding := range map[string][]string{"": nil, "close": {"chunked"}} {
		r := httptest.NewRequest("POST", "/", strings.NewReader("{}"))
		r.TransferEncoding = coding
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Connection"); got != name {
			t.Errorf("with the coding %q: Connection is %q", coding, got)
		}
	}
}

func TestAPanicIsA500WithoutItsValue(t *testing.T) {
	h := wrap("", nil, func(http.ResponseWriter, *http.Request) { panic("eyJsecret") })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "eyJsecret") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	want := `{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal","request_id":"req_1"}`
	if got := strings.TrimSpace(w.Body.String()); got != want || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("X-Request-Id") != "req_1" {
		t.Errorf("problem %s in %v", got, w.Header())
	}
	if text := h.log.String(); strings.Contains(text, "eyJsecret") || !strings.Contains(text, `"status":500`) || !strings.Contains(text, `"type":"string"`) {
		t.Errorf("logged %s", text)
	}
}

func TestAPanicTakesBackWhatTheHandlerHadBegunToSay(t *testing.T) {
	h := wrap("", nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Auth-Role", "admin")
		w.Header().Set("Content-Length", "2")
		w.Header().Set("Cache-Control", "public")
		panic("half-way")
	})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("X-Auth-Role") != "" || w.Header().Get("Content-Length") != "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v", w.Header())
	}
	if got := w.Body.String(); got != "Internal Server Error, request req_1\n" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%s: %q", w.Header().Get("Content-Type"), got)
	}
}

func TestAnAnswerThatAPanicCutsIsNotTakenForWhole(t *testing.T) {
	h := wrap("", nil, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"items":[`)
		_ = http.NewResponseController(w).Flush()
		panic("eyJsecret")
	})
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&h.log, nil), slog.LevelError)
	server.Start()
	resp, err := http.Get(server.URL)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	server.Close()
	if err == nil {
		t.Error("the answer was read without an error")
	}
	if text := h.log.String(); !strings.Contains(text, "handler panicked") || !strings.Contains(text, `"msg":"request"`) || strings.Contains(text, "eyJsecret") {
		t.Errorf("logged %s", text)
	}
}

func TestALongMethodIsCutInTheLog(t *testing.T) {
	h := wrap("", nil, func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest(strings.Repeat("A", 100), "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if strings.Contains(h.log.String(), strings.Repeat("A", 17)) {
		t.Errorf("logged %s", &h.log)
	}
}

// The address is always one that somebody vouches for: the peer's, or one of
// the list; and a stranger's list never counts.
func FuzzTheAddressIsVouchedFor(f *testing.F) {
	for _, seed := range []string{
		"", "203.0.113.9", "127.0.0.1, 203.0.113.9", "x, 10.0.0.7", ",,,", "::ffff:1.2.3.4", "fe80::1%eth0", "[2001:db8::1]:80", strings.Repeat("10.0.0.1,", 4000), "1.2.3.4\x00", "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		for _, peer := range []string{"10.0.0.1:1", "203.0.113.9:1"} {
			var got edge.Inbound
			h := wrap("", []string{"10.0.0.0/24"}, func(_ http.ResponseWriter, r *http.Request) { got = edge.Of(r) })
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = peer
			r.Header["X-Forwarded-For"] = []string{list}
			h.ServeHTTP(httptest.NewRecorder(), r)
			own := netip.MustParseAddrPort(peer).Addr()
			if !got.Via.IsValid() && got.Addr != own || got.Via.IsValid() && peer == "203.0.113.9:1" || got.Addr.Zone() != "" || got.Addr.Is4In6() {
				t.Errorf("%q from %s is %+v", list, peer, got)
			}
			if strings.ContainsAny(got.From(), " \"\n\r") {
				t.Errorf("address %q", got.From())
			}
		}
	})
}

func TestARequestIdIsTakenOfAConfiguredProxyOnly(t *testing.T) {
	for name, c := range map[string]struct {
		proxies, sent []string
		want          string
	}{
		"none":           {[]string{"192.0.2.1/32"}, nil, "req_1"},
		"stranger":       {nil, []string{"4f2a9c1e-77aa"}, "req_1"},
		"proxy":          {[]string{"192.0.2.1/32"}, []string{"4f2a9c1e-77aa"}, "4f2a9c1e-77aa"},
		"every sign":     {[]string{"192.0.2.1/32"}, []string{"azAZ09._-"}, "azAZ09._-"},
		"longest":        {[]string{"192.0.2.1/32"}, []string{strings.Repeat("a", 64)}, strings.Repeat("a", 64)},
		"too long":       {[]string{"192.0.2.1/32"}, []string{strings.Repeat("a", 65)}, "req_1"},
		"too short":      {[]string{"192.0.2.1/32"}, []string{"1234567"}, "req_1"},
		"empty":          {[]string{"192.0.2.1/32"}, []string{""}, "req_1"},
		"twice":          {[]string{"192.0.2.1/32"}, []string{"4f2a9c1e", "4f2a9c1e"}, "req_1"},
		"line break":     {[]string{"192.0.2.1/32"}, []string{"4f2a9c1e\r\nX-Auth-Role: admin"}, "req_1"},
		"quote":          {[]string{"192.0.2.1/32"}, []string{`4f2a9c1e"`}, "req_1"},
		"not ASCII":      {[]string{"192.0.2.1/32"}, []string{"4f2a9c1eé"}, "req_1"},
		"brackets below": {[]string{"192.0.2.1/32"}, []string{"4f2a9c1e@[`{/:"}, "req_1"},
	} {
		var got string
		h := wrap("", c.proxies, func(_ http.ResponseWriter, r *http.Request) { got = edge.Of(r).RequestID })
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["X-Request-Id"] = c.sent
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got != c.want || w.Header().Get("X-Request-Id") != c.want {
			t.Errorf("%s: %q, answered %q", name, got, w.Header().Get("X-Request-Id"))
		}
	}
}

func TestTheSocketTakesNoRequestId(t *testing.T) {
	h := wrap("root@tokens-01", []string{"0.0.0.0/0"}, func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "@"
	r.Header.Set("X-Request-Id", "4f2a9c1e-77aa")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Header().Get("X-Request-Id"); got != "req_1" {
		t.Errorf("X-Request-Id is %q", got)
	}
}
