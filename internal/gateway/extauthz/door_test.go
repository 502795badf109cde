package extauthz_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway/extauthz"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
)

const ownAudience, secondAudience = "https://api.example", "https://batch.example"

func audience() []string { return []string{ownAudience, secondAudience} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{RequestID: "req_setup"})
}

// house is a real authority with its live set.
type house struct {
	t     testing.TB
	rules *authority.Authority
	live  *liveset.Set
}

func newHouse(t testing.TB) *house {
	t.Helper()
	policy := authority.Policy{
		Issuer: "https://tokens.example", Audience: audience(), Algorithm: "ES256", Copy: authority.CopyAllow,
		DefaultLifetime: 90 * 24 * time.Hour, NeverExpire: true, RestoreGrace: time.Hour, LoginAbsolute: 12 * time.Hour, LoginAttempts: 5, LoginPause: time.Minute,
	}
	h, ring := &house{t: t}, signing.InMemory(rand.Reader)
	store, err := mapstore.Open(mapstore.Config{Now: time.Now})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	h.live, err = liveset.New(liveset.Config{
		Verifier: ring.Verifier, Audience: audience, LoginIssuer: func() string { return policy.Issuer },
		LoginIdle: func() time.Duration { return time.Hour }, Now: time.Now,
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), store, id)
		},
	})
	must(t, err)
	h.rules, err = authority.New(authority.Config{
		Store: store, Custody: ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: h.live, Policy: func() authority.Policy { return policy }, Now: time.Now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(t, err)
	must(t, h.rules.Found(t.Context(), operator()))
	must(t, store.Follow(t.Context(), h.live))
	return h
}

func (h *house) issue(r authority.TokenRequest) authority.Issued {
	h.t.Helper()
	issued, err := h.rules.IssueToken(h.t.Context(), operator(), r, "")
	must(h.t, err)
	return issued
}

// notebook is a log that several may write.
type notebook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notebook) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(b)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// envoy is a client of a server that runs.
type envoy struct {
	t      testing.TB
	server *extauthz.Server
	authv3.AuthorizationClient
	healthv1.HealthClient
	log notebook
}

// serve runs a door and connects to it; change says what is special about it.
func serve(t testing.TB, live edge.Decider, change ...func(*extauthz.Config)) *envoy {
	t.Helper()
	e := &envoy{t: t}
	c := extauthz.Config{
		Live: live, Audience: audience, TrustedProxies: func() []netip.Prefix { return nil }, Ready: func() bool { return true },
		NewID: func() string { return "req_1" },
		Log:   slog.New(slog.NewTextHandler(&e.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	e.server, err = extauthz.New(c)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- e.server.Serve(l) }()
	t.Cleanup(func() {
		_ = e.server.Close()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	e.AuthorizationClient, e.HealthClient = authv3.NewAuthorizationClient(conn), healthv1.NewHealthClient(conn)
	return e
}

// request is what Envoy says of a request.
type request struct {
	path       string
	headers    map[string]string
	raw        []*corev3.HeaderValue
	extensions map[string]string
	source     string
}

func (r request) message() *authv3.CheckRequest {
	http := &authv3.AttributeContext_HttpRequest{Method: "GET", Path: r.path, Headers: r.headers}
	if r.raw != nil {
		http.HeaderMap = &corev3.HeaderMap{Headers: r.raw}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: r.source, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711}},
		}}},
		Request: &authv3.AttributeContext_Request{Http: http}, ContextExtensions: r.extensions,
	}}
}

func (e *envoy) ask(r request) *authv3.CheckResponse {
	e.t.Helper()
	answer, err := e.AuthorizationClient.Check(e.t.Context(), r.message())
	if err != nil {
		e.t.Fatalf("a check is answered with an error: %v", err)
	}
	if allowed := answer.GetStatus().GetCode() == int32(codes.OK); allowed != (answer.GetOkResponse() != nil) || allowed == (answer.GetDeniedResponse() != nil) {
		e.t.Errorf("a mixed answer: %v", answer)
	}
	if answer.GetErrorResponse() != nil {
		e.t.Error("an error is what Envoy may be told to let through")
	}
	return answer
}

