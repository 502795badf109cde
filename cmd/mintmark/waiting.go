package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
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
	w := waitingRoom{cli: c, dir: dir, flags: h.flags, log: c.newLog(config.Settings{})}
	defer w.close()
	said := ""
	for begun := false; ; begun = true {
		k, err := c.openCore(ctx, dir, h)
		if err == nil || authority.KindOf(err) != authority.Unavailable || ctx.Err() != nil {
			return k, err
		}
		closed := w.follow(ctx)
		if closed != nil && !begun {
			return nil, errors.Join(err, closed)
		}
		if text := fmt.Sprint(err, closed); text != said { // not at each try
			w.log.Warn("the store cannot be reached; every door answers 503 meanwhile", "err", errors.Join(err, closed))
			said = text
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(500*time.Millisecond + rand.N(time.Second)): //nolint:gosec // nodes only must not all come at once
		}
	}
}

// waitingRoom is the server of a store that cannot be reached yet. It is where the
// applied settings say.
type waitingRoom struct {
	cli    *cli
	dir    home.Dir
	flags  map[string]string
	log    *slog.Logger
	server *http.Server // nil: it is closed
	at     entrance
}

// follow opens the room, or moves it when other settings are applied by now: a trial
// ends while nobody but the room is there, too.
func (w *waitingRoom) follow(ctx context.Context) error {
	book, err := config.Open(w.cli.files, w.dir.Config())
	if err != nil {
		return err
	}
	err = w.open(ctx, book)
	if err == nil || addressOnTrial(book) == 0 {
		return err
	}
	held, locked := lock(ctx, w.dir, w.cli.files, patient)
	if locked != nil {
		return errors.Join(err, locked)
	}
	defer held.Close() //nolint:errcheck // what was written lasts
	if book, locked = config.Open(w.cli.files, w.dir.Config()); locked != nil || !writeBack(book, w.log, err) {
		return errors.Join(err, locked)
	}
	return w.open(ctx, book)
}

// open opens the room where it is not open yet.
func (w *waitingRoom) open(ctx context.Context, book *config.Book) error {
	layers := config.Layers{Flags: w.flags, Getenv: w.cli.getenv}
	_, layers.File = book.Applied()
	_, settings, err := config.Resolve(layers)
	if err != nil {
		return err
	}
	at := entrance{property: config.Listen, address: settings.Listen, certificate: settings.Certificate, key: settings.Key}
	if w.server != nil && w.at.same(at) {
		return nil
	}
	w.close()
	w.at, w.log = at, w.cli.newLog(settings)
	var pair *certificate
	if at.certificate != "" {
		if pair, err = newCertificate(at.certificate, at.key, w.log); err != nil {
			return fail(exitInvalid, "server.tls", "%s", err)
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at.address)
	if err != nil {
		return fail(exitFailed, config.Listen, "listen on %s: %s", at.address, err)
	}
	if pair != nil {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get, NextProtos: []string{"h2", "http/1.1"}})
	}
	w.server = edge.Server(http.HandlerFunc(notYet), w.log, time.Now)
	go func(s *http.Server) { _ = s.Serve(l) }(w.server)
	return nil
}

// close closes the room if it is open.
func (w *waitingRoom) close() {
	if w.server != nil {
		_ = w.server.Close()
	}
	w.server = nil
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
