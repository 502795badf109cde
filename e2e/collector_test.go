package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// collector takes what an OpenTelemetry collector would.
type collector struct {
	*httptest.Server
	mu  sync.Mutex
	all bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := new(collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all.Write(body)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) received() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all.String()
}