func with(i authority.Issued) map[string]string {
	return map[string]string{"authorization": "Bearer " + i.Text.Unsafe(), ":method": "GET", "user-agent": "curl"}
}

// set answers headers as Envoy would have them.
func set(options []*corev3.HeaderValueOption) map[string]string {
	got := make(map[string]string)
	for _, o := range options {
		got[o.GetHeader().GetKey()] += o.GetHeader().GetValue()
	}
	return got
}

// told is a refusal: the status, the gRPC code, the code of the problem document,
// and the challenge.
func told(t testing.TB, answer *authv3.CheckResponse) (int, codes.Code, string, string) {
	t.Helper()
	denied := answer.GetDeniedResponse()
	var p struct {
		Code      string `json:"code"`
		Status    int    `json:"status"`
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(denied.GetBody()), &p); err != nil || p.Status != int(denied.GetStatus().GetCode()) {
		t.Fatalf("%v with the body %q: %v", denied.GetStatus(), denied.GetBody(), err)
	}
	headers := set(denied.GetHeaders())
	if headers["content-type"] != "application/problem+json" || headers["cache-control"] != "no-store" || headers["x-content-type-options"] != "nosniff" {
		t.Errorf("headers %v", headers)
	}
	if p.RequestID != headers["x-request-id"] || p.RequestID == "" && p.Code != "internal" {
		t.Errorf("the request is %q, and %q in the header", p.RequestID, headers["x-request-id"])
	}
	return p.Status, codes.Code(answer.GetStatus().GetCode()), p.Code, headers["www-authenticate"]
}

func TestAnAllowedRequestGetsWhoCalls(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user", Tags: []string{"team:data", "env:prod"}})
	plain := h.issue(authority.TokenRequest{ClientID: "plain", Role: "admin"})
	e := serve(t, h.live)
	answer := e.ask(request{path: "/x?role=admin", headers: with(user)})
	want := map[string]string{"x-auth-client-id": "etl", "x-auth-role": "user", "x-auth-tags": "team:data,env:prod", "x-auth-token-id": string(user.ID)}
	if diff := cmp.Diff(want, set(answer.GetOkResponse().GetHeaders())); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	for _, o := range e.ask(request{headers: with(plain)}).GetOkResponse().GetHeaders() {
		if o.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD || !o.GetKeepEmptyValue() {
			t.Errorf("%s is not overwritten: %v", o.GetHeader().GetKey(), o)
		}
		if o.GetHeader().GetKey() == "x-auth-tags" && o.GetHeader().GetValue() != "" {
			t.Errorf("no tags are told as %q", o.GetHeader().GetValue())
		}
	}
	if len(answer.GetOkResponse().GetResponseHeadersToAdd()) != 0 || len(answer.GetOkResponse().GetHeadersToRemove()) != 0 {
		t.Errorf("%v", answer)
	}
	if strings.Contains(e.log.String(), user.Text.Unsafe()) {
		t.Error("a token is in the log")
	}
}

func TestTheClientsOwnIdentityIsRemovedInEverySpellingButOurs(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user"})
	e := serve(t, h.live)
	headers, raw := with(user), []*corev3.HeaderValue{{Key: "authorization", Value: "Bearer " + user.Text.Unsafe()}}
	var want []string
	for _, name := range []string{"x-auth-client-id", "x-auth-role", "x-auth-tags", "x-auth-token-id"} {
		for _, sign := range "!#$%&'*+._`|~" {
			for at := range strings.Count(name, "-") {
				parts := strings.Split(name, "-")
				want = append(want, strings.Join(parts[:at+1], "-")+string(sign)+strings.Join(parts[at+1:], "-"))
			}
			want = append(want, strings.ReplaceAll(name, "-", string(sign)))
		}
		for _, own := range []string{name, strings.ToUpper(name)} {
			headers[own] = "admin"
		}
	}
	want = slices.Compact(slices.Sorted(slices.Values(want)))
	for _, name := range want {
		headers[name] = "admin"
		raw = append(raw, &corev3.HeaderValue{Key: name, RawValue: []byte("admin")})
	}
	for form, r := range map[string]request{"by name": {headers: headers}, "one by one": {raw: raw}} {
		got := slices.Sorted(slices.Values(e.ask(r).GetOkResponse().GetHeadersToRemove()))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: removed (-want +got):\n%s", form, diff)
		}
	}
}

