package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// npmTimeout bounds the fetching of a few small packages.
const npmTimeout = 3 * time.Minute

// clients is where the OAuth libraries of testdata/oauth are.
var clients = sync.OnceValues(func() (string, error) { return npmInstall("oauth") })

// npmInstall has npm install the packages of a folder of testdata, by its lock
// file, into the folder of this run, and answers where they are.
func npmInstall(name string) (string, error) {
	dir := filepath.Join(scratch, name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), npmTimeout)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
}

// client is how a library says who it is.
type client struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

func (i issued) client() client { return client{i.ClientID, i.Token} }

// step is one thing that a library is told to do.
type step struct {
	Do       string `json:"do"`
	Client   client `json:"client"`
	Method   string `json:"method,omitempty"` // basic or post
	Token    string `json:"token,omitempty"`
	Audience string `json:"audience,omitempty"`
}

// came is what came of a step.
type came struct {
	Value  map[string]any `json:"value"`
	Error  string         `json:"error"`
	Status int            `json:"status"`
}

// take has the libraries take the steps, one after another, in one process.
// Secrets go to it by its standard input.
func (h home) take(t *testing.T, steps ...step) []came {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing := program + " IS NOT INSTALLED, OAuth libraries were not tested; on Debian: apt-get install nodejs npm"
			if os.Getenv("CI") != "" {
				t.Fatal(missing)
			}
			t.Skip(missing)
		}
	}
	dir, err := clients()
	if err != nil {
		t.Fatal(err)
	}
	asked, err := json.Marshal(map[string]any{"issuer": h.url, "steps": steps})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	node := exec.CommandContext(ctx, "node", filepath.Join(dir, "client.mjs"))
	node.Stdin, node.Stdout, node.Stderr = bytes.NewReader(asked), &out, &errs
	if err := node.Run(); err != nil {
		t.Fatalf("the libraries: %v\n%s", err, errs.String())
	}
	var results []came
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != len(steps) {
		t.Fatalf("%d results of %d steps, %v: %s", len(results), len(steps), err, out.Bytes())
	}
	return results
}

// wants are the steps, and what must come of each: a value, or an error with its
// status.
type wants struct {
	steps []step
	check []func(*testing.T, step, came)
}

func (w *wants) value(s step, want map[string]any) {
	w.steps = append(w.steps, s)
	w.check = append(w.check, func(t *testing.T, s step, got came) {
		if diff := cmp.Diff(want, got.Value); diff != "" || got.Error != "" {
			t.Errorf("%s %s: error %q (-want +got):\n%s", s.Do, s.Method, got.Error, diff)
		}
	})
}

func (w *wants) fails(s step, code string, status int) {
	w.steps = append(w.steps, s)
	w.check = append(w.check, func(t *testing.T, s step, got came) {
		if got.Error != code || got.Status != status {
			t.Errorf("%s %s: %v, error %q with status %d, want %q with %d", s.Do, s.Method, got.Value, got.Error, got.Status, code, status)
		}
	})
}

func (w *wants) take(t *testing.T, h home) {
	t.Helper()
	for i, got := range h.take(t, w.steps...) {
		w.check[i](t, w.steps[i], got)
	}
}

// Three libraries that know nothing of us find the authority by its metadata,
// verify tokens by the published keys, introspect and revoke.
func TestOAuthLibrariesWorkUnmodified(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			s.home.manager(t, "config", "properties", "set", "jwt.algorithm", alg)
			s.home.manager(t, "config", "apply")
			s.home.manager(t, "support", "reset-jwt-key", "--confirm", host) // the algorithm is that of the next key
			s.admin.Token = s.home.token(t, "root-script", "admin")
			s.librariesVerify(t)
			s.librariesIntrospect(t)
			s.librariesRevoke(t)
		})
	}
}

// claims are what a token says, and what introspection tells of it beside.
func (s *site) claims(i issued, more map[string]any) map[string]any {
	tags := []any{}
	for _, tag := range i.Tags {
		tags = append(tags, tag)
	}
	c := map[string]any{
		"iss": s.home.url, "sub": i.ClientID, "client_id": i.ClientID, "jti": i.ID, "role": i.Role, "tags": tags,
		"iat": float64(i.CreatedAt.Unix()), "exp": float64(i.ExpiresAt.Unix()),
	}
	for name, value := range more {
		c[name] = value
	}
	return c
}

