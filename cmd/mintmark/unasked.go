package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// unasked are the connections of a server on which no request has come in yet.
// Browsers open some in advance, and [http.Server.Shutdown] would wait five
// seconds for each.
type unasked struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// lastMoment is for a request that is on its way when the server stops.
const lastMoment = 200 * time.Millisecond

// watch makes a server's shutdown give such connections no more than a moment.
func (u *unasked) watch(s *http.Server) {
	u.conns = make(map[net.Conn]struct{})
	s.ConnState = u.note
	s.RegisterOnShutdown(u.hurry)
}

func (u *unasked) note(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if state == http.StateNew {
		u.conns[c] = struct{}{}
	} else {
		delete(u.conns, c)
	}
}

func (u *unasked) hurry() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		_ = c.SetReadDeadline(time.Now().Add(lastMoment)) // one that is closed already needs none
	}
}