func TestEveryRefusalHasItsStatusAndChallenge(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user", Tags: []string{"team:data"}})
	admin := h.issue(authority.TokenRequest{ClientID: "root", Role: "admin"})
	verifier := h.issue(authority.TokenRequest{ClientID: "gate", Role: "verifier"})
	gone := h.issue(authority.TokenRequest{ClientID: "gone", Role: "user"})
	second := h.issue(authority.TokenRequest{ClientID: "batch", Role: "user", Audience: []string{secondAudience}})
	_, err := h.rules.RevokeToken(t.Context(), operator(), gone.ID, false)
	must(t, err)
	e := serve(t, h.live)
	const realm = `Bearer realm="mintmark"`
	invalid := realm + `, error="invalid_token", error_description="invalid token"`
	forbidden := realm + `, error="insufficient_scope", error_description="the token does not allow this"`
	malformed := realm + `, error="invalid_request", error_description="The Authorization field is: Bearer, one space, one token."`
	type extensions = map[string]string
	for name, c := range map[string]struct {
		request
		status    int
		grpc      codes.Code
		code      string
		challenge string
	}{
		"allowed":               {request{headers: with(user)}, 200, 0, "", ""},
		"jwt scheme":            {request{headers: map[string]string{"authorization": "jwt " + user.Text.Unsafe()}}, 200, 0, "", ""},
		"raw":                   {request{raw: []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer " + user.Text.Unsafe())}}}, 200, 0, "", ""},
		"nothing":               {request{}, 401, codes.Unauthenticated, "token.missing", realm},
		"basic":                 {request{headers: map[string]string{"authorization": "Basic eDp5"}}, 401, codes.Unauthenticated, "token.missing", realm},
		"bad":                   {request{headers: map[string]string{"authorization": "Bearer x"}}, 401, codes.Unauthenticated, "token.invalid", invalid},
		"revoked":               {request{headers: with(gone)}, 401, codes.Unauthenticated, "token.invalid", invalid},
		"merged":                {request{headers: map[string]string{"authorization": "Bearer " + user.Text.Unsafe() + ",Bearer " + user.Text.Unsafe()}}, 401, codes.Unauthenticated, "credential.malformed", malformed},
		"merged with a space":   {request{headers: map[string]string{"authorization": "Bearer " + user.Text.Unsafe() + ", Bearer x"}}, 401, codes.Unauthenticated, "credential.malformed", malformed},
		"merged, another first": {request{headers: map[string]string{"authorization": "Basic eDp5,Bearer " + user.Text.Unsafe()}}, 401, codes.Unauthenticated, "token.missing", realm},
		"twice":                 {request{raw: []*corev3.HeaderValue{{Key: "authorization", Value: "Bearer " + user.Text.Unsafe()}, {Key: "Authorization", Value: "Bearer x"}}}, 401, codes.Unauthenticated, "credential.malformed", realm + `, error="invalid_request", error_description="There is more than one Authorization field."`},
		"in both forms":         {request{headers: with(user), raw: []*corev3.HeaderValue{{Key: "authorization", Value: "Bearer x"}}}, 401, codes.Unauthenticated, "credential.malformed", realm + `, error="invalid_request", error_description="There is more than one Authorization field."`},
		"in the URL":            {request{path: "/?a=b&access_token=x", headers: with(user)}, 401, codes.Unauthenticated, "credential.malformed", realm + `, error="invalid_request", error_description="A token does not belong in the URL."`},
		"verifier":              {request{headers: with(verifier)}, 403, codes.PermissionDenied, "token.insufficient", forbidden + `, scope="user"`},
		"role":                  {request{headers: with(user), extensions: extensions{"role": "admin"}}, 403, codes.PermissionDenied, "token.insufficient", forbidden + `, scope="admin"`},
		"role it has":           {request{headers: with(admin), extensions: extensions{"role": "admin"}}, 200, 0, "", ""},
		"tag":                   {request{headers: with(user), extensions: extensions{"tag": "team:data, env:prod"}}, 403, codes.PermissionDenied, "token.insufficient", forbidden},
		"tag it has":            {request{headers: with(user), extensions: extensions{"tag": "team:data", "role": "user"}}, 200, 0, "", ""},
		"client":                {request{headers: with(user), extensions: extensions{"client_id": "maria"}}, 403, codes.PermissionDenied, "token.insufficient", forbidden},
		"client it is":          {request{headers: with(user), extensions: extensions{"client_id": "etl"}}, 200, 0, "", ""},
		"audience":              {request{headers: with(second), extensions: extensions{"audience": ownAudience}}, 401, codes.Unauthenticated, "token.invalid", invalid},
		"audience it is for":    {request{headers: with(second), extensions: extensions{"audience": secondAudience}}, 200, 0, "", ""},
		"audience of others":    {request{headers: with(user), extensions: extensions{"audience": "https://x.example"}}, 403, codes.PermissionDenied, "demand.invalid", ""},
		"unknown role":          {request{headers: with(admin), extensions: extensions{"role": "root"}}, 403, codes.PermissionDenied, "demand.invalid", ""},
		"empty tag":             {request{headers: with(admin), extensions: extensions{"tag": ""}}, 403, codes.PermissionDenied, "demand.invalid", ""},
		"mistyped demand":       {request{headers: with(admin), extensions: extensions{"roles": "admin"}}, 403, codes.PermissionDenied, "demand.invalid", ""},
		"mistyped, no token":    {request{extensions: extensions{"roles": "admin"}}, 401, codes.Unauthenticated, "token.missing", realm},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // also when the answer has been given before
				answer := e.ask(c.request)
				if c.status == 200 {
					if answer.GetOkResponse() == nil {
						t.Errorf("%v", answer)
					}
					continue
				}
				status, code, problem, challenge := told(t, answer)
				if status != c.status || code != c.grpc || problem != c.code || challenge != c.challenge {
					t.Errorf("%d, %s, %s, %s", status, code, problem, challenge)
				}
			}
		})
	}
}

