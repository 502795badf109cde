package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// ahead sets the clock that nodes see in their database. The database's own stays
// as it is, and so does that of this machine: what comes first in the path of
// their role is another function of the same name.
func (d *database) ahead(t *testing.T, interval string) {
	t.Helper()
	d.must(t, "-d", "dbname=mintmark host="+d.dir+" port="+d.port+" user=postgres", "-c", "ALTER ROLE mintmark SET search_path = public, pg_catalog",
		"-c", "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '"+interval+"' $$")
}

func TestANodeWhoseClockDiffersFromItsDatabasesIsNotReadyUntilItIsMended(t *testing.T) {
	t.Parallel()
	certificate, key := pair(t, t.TempDir(), "localhost")
	f := found(t, 1, certificate, key)
	node := f.nodes[0]
	token := f.program(t, "--home", node.dir, "token", "create", "--client-id", "ci", "--role", "user")
	f.database.ahead(t, "29 s")
	node.kill()
	node.start(t)
	for _, interval := range []string{"31 s", "-31 s"} {
		f.database.ahead(t, interval)
		eventually(t, "with "+interval+" between the clocks the node is not ready", func() bool { return node.answers("/readyz", "") == http.StatusServiceUnavailable })
		if got := node.answers("/auth/verify", token); got != http.StatusOK {
			t.Errorf("%s: a verdict meanwhile: %d", interval, got)
		}
		got := f.asks(t, node, "doctor", "--no-headers", "--columns", "check,state,fact")
		if !strings.Contains(got.out, "the clock differs from the database's by 31s") {
			t.Errorf("%s: the doctor of %s says\n%s", interval, filepath.Base(node.dir), got.out)
		}
		f.database.ahead(t, "0 s")
		eventually(t, "the node is ready again", func() bool { return node.answers("/readyz", "") == http.StatusOK })
	}
	if got := strings.Count(node.said.String(), `msg="not ready" reason="the clock differs from the store's by `); got != 2 {
		t.Errorf("its log says so %d times, want 2", got)
	}
}
