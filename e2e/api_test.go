package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// caller is somebody with curl: each of its calls is held to the published
// description.
type caller struct {
	t             *testing.T
	url           string
	http          *http.Client
	description   *description
	authorization string
}

func newCaller(t *testing.T, h home, client *http.Client) caller {
	t.Helper()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := caller{t: t, url: h.url, http: client}
	c.description = describedBy(t, c.do("GET", "/openapi.json", "").body)
	return c
}

// as is the same person with another Authorization value.
func (c caller) as(authorization string) caller {
	c.authorization = authorization
	return c
}

// do sends one request; header holds names and values in turn.
func (c caller) do(method, path, body string, header ...string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.authorization != "" {
		r.Header.Set("Authorization", c.authorization)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a := exchange(c.t, c.http, r)
	if c.description != nil {
		c.description.holds(c.t, r, body, a)
	}
	return a
}

// get answers the members of a 200, and fails the test on anything else.
func (c caller) get(path string) map[string]any {
	c.t.Helper()
	return c.expect(200, "GET", path, "")
}

func (c caller) expect(status int, method, path, body string, header ...string) map[string]any {
	c.t.Helper()
	a := c.do(method, path, body, header...)
	if a.status != status {
		c.t.Fatalf("%s %s answers %d %s, want %d", method, path, a.status, a.body, status)
	}
	var members map[string]any
	if a.body != "" {
		if err := json.Unmarshal([]byte(a.body), &members); err != nil {
			c.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return members
}

// refused expects a problem with a status and a code.
func (c caller) refused(status int, code, method, path, body string, header ...string) {
	c.t.Helper()
	if got := c.expect(status, method, path, body, header...); got["code"] != code {
		c.t.Errorf("%s %s is refused with %v, want %s", method, path, got["code"], code)
	}
}

// items are one member of each entry of a list.
func items(list map[string]any, member string) []string {
	var out []string
	entries, _ := list["items"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		out = append(out, fmt.Sprint(entry[member]))
	}
	return out
}

// overTLS is a home that shows a certificate of its own making, and a client that
// trusts it.
func overTLS(t *testing.T) (home, *http.Client) {
	t.Helper()
	h := install(t, "--admin-password-file", write(t, t.TempDir()+"/password", adminPassword+"\n"))
	certificate, key := pair(t, t.TempDir(), "localhost")
	h.manager(t, "config", "properties", "set", "server.tls.certificate", certificate)
	h.manager(t, "config", "properties", "set", "server.tls.key", key)
	h.manager(t, "config", "apply")
	h.manager(t, "start")
	trusted := x509.NewCertPool()
	text, err := os.ReadFile(certificate)
	if err != nil || !trusted.AppendCertsFromPEM(text) {
		t.Fatalf("the certificate: %v", err)
	}
	h.url = "https" + strings.TrimPrefix(h.url, "http")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: "localhost"}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return h, &http.Client{Transport: transport}
}

// One person does everything that the API offers, with nothing but HTTP.
func TestEverythingIsDoneOverHTTP(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		everything(t, newCaller(t, startHome(t), &http.Client{Transport: &http.Transport{}}))
	})
	t.Run("TLS", func(t *testing.T) {
		h, client := overTLS(t)
		everything(t, newCaller(t, h, client))
		in, err := client.Get(h.url + "/healthz")
		if err != nil || in.ProtoMajor != 2 {
			t.Fatalf("%v over %+v", err, in)
		}
		_ = in.Body.Close()
	})
}

func everything(t *testing.T, c caller) {
	t.Helper()
	anybodySees(t, c)
	login := signsIn(t, c)
	admin := c.as("Bearer " + createsAndUses(t, c.as("JWT "+login)))
	listsAndPages(t, admin)
	deletesAndRestores(t, admin)
	configures(t, admin)
	reads(t, admin)
	managesAdministrators(t, c.as("Bearer "+login))
	admin.expect(200, "POST", "/api/v1/keys/reset", `{"reason":"drill"}`)
	admin.refused(401, "token.invalid", "GET", "/api/v1/whoami", "")
	c.as("Bearer "+login).refused(401, "token.invalid", "GET", "/api/v1/whoami", "")
	fresh := signsIn(t, c)
	c.as("Bearer "+fresh).expect(204, "POST", "/api/v1/signOut", "")
	c.as("Bearer "+fresh).refused(401, "token.invalid", "GET", "/api/v1/whoami", "")
}

