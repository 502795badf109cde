package e2e

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const guardRules = "/admin role=admin, /data tag=team:data"

// guardBefore has the server of a home guard an API, and answers where. More
// properties are given as names and values in turn.
func guardBefore(t *testing.T, h home, api string, properties ...string) running {
	t.Helper()
	r := running{entrance: freeAddress(t)}
	all := append([]string{"guard.upstream", api, "guard.listen", r.entrance, "guard.rules", guardRules, "log.level", "debug"}, properties...)
	h.configure(t, all...)
	h.manager(t, "restart")
	return r
}

// configure sets and applies properties, given as names and values in turn.
func (h home) configure(t *testing.T, properties ...string) {
	t.Helper()
	for i := 0; i < len(properties); i += 2 {
		h.manager(t, "config", "properties", "set", properties[i], properties[i+1])
	}
	h.manager(t, "config", "apply")
}

// logs is everything that the server of a home has logged.
func (h home) logs(t *testing.T) (all string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(h.dir, "logs", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("logs %q, %v", paths, err)
	}
	for _, path := range paths {
		all += read(t, path)
	}
	return all
}

// The guard is held to what every gateway is held to.
func TestTheGuardAdmitsOnlyWhatTheDoorAllows(t *testing.T) {
	s := bareSite(t)
	short := s.issue(t, fmt.Sprintf(`{"client_id":"short","role":"user","expires_at":%q}`, time.Now().Add(8*time.Second).UTC().Format(time.RFC3339)))
	r := guardBefore(t, s.home, s.api.server.URL)
	for _, c := range []struct {
		name string
		tell func(*testing.T, running)
	}{
		{"a good token passes, and the API is told whose it is", s.goodTokens},
		{"a bad token is refused with the door's challenge", s.badTokens},
		{"a demand is met by no query and no spelling of the path", s.demands},
		{"a revoked token is refused on the next request", s.revocation},
		{"nobody says who they are but the guard", s.spoofing},
		{"an address counts where the client has it", s.addresses},
		{"what the API answers passes unchanged", s.answers},
		{"bodies, HEAD and WebSockets pass for a good token alone", s.transport},
		{"a token beyond its limit is refused", func(t *testing.T, r running) { s.limits(t, r, http.StatusTooManyRequests) }},
		{"an expired token is refused", func(t *testing.T, r running) { s.expiry(t, r, short) }},
	} {
		t.Run(c.name, func(t *testing.T) { c.tell(t, r) })
	}
	logs := s.home.logs(t)
	for _, token := range []issued{s.admin, s.user, s.plain} {
		if strings.Contains(logs, token.Token) {
			t.Error("a token is in the log")
		}
	}
}

