package fleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between one node and its PostgreSQL and reads the messages of
// the protocol (PostgreSQL 15, chapter 55), so that it can spoil chosen ones.
type proxy struct {
	listener net.Listener
	target   string

	deaf  atomic.Bool  // notifications are dropped
	cut   atomic.Bool  // a connection ends as soon as its COMMIT was handed on
	dark  atomic.Bool  // nothing passes any more, and nothing is closed
	cuts  atomic.Int64 // connections that ended in a COMMIT
	drops atomic.Int64 // notifications that were dropped

	mu    sync.Mutex
	conns map[net.Conn]bool
	light chan struct{} // closed when it is not dark any more
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool), light: make(chan struct{})}
	close(p.light)
	t.Cleanup(func() {
		_ = l.Close()
		p.darken(false)
		p.hangUp()
	})
	go p.serve()
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.join(client)
	}
}

func (p *proxy) join(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	p.keep(client, server)
	end := sync.OnceFunc(func() { _ = joined(client.Close(), server.Close()) })
	go func() {
		defer end()
		_ = p.requests(client, server)
	}()
	defer end()
	_ = p.answers(server, client)
}

func (p *proxy) keep(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
}

// hangUp closes every connection.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// darken lets nothing pass, or everything that has waited.
func (p *proxy) darken(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dark.Swap(on) == on {
		return
	}
	if on {
		p.light = make(chan struct{})
	} else {
		close(p.light)
	}
}

func (p *proxy) pass() {
	for p.dark.Load() {
		p.mu.Lock()
		light := p.light
		p.mu.Unlock()
		<-light
	}
}

var errCut = errors.New("the proxy ended the connection in a COMMIT")

// requests hands on what a client says: a start-up message without a type, then
// messages with one.
func (p *proxy) requests(client io.Reader, server io.Writer) error {
	first, err := message(client, nil)
	if err != nil {
		return err
	}
	if _, err := server.Write(first); err != nil {
		return err
	}
	prepared := make(map[string]bool) // statements that are COMMIT, by name
	for bound := false; ; {
		m, err := message(client, new(byte))
		if err != nil {
			return err
		}
		p.pass()
		bound = bound && m[0] != 'B' || isCommit(m, prepared)
		ends := bound && (m[0] == 'Q' || m[0] == 'E')
		if ends && p.cut.Load() {
			p.cuts.Add(1)
			if rand.IntN(2) == 0 { // else it was not even carried out
				_, _ = server.Write(append(m, 'S', 0, 0, 0, 4)) // with a Sync
			}
			return errCut
		}
		if _, err := server.Write(m); err != nil {
			return err
		}
	}
}

// answers hands on what a server says.
func (p *proxy) answers(server io.Reader, client io.Writer) error {
	for {
		m, err := message(server, new(byte))
		if err != nil {
			return err
		}
		p.pass()
		if m[0] == 'A' && p.deaf.Load() {
			p.drops.Add(1)
			continue
		}
		if _, err := client.Write(m); err != nil {
			return err
		}
	}
}

// message reads one message whole; a nil kind is one without a type.
func message(r io.Reader, kind *byte) ([]byte, error) {
	head := make([]byte, 4, 5)
	if kind != nil {
		head = head[:5]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[len(head)-4:])
	if length < 4 || length > 1<<26 {
		return nil, errors.New("not a message of the protocol")
	}
	m := make([]byte, len(head)+int(length)-4)
	copy(m, head)
	_, err := io.ReadFull(r, m[len(head):])
	return m, err
}

// isCommit reports a message that commits: a Query, or a Bind of a statement that
// was prepared as COMMIT.
func isCommit(m []byte, prepared map[string]bool) bool {
	text := m[5:]
	switch m[0] {
	case 'Q':
		return saysCommit(text)
	case 'P':
		name, statement, _ := bytes.Cut(text, []byte{0})
		prepared[string(name)] = saysCommit(statement)
	case 'B': // behind the name of the portal
		_, rest, _ := bytes.Cut(text, []byte{0})
		name, _, _ := bytes.Cut(rest, []byte{0})
		return prepared[string(name)]
	}
	return false
}

func saysCommit(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) >= 6 && bytes.EqualFold(text[:6], []byte("commit"))
}
