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
	"mintmark/internal/liveset"
)

// Inbound is what is known of a request before anybody's credential is looked
// at.
type Inbound struct {
	RequestID string
	Addr      netip.Addr // the client, as far as configured proxies tell; zero on the socket
	Proxied   bool       // the peer is a configured proxy
	Via       netip.Addr // the configured proxy that forwarded Addr; zero: none did
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
	// TrustedProxies are the peers whose X-Forwarded-For, X-Forwarded-Proto and
	// X-Request-Id count; nil: none.
	TrustedProxies func() []netip.Prefix
	// Operator is user@host for a listener that only the service's user can
	// reach, else "".
	Operator string
	// Doors answer whole paths without a multiplexer.
	Doors map[string]Door
	// Trace begins the span of a request: the context it is answered in, and what
	// ends it. nil: nothing is traced.
	Trace func(r *http.Request, in Inbound) (context.Context, func(Outcome))
}

// Door answers one path by a verdict and nothing else. It is asked so often that
// its requests are logged at the level debug, unless they failed.
type Door interface {
	// Answer answers r and tells the reason of its verdict.
	Answer(w http.ResponseWriter, r *http.Request, in Inbound) liveset.Reason
}

// Outcome is how a request was answered.
type Outcome struct {
	Route   string // the pattern that matched, or "none"
	Status  int
	Verdict liveset.Reason // Undecided: nobody asked for one
}

type exchangeKey struct{}

// Of answers what Wrap found out about r; the zero Inbound outside Wrap, and at
// a [Door].
func Of(r *http.Request) Inbound {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return x.in
	}
	return Inbound{}
}

// Judged notes the verdict that a door gave which a multiplexer reached: the
// request is logged as one of a [Door].
func Judged(r *http.Request, reason liveset.Reason) {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		x.verdict, x.level = reason, slog.LevelDebug
	}
}

// Wrap finds out where a request came from, gives it an id, turns a panic into
// a 500 and logs one line when it is answered. No path, header, query or body is
// logged: that is where secrets are.
func Wrap(c Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, start: c.Now()}
		c.inbound(r, &x.in)
		x.id[0] = x.in.RequestID
		w.Header()["X-Request-Id"] = x.id[:]
		if len(r.TransferEncoding) > 0 {
			// net/http forgets a Content-Length beside a coding, and goes on. Whoever
			// passed both on may take the rest for another request: it must not be
			// one here (RFC 9112 section 6.3).
			w.Header().Set("Connection", "close")
		}
		door := c.door(r)
		if c.Trace != nil {
			ctx, end := c.Trace(r, x.in)
			r = r.WithContext(ctx)
			defer func() { end(Outcome{x.route(r), x.code(), x.verdict}) }()
		}
		if door == nil {
			r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		}
		defer func() { c.finish(x, r, recover()) }()
		if door != nil {
			x.door, x.level = r.URL.Path, slog.LevelDebug
			x.verdict = door.Answer(x, r, x.in)
			return
		}
		next.ServeHTTP(x, r)
	})
}

// door answers what takes the whole path, and only in its plain form: any other
// is the multiplexer's to judge.
func (c *Config) door(r *http.Request) Door {
	if r.URL.RawPath != "" {
		return nil
	}
	return c.Doors[r.URL.Path]
}

// finish says what became of a request.
func (c *Config) finish(x *exchange, r *http.Request, p any) {
	if p != nil && !aborted(p) {
		// The value of a panic may hold a secret; its type does not.
		c.Log.Error("handler panicked", "request_id", x.in.RequestID, "route", x.route(r), "type", typeName(p), "stack", stack())
		p = x.fail(r)
	}
	if x.code() >= http.StatusInternalServerError {
		x.level = max(x.level, slog.LevelInfo)
	}
	if c.Log.Enabled(r.Context(), x.level) {
		c.Log.Log(r.Context(), x.level, "request", "request_id", x.in.RequestID, "method", safeMethod(r.Method), "route", x.route(r), "status", x.code(),
			"bytes", x.bytes, "duration_ms", float64(c.Now().Sub(x.start).Microseconds())/1000, "from", x.in.From())
	}
	if p != nil {
		panic(p)
	}
}

// aborted reports the one panic that is no fault: a handler that gives up on
// its client.
func aborted(p any) bool {
	err, ok := p.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

func (c *Config) inbound(r *http.Request, in *Inbound) {
	in.TLS, in.Operator = r.TLS != nil, c.Operator
	if c.Operator == "" {
		c.locate(r, in)
	}
	if ids := r.Header["X-Request-Id"]; in.Proxied && len(ids) == 1 && IsID(ids[0]) {
		in.RequestID = ids[0]
	} else {
		in.RequestID = c.NewID()
	}
}

// locate finds out where the client is.
func (c *Config) locate(r *http.Request, in *Inbound) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return
	}
	var told bool
	if in.Addr, in.Proxied, told = ClientAddr(peer.Addr(), r.Header["X-Forwarded-For"], c.TrustedProxies()); told {
		in.Via = peer.Addr().Unmap().WithZone("")
	}
	if !in.Proxied {
		return
	}
	if proto := r.Header["X-Forwarded-Proto"]; len(proto) == 1 {
		in.TLS = strings.EqualFold(proto[0], "https")
	}
}

// ClientAddr is the client's address as far as it may be believed: the peer's,
// or what a trusted peer's X-Forwarded-For names. It has no zone, and an IPv4
// address is never a mapped one.
func ClientAddr(peer netip.Addr, forwardedFor []string, trusted []netip.Prefix) (client netip.Addr, proxied, viaProxy bool) {
	peer = peer.Unmap().WithZone("")
	if !within(peer, trusted) {
		return peer, false, false
	}
	if told, ok := forwarded(forwardedFor, trusted); ok {
		return told, true, true
	}
	return peer, true, false
}

// IsID takes for a request id what is short and safe wherever ids are shown.
func IsID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return len(s) >= 8 && len(s) <= 64
}

// forwarded walks the lists from the right, past every configured proxy, to the
// first address that none of them vouches for. What is no address ends the walk:
// the hop that wrote it is the last one known.
func forwarded(lists []string, trusted []netip.Prefix) (client netip.Addr, ok bool) {
	for i := len(lists) - 1; i >= 0; i-- {
		for list, more := lists[i], true; more; {
			hop := list
			comma := strings.LastIndexByte(list, ',')
			if more = comma >= 0; more {
				list, hop = list[:comma], list[comma+1:]
			}
			a, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				return client, ok
			}
			client, ok = a.Unmap().WithZone(""), true
			if !within(client, trusted) {
				return client, ok
			}
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
