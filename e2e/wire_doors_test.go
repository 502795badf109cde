package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
)

// doorstep is a door as hostile bytes meet it: where it listens, its first line,
// and what it is sent when all is well.
type doorstep struct {
	at        home
	line      string
	fields    string
	body      string
	malformed []int // what a credential is that cannot be read
	invalid   []int // and one that is not good
	good      int
}

func (d doorstep) request(fields, target string) string {
	line := d.line
	if target != "" {
		line = strings.Replace(line, " HTTP", target+" HTTP", 1)
	}
	raw := line + "\r\nHost: x\r\nConnection: close\r\n" + d.fields + fields
	if d.body != "" {
		raw += "Content-Length: " + strconv.Itoa(len(d.body)) + "\r\n"
	}
	return raw + "\r\n" + d.body
}

// doorsteps are those of one server, and how many requests have reached the API
// behind its guard.
func doorsteps(t *testing.T) (h home, envoyAt string, doors map[string]doorstep, reached *atomic.Int64) {
	t.Helper()
	reached = new(atomic.Int64)
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	t.Cleanup(api.Close)
	h, envoyAt = startHome(t), freeAddress(t)
	guard := guardBefore(t, h, api.URL, "gateway.ext_authz.listen", envoyAt)
	token := h.token(t, "asked-about", "user")
	form := "Content-Type: application/x-www-form-urlencoded\r\n"
	return h, envoyAt, map[string]doorstep{
		"forward-auth":  {h, "GET /auth/verify HTTP/1.1", "", "", []int{401}, []int{401}, 200},
		"guard":         {home{url: "http://" + guard.entrance}, "GET /notes HTTP/1.1", "", "", []int{400}, []int{401}, 200},
		"introspection": {h, "POST /oauth2/introspect HTTP/1.1", form, url.Values{"token": {token}}.Encode(), []int{400}, []int{401}, 200},
		"revocation":    {h, "POST /oauth2/revoke HTTP/1.1", form, "token=nobodys", []int{400}, []int{401}, 200},
		"TokenReview": {
			h, "POST /k8s/tokenreview HTTP/1.1", "Content-Type: application/json\r\n",
			`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + token + `"}}`,
			[]int{400},
			[]int{401},
			200,
		},
	}, reached
}

