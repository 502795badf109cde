package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
)

// noContent is the least that net/http can answer.
func noContent(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// replay answers what another handler has answered once, byte for byte but for
// the date: the floor of a door is one that knows its answer beforehand.
type replay struct {
	status int
	fields []field
	body   []byte
	form   bool // read the form first, as whoever needs it must
}

type field struct {
	name   string
	values []string
}

// replayOf asks a server once, over a connection, and keeps the answer.
func replayOf(address string, request []byte, form bool) (*replay, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	r := &replay{status: response.StatusCode, form: form}
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return nil, err
	}
	r.body = body.Bytes()
	if r.status >= 300 {
		return nil, fmt.Errorf("%s answers %d: %s", address, r.status, r.body)
	}
	for name, values := range response.Header {
		if name != "Date" && name != "Content-Length" {
			r.fields = append(r.fields, field{name, values})
		}
	}
	return r, nil
}

func (r *replay) ServeHTTP(w http.ResponseWriter, asked *http.Request) {
	if r.form && asked.PostFormValue("token") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h := w.Header()
	for _, f := range r.fields {
		h[f.name] = f.values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // whoever left does not read it
}

// listen serves a bare handler on a port of loopback and answers its address.
func listen(ctx context.Context, server *http.Server) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = server.Serve(l) }() // it ends with the process
	return l.Addr().String(), nil
}

func bare(h http.Handler) *http.Server {
	return &http.Server{Handler: h} //nolint:gosec // a floor has no bounds to pay for
}

// reverseProxy is the standard library's, with connections enough and a pool of
// buffers, and nothing else.
func reverseProxy(to *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}, BufferPool: new(buffers),
	}
}

type buffers struct{ sync.Pool }

func (b *buffers) Get() []byte {
	if known, ok := b.Pool.Get().(*[]byte); ok {
		return *known
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.Pool.Put(&buffer) }

// serveUpstream is the API behind the reverse proxies, until nobody needs it.
func serveUpstream(ctx context.Context) error {
	body := []byte(`{"items":["` + strings.Repeat("x", 200) + `"]}`)
	address, err := listen(ctx, bare(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(body)
	})))
	if err != nil {
		return err
	}
	fmt.Println(address)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}
