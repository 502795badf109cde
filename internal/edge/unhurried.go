package edge

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Unhurried answers a listener whose connections take a deadline at next to no
// cost. A server sets five for each request, and asks the system's timers for
// each; almost all are taken back before they come.
//
// What is asked for is only noted while a timer is set that comes no later. When
// that one comes, it is set again for what is asked for then: no deadline comes
// early, and none later than it was set for.
func Unhurried(l net.Listener, now func() time.Time) net.Listener { return unhurriedListener{l, now} }

type unhurriedListener struct {
	net.Listener
	now func() time.Time
}

// Accept implements [net.Listener].
func (l unhurriedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	u := &unhurried{Conn: c, now: l.now}
	u.read.arm, u.write.arm = c.SetReadDeadline, c.SetWriteDeadline
	return u, nil
}

type unhurried struct {
	net.Conn
	now         func() time.Time
	read, write deadline
}

// soon is the least that is worth a timer of its own.
const soon = 5 * time.Second

// deadline is one of the two of a connection. A zero time is none.
type deadline struct {
	arm func(time.Time) error // sets the timer

	mu     sync.Mutex
	wanted time.Time
	armed  time.Time
	past   bool // armed lies in the past: whoever waits is to be woken, and the timer is used up
}

// want notes a deadline. One in the past is set at once: it wakes whoever waits.
func (d *deadline) want(t time.Time, now func() time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = t
	switch {
	case !d.past && !d.armed.IsZero() && (t.IsZero() || !t.Before(d.armed)):
		return nil
	case !d.past && d.armed.IsZero() && t.IsZero():
		return nil
	case t.IsZero():
		// After one that woke, another is wanted soon: this timer will do for it.
		return d.set(now().Add(soon), false)
	}
	return d.set(t, !t.After(now()))
}

func (d *deadline) set(t time.Time, past bool) error {
	d.armed, d.past = t, past
	return d.arm(t)
}

// reached reports whether err means that the deadline has come. If only the timer
// has, it is set again, and what was interrupted is to be tried again.
func (d *deadline) reached(err error, now func() time.Time) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.wanted.IsZero() && !d.wanted.After(now()) {
		return true
	}
	return d.set(d.wanted, false) != nil
}

// SetReadDeadline implements [net.Conn].
func (c *unhurried) SetReadDeadline(t time.Time) error { return c.read.want(t, c.now) }

// SetWriteDeadline implements [net.Conn].
func (c *unhurried) SetWriteDeadline(t time.Time) error { return c.write.want(t, c.now) }

// SetDeadline implements [net.Conn].
func (c *unhurried) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Read implements [net.Conn].
func (c *unhurried) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || err == nil || c.read.reached(err, c.now) {
			return n, err
		}
	}
}

// Write implements [net.Conn].
func (c *unhurried) Write(p []byte) (int, error) {
	for done := 0; ; {
		n, err := c.Conn.Write(p[done:])
		if done += n; err == nil || c.write.reached(err, c.now) {
			return done, err
		}
	}
}

// CloseWrite ends what is sent, as a server does before it closes, so that its
// last answer arrives.
func (c *unhurried) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