func TestTheClientIsWhereAConfiguredProxySays(t *testing.T) {
	h := newHouse(t)
	fenced := h.issue(authority.TokenRequest{ClientID: "fenced", Role: "user", AllowedAddresses: []string{"10.2.0.0/16"}})
	local := h.issue(authority.TokenRequest{ClientID: "local", Role: "user", AllowedAddresses: []string{"127.0.0.1/32"}})
	trust := func(prefixes ...string) func(*extauthz.Config) {
		return func(c *extauthz.Config) {
			c.TrustedProxies = func() (list []netip.Prefix) {
				for _, p := range prefixes {
					list = append(list, netip.MustParsePrefix(p))
				}
				return list
			}
		}
	}
	for name, c := range map[string]struct {
		trusted       []string
		source, chain string
		fenced, local bool
	}{
		"nobody is trusted":             {nil, "10.2.0.9", "10.2.0.9", false, true},
		"Envoy says":                    {[]string{"127.0.0.1/32"}, "10.2.0.9", "", true, false},
		"its client forges":             {[]string{"127.0.0.1/32"}, "10.3.0.9", "10.2.0.9", false, false},
		"mapped":                        {[]string{"127.0.0.1/32"}, "::ffff:10.2.0.9", "", true, false},
		"says nothing":                  {[]string{"127.0.0.1/32"}, "", "10.2.0.9", false, true},
		"says no address":               {[]string{"127.0.0.1/32"}, "/run/envoy.sock", "", false, true},
		"a balancer before it":          {[]string{"127.0.0.1/32", "10.9.0.0/16"}, "10.9.0.1", "10.2.0.9, 10.9.0.1", true, false},
		"a balancer, its client forges": {[]string{"127.0.0.1/32", "10.9.0.0/16"}, "10.9.0.1", "10.2.0.9, 10.3.0.9, 10.9.0.1", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, h.live, trust(c.trusted...))
			for token, want := range map[*authority.Issued]bool{&fenced: c.fenced, &local: c.local} {
				r := request{headers: with(*token), source: c.source}
				if c.chain != "" {
					r.headers["x-forwarded-for"] = c.chain
				}
				if got := e.ask(r).GetOkResponse() != nil; got != want {
					t.Errorf("%s passes: %v", token.Text, got)
				}
			}
		})
	}
}

