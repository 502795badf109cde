package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// certify makes a certificate for the loopback interface that signs itself, and
// answers it as those read it who trust it.
func certify(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mintmark"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, string(authority)
}

// TestApacheAdmitsByIntrospection runs mod_auth_openidc with the configuration
// that is shipped: somebody else's client of RFC 7662 before one API.
func TestApacheAdmitsByIntrospection(t *testing.T) {
	s := newSite(t)
	certificate, authority := certify(t)
	s.line = newTLSLine(t, strings.TrimPrefix(s.home.url, "http://"), certificate)
	verifier := s.issue(t, `{"client_id":"gate@dc1","role":"verifier"}`)
	r := introspecting(verifier, authority).start(t, s)
	for _, c := range []struct {
		name string
		tell func(*testing.T, running)
	}{
		{"a good token passes, and the API is told whose it is", s.introspectedTokens},
		{"a bad token is refused", s.introspectedRefusals},
		{"a demand is met by no query and no spelling of the path", s.demandedPaths},
		{"a revoked token is refused on the next request", s.introspectedRevocation},
		{"nobody says who they are but the authority", s.spoofing},
		{"what the API answers passes unchanged", s.answers},
		{"without an answer nothing passes", s.introspectedOutages},
	} {
		t.Run(c.name, func(t *testing.T) { c.tell(t, r) })
	}
	for _, token := range []issued{s.admin, s.user, s.plain, verifier} {
		if strings.Contains(r.said(t), token.Token) {
			t.Error("a token is printed")
		}
	}
}

func (s *site) introspectedTokens(t *testing.T, r running) {
	s.admits(t, r, question{path: "/"}, s.user)
	s.admits(t, r, question{path: "/x?a=b&c=%20d"}, s.plain)
	s.admits(t, r, question{path: "/admin/x"}, s.admin)
	s.admits(t, r, question{path: "/data/x"}, s.user)
	s.admits(t, r, question{path: "/data/x"}, s.admin)
	body := strings.Repeat("x", 1<<19)
	if got := s.admits(t, r, question{method: http.MethodPost, path: "/", body: body}, s.user); got.body != body {
		t.Errorf("the API got %d bytes", len(got.body))
	}
	s.webSocket(t, r, question{path: "/ws", token: s.user.Token, fields: []string{
		"Connection: Upgrade, X-Auth-Role", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}})
}

// stopped fails the test when a question is not refused or reaches the API.
func (s *site) stopped(t *testing.T, r running, name string, q question) {
	t.Helper()
	s.api.took()
	got := r.ask(t, q)
	challenge := got.header.Get("WWW-Authenticate")
	refused := slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, got.status)
	if !refused || got.status == http.StatusUnauthorized && !strings.HasPrefix(challenge, "Bearer ") {
		t.Errorf("%s: %d %q", name, got.status, challenge)
	}
	if len(s.api.took()) != 0 {
		t.Errorf("%s reached the API", name)
	}
}

