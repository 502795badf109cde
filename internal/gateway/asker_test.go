package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/liveset"
	"mintmark/internal/signing"

	"github.com/google/go-cmp/cmp"
)

const (
	formMedia = "application/x-www-form-urlencoded"
	inactive  = `{"active":false}`
)

// brittle is a store whose changes do not last.
type brittle struct{ authority.Store }

func (brittle) Update(context.Context, func(authority.Tx) error) error {
	return &authority.Error{Kind: authority.Full, Code: "store.full", Msg: "There is no space left.", Err: errors.New("write: no space left on device")}
}

// deciding is a live set that says something else of one token.
type deciding struct {
	edge.Decider
	of  string
	say liveset.Verdict
}

func (d deciding) Decide(token string, asked liveset.Demand) liveset.Verdict {
	if token == d.of {
		return d.say
	}
	return d.Decider.Decide(token, asked)
}

// doors are those that somebody asks about a token, over one house.
type doors struct {
	*house
	live     edge.Decider
	rules    *authority.Authority
	operator string

	admin, verifier, user authority.Issued
}

func newDoors(t testing.TB) *doors {
	t.Helper()
	h := newHouse(t)
	d := &doors{house: h, live: h.live, rules: h.rules}
	d.admin = h.issue(authority.TokenRequest{ClientID: "root-script", Role: "admin"})
	d.verifier = h.issue(authority.TokenRequest{ClientID: "gate@dc1", Role: "verifier"})
	d.user = h.issue(authority.TokenRequest{ClientID: "dfsadmin", Role: "user", Tags: []string{"team:data", "env:prod"}})
	return d
}

// unknowing is a live set that nothing was loaded into.
func (d *doors) unknowing(t *testing.T) *liveset.Set {
	t.Helper()
	live, err := liveset.New(liveset.Config{
		Verifier: signing.InMemory(rand.Reader).Verifier, Audience: audience, LoginIssuer: func() string { return "" },
		LoginIdle: func() time.Duration { return time.Hour }, Now: d.now,
		Record: func(authority.TokenID) (authority.Token, error) { return authority.Token{}, authority.NotFound },
	})
	must(t, err)
	return live
}

// cramped are the rules over a store that has no space left.
func (d *doors) cramped(t *testing.T) *authority.Authority {
	t.Helper()
	c := d.rules.Config
	c.Store = brittle{c.Store}
	rules, err := authority.New(c)
	must(t, err)
	return rules
}

func (d *doors) handler() http.Handler {
	log := slog.New(slog.NewJSONHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	mux := http.NewServeMux()
	mux.Handle("/oauth2/introspect", gateway.Introspect{Live: d.live, Audience: audience})
	mux.Handle("/oauth2/revoke", gateway.Revoke{Live: d.live, Audience: audience, Rules: d.rules, Log: log})
	mux.Handle("/k8s/tokenreview", gateway.TokenReview{Live: d.live, Audience: audience})
	return edge.Wrap(edge.Config{
		Log: log, Now: d.now, Operator: d.operator, NewID: func() string { return "req_1" },
		TrustedProxies: func() []netip.Prefix { return nil },
	}, mux)
}

// told is an answer.
type told struct {
	status int
	header http.Header
	body   string
}

func (a told) is(status int, body string) bool { return a.status == status && a.body == body }

// oauthError is the code of a refusal in OAuth's language, which has nothing but
// what RFC 6749 section 5.2 names.
func (a told) oauthError(t *testing.T) string {
	t.Helper()
	var e struct {
		Error string `json:"error"`
		Text  string `json:"error_description"`
	}
	in := json.NewDecoder(strings.NewReader(a.body))
	in.DisallowUnknownFields()
	if err := in.Decode(&e); err != nil || e.Error == "" || e.Text == "" {
		t.Errorf("%d is not an error of OAuth: %s", a.status, a.body)
	}
	return e.Error
}

func (d *doors) post(path, body string, header http.Header) told {
	d.t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	d.handler().ServeHTTP(w, r)
	a := told{w.Code, w.Header(), w.Body.String()}
	if got := a.header.Get("Cache-Control"); got != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		d.t.Errorf("%d with Cache-Control %q", a.status, got)
	}
	if challenge := a.header.Get("WWW-Authenticate"); a.status == http.StatusUnauthorized && challenge == "" || a.status < 400 && challenge != "" {
		d.t.Errorf("%d with the challenge %q", a.status, challenge)
	}
	return a
}

