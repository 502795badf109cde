package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/edge"
	"mintmark/internal/home"
)

// service is what answers at one listener; an *http.Server is one.
type service interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
	Close() error
}

// entrance is where a server is to be reached, with all that it takes to open it.
type entrance struct {
	property, address string
	certificate, key  string   // "": without TLS
	protocols         []string // of TLS
	answers           func() (service, error)
}

func (p entrance) same(other entrance) bool {
	return p.property == other.property && p.address == other.address && p.certificate == other.certificate && p.key == other.key
}

// opened is a service and where it listens.
type opened struct {
	service
	entrance
	pair  *certificate // nil: without TLS
	at    net.Listener
	leave *atomic.Bool // it is not wanted any more: that it ends is no failure
}

// listeners are what a server has open, and follow what its settings want.
type listeners struct {
	*server
	public, figures http.Handler // of the public address, and of metrics
	failed          chan error   // of the first that ends by itself

	mu     sync.Mutex
	open   []opened // on the network; none of them is closed
	local  []opened
	begun  bool // they answer; until then who comes waits
	pairs  map[[2]string]*certificate
	vain   map[string]vain // by property
	closed bool
	left   sync.WaitGroup // requests under way at what was left
}

// vain is an entrance for which what works has let go of its port once, for nothing.
type vain struct {
	entrance
	why error
}

// unheardError says why entrances are not open, and whose they are.
type unheardError struct {
	properties []string
	why        []error
}

func (e *unheardError) Error() string   { return errors.Join(e.why...).Error() }
func (e *unheardError) Unwrap() []error { return e.why }

func (s *server) listeners(console http.Handler) *listeners {
	return &listeners{
		server: s, public: s.handler("", console), figures: s.metrics.Handler(), failed: make(chan error, 1), pairs: make(map[[2]string]*certificate),
		vain: make(map[string]vain),
	}
}

// wanted are the entrances of the network. What listens there
// has the server's certificate, if there is one; metrics do not.
func (l *listeners) wanted(settings config.Settings) []entrance {
	web := func(h http.Handler) func() (service, error) {
		return func() (service, error) { return edge.Server(h, l.log, time.Now), nil }
	}
	all := []entrance{{property: config.Listen, address: settings.Listen, protocols: []string{"h2", "http/1.1"}, answers: web(l.public)}}
	if settings.Metrics != "" {
		all = append(all, entrance{property: config.Metrics, address: settings.Metrics, answers: web(l.figures)})
	}
	if address := settings.Gateways.ExtAuthz; address != "" {
		all = append(all, entrance{property: config.ExtAuthzListen, address: address, protocols: []string{"h2"}, answers: l.extAuthz})
	}
	if g := settings.Gateways; g.GuardUpstream != "" {
		all = append(all, entrance{
			property: config.GuardListen, address: g.GuardListen, protocols: []string{"h2", "http/1.1"},
			answers: func() (service, error) { return l.guard(g) },
		})
	}
	for i := range all {
		if len(all[i].protocols) > 0 {
			all[i].certificate, all[i].key = settings.Certificate, settings.Key
		}
	}
	return all
}

// follow opens what the settings want and is not open, and leaves what they do not
// want any more. Its error is an *unheardError: of those entrances what was there
// before is still there, or its port could not be had back, and the status says why.
func (l *listeners) follow(ctx context.Context, settings config.Settings) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	unheard := l.move(ctx, settings)
	if unheard == nil {
		l.deaf.Store(nil)
		return nil
	}
	why := strings.ReplaceAll(unheard.Error(), "\n", "; ")
	l.deaf.Store(&why)
	return unheard
}

func (l *listeners) move(ctx context.Context, settings config.Settings) *unheardError {
	wanted := l.wanted(settings)
	var unheard unheardError
	l.leave(settings, func(o opened) bool { // what has no place any more may be in the way of what has one
		return !slices.ContainsFunc(wanted, func(p entrance) bool { return o.property == p.property })
	})
	for _, p := range wanted {
		if !slices.ContainsFunc(l.open, func(o opened) bool { return o.same(p) }) {
			if err := l.replace(ctx, p); err != nil {
				unheard.properties, unheard.why = append(unheard.properties, p.property), append(unheard.why, err)
				continue
			}
		}
		l.leave(settings, func(o opened) bool { return o.property == p.property && !o.same(p) })
	}
	if len(unheard.why) == 0 {
		return nil
	}
	return &unheard
}

// leave leaves all of a kind.
func (l *listeners) leave(settings config.Settings, kind func(opened) bool) {
	l.open = slices.DeleteFunc(l.open, func(o opened) bool {
		if !kind(o) {
			return false
		}
		l.leaves(o, settings.Drain)
		return true
	})
}

// replace opens an entrance. A port cannot be listened on twice, so what has it for
// the same purpose lets go of it first, and gets it back if it has to: after that it
// does not let go again before forget. What cannot be had back is open no more: to
// follow once more tries it again.
func (l *listeners) replace(ctx context.Context, p entrance) error {
	if before, is := l.vain[p.property]; is && before.same(p) {
		return before.why
	}
	next, err := l.ready(p)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(l.open, func(o opened) bool {
		return o.property == p.property && port(p.address) != "" && port(o.address) == port(p.address)
	})
	if i < 0 {
		if err := l.enter(ctx, &next); err != nil {
			return l.refused(p, err)
		}
		l.open = append(l.open, next)
		return nil
	}
	before := l.open[i]
	l.leaves(before, l.running.Settings().Drain)
	if err = l.enter(ctx, &next); err == nil {
		l.open[i] = next
		return nil
	}
	again, lost := l.ready(before.entrance)
	if lost == nil {
		lost = l.enter(ctx, &again)
	}
	err = l.refused(p, err) // not before: it looks around, while nobody answers
	if lost != nil {
		l.open = slices.Delete(l.open, i, i+1)
		return errors.Join(err, l.refused(before.entrance, lost))
	}
	l.open[i] = again
	l.vain[p.property] = vain{p, err}
	return err
}

