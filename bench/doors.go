package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/edge"
)

// opened is what the process of the doors tells the load.
type opened struct {
	Addresses map[string]string // of doors and floors, by name
	Tokens    []string
	Verifier  string // a token that may introspect
}

// serveDoors serves every door and every floor, each on a port of its own, until
// nobody needs it. All are in one process: they share its heap, its collector
// and its core.
func (p plan) serveDoors(ctx context.Context) (err error) {
	logFile, err := os.CreateTemp("", "mintmark-bench-")
	if err != nil {
		return err
	}
	defer logFile.Close()
	if err := os.Remove(logFile.Name()); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "mintmark-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	h, err := newHouse(logFile, folder)
	if err != nil {
		return err
	}
	if p.only.MatchString(counting) {
		if h.silent, err = h.newSet(nil); err != nil {
			return err
		}
	}
	kept := make(chan error, 1)
	flushing, stop := context.WithCancel(ctx)
	go func() { kept <- h.counts.Run(flushing) }()
	defer func() {
		stop()
		err = errors.Join(err, <-kept)
	}()
	told := opened{Addresses: make(map[string]string)}
	if told.Tokens, told.Verifier, err = h.fill(p.live, p.presented); err != nil {
		return err
	}
	if err := h.openDoors(ctx, p.upstream, &told); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		return err
	}
	if p.profile != "" {
		file, err := os.Create(p.profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); { // each asks what was spent so far
		fmt.Println(cpuTime().Nanoseconds())
	}
	return nil
}

func (h *house) openDoors(ctx context.Context, upstream string, told *opened) error {
	to := &url.URL{Scheme: "http", Host: upstream}
	guard, err := h.guard(to)
	if err != nil {
		return err
	}
	for name, serve := range map[string]func(net.Listener) error{
		"204": bare(http.HandlerFunc(noContent)), "doors": h.bounded(edge.Server(h.behindEdge(http.NotFoundHandler()), h.log, time.Now)),
		"guard": h.bounded(guard), "proxy": bare(reverseProxy(to)),
	} {
		if told.Addresses[name], err = listen(ctx, serve); err != nil {
			return err
		}
	}
	if h.silent != nil {
		same := h.uncounted()
		told.Addresses["uncounted"], err = listen(ctx, same.bounded(edge.Server(same.behindEdge(http.NotFoundHandler()), same.log, time.Now)))
		if err != nil {
			return err
		}
	}
	for _, floor := range []struct {
		name    string
		request []byte
		form    bool
	}{
		{"forward-auth floor", forwardAuth(told.Tokens[0]), false},
		{"introspection floor", introspection(told.Tokens[0], told.Verifier), true},
	} {
		answer, err := replayOf(ctx, told.Addresses["doors"], floor.request, floor.form)
		if err != nil {
			return fmt.Errorf("%s: %w", floor.name, err)
		}
		if told.Addresses[floor.name], err = listen(ctx, bare(answer)); err != nil {
			return err
		}
	}
	return h.openChecks(ctx, told)
}

// bounded serves as the program's listeners do.
func (h *house) bounded(s *http.Server) func(net.Listener) error {
	return func(l net.Listener) error { return s.Serve(edge.Unhurried(l, time.Now)) }
}

// forwardAuth is what a gateway asks.
func forwardAuth(token string) []byte {
	return fmt.Appendf(nil, "GET /auth/verify HTTP/1.1\r\nHost: tokens.example\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /items\r\nAuthorization: Bearer %s\r\n\r\n", token)
}

// introspection is what an OAuth library asks.
func introspection(token, verifier string) []byte {
	body := "token=" + token + "&token_type_hint=access_token"
	return fmt.Appendf(nil, "POST /oauth2/introspect HTTP/1.1\r\nHost: tokens.example\r\nContent-Type: application/x-www-form-urlencoded\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", verifier, len(body), body)
}

// call is a request to an API.
func call(token string) []byte {
	return fmt.Appendf(nil, "GET /items HTTP/1.1\r\nHost: api.example\r\nAccept: application/json\r\nAuthorization: Bearer %s\r\n\r\n", token)
}

// served is a process that serves until its standard input ends.
type served struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
}

// start runs a part that serves and reads the line it says first.
func (p plan) start(ctx context.Context, part, core string, args ...string) (*served, []byte, error) {
	cmd := p.process(ctx, part, core, args...)
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	s := &served{cmd, input, bufio.NewReader(output)}
	line, err := s.output.ReadBytes('\n')
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("part %s said nothing: %w", part, err), s.end())
	}
	return s, line, nil
}

// spent asks the process how much time of its core it has had.
func (s *served) spent() (time.Duration, error) {
	if _, err := io.WriteString(s.input, "\n"); err != nil {
		return 0, err
	}
	line, err := s.output.ReadString('\n')
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return time.Duration(ns), err
}

func (s *served) end() error { return errors.Join(s.input.Close(), s.cmd.Wait()) }
