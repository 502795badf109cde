package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is `manager serve` in the foreground, without a terminal: as systemd
// runs it.
type server struct {
	t       *testing.T
	command *exec.Cmd
	ended   chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

func (s *server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// serve starts it with more variables of the environment, and waits until it is
// ready.
func (h home) serve(t *testing.T, env ...string) *server {
	t.Helper()
	s := h.serveSoon(t, env...)
	eventually(t, "the server is ready", s.ready)
	return s
}

func (s *server) ready() bool { return strings.Contains(s.said(), "msg=ready") }

// serveSoon starts it and does not wait.
func (h home) serveSoon(t *testing.T, env ...string) *server {
	t.Helper()
	s := &server{t: t, command: exec.Command(filepath.Join(h.dir, "manager"), "serve"), ended: make(chan struct{})}
	s.command.Env = append(os.Environ(), env...)
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
	return s
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.command.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for its end, which has to be a good one.
func (s *server) ends() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(stepTimeout):
		s.t.Fatalf("it has not ended:\n%s", s.said())
	}
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("exit code %d:\n%s", code, s.said())
	}
}

// listens reports whether somebody takes connections at the home's address.
func (h home) listens() bool {
	_, addr, _ := strings.Cut(h.url, "://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// slowRequest is one whose body the server is waiting for.
type slowRequest struct {
	conn net.Conn
	in   *bufio.Reader
	body string
}

// beginRequest returns when the handler has begun to read: the server says so
// itself (RFC 9110, section 10.1.1).
func (h home) beginRequest(t *testing.T) *slowRequest {
	t.Helper()
	_, addr, _ := strings.Cut(h.url, "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := &slowRequest{conn, bufio.NewReader(conn), `{"username":"admin","password":"not the password of anybody"}`}
	_, err = fmt.Fprintf(conn, "POST /api/v1/signIn HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", addr, len(r.body))
	if err != nil {
		t.Fatal(err)
	}
	line, err := r.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := r.in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return r
}

// finish sends the body and reads the answer.
func (r *slowRequest) finish() error {
	if _, err := io.WriteString(r.conn, r.body); err != nil {
		return err
	}
	answer, err := http.ReadResponse(r.in, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err == nil && answer.StatusCode != http.StatusUnauthorized {
		err = fmt.Errorf("answered %s", answer.Status)
	}
	return err
}

func TestSystemdIsToldOfReadinessAndOfTheStop(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = notify.Close() }()
	told := func() string {
		b := make([]byte, 4096)
		if err := notify.SetReadDeadline(time.Now().Add(stepTimeout)); err != nil {
			t.Fatal(err)
		}
		n, err := notify.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	home := install(t)
	s := home.serve(t, "NOTIFY_SOCKET="+socket)
	if got := told(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	if !home.listens() {
		t.Error("it is not ready at all")
	}
	s.signal(syscall.SIGTERM)
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
	s.ends()
}

func TestAStopLetsRequestsUnderWayFinish(t *testing.T) {
	home := install(t)
	s := home.serve(t)
	slow := home.beginRequest(t)
	s.signal(syscall.SIGTERM)
	eventually(t, "the server takes no more connections", func() bool { return !home.listens() })
	s.signal(syscall.SIGTERM) // who asks twice does not mean: at once
	if err := slow.finish(); err != nil {
		t.Errorf("the request under way: %v", err)
	}
	s.ends()
	if log := s.said(); !strings.Contains(log, "msg=stopped") || strings.Contains(log, "cut off") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestRequestsThatDoNotEndAreCutOffInTime(t *testing.T) {
	home := install(t)
	s := home.serve(t, "MINTMARK_SERVER_DRAIN_TIMEOUT=100ms")
	slow := home.beginRequest(t)
	s.signal(syscall.SIGTERM)
	s.ends()
	if err := slow.finish(); err == nil {
		t.Error("the request was answered")
	}
	if log := s.said(); !strings.Contains(log, "cut off") {
		t.Errorf("the log does not tell:\n%s", log)
	}
}

func TestAHangUpDoesNotEndAServerWithoutATerminal(t *testing.T) {
	home := install(t)
	s := home.serve(t)
	s.signal(syscall.SIGHUP)
	s.signal(syscall.SIGHUP)
	slow := home.beginRequest(t)
	if err := slow.finish(); err != nil {
		t.Errorf("after SIGHUP: %v", err)
	}
	s.signal(syscall.SIGTERM)
	s.ends()
}

func TestTheOneTimeCodeOfAServerWithoutATerminalIsInAFile(t *testing.T) {
	home := install(t)
	s := home.serve(t)
	path := filepath.Join(home.dir, "run", "first-sign-in-code")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if code := strings.TrimSpace(read(t, path)); code == "" || strings.Contains(s.said(), code) || !strings.Contains(s.said(), path) {
		t.Errorf("the log:\n%s", s.said())
	}
}

func TestServeSaysWhyItDoesNotStart(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	home := install(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	foreign := write(t, filepath.Join(t.TempDir(), "foreign.pem"), "no certificate\n")
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		says []string
	}{
		"port in use":           {nil, []string{"--home", home.dir, "--listen", taken.Addr().String()}, 1, []string{taken.Addr().String() + " is already in use", "config properties set server.listen"}},
		"address of nobody":     {nil, []string{"--home", home.dir, "--listen", "192.0.2.1:3000"}, 1, []string{"listen on 192.0.2.1:3000"}},
		"no address":            {nil, []string{"--home", home.dir, "--listen", "3000"}, 7, []string{"server.listen"}},
		"no home":               {nil, []string{"--home", filepath.Join(t.TempDir(), "none")}, 5, []string{"no installation directory", "mintmark init"}},
		"a store and no home":   {[]string{"MINTMARK_API_ACCESS_TOKENS_STORE=/tmp/token.json"}, nil, 7, []string{"a token store needs an installation directory", "mintmark init"}},
		"a wrong environment":   {[]string{"MINTMARK_TOKENS_LIFETIME_DEFAULT=soon"}, []string{"--home", home.dir}, 7, []string{"tokens.lifetime.default"}},
		"half of TLS":           {[]string{"MINTMARK_SERVER_TLS_CERTIFICATE=" + foreign}, []string{"--home", home.dir}, 7, []string{"server.tls"}},
		"no certificate":        {[]string{"MINTMARK_SERVER_TLS_CERTIFICATE=" + foreign, "MINTMARK_SERVER_TLS_KEY=" + foreign}, []string{"--home", home.dir}, 7, []string{"read the TLS certificate"}},
		"another server's home": {nil, []string{"--home", startHome(t).dir, "--listen", "127.0.0.1:0"}, 6, []string{"is in use by another process (pid "}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
			defer cancel()
			command := exec.CommandContext(ctx, program, append([]string{"serve"}, c.args...)...)
			command.Env = append(os.Environ(), c.env...)
			out, err := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d (%v)\n%s", code, c.code, err, out)
			}
			for _, text := range c.says {
				if !strings.Contains(string(out), text) {
					t.Errorf("it does not say %q:\n%s", text, out)
				}
			}
		})
	}
}

// pair writes a certificate for localhost and its key as PEM files, each in one
// rename as a careful tool does it.
func pair(t testing.TB, folder, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(folder, "tls.pem"), filepath.Join(folder, "tls.key")
	put(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	put(t, certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certificate, key
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// presented is whose certificate the server shows.
func (h home) presented(t *testing.T) string {
	t.Helper()
	_, addr, _ := strings.Cut(h.url, "://")
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTLSFilesAreReadAgainWhenTheyChange(t *testing.T) {
	home := install(t)
	folder := t.TempDir()
	certificate, key := pair(t, folder, "first")
	home.manager(t, "config", "properties", "set", "server.tls.certificate", certificate)
	home.manager(t, "config", "properties", "set", "server.tls.key", key)
	home.manager(t, "config", "apply")
	s := home.serve(t)
	if got := home.presented(t); got != "first" {
		t.Fatalf("the certificate of %q", got)
	}
	open, err := tls.Dial("tcp", strings.TrimPrefix(home.url, "http://"), &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()

	pair(t, folder, "second")
	if got := home.presented(t); got != "second" {
		t.Errorf("after a change: the certificate of %q", got)
	}
	if _, err := io.WriteString(open, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(open).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Errorf("a connection from before the change: %q, %v", line, err)
	}

	put(t, certificate, []byte("half a cert"))
	for range 2 {
		if got := home.presented(t); got != "second" {
			t.Errorf("with a broken file: the certificate of %q", got)
		}
	}
	if n := strings.Count(s.said(), "cannot be used; the one before stays"); n != 1 {
		t.Errorf("the log tells of it %d times:\n%s", n, s.said())
	}
	pair(t, folder, "third")
	if got := home.presented(t); got != "third" {
		t.Errorf("mended: the certificate of %q", got)
	}
	s.signal(syscall.SIGTERM)
	s.ends()
}

// The unit is what a release installs: systemd has to read it without a remark,
// and what it names has to be there.
func TestTheUnitFileIsWhatSystemdAndTheProgramTake(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	unit := read(t, filepath.Join("..", "deploy", "systemd", "mintmark.service"))
	for _, line := range []string{"Type=notify", "ExecStart=/opt/mintmark/manager serve --home /opt/mintmark", "Restart=on-failure"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no line %q", line)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("NOT VERIFIED: systemd-analyze is not installed")
	}
	// The same unit with the program and the user of this test in it.
	local := strings.NewReplacer("/opt/mintmark/manager", program, "User=mintmark", "User=root", "Group=mintmark", "Group=root").Replace(unit)
	path := write(t, filepath.Join(t.TempDir(), "mintmark.service"), local)
	if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), "mintmark.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
