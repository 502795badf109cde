package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hoard is every secret that a test has seen, by what it is.
type hoard map[string]string

// token keeps a token and its signature, which is as good as the whole for
// somebody who can read the claims.
func (s hoard) token(t *testing.T, what, text string) string {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 || len(parts[2]) < 40 {
		t.Fatalf("%s is not a JWT", what)
	}
	s[what], s["the signature of "+what] = text, parts[2]
	return text
}

// keyring keeps the secrets of the signing keys, in the forms in which they
// could turn up.
func (s hoard) keyring(t *testing.T, h home, when string) {
	t.Helper()
	var ring struct {
		Keys []struct {
			Kid    string `json:"kid"`
			Secret string `json:"secret"`
		} `json:"keys"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(h.dir, "keyring.json"))), &ring); err != nil || len(ring.Keys) < 2 {
		t.Fatalf("the keyring holds %d keys, %v", len(ring.Keys), err)
	}
	for i, key := range ring.Keys {
		raw, err := base64.StdEncoding.DecodeString(key.Secret)
		if err != nil || len(raw) < 32 {
			t.Fatalf("key %d is no secret: %v", i, err)
		}
		what := fmt.Sprintf("key %d %s", i, when)
		s[what], s[what+", raw"], s[what+", hexadecimal"] = key.Secret, string(raw), hex.EncodeToString(raw)
		s[what+", for URLs"] = base64.RawURLEncoding.EncodeToString(raw)
	}
}

// absent fails the test for every secret in a text, but those whose names begin
// with allowed, should it not be "".
func (s hoard) absent(t *testing.T, where, text, allowed string) {
	t.Helper()
	for what, secret := range s {
		if secret == "" {
			t.Fatalf("%s is empty", what)
		}
		if strings.Contains(text, secret) && (allowed == "" || !strings.HasPrefix(what, allowed)) {
			t.Errorf("%s holds %s", where, what)
		}
	}
}

// absentFrom looks through every file of a home and through what the system
// tells of its process. Keys may be in the keyring, and the one-time code in its file.
func (s hoard) absentFrom(t *testing.T, h home, when string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files++
		name := filepath.Base(path)
		s.absent(t, when+", "+name, read(t, path), map[string]string{"keyring.json": "key ", "first-sign-in-code": "the one-time code"}[name])
		return nil
	})
	if err != nil || files < 6 {
		t.Errorf("%s: %d files in the home, %v", when, files, err)
	}
	for _, name := range []string{"cmdline", "environ"} {
		path := fmt.Sprintf("/proc/%d/%s", h.status(t).PID, name)
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			t.Logf("this system has no %s", path)
			continue
		}
		s.absent(t, when+", "+name, string(text), "")
	}
	s.absent(t, when+", audit list", h.run(t, "audit", "list", "-o", "json").out, "")
}

// post sends a form of the console, as a browser does.
func (h home) post(t *testing.T, path, cookie string, form url.Values) answer {
	t.Helper()
	header := http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {h.url}}
	if cookie != "" {
		header.Set("Cookie", "mintmark_session="+cookie)
	}
	return call(t, request{
		method: http.MethodPost, url: h.url + path, header: header, contentType: "application/x-www-form-urlencoded", body: form.Encode(),
	})
}

// session is the value of the cookie that an answer sets.
func session(t *testing.T, a answer) string {
	t.Helper()
	for _, line := range a.header.Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(line); err == nil && c.Name == "mintmark_session" && c.Value != "" {
			return c.Value
		}
	}
	t.Fatalf("no session: %d", a.status)
	return ""
}

func TestNoSecretIsWrittenAnywhereButInTheKeyring(t *testing.T) {
	home := install(t)
	home.manager(t, "config", "properties", "set", "log.level", "debug")
	home.manager(t, "config", "apply")
	home.manager(t, "start")
	secrets := hoard{}
	secrets.keyring(t, home, "at first")

	chapter(t, "while the one-time code waits", func(t *testing.T) {
		secrets["the one-time code"] = strings.TrimSpace(read(t, filepath.Join(home.dir, "run", "first-sign-in-code")))
		secrets.absentFrom(t, home, "before the first sign-in")
	})
	var token, cookie string
	chapter(t, "tokens, logins and sessions", func(t *testing.T) {
		token, cookie = usesEverything(t, home, secrets)
		secrets.absentFrom(t, home, "after much use")
	})
	chapter(t, "refusals", func(t *testing.T) {
		for name, refused := range provocations(t, home, secrets, token, cookie) {
			if refused.status < 400 {
				t.Errorf("%s was answered %d", name, refused.status)
			}
			secrets.absent(t, "the refusal of "+name, fmt.Sprint(refused.header, refused.body), "")
		}
		secrets.absentFrom(t, home, "after many refusals")
	})
	chapter(t, "after a restart and a reset", func(t *testing.T) {
		host, err := os.Hostname()
		if err != nil {
			t.Fatal(err)
		}
		home.manager(t, "restart")
		home.manager(t, "support", "reset-jwt-key", "--confirm", host)
		secrets.keyring(t, home, "after the reset")
		secrets.token(t, "a token after the reset", home.token(t, "dfsadmin", "admin"))
		secrets.absentFrom(t, home, "after a reset")
	})
}

// usesEverything does what people do with a home, keeps every secret that it
// meets, and answers an Admin's token and a session.
func usesEverything(t *testing.T, h home, s hoard) (token, cookie string) {
	t.Helper()
	s["the password"], s["the second password"] = adminPassword, "quite another long password"
	h.post(t, "/setup", "", url.Values{"code": {"aaaaa-aaaaa-aaaaa-aaaaa"}, "username": {"admin"}, "password": {adminPassword}})
	setUp := h.post(t, "/setup", "", url.Values{"code": {s["the one-time code"]}, "username": {"admin"}, "password": {adminPassword}})
	s.token(t, "the first session", session(t, setUp))
	h.post(t, "/sign-in", "", url.Values{"username": {"admin"}, "password": {"wrong " + adminPassword}})
	cookie = s.token(t, "a session", session(t, h.post(t, "/sign-in", "", url.Values{"username": {"admin"}, "password": {adminPassword}})))

	token = s.token(t, "a token of the shell", h.token(t, "dfsadmin", "admin"))
	s.token(t, "a token for good", h.token(t, "etl", "user", "--tag", "team:data", "--expires", "never"))
	file := filepath.Join(t.TempDir(), "ci.token")
	h.manager(t, "token", "create", "--client-id", "ci", "--role", "verifier", "--out-file", file)
	s.token(t, "a token in a file", strings.TrimSpace(read(t, file)))
	for range 2 { // the second time from the receipt
		made := call(t, request{
			method: http.MethodPost, url: h.url + "/api/v1/tokens", authorization: "Bearer " + token, contentType: "application/json",
			body: `{"client_id":"api","role":"user"}`, header: http.Header{"Idempotency-Key": {"once"}},
		})
		s.token(t, "a token of the API", member(t, made, "token"))
	}
	made := h.post(t, "/tokens/new", cookie, url.Values{"client_id": {"page"}, "role": {"user"}, "expires": {"90"}})
	if made.status != http.StatusCreated {
		t.Fatalf("the dialog was answered %d", made.status)
	}
	s.token(t, "a token of the dialog", strings.TrimSpace(h.run(t, "token", "copy", "page").out))
	if !strings.Contains(made.body, s["a token of the dialog"]) {
		t.Error("a copy is not what the dialog showed")
	}
	h.accepts(t, "Bearer "+token, "dfsadmin")
	s.token(t, "a login token", h.signIn(t, "application/json", `{"username":"admin","password":"`+adminPassword+`"}`))
	h.accepts(t, "JWT "+s["a login token"], "admin")

	inspect := exec.Command(filepath.Join(h.dir, "manager"), "token", "inspect")
	inspect.Stdin = strings.NewReader(token)
	out, err := inspect.CombinedOutput()
	if err != nil {
		t.Errorf("token inspect: %v", err)
	}
	s.absent(t, "token inspect", string(out), "")
	h.manager(t, "token", "delete", "etl", "--yes")
	h.manager(t, "token", "restore", "etl")
	second := write(t, filepath.Join(t.TempDir(), "second"), s["the second password"]+"\n")
	h.manager(t, "admin", "create", "second", "--password-file", second)
	h.manager(t, "admin", "reset-password", "second", "--password-file", second)
	return token, cookie
}

// member is a text in a JSON answer.
func member(t *testing.T, a answer, name string) string {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("%d: %v", a.status, err)
	}
	text, _ := body[name].(string)
	return text
}

// provocations are requests with a secret in a place where it does not belong.
func provocations(t *testing.T, h home, s hoard, token, cookie string) map[string]answer {
	t.Helper()
	bearer, api := "Bearer "+token, h.url+"/api/v1/"
	forged := token[:len(token)-4] + "AAAA"
	dead := s["a token for good"]
	h.manager(t, "token", "delete", "etl", "--yes", "--leaked")
	json := func(path, body string) request {
		return request{method: http.MethodPost, url: api + path, authorization: bearer, contentType: "application/json", body: body}
	}
	refused := make(map[string]answer)
	for name, r := range map[string]request{
		"a deleted token":              {url: api + "whoami", authorization: "Bearer " + dead},
		"a forged token":               {url: api + "whoami", authorization: "Bearer " + forged},
		"a token with a space in it":   {url: api + "whoami", authorization: bearer + " x"},
		"a token twice":                {url: api + "whoami", header: http.Header{"Authorization": {bearer, bearer}}},
		"a token of 10,000 letters":    {url: api + "whoami", authorization: "Bearer " + token + strings.Repeat("x", 10000)},
		"a token of 40,000 letters":    {url: api + "whoami", authorization: "Bearer " + token + strings.Repeat("x", 40000)},
		"a token in the query":         {url: api + "whoami?access_token=" + token},
		"a token in the path":          {url: api + "tokens/" + token, authorization: bearer},
		"a token as a page":            {url: h.url + "/tokens/" + token, header: http.Header{"Cookie": {"mintmark_session=" + cookie}}},
		"a token as a session":         {method: http.MethodPost, url: h.url + "/secret/reset", header: http.Header{"Cookie": {"mintmark_session=" + token}, "Sec-Fetch-Site": {"cross-site"}}},
		"a session as a token":         {url: h.url + "/auth/verify", authorization: "Bearer " + cookie},
		"a token as a needed client":   {url: h.url + "/auth/verify?client_id=" + token, authorization: bearer},
		"a token as a needed role":     {url: h.url + "/auth/verify?role=" + token, authorization: bearer},
		"a token as a sort key":        {url: api + "tokens?sort=" + token, authorization: bearer},
		"a token as a cursor":          {url: api + "tokens?cursor=" + token, authorization: bearer},
		"another method":               {method: http.MethodPut, url: api + "tokens", authorization: bearer, body: token},
		"another type":                 {method: http.MethodPost, url: api + "tokens", authorization: bearer, contentType: "text/plain", body: token},
		"no JSON":                      json("tokens", token),
		"a token as a member's name":   json("tokens", `{"`+token+`":1}`),
		"a token as a client ID":       json("tokens", `{"client_id":"`+token+`","role":"user"}`),
		"a token as a role":            json("tokens", `{"client_id":"x","role":"`+token+`"}`),
		"a token as a lifetime":        json("tokens", `{"client_id":"x","role":"user","lifetime":"`+token+`"}`),
		"a token as a property":        {method: http.MethodPut, url: api + "config/properties/" + token, authorization: bearer, contentType: "application/json", body: `{"value":"1"}`},
		"a body of 100,000 letters":    json("tokens", `{"client_id":"`+strings.Repeat(token, 100_000/len(token))+`"}`),
		"a wrong password":             json("signIn", `{"username":"admin","password":"`+s["the second password"]+`"}`),
		"a password as the name":       json("signIn", `{"username":"`+adminPassword+`","password":"`+adminPassword+`"}`),
		"a password as another member": json("signIn", `{"username":"admin","passwort":"`+adminPassword+`"}`),
		"a password in the query":      {method: http.MethodPost, url: api + "signIn?password=" + url.QueryEscape(adminPassword), contentType: "application/x-www-form-urlencoded", body: "username=admin"},
		"a database's password":        {method: http.MethodPut, url: api + "config/properties/api.access.tokens.store", authorization: bearer, contentType: "application/json", body: `{"value":"postgres://u:` + url.QueryEscape(adminPassword) + `@db/x"}`},
	} {
		refused[name] = call(t, r)
	}
	refused["a password as the name, in the console"] = h.post(t, "/sign-in", "", url.Values{"username": {"Admin"}, "password": {"x" + adminPassword}})
	refused["a used code"] = h.post(t, "/setup", "", url.Values{"code": {s["the one-time code"]}, "username": {"x"}, "password": {adminPassword}})
	return refused
}
