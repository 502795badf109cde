package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"       // read in a configuration
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3" // read in a configuration
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"          // read in a configuration
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3" // read in a configuration
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"
)

// envoy is a client that speaks as Envoy does, with Envoy's own messages. Envoy
// itself is not run.
type envoy struct {
	authv3.AuthorizationClient
	health healthv1.HealthClient
}

// newEnvoy has the server of a home open the door, and connects to it.
func newEnvoy(t *testing.T, h home, properties ...string) envoy {
	t.Helper()
	address := freeAddress(t)
	h.configure(t, append([]string{"gateway.ext_authz.listen", address}, properties...)...)
	h.manager(t, "restart")
	return connect(t, address, insecure.NewCredentials())
}

func connect(t *testing.T, address string, secure credentials.TransportCredentials) envoy {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(secure))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return envoy{authv3.NewAuthorizationClient(conn), healthv1.NewHealthClient(conn)}
}

// asked is a request as Envoy tells of it.
type asked struct {
	token, path, source string
	headers             map[string]string
	demands             map[string]string
}

func (a asked) message() *authv3.CheckRequest {
	headers := map[string]string{":method": "GET", ":path": a.path, ":authority": "api.example", "x-request-id": "5f2e1c1e"}
	if a.token != "" {
		headers["authorization"] = "Bearer " + a.token
	}
	for name, value := range a.headers {
		headers[name] = value
	}
	if a.source == "" {
		a.source = "127.0.0.1"
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: a.source}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: a.path, Host: "api.example", Scheme: "http", Protocol: "HTTP/1.1", Headers: headers,
		}},
		ContextExtensions: a.demands,
	}}
}

func (e envoy) ask(t *testing.T, a asked) *authv3.CheckResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	answer, err := e.Check(ctx, a.message())
	if err != nil {
		t.Fatalf("a check is answered with an error, and Envoy may let those through: %v", err)
	}
	return answer
}

// upstream is what an API would get of a request: Envoy sets, and then removes
// (its filter's own order).
func upstream(a asked, ok *authv3.OkHttpResponse) map[string]string {
	headers := make(map[string]string)
	for name, value := range a.headers {
		headers[strings.ToLower(name)] = value
	}
	for _, o := range ok.GetHeaders() {
		headers[o.GetHeader().GetKey()] = o.GetHeader().GetValue()
	}
	for _, name := range ok.GetHeadersToRemove() {
		delete(headers, strings.ToLower(name))
	}
	return headers
}

func (e envoy) admits(t *testing.T, a asked, as issued) {
	t.Helper()
	a.token = as.Token
	answer := e.ask(t, a)
	if answer.GetStatus().GetCode() != int32(codes.OK) || answer.GetOkResponse() == nil {
		t.Fatalf("a good token is refused: %v", answer)
	}
	got := upstream(a, answer.GetOkResponse())
	want := map[string]string{"x-auth-client-id": as.ClientID, "x-auth-role": as.Role, "x-auth-tags": strings.Join(as.Tags, ","), "x-auth-token-id": as.ID}
	for name := range got {
		if !slices.Contains(identityNames(), fold(name)) {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the API is told (-want +got):\n%s", diff)
	}
}

// refuses fails the test unless a check is refused as forward-auth refuses it.
func (e envoy) refuses(t *testing.T, s *site, a asked, code codes.Code, query string) {
	t.Helper()
	answer := e.ask(t, a)
	denied := answer.GetDeniedResponse()
	authorization := bearer(a.token)
	if a.headers["authorization"] != "" {
		authorization = a.headers["authorization"]
	}
	door := call(t, request{url: s.home.url + "/auth/verify?" + query, authorization: authorization})
	challenge := ""
	for _, o := range denied.GetHeaders() {
		if o.GetHeader().GetKey() == "www-authenticate" {
			challenge += o.GetHeader().GetValue()
		}
	}
	if codes.Code(answer.GetStatus().GetCode()) != code || int(denied.GetStatus().GetCode()) != door.status || challenge != door.header.Get("WWW-Authenticate") {
		t.Errorf("%v; forward-auth answers %d %s", answer, door.status, door.header.Get("WWW-Authenticate"))
	}
	var told, doors struct {
		Code, Detail, Title string
		Status              int
	}
	if err := json.Unmarshal([]byte(denied.GetBody()), &told); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(door.body), &doors); err != nil {
		t.Fatal(err)
	}
	if told != doors {
		t.Errorf("%+v, and forward-auth %+v", told, doors)
	}
}