func TestARevokedTokenIsRefusedOnTheNextCheck(t *testing.T) {
	h := newHouse(t)
	e := serve(t, h.live)
	for range 5 {
		leaver := h.issue(authority.TokenRequest{ClientID: "leaver", Role: "user"})
		if e.ask(request{headers: with(leaver)}).GetOkResponse() == nil {
			t.Fatal("a good token is refused")
		}
		_, err := h.rules.RevokeToken(t.Context(), operator(), leaver.ID, false)
		must(t, err)
		if status, _, _, _ := told(t, e.ask(request{headers: with(leaver)})); status != 401 {
			t.Errorf("%d", status)
		}
	}
}

// decider is a live set that does what a function does.
type decider func(string, liveset.Demand) liveset.Verdict

func (d decider) Decide(token string, demand liveset.Demand) liveset.Verdict { return d(token, demand) }

func TestWhatIsUnknownLimitedOrBrokenIsRefused(t *testing.T) {
	left := &liveset.Quota{Limit: 5, Remaining: 0, Window: time.Second, Wait: 2 * time.Second}
	for name, c := range map[string]struct {
		verdict func() liveset.Verdict
		status  int
		grpc    codes.Code
		code    string
		after   string
	}{
		"unknown":   {func() liveset.Verdict { return liveset.Verdict{Reason: liveset.StateUnknown} }, 503, codes.Unavailable, "state.unknown", "5"},
		"limited":   {func() liveset.Verdict { return liveset.Verdict{Reason: liveset.TooMany, Quota: left} }, 429, codes.ResourceExhausted, "rate.limited", "2"},
		"undecided": {func() liveset.Verdict { return liveset.Verdict{} }, 401, codes.Unauthenticated, "token.invalid", ""},
		"panics":    {func() liveset.Verdict { panic("eyJsecret") }, 500, codes.Internal, "internal", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, decider(func(string, liveset.Demand) liveset.Verdict { return c.verdict() }))
			answer := e.ask(request{headers: map[string]string{"authorization": "Bearer x"}})
			status, code, problem, _ := told(t, answer)
			if after := set(answer.GetDeniedResponse().GetHeaders())["retry-after"]; status != c.status || code != c.grpc || problem != c.code || after != c.after {
				t.Errorf("%d, %s, %s, after %q", status, code, problem, after)
			}
			if strings.Contains(e.log.String(), "eyJsecret") {
				t.Errorf("logged %s", e.log.String())
			}
		})
	}
	e := serve(t, decider(func(string, liveset.Demand) liveset.Verdict {
		return liveset.Verdict{Reason: liveset.Allowed, Quota: &liveset.Quota{Limit: 5, Remaining: 3, Window: time.Second, Wait: time.Second}}
	}))
	added := set(e.ask(request{headers: map[string]string{"authorization": "Bearer x"}}).GetOkResponse().GetResponseHeadersToAdd())
	if added["ratelimit"] == "" || added["ratelimit-policy"] == "" || len(added) != 2 {
		t.Errorf("the client is told %v", added)
	}
}