// as are the fields of a form that a token authenticates.
func as(i authority.Issued) http.Header {
	return http.Header{"Authorization": {"Bearer " + i.Text.Unsafe()}, "Content-Type": {formMedia}}
}

func basicOf(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func tokenForm(token string) string { return url.Values{"token": {token}}.Encode() }

func (d *doors) introspect(asker authority.Issued, token string) told {
	d.t.Helper()
	return d.post("/oauth2/introspect", tokenForm(token), as(asker))
}

// Each way to say who asks, at both OAuth doors. What a Verifier may at the one,
// the owner may at the other.
func TestWhoAsksIsFoundInExactlyOneWay(t *testing.T) {
	d := newDoors(t)
	login := d.login()
	secret, user := d.verifier.Text.Unsafe(), d.user.Text.Unsafe()
	const bearerRealm, basicRealm = `Bearer realm="mintmark"`, `Basic realm="mintmark", charset="UTF-8"`
	invalid := bearerRealm + `, error="invalid_token", error_description="invalid token"`
	for name, c := range map[string]struct {
		fields    []string // Authorization
		form      url.Values
		status    int
		code      string
		challenge string
	}{
		"bearer":                         {[]string{"Bearer " + secret}, nil, 200, "", ""},
		"the other scheme":               {[]string{"jwt " + secret}, nil, 200, "", ""},
		"a login":                        {[]string{"Bearer " + login}, nil, 200, "", ""},
		"bearer and its client ID":       {[]string{"Bearer " + secret}, url.Values{"client_id": {"gate@dc1"}}, 200, "", ""},
		"bearer and no secret":           {[]string{"Bearer " + secret}, url.Values{"client_secret": {""}, "client_id": {""}}, 200, "", ""},
		"basic":                          {[]string{basicOf("gate@dc1", secret)}, nil, 200, "", ""},
		"basic, escaped":                 {[]string{basicOf("gate%40dc1", strings.ReplaceAll(secret, ".", "%2E"))}, nil, 200, "", ""},
		"basic and its client ID":        {[]string{basicOf("gate@dc1", secret)}, url.Values{"client_id": {"gate@dc1"}}, 200, "", ""},
		"posted":                         {nil, url.Values{"client_id": {"gate@dc1"}, "client_secret": {secret}}, 200, "", ""},
		"nobody":                         {nil, nil, 401, "invalid_client", bearerRealm},
		"an empty field":                 {[]string{""}, nil, 401, "invalid_client", bearerRealm},
		"another scheme":                 {[]string{"Digest x"}, nil, 401, "invalid_client", bearerRealm},
		"a client ID alone":              {nil, url.Values{"client_id": {"gate@dc1"}}, 401, "invalid_client", bearerRealm},
		"a bad token":                    {[]string{"Bearer " + secret[:len(secret)-3]}, nil, 401, "invalid_token", invalid},
		"bearer of another client ID":    {[]string{"Bearer " + secret}, url.Values{"client_id": {"dfsadmin"}}, 401, "invalid_token", invalid},
		"basic with a bad secret":        {[]string{basicOf("gate@dc1", "x")}, nil, 401, "invalid_client", basicRealm},
		"basic of another client ID":     {[]string{basicOf("dfsadmin", secret)}, nil, 401, "invalid_client", basicRealm},
		"basic of nobody":                {[]string{basicOf("", secret)}, nil, 401, "invalid_client", basicRealm},
		"basic without a secret":         {[]string{basicOf("gate@dc1", "")}, nil, 401, "invalid_client", basicRealm},
		"basic, posted another":          {[]string{basicOf("gate@dc1", secret)}, url.Values{"client_id": {"dfsadmin"}}, 401, "invalid_client", basicRealm},
		"posted with a bad secret":       {nil, url.Values{"client_id": {"gate@dc1"}, "client_secret": {"x"}}, 401, "invalid_client", basicRealm},
		"posted for another":             {nil, url.Values{"client_id": {"dfsadmin"}, "client_secret": {secret}}, 401, "invalid_client", basicRealm},
		"posted without the client ID":   {nil, url.Values{"client_secret": {secret}}, 400, "invalid_request", ""},
		"posted twice":                   {nil, url.Values{"client_id": {"gate@dc1"}, "client_secret": {secret, secret}}, 401, "invalid_client", bearerRealm},
		"basic that is none":             {[]string{"Basic ***"}, nil, 400, "invalid_request", ""},
		"basic without a colon":          {[]string{"Basic " + base64.StdEncoding.EncodeToString([]byte(secret))}, nil, 400, "invalid_request", ""},
		"basic with an escape cut":       {[]string{basicOf("gate%4", secret)}, nil, 400, "invalid_request", ""},
		"two fields":                     {[]string{"Bearer " + secret, "Bearer " + secret}, nil, 400, "invalid_request", "-"},
		"two schemes":                    {[]string{"Bearer " + secret, basicOf("gate@dc1", secret)}, nil, 400, "invalid_request", "-"},
		"a list":                         {[]string{"Bearer " + secret + ",Bearer " + user}, nil, 400, "invalid_request", "-"},
		"bearer and posted":              {[]string{"Bearer " + secret}, url.Values{"client_id": {"gate@dc1"}, "client_secret": {secret}}, 400, "invalid_request", ""},
		"basic and posted":               {[]string{basicOf("gate@dc1", secret)}, url.Values{"client_id": {"gate@dc1"}, "client_secret": {secret}}, 400, "invalid_request", ""},
		"another scheme and posted":      {[]string{"Digest x"}, url.Values{"client_id": {"gate@dc1"}, "client_secret": {secret}}, 400, "invalid_request", ""},
		"an empty field, and one posted": {[]string{""}, url.Values{"client_id": {"gate@dc1"}, "client_secret": {secret}}, 400, "invalid_request", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			if c.form == nil {
				c.form = url.Values{}
			}
			c.form.Set("token", "x")
			header := http.Header{"Content-Type": {formMedia}}
			if c.fields != nil {
				header["Authorization"] = c.fields
			}
			for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
				a := d.post(path, c.form.Encode(), header)
				if a.status != c.status {
					t.Fatalf("%s: %d %s", path, a.status, a.body)
				}
				if c.code != "" && a.oauthError(t) != c.code {
					t.Errorf("%s: %s, want %s", path, a.body, c.code)
				}
				challenge := a.header.Get("WWW-Authenticate")
				if c.challenge == "-" && strings.Contains(challenge, `error="invalid_request"`) {
					continue
				}
				if challenge != c.challenge {
					t.Errorf("%s challenges with %q, want %q", path, challenge, c.challenge)
				}
			}
		})
	}
}