func TestEnvoyIsAnsweredAsForwardAuthAnswers(t *testing.T) {
	s := bareSite(t)
	e := newEnvoy(t, s.home)
	got, err := e.health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"})
	if err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", got, err)
	}
	e.admits(t, asked{path: "/x?role=admin"}, s.user)
	e.admits(t, asked{path: "/x", demands: map[string]string{"tag": "team:data,env:prod", "role": "user"}}, s.user)
	e.admits(t, asked{path: "/x", demands: map[string]string{"role": "admin", "client_id": s.admin.ClientID}}, s.admin)
	login := s.home.signIn(t, "application/json", fmt.Sprintf(`{"username":"admin","password":%q}`, adminPassword))
	for name, c := range map[string]struct {
		asked
		code  codes.Code
		query string
	}{
		"no token":    {asked{}, codes.Unauthenticated, ""},
		"bad token":   {asked{token: "x"}, codes.Unauthenticated, ""},
		"cut":         {asked{token: s.user.Token[:len(s.user.Token)-2]}, codes.Unauthenticated, ""},
		"login token": {asked{token: login}, codes.Unauthenticated, ""},
		"a list":      {asked{headers: map[string]string{"authorization": "Bearer " + s.user.Token + ",Bearer x"}}, codes.Unauthenticated, ""},
		"basic":       {asked{headers: map[string]string{"authorization": "Basic eDp5"}}, codes.Unauthenticated, ""},
		"role":        {asked{token: s.user.Token, demands: map[string]string{"role": "admin"}}, codes.PermissionDenied, "role=admin"},
		"tag":         {asked{token: s.plain.Token, demands: map[string]string{"tag": "team:data"}}, codes.PermissionDenied, "tag=team:data"},
		"client":      {asked{token: s.plain.Token, demands: map[string]string{"client_id": "root"}}, codes.PermissionDenied, "client_id=root"},
		"no role":     {asked{token: s.admin.Token, demands: map[string]string{"role": "root"}}, codes.PermissionDenied, "role=root"},
		"in the URL":  {asked{path: "/?access_token=" + s.plain.Token}, codes.Unauthenticated, "access_token=x"},
	} {
		t.Run(name, func(t *testing.T) { e.refuses(t, s, c.asked, c.code, c.query) })
	}
	if got := e.ask(t, asked{token: s.admin.Token, demands: map[string]string{"rolle": "admin"}}); codes.Code(got.GetStatus().GetCode()) != codes.PermissionDenied {
		t.Errorf("a mistyped demand: %v", got)
	}
	for range 20 {
		leaver := s.issue(t, `{"client_id":"leaver","role":"user"}`)
		e.admits(t, asked{}, leaver)
		s.revoke(t, leaver)
		e.refuses(t, s, asked{token: leaver.Token}, codes.Unauthenticated, "")
	}
	for _, token := range []string{s.user.Token, s.admin.Token, login} {
		if strings.Contains(s.home.logs(t), token) {
			t.Error("a token is in the log")
		}
	}
}

func TestNobodyTellsEnvoyWhoTheyAre(t *testing.T) {
	s := bareSite(t)
	e := newEnvoy(t, s.home)
	for name, spell := range spellings() {
		a := asked{headers: make(map[string]string)}
		for _, field := range spoofed(spell, "admin") {
			name, value, _ := strings.Cut(field, ": ")
			a.headers[strings.ToLower(name)] = value // as Envoy hands every name on
		}
		t.Run(name, func(t *testing.T) { e.admits(t, a, s.plain) })
	}
}

func TestEnvoySaysWhereAClientIsIfItMay(t *testing.T) {
	s := bareSite(t)
	fenced := s.issue(t, `{"client_id":"fenced","role":"user","allowed_addresses":["10.2.0.0/16"]}`)
	e := newEnvoy(t, s.home)
	allowed := func(a asked) bool {
		t.Helper()
		a.token = fenced.Token
		return e.ask(t, a).GetOkResponse() != nil
	}
	forged := map[string]string{"x-forwarded-for": "10.2.0.9"}
	if allowed(asked{source: "10.2.0.9", headers: forged}) {
		t.Error("whoever reaches the door says where a client is")
	}
	s.home.configure(t, "server.trusted_proxies", "127.0.0.1/32")
	if !allowed(asked{source: "10.2.0.9"}) {
		t.Error("a configured proxy is not believed")
	}
	if allowed(asked{source: "10.3.0.9", headers: forged}) {
		t.Error("a client of Envoy is believed")
	}
}

