package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wireTimeout bounds one exchange; the server itself waits 5 s for a header.
const wireTimeout = 20 * time.Second

// dial opens a connection that ends with the test.
func dial(t *testing.T, h home) net.Conn {
	t.Helper()
	_, addr, _ := strings.Cut(h.url, "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(wireTimeout)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// send writes bytes as they are and reads every answer until the server closes
// or has no more to say; the first line of each answer is its status.
func send(t *testing.T, h home, raw string) (answers []answer) {
	t.Helper()
	conn := dial(t, h)
	go func() { _, _ = io.WriteString(conn, raw) }() // a server that has refused need not read the rest
	in := bufio.NewReader(conn)
	for {
		if len(answers) > 0 {
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second)) // is there another?
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return answers
		}
		body, _ := io.ReadAll(resp.Body)
		answers = append(answers, answer{resp.StatusCode, resp.Header, string(body)})
		if resp.Close {
			return answers
		}
	}
}

func statuses(answers []answer) []int {
	var out []int
	for _, a := range answers {
		out = append(out, a.status)
	}
	return out
}

// Requests that no client library would send. Each is answered as named, never
// taken for another, and none of them costs the server anything.
func TestHostileBytesAreRefusedOnTheWire(t *testing.T) {
	h := startHome(t)
	token := h.token(t, "wire", "admin")
	const host = "Host: x\r\n"
	bearer := "Authorization: Bearer " + token + "\r\n"
	get := func(fields string) string { return "GET /api/v1/whoami HTTP/1.1\r\n" + host + fields + "\r\n" }
	post := func(fields, body string) string {
		return "POST /api/v1/tokens HTTP/1.1\r\n" + host + bearer + "Content-Type: application/json\r\n" + fields + "\r\n" + body
	}
	sized := func(body string) string { return post("Content-Length: "+strconv.Itoa(len(body))+"\r\n", body) }
	smuggled := "GET /api/v1/tokens HTTP/1.1\r\n" + host + bearer + "\r\n"
	pid := h.status(t).PID
	before := resident(t, pid)
	cases := map[string]struct {
		raw  string
		want []int // the statuses that are right for the one answer
		code string
	}{
		"a good one":                    {get(bearer), []int{200}, ""},
		"bare line feeds":               {strings.ReplaceAll(get(bearer), "\r\n", "\n"), []int{200, 400}, ""},
		"version 1.0 without a host":    {"GET /healthz HTTP/1.0\r\n\r\n", []int{200}, ""},
		"an absolute address":           {"GET http://elsewhere.example/healthz HTTP/1.1\r\n" + host + "\r\n", []int{200}, ""},
		"two credentials":               {get(bearer + bearer), []int{400}, "credential.malformed"},
		"two credentials, other case":   {get(bearer + strings.Replace(bearer, "Authorization", "AUTHORIZATION", 1)), []int{400}, "credential.malformed"},
		"a list of credentials":         {get("Authorization: Bearer " + token + ", Bearer " + token + "\r\n"), []int{400}, "credential.malformed"},
		"a token in the query":          {"GET /api/v1/whoami?access_token=" + token + " HTTP/1.1\r\n" + host + "\r\n", []int{400}, "credential.malformed"},
		"both":                          {"GET /api/v1/whoami?access_token=" + token + " HTTP/1.1\r\n" + host + bearer + "\r\n", []int{400}, "credential.malformed"},
		"8,000 dots":                    {get("Authorization: Bearer " + strings.Repeat(".", 8000) + "\r\n"), []int{401}, "token.invalid"},
		"100,000 dots":                  {get("Authorization: Bearer " + strings.Repeat(".", 100_000) + "\r\n"), []int{431}, ""},
		"letters beyond ASCII":          {get("Authorization: Bearer t\u00f6k\u0435n.a.b\r\n"), []int{401}, "token.invalid"},
		"bytes that are no text":        {get("Authorization: Bearer \xff\xfe.\xc0\xaf.a\r\n"), []int{401}, "token.invalid"},
		"a NUL in a token":              {get("Authorization: Bearer a\x00b\r\n"), []int{400}, ""},
		"an escape in a token":          {get("Authorization: Bearer a\x1b[2Jb\r\n"), []int{400}, ""},
		"a folded credential":           {get("X-A: a\r\n " + bearer), []int{400, 401}, ""},
		"a credential folded in two":    {get("Authorization: Bearer " + token[:20] + "\r\n " + token[20:] + "\r\n"), []int{400}, ""},
		"a space before the colon":      {get("Authorization : Bearer " + token + "\r\n"), []int{400}, ""},
		"a field without a colon":       {get("Authorization Bearer " + token + "\r\n"), []int{400}, ""},
		"a field without a name":        {get(": a\r\n"), []int{400}, ""},
		"no host":                       {"GET /healthz HTTP/1.1\r\n\r\n", []int{400}, ""},
		"two hosts":                     {"GET /healthz HTTP/1.1\r\n" + host + "Host: y\r\n\r\n", []int{400}, ""},
		"no version":                    {"GET /healthz\r\n\r\n", []int{400}, ""},
		"another version":               {"GET /healthz HTTP/3.0\r\n" + host + "\r\n", []int{400, 505}, ""},
		"HTTP/2 without being asked":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{400, 405, 505}, ""},
		"TLS on a plain port":           {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", []int{400}, ""},
		"a small letter method":         {"get /api/v1/whoami HTTP/1.1\r\n" + host + bearer + "\r\n", []int{405}, "method.not_allowed"},
		"TRACE":                         {"TRACE /api/v1/whoami HTTP/1.1\r\n" + host + bearer + "\r\n", []int{405}, "method.not_allowed"},
		"TRACE at the door":             {"TRACE /auth/verify HTTP/1.1\r\n" + host + "\r\n", []int{401}, "token.missing"},
		"OPTIONS":                       {"OPTIONS /api/v1/tokens HTTP/1.1\r\n" + host + "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n", []int{405}, "method.not_allowed"},
		"OPTIONS of everything":         {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", []int{200, 400, 404, 405}, ""},
		"CONNECT":                       {"CONNECT elsewhere.example:443 HTTP/1.1\r\n" + host + "\r\n", []int{400, 404, 405}, ""},
		"a method with a brace":         {"GE{T / HTTP/1.1\r\n" + host + "\r\n", []int{400}, ""},
		"HEAD":                          {"HEAD /api/v1/whoami HTTP/1.1\r\n" + host + bearer + "Connection: close\r\n\r\n", []int{200}, ""},
		"dots in the path":              {"GET /healthz/../api/v1/tokens HTTP/1.1\r\n" + host + "\r\n", []int{301, 307, 308, 404, 401}, ""},
		"slashes in the path":           {"GET //evil.example/api/v1/tokens HTTP/1.1\r\n" + host + "\r\n", []int{301, 307, 308, 404, 401}, ""},
		"an escaped NUL in the path":    {"GET /api/v1/tokens/%00 HTTP/1.1\r\n" + host + bearer + "\r\n", []int{404}, "token.not_found"},
		"an escape that is none":        {"GET /api/v1/tokens/%zz HTTP/1.1\r\n" + host + bearer + "\r\n", []int{400}, ""},
		"another expectation":           {get(bearer + "Expect: the-unexpected\r\n"), []int{417}, ""},
		"a chunked body":                {post("Transfer-Encoding: chunked\r\n", chunks(`{"client_id":`, `"chunked","role":"user"}`)), []int{201}, ""},
		"a chunk that is too large":     {post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n"), []int{400}, "body.malformed"},
		"a negative chunk":              {post("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"), []int{400}, "body.malformed"},
		"chunks beyond the bound":       {post("Transfer-Encoding: chunked\r\n", chunks(slices.Repeat([]string{strings.Repeat(" ", 8<<10)}, 9)...)), []int{413}, "body.too_large"},
		"one-byte chunks beyond it":     {post("Transfer-Encoding: chunked\r\n", chunks(slices.Repeat([]string{" "}, 66<<10)...)), []int{400, 413}, ""},
		"a chunk extension":             {post("Transfer-Encoding: chunked\r\n", "1;"+strings.Repeat("a", 20<<10)+"\r\n{\r\n"), []int{400}, "body.malformed"},
		"chunks that end in line feeds": {post("Transfer-Encoding: chunked\r\n", "2\n{}\n0\n\n"), []int{400}, ""},
		"a coding that is none":         {post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), []int{400, 501}, ""},
		"a coding twice":                {post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), []int{400, 501}, ""},
		"a coding and its end":          {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"), []int{400, 501}, ""},
		"a length of two kinds":         {post("Content-Length: 2\r\nContent-Length: 3\r\n", "{} "), []int{400}, ""},
		"a list of lengths":             {post("Content-Length: 2, 3\r\n", "{} "), []int{400}, ""},
		"a length with a sign":          {post("Content-Length: +2\r\n", "{}"), []int{400}, ""},
		"a negative length":             {post("Content-Length: -2\r\n", "{}"), []int{400}, ""},
		"a length beyond numbers":       {post("Content-Length: 99999999999999999999\r\n", "{}"), []int{400}, ""},
		"a length beyond the bound":     {post("Content-Length: 99999999999\r\n", "{"), []int{413}, "body.too_large"},
		"the same from a stranger":      {strings.Replace(post("Content-Length: 99999999999\r\n", "{"), bearer, "", 1), []int{401}, "token.missing"},
		"a nested body":                 {sized(strings.Repeat("[", 60_000)), []int{400}, "body.malformed"},
		"a body of many members":        {sized(`{"tags":["` + strings.Repeat(`","`, 20_000) + `"]}`), []int{400}, "request.invalid"},
		"a request behind a refusal":    {sized(strings.Repeat(" ", 70_000)) + smuggled, []int{413}, "body.too_large"},
	}
	t.Run("requests", func(t *testing.T) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got := send(t, h, c.raw)
				if len(got) != 1 || !slices.Contains(c.want, got[0].status) {
					t.Fatalf("answered %v, want one of %v", statuses(got), c.want)
				}
				if c.code != "" && !strings.Contains(got[0].body, `"code":"`+c.code+`"`) {
					t.Errorf("code of %s, want %s", got[0].body, c.code)
				}
				if strings.Contains(got[0].body, token) {
					t.Error("the token is in the answer")
				}
				if to := got[0].header.Get("Location"); strings.HasPrefix(to, "//") || strings.Contains(to, "evil") && !strings.HasPrefix(to, "/") {
					t.Errorf("sent to %s", to)
				}
				if challenge := got[0].header.Get("WWW-Authenticate"); got[0].status == 401 && challenge == "" {
					t.Error("401 without a challenge")
				}
				if allow := got[0].header.Get("Allow"); got[0].status == 405 && c.code != "" && allow == "" {
					t.Error("405 without Allow")
				}
			})
		}
	})
	if grown := resident(t, pid) - before; grown > 64<<20 {
		t.Errorf("the server has grown by %d MiB", grown>>20)
	}
	h.accepts(t, "Bearer "+token, "wire")
}

