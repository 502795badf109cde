package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
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
// the date: the floor of a door is one that knows its answer beforehand, and says
// it as handlers do.
type replay struct {
	status int
	fields []field
	body   []byte
	form   bool // read the form first, as whoever needs it must
}

type field struct{ name, value string }

// replayOf asks a server once, over a connection, and keeps the answer.
func replayOf(ctx context.Context, address string, request []byte, form bool) (*replay, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
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
	if r.body, err = io.ReadAll(response.Body); err != nil {
		return nil, err
	}
	if r.status >= 300 {
		return nil, fmt.Errorf("%s answers %d: %s", address, r.status, r.body)
	}
	for name, values := range response.Header {
		if name != "Date" && name != "Content-Length" {
			r.fields = append(r.fields, field{name, values[0]})
		}
	}
	return r, nil
}

// ServeHTTP implements [http.Handler].
func (r *replay) ServeHTTP(w http.ResponseWriter, asked *http.Request) {
	if r.form && asked.PostFormValue("token") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h := w.Header()
	for _, f := range r.fields {
		h.Set(f.name, f.value)
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // whoever left does not read it
}

// listen opens a port of loopback, has a server answer there until the process
// ends, and tells where.
func listen(ctx context.Context, serve func(net.Listener) error) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = serve(l) }()
	return l.Addr().String(), nil
}

// bare serves a handler and bounds nothing.
func bare(h http.Handler) func(net.Listener) error {
	return (&http.Server{Handler: h}).Serve //nolint:gosec // a floor has no bounds to pay for
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
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // whoever left does not read it
	})))
	if err != nil {
		return err
	}
	fmt.Println(address)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}
