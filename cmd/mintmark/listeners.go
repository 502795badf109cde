package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
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

// opened is a service and where it listens.
type opened struct {
	service
	at net.Listener
}

// open opens every listener, the public one first, or none. What listens on the
// network has the server's certificate, if there is one; metrics do not.
func (s *server) open(ctx context.Context, settings config.Settings, console http.Handler) (all []opened, err error) {
	defer func() {
		if err != nil {
			for _, o := range all {
				err = errors.Join(err, o.at.Close())
			}
		}
	}()
	var pair *certificate
	if settings.Certificate != "" {
		if pair, err = newCertificate(settings.Certificate, settings.Key, s.log); err != nil {
			return nil, fail(exitInvalid, "server.tls", "%s", err)
		}
	}
	add := func(property, address string, answers service, protocols ...string) error {
		l, err := s.listen(ctx, property, address)
		if err != nil {
			return err
		}
		if property != config.ExtAuthzListen { // gRPC sets hardly any deadline, and wants the connection itself
			l = edge.Unhurried(l, time.Now)
		}
		if pair != nil && len(protocols) > 0 {
			l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get, NextProtos: protocols})
		}
		all = append(all, opened{answers, l})
		if len(all) > 1 {
			s.log.Info("also listening", "property", property, "address", l.Addr().String())
		}
		return nil
	}
	if err := add(config.Listen, settings.Listen, edge.Server(s.handler("", console), s.log, time.Now), "h2", "http/1.1"); err != nil {
		return all, err
	}
	if settings.Metrics != "" {
		if err := add(config.Metrics, settings.Metrics, edge.Server(s.metrics.Handler(), s.log, time.Now)); err != nil {
			return all, err
		}
	}
	if address := settings.Gateways.ExtAuthz; address != "" {
		answers, err := s.extAuthz()
		if err = errors.Join(err, add(config.ExtAuthzListen, address, answers, "h2")); err != nil {
			return all, err
		}
	}
	if g := settings.Gateways; g.GuardUpstream != "" {
		answers, err := s.guard(g)
		if err = errors.Join(err, add(config.GuardListen, g.GuardListen, answers, "h2", "http/1.1")); err != nil {
			return all, err
		}
	}
	if s.dir != "" {
		local, err := s.dir.Listen(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, opened{edge.Server(s.handler(s.operator, nil), s.log, time.Now), local})
	}
	return all, nil
}

// listen opens one listener, and says who has the port when it cannot.
func (s *server) listen(ctx context.Context, property, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		by := "another process"
		if who := home.Holder(address); who != "" {
			by = who
		}
		return nil, fail(exitFailed, "server.port_in_use", "%s is already in use by %s", address, by).advise(s.program() + " config properties set " + property + " HOST:PORT, then " + s.program() + " config apply, chooses another")
	}
	if err != nil {
		return nil, fail(exitFailed, property, "listen on %s: %s", address, err)
	}
	return l, nil
}
