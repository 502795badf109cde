package e2e

import (
	"bytes"
	"encoding/base64"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// asks runs a node's manager with the passwords that the fleet has, and answers
// what it said.
func (f *founded) asks(t *testing.T, m *fleetMember, args ...string) said {
	t.Helper()
	command := exec.Command(filepath.Join(m.dir, "manager"), args...)
	command.Env = m.env
	return runs(t, command)
}

// The owner upgrades while a node serves. Which steps there are is the store's
// tests' business: here it is who may, and what is said.
func TestTheSchemaIsUpgradedByTheOwnerWhileNodesServe(t *testing.T) {
	t.Parallel()
	certificate, key := pair(t, t.TempDir(), "localhost")
	f := found(t, 1, certificate, key)
	node := f.nodes[0]
	passwords := filepath.Join(f.folder, "pgpass")
	put(t, passwords, append([]byte(read(t, passwords)), "localhost:"+f.database.port+":mintmark:mintmark_owner:of the owner\n"...))
	version := func(change string) {
		f.database.must(t, "-d", "dbname=mintmark host="+f.database.dir+" port="+f.database.port+" user=postgres", "-c", "UPDATE head SET "+change)
	}

	for name, args := range map[string][]string{
		"as the owner": {"--as", f.as("mintmark_owner")}, "as a node": nil,
	} {
		got := f.asks(t, node, append([]string{"store", "upgrade"}, args...)...)
		if got.code != 0 || !strings.Contains(got.err, "Nothing to do: postgres://localhost:"+f.database.port+"/mintmark has schema 1.") {
			t.Errorf("%s: exit code %d\n%s", name, got.code, got.err)
		}
	}
	if got := f.asks(t, node, "store", "upgrade", "-o", "json"); got.code != 0 || !strings.Contains(got.out, `"kind": "Upgraded"`) || !strings.Contains(got.out, `"to": "1.`) {
		t.Errorf("for a program: exit code %d\n%s%s", got.code, got.out, got.err)
	}

	// From where there is no node, as in a job of a cluster.
	alone := exec.Command(filepath.Join(f.folder, "mintmark"), "store", "upgrade", "--as", f.as("mintmark_owner"))
	alone.Env = node.env
	put(t, alone.Path, []byte(read(t, filepath.Join(node.dir, "manager"))))
	if err := os.Chmod(alone.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := runs(t, alone); got.code != 0 || !strings.Contains(got.err, "has schema 1.") {
		t.Errorf("without a home: exit code %d\n%s", got.code, got.err)
	}

	elsewhere := strings.Replace(f.as("mintmark_owner"), "/mintmark?", "/other?", 1)
	open := strings.Replace(f.as("mintmark_owner"), "mintmark_owner@", "mintmark_owner:of%20the%20owner@", 1)
	for name, c := range map[string]struct{ as, want string }{
		"another database":           {elsewhere, "another database than the store's"},
		"a password in the address":  {open, "a password has no place in the address"},
		"not the address of a store": {"memory", "--as: "},
	} {
		got := f.asks(t, node, "store", "upgrade", "--as", c.as)
		if got.code != 7 || !strings.Contains(got.err, c.want) || strings.Contains(got.err, "of%20the%20owner") {
			t.Errorf("%s: exit code %d\n%s", name, got.code, got.err)
		}
	}

	version("minor = -1") // a step is due, and a node may not make it
	if got := f.asks(t, node, "store", "upgrade"); got.code != 7 || !strings.Contains(got.err, "run mintmark store upgrade as the owner of the tables") {
		t.Errorf("a node that may not: exit code %d\n%s", got.code, got.err)
	}
	version("major = 2, minor = 0")
	if got := f.asks(t, node, "store", "upgrade", "--as", f.as("mintmark_owner")); got.code != 7 || !strings.Contains(got.err, "start the version that it belongs to") {
		t.Errorf("an older program: exit code %d\n%s", got.code, got.err)
	}
	if got := node.answers("/readyz", ""); got != http.StatusOK {
		t.Errorf("the node answers %d meanwhile", got)
	}
	f.database.stop(t)
	if got := f.asks(t, node, "store", "upgrade"); got.code != 9 {
		t.Errorf("without the database: exit code %d\n%s", got.code, got.err)
	}
}

func TestANodeThatStartsBeforeItsDatabaseWaitsForItAndAnswers503(t *testing.T) {
	t.Parallel()
	certificate, key := pair(t, t.TempDir(), "localhost")
	f := found(t, 1, certificate, key)
	node := f.nodes[0]
	token := f.program(t, "--home", node.dir, "token", "create", "--client-id", "ci", "--role", "user")
	f.database.stop(t)
	node.kill()
	if got := f.asks(t, node, "token", "list"); got.code != 9 || !strings.Contains(got.err, "cannot be used now") {
		t.Errorf("a command: exit code %d\n%s", got.code, got.err)
	}
	if got := f.asks(t, node, "doctor"); got.code != 10 || !strings.Contains(got.out, "cannot be used now") {
		t.Errorf("the doctor: exit code %d\n%s%s", got.code, got.out, got.err)
	}
	node.run(t)
	for _, path := range []string{"/auth/verify", "/readyz", "/api/v1/tokens"} {
		eventually(t, path+" answers 503", func() bool { return node.answers(path, token) == http.StatusServiceUnavailable })
	}
	f.database.run(t)
	eventually(t, "the node answers by itself", func() bool { return node.answers("/auth/verify", token) == http.StatusOK })

	// It says in its log why it is not ready, and again only when that has changed,
	// however often it is asked; who asks is not told.
	f.database.stop(t)
	eventually(t, "the node knows nothing any more", func() bool {
		return node.answers("/readyz", "") == http.StatusServiceUnavailable && node.answers("/auth/verify", token) == http.StatusServiceUnavailable
	})
	f.database.run(t)
	eventually(t, "the node says that it is ready again", func() bool { return strings.Contains(node.said.String(), `msg="ready again"`) })
	last := ""
	for line := range strings.Lines(node.said.String()) {
		reason := regexp.MustCompile(`msg="(ready again|not ready)".*`).FindString(line)
		if reason == "" {
			continue
		}
		if reason == last {
			t.Errorf("it says again what it has said last: %s", line)
		}
		last = reason
	}
	for _, reason := range []string{"the store is out of reach", "the live set is not loaded"} {
		if !strings.Contains(node.said.String(), `msg="not ready" reason="`+reason) {
			t.Errorf("it does not say that %s:\n%s", reason, node.said.String())
		}
	}
}

// The figures of a fleet: of each node that lives, and none when they are old.
func TestANodeShowsTheFleetAsItSeesIt(t *testing.T) {
	t.Parallel()
	certificate, key := pair(t, t.TempDir(), "localhost")
	f := found(t, 2, certificate, key)
	address := freeAddress(t)
	f.program(t, "--home", f.nodes[0].dir, "config", "properties", "set", "metrics.listen", address)
	f.program(t, "--home", f.nodes[0].dir, "config", "apply", "--yes")
	f.nodes[0].kill()
	f.nodes[0].start(t)
	shown := func() string { return call(t, request{url: "http://" + address + "/metrics"}).body }
	eventually(t, "both nodes are seen, and the one that was killed is not any more", func() bool {
		return strings.Contains(shown(), "mintmark_fleet_nodes{ready=\"true\"} 2\n")
	})
	text := shown()
	if !strings.Contains(text, "mintmark_fleet_nodes{ready=\"false\"} 0\n") || !strings.Contains(text, "mintmark_store_alarms_total 0\n") {
		t.Errorf("a fleet without a fault shows\n%s", text)
	}
	skew := regexp.MustCompile(`(?m)^mintmark_fleet_clock_skew_seconds (-?[0-9.e-]+)$`).FindStringSubmatch(text)
	if skew == nil {
		t.Fatal("no clock skew is shown")
	}
	if s, err := strconv.ParseFloat(skew[1], 64); err != nil || math.Abs(s) > 1 {
		t.Errorf("the clock of this machine differs from its own by %s", skew[1])
	}
	f.database.stop(t)
	eventually(t, "what it cannot see is not told", func() bool { return !strings.Contains(shown(), "mintmark_fleet_nodes{") })
}

func TestAStoreThatNobodySharesNeedsNoUpgrade(t *testing.T) {
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]string{
		"json": filepath.Join(folder, "tokens.json"), "sqlite": "sqlite:" + filepath.Join(folder, "mintmark.db"), "memory": "memory",
	} {
		dir := filepath.Join(folder, name)
		if got := runs(t, exec.Command(program, "init", dir, "--store", store)); got.code != 0 {
			t.Fatalf("%s: %s", name, got.err)
		}
		got := runs(t, exec.Command(filepath.Join(dir, "manager"), "store", "upgrade"))
		if got.code != 0 || got.out != "" || !strings.Contains(got.err, "Nothing to do: the store is "+store) {
			t.Errorf("%s: exit code %d\n%s", name, got.code, got.err)
		}
	}
}

// As docs/fleet.md says: both lines everywhere, the new one first, sealed anew, the
// old one gone. Each step restarts one node after the other.
func TestAFleetGetsAnotherSealingKeyAndLosesNoToken(t *testing.T) {
	t.Parallel()
	certificate, key := pair(t, t.TempDir(), "localhost")
	f := found(t, 2, certificate, key)
	token := f.program(t, "--home", f.nodes[0].dir, "token", "create", "--client-id", "ci", "--role", "user")
	path := filepath.Join(f.folder, "sealing.key") // of both nodes
	old := read(t, path)
	fresh := "mintmark-sealing/1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("0123456789abcdef"), 2)) + "\n"
	restarted := func(lines string) {
		put(t, path, []byte(lines))
		for _, m := range f.nodes {
			m.kill()
			m.start(t)
		}
	}
	restarted(old + fresh)
	restarted(fresh + old)
	got := f.asks(t, f.nodes[0], "key", "reseal")
	if got.code != 0 || !strings.Contains(got.err, "2 secrets sealed anew") {
		t.Fatalf("exit code %d\n%s", got.code, got.err)
	}
	restarted(fresh)
	for _, m := range f.nodes {
		eventually(t, "the token is still good", func() bool { return m.answers("/auth/verify", token) == http.StatusOK })
	}
	if got := f.asks(t, f.nodes[1], "key", "rotate", "--overlap", "1h"); got.code != 0 {
		t.Errorf("rotating afterwards: exit code %d\n%s", got.code, got.err)
	}
	f.nodes[0].kill()
	put(t, path, []byte(old))
	if got := f.asks(t, f.nodes[0], "key", "list"); got.code != 7 || !strings.Contains(got.err, "another key-encryption key") {
		t.Errorf("with the old one alone: exit code %d\n%s", got.code, got.err)
	}
	put(t, path, []byte("correct horse battery staple\n"))
	if got := f.asks(t, f.nodes[1], "key", "reseal", "-o", "json"); got.code != 6 || !strings.Contains(got.err, `"code":"sealing.unusable"`) || strings.Contains(got.err, "staple") {
		t.Errorf("with a file that is none: exit code %d\n%s", got.code, got.err)
	}
}

func TestAKeyringOfOneServerIsNotSealed(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	if got := h.run(t, "key", "reseal"); got.code != 6 || !strings.Contains(got.err, "only those of a fleet are sealed") {
		t.Errorf("exit code %d\n%s", got.code, got.err)
	}
}
