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
	if log := n.log(t); strings.Contains(log, "counts of use are not saved") {
		t.Error(log)
	}
}