func chunks(parts ...string) string {
	out := new(strings.Builder)
	for _, part := range parts {
		fmt.Fprintf(out, "%x\r\n%s\r\n", len(part), part)
	}
	return out.String() + "0\r\n\r\n"
}

// resident is the memory of a process in bytes, 0 where nothing tells.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		t.Fatalf("the memory of %d: %v", pid, err)
	}
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// A length and a coding together: the coding counts, and what follows on the
// connection is no second request (RFC 9112 section 6.3).
func TestALengthAndACodingTogetherEndTheConnection(t *testing.T) {
	h := startHome(t)
	bearer := "Authorization: Bearer " + h.token(t, "wire", "admin") + "\r\n"
	raw := "POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\n" + bearer + "Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"0\r\n\r\nDELETE /api/v1/tokens/tok_00000000000000000000000000 HTTP/1.1\r\nHost: x\r\n" + bearer + "\r\n"
	got := send(t, h, raw)
	if len(got) != 1 || got[0].status != 400 {
		t.Errorf("answered %v", statuses(got))
	}
}

func TestAHeaderBlockHas16KiB(t *testing.T) {
	h := startHome(t)
	block := func(size int) string {
		line := "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Fill: "
		return line + strings.Repeat("a", size-len(line)-4) + "\r\n\r\n"
	}
	for size, want := range map[int]int{15 << 10: 200, 16<<10 + 1: 431, 17 << 10: 431, 1 << 20: 431} {
		if got := send(t, h, block(size)); len(got) != 1 || got[0].status != want {
			t.Errorf("%d bytes: %v, want %d", size, statuses(got), want)
		}
	}
	many := "GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 100_000) + "\r\n"
	if got := send(t, h, many); len(got) != 1 || got[0].status != 431 {
		t.Errorf("many fields: %v", statuses(got))
	}
}

