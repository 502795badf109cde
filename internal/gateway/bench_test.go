package gateway_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
)

// nowhere is a client that reads nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// What a request costs beyond net/http: the whole door against a handler that
// sets the same fields and asks nobody.
func BenchmarkForwardAuth(b *testing.B) {
	h := newHouse(b)
	requests := make([]*http.Request, 10_000)
	for i := range requests {
		issued := h.issue(authority.TokenRequest{ClientID: "client-" + strconv.Itoa(i), Role: "user", Tags: []string{"team:data", "env:prod"}})
		requests[i] = httptest.NewRequest("GET", "/auth/verify", nil)
		requests[i].Header = bearer(issued)
	}
	door := edge.Wrap(edge.Config{
		Log: slog.New(slog.NewTextHandler(&nobody{}, nil)), Now: time.Now, NewID: func() string { return strconv.Itoa(12345678) },
		TrustedProxies: func() []netip.Prefix { return nil },
		Doors:          map[string]edge.Door{"/auth/verify": gateway.Verify{Live: h.live, Audience: audience}},
	}, http.NotFoundHandler())
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Cache-Control", "X-Content-Type-Options", "X-Request-Id", "X-Auth-Client-Id", "X-Auth-Role", "X-Auth-Tags", "X-Auth-Token-Id"} {
			w.Header().Set(name, "constant")
		}
		w.WriteHeader(http.StatusOK)
	})
	for name, handler := range map[string]http.Handler{"door": door, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for _, r := range requests {
				handler.ServeHTTP(&nowhere{make(http.Header)}, r)
			}
			for i := 0; b.Loop(); i++ {
				handler.ServeHTTP(&nowhere{make(http.Header)}, requests[i%len(requests)])
			}
		})
	}
}

// nobody reads a log; a line in it would be a fault.
type nobody struct{}

func (*nobody) Write([]byte) (int, error) { panic("a door logged a request that did not fail") }