func TestTheGuardOutlivesItsUpstreamAndARestart(t *testing.T) {
	s := bareSite(t)
	upstream := newLine(t, s.api.address())
	r := guardBefore(t, s.home, "http://"+upstream.address, "guard.timeout", "2s")
	q := question{path: "/", token: s.user.Token}
	s.admits(t, r, question{path: "/"}, s.user)

	for what, c := range map[string]struct {
		says   string
		status int
		code   string
	}{
		"silent":        {"", http.StatusGatewayTimeout, "upstream.timeout"},
		"no HTTP":       {"220 smtp.example ESMTP\r\n\r\n", http.StatusBadGateway, "upstream.unreachable"},
		"upgrades":      {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", http.StatusBadGateway, "upstream.unreachable"},
		"half a header": {"HTTP/1.1 200 OK\r\nX-Half: ", http.StatusBadGateway, "upstream.unreachable"},
	} {
		upstream.answers(c.says)
		if got := r.ask(t, q); got.status != c.status || !strings.Contains(got.body, `"code":"`+c.code+`"`) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	upstream.through()
	upstream.hangUp()
	if got := r.ask(t, q); got.status != http.StatusBadGateway || !strings.Contains(got.body, `"code":"upstream.unreachable"`) {
		t.Errorf("down: %d %s", got.status, got.body)
	}
	if got := r.ask(t, question{path: "/"}); got.status != http.StatusUnauthorized {
		t.Errorf("down, without a token: %d", got.status)
	}
	upstream.listen(t)
	s.admits(t, r, question{path: "/"}, s.user)

	s.home.manager(t, "restart")
	s.admits(t, r, question{path: "/"}, s.user)
	s.refuses(t, r, question{path: "/", token: "x"}, http.StatusUnauthorized, "")
	s.home.manager(t, "stop")
	if c, err := net.Dial("tcp", r.entrance); err == nil {
		_ = c.Close()
		t.Error("a stopped server has left its guard")
	}
}

func TestRulesOfTheGuardTakeEffectWhenApplied(t *testing.T) {
	s := bareSite(t)
	r := guardBefore(t, s.home, s.api.server.URL)
	ask := func(method, path, token string) int {
		t.Helper()
		return r.ask(t, question{method: method, path: path, token: token}).status
	}
	s.refuses(t, r, question{path: "/docs"}, http.StatusUnauthorized, "")
	s.home.configure(t, "guard.public_paths", "GET|OPTIONS /docs, /healthz", "guard.rules", "/docs/drafts role=admin, POST /docs tag=team:data", "guard.authorization", "keep")
	for _, c := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "/docs", "", 200},
		{"HEAD", "/docs/x", "", 200},
		{"OPTIONS", "/docs", "", 200},
		{"GET", "/healthz", "x", 200}, // what is public asks nobody
		{"PUT", "/docs", "", 401},
		{"POST", "/docs", s.plain.Token, 403},
		{"POST", "/docs", s.user.Token, 200},
		{"GET", "/docs/drafts", "", 401},
		{"GET", "/docs/Drafts/1", s.user.Token, 403},
		{"GET", "/docs/drafts/1", s.admin.Token, 200},
		{"GET", "/Docs", "", 401},
		{"GET", "/docs/../docs", "", 400},
		{"GET", "/admin", s.plain.Token, 200}, // its rule is gone
	} {
		if got := ask(c.method, c.path, c.token); got != c.status {
			t.Errorf("%s %s answers %d, want %d", c.method, c.path, got, c.status)
		}
	}
	s.api.took()
	r.ask(t, question{path: "/x", token: s.user.Token, fields: []string{"X-Auth-Role: admin"}})
	if took := s.api.took(); len(took) != 1 || took[0].header.Get("Authorization") != "Bearer "+s.user.Token {
		t.Error("the token is not kept")
	}
	s.home.refuses(t, 7, []string{"guard.rules", "/a demands nothing"}, "config", "properties", "set", "guard.rules", "/a")
	s.home.manager(t, "config", "properties", "set", "guard.rules", "/healthz role=admin")
	s.home.refuses(t, 7, []string{`"/healthz" and "/healthz role=admin" are for the same path and method`}, "config", "apply")
	if got := ask("GET", "/docs/drafts", ""); got != 401 {
		t.Errorf("after an apply that was refused: %d", got)
	}
}

// busyAPI is an API that streams: it speaks in capitals line by line, or tells
// what came.
func busyAPI(t *testing.T) *httptest.Server {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		switch r.URL.Path {
		case "/speak":
			if err := out.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			_ = out.Flush()
			for in := bufio.NewReader(r.Body); ; {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				_, _ = io.WriteString(w, strings.ToUpper(line))
				_ = out.Flush()
			}
		case "/count":
			w.Header().Set("Trailer", "X-Sum")
			sum := sha256.New()
			n, err := io.Copy(sum, r.Body)
			_, _ = fmt.Fprintf(w, "%d %v %s", n, err, r.Trailer.Get("X-End"))
			w.Header().Set("X-Sum", fmt.Sprintf("%x", sum.Sum(nil)))
		case "/slow":
			time.Sleep(3 * time.Second) // longer than the timeout between two parts
			_, _ = io.WriteString(w, "late")
		case "/rests":
			_, _ = io.WriteString(w, "first ")
			_ = out.Flush()
			time.Sleep(3 * time.Second)
			_, _ = io.WriteString(w, "second")
		}
	}))
	t.Cleanup(api.Close)
	return api
}

