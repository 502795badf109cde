package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/durable"
)

// A start within a trial puts metrics where the server was before: that is no reason
// to stay where nobody looks for it.
func TestATrialGoesBackToAnAddressThatMetricsHave(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			metrics, there := free(t), free(t)
			_, port, err := net.SplitHostPort(metrics)
			if err != nil {
				t.Fatal(err)
			}
			dir := initialised(t, net.JoinHostPort(host, port))
			applies(t, dir, time.Now(), 6*time.Second, map[string]string{config.Listen: there, config.Metrics: metrics})
			served := serves(t, durable.Files{}, dir)
			heard(t, there, true)
			heard(t, there, false)
			healthy(t, metrics)
			if said := served(); !strings.Contains(said, "the settings before the trial are in force again") || strings.Contains(said, "this is tried again") {
				t.Errorf("it says %s", said)
			}
		})
	}
}

// healthy asks a server what metrics do not answer.
func healthy(t *testing.T, address string) {
	t.Helper()
	heard(t, address, true)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Body.Close(); err != nil || got.StatusCode != http.StatusOK {
		t.Errorf("got %s, %v", got.Status, err)
	}
}