func (s *site) introspectedRefusals(t *testing.T, r running) {
	fenced := s.issue(t, `{"client_id":"fenced","role":"user","allowed_addresses":["127.0.0.0/8"]}`)
	foreign := s.issue(t, `{"client_id":"other","role":"user","audience":["https://elsewhere.example"]}`)
	verifier := s.issue(t, `{"client_id":"gate","role":"verifier"}`)
	for name, q := range map[string]question{
		"no token":               {path: "/"},
		"HEAD":                   {method: http.MethodHead, path: "/"},
		"OPTIONS":                {method: http.MethodOptions, path: "/"},
		"OPTIONS of anybody":     {method: http.MethodOptions, path: "/", token: s.admin.Token},
		"OPTIONS of /admin":      {method: http.MethodOptions, path: "/admin/x"},
		"OPTIONS of /data":       {method: http.MethodOptions, path: "/data/x", token: s.user.Token},
		"a preflight":            {method: http.MethodOptions, path: "/", fields: []string{"Origin: https://evil.example", "Access-Control-Request-Method: POST"}},
		"what is no token":       {path: "/", token: "x"},
		"a cut one":              {path: "/", token: s.user.Token[:len(s.user.Token)-2]},
		"another audience's":     {path: "/", token: foreign.Token},
		"a Verifier's":           {path: "/", token: verifier.Token},
		"one bound to addresses": {path: "/", token: fenced.Token},
		"a User's at /admin":     {path: "/admin/x", token: s.user.Token},
		"none of the tag":        {path: "/data/x", token: s.plain.Token},
		"two fields":             {path: "/", fields: []string{"Authorization: Bearer " + s.user.Token, "Authorization: Bearer " + s.admin.Token}},
		"a list":                 {path: "/", fields: []string{"Authorization: Bearer " + s.user.Token + ", Bearer x"}},
		"one in the URL":         {path: "/?access_token=" + s.plain.Token},
		"basic":                  {path: "/", fields: []string{"Authorization: Basic eDp5"}},
		"claims of one's own":    {path: "/", fields: []string{"OIDC_CLAIM_client_id: root", "OIDC_CLAIM_role: admin"}},
	} {
		s.stopped(t, r, name, q)
	}
	if got := r.ask(t, question{path: "/", token: s.plain.Token, fields: []string{"OIDC_CLAIM_role: admin", "OIDC-CLAIM-role: admin"}}); got.status == http.StatusOK {
		s.reached(t, question{}, s.plain)
	}
}

func (s *site) demandedPaths(t *testing.T, r running) {
	for _, path := range []string{"/admin", "/%61dmin/x", "//admin/x", "/./admin/x", "/x/../admin/x", "/x/%2e%2e/admin/x", "/admin%2fx", "/..;/admin/x", "///admin", "/admin;x=1", "/\\admin"} {
		s.api.took()
		got := r.ask(t, question{path: path, token: s.user.Token})
		for _, a := range s.api.took() {
			if read := cleaned(a.path); read == "/admin" || strings.HasPrefix(read, "/admin/") {
				t.Errorf("%s answers %d to a User and reaches the API as %s", path, got.status, a.path)
			}
		}
	}
	for _, query := range []string{"role=admin", "tag=team:data", "%72ole=admin"} {
		s.stopped(t, r, query, question{path: "/admin/x?" + query, token: s.user.Token})
		s.stopped(t, r, query, question{path: "/data/x?" + query, token: s.plain.Token})
	}
}

func (s *site) introspectedRevocation(t *testing.T, r running) {
	for range 5 {
		token := s.issue(t, `{"client_id":"leaver","role":"user"}`)
		kept := r.dial(t, "")
		for range 2 {
			s.api.took()
			if got := kept.ask(t, question{path: "/", token: token.Token}); got.status != http.StatusOK {
				t.Fatalf("before it was revoked the token answers %d", got.status)
			}
			s.reached(t, question{}, token)
		}
		s.revoke(t, token)
		if got := kept.ask(t, question{path: "/", token: token.Token}); got.status != http.StatusUnauthorized {
			t.Errorf("on the same connection a revoked token answers %d", got.status)
		}
	}
}

// The module takes every failure for a bad token.
func (s *site) introspectedOutages(t *testing.T, r running) {
	good := question{path: "/", token: s.user.Token}
	for what, says := range map[string]string{
		"the authority never answers":     "",
		"the state is unknown":            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
		"the authority answers 500":       "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 15\r\n\r\n{\"active\":true}",
		"the authority hangs up half-way": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"active\":tr",
		"somebody else listens there":     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"the authority redirects":         "HTTP/1.1 302 Found\r\nLocation: /healthz\r\nContent-Length: 0\r\n\r\n",
	} {
		s.line.answers(says)
		s.stopped(t, r, what, good)
	}
	s.line.hangUp()
	s.stopped(t, r, "nobody listens", good)
	other, _ := certify(t)
	trusted := s.line.tls
	s.line.tls = other
	s.line.through()
	s.line.listen(t)
	s.stopped(t, r, "another certificate", good)
	s.line.hangUp()
	s.line.tls = trusted
	s.line.listen(t)
	s.admits(t, r, question{path: "/"}, s.user)
}