// login is the text of a login token of an administrator.
func (d *doors) login() string {
	d.t.Helper()
	const pass = "correct horse battery staple 4"
	_, err := d.rules.CreateAdmin(d.t.Context(), operator(), "maria", authority.NewSecret(pass))
	must(d.t, err)
	in, err := d.rules.SignIn(d.t.Context(), authority.Nobody(authority.Origin{From: "192.0.2.1"}), "maria", authority.NewSecret(pass))
	must(d.t, err)
	d.secrets = append(d.secrets, in.Text.Unsafe(), pass)
	return in.Text.Unsafe()
}

func TestAFormHasOneReading(t *testing.T) {
	d := newDoors(t)
	token := d.user.Text.Unsafe()
	for name, c := range map[string]struct {
		body, media string
		status      int
	}{
		"plain":                       {"token=" + token, formMedia, 200},
		"with a charset":              {"token=" + token, "Application/X-WWW-Form-Urlencoded; charset=UTF-8", 200},
		"with a hint":                 {"token=" + token + "&token_type_hint=refresh_token", formMedia, 200},
		"with another hint":           {"token_type_hint=%00&token=" + token, formMedia, 200},
		"with more":                   {"&a&a=1&a=2&=&token=" + token + "&", formMedia, 200},
		"escaped":                     {"%74oken=" + strings.ReplaceAll(token, ".", "%2e"), formMedia, 200},
		"the token twice":             {"token=" + token + "&token=" + token, formMedia, 400},
		"once escaped":                {"token=" + token + "&%74oken=x", formMedia, 400},
		"once without a value":        {"token=&token=" + token, formMedia, 400},
		"the hint twice":              {"token=" + token + "&token_type_hint=a&token_type_hint=a", formMedia, 400},
		"no token":                    {"token_type_hint=access_token", formMedia, 400},
		"an empty token":              {"token=", formMedia, 400},
		"another case":                {"Token=" + token, formMedia, 400},
		"nothing":                     {"", formMedia, 400},
		"semicolons":                  {"a=1;token=" + token, formMedia, 400},
		"an escape that is none":      {"token=" + token + "&a=%zz", formMedia, 400},
		"a name's escape that is cut": {"token=" + token + "&%a", formMedia, 400},
		"JSON":                        {`{"token":"` + token + `"}`, "application/json", 400},
		"a form as JSON":              {"token=" + token, "application/json", 400},
		"multipart":                   {"token=" + token, "multipart/form-data; boundary=x", 400},
		"no type":                     {"token=" + token, "", 400},
		"a type that is none":         {"token=" + token, formMedia + "; x", 400},
		"large":                       {"token=" + strings.Repeat("a", 64<<10), formMedia, 413},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			header := as(d.verifier)
			header.Set("Content-Type", c.media)
			a := d.post("/oauth2/introspect", c.body, header)
			if a.status != c.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if c.status == 200 && !strings.Contains(a.body, `"active":true`) {
				t.Errorf("answers %s", a.body)
			}
			if c.status != 200 && a.oauthError(t) != "invalid_request" {
				t.Errorf("answers %s", a.body)
			}
			delete(header, "Authorization") // a stranger learns nothing of forms
			if a := d.post("/oauth2/introspect", c.body, header); a.status != 401 {
				t.Errorf("a stranger is told %d", a.status)
			}
		})
	}
}

