package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mintmark/api"

	"github.com/google/go-cmp/cmp"
)

const token = "eyJhbGciOiJFUzI1NiJ9.e30.c2VjcmV0"

func client(t *testing.T, base string) *api.Client {
	t.Helper()
	c, err := api.NewClient(base, &http.Client{}, func() api.Secret { return api.NewSecret(token) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func refused(t *testing.T, err error) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("no refusal: %v", err)
	}
	return e
}

func TestATokenFollowsNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed with Authorization %t", r.Header.Get("Authorization") != "")
	}))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, target := range []string{elsewhere.URL + "/api/v1/whoami", "/again", "//" + strings.TrimPrefix(elsewhere.URL, "http://")} {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.Header().Set("Location", target)
				w.Header().Set("Set-Cookie", "a=b")
				w.WriteHeader(status)
			}))
			_, err := client(t, server.URL).CreateToken(t.Context(), api.CreateToken{ClientID: "a", Role: "user"}, "")
			server.Close()
			if e := refused(t, err); e.Status != status || calls != 1 {
				t.Errorf("%d to %s: %v after %d calls", status, target, e, calls)
			}
		}
	}
}

func TestATokenIsSentInOneFieldOrNotAtAll(t *testing.T) {
	var fields []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields = r.Header.Values("Authorization")
		if r.URL.RawQuery != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("query %q, cookie %q", r.URL.RawQuery, r.Header.Get("Cookie"))
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	for name, c := range map[string]struct {
		token func() api.Secret
		want  []string
	}{
		"a token":  {func() api.Secret { return api.NewSecret(token) }, []string{"Bearer " + token}},
		"no text":  {func() api.Secret { return api.Secret{} }, nil},
		"no token": {nil, nil},
	} {
		own, err := api.NewClient(server.URL, &http.Client{}, c.token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := own.Whoami(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, fields); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNoCookieIsKeptOrSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" {
			t.Errorf("a cookie is sent: %q", r.Header.Get("Cookie"))
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.NewClient(server.URL, &http.Client{Jar: jar}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Whoami(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATokenThatIsNoneStaysHere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
	defer server.Close()
	for _, text := range []string{"a b", "a,b", "a\r\nX-Auth-Role: admin", "a\tb", "secretpart\x00", "secretpart\x7f"} {
		c, err := api.NewClient(server.URL, &http.Client{}, func() api.Secret { return api.NewSecret(text) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Whoami(t.Context()); err == nil || strings.Contains(err.Error(), "secretpart") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAnAddressIsAServerAndAtMostAPath(t *testing.T) {
	for _, base := range []string{
		"", "127.0.0.1:3000", "ftp://h", "http://", "https:///x", "http://u:p@h", "http://h?token=a", "http://h#a", "http://h:port", "http://[::1", "unix:///x", "http://h/\x00",
	} {
		if _, err := api.NewClient(base, &http.Client{}, nil); err == nil || strings.Contains(err.Error(), "token=a") {
			t.Errorf("%q: %v", base, err)
		}
	}
	var path string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	for base, want := range map[string]string{"": "/healthz", "/": "/healthz", "/mint": "/mint/healthz", "/mint/": "/mint/healthz"} {
		if _, err := client(t, server.URL+base).Alive(t.Context()); err != nil || path != want {
			t.Errorf("%q asks %s: %v", base, path, err)
		}
	}
}

func TestASocketIsDialledByTheTransport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"ok"}`) })}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	h := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	c, err := api.NewClient("http://home/", h, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Alive(t.Context()); err != nil || got.Status != "ok" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestANameThatLeadsElsewhereIsNotSent(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	c := client(t, server.URL)
	for _, name := range []string{"", ".", ".."} {
		for call, err := range map[string]error{
			"delete": c.DeleteToken(t.Context(), name, true), "unlock": c.UnlockAdmin(t.Context(), name),
			"delete admin": c.DeleteAdmin(t.Context(), name), "password": c.ResetPassword(t.Context(), name, api.NewPassword{}),
		} {
			if err == nil {
				t.Errorf("%s %q was sent", call, name)
			}
		}
		if _, err := c.SetProperty(t.Context(), name, "x"); err == nil {
			t.Errorf("property %q was sent", name)
		}
	}
	if len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	for _, name := range []string{"a/b", "../keys/reset", "a?b", "a#b", "a%2fb", "a b", "ä", "a\nb"} {
		if err := c.DeleteToken(t.Context(), name, false); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	want := []string{
		"/api/v1/tokens/a%2Fb", "/api/v1/tokens/..%2Fkeys%2Freset", "/api/v1/tokens/a%3Fb", "/api/v1/tokens/a%23b", "/api/v1/tokens/a%252fb",
		"/api/v1/tokens/a%20b", "/api/v1/tokens/%C3%A4", "/api/v1/tokens/a%0Ab",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// answers is a transport that gives one answer to every call.
type answers struct {
	status int
	header http.Header
	body   io.Reader
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(a.body), Request: r}, nil
}

func answered(t *testing.T, a answers) *api.Client {
	t.Helper()
	c, err := api.NewClient("http://home/", &http.Client{Transport: a}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func problem(status int, body string) answers {
	return answers{status, http.Header{"Content-Type": {api.ProblemType + "; charset=utf-8"}}, strings.NewReader(body)}
}

func TestARefusalIsTyped(t *testing.T) {
	a := problem(429, `{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"Wait.","code":"login.paused","request_id":"r1",
		"errors":[{"field":"f","code":"f.form","detail":"No."}],"unknown":1}`)
	a.header.Set("Retry-After", "90")
	a.header.Set("X-Request-Id", "other")
	_, err := answered(t, a).Whoami(t.Context())
	want := &api.Error{
		Code: "login.paused", Status: 429, RequestID: "r1", RetryAfter: 90 * time.Second, Title: "Too Many Requests", Detail: "Wait.",
		Fields: []api.FieldProblem{{Field: "f", Code: "f.form", Detail: "No."}},
	}
	if diff := cmp.Diff(want, refused(t, err)); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
	if err.Error() != "Wait. (request r1)" || (&api.Error{Title: "gone"}).Error() != "gone" {
		t.Errorf("text %q", err)
	}
}

func TestARefusalThatIsNoProblemIsToldByItsStatus(t *testing.T) {
	for name, a := range map[string]answers{
		"a page":             {502, http.Header{"Content-Type": {"text/html"}, "X-Request-Id": {"r2"}}, strings.NewReader("<h1>proxy</h1>")},
		"no type":            {502, http.Header{"X-Request-Id": {"r2"}}, strings.NewReader(`{"code":"a.b"}`)},
		"a malformed one":    {502, http.Header{"Content-Type": {api.ProblemType}, "X-Request-Id": {"r2"}}, strings.NewReader(`{"code":`)},
		"another type":       {502, http.Header{"Content-Type": {api.ProblemType}, "X-Request-Id": {"r2"}}, strings.NewReader(`["a"]`)},
		"an odd Retry-After": {502, http.Header{"Retry-After": {"-3"}, "X-Request-Id": {"r2"}}, strings.NewReader("")},
	} {
		_, err := answered(t, a).Whoami(t.Context())
		want := &api.Error{Status: 502, Title: "bad gateway", Detail: "the server answered 502 and not as Mintmark does", RequestID: "r2"}
		if diff := cmp.Diff(want, refused(t, err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhatAServerSaysMovesNoTerminal(t *testing.T) {
	a := problem(400, `{"code":"a\u001b[2J","title":"b\u0007","detail":"c\r\nd","request_id":"e\u009b","errors":[{"field":"\u202e","code":"\u0000","detail":"\u001b]0;x\u0007"}]}`)
	_, err := answered(t, a).Whoami(t.Context())
	if text := fmt.Sprintf("%+v %s", *refused(t, err), err); strings.ContainsAny(text, "\x1b\x07\x00\r\n\u009b\u202e") {
		t.Errorf("%q", text)
	}
}

func TestASuccessThatIsNotWhatWasAskedForIsAnError(t *testing.T) {
	for _, body := range []string{"", "<html>", `{"items":{}}`, `{"items":[1]}`, "[]", `{"items":[]} {}`, "nul"} {
		_, err := answered(t, answers{200, http.Header{}, strings.NewReader(body)}).Tokens(t.Context(), api.TokenQuery{})
		var e *api.Error
		if err == nil || errors.As(err, &e) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// endless never stops and counts what is taken.
type endless struct{ taken int }

func (e *endless) Read(p []byte) (int, error) {
	e.taken += len(p)
	return len(p), nil
}

func TestAnAnswerIsBounded(t *testing.T) {
	for _, status := range []int{200, 500} {
		source := new(endless)
		_, err := answered(t, answers{status, http.Header{}, source}).Whoami(t.Context())
		if err == nil || source.taken > 20<<20 {
			t.Errorf("%d: %v after %d bytes", status, err, source.taken)
		}
	}
	many := `{"items":[` + strings.Repeat("0,", 400_000) + `0]}`
	if _, err := answered(t, answers{200, http.Header{}, strings.NewReader(many)}).Tokens(t.Context(), api.TokenQuery{}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("many items: %v", err)
	}
	// The largest page that there can be is read.
	record := `{"description":"` + strings.Repeat(",", 200) + `","contact":"` + strings.Repeat("\\u00e9", 120) + `","tags":[` + strings.Repeat(`"`+strings.Repeat("a", 97)+`",`, 19) + `"a"],` +
		`"allowed_addresses":[` + strings.Repeat(`"`+strings.Repeat("a", 43)+`",`, 49) + `"a"],"audience":[` + strings.Repeat(`"`+strings.Repeat("a", 200)+`",`, 9) + `"a"]}`
	page := `{"items":[` + strings.Repeat(record+",", 499) + record + `]}`
	list, err := answered(t, answers{200, http.Header{}, strings.NewReader(page)}).Tokens(t.Context(), api.TokenQuery{})
	if err != nil || len(list.Items) != 500 {
		t.Errorf("%d records of %d bytes: %v", len(list.Items), len(page), err)
	}
}

func TestAnAnswerThatIsCutIsAnError(t *testing.T) {
	cut := io.MultiReader(strings.NewReader(`{"status":`), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := answered(t, answers{200, http.Header{}, cut}).Alive(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := client(t, server.URL).Status(ctx)
	var e *api.Error
	if !errors.Is(err, context.Canceled) || errors.As(err, &e) {
		t.Errorf("%v", err)
	}
	if strings.Contains(err.Error(), server.URL) {
		t.Errorf("the address is repeated: %v", err)
	}
}

// Whatever a server answers, the client neither panics nor takes a refusal for a
// success.
func FuzzNoAnswerIsTakenForAnother(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"items":[{"id":"a","expires_at":null}],"next_cursor":""}`))
	f.Add(200, "", []byte(`{"items":[{"expires_at":"2026-13-01T00:00:00Z"}]}`))
	f.Add(401, api.ProblemType, []byte(`{"code":"token.invalid","status":200,"errors":[{}]}`))
	f.Add(503, api.ProblemType+"; charset", []byte("\xff\xfe{}"))
	f.Add(302, "text/html", []byte(strings.Repeat("[", 20_000)))
	f.Add(204, "", []byte(nil))
	f.Add(101, "", []byte(`{"errors":null}`))
	f.Fuzz(func(t *testing.T, status int, media string, body []byte) {
		a := func() answers {
			return answers{status, http.Header{"Content-Type": {media}, "Retry-After": {media}}, strings.NewReader(string(body))}
		}
		_, err := answered(t, a()).Tokens(t.Context(), api.TokenQuery{})
		_, other := answered(t, a()).CreateToken(t.Context(), api.CreateToken{}, "")
		ok := status >= 200 && status <= 299
		for _, err := range []error{err, other} {
			var e *api.Error
			switch typed := errors.As(err, &e); {
			case !ok && (!typed || e.Status != status || strings.ContainsAny(e.Error(), "\x1b\n\x00")):
				t.Errorf("%d reads as %#v", status, err)
			case ok && typed:
				t.Errorf("%d is a refusal: %v", status, err)
			}
		}
	})
}
