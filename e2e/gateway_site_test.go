package e2e

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// site is everything around a gateway: the authority, the way to it, and the API
// behind it.
type site struct {
	home  home
	line  *line
	api   *protectedAPI
	admin issued
	user  issued // with the tags team:data and env:prod
	plain issued // a User's without tags
}

// issued is a token as the API issues it.
type issued struct {
	ID        string    `json:"id"`
	Token     string    `json:"token"`
	ClientID  string    `json:"client_id"`
	Role      string    `json:"role"`
	Tags      []string  `json:"tags"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := bareSite(t)
	s.line = newLine(t, strings.TrimPrefix(s.home.url, "http://"))
	// The gateways of these tests reach the authority from this address.
	s.home.manager(t, "config", "properties", "set", "server.trusted_proxies", "127.0.0.1/32")
	s.home.manager(t, "config", "apply")
	return s
}

// bareSite is an authority that knows of no gateway, and the API.
func bareSite(t *testing.T) *site {
	t.Helper()
	s := &site{home: startHome(t), api: newProtectedAPI(t)}
	s.admin.Token = s.home.token(t, "root-script", "admin")
	s.admin = s.issue(t, `{"client_id":"root-gateway","role":"admin"}`)
	s.user = s.issue(t, `{"client_id":"etl-nightly","role":"user","tags":["team:data","env:prod"]}`)
	s.plain = s.issue(t, `{"client_id":"dashboard","role":"user"}`)
	return s
}

// issue makes a token by the HTTP API.
func (s *site) issue(t *testing.T, body string) issued {
	t.Helper()
	got := call(t, request{
		method: http.MethodPost, url: s.home.url + "/api/v1/tokens", authorization: "Bearer " + s.admin.Token,
		contentType: "application/json", body: body,
	})
	var i issued
	if err := json.Unmarshal([]byte(got.body), &i); got.status != http.StatusCreated || err != nil || i.Token == "" {
		t.Fatalf("creating %s answers %d, %v", body, got.status, err)
	}
	return i
}

func (s *site) revoke(t *testing.T, i issued) {
	t.Helper()
	got := call(t, request{method: http.MethodDelete, url: s.home.url + "/api/v1/tokens/" + i.ID, authorization: "Bearer " + s.admin.Token})
	if got.status != http.StatusNoContent {
		t.Fatalf("revoking answers %d %s", got.status, got.body)
	}
}

// line is the way from a gateway to the authority. It carries bytes as they are,
// until a test makes it do something else.
type line struct {
	address, target string
	tls             *tls.Config // nil: in the clear
	listener        net.Listener

	mu    sync.Mutex
	says  *string // what is answered instead of the authority; nil: the authority is
	conns map[net.Conn]bool
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	return newTLSLine(t, target, nil)
}

// newTLSLine is a line that is encrypted as far as the authority's door.
func newTLSLine(t *testing.T, target string, c *tls.Config) *line {
	t.Helper()
	l := &line{address: "127.0.0.1:0", target: target, tls: c, conns: map[net.Conn]bool{}}
	l.listen(t)
	t.Cleanup(l.hangUp)
	return l
}

func (l *line) listen(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	l.address = listener.Addr().String()
	if l.tls != nil {
		listener = tls.NewListener(listener, l.tls)
	}
	l.listener = listener
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(c)
		}
	}()
}

// hangUp has every connection refused.
func (l *line) hangUp() {
	_ = l.listener.Close()
	l.cut()
}

// answers has every question answered by text; "" answers nothing, for ever.
func (l *line) answers(text string) {
	l.mu.Lock()
	l.says = &text
	l.mu.Unlock()
	l.cut()
}

// through has the authority answer again.
func (l *line) through() {
	l.mu.Lock()
	l.says = nil
	l.mu.Unlock()
	l.cut()
}

// cut ends what is under way, so that no connection kept from before is used
// again.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

func (l *line) carry(c net.Conn) {
	l.mu.Lock()
	says := l.says
	l.conns[c] = true
	l.mu.Unlock()
	defer func() {
		_ = c.Close()
		l.mu.Lock()
		delete(l.conns, c)
		l.mu.Unlock()
	}()
	if says != nil {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			if *says == "" {
				_, _ = io.Copy(io.Discard, c) // until the other side gives up
			}
			_, _ = io.WriteString(c, *says)
		}
		return
	}
	to, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(to, c)
		_ = to.Close()
	}()
	_, _ = io.Copy(c, to)
}

// arrived is one request as the API saw it.
type arrived struct {
	method, path, query, body string
	header, trailer           http.Header
}

// protectedAPI is an API behind gateways. It remembers what reaches it, and
// echoes over a WebSocket's connection.
type protectedAPI struct {
	server *httptest.Server
	mu     sync.Mutex
	got    []arrived
}

func newProtectedAPI(t *testing.T) *protectedAPI {
	t.Helper()
	a := &protectedAPI{}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the API cannot read the body of %s %s: %v", r.Method, r.URL.Path, err)
		}
		a.mu.Lock()
		a.got = append(a.got, arrived{r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header.Clone(), r.Trailer.Clone()})
		a.mu.Unlock()
		switch {
		case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
			echo(t, w, r.Header.Get("Sec-WebSocket-Key"))
			return
		case strings.HasSuffix(r.URL.Path, "/forbids"):
			w.Header().Set("WWW-Authenticate", `Bearer realm="the API's own"`)
			w.WriteHeader(http.StatusForbidden)
		case strings.HasSuffix(r.URL.Path, "/fails"):
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "the API answers")
	}))
	t.Cleanup(a.server.Close)
	return a
}

// echo opens a WebSocket's connection (RFC 6455 section 4.2.2) and sends back what
// comes.
func echo(t *testing.T, w http.ResponseWriter, key string) {
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	_, _ = io.Copy(c, buffered)
}

func (a *protectedAPI) address() string { return a.server.Listener.Addr().String() }

// took answers what has reached the API since the last call.
func (a *protectedAPI) took() []arrived {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}