func TestABodyIsNotInvitedBeforeItsCallerIsKnown(t *testing.T) {
	h := startHome(t)
	token := h.token(t, "wire", "admin")
	fields := "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
	conn := dial(t, h)
	if _, err := io.WriteString(conn, "POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\n"+fields); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 401 ") {
		t.Errorf("a stranger is answered %q, %v", line, err)
	}
	conn = dial(t, h)
	if _, err := io.WriteString(conn, "POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\n"+fields); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("an administrator is answered %q, %v", line, err)
	}
	if _, err := io.WriteString(conn, "{}"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(in)
	if err != nil || !strings.Contains(string(rest), "HTTP/1.1 400 ") {
		t.Errorf("then %q, %v", rest, err)
	}
}

// Fifty clients that never finish their headers are let go after five seconds,
// and meanwhile keep nobody from being served.
func TestSlowHeadersAreCutOffAndDisturbNobody(t *testing.T) {
	h := startHome(t)
	began := time.Now()
	var slow []net.Conn
	for range 50 {
		conn := dial(t, h)
		if _, err := io.WriteString(conn, "GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	h.rejects(t, "")
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("a request beside the slow ones took %s", took)
	}
	for _, conn := range slow {
		_, err := io.ReadAll(conn) // whatever it says, it ends
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("a slow connection is still open")
		}
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the slow connections were let go after %s", took)
	}
}

func TestRequestsOnOneConnectionAreAnsweredInTurn(t *testing.T) {
	h := startHome(t)
	token := h.token(t, "wire", "admin")
	get := "GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\n"
	got := send(t, h, get+"Authorization: Bearer "+token+"\r\n\r\n"+get+"\r\n"+get+"Authorization: Bearer "+token+"\r\n\r\n")
	if diff := statuses(got); !slices.Equal(diff, []int{200, 401, 200}) {
		t.Errorf("answered %v: one caller's credential must not be the next one's", diff)
	}
}
