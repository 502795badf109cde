package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mintmark/internal/config"
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
	closed bool
	left   sync.WaitGroup // requests under way at what was left
}

func (s *server) listeners(console http.Handler) *listeners {
	return &listeners{
		server: s, public: s.handler("", console), figures: s.metrics.Handler(), failed: make(chan error, 1), pairs: make(map[[2]string]*certificate),
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
// want any more. After an error what was there before is still there, or its port
// could not be had back, and the status says why.
func (l *listeners) follow(ctx context.Context, settings config.Settings) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	err := l.move(ctx, settings)
	if err == nil {
		l.deaf.Store(nil)
		return nil
	}
	why := strings.ReplaceAll(err.Error(), "\n", "; ")
	l.deaf.Store(&why)
	return err
}

func (l *listeners) move(ctx context.Context, settings config.Settings) error {
	wanted := l.wanted(settings)
	for _, p := range wanted {
		if slices.ContainsFunc(l.open, func(o opened) bool { return o.same(p) }) {
			continue
		}
		if err := l.replace(ctx, p); err != nil {
			return err
		}
	}
	l.open = slices.DeleteFunc(l.open, func(o opened) bool {
		if slices.ContainsFunc(wanted, o.same) {
			return false
		}
		l.leaves(o, settings.Drain)
		return true
	})
	return nil
}

// replace opens an entrance. A port cannot be listened on twice, so what has it for
// the same purpose lets go of it first, and gets it back if it has to. What cannot
// be had back is open no more: to follow once more tries it again.
func (l *listeners) replace(ctx context.Context, p entrance) error {
	next, err := l.ready(p)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(l.open, func(o opened) bool {
		return o.property == p.property && port(p.address) != "" && port(o.address) == port(p.address)
	})
	if i < 0 {
		if err = l.enter(ctx, &next); err == nil {
			l.open = append(l.open, next)
		}
		return err
	}
	before := l.open[i]
	before.leave.Store(true)
	_ = before.at.Close()
	l.leaves(before, l.running.Settings().Drain)
	if err = l.enter(ctx, &next); err == nil {
		l.open[i] = next
		return nil
	}
	again, lost := l.ready(before.entrance)
	if lost == nil {
		lost = l.enter(ctx, &again)
	}
	if lost != nil {
		l.open = slices.Delete(l.open, i, i+1)
		return errors.Join(err, lost)
	}
	l.open[i] = again
	return err
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
	at, err := l.listen(ctx, o.property, o.address)
	if f := (*failure)(nil); errors.As(err, &f) && f.code == "server.port_in_use" {
		return f.advise(l.program() + " config properties set " + o.property + " HOST:PORT, then " + l.program() + " config apply, chooses another")
	}
	if err != nil {
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

// leaves lets requests that are under way finish, while the server goes on.
func (l *listeners) leaves(o opened, patience time.Duration) {
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

// listen opens one listener, and says who has the port when it cannot.
func (k *core) listen(ctx context.Context, property, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		by := "another process"
		if who := home.Holder(address); who != "" {
			by = who
		}
		return nil, fail(exitFailed, "server.port_in_use", "%s is already in use by %s", address, by)
	}
	if err != nil {
		return nil, fail(exitFailed, property, "listen on %s: %s", address, err)
	}
	return l, nil
}

// checkListen says why the running server could not listen on an address in the
// place of the one that it has.
func (k *core) checkListen(address string) error {
	if !k.serving {
		return nil
	}
	host, wanted, err := net.SplitHostPort(address)
	if err == nil && wanted == port(k.running.Settings().Listen) {
		address = net.JoinHostPort(host, "0") // the port is this server's own
	}
	l, err := k.listen(context.Background(), config.Listen, address)
	if err != nil {
		return err
	}
	return l.Close()
}