func anybodySees(t *testing.T, c caller) {
	t.Helper()
	if got := c.get("/healthz")["status"]; got != "ok" {
		t.Errorf("healthz says %v", got)
	}
	if got := c.get("/readyz")["status"]; got != "ready" {
		t.Errorf("readyz says %v", got)
	}
	keys := c.do("GET", "/.well-known/jwks.json", "")
	if keys.status != 200 || keys.header.Get("Content-Type") != "application/jwk-set+json" || keys.header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("the key set: %d %v", keys.status, keys.header)
	}
	tag := keys.header.Get("ETag")
	for name, header := range map[string][]string{"the same": {"If-None-Match", tag}, "among others": {"If-None-Match", `"x", W/` + tag}} {
		if again := c.do("GET", "/.well-known/jwks.json", "", header...); again.status != 304 || again.body != "" || again.header.Get("ETag") != tag {
			t.Errorf("%s: %d with %d bytes", name, again.status, len(again.body))
		}
	}
	for name, header := range map[string][]string{"a part": {"Range", "bytes=0-3"}, "another condition": {"If-Match", `"x"`}} {
		if again := c.do("GET", "/.well-known/jwks.json", "", header...); again.status != 200 || again.body != keys.body {
			t.Errorf("%s: %d with %d bytes", name, again.status, len(again.body))
		}
	}
	metadata := c.get("/.well-known/oauth-authorization-server")
	issuer, _ := metadata["issuer"].(string)
	if !strings.HasPrefix(issuer, "http") || metadata["jwks_uri"] != issuer+"/.well-known/jwks.json" {
		t.Errorf("metadata %v", metadata)
	}
	for _, path := range []string{"/api/v1/whoami", "/api/v1/tokens", "/api/v1/keys", "/api/v1/audit", "/api/v1/status", "/api/v1/config", "/api/v1/admins"} {
		c.refused(401, "token.missing", "GET", path, "")
	}
	c.refused(404, "path.not_found", "GET", "/api/v1/nothing", "")
	c.refused(405, "method.not_allowed", "PATCH", "/api/v1/tokens", "")
}

// signsIn does it with a form and with JSON, and answers a login token.
func signsIn(t *testing.T, c caller) string {
	t.Helper()
	in := c.expect(200, "POST", "/api/v1/signIn", "username=admin&password="+strings.ReplaceAll(adminPassword, " ", "+"), "Content-Type", "application/x-www-form-urlencoded")
	again := c.expect(200, "POST", "/api/v1/signIn", `{"username":"Admin","password":"`+adminPassword+`"}`)
	want := []string{"id", "message", "readOnly", "role", "tags", "token", "username"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(in))); diff != "" || in["role"] != "admin" || in["username"] != "admin" || again["id"] == in["id"] {
		t.Errorf("a sign-in answers %v, %s", in["id"], diff)
	}
	c.refused(400, "request.invalid", "POST", "/api/v1/signIn", `{"username":"admin"}`)
	c.refused(401, "login.refused", "POST", "/api/v1/signIn", `{"username":"admin","password":"another one altogether"}`)
	c.refused(415, "body.media_type", "POST", "/api/v1/signIn", "x", "Content-Type", "text/plain")
	login, _ := in["token"].(string)
	for _, scheme := range []string{"Bearer ", "JWT ", "jwt "} {
		if me := c.as(scheme + login).get("/api/v1/whoami"); me["kind"] != "login" || me["client_id"] != "admin" || me["id"] != in["id"] {
			t.Errorf("%s: the caller is %v", scheme, me)
		}
	}
	return login
}

