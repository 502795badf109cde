package edge_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/internal/edge"
)

// piped is a listener that accepts one end of a pipe, once, and counts the
// deadlines that it is told.
type piped struct {
	net.Conn
	told int
}

func (p *piped) Accept() (net.Conn, error) { return p, nil }
func (p *piped) Addr() net.Addr            { return p.LocalAddr() }

func (p *piped) SetReadDeadline(t time.Time) error {
	p.told++
	return p.Conn.SetReadDeadline(t)
}

// unhurried is a connection whose deadlines are noted, the end of its peer, and
// what is underneath.
func unhurried(t *testing.T) (near, far net.Conn, under *piped) {
	t.Helper()
	a, b := net.Pipe()
	under = &piped{Conn: a}
	near, err := edge.Unhurried(under, time.Now).Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, b, under
}

func TestADeadlineComesWhenItIsDue(t *testing.T) {
	for name, c := range map[string]struct {
		set  []time.Duration // one after the other, from the beginning; 0: none
		want time.Duration   // until a read gives up
	}{
		"one":                      {[]time.Duration{30 * time.Second}, 30 * time.Second},
		"later":                    {[]time.Duration{5 * time.Second, time.Minute}, time.Minute},
		"much later":               {[]time.Duration{5 * time.Second, 30 * time.Second, time.Hour}, time.Hour},
		"earlier":                  {[]time.Duration{time.Minute, 7 * time.Second}, 7 * time.Second},
		"later, then earlier":      {[]time.Duration{5 * time.Second, time.Minute, 20 * time.Second}, 20 * time.Second},
		"after none":               {[]time.Duration{5 * time.Second, 0, 8 * time.Second}, 8 * time.Second},
		"after one that is past":   {[]time.Duration{-time.Hour, 0, 2 * time.Minute}, 2 * time.Minute},
		"soon after one past":      {[]time.Duration{-time.Hour, 0, time.Second}, time.Second},
		"past":                     {[]time.Duration{time.Minute, -time.Hour}, 0},
		"past, and then one to be": {[]time.Duration{-time.Hour, 3 * time.Second}, 3 * time.Second},
	} {
		for way, exchange := range map[string]func(net.Conn) (int, error){
			"read":  func(c net.Conn) (int, error) { return c.Read(make([]byte, 1)) },
			"write": func(c net.Conn) (int, error) { return c.Write([]byte("x")) },
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, _, _ := unhurried(t)
					began := time.Now()
					for _, after := range c.set {
						at := began.Add(after)
						if after == 0 {
							at = time.Time{}
						}
						if err := near.SetDeadline(at); err != nil {
							t.Fatal(err)
						}
					}
					if _, err := exchange(near); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != c.want {
						t.Errorf("gave up after %s, not %s: %v", time.Since(began), c.want, err)
					}
				})
			})
		}
	}
}

func TestWhatIsUnderWayOutlastsATimerThatNobodyWantsAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far, _ := unhurried(t)
		began := time.Now()
		_ = near.SetDeadline(began.Add(5 * time.Second))
		_ = near.SetDeadline(time.Time{})
		got := make(chan byte, 1)
		go func() {
			one := make([]byte, 1)
			_, _ = io.ReadFull(near, one)
			got <- one[0]
		}()
		time.Sleep(time.Hour)
		if _, err := far.Write([]byte("x")); err != nil || <-got != 'x' {
			t.Errorf("what came after an hour was not read: %v", err)
		}
		_ = near.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_ = near.SetWriteDeadline(time.Now().Add(2 * time.Hour))
		go func() {
			_, _ = far.Read(make([]byte, 1)) // a part of it before the timer, the rest after
			time.Sleep(time.Hour)
			_, _ = io.ReadFull(far, make([]byte, 2))
		}()
		if n, err := near.Write([]byte("xyz")); n != 3 || err != nil {
			t.Errorf("%d of 3 bytes were written: %v", n, err)
		}
	})
}

func TestAReadThatWaitsIsWokenByADeadlineInThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _, _ := unhurried(t)
		_ = near.SetReadDeadline(time.Now().Add(time.Minute))
		ended := make(chan error, 1)
		go func() {
			_, err := near.Read(make([]byte, 1))
			ended <- err
		}()
		synctest.Wait()
		_ = near.SetReadDeadline(time.Unix(1, 0))
		synctest.Wait()
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
		default:
			t.Error("it still waits")
		}
	})
}

func TestTheDeadlinesOfARequestTouchTheTimersOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _, under := unhurried(t)
		request := func() {
			for _, d := range []time.Duration{2 * time.Minute, 0, 5 * time.Second, 30 * time.Second, -time.Hour, 0} { // as net/http sets them
				at := time.Now().Add(d)
				if d == 0 {
					at = time.Time{}
				}
				_ = near.SetReadDeadline(at)
			}
		}
		request()
		before := under.told
		const requests = 1000
		for range requests {
			request()
		}
		if told := under.told - before; told != 2*requests { // to wake whoever waits, and the timer for the next
			t.Errorf("%d requests set %d deadlines", requests, told)
		}
	})
}

// A server says that it ends before it closes, or its last answer may be lost.
func TestAServerEndsAnUnhurriedConnectionGently(t *testing.T) {
	served := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "good bye")
	}))
	served.Listener = edge.Unhurried(served.Listener, time.Now)
	served.Start()
	defer served.Close()
	conn, err := net.Dial("tcp", served.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\nrest that nobody reads"); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(conn); err != nil || len(all) == 0 {
		t.Errorf("%q: %v", all, err)
	}
}
