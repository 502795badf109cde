package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"

	"github.com/google/go-cmp/cmp"
)

const ownAudience, secondAudience = "https://api.example", "https://batch.example"

// house is the door over a real authority, store, keyring and live set.
type house struct {
	t       testing.TB
	rules   *authority.Authority
	live    *liveset.Set
	handler http.Handler
	log     bytes.Buffer
	clock   atomic.Int64
	secrets []string
}

func (h *house) now() time.Time { return time.Unix(0, h.clock.Load()).UTC() }

func audience() []string { return []string{ownAudience, secondAudience} }

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t}
	h.clock.Store(time.Date(2026, 11, 23, 14, 8, 2, 5e8, time.UTC).UnixNano())
	policy := authority.Policy{
		Issuer: "https://tokens.example", Audience: audience(), Algorithm: "ES256", Copy: authority.CopyAllow,
		DefaultLifetime: 90 * 24 * time.Hour, NeverExpire: true, RestoreGrace: time.Hour, LoginAbsolute: 12 * time.Hour, LoginAttempts: 5, LoginPause: time.Minute,
	}
	ring := signing.InMemory(rand.Reader)
	store, err := mapstore.Open(mapstore.Config{Now: h.now})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	h.live, err = liveset.New(liveset.Config{
		Verifier: ring.Verifier, Audience: audience, LoginIssuer: func() string { return policy.Issuer },
		LoginIdle: func() time.Duration { return time.Hour }, Now: h.now,
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), store, id)
		},
	})
	must(t, err)
	h.rules, err = authority.New(authority.Config{
		Store: store, Custody: ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: h.live, Policy: func() authority.Policy { return policy }, Now: h.now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(t, err)
	must(t, h.rules.Found(t.Context(), operator()))
	must(t, store.Follow(t.Context(), h.live))
	h.handler = h.wrap("")
	t.Cleanup(func() {
		for _, secret := range h.secrets {
			if strings.Contains(h.log.String(), secret) {
				t.Error("a secret is in the log")
			}
		}
	})
	return h
}

func (h *house) wrap(operator string) http.Handler {
	return edge.Wrap(edge.Config{
		Log: slog.New(slog.NewJSONHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: h.now, Operator: operator,
		NewID:          func() string { return "req_1" },
		TrustedProxies: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} },
	}, gateway.Verify{Live: h.live, Audience: audience})
}

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{RequestID: "req_setup"})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) issue(r authority.TokenRequest) authority.Issued {
	h.t.Helper()
	issued, err := h.rules.IssueToken(h.t.Context(), operator(), r, "")
	must(h.t, err)
	h.secrets = append(h.secrets, issued.Text.Unsafe())
	return issued
}

// ask sends one question and holds the answer to what every answer promises.
func (h *house) ask(method, query string, header http.Header) *http.Response {
	h.t.Helper()
	r := httptest.NewRequest(method, "/auth/verify?"+query, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	resp := w.Result()
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		h.t.Errorf("Cache-Control is %q", got)
	}
	names := []string{"X-Auth-Client-Id", "X-Auth-Role", "X-Auth-Tags", "X-Auth-Token-Id"}
	for _, name := range names {
		if _, set := resp.Header[name]; set != (resp.StatusCode == http.StatusOK) {
			h.t.Errorf("%d with %s set: %v", resp.StatusCode, name, set)
		}
	}
	if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode == http.StatusUnauthorized && challenge == "" {
		h.t.Error("401 without a challenge")
	}
	return resp
}

func bearer(i authority.Issued) http.Header {
	return http.Header{"Authorization": {"Bearer " + i.Text.Unsafe()}}
}

func codeOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	var p struct {
		Code      string `json:"code"`
		Status    int    `json:"status"`
		RequestID string `json:"request_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		t.Fatalf("%d: %v", resp.StatusCode, err)
	}
	if p.Status != resp.StatusCode || p.RequestID != "req_1" || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("problem %+v as %s", p, resp.Header.Get("Content-Type"))
	}
	return p.Code
}

func TestAnAllowedTokenTellsWhoItIs(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "dfsadmin", Role: "user", Tags: []string{"team:data", "env:prod"}})
	admin := h.issue(authority.TokenRequest{ClientID: "root-script", Role: "admin"})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"} {
		resp := h.ask(method, "", bearer(user))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", method, resp.StatusCode)
		}
		want := []string{"dfsadmin", "user", "team:data,env:prod", string(user.ID)}
		got := []string{resp.Header.Get("X-Auth-Client-Id"), resp.Header.Get("X-Auth-Role"), resp.Header.Get("X-Auth-Tags"), resp.Header.Get("X-Auth-Token-Id")}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", method, diff)
		}
	}
	resp := h.ask("GET", "", bearer(admin))
	if tags, set := resp.Header["X-Auth-Tags"]; !set || len(tags) != 1 || tags[0] != "" {
		t.Errorf("no tags are told as %q", tags)
	}
}

func TestEveryRefusalHasItsStatus(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "dfsadmin", Role: "user", Tags: []string{"team:data"}})
	admin := h.issue(authority.TokenRequest{ClientID: "root-script", Role: "admin"})
	verifier := h.issue(authority.TokenRequest{ClientID: "gate", Role: "verifier"})
	deleted := h.issue(authority.TokenRequest{ClientID: "gone", Role: "user"})
	_, err := h.rules.RevokeToken(t.Context(), operator(), deleted.ID, false)
	must(t, err)
	elsewhere := h.issue(authority.TokenRequest{ClientID: "other", Role: "user", Audience: []string{"https://elsewhere.example"}})
	second := h.issue(authority.TokenRequest{ClientID: "batch", Role: "user", Audience: []string{secondAudience}})
	fenced := h.issue(authority.TokenRequest{ClientID: "fenced", Role: "user", AllowedAddresses: []string{"10.2.0.0/16"}})
	for name, c := range map[string]struct {
		token  authority.Issued
		query  string
		status int
	}{
		"user":                       {user, "", 200},
		"user asked for user":        {user, "role=user", 200},
		"user asked for admin":       {user, "role=admin", 403},
		"user asked for both":        {user, "role=admin&role=user", 403},
		"user asked for both, again": {user, "role=user&role=admin", 403},
		"admin asked for admin":      {admin, "role=admin", 200},
		"admin asked for tags":       {admin, "tag=team:data&tag=env:prod", 200},
		"verifier":                   {verifier, "", 403},
		"verifier widens the door":   {verifier, "role=verifier", 403},
		"tag it has":                 {user, "tag=team%3Adata", 200},
		"tag it has not":             {user, "tag=team:data&tag=env:prod", 403},
		"client it is":               {user, "client_id=dfsadmin", 200},
		"client it is not":           {user, "client_id=maria", 403},
		"client in another case":     {user, "client_id=DFSadmin", 403},
		"admin is another client":    {admin, "client_id=dfsadmin", 403},
		"deleted":                    {deleted, "", 401},
		"for elsewhere":              {elsewhere, "", 401},
		"elsewhere widens the door":  {elsewhere, "audience=https://elsewhere.example", 403},
		"for one of ours":            {second, "", 200},
		"for the one asked":          {second, "audience=" + secondAudience, 200},
		"for another than asked":     {second, "audience=" + ownAudience, 401},
		"from elsewhere":             {fenced, "", 403},
		"unknown role":               {user, "role=root", 403},
		"empty role":                 {user, "role=", 403},
		"malformed tag":              {user, "tag=x", 403},
		"two clients":                {user, "client_id=dfsadmin&client_id=dfsadmin", 403},
		"client with space":          {user, "client_id=%20dfsadmin", 403},
		"two audiences":              {user, "audience=" + ownAudience + "&audience=" + secondAudience, 403},
		"malformed escape":           {user, "role=%zz", 403},
		"escaped name":               {user, "%72ole=admin", 403},
		"semicolon":                  {user, "role=user;x=1", 403},
		"the client's own query":     {user, "q=1&q=2&filter=%zz&a;b&access=1", 200},
	} {
		t.Run(name, func(t *testing.T) {
			resp := h.ask("GET", c.query, bearer(c.token))
			if resp.StatusCode != c.status {
				t.Errorf("%d, want %d", resp.StatusCode, c.status)
			}
			if c.status != http.StatusOK {
				codeOf(t, resp)
			}
			if !slices.Contains([]int{200, 401, 403}, resp.StatusCode) {
				t.Errorf("a proxy takes %d for a fault of the door", resp.StatusCode)
			}
		})
	}
}

func TestADoorNamesTheRoleThatIsMissing(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "dfsadmin", Role: "user"})
	verifier := h.issue(authority.TokenRequest{ClientID: "gate", Role: "verifier"})
	for _, c := range []struct {
		token authority.Issued
		query string
		want  string
	}{
		{user, "role=admin", `, scope="admin"`}, {verifier, "", `, scope="user"`}, {user, "tag=a:b", ""}, {user, "client_id=maria", ""},
	} {
		got := h.ask("GET", c.query, bearer(c.token)).Header.Get("WWW-Authenticate")
		want := `Bearer realm="mintmark", error="insufficient_scope", error_description="the token does not allow this"` + c.want
		if got != want {
			t.Errorf("%q: %s", c.query, got)
		}
	}
}

func TestAllInvalidTokensReadAlike(t *testing.T) {
	h := newHouse(t)
	deleted := h.issue(authority.TokenRequest{ClientID: "gone", Role: "user"})
	_, err := h.rules.RevokeToken(t.Context(), operator(), deleted.ID, false)
	must(t, err)
	short := h.issue(authority.TokenRequest{ClientID: "short", Role: "user", Lifetime: time.Second})
	live := h.issue(authority.TokenRequest{ClientID: "live", Role: "user"}).Text.Unsafe()
	h.clock.Add(int64(2 * time.Second))
	var first string
	for i, text := range []string{"x", deleted.Text.Unsafe(), short.Text.Unsafe(), live[:len(live)-3], live[3:], strings.Repeat("a.", 9000), "eyJhbGciOiJub25lIn0.e30."} {
		resp := h.ask("GET", "", http.Header{"Authorization": {"Bearer " + text}})
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		got := resp.Header.Get("WWW-Authenticate") + string(body)
		if i == 0 {
			first = got
		}
		if resp.StatusCode != http.StatusUnauthorized || got != first || !strings.Contains(got, `"code":"token.invalid"`) {
			t.Errorf("%d: %d %s", i, resp.StatusCode, got)
		}
	}
}

func TestACredentialIsTakenFromExactlyOnePlace(t *testing.T) {
	h := newHouse(t)
	token := h.issue(authority.TokenRequest{ClientID: "a", Role: "user"}).Text.Unsafe()
	for name, c := range map[string]struct {
		fields []string
		query  string
		status int
		code   string
	}{
		"none":             {nil, "", 401, "token.missing"},
		"jwt scheme":       {[]string{"JWT " + token}, "", 200, ""},
		"lower case":       {[]string{"bearer " + token}, "", 200, ""},
		"twice":            {[]string{"Bearer " + token, "Bearer " + token}, "", 401, "credential.malformed"},
		"list":             {[]string{"Bearer " + token + ",Bearer x"}, "", 401, "credential.malformed"},
		"tab":              {[]string{"Bearer\t" + token}, "", 401, "token.missing"},
		"basic":            {[]string{"Basic eDp5"}, "", 401, "token.missing"},
		"query":            {nil, "access_token=" + token, 401, "credential.malformed"},
		"query and header": {[]string{"Bearer " + token}, "access_token=" + token, 401, "credential.malformed"},
		"escaped query":    {[]string{"Bearer " + token}, "%61ccess_token=" + token, 401, "credential.malformed"},
		"line break":       {[]string{"Bearer x\r\nX-Auth-Role: admin"}, "", 401, "credential.malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := h.ask("GET", c.query, http.Header{"Authorization": c.fields})
			if resp.StatusCode != c.status {
				t.Fatalf("%d, want %d", resp.StatusCode, c.status)
			}
			if c.code != "" && codeOf(t, resp) != c.code {
				t.Error("another code")
			}
		})
	}
}

func TestTheClientsOwnHeadersAreNoIdentity(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "dfsadmin", Role: "user"})
	header := bearer(user)
	header["X-Auth-Role"], header["X-Auth-Tags"] = []string{"admin"}, []string{"team:all"}
	resp := h.ask("GET", "", header)
	if resp.Header.Get("X-Auth-Role") != "user" || resp.Header.Get("X-Auth-Tags") != "" {
		t.Errorf("%v", resp.Header)
	}
}

func TestTheAddressIsTheClientsBehindAConfiguredProxy(t *testing.T) {
	h := newHouse(t) // httptest's peer 192.0.2.1 is the configured proxy
	fenced := h.issue(authority.TokenRequest{ClientID: "fenced", Role: "user", AllowedAddresses: []string{"10.2.0.0/16"}})
	for forwarded, status := range map[string]int{"10.2.0.9": 200, "10.3.0.9": 403, "10.2.0.9, 10.3.0.9": 403, "10.3.0.9, 10.2.0.9": 200, "x": 403, "": 403} {
		header := bearer(fenced)
		header["X-Forwarded-For"] = []string{forwarded}
		if resp := h.ask("GET", "", header); resp.StatusCode != status {
			t.Errorf("%q: %d, want %d", forwarded, resp.StatusCode, status)
		}
	}
}

func TestALoginTokenOpensNoDoor(t *testing.T) {
	h := newHouse(t)
	const phrase = "correct horse battery staple 4"
	_, err := h.rules.CreateAdmin(t.Context(), operator(), "maria", authority.NewSecret(phrase))
	must(t, err)
	in, err := h.rules.SignIn(t.Context(), authority.Nobody(authority.Origin{From: "10.2.0.14"}), "maria", authority.NewSecret(phrase))
	must(t, err)
	resp := h.ask("GET", "", http.Header{"Authorization": {"Bearer " + in.Text.Unsafe()}})
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestTheOperatorsSocketOpensNoDoor(t *testing.T) {
	h := newHouse(t)
	h.handler = h.wrap("root@tokens-01")
	if resp := h.ask("GET", "", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestAParameterThatIsNearlyADemandIsTold(t *testing.T) {
	for query, want := range map[string]string{
		"tags=team:data": "tags for tag", "roles=admin": "roles for role", "rol=admin": "rol for role", "TAG=team:data": "TAG for tag",
		"clientid=a": "clientid for client_id", "client-id=a": "client-id for client_id", "clinet_id=a": "clinet_id for client_id",
		"audiences=a": "audiences for audience", "%74ags=a": "tags for tag", "q=1&role=admin&tags=x&page=2": "tags for tag",
		"role=admin": "", "tag=team:data&client_id=ci": "", "page=2": "", "type=x": "", "": "", "id=7": "", "audio=7": "", "lang=en": "", "%zz=1": "",
	} {
		var told []string
		live := &recorded{}
		door := gateway.Verify{
			Live: live, Audience: func() []string { return nil },
			Misspelt: func(sent, meant string) { told = append(told, sent+" for "+meant) },
		}
		r := httptest.NewRequest(http.MethodGet, "/auth/verify?"+query, nil)
		r.Header.Set("Authorization", "Bearer x")
		door.ServeHTTP(httptest.NewRecorder(), r)
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("%s: told of %q, want %q", query, got, want)
		}
		if len(live.demands) != 1 {
			t.Errorf("%s: %d decisions", query, len(live.demands))
		}
	}
}

func TestWhatIsUnknownIsNeverAllowed(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "a", Role: "user"})
	empty, err := liveset.New(liveset.Config{
		Verifier: signing.InMemory(rand.Reader).Verifier, Audience: audience, LoginIssuer: func() string { return "" },
		LoginIdle: func() time.Duration { return 0 }, Now: h.now,
		Record: func(authority.TokenID) (authority.Token, error) { return authority.Token{}, authority.NotFound },
	})
	must(t, err)
	h.live = empty
	h.handler = h.wrap("")
	resp := h.ask("GET", "", bearer(user))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || codeOf(t, resp) != "state.unknown" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

// untouched fails the test when anybody reads it.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestTheBodyIsNotRead(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "a", Role: "user"})
	for _, text := range []string{user.Text.Unsafe(), "x"} {
		r := httptest.NewRequest("POST", "/auth/verify", untouched{t})
		r.Header.Set("Authorization", "Bearer "+text)
		h.handler.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// Whatever a client puts into the query, a token that the bare door refuses
// stays refused.
func FuzzNoQueryWidensTheDoor(f *testing.F) {
	for _, q := range []string{
		"", "role=verifier", "audience=https://elsewhere.example", "role=user&audience=" + url.QueryEscape(ownAudience), "%72ole=verifier", "tag=a:b;c", "role=admin&role=verifier",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		live := &recorded{}
		r := httptest.NewRequest("GET", "/auth/verify", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer x")
		gateway.Verify{Live: live, Audience: audience}.ServeHTTP(httptest.NewRecorder(), r)
		for _, d := range live.demands {
			if d.Purpose != liveset.ForToken || d.AnyAudience || d.Role != "" && d.Role != authority.RoleAdmin {
				t.Errorf("demand %+v", d)
			}
			for _, a := range d.Audience {
				if a != ownAudience && a != secondAudience {
					t.Errorf("audience %q", a)
				}
			}
		}
	})
}

// recorded refuses every token and remembers what was asked.
type recorded struct{ demands []liveset.Demand }

func (r *recorded) Decide(_ string, d liveset.Demand) liveset.Verdict {
	r.demands = append(r.demands, d)
	return liveset.Verdict{Reason: liveset.UnknownToken}
}