// Every door answers hostile bytes as named, and nothing of them reaches the API
// behind the guard.
func TestHostileBytesAreRefusedAtEveryDoor(t *testing.T) {
	h, _, doors, reached := doorsteps(t)
	token := h.token(t, "wire", "admin")
	bearer := "Authorization: Bearer " + token + "\r\n"
	pid := h.status(t).PID
	before := resident(t, pid)
	unread := []int{400, 401, 431} // by the HTTP server or by the door
	attacks := func(t *testing.T, d doorstep) {
		for attack, c := range map[string]struct {
			raw  string
			want []int
		}{
			"two credentials":             {d.request(bearer+bearer, ""), d.malformed},
			"two in different cases":      {d.request(bearer+strings.ToUpper(bearer[:13])+bearer[13:], ""), d.malformed},
			"a list of credentials":       {d.request("Authorization: Bearer "+token+", Bearer "+token+"\r\n", ""), d.malformed},
			"two spaces":                  {d.request("Authorization: Bearer  "+token+"\r\n", ""), d.malformed},
			"a token in the query":        {d.request("", "?access_token="+token), d.malformed},
			"a token in both":             {d.request(bearer, "?a=1&access%5Ftoken="+token), d.malformed},
			"no credential":               {d.request("", ""), []int{401}},
			"8,000 dots":                  {d.request("Authorization: Bearer "+strings.Repeat(".", 8000)+"\r\n", ""), d.invalid},
			"9,000 letters":               {d.request("Authorization: Bearer "+strings.Repeat("a", 9000)+"\r\n", ""), d.invalid},
			"100,000 dots":                {d.request("Authorization: Bearer "+strings.Repeat(".", 100_000)+"\r\n", ""), []int{431}},
			"17 KiB of fields":            {d.request(bearer+"X-Fill: "+strings.Repeat("a", 17<<10)+"\r\n", ""), []int{431}},
			"letters beyond ASCII":        {d.request("Authorization: Bearer t\u00f6k\u0435n.a.b\r\n", ""), d.invalid},
			"bytes that are no text":      {d.request("Authorization: Bearer \xff\xfe.\xc0\xaf.a\r\n", ""), d.invalid},
			"a NUL in a token":            {d.request("Authorization: Bearer a\x00b\r\n", ""), []int{400}},
			"a folded credential":         {d.request("Authorization: Bearer "+token[:20]+"\r\n "+token[20:]+"\r\n", ""), unread},
			"a space before the colon":    {d.request("Authorization : Bearer "+token+"\r\n", ""), []int{400}},
			"a line feed for a name":      {d.request("X-A: a\r\n\tAuthorization: Bearer "+token+"\r\n", ""), unread},
			"a coding that is none":       {d.request(bearer+"Transfer-Encoding: xchunked\r\n", ""), []int{400, 501}},
			"a coding twice":              {d.request(bearer+"Transfer-Encoding: chunked, chunked\r\n", ""), []int{400, 501}},
			"two lengths":                 {d.request(bearer+"Content-Length: 1\r\nContent-Length: 2\r\n", ""), []int{400}},
			"a length with a sign":        {d.request(bearer+"Content-Length: +1\r\n", ""), []int{400}},
			"TRACE":                       {strings.Replace(d.request("", ""), d.line[:strings.IndexByte(d.line, ' ')], "TRACE", 1), []int{401, 405, 501}},
			"HTTP/2 without being asked":  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{400, 405, 501, 505}},
			"a version that is none":      {strings.Replace(d.request(bearer, ""), "HTTP/1.1", "HTTP/9.9", 1), []int{400, 505}},
			"two hosts":                   {d.request(bearer+"Host: y\r\n", ""), []int{400}},
			"a body that is not its size": {strings.Replace(d.request("Content-Length: 99999999999999999999\r\n", ""), "Content-Length: "+strconv.Itoa(len(d.body))+"\r\n", "", 1), []int{400}},
		} {
			t.Run(attack, func(t *testing.T) {
				t.Parallel()
				got := send(t, d.at, c.raw)
				if len(got) != 1 || !slices.Contains(c.want, got[0].status) {
					t.Fatalf("answered %v, want one of %v", statuses(got), c.want)
				}
				if strings.Contains(got[0].body, token) || strings.Contains(fmt.Sprint(got[0].header), token) {
					t.Error("the token is in the answer")
				}
				if got[0].status == 401 && got[0].header.Get("WWW-Authenticate") == "" {
					t.Error("401 without a challenge")
				}
			})
		}
	}
	for name, d := range doors {
		t.Run(name, func(t *testing.T) { attacks(t, d) }) // ends with all of them
		if reached.Load() > 0 {
			t.Errorf("%d requests reached the API", reached.Load())
		}
	}
	for name, d := range doors {
		if got := send(t, d.at, d.request(bearer, "")); len(got) != 1 || got[0].status != d.good {
			t.Errorf("%s answers a good request with %v", name, statuses(got))
		}
	}
	if reached.Load() != 1 {
		t.Errorf("%d good requests reached the API", reached.Load())
	}
	if grown := resident(t, pid) - before; grown > 64<<20 {
		t.Errorf("the server has grown by %d MiB", grown>>20)
	}
}

// A length and a coding together: whatever follows on the connection is no
// second request, at no door and not behind the guard.
func TestNothingIsSmuggledPastADoor(t *testing.T) {
	h, _, doors, reached := doorsteps(t)
	bearer := "Authorization: Bearer " + h.token(t, "wire", "admin") + "\r\n"
	for name, d := range doors {
		smuggled := d.request(bearer, "")
		post := strings.Replace(d.line, "GET", "POST", 1) + "\r\nHost: x\r\n" + d.fields + bearer
		for attack, raw := range map[string]string{
			"length, then coding": post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
			"coding, then length": post + "Transfer-Encoding: chunked\r\nContent-Length: " + strconv.Itoa(len(smuggled)+5) + "\r\n\r\n0\r\n\r\n" + smuggled,
			"a hidden coding":     post + "Content-Length: 4\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled,
			"a tab in the coding": post + "Content-Length: 4\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + smuggled,
		} {
			arrived := reached.Load()
			if got := send(t, d.at, raw); len(got) > 1 {
				t.Errorf("%s, %s: answered %v", name, attack, statuses(got))
			}
			if n := reached.Load() - arrived; n > 1 {
				t.Errorf("%s, %s: %d requests reached the API", name, attack, n)
			}
		}
	}
}