// createsAndUses makes one token of each role and answers the Admin's text.
func createsAndUses(t *testing.T, c caller) string {
	t.Helper()
	text := make(map[string]string)
	for role, body := range map[string]string{
		"admin":    `{"client_id":"root-script","role":"admin","lifetime":"never"}`,
		"user":     `{"client_id":"dfsadmin","role":"user","tags":["team:data","env:prod"],"lifetime":"12h","description":"nightly load","contact":"data@example","allowed_addresses":["127.0.0.0/8"]}`,
		"verifier": `{"client_id":"gateway","role":"verifier","expires_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`,
	} {
		made := c.expect(201, "POST", "/api/v1/tokens", body)
		text[role], _ = made["token"].(string)
		if read := c.get("/api/v1/tokens/" + fmt.Sprint(made["id"])); read["role"] != role || read["state"] != "active" || read["created_by"] != "admin" || read["token"] != nil {
			t.Errorf("the record of %s is %v", role, read)
		}
		own := c.as("Bearer " + text[role])
		if me := own.get("/api/v1/whoami"); me["kind"] != "token" || me["id"] != made["id"] || me["role"] != role {
			t.Errorf("%s is %v", role, me)
		}
		if role != "admin" {
			own.refused(403, "token.insufficient", "GET", "/api/v1/tokens", "")
			own.refused(403, "token.insufficient", "POST", "/api/v1/tokens", body)
		}
	}
	door := c.as("Bearer "+text["user"]).do("GET", "/auth/verify?tag=team:data", "")
	got := []string{door.header.Get("X-Auth-Client-Id"), door.header.Get("X-Auth-Role"), door.header.Get("X-Auth-Tags")}
	if diff := cmp.Diff([]string{"dfsadmin", "user", "team:data,env:prod"}, got); diff != "" || door.status != 200 {
		t.Errorf("the door: %d %s", door.status, diff)
	}
	c.as("Bearer "+text["user"]).refused(403, "token.insufficient", "GET", "/auth/verify?role=admin", "")
	c.as("Bearer "+text["user"]).refused(403, "demand.invalid", "GET", "/auth/verify?role=root", "")
	c.as("Bearer "+text["verifier"]).refused(403, "token.insufficient", "GET", "/auth/verify", "")
	c.refused(401, "token.invalid", "GET", "/auth/verify", "") // a login opens no door
	c.as("").refused(401, "token.missing", "DELETE", "/auth/verify", "")

	const body = `{"client_id":"once","role":"user"}`
	one := c.expect(201, "POST", "/api/v1/tokens", body, "Idempotency-Key", "key-1")
	two := c.expect(201, "POST", "/api/v1/tokens", body, "Idempotency-Key", "key-1")
	if one["id"] != two["id"] || one["token"] != two["token"] {
		t.Errorf("a repeat made %v and %v", one["id"], two["id"])
	}
	c.refused(409, "idempotency_key.reused", "POST", "/api/v1/tokens", strings.Replace(body, "user", "admin", 1), "Idempotency-Key", "key-1")
	c.refused(400, "request.invalid", "POST", "/api/v1/tokens", `{"client_id":"data team","role":"root","tags":["x"]}`)
	c.refused(400, "body.malformed", "POST", "/api/v1/tokens", `{"client_id":"a","role":"user","id":"mine"}`)
	c.refused(413, "body.too_large", "POST", "/api/v1/tokens", `{"client_id":"`+strings.Repeat("a", 64<<10)+`"}`)
	return text["admin"]
}

