package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificate is a pair of files that is read again when one of them changes. A
// pair that cannot be read leaves the one before in use.
type certificate struct {
	certificate, key string

	mu    sync.Mutex
	pair  *tls.Certificate
	stamp [2]time.Time
}

func newCertificate(cert, key string) (*certificate, error) {
	c := &certificate{certificate: cert, key: key}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the TLS certificate: %w", err)
	}
	c.pair, c.stamp = &pair, c.stamps()
	return c, nil
}

func (c *certificate) stamps() (out [2]time.Time) {
	for i, path := range []string{c.certificate, c.key} {
		if info, err := os.Stat(path); err == nil {
			out[i] = info.ModTime()
		}
	}
	return out
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.stamps(); now != c.stamp {
		if pair, err := tls.LoadX509KeyPair(c.certificate, c.key); err == nil {
			c.pair, c.stamp = &pair, now
		}
	}
	return c.pair, nil
}