func TestHealthIsThatOfTheLiveSet(t *testing.T) {
	ready := false
	e := serve(t, decider(nil), func(c *extauthz.Config) { c.Ready = func() bool { return ready } })
	for _, service := range []string{"", "envoy.service.auth.v3.Authorization"} {
		for _, now := range []bool{false, true} {
			ready = now
			got, err := e.HealthClient.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
			must(t, err)
			if serving := got.GetStatus() == healthv1.HealthCheckResponse_SERVING; serving != now {
				t.Errorf("%q is %s", service, got.GetStatus())
			}
		}
	}
	if _, err := e.HealthClient.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("another service: %v", err)
	}
}

func TestAStopWaitsForChecksUnderWay(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	slow := decider(func(string, liveset.Demand) liveset.Verdict {
		close(asked)
		<-answer
		return liveset.Verdict{Reason: liveset.Allowed}
	})
	e := serve(t, slow)
	checked, stopped := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := e.AuthorizationClient.Check(t.Context(), request{headers: map[string]string{"authorization": "Bearer x"}}.message())
		checked <- err
	}()
	<-asked
	go func() { stopped <- e.server.Shutdown(t.Context()) }()
	select {
	case err := <-stopped:
		t.Fatalf("it has not waited: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(answer)
	if err := <-checked; err != nil {
		t.Errorf("the check was cut off: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the stop: %v", err)
	}
}

func TestAStopThatIsOutOfPatienceCutsChecksOff(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	e := serve(t, decider(func(string, liveset.Demand) liveset.Verdict {
		close(asked)
		<-answer
		return liveset.Verdict{Reason: liveset.Allowed}
	}))
	checked, stopped := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := e.AuthorizationClient.Check(t.Context(), request{headers: map[string]string{"authorization": "Bearer x"}}.message())
		checked <- err
	}()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	go func() { stopped <- e.server.Shutdown(ctx) }()
	if err := <-checked; err == nil {
		t.Error("the check was answered")
	}
	close(answer)
	if err := <-stopped; err == nil {
		t.Error("nothing is said of the check that was cut off")
	}
}

func TestManyAskAtOnce(t *testing.T) {
	h := newHouse(t)
	user := h.issue(authority.TokenRequest{ClientID: "etl", Role: "user"})
	e := serve(t, h.live)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 20 {
				good := i%2 == 0
				r := request{headers: map[string]string{"authorization": "Bearer x"}}
				if good {
					r.headers = with(user)
				}
				answer, err := e.AuthorizationClient.Check(t.Context(), r.message())
				if err != nil || (answer.GetOkResponse() != nil) != good {
					t.Errorf("%v, %v", answer, err)
				}
			}
		})
	}
	all.Wait()
}

func TestAServerIsMadeWhole(t *testing.T) {
	if _, err := extauthz.New(extauthz.Config{}); err == nil {
		t.Error("made of nothing")
	}
}

// Whatever is sent as a check, its answer is no error; and nobody passes whom the
// live set has not let in.
func FuzzEveryCheckIsAnsweredByAVerdict(f *testing.F) {
	for _, r := range []request{
		{},
		{path: "/?access_token=x"},
		{headers: map[string]string{"authorization": "Bearer x", "x_auth_role": "admin"}, extensions: map[string]string{"role": "admin"}, source: "10.2.0.9"},
		{raw: []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer \xff")}, nil, {}}},
	} {
		b, err := proto.Marshal(r.message())
		must(f, err)
		f.Add(b)
	}
	e := serve(f, decider(func(string, liveset.Demand) liveset.Verdict { return liveset.Verdict{Reason: liveset.UnknownToken} }))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r authv3.CheckRequest
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		answer, err := e.AuthorizationClient.Check(t.Context(), &r)
		if err != nil || answer.GetDeniedResponse() == nil || answer.GetStatus().GetCode() == 0 {
			t.Errorf("%v is answered %v, %v", &r, answer, err)
		}
	})
}