func listsAndPages(t *testing.T, c caller) {
	t.Helper()
	for _, name := range []string{"page-1", "page-2", "page-3", "page-4", "page-5"} {
		c.expect(201, "POST", "/api/v1/tokens", `{"client_id":"`+name+`","role":"user","tags":["set:pages"]}`)
	}
	for query, want := range map[string][]string{
		"role=verifier":                         {"gateway"},
		"q=dfs":                                 {"dfsadmin"},
		"q=team:":                               {"dfsadmin"},
		"tag=env:prod":                          {"dfsadmin"},
		"client_id=root-script":                 {"root-script"},
		"expiring=13h&role=user":                {"dfsadmin"},
		"state=deleted":                         nil,
		"tag=set:pages&sort=client_id&dir=desc": {"page-5", "page-4", "page-3", "page-2", "page-1"},
		"sort=last_used_at&dir=desc&limit=1":    nil, // the order within one second is by id
		"q=page&state=active&sort=created_at&limit=2":  nil, // the order within one second is by id
		"state=all&role=user&tag=team:data&sort=role":  {"dfsadmin"},
		"sort=expires_at&dir=asc&limit=1&state=active": {"gateway"},
	} {
		list := c.get("/api/v1/tokens?" + query)
		if got := items(list, "client_id"); want != nil && !slices.Equal(got, want) || query == "state=deleted" && len(got) > 0 {
			t.Errorf("%s lists %v, want %v", query, got, want)
		}
	}
	var seen []string
	for cursor := ""; ; {
		page := c.get("/api/v1/tokens?q=page&limit=2&dir=desc&cursor=" + cursor)
		seen = append(seen, items(page, "client_id")...)
		if page["total"] != 5.0 {
			t.Errorf("total %v", page["total"])
		}
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			break
		}
		c.refused(400, "request.invalid", "GET", "/api/v1/tokens?q=page&limit=2&cursor="+cursor, "")
	}
	if diff := cmp.Diff([]string{"page-5", "page-4", "page-3", "page-2", "page-1"}, seen); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	for _, query := range []string{"limit=0", "limit=501", "state=lost", "sort=token", "dir=up", "role=root", "cursor=x"} {
		c.refused(400, "request.invalid", "GET", "/api/v1/tokens?"+query, "")
	}
	c.refused(400, "query.invalid", "GET", "/api/v1/tokens?page=2", "")
	if found := c.get("/api/v1/tokens/find?name=dfsadmin"); found["client_id"] != "dfsadmin" {
		t.Errorf("found %v", found)
	}
	c.refused(404, "token.not_found", "GET", "/api/v1/tokens/find?name=nobody", "")
}

func deletesAndRestores(t *testing.T, c caller) {
	t.Helper()
	made := c.expect(201, "POST", "/api/v1/tokens", `{"client_id":"short-lived","role":"user"}`)
	one, text := "/api/v1/tokens/"+fmt.Sprint(made["id"]), fmt.Sprint(made["token"])
	if again := c.expect(200, "POST", one+"/reveal", ""); again["token"] != made["token"] {
		t.Error("the text that is shown again is another")
	}
	c.expect(204, "DELETE", one, "")
	c.expect(204, "DELETE", one, "")
	gone := c.as("Bearer "+text).do("GET", "/api/v1/whoami", "")
	if gone.status != 401 || gone.header.Get("WWW-Authenticate") != challengeInvalid {
		t.Errorf("a deleted token: %d %q", gone.status, gone.header.Get("WWW-Authenticate"))
	}
	if got := items(c.get("/api/v1/tokens?state=deleted"), "client_id"); !slices.Equal(got, []string{"short-lived"}) {
		t.Errorf("deleted are %v", got)
	}
	if got := items(c.get("/api/v1/tokens?q=short-lived"), "client_id"); len(got) > 0 {
		t.Errorf("a deleted token is listed: %v", got)
	}
	c.refused(409, "token.deleted", "POST", one+"/reveal", "")
	if back := c.expect(200, "POST", one+"/restore", ""); back["state"] != "active" {
		t.Errorf("restored %v", back)
	}
	c.as("Bearer " + text).get("/api/v1/whoami")
	c.expect(204, "DELETE", one+"?leaked=true", "")
	c.refused(409, "token.deleted_for_good", "POST", one+"/restore", "")
	c.refused(404, "token.not_found", "DELETE", "/api/v1/tokens/tok_00000000000000000000000000", "")
	c.refused(404, "token.not_found", "GET", "/api/v1/tokens/..%2fkeys", "")
}

