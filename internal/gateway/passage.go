package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/pathrule"
)

// passage is one request on its way through a guard, and what its answer is
// written to: each part of the answer has a time of its own.
type passage struct {
	http.ResponseWriter
	guard   *Guard
	in      edge.Inbound
	control *http.ResponseController
	proxy   httputil.ReverseProxy
	path    pathrule.Path
	who     *liveset.Identity // nil: nobody was asked for
	body    *patientBody      // nil: none
}

// extend gives the client its time for the next part.
func (p *passage) extend() {
	_ = p.control.SetWriteDeadline(p.guard.Now().Add(p.guard.Patience))
}

func (p *passage) Write(b []byte) (int, error) {
	p.extend()
	return p.ResponseWriter.Write(b)
}

// WriteHeader tells one id: the API's own, if it has one.
func (p *passage) WriteHeader(status int) {
	const id = "X-Request-Id"
	if h := p.Header(); status >= http.StatusOK {
		switch told := h[id]; {
		case len(told) == 0:
			h[id] = []string{p.in.RequestID}
		case len(told) > 1:
			h[id] = told[1:]
		}
	}
	p.ResponseWriter.WriteHeader(status)
}

// Hijack hands the connection over, with an answer that is all the API's.
func (p *passage) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	p.Header().Del("X-Request-Id")
	return p.control.Hijack()
}

// Unwrap lets http.ResponseController reach the real writer.
func (p *passage) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// rewrite makes the request that the API gets. The fields of one hop, and those
// that Connection names, are gone by now.
func (p *passage) rewrite(r *httputil.ProxyRequest) {
	up, h := p.guard.Upstream, r.Out.Header
	*r.Out.URL = url.URL{
		Scheme: up.Scheme, Host: up.Host, Path: p.path.Plain(), RawPath: p.path.Escaped(),
		RawQuery: r.In.URL.RawQuery, ForceQuery: r.In.URL.ForceQuery,
	}
	r.Out.Host = ""
	for name := range h {
		if p.drops(name) {
			delete(h, name)
		}
	}
	// One array holds all that is said: a guard is passed often.
	said := [...]string{p.in.RequestID, p.chain(r.In), p.host(r.In), "http", "", "", "", ""}
	if p.in.TLS {
		said[3] = "https"
	}
	h["X-Request-Id"], h["X-Forwarded-For"], h["X-Forwarded-Host"], h["X-Forwarded-Proto"] = said[0:1:1], said[1:2:2], said[2:3:3], said[3:4:4]
	if p.who != nil {
		said[4], said[5], said[6], said[7] = p.who.ClientID, string(p.who.Role), p.who.TagList, p.who.ID
		h["X-Auth-Client-Id"], h["X-Auth-Role"], h["X-Auth-Tags"], h["X-Auth-Token-Id"] = said[4:5:5], said[5:6:6], said[6:7:7], said[7:8:8]
	}
	if !p.guard.KeepAuthorization() {
		delete(h, "Authorization")
	}
	// After any other upgrade what follows would be seen by nobody.
	if kind := h["Upgrade"]; len(kind) > 0 && !strings.EqualFold(kind[0], "websocket") {
		delete(h, "Upgrade")
		delete(h, "Connection")
	}
	p.trailers(r)
}

// chain is where the request comes from; a configured proxy has said some of it.
func (p *passage) chain(in *http.Request) string {
	peer, _, _ := net.SplitHostPort(in.RemoteAddr) // net/http wrote it
	if before := in.Header["X-Forwarded-For"]; p.in.Proxied && len(before) > 0 {
		return strings.Join(before, ", ") + ", " + peer
	}
	return peer
}

// host is whom the client asked, as far as a configured proxy tells.
func (p *passage) host(in *http.Request) string {
	if told := in.Header["X-Forwarded-Host"]; p.in.Proxied && len(told) == 1 {
		return told[0]
	}
	return in.Host
}

// trailers hands on those that the client announced and may send.
func (p *passage) trailers(r *httputil.ProxyRequest) {
	if p.body == nil || len(r.In.Trailer) == 0 {
		r.Out.Trailer = nil
		return
	}
	out := make(http.Header)
	for name := range r.In.Trailer {
		if !p.drops(name) && name != "Authorization" && name != "X-Request-Id" {
			out[name] = nil
		}
	}
	r.Out.Trailer = out
	p.body.atEnd = func() {
		for name := range out {
			out[name] = r.In.Trailer[name]
		}
	}
}

// drops tells the fields in which a client says who or where it is, or what it
// asks for beside its first line.
func (p *passage) drops(name string) bool {
	if c := name[0] | 0x20; c != 'x' && c != 'f' && c != 'h' && c != 't' && c != 'c' {
		return false
	}
	return isOneOf(name, identityNames()) || isOneOf(name, addressOverrides()) || !p.in.Proxied && isOneOf(name, forwardedNames())
}

// IsIdentity reports whether some program takes a field for one of those in which
// a door says whom a token speaks for.
func IsIdentity(name string) bool { return isOneOf(name, identityNames()) }

// The names are in lower case; one that ends in "-" is every name that begins
// so.

func identityNames() []string {
	return []string{"x-auth-client-id", "x-auth-role", "x-auth-tags", "x-auth-token-id"}
}

// addressOverrides are fields by which some servers take another path than that
// of the first line, or speak HTTP/2.
func addressOverrides() []string { return []string{"x-original-", "x-rewrite-", "http2-settings"} }

func methodOverrides() []string {
	return []string{"x-http-method-override", "x-http-method", "x-method-override"}
}

func forwardedNames() []string {
	return []string{"forwarded", "x-forwarded-", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "client-ip"}
}

func isOneOf(name string, of []string) bool {
	for _, known := range of {
		if reads(name, known) {
			return true
		}
	}
	return false
}

// reads reports whether some program takes a field's name for a known one:
// whatever is no letter and no digit is the same sign to many (RFC 3875 section
// 4.1.18).
func reads(name, known string) bool {
	if prefix := strings.HasSuffix(known, "-"); len(name) < len(known) || !prefix && len(name) != len(known) {
		return false
	}
	for i := range len(known) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		default:
			c = '-'
		}
		if c != known[i] {
			return false
		}
	}
	return true
}

// patientBody gives a client its time for each part of a body.
type patientBody struct {
	io.ReadCloser
	passage *passage
	fault   atomic.Int32 // stalled or broken
	atEnd   func()
}

// What can go wrong with a body on the client's side.
const (
	stalled = 1 + iota
	broken
)

func (b *patientBody) has(fault int32) bool { return b != nil && b.fault.Load() == fault }

func (b *patientBody) extend() {
	_ = b.passage.control.SetReadDeadline(b.passage.guard.Now().Add(b.passage.guard.Patience))
}

func (b *patientBody) Read(into []byte) (int, error) {
	b.extend()
	n, err := b.ReadCloser.Read(into)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		// From here on the server listens whether the client is still there.
		_ = b.passage.control.SetReadDeadline(time.Time{})
		if b.atEnd != nil {
			b.atEnd()
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.fault.CompareAndSwap(0, stalled)
	default:
		b.fault.CompareAndSwap(0, broken)
	}
	return n, err
}
