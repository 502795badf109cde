package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

const (
	patience  = 10 * time.Second // for one answer of the authority
	maxAnswer = 64 << 10
)

// question is one that the authority is asked, for everybody who waits for the
// same answer.
type question[T any] struct {
	began time.Time
	done  chan struct{} // closed when value and err are there
	value T
	err   error
}

// ask puts a question. It is not taken back when the caller that put it leaves:
// others may wait for the answer.
func ask[T any](ctx context.Context, now time.Time, fn func(context.Context) (T, error)) *question[T] {
	q := &question[T]{began: now, done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	go func() {
		defer cancel()
		defer close(q.done)
		q.value, q.err = fn(ctx)
	}()
	return q
}

func (q *question[T]) answered() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

func (q *question[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-q.done:
		return q.value, q.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// client is an HTTP client that follows no redirect and keeps no cookie, so that
// no credential reaches a server that was not named.
func client(c *http.Client) *http.Client {
	own := http.Client{}
	if c != nil {
		own = *c
	} else if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		t := standard.Clone()
		t.MaxIdleConnsPerHost = 64 // all of them are to one host
		own.Transport = t
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &own
}

// answerOf sends r and reads an answer of 200 that is not too long.
func answerOf(c *http.Client, r *http.Request) ([]byte, error) {
	resp, err := c.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: ask the authority: %w", ErrUnknown, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: the authority answered %d", ErrUnknown, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read the authority's answer: %w", ErrUnknown, err)
	}
	return body, nil
}

// checkURL accepts https, and http to this machine alone. What is wrong is told
// without the URL, in which there may be a password.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("verify: the authority's URL is https, a host and a path, and nothing else")
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return errors.New("verify: the authority is reached by https, or by http on this machine")
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