func TestABodyThatIsCutOrHasNoLengthIsReadToItsBound(t *testing.T) {
	d := newDoors(t)
	send := func(body string, length int64, header http.Header) int {
		r := httptest.NewRequest("POST", "/oauth2/introspect", strings.NewReader(body))
		r.ContentLength = length
		for name, values := range header {
			r.Header[name] = values
		}
		w := httptest.NewRecorder()
		d.handler().ServeHTTP(w, r)
		return w.Code
	}
	good, encoded := tokenForm(d.user.Text.Unsafe()), as(d.verifier)
	encoded["Content-Encoding"] = []string{"gzip"}
	two := as(d.verifier)
	two["Content-Type"] = []string{formMedia, formMedia}
	for name, c := range map[string]struct{ got, want int }{
		"whole":               {send(good, int64(len(good)), as(d.verifier)), 200},
		"cut":                 {send(good, int64(len(good)+1), as(d.verifier)), 400},
		"chunked":             {send(good, -1, as(d.verifier)), 200},
		"chunked and large":   {send(strings.Repeat("a", 64<<10+1), -1, as(d.verifier)), 413},
		"chunked to the byte": {send(good+"&a="+strings.Repeat("a", 64<<10-len(good)-3), -1, as(d.verifier)), 200},
		"a length too large":  {send("", 64<<10+1, as(d.verifier)), 413},
		"encoded":             {send(good, int64(len(good)), encoded), 400},
		"of two types":        {send(good, int64(len(good)), two), 400},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
}

func TestATokenInTheURLIsNoQuestion(t *testing.T) {
	d := newDoors(t)
	token := d.user.Text.Unsafe()
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		for _, query := range []string{"token=" + token, "access_token=" + token, "a=b", "client_secret=" + d.verifier.Text.Unsafe()} {
			if a := d.post(path+"?"+query, tokenForm(token), as(d.verifier)); a.status != 400 || a.oauthError(t) != "invalid_request" {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		if a := d.post(path+"?access_token="+d.verifier.Text.Unsafe(), tokenForm(token), http.Header{"Content-Type": {formMedia}}); a.status != 400 {
			t.Errorf("%s by a token in the URL: %d %s", path, a.status, a.body)
		}
	}
}

func TestALimitThatIsReachedIsNoVerdict(t *testing.T) {
	d := newDoors(t)
	quota := &liveset.Quota{Limit: 10, Window: time.Minute, Wait: 6 * time.Second}
	limited := liveset.Verdict{Reason: liveset.TooMany, Quota: quota}
	for name, token := range map[string]authority.Issued{"the asker": d.verifier, "the token": d.user} {
		d.live = deciding{d.house.live, token.Text.Unsafe(), limited}
		for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
			a := d.post(path, tokenForm(d.user.Text.Unsafe()), as(d.verifier))
			if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "6" || a.oauthError(t) != "too_many_requests" {
				t.Errorf("%s at %s: %d %v %s", name, path, a.status, a.header, a.body)
			}
		}
		a := d.review(d.verifier, reviewFor(d.user.Text.Unsafe()))
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "6" || strings.Contains(a.body, `"authenticated":true`) {
			t.Errorf("%s at the webhook: %d %v %s", name, a.status, a.header, a.body)
		}
	}
}

func TestWhileTheStateIsUnknownNothingIsSaidOfAToken(t *testing.T) {
	d := newDoors(t)
	check := func(what string) {
		t.Helper()
		for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
			a := d.post(path, tokenForm(d.user.Text.Unsafe()), as(d.verifier))
			if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" || a.oauthError(t) != "temporarily_unavailable" {
				t.Errorf("%s: %s answers %d %s", what, path, a.status, a.body)
			}
		}
		a := d.review(d.verifier, reviewFor(d.user.Text.Unsafe()))
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" || strings.Contains(a.body, `"authenticated":true`) {
			t.Errorf("%s: the webhook answers %d %s", what, a.status, a.body)
		}
	}
	d.live = d.unknowing(t)
	check("nothing is known")
	d.live = deciding{d.house.live, d.user.Text.Unsafe(), liveset.Verdict{Reason: liveset.StateUnknown}}
	check("the token is not known of")
}

