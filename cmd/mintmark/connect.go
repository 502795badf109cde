package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"mintmark/api"
	"mintmark/internal/home"
)

// link is a way to the API: a running server's, or this process's own.
type link struct {
	*api.Client
	core *core // nil when a server answers
}

// Close lets go of the home, if this process holds it.
func (l *link) Close() error {
	if l.core == nil {
		return nil
	}
	return l.core.Close()
}

// remote talks to --server with the token of the environment.
func (c *cli) remote() (*link, error) {
	client, err := api.NewClient(c.flags.server, &http.Client{Timeout: c.flags.timeout}, func() api.Secret {
		token, _ := c.getenv("MINTMARK_TOKEN")
		return api.NewSecret(token)
	})
	if err != nil {
		return nil, fail(exitUsage, "usage", "--server: %s", err)
	}
	return &link{Client: client}, nil
}

// connect reaches a running server.
func (c *cli) connect(ctx context.Context) (*link, error) {
	if c.flags.server != "" {
		return c.remote()
	}
	dir, err := c.dir()
	if err != nil {
		return nil, err
	}
	client, err := c.local(ctx, dir)
	if errors.Is(err, errNotRunning) {
		return nil, fail(exitNotRunning, "server.not_running", "the server is not running").advise("start it with: " + dir.Manager() + " start")
	}
	if err != nil {
		return nil, err
	}
	return &link{Client: client}, nil
}

// reach is connect, and with a stopped server the same API in this process.
func (c *cli) reach(ctx context.Context, h how) (*link, error) {
	if c.flags.server != "" {
		return c.remote()
	}
	dir, err := c.dir()
	if err != nil {
		return nil, err
	}
	client, err := c.local(ctx, dir)
	if err == nil {
		return &link{Client: client}, nil
	}
	if !errors.Is(err, errNotRunning) {
		return nil, err
	}
	k, err := c.openCore(ctx, dir, h)
	if err != nil {
		return nil, err
	}
	inner, err := api.NewClient("http://home/", &http.Client{Transport: inProcess{k.handler(k.operator, nil)}}, func() api.Secret { return api.Secret{} })
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return &link{inner, k}, nil
}

var errNotRunning = errors.New("the server is not running")

// local is a client of the home's socket, once something answers there.
func (c *cli) local(ctx context.Context, dir home.Dir) (*api.Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", dir.Socket())
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNotRunning
	case errors.Is(err, os.ErrPermission):
		return nil, fail(exitNotAllowed, "socket.refused", "this user may not reach the server of %s; run this as the user of the service", dir)
	case err != nil:
		return nil, fail(exitUnavailable, "socket.failed", "reach the server: %s", err)
	}
	_ = conn.Close()
	h := dir.Client()
	h.Timeout = c.flags.timeout
	return api.NewClient("http://home/", h, func() api.Secret { return api.Secret{} })
}

// inProcess calls a handler without a network.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = io.NopCloser(http.NoBody)
	}
	r.RemoteAddr = "127.0.0.1:0"
	a := &answer{header: make(http.Header), status: http.StatusOK}
	t.handler.ServeHTTP(a, r)
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Header: a.header, Request: r, ContentLength: int64(a.body.Len()),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(&a.body),
	}, nil
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
