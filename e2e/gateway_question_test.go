package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// question is one request to a gateway, written to the wire as it is here.
type question struct {
	method string // GET without it
	path   string
	token  string
	fields []string // whole header lines
	body   string
	from   string // the client's address; 127.0.0.1 without it
}

func (q question) text() string {
	if q.method == "" {
		q.method = http.MethodGet
	}
	lines := []string{q.method + " " + q.path + " HTTP/1.1", "Host: 127.0.0.1"}
	if q.token != "" {
		lines = append(lines, "Authorization: Bearer "+q.token)
	}
	if q.body != "" {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(q.body)))
	}
	return strings.Join(append(lines, q.fields...), "\r\n") + "\r\n\r\n" + q.body
}

// wire is one connection to a gateway.
type wire struct {
	net.Conn
	in *bufio.Reader
}

// dial connects from an address of the loopback interface.
func (r running) dial(t *testing.T, from string) wire {
	t.Helper()
	if from == "" {
		from = "127.0.0.1"
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.DialContext(t.Context(), "tcp", r.entrance)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(commandTimeout)); err != nil {
		t.Fatal(err)
	}
	return wire{c, bufio.NewReader(c)}
}

// ask sends one question over the connection and reads the answer.
func (w wire) ask(t *testing.T, q question) answer {
	t.Helper()
	if _, err := io.WriteString(w, q.text()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.in, &http.Request{Method: q.method})
	if err != nil {
		t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (r running) ask(t *testing.T, q question) answer {
	t.Helper()
	w := r.dial(t, q.from)
	defer func() { _ = w.Close() }()
	return w.ask(t, q)
}

// identityNames are the four headers, folded.
func identityNames() []string {
	return []string{"x-auth-client-id", "x-auth-role", "x-auth-tags", "x-auth-token-id"}
}

// fold reads a header name as a program does that keeps letters and digits only
// (RFC 3875 section 4.1.18 and its many readings).
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// identity is every value that the API could take for one of the four headers.
// An empty one says the same as none.
func (a arrived) identity() map[string][]string {
	found := map[string][]string{}
	for name, values := range a.header {
		if slices.Contains(identityNames(), fold(name)) && strings.Join(values, "") != "" {
			found[fold(name)] = append(found[fold(name)], values...)
		}
	}
	return found
}

func (i issued) identity() map[string][]string {
	is := map[string][]string{"x-auth-client-id": {i.ClientID}, "x-auth-role": {i.Role}, "x-auth-token-id": {i.ID}}
	if len(i.Tags) > 0 {
		is["x-auth-tags"] = []string{strings.Join(i.Tags, ",")}
	}
	return is
}

// admits fails the test unless a question reaches the API, once, as a token's
// holder.
func (s *site) admits(t *testing.T, r running, q question, as issued) arrived {
	t.Helper()
	q.token = as.Token
	s.api.took()
	got := r.ask(t, q)
	if got.status != http.StatusOK {
		t.Errorf("%s %s answers %d, want 200", q.method, q.path, got.status)
	}
	return s.reached(t, q, as)
}

// reached answers what has reached the API: one request, as a token's holder,
// without the token.
func (s *site) reached(t *testing.T, q question, as issued) arrived {
	t.Helper()
	took := s.api.took()
	if len(took) != 1 {
		t.Fatalf("%s %s reached the API %d times", q.method, q.path, len(took))
	}
	if diff := cmp.Diff(as.identity(), took[0].identity()); diff != "" {
		t.Errorf("%s %s with %q (-want +got):\n%s", q.method, q.path, q.fields, diff)
	}
	if took[0].header.Get("Authorization") != "" {
		t.Error("the API sees the token")
	}
	// Whatever is before the API would remove what is named there (RFC 9110
	// section 7.6.1).
	for _, named := range strings.Split(strings.Join(took[0].header.Values("Connection"), ","), ",") {
		if slices.Contains(identityNames(), fold(strings.TrimSpace(named))) {
			t.Errorf("%s %s with %q reaches the API with Connection: %s", q.method, q.path, q.fields, named)
		}
	}
	return took[0]
}

// refuses fails the test unless a question is answered with a status and the
// door's own challenge, and does not reach the API.
func (s *site) refuses(t *testing.T, r running, q question, status int, demand string) {
	t.Helper()
	s.api.took()
	got := r.ask(t, q)
	door := call(t, request{url: s.home.url + "/auth/verify?" + demand, authorization: bearer(q.token)})
	if got.status != status || door.status != status {
		t.Errorf("%s %s answers %d, the door %d, want %d", q.method, q.path, got.status, door.status, status)
	}
	if want, has := door.header.Values("WWW-Authenticate"), got.header.Values("WWW-Authenticate"); len(want) != 1 || !slices.Equal(want, has) {
		t.Errorf("%s %s challenges with %q, the door with %q", q.method, q.path, has, want)
	}
	// With this the operator of Mintmark can say why.
	if ids := got.header.Values("X-Request-Id"); len(ids) != 1 || len(ids[0]) != 16 {
		t.Errorf("%s %s is request %q", q.method, q.path, ids)
	}
	if took := s.api.took(); len(took) != 0 {
		t.Errorf("%s %s was refused with %d and reached the API", q.method, q.path, got.status)
	}
}

func bearer(token string) string {
	if token == "" {
		return ""
	}
	return "Bearer " + token
}
