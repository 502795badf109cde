package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mintmark/api"
)

// What a node has counted is in the database, in tables that the owner has made
// and the node's role can write to, and the others tell it.
func TestNodesOfAFleetTellWhatAnotherHasCounted(t *testing.T) {
	t.Parallel()
	own := filepath.Join(t.TempDir(), "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	certificate, key := pair(t, own, "localhost")
	f := found(t, 2, certificate, key)
	stops, stays := f.nodes[0], f.nodes[1]
	token := f.program(t, "--home", stops.dir, "token", "create", "--client-id", "ci", "--role", "user")
	for _, m := range f.nodes {
		eventually(t, "every node knows the token", func() bool {
			return m.answers("/readyz", "") == http.StatusOK && m.answers("/auth/verify", token) == http.StatusOK
		})
	}
	const more = 4
	for range more {
		if got := stops.answers("/auth/verify", token); got != http.StatusOK {
			t.Fatalf("it answers %d", got)
		}
	}
	if err := stops.server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := stops.server.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stops.said)
	}
	var usage api.TokenUsage
	if err := json.Unmarshal([]byte(f.program(t, "--home", stays.dir, "token", "usage", "ci", "-o", "json")), &usage); err != nil {
		t.Fatal(err)
	}
	if n := usage.Hours[len(usage.Hours)-1].Current; n < more+2 {
		t.Errorf("%d requests of at least %d", n, more+2)
	}
	if _, err := os.Stat(filepath.Join(stays.dir, "usage.db")); !os.IsNotExist(err) {
		t.Errorf("it keeps counts of its own: %v", err)
	}
	f.program(t, "--home", stays.dir, "key", "rotate", "--overlap", "14d")
	if got := f.asks(t, stays, "key", "evidence"); got.code != 0 || !strings.Contains(got.err, "; what other nodes have seen was read at ") {
		t.Errorf("the evidence says %q", got.err)
	}
	var status api.Status
	if err := json.Unmarshal([]byte(f.program(t, "--home", stays.dir, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if u := status.Usage; !u.Durable || u.OthersAt == nil || u.Problem != "" {
		t.Errorf("the status says %+v", u)
	}
}