// forget lets what was tried in vain be tried once more.
func (l *listeners) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.vain)
}

// ready makes what answers at an entrance, and all else that can fail before it is
// listened on.
func (l *listeners) ready(p entrance) (opened, error) {
	o := opened{entrance: p, leave: new(atomic.Bool)}
	var err error
	if p.certificate != "" {
		if o.pair, err = l.pair(p.certificate, p.key); err != nil {
			return opened{}, fail(exitInvalid, "server.tls", "%s", err)
		}
	}
	o.service, err = p.answers()
	return o, err
}

// enter listens where o is to be reached, and lets it answer if the others do.
func (l *listeners) enter(ctx context.Context, o *opened) error {
	at, err := new(net.ListenConfig).Listen(ctx, "tcp", o.address)
	if err != nil {
		_ = o.Close()
		return err
	}
	if o.property != config.ExtAuthzListen { // gRPC sets hardly any deadline, and wants the connection itself
		at = edge.Unhurried(at, time.Now)
	}
	if o.pair != nil {
		at = tls.NewListener(at, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.pair.get, NextProtos: o.protocols})
	}
	o.at = at
	l.log.Info("listening", "property", o.property, "address", at.Addr().String())
	if l.begun {
		l.serve(*o)
	}
	return nil
}

// pair is the certificate of two files, which all entrances share.
func (l *listeners) pair(cert, key string) (*certificate, error) {
	files := [2]string{cert, key}
	if l.pairs[files] == nil {
		pair, err := newCertificate(cert, key, l.log)
		if err != nil {
			return nil, err
		}
		l.pairs[files] = pair
	}
	return l.pairs[files], nil
}

// begin lets all that is open answer, and what is opened from now on.
func (l *listeners) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	for _, o := range slices.Concat(l.open, l.local) {
		l.serve(o)
	}
}

func (l *listeners) serve(o opened) {
	go func() {
		if err := o.Serve(o.at); !o.leave.Load() {
			select {
			case l.failed <- err:
			default: // one failure is enough to stop
			}
		}
	}()
}

// leaves lets go of a port, and lets requests that are under way finish, while the
// server goes on.
func (l *listeners) leaves(o opened, patience time.Duration) {
	o.leave.Store(true)
	_ = o.at.Close()
	l.log.Info("no longer listening", "property", o.property, "address", o.at.Addr().String())
	l.left.Go(func() { l.finish(o, patience) })
}

// finish ends a service: its requests have as long as patience says.
func (l *listeners) finish(o opened, patience time.Duration) {
	o.leave.Store(true)
	_ = o.at.Close()
	ctx, cancel := context.WithTimeout(context.Background(), max(patience, time.Millisecond))
	defer cancel()
	if err := o.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		l.log.Warn("requests were cut off", "error", err)
		_ = o.Close()
	}
}

// openLocal opens the socket of the home. It stays where it is.
func (l *listeners) openLocal(ctx context.Context) error {
	at, err := l.dir.Listen(ctx)
	if err != nil {
		return err
	}
	l.local = append(l.local, opened{service: edge.Server(l.handler(l.operator, nil), l.log, time.Now), at: at, leave: new(atomic.Bool)})
	return nil
}

// address is the one that people are told, once all listeners are open.
func (l *listeners) address() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	public := slices.IndexFunc(l.open, func(o opened) bool { return o.property == config.Listen })
	return l.open[public].at.Addr()
}

// drain lets requests that are under way finish, everywhere.
func (l *listeners) drain(patience time.Duration) {
	l.mu.Lock()
	l.closed = true
	all := slices.Concat(l.open, l.local)
	l.mu.Unlock()
	for _, o := range all {
		l.left.Go(func() { l.finish(o, patience) })
	}
	l.left.Wait()
}

// port is that of an address, "" when it has none of its own.
func port(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return ""
	}
	return port
}

// refused says why an entrance cannot be listened on, and who has its port.
func (l *listeners) refused(p entrance, err error) error {
	if f := (*failure)(nil); errors.As(err, &f) {
		return err // it says so itself
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fail(exitFailed, p.property, "listen on %s: %s", p.address, err)
	}
	by := home.Holder(p.address)
	if by == "" || strings.HasSuffix(by, " (pid "+strconv.Itoa(os.Getpid())+")") {
		by = "another process" // this one has the port at another address
		if i := slices.IndexFunc(l.open, func(o opened) bool { return o.property != p.property && control.Meet(o.address, p.address) }); i >= 0 {
			by = "this server, for " + l.open[i].property
		}
	}
	hint := l.program() + " config properties set " + p.property + " HOST:PORT, then " + l.program() + " config apply, chooses another"
	if l.dir == "" { // nothing can be staged
		hint = "--listen HOST:PORT chooses another"
	}
	return fail(exitFailed, "server.port_in_use", "%s is already in use by %s", p.address, by).advise(hint)
}

// check says why the server could not listen on an address in the place of the one
// that it has, or is about to leave.
func (l *listeners) check(address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	probe := address
	if host, wanted, err := net.SplitHostPort(address); err == nil && slices.ContainsFunc(l.open, func(o opened) bool {
		return o.property == config.Listen && port(o.address) == wanted
	}) {
		probe = net.JoinHostPort(host, "0") // the port is this server's own
	}
	at, err := new(net.ListenConfig).Listen(context.Background(), "tcp", probe)
	if err != nil {
		return l.refused(entrance{property: config.Listen, address: address}, err)
	}
	return at.Close()
}
