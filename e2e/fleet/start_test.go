package fleet

import (
	"net/http"
	"strings"
	"testing"
)

// TestANodeStartsWhereTheDatabaseTakesNoChanges has a node come back while nothing can
// be written, as during a change of the primary: its verdicts need nothing else, and
// its counts are saved later.
func TestANodeStartsWhereTheDatabaseTakesNoChanges(t *testing.T) {
	f := newFleet(t, 1)
	n := f.nodes[0]
	n.kill()
	must(t, f.cluster.do(t.Context(), "ALTER ROLE mintmark SET default_transaction_read_only = on"))
	n.start(t)
	n.awaitReady(t)
	if a := n.ask(t.Context(), "GET", "/auth/verify", f.authorization(), nil); a.status != http.StatusOK {
		t.Errorf("a token: %d %s", a.status, a.body)
	}
	made := n.ask(t.Context(), "POST", "/api/v1/tokens", f.authorization(), map[string]any{"client_id": "later", "role": "user"})
	if made.status != http.StatusServiceUnavailable || made.field("code") != "store.read_only" {
		t.Errorf("a change: %d %s", made.status, made.body)
	}
	if log := n.log(t); strings.Contains(log, "counts of use are not saved") {
		t.Error(log)
	}
}