func TestTheGuardStreams(t *testing.T) {
	h := startHome(t)
	token := h.token(t, "etl", "user")
	r := guardBefore(t, h, busyAPI(t).URL, "guard.timeout", "2s")
	send := func(method, path string, body io.Reader) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.entrance+path, body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		if body != nil {
			request.Trailer = http.Header{"X-End": {"right"}, "X-Auth-Role": {"admin"}}
		}
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	t.Run("both ways, line by line", func(t *testing.T) {
		said, say := io.Pipe()
		in := bufio.NewReader(send(http.MethodPost, "/speak", said).Body)
		for _, line := range []string{"one\n", "two\n", "three\n"} {
			if _, err := io.WriteString(say, line); err != nil {
				t.Fatal(err)
			}
			if got, err := in.ReadString('\n'); err != nil || got != strings.ToUpper(line) {
				t.Fatalf("%q, %v", got, err)
			}
		}
		_ = say.Close()
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
	})
	t.Run("large bodies and trailers", func(t *testing.T) {
		const size = 64 << 20
		resp := send(http.MethodPut, "/count", io.LimitReader(zeros{}, size))
		body, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("%d <nil> right", size); err != nil || string(body) != want {
			t.Errorf("%q, %v", body, err)
		}
		sum := sha256.New()
		_, _ = io.CopyN(sum, zeros{}, size)
		if got, want := resp.Trailer.Get("X-Sum"), fmt.Sprintf("%x", sum.Sum(nil)); got != want {
			t.Errorf("the trailer is %q", got)
		}
	})
	t.Run("an API that begins late is given up", func(t *testing.T) {
		if got := r.ask(t, question{path: "/slow", token: token}); got.status != http.StatusGatewayTimeout {
			t.Errorf("%d", got.status)
		}
	})
	t.Run("an API that rests is not", func(t *testing.T) {
		if got := r.ask(t, question{path: "/rests", token: token}); got.status != http.StatusOK || got.body != "first second" {
			t.Errorf("%d %q", got.status, got.body)
		}
	})
	t.Run("a client that stalls is", func(t *testing.T) {
		if got := r.ask(t, question{method: "POST", path: "/count", token: token, fields: []string{"Content-Length: 5"}}); got.status != http.StatusRequestTimeout {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestTheGuardHasTheServersCertificate(t *testing.T) {
	s := bareSite(t)
	certificate, key := pair(t, t.TempDir(), "guard")
	r := guardBefore(t, s.home, s.api.server.URL, "server.tls.certificate", certificate, "server.tls.key", key)
	known := x509.NewCertPool()
	known.AppendCertsFromPEM([]byte(read(t, certificate)))
	for version, protocols := range map[string][]string{"HTTP/1.1": {"http/1.1"}, "HTTP/2.0": {"h2"}} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: known, ServerName: "localhost", NextProtos: protocols}, ForceAttemptHTTP2: version == "HTTP/2.0"}
		t.Cleanup(transport.CloseIdleConnections)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.entrance+"/x", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+s.user.Token)
		s.api.took()
		resp, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		got := s.reached(t, question{}, s.user)
		if resp.StatusCode != http.StatusOK || resp.Proto != version || got.header.Get("X-Forwarded-Proto") != "https" || got.body != "body" {
			t.Errorf("%s: %s %s, the API is told of %q", version, resp.Proto, resp.Status, got.header.Get("X-Forwarded-Proto"))
		}
	}
}

// The command of somebody who has no gateway and no installation directory.
func TestOneCommandGuardsAnAPI(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	api := newProtectedAPI(t)
	for name, args := range map[string]func(entrance string) []string{
		"guard": func(entrance string) []string {
			return []string{"guard", "--upstream", api.server.URL, "--listen", entrance}
		},
		"serve --guard-upstream": func(string) []string { return []string{"serve", "--guard-upstream", api.server.URL} },
	} {
		t.Run(name, func(t *testing.T) {
			r := running{entrance: freeAddress(t)}
			s := &server{t: t, command: exec.Command(program, args(r.entrance)...), ended: make(chan struct{})}
			s.command.Env = append(os.Environ(), "MINTMARK_SERVER_LISTEN="+freeAddress(t), "MINTMARK_GUARD_LISTEN="+r.entrance, "TMPDIR="+t.TempDir())
			s.command.Stdout, s.command.Stderr = s, s
			if err := s.command.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				_ = s.command.Wait()
				close(s.ended)
			}()
			t.Cleanup(func() {
				_ = s.command.Process.Kill()
				<-s.ended
			})
			eventually(t, "the server is ready", s.ready)
			got := r.ask(t, question{path: "/"})
			if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != `Bearer realm="mintmark"` || len(api.took()) != 0 {
				t.Errorf("%d %v", got.status, got.header)
			}
			s.signal(syscall.SIGTERM)
			s.ends()
		})
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"guard"}, 2, "--upstream"},
		{[]string{"guard", "--upstream", "127.0.0.1:9000"}, 7, "guard.upstream"},
		{[]string{"guard", "--upstream", "http://127.0.0.1:9000/v1"}, 7, "without a path"},
		{[]string{"guard", "--upstream", "http://127.0.0.1:3000", "--listen", "127.0.0.1:3000"}, 7, "it is the address of server.listen"},
		{[]string{"guard", "--upstream", api.server.URL, "--listen", newProtectedAPI(t).address()}, 1, "--listen HOST:PORT chooses another"},
	} {
		command := exec.Command(program, c.args...)
		command.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		if c.code == 1 {
			command.Env = append(command.Env, "MINTMARK_SERVER_LISTEN=127.0.0.1:0")
		}
		out, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%q: exit code %d\n%s", c.args, code, out)
		}
	}
}
