package main

import (
	"context"
	"io"
	"math/bits"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// question is one request, asked again and again.
type question struct{ method, url, bearer, form string }

// load asks one question on several connections.
type load struct {
	question
	client      *http.Client
	connections int
	answered    atomic.Uint64 // so far
}

// loaded is what a load found.
type loaded struct {
	answered, failed uint64
	took             time.Duration
	times            histogram
}

// newLoad makes a load; at is where the host of the address is found, "" leaves
// that to the system.
func newLoad(q question, at string, connections int) *load {
	t := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true, TLSHandshakeTimeout: 10 * time.Second}
	if at != "" {
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at)
		}
	}
	return &load{question: q, connections: connections, client: &http.Client{
		Transport: t, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token follows nobody
	}}
}

// Close lets go of the connections.
func (l *load) Close() { l.client.CloseIdleConnections() }

// ask answers the status.
func (l *load) ask(ctx context.Context) (int, error) {
	r, err := http.NewRequestWithContext(ctx, l.method, l.url, strings.NewReader(l.form))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+l.bearer)
	if l.form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := l.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// try asks once, so that a mistake is told before a thousand are counted.
func (l *load) try(ctx context.Context) error {
	status, err := l.ask(ctx)
	if err == nil && status != http.StatusOK {
		return fail(exitOf(status), "bench.refused", "%s answers %d %s", l.url, status, http.StatusText(status))
	}
	return err
}

// run asks until the time is over or ctx ends, and tells every second how far it
// is.
func (l *load) run(ctx context.Context, during time.Duration, tell func(time.Duration, uint64)) loaded {
	began := time.Now()
	asking, end := context.WithTimeout(ctx, during)
	defer end()
	each := make([]loaded, l.connections)
	var wg sync.WaitGroup
	for i := range each {
		wg.Go(func() { l.keepAsking(asking, &each[i]) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for asking.Err() == nil {
		select {
		case <-tick.C:
			tell(time.Since(began), l.answered.Load())
		case <-asking.Done():
		}
	}
	wg.Wait()
	all := loaded{took: time.Since(began)}
	for i := range each {
		all.answered += each[i].answered
		all.failed += each[i].failed
		all.times.add(&each[i].times)
	}
	return all
}

func (l *load) keepAsking(ctx context.Context, f *loaded) {
	for ctx.Err() == nil {
		began := time.Now()
		status, err := l.ask(ctx)
		switch {
		case ctx.Err() != nil: // it was cut off: neither good nor bad
		case err != nil || status != http.StatusOK:
			f.failed++
		default:
			f.answered++
			f.times.note(time.Since(began))
			l.answered.Add(1)
		}
	}
}

// histogram counts times in steps of a sixteenth of their size, so that an hour of
// them takes as much memory as a second.
type histogram struct {
	counts  [64 * steps]uint64
	total   uint64
	slowest time.Duration
}

const steps = 16

// step is where a time is counted.
func step(d time.Duration) int {
	n := uint64(max(d, 1))
	if n < steps {
		return int(n)
	}
	power := bits.Len64(n) - 5 // n>>power has five bits
	return power*steps + int(n>>power)
}

// upTo is the longest time that is counted in a step.
func upTo(at int) time.Duration {
	if at < 2*steps {
		return time.Duration(at)
	}
	power := at/steps - 1
	return time.Duration((at-power*steps+1)<<power - 1)
}

func (h *histogram) note(d time.Duration) {
	h.counts[step(d)]++
	h.total++
	h.slowest = max(h.slowest, d)
}

func (h *histogram) add(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.slowest = max(h.slowest, other.slowest)
}

// at is within which time a share of all was.
func (h *histogram) at(share float64) time.Duration {
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; n > 0 && float64(seen) >= share*float64(h.total) {
			return min(upTo(i), h.slowest)
		}
	}
	return h.slowest
}
