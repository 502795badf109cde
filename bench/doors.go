package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"

	"mintmark/internal/authority"
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
func (p plan) serveDoors(ctx context.Context) error {
	logFile, err := os.CreateTemp("", "mintmark-bench-")
	if err != nil {
		return err
	}
	defer logFile.Close()
	if err := os.Remove(logFile.Name()); err != nil {
		return err
	}
	h, err := newHouse(ctx, logFile)
	if err != nil {
		return err
	}
	told := opened{Addresses: make(map[string]string)}
	if told.Tokens, err = h.fill(p.live, p.presented); err != nil {
		return err
	}
	issued, err := h.rules.IssueToken(ctx, operator(), authority.TokenRequest{ClientID: "bench", Role: "verifier"}, "")
	if err != nil {
		return err
	}
	told.Verifier = issued.Text.Unsafe()
	if err := h.openDoors(ctx, &told); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func (h *house) openDoors(ctx context.Context, told *opened) (err error) {
	open := func(name string, server *http.Server) {
		var address string
		if address, err = listen(ctx, server); err == nil {
			told.Addresses[name] = address
		}
	}
	floor := func(name string, request []byte, form bool) {
		if err != nil {
			return
		}
		var r *replay
		if r, err = replayOf(told.Addresses["doors"], request, form); err == nil {
			open(name, bare(r))
		}
	}
	open("204", bare(http.HandlerFunc(noContent)))
	open("doors", edge.Server(h.handler, h.log, time.Now))
	floor("forward-auth floor", forwardAuth(told.Tokens[0]), false)
	return err
}

// forwardAuth is what a gateway asks.
func forwardAuth(token string) []byte {
	return fmt.Appendf(nil, "GET /auth/verify HTTP/1.1\r\nHost: tokens.example\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /items\r\nAuthorization: Bearer %s\r\n\r\n", token)
}

// served is a process that serves until its standard input ends.
type served struct {
	cmd   *exec.Cmd
	input io.Closer
}

// start runs a part that serves and reads the line it says first.
func (p plan) start(ctx context.Context, part, core string) (*served, []byte, error) {
	cmd := p.process(ctx, part, core)
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
	s := &served{cmd, input}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("part %s said nothing: %w", part, err), s.end())
	}
	return s, line, nil
}

func (s *served) end() error { return errors.Join(s.input.Close(), s.cmd.Wait()) }