func configures(t *testing.T, c caller) {
	t.Helper()
	const lifetime = "/api/v1/config/properties/tokens.lifetime.default"
	before := c.get("/api/v1/config")
	staging, _ := before["staging"].(map[string]any)
	c.expect(200, "PUT", lifetime, `{"value":"30d"}`)
	if got := items(c.get("/api/v1/config/diff"), "after"); !slices.Equal(got, []string{"30d"}) {
		t.Errorf("staged %v", got)
	}
	c.refused(409, "config.revision", "POST", "/api/v1/config/apply", `{"revision":7777}`)
	c.expect(200, "POST", "/api/v1/config/apply", fmt.Sprintf(`{"revision":%v}`, staging["revision"]))
	if got := c.expect(200, "POST", "/api/v1/config/rollback", ""); len(got["differences"].([]any)) != 1 {
		t.Errorf("the rollback did %v", got)
	}
	c.expect(200, "PUT", lifetime, `{"value":"30d"}`)
	c.expect(200, "POST", "/api/v1/config/apply", "")
	c.expect(200, "DELETE", lifetime, "")
	if got := c.expect(200, "POST", "/api/v1/config/discard", "")["discarded"]; got != 1.0 {
		t.Errorf("discarded %v", got)
	}
	if got := c.expect(200, "POST", "/api/v1/config/apply", ""); len(got["differences"].([]any)) > 0 {
		t.Errorf("an apply with nothing staged did %v", got)
	}
	c.refused(404, "property.unknown", "PUT", "/api/v1/config/properties/tokens.lifetimes", `{"value":"1d"}`)
	c.refused(400, "config.invalid", "PUT", lifetime, `{"value":"soon"}`)
	c.refused(400, "body.malformed", "PUT", lifetime, `{"value":null}`)
}

func reads(t *testing.T, c caller) {
	t.Helper()
	if states := items(c.get("/api/v1/keys"), "state"); !slices.Contains(states, "current") || !slices.Contains(states, "next") {
		t.Errorf("keys are %v", states)
	}
	status := c.get("/api/v1/status")
	if store, _ := status["store"].(map[string]any); store["persistent"] != true || status["pid"] == nil {
		t.Errorf("status %v", status)
	}
	made := c.expect(201, "POST", "/api/v1/tokens", `{"client_id":"explained","role":"user"}`)
	checks := items(c.expect(200, "POST", "/api/v1/explain", fmt.Sprintf(`{"token":%q,"role":"admin"}`, made["token"])), "check")
	if len(checks) < 5 || checks[len(checks)-1] != "verdict" {
		t.Errorf("explained %v", checks)
	}
	var seen []string
	for cursor := ""; ; {
		page := c.get("/api/v1/audit?limit=20&action=token.&cursor=" + cursor)
		seen = append(seen, items(page, "action")...)
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			break
		}
	}
	for _, action := range []string{"token.created", "token.copied", "token.deleted", "token.restored"} {
		if !slices.Contains(seen, action) {
			t.Errorf("%s is not in the audit log: %v", action, seen)
		}
	}
	c.refused(400, "request.invalid", "GET", "/api/v1/audit?since=yesterday", "")
}

func managesAdministrators(t *testing.T, c caller) {
	t.Helper()
	const phrase, other = "another long phrase 77", "yet another phrase 88"
	c.expect(201, "POST", "/api/v1/admins", `{"username":"maria","password":"`+phrase+`"}`)
	c.refused(409, "admin.exists", "POST", "/api/v1/admins", `{"username":"maria","password":"`+phrase+`"}`)
	c.refused(400, "request.invalid", "POST", "/api/v1/admins", `{"username":"zoe","password":"short"}`)
	if names := items(c.get("/api/v1/admins"), "name"); !slices.Equal(names, []string{"admin", "maria"}) {
		t.Errorf("administrators are %v", names)
	}
	c.expect(204, "POST", "/api/v1/admins/maria/password", `{"password":"`+other+`"}`)
	c.refused(404, "admin.not_found", "POST", "/api/v1/admins/zoe/unlock", "")
	nobody := c.as("")
	for range 5 {
		nobody.refused(401, "login.refused", "POST", "/api/v1/signIn", `{"username":"maria","password":"`+phrase+`"}`)
	}
	paused := nobody.do("POST", "/api/v1/signIn", `{"username":"maria","password":"`+other+`"}`)
	if paused.status != 429 || paused.header.Get("Retry-After") == "" {
		t.Errorf("after five failures: %d %v", paused.status, paused.header)
	}
	c.expect(204, "POST", "/api/v1/admins/maria/unlock", "")
	nobody.expect(200, "POST", "/api/v1/signIn", `{"username":"maria","password":"`+other+`"}`)
	c.expect(204, "DELETE", "/api/v1/admins/maria", "")
	nobody.refused(401, "login.refused", "POST", "/api/v1/signIn", `{"username":"maria","password":"`+other+`"}`)
	c.refused(409, "admin.last", "DELETE", "/api/v1/admins/admin", "")
}
