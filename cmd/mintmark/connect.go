package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"mintmark/api"
	"mintmark/internal/durable"
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
	token, _ := c.getenv("MINTMARK_TOKEN")
	if token == "" {
		return nil, fail(exitNotAllowed, "token.none", "a remote server asks for an admin token; put it into the environment as MINTMARK_TOKEN")
	}
	client, err := c.client(c.flags.server, http.DefaultTransport, token)
	if err != nil {
		return nil, fail(exitUsage, "usage", "--server: %s", err)
	}
	return &link{Client: client}, nil
}

func (c *cli) client(base string, via http.RoundTripper, token string) (*api.Client, error) {
	h := &http.Client{Timeout: c.flags.timeout, Transport: watched{c, via}}
	return api.NewClient(base, h, func() api.Secret { return api.NewSecret(token) })
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
		return nil, notRunning("the server is not running")
	}
	if err != nil {
		return nil, err
	}
	return &link{Client: client}, nil
}

func notRunning(reason string) error {
	return fail(exitNotRunning, "server.not_running", "%s", reason).advise("start it with: manager start")
}

// patient is how long a command waits for another one to let go of the home.
const patient = 5 * time.Second

// reach is connect, and with a stopped server the same API in this process. A
// home that somebody else holds is asked again: a server that starts or stops, a
// command at the same time.
func (c *cli) reach(ctx context.Context, h how) (*link, error) {
	if c.flags.server != "" {
		return c.remote()
	}
	dir, err := c.dir()
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(min(patient, c.flags.timeout)); ; {
		client, err := c.local(ctx, dir)
		if err == nil {
			return &link{Client: client}, nil
		}
		if !errors.Is(err, errNotRunning) {
			return nil, err
		}
		k, err := c.openCore(ctx, dir, h)
		if err == nil {
			if strayed := k.strayed(); strayed != nil {
				f := classify(strayed)
				c.warn("%s\n         %s", f.message, f.hint)
			}
			return c.inside(k)
		}
		var locked *durable.LockedError
		if !errors.As(err, &locked) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// with calls fn over reach.
func (c *cli) with(ctx context.Context, fn func(context.Context, *link) error) error {
	l, err := c.reach(ctx, how{})
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, l), l.Close())
}

// withTokens is with for what needs the tokens themselves: those that a stopped
// server kept in memory are gone.
func (c *cli) withTokens(ctx context.Context, fn func(context.Context, *link) error) error {
	return c.with(ctx, func(ctx context.Context, l *link) error {
		if l.core != nil && !l.core.authority.Facts().Persistent {
			return notRunning("the server is not running, and this home keeps its tokens in memory only: there are none")
		}
		return fn(ctx, l)
	})
}

// inside is a link to the API of this process.
func (c *cli) inside(k *core) (*link, error) {
	client, err := c.client("http://home/", inProcess{k.handler(k.operator, nil)}, "")
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return &link{client, k}, nil
}

var errNotRunning = errors.New("the server is not running")

// local is a client of the home's socket, once something answers there.
func (c *cli) local(ctx context.Context, dir home.Dir) (*api.Client, error) {
	conn, err := dir.Dial(ctx)
	var unsafe *fs.PathError
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNotRunning
	case errors.Is(err, os.ErrPermission):
		return nil, fail(exitNotAllowed, "socket.refused", "this user may not reach the server of %s; run this as the user of the service", dir)
	case errors.As(err, &unsafe):
		return nil, fail(exitNotAllowed, "socket.unsafe", "%s", err)
	case err != nil:
		return nil, fail(exitUnavailable, "socket.failed", "reach the server: %s", err)
	}
	_ = conn.Close()
	return c.client("http://home/", dir.Client().Transport, "")
}

// watched tells of each call: to -v, to a person who waits, and to whoever
// interrupts a change that is under way.
type watched struct {
	c    *cli
	next http.RoundTripper
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	done := w.c.patience("Waiting for the server")
	began := time.Now()
	answer, err := w.next.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	done()
	if err != nil {
		if r.Method != http.MethodGet && connected.Load() {
			err = errors.Join(errHalfWay, err, r.Context().Err())
		}
		return nil, err
	}
	if w.c.flags.verbose {
		// Not the query: what people search for is theirs.
		w.c.note("%s %s: %d in %s, request %s", r.Method, r.URL.Path, answer.StatusCode, time.Since(began).Round(time.Millisecond), answer.Header.Get("X-Request-Id"))
	}
	return answer, nil
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
