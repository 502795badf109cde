// Package edge is what every HTTP edge has in common: the request id, the true
// client address, the credential, the caller, bounds, and one log line per
// request.
//
// It touches requests and answers only. It decides nothing: the verdict is the
// live set's, the rules are the authority's.
//
// The one hard idea: a header counts only when the peer that sent it may be
// believed. The client address comes from X-Forwarded-For only behind a
// configured proxy, and a credential is taken from exactly one place.
package edge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"mintmark/internal/authority"
)

// Inbound is what is known of a request before anybody's credential is looked
// at.
type Inbound struct {
	RequestID string
	Addr      netip.Addr // the client, as far as configured proxies tell; zero on the socket
	ViaProxy  bool       // Addr was forwarded by a configured proxy
	TLS       bool       // the client's connection is encrypted, as far as configured proxies tell
	Operator  string     // user@host on the home's socket, else ""
}

// From is the address as text: "local" on the socket.
func (in Inbound) From() string {
	if in.Operator != "" {
		return "local"
	}
	return in.Addr.String()
}

// Origin is where the request came from, as the rules record it.
func (in Inbound) Origin() authority.Origin {
	return authority.Origin{From: in.From(), RequestID: in.RequestID}
}

// Config is what the edge is made of.
type Config struct {
	Log *slog.Logger
	Now func() time.Time
	// NewID makes a request id: short, unguessable, safe in a header.
	NewID func() string
	// TrustedProxies are the peers whose X-Forwarded-For and X-Forwarded-Proto
	// count; nil: none.
	TrustedProxies func() []netip.Prefix
	// Operator is user@host for a listener that only the service's user can
	// reach, else "".
	Operator string
}

type inboundKey struct{}

// Of answers what Wrap found out about r; the zero Inbound outside Wrap.
func Of(r *http.Request) Inbound {
	in, _ := r.Context().Value(inboundKey{}).(Inbound)
	return in
}

// Wrap finds out where a request came from, gives it an id, turns a panic into
// a 500 and logs one line when it is answered. No path, header, query or body is
// logged: that is where secrets are.
func Wrap(c Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := c.Now()
		in := c.inbound(r)
		w.Header().Set("X-Request-Id", in.RequestID)
		if len(r.TransferEncoding) > 0 {
			// net/http forgets a Content-Length beside a coding, and goes on. Whoever
			// passed both on may take the rest for another request: it must not be
			// one here (RFC 9112 section 6.3).
			w.Header().Set("Connection", "close")
		}
		rec := &recorder{ResponseWriter: w}
		r = r.WithContext(context.WithValue(r.Context(), inboundKey{}, in))
		defer func() {
			p := recover()
			if p != nil && !aborted(p) {
				// The value of a panic may hold a secret; its type does not.
				c.Log.Error("handler panicked", "request_id", in.RequestID, "route", route(r), "type", typeName(p), "stack", stack())
				p = rec.fail(r, in.RequestID)
			}
			c.Log.Info("request", "request_id", in.RequestID, "method", safeMethod(r.Method), "route", route(r), "status", rec.code(),
				"bytes", rec.bytes, "duration_ms", float64(c.Now().Sub(start).Microseconds())/1000, "from", in.From())
			if p != nil {
				panic(p)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// aborted reports the one panic that is no fault: a handler that gives up on
// its client.
func aborted(p any) bool {
	err, ok := p.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// route is the pattern that matched. The path itself is never logged: people
// paste tokens into address bars.
func route(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern
}

func (c Config) inbound(r *http.Request) Inbound {
	in := Inbound{RequestID: c.NewID(), TLS: r.TLS != nil, Operator: c.Operator}
	if c.Operator != "" {
		return in
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return in
	}
	in.Addr = peer.Addr().Unmap().WithZone("")
	trusted := c.TrustedProxies()
	if !within(in.Addr, trusted) {
		return in
	}
	if client, ok := forwarded(r.Header.Values("X-Forwarded-For"), trusted); ok {
		in.Addr, in.ViaProxy = client, true
	}
	if proto := r.Header.Values("X-Forwarded-Proto"); len(proto) == 1 {
		in.TLS = strings.EqualFold(proto[0], "https")
	}
	return in
}

// forwarded walks the list from the right, past every configured proxy, to the
// first address that none of them vouches for. What is no address ends the walk:
// the hop that wrote it is the last one known.
func forwarded(headers []string, trusted []netip.Prefix) (client netip.Addr, ok bool) {
	hops := strings.Split(strings.Join(headers, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client, ok = a.Unmap().WithZone(""), true
		if !within(client, trusted) {
			break
		}
	}
	return client, ok
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
