package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// certificate is a pair of files that is read again when one of them changes. A
// pair that cannot be read leaves the one before in use.
type certificate struct {
	certificate, key string
	log              *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]os.FileInfo // of the pair
	failed [2]os.FileInfo // of what could not be read, to say it once
}

func newCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certificate: cert, key: key, log: log}
	c.seen = c.look()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the TLS certificate: %w", err)
	}
	c.pair = &pair
	return c, nil
}

func (c *certificate) look() (out [2]os.FileInfo) {
	for i, path := range []string{c.certificate, c.key} {
		out[i], _ = os.Stat(path)
	}
	return out
}

// same reports whether two looks saw the same files with the same content.
func same(a, b [2]os.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil {
			if a[i] != b[i] {
				return false
			}
			continue
		}
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	if same(now, c.seen) || same(now, c.failed) {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certificate, c.key)
	if err != nil {
		c.failed = now
		c.log.Error("the TLS certificate changed and cannot be used; the one before stays", "error", err)
		return c.pair, nil
	}
	c.pair, c.seen = &pair, now
	c.log.Info("the TLS certificate changed", "certificate", c.certificate)
	return c.pair, nil
}