// Nothing that a form can be meets a fault of ours, and it is read as Go reads
// it.
func FuzzAFormIsReadAsOthersReadIt(f *testing.F) {
	for _, seed := range []string{
		"token=x", "token=", "token=x&token=y", "token_type_hint=a&token=b%20c", "client_id=a&client_secret=b&token=c", "%74oken=1", "token=%zz", "a;b", "&&=&", "token=\xff\x00",
		"token=x&client_id=gate%40dc1", "token=+", strings.Repeat("a=b&", 1000) + "token=x",
	} {
		f.Add(seed)
	}
	d := newDoors(f)
	f.Fuzz(func(t *testing.T, body string) {
		d.t = t
		defer func() { d.t = f }()
		if len(body) > 64<<10 {
			return
		}
		values, err := url.ParseQuery(body)
		want := 200
		for _, name := range []string{"token", "token_type_hint", "client_id", "client_secret"} {
			if len(values[name]) > 1 {
				want = 400
			}
		}
		if err != nil || values.Get("token") == "" || values.Get("client_secret") != "" {
			want = 400
		}
		// The client ID is looked at when the form can be read.
		if id := values.Get("client_id"); err == nil && id != "" && id != "gate@dc1" && len(values["client_secret"]) < 2 && values.Get("client_secret") == "" {
			want = 401
		}
		a := d.post("/oauth2/introspect", body, as(d.verifier))
		unread := want == 401 && (len(values["client_id"]) > 1 || len(values["token"]) > 1 || len(values["token_type_hint"]) > 1)
		if a.status != want && !(unread && a.status == 400) {
			t.Errorf("%q: %d %s, want %d", body, a.status, a.body, want)
		}
		if a.status == 200 && a.body != inactive {
			t.Errorf("%q is %s", body, a.body)
		}
	})
}

// headersBut are the fields of an answer that do not differ from request to
// request.
func (a told) headersBut(names ...string) http.Header {
	h := a.header.Clone()
	for _, name := range names {
		h.Del(name)
	}
	return h
}

func wantSame(t *testing.T, what string, want, got told) {
	t.Helper()
	if diff := cmp.Diff(want.headersBut("X-Request-Id"), got.headersBut("X-Request-Id")); diff != "" || want.status != got.status || !bytes.Equal([]byte(want.body), []byte(got.body)) {
		t.Errorf("%s: %d %s is not %d %s: %s", what, got.status, got.body, want.status, want.body, diff)
	}
}
