package postgres_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a store and its server.
type proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	conns map[net.Conn]bool
	cut   bool // the answer to the next COMMIT is kept, and everybody is cut off
	down  bool // nobody gets through
	after bool // down once the cut is done
	mute  bool // no answer gets through, and nobody is cut off
	cuts  int
	came  int // connections
}

// newProxy answers an address that leads through it.
func newProxy(t *testing.T, address string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: u.Host, conns: make(map[net.Conn]bool)}
	u.Host = l.Addr().String()
	t.Cleanup(func() { _ = l.Close(); p.sever() })
	go p.accept()
	return p, u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.came++
		down := p.down
		p.mu.Unlock()
		server, err := net.Dial("tcp", p.server)
		if down || err != nil {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
		go p.answer(client, server)
	}
}

// answer passes on what the server says, unless it is what is to be kept.
func (p *proxy) answer(client, server net.Conn) {
	defer client.Close()
	part := make([]byte, 64<<10)
	for {
		n, err := server.Read(part)
		p.mu.Lock()
		kept := p.cut && bytes.Contains(part[:n], []byte("COMMIT\x00"))
		if kept {
			p.cut, p.down = false, p.after
			p.cuts++
		}
		if p.mute {
			n = 0
		}
		p.mu.Unlock()
		if kept {
			p.sever()
			return
		}
		if n > 0 {
			if _, err := client.Write(part[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sever ends every connection.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *proxy) set(change func(*proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *proxy) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}
