package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// What replaces the state of a fleet, or takes it elsewhere, would undo what another
// node answers meanwhile: so it waits until there is none.
func TestAFleetIsRestoredAndMovedOnlyWhenEveryNodeHasStopped(t *testing.T) {
	t.Parallel()
	certificate, key := pair(t, t.TempDir(), "localhost")
	f := found(t, 2, certificate, key)
	one, other := f.nodes[0], f.nodes[1]
	file, passphrase := filepath.Join(f.folder, "b.age"), write(t, filepath.Join(f.folder, "passphrase"), "four words of this test\n")
	if got := f.asks(t, one, "backup", "create", "--out", file, "--passphrase-file", passphrase); got.code != 0 {
		t.Fatal(got.err)
	}
	stop := func(m *fleetMember) {
		t.Helper()
		if got := f.asks(t, m, "stop"); got.code != 0 {
			t.Fatal(got.err)
		}
	}
	restore := []string{"backup", "restore", file, "--passphrase-file", passphrase, "--dry-run"}
	migrate := []string{"store", "migrate", "--to", "sqlite:" + filepath.Join(one.dir, "mint.db"), "--dry-run"}
	stop(one)
	for _, args := range [][]string{restore, migrate} {
		got := f.asks(t, one, args...)
		if got.code != 6 || !strings.Contains(got.err, "other nodes work on the same database: ") || !strings.Contains(got.err, other.address) {
			t.Errorf("%s beside another node: exit code %d\n%s", args[0], got.code, got.err)
		}
	}
	stop(other)
	for _, args := range [][]string{restore, migrate} {
		if got := f.asks(t, one, args...); got.code != 0 {
			t.Errorf("%s when every node has stopped: exit code %d\n%s", args[0], got.code, got.err)
		}
	}
}
