package edge

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server bounds what a client of one listener may take: time, header,
// connections at rest. What net/http has to say goes to log at debug level.
func Server(h http.Handler, log *slog.Logger, now func() time.Time) *http.Server {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 12 << 10, // net/http adds 4 KiB to the bound it is given; a header block has 16 KiB
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	(&unasked{now: now}).watch(s)
	return s
}

// unasked are the connections of a server on which no request has come in yet.
// Browsers open some in advance, and [http.Server.Shutdown] would wait five
// seconds for each.
type unasked struct {
	now   func() time.Time
	many  atomic.Int64
	conns sync.Map // net.Conn → nil
}

// lastMoment is for a request that is on its way when the server stops.
const lastMoment = 200 * time.Millisecond

// watch makes a server's shutdown give such connections no more than a moment.
func (u *unasked) watch(s *http.Server) {
	s.ConnState = u.note
	s.RegisterOnShutdown(u.hurry)
}

func (u *unasked) note(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		u.many.Add(1)
		u.conns.Store(c, nil)
	case http.StateActive, http.StateHijacked, http.StateClosed:
		if u.many.Load() == 0 {
			return // as it is at almost every request
		}
		if _, there := u.conns.LoadAndDelete(c); there {
			u.many.Add(-1)
		}
	case http.StateIdle: // it was asked before
	}
}

func (u *unasked) hurry() {
	for c := range u.conns.Range {
		if c, ok := c.(net.Conn); ok {
			_ = c.SetReadDeadline(u.now().Add(lastMoment)) // one that is closed already needs none
		}
	}
}
