package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/edge"
	"mintmark/internal/home"
)

// openReachable opens a home whose store may be out of reach for a while. Until
// it is there, the public address answers 503: unknown is never allow, and who
// asks is told that asking again is worth it.
func (c *cli) openReachable(ctx context.Context, dir home.Dir, h how) (*core, error) {
	var room *waitingRoom
	said := ""
	defer func() { room.close() }()
	for {
		k, err := c.openCore(ctx, dir, h)
		if err == nil || authority.KindOf(err) != authority.Unavailable || ctx.Err() != nil {
			return k, err
		}
		if room == nil {
			var openErr error
			if room, openErr = c.openWaitingRoom(ctx, dir, h.flags); openErr != nil {
				return nil, errors.Join(err, openErr)
			}
		}
		if text := err.Error(); text != said { // not at each try
			room.log.Warn("the store cannot be reached; every door answers 503 meanwhile", "err", err)
			said = text
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(500*time.Millisecond + rand.N(time.Second)): //nolint:gosec // nodes only must not all come at once
		}
	}
}

// waitingRoom is the server of a store that cannot be reached yet.
type waitingRoom struct {
	server *http.Server
	log    *slog.Logger
}

func (c *cli) openWaitingRoom(ctx context.Context, dir home.Dir, flags map[string]string) (*waitingRoom, error) {
	book, err := config.Open(c.files, dir.Config())
	if err != nil {
		return nil, err
	}
	layers := config.Layers{Flags: flags, Getenv: c.getenv}
	_, layers.File = book.Applied()
	_, settings, err := config.Resolve(layers)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", settings.Listen)
	if err != nil {
		return nil, fail(exitFailed, config.Listen, "listen on %s: %s", settings.Listen, err)
	}
	w := &waitingRoom{log: c.newLog(settings)}
	w.server = edge.Server(http.HandlerFunc(notYet), w.log, time.Now)
	go func() { _ = w.serve(l, settings) }()
	return w, nil
}

func (w *waitingRoom) serve(l net.Listener, s config.Settings) error {
	if s.Certificate != "" {
		return w.server.ServeTLS(l, s.Certificate, s.Key)
	}
	return w.server.Serve(l)
}

// close ends the room; there may be none.
func (w *waitingRoom) close() {
	if w != nil {
		_ = w.server.Close()
	}
}

// notYet answers that the server lives, and nothing else.
func notYet(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(api.Health{Status: "ok"})
		return
	}
	w.Header().Set("Content-Type", api.ProblemType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(api.Problem{
		Type: "about:blank", Title: http.StatusText(http.StatusServiceUnavailable), Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
		Detail: "The server does not reach its store yet. Try again.",
	})
}
