package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/corpora"
	"mintmark/internal/password"
)

func TestACredentialIsTakenFromExactlyOnePlaceInOneForm(t *testing.T) {
	h := newHouse(t)
	token := h.admin.Text.Unsafe()
	for name, c := range map[string]struct {
		fields []string
		status int
		code   string
	}{
		"plain":                {[]string{"Bearer " + token}, 200, ""},
		"lower case":           {[]string{"bearer " + token}, 200, ""},
		"the other scheme":     {[]string{"JWT " + token}, 200, ""},
		"twice":                {[]string{"Bearer " + token, "Bearer " + token}, 400, api.CodeCredentialMalformed},
		"twice, one is basic":  {[]string{"Basic eDp5", "Bearer " + token}, 400, api.CodeCredentialMalformed},
		"list":                 {[]string{"Bearer " + token + ", Bearer " + token}, 400, api.CodeCredentialMalformed},
		"list without space":   {[]string{"Bearer " + token + "," + token}, 400, api.CodeCredentialMalformed},
		"two spaces":           {[]string{"Bearer  " + token}, 400, api.CodeCredentialMalformed},
		"two tokens":           {[]string{"Bearer " + token + " " + token}, 400, api.CodeCredentialMalformed},
		"tab in the token":     {[]string{"Bearer " + token[:9] + "\t" + token[9:]}, 400, api.CodeCredentialMalformed},
		"tab for the space":    {[]string{"Bearer\t" + token}, 401, api.CodeTokenMissing},
		"scheme alone":         {[]string{"Bearer"}, 400, api.CodeCredentialMalformed},
		"empty":                {[]string{""}, 401, api.CodeTokenMissing},
		"no scheme":            {[]string{token}, 401, api.CodeTokenMissing},
		"basic":                {[]string{"Basic " + token}, 401, api.CodeTokenMissing},
		"cut":                  {[]string{"Bearer " + token[:len(token)-4]}, 401, api.CodeTokenInvalid},
		"quoted":               {[]string{`Bearer "` + token + `"`}, 401, api.CodeTokenInvalid},
		"padded":               {[]string{"Bearer " + token + "="}, 401, api.CodeTokenInvalid},
		"first letter changed": {[]string{"Bearer f" + token[1:]}, 401, api.CodeTokenInvalid},
		"large":                {[]string{"Bearer " + strings.Repeat("a", 12<<10)}, 401, api.CodeTokenInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.do(request{method: "GET", path: "/api/v1/whoami", header: http.Header{"Authorization": c.fields}})
			if a.status != c.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if c.code != "" && h.problem(a).Code != c.code {
				t.Errorf("code %q", h.problem(a).Code)
			}
			challenge := a.header.Get("WWW-Authenticate")
			if (c.status == 200) != (challenge == "") {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
}

func TestNothingThatWasSentIsReflected(t *testing.T) {
	h := newHouse(t)
	const mark = "z9reflectedz9"
	for name, r := range map[string]request{
		"in the token":           {method: "GET", path: "/api/v1/whoami", header: http.Header{"Authorization": {"Bearer " + mark}}},
		"in the scheme":          {method: "GET", path: "/api/v1/whoami", header: http.Header{"Authorization": {mark + " x"}}},
		"in a malformed field":   {method: "GET", path: "/api/v1/whoami", header: http.Header{"Authorization": {"Bearer " + mark + ","}}},
		"in the path":            {method: "GET", path: "/api/v1/" + mark, token: h.admin.Text.Unsafe()},
		"in an id":               {method: "GET", path: "/api/v1/tokens/" + mark, token: h.admin.Text.Unsafe()},
		"as a parameter":         {method: "GET", path: "/api/v1/tokens?" + mark + "=1", token: h.admin.Text.Unsafe()},
		"in a parameter":         {method: "GET", path: "/api/v1/tokens?limit=" + mark, token: h.admin.Text.Unsafe()},
		"in a name to find":      {method: "GET", path: "/api/v1/tokens/find?name=" + mark, token: h.admin.Text.Unsafe()},
		"as a method":            {method: strings.ToUpper(mark), path: "/api/v1/tokens"},
		"as a media type":        {method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: "{}", media: mark + "/x"},
		"in a lifetime":          {method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"user","lifetime":"` + mark + `"}`},
		"in an end":              {method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"user","expires_at":"` + mark + `"}`},
		"in a role":              {method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"` + mark + `"}`},
		"as a password":          {method: "POST", path: "/api/v1/signIn", body: `{"username":"maria","password":"` + mark + `"}`},
		"as a user name":         {method: "POST", path: "/api/v1/signIn", body: `{"username":"` + mark + `","password":"x"}`},
		"as a new password":      {method: "POST", path: "/api/v1/admins", token: h.admin.Text.Unsafe(), body: `{"username":"x","password":"` + mark + `"}`},
		"as a password cut":      {method: "POST", path: "/api/v1/signIn", body: `{"username":"maria","password":"` + mark},
		"as a password twice":    {method: "POST", path: "/api/v1/signIn", body: `{"password":"` + mark + `","password":"` + mark + `"}`},
		"as a password object":   {method: "POST", path: "/api/v1/signIn", body: `{"username":"maria","password":{"` + mark + `":1}}`},
		"as a password in forms": {method: "POST", path: "/api/v1/signIn", body: "password=" + mark + "&password=x", media: "application/x-www-form-urlencoded"},
		"as a token to explain":  {method: "POST", path: "/api/v1/explain", token: h.admin.Text.Unsafe(), body: `{"token":"` + mark + `","role":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.do(r)
			if a.status < 400 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if strings.Contains(strings.ToLower(string(a.body)), mark) {
				t.Errorf("body %s", a.body)
			}
			for field, values := range a.header {
				if strings.Contains(strings.ToLower(strings.Join(values, " ")), mark) {
					t.Errorf("%s: %q", field, values)
				}
			}
		})
	}
	if strings.Contains(h.log.String(), mark) {
		t.Error("what was sent is in the log")
	}
}

func TestALineBreakStartsNoHeaderAndNoLogLine(t *testing.T) {
	h := newHouse(t)
	for _, text := range []string{"Bearer a\r\nX-Auth-Role: admin", "Bearer a\nb", "Bearer \x00", "Bearer \x1b[31m", "Bearer \u2028"} {
		r := httptest.NewRequest("GET", "/api/v1/whoami", nil)
		r.Header["Authorization"] = []string{text}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized && w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d", text, w.Code)
		}
		if w.Header().Get("X-Auth-Role") != "" {
			t.Errorf("%q set a header", text)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(h.log.String()), "\n") {
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}") {
			t.Errorf("log line %q", line)
		}
	}
}

func TestATokenInTheURLIsRefusedAndNeverLogged(t *testing.T) {
	h := newHouse(t)
	token := h.admin.Text.Unsafe()
	for _, path := range []string{"/api/v1/whoami?access_token=" + token, "/api/v1/whoami?x=1&Access_Token=" + token, "/api/v1/tokens/find?name=" + token, "/api/v1/tokens/" + token} {
		a := h.do(request{method: "GET", path: path, token: token})
		if a.status != http.StatusBadRequest && a.status != http.StatusNotFound {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	a := h.do(request{method: "GET", path: "/api/v1/whoami?access_token=" + token})
	if a.status != http.StatusBadRequest {
		t.Errorf("the token in the URL alone: %d", a.status)
	}
}

func TestAFormSignsInAndDoesNothingElse(t *testing.T) {
	h := newHouse(t)
	form := url.Values{"client_id": {"x"}, "role": {"admin"}}.Encode()
	for _, media := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"} {
		a := h.do(request{method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: form, media: media})
		if a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %d", media, a.status)
		}
	}
	a := h.do(request{method: "POST", path: "/api/v1/signIn", header: http.Header{"Cookie": {"mintmark_session=" + h.admin.Text.Unsafe()}}, body: "{}"})
	if a.header.Get("Set-Cookie") != "" {
		t.Error("a cookie is set")
	}
	a = h.do(request{method: "GET", path: "/api/v1/tokens", header: http.Header{"Cookie": {"mintmark_session=" + h.admin.Text.Unsafe()}}})
	if a.status != http.StatusUnauthorized {
		t.Errorf("a cookie is a credential: %d", a.status)
	}
}

func TestACompressedBodyIsNotOpened(t *testing.T) {
	h := newHouse(t)
	a := h.do(request{
		method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"user"}`, header: http.Header{"Content-Encoding": {"gzip"}},
	})
	if a.status != http.StatusUnsupportedMediaType {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Every document of the suite is sent as a body to every route. None is a request
// that any of them takes, but for the empty object, so none other may be
// accepted, and none may meet a fault of ours. The operator sends them, whom no
// reset of the keys locks out.
func TestNoForeignDocumentIsTakenAsABody(t *testing.T) {
	h := newHouse(t)
	bodies := corpora.JSON(t)
	own, err := filepath.Glob("testdata/bodies/*.json")
	must(t, err)
	if len(own) == 0 {
		t.Fatal("testdata/bodies is empty")
	}
	for _, name := range own {
		bodies[name], err = os.ReadFile(name)
		must(t, err)
	}
	strict := []string{"/api/v1/tokens", "/api/v1/signIn", "/api/v1/explain"} // these need members
	for name, body := range bodies {
		if len(body) == 0 {
			continue // no body reads as {}
		}
		empty := strings.Join(strings.Fields(string(body)), "") == "{}"
		for _, r := range h.api.Routes() {
			if isDoor(r.Path) || isDocument(r) {
				continue // these read no body
			}
			a := h.ask(h.socket, request{method: r.Method, path: place(r.Path), body: string(body)})
			want := http.StatusBadRequest
			if len(body) > 64<<10 {
				want = http.StatusRequestEntityTooLarge
			}
			if a.status != want && (!empty || a.status >= 500 || slices.Contains(strict, r.Path) && r.Method == "POST") {
				t.Errorf("%s at %s %s: %d %s", name, r.Method, r.Path, a.status, a.body)
			}
		}
	}
	list, err := h.rules.Tokens(t.Context(), operator(), authority.ListRequest{State: "all"})
	must(t, err)
	if list.Total != 3 {
		t.Errorf("%d tokens, want the 3 of the house", list.Total)
	}
}

func TestABodyThatIsTooLargeIsRefusedBeforeItIsSent(t *testing.T) {
	h := newHouse(t)
	r := httptest.NewRequest("POST", "/api/v1/tokens", iotest.ErrReader(errors.New("the body was read")))
	r.ContentLength = 64<<10 + 1
	r.Header.Set("Authorization", "Bearer "+h.admin.Text.Unsafe())
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestARefusalOfABodyRepeatsLittleOfIt(t *testing.T) {
	h := newHouse(t)
	a := h.do(request{method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"` + strings.Repeat("\u00e9", 9000) + `":1}`})
	if a.status != http.StatusBadRequest || len(a.body) > 1000 || !utf8.Valid(a.body) {
		t.Errorf("%d with %d bytes", a.status, len(a.body))
	}
	for _, body := range []string{adminPassword, adminPassword + "=1", "password=a&" + adminPassword, "a=" + adminPassword} {
		// holds fails when a secret is in the answer
		h.do(request{method: "POST", path: "/api/v1/signIn", body: body, media: "application/x-www-form-urlencoded"})
	}
}

// An unknown name and a wrong password take the same work. It is measured as the
// processor time of this process, which a busy machine does not stretch: the
// medians of two alternating series differ by less than a fifth in one of three
// rounds.
func TestATimerTellsNoNames(t *testing.T) {
	h := newHouseWith(t, password.Params{Memory: 8 << 10, Time: 1, Threads: 1})
	work := func() time.Duration {
		var u syscall.Rusage
		must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	attempt := func(name string) time.Duration {
		h.advance(time.Hour) // no pause, and no other name to tell from
		body := `{"username":"` + name + `","password":"surely not the password"}`
		began := work()
		a := h.ask(h.handler, request{method: "POST", path: "/api/v1/signIn", body: body})
		took := work() - began
		if a.status != http.StatusUnauthorized {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return took
	}
	const samples = 40
	var known, unknown time.Duration
	for round := range 3 {
		var series [2][]time.Duration
		for i := range samples {
			must(t, h.rules.UnlockAdmin(t.Context(), operator(), adminName))
			names := []string{adminName, fmt.Sprintf("nobody-%d-%d", round, i)}
			for _, which := range []int{i % 2, (i + 1) % 2} { // no series always comes first
				series[which] = append(series[which], attempt(names[which]))
			}
		}
		slices.Sort(series[0])
		slices.Sort(series[1])
		known, unknown = series[0][samples/2], series[1][samples/2]
		t.Logf("median of a known name %s, of an unknown one %s", known, unknown)
		if (known - unknown).Abs() < known/5 {
			return
		}
	}
	t.Errorf("a known name takes %s, an unknown one %s", known, unknown)
}