// The port of Envoy takes whatever it is sent: other languages, frames that are
// none, clients that say nothing. Others are served meanwhile.
func TestHostileBytesAtThePortOfEnvoyDisturbNobody(t *testing.T) {
	h, address, _, _ := doorsteps(t)
	token := h.token(t, "wire", "user")
	pid := h.status(t).PID
	before := resident(t, pid)
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frame := func(kind, flags byte, stream uint32, payload string) string {
		n := len(payload)
		return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}) + payload
	}
	settings := preface + frame(4, 0, 0, "")
	silent := dial(t, home{url: "http://" + address})
	for _, raw := range map[string]string{
		"HTTP/1.1":                   "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n",
		"TLS":                        "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
		"a mebibyte of nothing":      strings.Repeat("\x00", 1<<20),
		"half a preface":             preface[:12],
		"a preface and rubbish":      preface + strings.Repeat("rubbish!", 1000),
		"a frame of 16 MiB":          settings + "\xff\xff\xff\x00\x00\x00\x00\x00\x01",
		"fields that are no fields":  settings + frame(1, 4, 1, strings.Repeat("\xff", 1000)),
		"fields without an end":      settings + frame(1, 0, 1, "\x82") + strings.Repeat(frame(9, 0, 1, strings.Repeat("\x40\x01a\x01b", 2000)), 500),
		"data without a stream":      settings + frame(0, 0, 7, "hello"),
		"ten thousand resets":        settings + strings.Repeat(frame(1, 5, 1, "\x82\x86\x84")+frame(3, 0, 1, "\x00\x00\x00\x08"), 10_000),
		"pings":                      settings + strings.Repeat(frame(6, 0, 0, "12345678"), 10_000),
		"settings":                   settings + strings.Repeat(frame(4, 0, 0, ""), 10_000),
		"a window that is too large": settings + strings.Repeat(frame(8, 0, 0, "\x7f\xff\xff\xff"), 3),
		"an even stream":             settings + frame(1, 5, 2, "\x82\x86\x84"),
		"a stream that needs itself": settings + frame(2, 0, 1, "\x00\x00\x00\x01\x00"),
	} {
		_, _ = io.WriteString(dial(t, home{url: "http://" + address}), raw) // whatever becomes of it
	}
	client := connect(t, address, insecure.NewCredentials())
	got, err := client.Check(t.Context(), asked{token: token, path: "/"}.message())
	if err != nil || got.GetStatus().GetCode() != int32(codes.OK) {
		t.Errorf("a good check is answered %v, %v", got, err)
	}
	for _, path := range []string{"/" + strings.Repeat("a", 300<<10), "/?access_token=" + token} {
		got, err := client.Check(t.Context(), asked{token: token, path: path}.message())
		if err == nil && got.GetStatus().GetCode() == int32(codes.OK) {
			t.Errorf("a check of %d bytes is answered %v", len(path), got.GetStatus())
		}
		if err != nil && grpcstatus.Code(err) != codes.ResourceExhausted {
			t.Errorf("a check of %d bytes fails with %v", len(path), err)
		}
	}
	var late net.Error
	if _, err := io.ReadAll(silent); errors.As(err, &late) && late.Timeout() {
		t.Error("a client that says nothing is still there")
	}
	if grown := resident(t, pid) - before; grown > 64<<20 {
		t.Errorf("the server has grown by %d MiB", grown>>20)
	}
	h.accepts(t, "Bearer "+token, "wire")
}
