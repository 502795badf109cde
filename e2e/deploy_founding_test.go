package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// founded is a fleet that was set up as docs/fleet.md says.
type founded struct {
	database *database
	folder   string
	nodes    []*fleetMember
}

// fleetMember is a node of it.
type fleetMember struct {
	dir, address string
	env          []string
	server       *exec.Cmd
	said         *output // by the last run
}

// as is the database's address for a role.
func (f *founded) as(role string) string {
	return fmt.Sprintf("postgres://%s@localhost:%s/mintmark?sslmode=verify-full&sslrootcert=%s", role, f.database.port, f.database.ca)
}

// program runs the program with the password of the database and answers what it
// printed.
func (f *founded) program(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(path, args...)
	command.Env = append(os.Environ(), "PGPASSFILE="+filepath.Join(f.folder, "pgpass"))
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		t.Fatalf("mintmark %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), said.String())
	}
	return strings.TrimSpace(out.String())
}

// found makes the database, the founding home, of which the sealing key is kept,
// and a number of nodes, which show a certificate and trust one proxy.
func found(t *testing.T, size int, certificate, key string) *founded {
	t.Helper()
	f := &founded{database: startDatabase(t), folder: filepath.Join(t.TempDir(), "fleet")}
	if err := os.Mkdir(f.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	f.database.must(t, "-f", filepath.Join("..", "deploy", "fleet", "postgres", "roles.sql"))
	f.database.must(t, "-c", "ALTER ROLE mintmark PASSWORD 'of the node'", "-c", "ALTER ROLE mintmark_owner PASSWORD 'of the owner'")
	passwords := filepath.Join(f.folder, "pgpass")
	write(t, passwords, fmt.Sprintf("localhost:%s:mintmark:mintmark_owner:of the owner\n", f.database.port))
	founding := filepath.Join(f.folder, "founding")
	f.program(t, "init", founding, "--store", f.as("mintmark_owner"), "--admin-password-file", write(t, filepath.Join(f.folder, "password"), adminPassword+"\n"))
	sealing := filepath.Join(f.folder, "sealing.key")
	if err := os.Rename(filepath.Join(founding, "sealing.key"), sealing); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(founding); err != nil {
		t.Fatal(err)
	}
	write(t, passwords, fmt.Sprintf("localhost:%s:mintmark:mintmark:of the node\n", f.database.port))
	for i := range size {
		m := &fleetMember{dir: filepath.Join(f.folder, fmt.Sprintf("node%d", i+1)), address: freeAddress(t), env: append(os.Environ(), "PGPASSFILE="+passwords)}
		f.program(t, "init", m.dir, "--listen", m.address, "--store", f.as("mintmark"), "--sealing-key", sealing)
		for _, property := range []string{
			"jwt.issuer https://tokens.example", "jwt.audience https://api.example", "fleet.max_staleness 3s", "server.trusted_proxies 127.0.0.1/32",
			"server.tls.certificate " + certificate, "server.tls.key " + key,
		} {
			name, value, _ := strings.Cut(property, " ")
			f.program(t, "--home", m.dir, "config", "properties", "set", name, value)
		}
		f.program(t, "--home", m.dir, "config", "apply", "--yes")
		m.start(t)
		f.nodes = append(f.nodes, m)
	}
	return f
}

func (m *fleetMember) start(t *testing.T) {
	t.Helper()
	m.run(t)
	eventually(t, "the node is ready", func() bool { return m.answers("/readyz", "") == http.StatusOK })
}

// run starts the node, whether it can become ready or not.
func (m *fleetMember) run(t *testing.T) {
	t.Helper()
	said := &output{}
	m.said = said
	m.server = exec.Command(filepath.Join(m.dir, "manager"), "serve", "--home", m.dir)
	m.server.Env, m.server.Stdout, m.server.Stderr = m.env, said, said
	if err := m.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", m.dir, said)
		}
	})
}

func (m *fleetMember) kill() {
	_ = m.server.Process.Signal(syscall.SIGKILL)
	_ = m.server.Wait()
}

// answers is the status with which a node itself answers, 0 when it does not.
func (m *fleetMember) answers(path, token string) int {
	return statusOf("https://"+m.address+path, token)
}

func statusOf(url, token string) int {
	client := &http.Client{Timeout: wireTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", bearer(token))
	answer, err := client.Do(r)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// The page's whole set-up: the owner founds, three nodes run as a role that may
// not change a table, and nginx stands before them as shipped.
func TestAFleetThatWasSetUpByThePageOutlivesNodesAndItsDatabase(t *testing.T) {
	t.Parallel()
	dir := newNginxDir(t)
	certificate, key := pair(t, dir, "localhost")
	// nginx's folder is handed over to nginx; nodes have a copy of their own.
	own := filepath.Join(t.TempDir(), "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	f := found(t, 3, write(t, filepath.Join(own, "tls.pem"), read(t, certificate)), write(t, filepath.Join(own, "tls.key"), read(t, key)))
	entrance := freeAddress(t)
	moved := []string{"listen 443", "listen " + entrance}
	for i, m := range f.nodes {
		moved = append(moved, fmt.Sprintf(shippedNode, i+1), m.address)
	}
	layNginx(t, dir, "balancer.conf", entrance, moved...)
	verify := "https://" + entrance + "/auth/verify"

	token := f.program(t, "--home", f.nodes[0].dir, "token", "create", "--client-id", "dfsadmin", "--role", "admin")
	for _, m := range f.nodes {
		eventually(t, "every node knows the token", func() bool { return m.answers("/auth/verify", token) == http.StatusOK })
	}
	if got := statusOf(verify, token); got != http.StatusOK {
		t.Errorf("the fleet answers %d", got)
	}
	f.nodes[1].kill()
	for range 20 {
		if got := statusOf(verify, token); got != http.StatusOK {
			t.Errorf("with one node killed the fleet answers %d", got)
		}
	}
	f.nodes[1].start(t)
	f.program(t, "--home", f.nodes[2].dir, "token", "delete", "dfsadmin", "--confirm", "dfsadmin", "--yes")
	for _, m := range f.nodes {
		eventually(t, "the deletion holds on every node", func() bool { return m.answers("/auth/verify", token) == http.StatusUnauthorized })
	}
	if got := statusOf(verify, token); got != http.StatusUnauthorized {
		t.Errorf("after it was deleted the fleet answers %d", got)
	}

	kept := f.program(t, "--home", f.nodes[0].dir, "token", "create", "--client-id", "kept", "--role", "user")
	for _, m := range f.nodes {
		eventually(t, "every node knows the token", func() bool { return m.answers("/auth/verify", kept) == http.StatusOK })
	}
	f.database.stop(t)
	if got := statusOf(verify, kept); got != http.StatusOK {
		t.Errorf("without its database the fleet answers %d at once", got)
	}
	eventually(t, "nobody knows any more", func() bool { return statusOf(verify, kept) == http.StatusServiceUnavailable })
	f.database.run(t)
	eventually(t, "the fleet answers again by itself", func() bool { return statusOf(verify, kept) == http.StatusOK })
	if got := statusOf(verify, token); got != http.StatusUnauthorized {
		t.Errorf("what was deleted answers %d", got)
	}
}
