package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A client sends one request on its connection and waits for the whole answer.
type client interface {
	exchange(request []byte) error
}

// target is where requests go and what they are.
type target struct {
	address  string
	requests [][]byte
	speak    func(net.Conn) client
}

// turnOf is what one turn brought.
type turnOf struct {
	rate     float64 // answers a second
	p50, p99 time.Duration
	busy     float64       // of the load's core
	cost     time.Duration // of the servers' core, an answer
}

// drive asks the target over all connections at once, each as soon as it has its
// answer, for a while. Connections begin at different requests and walk on.
func drive(ctx context.Context, t target, connections int, during time.Duration) (turnOf, error) {
	clients := make([]client, connections)
	for i := range clients {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.address)
		if err != nil {
			return turnOf{}, err
		}
		defer conn.Close()
		clients[i] = t.speak(conn)
		if err := clients[i].exchange(t.requests[0]); err != nil {
			return turnOf{}, err
		}
	}
	var wg sync.WaitGroup
	took, faults := make([][]time.Duration, connections), make([]error, connections)
	began, spent := time.Now(), cpuTime()
	for i, c := range clients {
		wg.Go(func() {
			took[i], faults[i] = keepAsking(c, t.requests, i*len(t.requests)/connections, began.Add(during))
		})
	}
	wg.Wait()
	whole := time.Since(began)
	all := slices.Concat(took...)
	busy := float64(cpuTime()-spent) / float64(whole)
	if err := errors.Join(faults...); err != nil || len(all) == 0 {
		return turnOf{}, fmt.Errorf("%s: %w", t.address, err)
	}
	slices.Sort(all)
	return turnOf{float64(len(all)) / whole.Seconds(), all[len(all)/2], all[len(all)*99/100], busy, 0}, nil
}

// visit makes each request once.
func (t target) visit(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := t.speak(conn)
	for _, request := range t.requests {
		if err := c.exchange(request); err != nil {
			return err
		}
	}
	return nil
}

func keepAsking(c client, requests [][]byte, at int, until time.Time) (took []time.Duration, err error) {
	took = make([]time.Duration, 0, 1<<13)
	for last := time.Now(); last.Before(until); at++ {
		if err := c.exchange(requests[at%len(requests)]); err != nil {
			return took, err
		}
		now := time.Now()
		took = append(took, now.Sub(last))
		last = now
	}
	return took, nil
}

// cpuTime is what this process has had of its core.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// http1 is HTTP/1.1 as far as our own servers speak it: answers have a
// Content-Length or no content, and the status is a good one.
type http1 struct {
	conn net.Conn
	in   []byte
}

func speakHTTP(conn net.Conn) client { return &http1{conn, make([]byte, 16<<10)} }

func (c *http1) exchange(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	for n, whole := 0, 0; ; {
		m, err := c.conn.Read(c.in[n:])
		if err != nil {
			return err
		}
		n += m
		if whole == 0 {
			if whole, err = answerSize(c.in[:n]); err != nil {
				return err
			}
		}
		switch {
		case whole == 0 || n < whole:
		case n > whole:
			return errors.New("more was answered than asked")
		default:
			return nil
		}
	}
}

// answerSize is how long the whole answer is, or 0 while its header is not
// complete.
func answerSize(in []byte) (int, error) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	header := in[:end+2]
	if !bytes.HasPrefix(header, []byte("HTTP/1.1 20")) {
		return 0, fmt.Errorf("the answer is %q", in)
	}
	const field = "\r\nContent-Length: "
	at := bytes.Index(header, []byte(field))
	if at < 0 {
		if bytes.HasPrefix(header, []byte("HTTP/1.1 204")) {
			return end + 4, nil
		}
		return 0, fmt.Errorf("the answer has no length: %q", in)
	}
	value, _, _ := bytes.Cut(header[at+len(field):], []byte("\r"))
	length, err := strconv.Atoi(string(value))
	return end + 4 + length, err
}