func (s *site) librariesVerify(t *testing.T) {
	good := s.issue(t, `{"client_id":"etl@dc1","role":"user","tags":["team:data"],"audience":["https://api.example"]}`)
	forged := good.Token[:len(good.Token)-8] + "AAAAAAAA"
	var w wants
	w.value(step{Do: "metadata"}, map[string]any{
		"issuer": s.home.url, "jwks_uri": s.home.url + "/.well-known/jwks.json",
		"introspection_endpoint": s.home.url + "/oauth2/introspect", "revocation_endpoint": s.home.url + "/oauth2/revoke",
		"introspection_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "Bearer"},
		"revocation_endpoint_auth_methods_supported":    []any{"client_secret_basic", "client_secret_post"},
		"response_types_supported":                      []any{}, "grant_types_supported": []any{},
	})
	for _, library := range []string{"jose verify", "oauth4webapi validate"} {
		w.value(step{Do: library, Token: good.Token, Audience: "https://api.example"}, s.claims(good, map[string]any{"aud": "https://api.example"}))
	}
	w.fails(step{Do: "jose verify", Token: forged, Audience: "https://api.example"}, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED", 0)
	w.fails(step{Do: "jose verify", Token: good.Token, Audience: "https://elsewhere.example"}, "ERR_JWT_CLAIM_VALIDATION_FAILED", 0)
	w.take(t, s.home)
}

func (s *site) librariesIntrospect(t *testing.T) {
	verifier := s.issue(t, `{"client_id":"gate@dc1","role":"verifier"}`)
	user := s.issue(t, `{"client_id":"etl@dc1","role":"user","tags":["team:data","env:prod"]}`)
	told := s.claims(user, map[string]any{"active": true, "token_type": "Bearer", "aud": []any{s.home.url}})
	inactive := map[string]any{"active": false}
	var w wants
	for _, do := range []string{"oauth4webapi introspect", "openid-client introspect"} {
		for _, method := range []string{"basic", "post"} {
			ask := step{Do: do, Method: method, Client: verifier.client(), Token: user.Token}
			w.value(ask, told)
			ask.Token = "x"
			w.value(ask, inactive)
			ask.Token = verifier.Token // opens no door
			w.value(ask, inactive)
			ask.Token = user.Token
			for _, wrong := range []client{{verifier.ClientID, "x"}, {"etl@dc1", verifier.Token}, user.client()} {
				ask.Client = wrong
				w.fails(ask, "OAUTH_WWW_AUTHENTICATE_CHALLENGE", http.StatusUnauthorized)
			}
		}
	}
	w.take(t, s.home)
}

func (s *site) librariesRevoke(t *testing.T) {
	verifier := s.issue(t, `{"client_id":"gate@dc1","role":"verifier"}`)
	inactive := map[string]any{"active": false}
	var w wants
	for _, library := range []string{"oauth4webapi", "openid-client"} {
		for _, method := range []string{"basic", "post"} {
			owner := s.issue(t, `{"client_id":"etl@dc1","role":"user","tags":["team:data"],"audience":["https://api.example","`+s.home.url+`"]}`)
			sister := s.issue(t, `{"client_id":"etl@dc1","role":"user"}`)
			foreign := s.issue(t, `{"client_id":"other","role":"user"}`)
			introspect := func(i issued) step {
				return step{Do: library + " introspect", Method: method, Client: verifier.client(), Token: i.Token}
			}
			revoke := func(token string) step {
				return step{Do: library + " revoke", Method: method, Client: owner.client(), Token: token}
			}
			for _, token := range []string{sister.Token, sister.Token, foreign.Token, "x"} {
				w.value(revoke(token), nil)
			}
			w.value(introspect(sister), inactive)
			w.value(introspect(foreign), s.claims(foreign, map[string]any{"active": true, "token_type": "Bearer", "aud": []any{s.home.url}}))
			w.value(revoke(owner.Token), nil)
			w.value(introspect(owner), inactive)
			w.fails(revoke(owner.Token), "OAUTH_WWW_AUTHENTICATE_CHALLENGE", http.StatusUnauthorized) // its secret has ended with it
			// Who verifies by the keys alone does not know: that is the bound of it.
			w.value(step{Do: "jose verify", Token: owner.Token, Audience: "https://api.example"}, s.claims(owner, map[string]any{"aud": []any{"https://api.example", s.home.url}}))
		}
	}
	w.take(t, s.home)
}

// Every answer about what is not good is the same to the last byte and field,
// over the wire of a real server.
func TestInactiveAnswersCannotBeToldApart(t *testing.T) {
	s := newSite(t)
	verifier := s.issue(t, `{"client_id":"gate","role":"verifier"}`)
	short := s.issue(t, fmt.Sprintf(`{"client_id":"short","role":"user","expires_at":%q}`, time.Now().Add(10*time.Second).UTC().Format(time.RFC3339)))
	deleted, leaked := s.issue(t, `{"client_id":"gone","role":"user"}`), s.issue(t, `{"client_id":"leaked","role":"admin"}`)
	s.revoke(t, deleted)
	if got := call(t, request{method: http.MethodDelete, url: s.home.url + "/api/v1/tokens/" + leaked.ID + "?leaked=true", authorization: bearer(s.admin.Token)}); got.status != http.StatusNoContent {
		t.Fatalf("deleting answers %d", got.status)
	}
	introspect := func(token string) answer {
		return call(t, request{
			method: http.MethodPost, url: s.home.url + "/oauth2/introspect", authorization: bearer(verifier.Token),
			contentType: "application/x-www-form-urlencoded", body: url.Values{"token": {token}}.Encode(),
		})
	}
	eventually(t, "the token expires", func() bool { return !strings.Contains(introspect(short.Token).body, "true") })
	var signedIn struct{ Token string }
	in := call(t, request{
		method: http.MethodPost, url: s.home.url + "/api/v1/signIn", contentType: "application/json",
		body: `{"username":"admin","password":"` + adminPassword + `"}`,
	})
	if err := json.Unmarshal([]byte(in.body), &signedIn); err != nil || signedIn.Token == "" {
		t.Fatalf("signing in answers %d, %v", in.status, err)
	}
	good := s.user.Token
	want := introspect("x")
	if want.status != http.StatusOK || want.body != `{"active":false}` || want.header.Get("Cache-Control") != "no-store" || want.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", want.status, want.header, want.body)
	}
	for name, token := range map[string]string{
		"expired": short.Token, "deleted": deleted.Token, "leaked": leaked.Token, "a login's": signedIn.Token, "a Verifier's": verifier.Token,
		"cut": good[:len(good)-2], "forged": good[:len(good)-8] + "AAAAAAAA", "dots": strings.Repeat(".", 100), "large": strings.Repeat("a", 20_000), "bytes": "\x00\xff",
		"of none": "eyJhbGciOiJub25lIn0" + good[strings.IndexByte(good, '.'):strings.LastIndexByte(good, '.')+1],
		"foreign": s.issue(t, `{"client_id":"other","role":"user","audience":["https://elsewhere.example"]}`).Token,
		"bound":   s.issue(t, `{"client_id":"fenced","role":"user","allowed_addresses":["127.0.0.0/8"]}`).Token,
	} {
		got := introspect(token)
		for _, h := range []http.Header{want.header, got.header} {
			for _, changing := range []string{"Date", "X-Request-Id"} {
				h.Del(changing)
			}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s (-unknown +got):\n%s", name, diff)
		}
	}
	if got := introspect(good); !strings.HasPrefix(got.body, `{"active":true`) {
		t.Errorf("a good token: %d %s", got.status, got.body)
	}
}

