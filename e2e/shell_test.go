package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandTimeout bounds one command and one call.
const commandTimeout = 60 * time.Second

// install makes an installation directory on a free port of the loopback
// interface, with args after those of init. It is not started; it is stopped
// when the test ends.
func install(t *testing.T, args ...string) home {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	h := home{dir: filepath.Join(t.TempDir(), "home"), url: "http://" + addr}
	t.Cleanup(func() { h.stop(t) })
	if out, err := exec.Command(program, append([]string{"init", h.dir, "--listen", addr}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("mintmark init: %v\n%s", err, out)
	}
	return h
}

// said is what a command printed, and its exit code.
type said struct {
	out, err string
	code     int
}

// run runs `<home>/manager args…`, whatever comes of it.
func (h home) run(t *testing.T, args ...string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	command := exec.CommandContext(ctx, filepath.Join(h.dir, "manager"), args...)
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("manager %s: %v", args, err)
	}
	return said{out.String(), errs.String(), command.ProcessState.ExitCode()}
}

// refuses runs a command that must fail with a code and say all of words.
func (h home) refuses(t *testing.T, code int, words []string, args ...string) {
	t.Helper()
	got := h.run(t, args...)
	if got.code != code {
		t.Errorf("manager %s: exit code %d, want %d\n%s%s", args, got.code, code, got.out, got.err)
	}
	for _, word := range words {
		if !strings.Contains(got.err, word) {
			t.Errorf("manager %s does not say %q:\n%s", args, word, got.err)
		}
	}
}

// token makes a token in the shell and answers what a script would keep: all of
// the standard output, but its newline.
func (h home) token(t *testing.T, clientID, role string, args ...string) string {
	t.Helper()
	got := h.run(t, append([]string{"token", "create", "--client-id", clientID, "--role", role}, args...)...)
	if got.code != 0 {
		t.Fatalf("token create: exit code %d\n%s", got.code, got.err)
	}
	return strings.TrimSuffix(got.out, "\n")
}

// status is what `manager status --json` tells.
type status struct {
	PID   int `json:"pid"`
	Store struct {
		Kind     string `json:"kind"`
		Location string `json:"location"`
	} `json:"store"`
	Tokens struct {
		Active int `json:"active"`
	} `json:"tokens"`
}

func (h home) status(t *testing.T) status {
	t.Helper()
	var s status
	got := h.run(t, "status", "--json")
	if err := json.Unmarshal([]byte(got.out), &s); err != nil || got.code != 0 {
		t.Fatalf("manager status --json: exit code %d, %v\n%s%s", got.code, err, got.out, got.err)
	}
	return s
}

// kill ends the server without a warning and waits until nothing holds the home.
func (h home) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(h.status(t).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	const deadWithPidFile = 1 // LSB
	eventually(t, "manager status tells that the server is dead", func() bool { return h.run(t, "status").code == deadWithPidFile })
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(stepTimeout); !holds(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in %s it did not come about that %s", stepTimeout, what)
		}
	}
}

// write makes a file of the service's user alone.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tokenFile does what the manual asks for: touch token.json, 0600, in a folder
// that nobody else can enter.
func tokenFile(t *testing.T, text string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(folder, "token.json"), text)
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// answer is what the API answered.
type answer struct {
	status int
	header http.Header
	body   string
}

// request is one call of the API; only url is needed.
type request struct {
	method, url, authorization, contentType, body string
	header                                        http.Header
}

// call sends a request and follows nothing.
func call(t *testing.T, r request) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	out, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range r.header {
		out.Header[name] = values
	}
	if r.authorization != "" {
		out.Header.Set("Authorization", r.authorization)
	}
	if r.contentType != "" {
		out.Header.Set("Content-Type", r.contentType)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // servers come and go under one address
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	in, err := client.Do(out)
	// A server that refuses a body closes before all of it was sent, and its answer
	// may be lost by that (RFC 9112 section 9.6).
	for tries := 0; len(r.body) > 64<<10 && tries < 5 && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)); tries++ {
		if out.Body, err = out.GetBody(); err == nil {
			in, err = client.Do(out)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", r.method, err)
	}
	defer func() { _ = in.Body.Close() }()
	body, err := io.ReadAll(in.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{in.StatusCode, in.Header, string(body)}
}

// whoami calls the API as the holder of an Authorization value.
func (h home) whoami(t *testing.T, authorization string) answer {
	t.Helper()
	return call(t, request{url: h.url + "/api/v1/whoami", authorization: authorization})
}

// accepts fails the test unless the API knows the caller as a client ID.
func (h home) accepts(t *testing.T, authorization, clientID string) {
	t.Helper()
	got := h.whoami(t, authorization)
	var identity struct {
		ClientID string `json:"client_id"`
	}
	if err := json.Unmarshal([]byte(got.body), &identity); got.status != http.StatusOK || err != nil || identity.ClientID != clientID {
		t.Errorf("whoami answers %d %s, want 200 and %s", got.status, got.body, clientID)
	}
}

// RFC 6750 section 3: without a credential the challenge names no error.
const (
	challengeMissing = `Bearer realm="mintmark"`
	challengeInvalid = `Bearer realm="mintmark", error="invalid_token", error_description="invalid token"`
)

// rejects fails the test unless the API answers 401 with the challenge for a
// token that is not valid, or for none.
func (h home) rejects(t *testing.T, authorization string) {
	t.Helper()
	want := challengeInvalid
	if authorization == "" {
		want = challengeMissing
	}
	got := h.whoami(t, authorization)
	if challenges := got.header.Values("WWW-Authenticate"); got.status != http.StatusUnauthorized || len(challenges) != 1 || challenges[0] != want {
		t.Errorf("whoami answers %d and challenges with %q, want 401 and %q", got.status, challenges, want)
	}
}

// signIn asks for a login token, with a form or with JSON.
func (h home) signIn(t *testing.T, contentType, body string) string {
	t.Helper()
	got := call(t, request{method: http.MethodPost, url: h.url + "/api/v1/signIn", contentType: contentType, body: body})
	var in struct {
		Message  string   `json:"message"`
		Token    string   `json:"token"`
		Role     string   `json:"role"`
		ID       string   `json:"id"`
		Username string   `json:"username"`
		ReadOnly *bool    `json:"readOnly"`
		Tags     []string `json:"tags"`
	}
	if err := json.Unmarshal([]byte(got.body), &in); got.status != http.StatusOK || err != nil {
		t.Fatalf("signIn answers %d %s", got.status, got.body)
	}
	if in.Message == "" || in.Role != "admin" || in.ID == "" || in.Username != "admin" || in.ReadOnly == nil || in.Tags == nil {
		t.Errorf("a member is missing in the answer of signIn: %+v", in)
	}
	if strings.Count(in.Token, ".") != 2 {
		t.Error("the login token is not a JWT")
	}
	return in.Token
}