func TestHostileChecksDoNoHarm(t *testing.T) {
	s := bareSite(t)
	e := newEnvoy(t, s.home)
	for name, message := range map[string]*authv3.CheckRequest{
		"nothing":       {},
		"no request":    {Attributes: &authv3.AttributeContext{}},
		"no HTTP":       {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}},
		"100,000 dots":  asked{token: strings.Repeat(".", 100_000)}.message(),
		"line breaks":   asked{token: "x\r\nx-auth-role: admin"}.message(),
		"no address":    asked{token: "x", source: "not an address%eth0"}.message(),
		"odd names":     asked{token: "x", headers: map[string]string{"": "x", "\x00": "x", "é": "x"}}.message(),
		"many headers":  asked{token: "x", headers: many(2000)}.message(),
		"many demands":  asked{token: "x", demands: many(500)}.message(),
		"a raw garbage": {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer \xff\x00")}}}}}}},
	} {
		answer, err := e.Check(t.Context(), message)
		if err != nil || answer.GetDeniedResponse() == nil || answer.GetStatus().GetCode() == 0 {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
	}
	if _, err := e.Check(t.Context(), asked{token: strings.Repeat("x", 1<<20)}.message()); grpcstatus.Code(err) != codes.ResourceExhausted {
		t.Errorf("a check of a megabyte: %v", err)
	}
	e.admits(t, asked{}, s.user)
}

func many(n int) map[string]string {
	all := make(map[string]string, n)
	for i := range n {
		all[fmt.Sprintf("x-auth_role-%d", i)] = "admin"
	}
	return all
}

func TestEnvoysDoorHasTheServersCertificate(t *testing.T) {
	s := bareSite(t)
	certificate, key := pair(t, t.TempDir(), "ext_authz")
	address := freeAddress(t)
	s.home.configure(t, "gateway.ext_authz.listen", address, "server.tls.certificate", certificate, "server.tls.key", key)
	s.home.manager(t, "restart")
	known := x509.NewCertPool()
	known.AppendCertsFromPEM([]byte(read(t, certificate)))
	connect(t, address, credentials.NewTLS(&tls.Config{RootCAs: known, ServerName: "localhost"})).admits(t, asked{}, s.user)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := connect(t, address, insecure.NewCredentials()).Check(ctx, asked{token: s.user.Token}.message()); err == nil {
		t.Error("it answers without encryption")
	}
	c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: known, ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Errorf("it speaks %q", got)
	}
}

func TestAStopCutsNoCheckOff(t *testing.T) {
	s := bareSite(t)
	e := newEnvoy(t, s.home)
	var all sync.WaitGroup
	stopped := make(chan struct{})
	answered := make(chan int, 4)
	for range cap(answered) {
		all.Go(func() {
			n := 0
			for {
				answer, err := e.Check(t.Context(), asked{token: s.user.Token}.message())
				if err != nil {
					if grpcstatus.Code(err) != codes.Unavailable {
						t.Errorf("a stop answers %v", err)
					}
					break
				}
				if answer.GetOkResponse() == nil {
					t.Errorf("a stop answers %v", answer)
				}
				if n++; n == 50 {
					answered <- n
				}
			}
			<-stopped
		})
	}
	for range cap(answered) {
		<-answered
	}
	s.home.manager(t, "stop")
	close(stopped)
	all.Wait()
	s.home.manager(t, "start")
	eventually(t, "checks are answered again", func() bool {
		_, err := e.Check(t.Context(), asked{token: s.user.Token}.message())
		return err == nil
	})
	e.admits(t, asked{}, s.user)
}

// What is shipped is read by Envoy's own messages, which know every name and every
// rule of a value; Envoy itself is not run.
func TestEnvoysConfigurationsAreReadByItsOwnMessages(t *testing.T) {
	paths, err := filepath.Glob("../deploy/envoy/*.yaml")
	if err != nil || len(paths) != 2 {
		t.Fatalf("%q, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := yaml.YAMLToJSONStrict([]byte(read(t, path)))
			if err != nil {
				t.Fatal(err)
			}
			var b bootstrapv3.Bootstrap
			if err := protojson.Unmarshal(text, &b); err != nil {
				t.Fatal(err)
			}
			if err := b.ValidateAll(); err != nil {
				t.Error(err)
			}
			var manager hcmv3.HttpConnectionManager
			if err := b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(&manager); err != nil {
				t.Fatal(err)
			}
			if err := manager.ValidateAll(); err != nil {
				t.Error(err)
			}
			if !strings.Contains(string(text), `"failure_mode_allow":false`) || strings.Contains(string(text), "failure_mode_allow_header_add") {
				t.Error("it may let a request through without a verdict")
			}
		})
	}
}