// The published description holds for what these doors answer, well or not.
func TestTheDoorsAnswerAsTheyAreDescribed(t *testing.T) {
	s := newSite(t)
	verifier := s.issue(t, `{"client_id":"gate","role":"verifier"}`)
	d := describedBy(t, call(t, request{url: s.home.url + "/openapi.json"}).body)
	const form, metadata = "application/x-www-form-urlencoded", "/.well-known/oauth-authorization-server"
	review := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + s.user.Token + `"}}`
	for _, c := range []struct {
		path, as, media, body string
		status                int
	}{
		{"/oauth2/introspect", bearer(verifier.Token), form, "token=" + s.user.Token, 200},
		{"/oauth2/introspect", bearer(verifier.Token), form, "token=x", 200},
		{"/oauth2/introspect", bearer(verifier.Token), form, "", 400},
		{"/oauth2/introspect", bearer(verifier.Token), "application/json", `{"token":"x"}`, 400},
		{"/oauth2/introspect", "", form, "token=x", 401},
		{"/oauth2/introspect", "Basic Z2F0ZTp4", form, "token=x", 401},
		{"/oauth2/introspect", bearer(s.user.Token), form, "token=x", 401},
		{"/oauth2/introspect", bearer(verifier.Token), "", "", 405}, // by GET
		{"/oauth2/revoke", bearer(s.plain.Token), form, "token=x", 200},
		{"/oauth2/revoke", bearer(s.plain.Token), form, "token=" + s.plain.Token, 200},
		{"/oauth2/revoke", bearer(s.plain.Token), form, "token=" + s.plain.Token, 401},
		{"/k8s/tokenreview", bearer(verifier.Token), "application/json", review, 200},
		{"/k8s/tokenreview", bearer(s.user.Token), "application/json", review, 403},
		{"/k8s/tokenreview", "", "application/json", review, 401},
		{"/k8s/tokenreview", bearer(verifier.Token), "application/json", `{}`, 400},
		{"/k8s/tokenreview", bearer(verifier.Token), form, "a=b", 415},
		{metadata, "", "", "", 200},
		{metadata + "/tenant", "", "", "", 404},
	} {
		q := request{method: http.MethodPost, url: s.home.url + c.path, authorization: c.as, contentType: c.media, body: c.body}
		if c.media == "" {
			q.method = http.MethodGet
		}
		got := call(t, q)
		if got.status != c.status {
			t.Errorf("%s %s with %d bytes answers %d %s, want %d", q.method, c.path, len(c.body), got.status, got.body, c.status)
		}
		r, err := http.NewRequestWithContext(t.Context(), q.method, q.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", c.media)
		d.holds(t, r, c.body, got)
	}
}
