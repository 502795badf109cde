package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/pathrule"
)

// GuardConfig is what a Guard is made of.
type GuardConfig struct {
	Live edge.Decider
	// Upstream is the API: http or https and a host, nothing more.
	Upstream *url.URL
	// Rules are the demands of paths that are in force.
	Rules func() pathrule.Rules
	// KeepAuthorization has the API see the Authorization field.
	KeepAuthorization func() bool
	// Patience is how long the API may take to begin its answer, and the client to
	// send or to take the next part of a body. Between the parts of an answer the
	// API may be silent for as long as it likes.
	Patience time.Duration
	Log      *slog.Logger
	Now      func() time.Time
}

// Guard is a gateway of our own before one HTTP API: it judges a request and
// hands it on. What it judges is what the API gets: one reading of the path, one
// method, and no header in which a client says who or where it is.
type Guard struct {
	GuardConfig
	proxy     httputil.ReverseProxy // copied for each request
	transport *http.Transport
}

// NewGuard makes a guard. It is to be served behind [edge.Wrap].
func NewGuard(c GuardConfig) (*Guard, error) {
	switch {
	case c.Live == nil || c.Rules == nil || c.KeepAuthorization == nil || c.Log == nil || c.Now == nil || c.Patience <= 0:
		return nil, errors.New("gateway: a member of GuardConfig is missing")
	case c.Upstream == nil || c.Upstream.Scheme != "http" && c.Upstream.Scheme != "https" || c.Upstream.Host == "":
		return nil, errors.New("gateway: an upstream is an http or https URL")
	}
	g := &Guard{GuardConfig: c}
	g.transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: min(5*time.Second, c.Patience), KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: min(5*time.Second, c.Patience), ResponseHeaderTimeout: c.Patience, ExpectContinueTimeout: time.Second,
		// Many servers close after 5 s of rest; a request that meets that moment is
		// lost.
		IdleConnTimeout: 4 * time.Second, MaxIdleConnsPerHost: 256,
		MaxResponseHeaderBytes: 256 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
	}
	g.proxy = httputil.ReverseProxy{
		Transport: g.transport, BufferPool: new(buffers), ErrorHandler: failed, ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return g, nil
}

// Close lets go of the connections to the API that are at rest.
func (g *Guard) Close() { g.transport.CloseIdleConnections() }

// ServeHTTP judges a request and hands it on.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := &passage{ResponseWriter: w, guard: g, in: edge.Of(r), control: http.NewResponseController(w)}
	// The connection may still have the deadline of the request before. What has no
	// deadlines has nobody to wait for.
	_ = p.control.SetWriteDeadline(time.Time{})
	if r.ContentLength != 0 {
		p.body = &patientBody{ReadCloser: r.Body, passage: p}
		r.Body = p.body
		p.body.extend()                  // also for a body that nobody reads
		_ = p.control.EnableFullDuplex() // an answer may begin before the body has ended
	}
	p.serve(r)
	p.extend() // for the last part, which is sent from here on
}

func (p *passage) serve(r *http.Request) {
	path, wrong := readRequest(r)
	if wrong.Code != "" {
		common(p)
		write(p, p.in, wrong)
		return
	}
	rule := p.guard.Rules().At(r.Method, path)
	if !rule.Public {
		cred := edge.BearerOf(r)
		d := demandOf(rule, p.in)
		d.Fault = cred.Fault
		verdict := p.guard.Live.Decide(cred.Text, d)
		edge.Judged(r, verdict.Reason)
		if !verdict.Allow() {
			f := refusal{verdict, cred, d}
			told, challenge := f.problem()
			common(p)
			f.write(p, p.in, told, challenge)
			return
		}
		edge.TellQuota(p.Header(), verdict.Quota)
		p.who = &verdict.Identity
	}
	p.path, p.proxy = path, p.guard.proxy
	p.proxy.Rewrite = p.rewrite
	p.proxy.ServeHTTP(p, r)
}

// demandOf is what a rule asks; a token of a User is the least.
func demandOf(rule pathrule.Rule, in edge.Inbound) liveset.Demand {
	d := liveset.Demand{Purpose: liveset.ForToken, Tags: rule.Tags, From: in.Addr, Via: in.Via, RequestID: in.RequestID}
	if rule.Role == authority.RoleAdmin {
		d.Role = rule.Role
	}
	return d
}

// readRequest answers the path of a request that has one reading, or why there
// are two.
func readRequest(r *http.Request) (pathrule.Path, problem) {
	refuse := func(detail string) (pathrule.Path, problem) {
		return pathrule.Path{}, problem{Status: http.StatusBadRequest, Code: "request.ambiguous", Detail: detail}
	}
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return pathrule.Path{}, problem{Status: http.StatusNotImplemented, Code: "method.not_implemented", Detail: "CONNECT and TRACE are not passed on."}
	case !pathrule.IsMethod(r.Method):
		return refuse("A method is in capitals.")
	}
	for name := range r.Header {
		if isOneOf(name, methodOverrides()) {
			return refuse("The method of a request is that of its first line.")
		}
	}
	escaped := r.URL.RawPath // as it was sent, if it is more than one way to write the path
	if escaped == "" {
		escaped = r.URL.EscapedPath()
	}
	path, ok := pathrule.Read(escaped)
	if !ok || r.URL.Opaque != "" {
		return refuse("Servers read this path in different ways: send it without empty, . and .. segments, semicolons, backslashes and escaped slashes.")
	}
	return path, problem{}
}

// failed answers for an API that did not.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	p := w.(*passage) // whom the proxy was given
	var wait net.Error
	told := problem{Status: http.StatusBadGateway, Code: "upstream.unreachable", Detail: "The API behind this address does not answer."}
	switch {
	case p.body.has(stalled): // which has ended the context, too
		w.Header().Set("Connection", "close")
		told = problem{Status: http.StatusRequestTimeout, Code: "request.timeout", Detail: "The body of the request did not come to its end."}
	case p.body.has(broken), r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the client is gone
	case errors.As(err, &wait) && wait.Timeout():
		told = problem{Status: http.StatusGatewayTimeout, Code: "upstream.timeout", Detail: "The API behind this address takes too long."}
	}
	if told.Status >= http.StatusInternalServerError {
		p.guard.Log.Warn("the upstream did not answer", "request_id", p.in.RequestID, "code", told.Code, "cause", causeOf(err))
	}
	common(w)
	write(w, p.in, told)
}

// causeOf tells of an error what the network said. Anything else may quote what
// the API sent.
func causeOf(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	return fmt.Sprintf("%T", err)
}

// buffers are those that bodies are copied with.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buffer[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buffer []byte) {
	if len(buffer) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(buffer))
	}
}
