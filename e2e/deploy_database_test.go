package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// database is a PostgreSQL server with the settings, the rules of access and the
// roles that are shipped for a fleet.
type database struct {
	bin, dir, port string
	ca             string // who signed its certificate
	as             *syscall.Credential
	server         *exec.Cmd
}

func startDatabase(t testing.TB) *database {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("PostgreSQL is not installed; on Debian: apt-get install postgresql")
		}
		t.Skip("POSTGRESQL IS NOT INSTALLED, the roles of a fleet were not tested; on Debian: apt-get install postgresql")
	}
	dir, err := os.MkdirTemp("", "mintmark-pg-") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	d := &database{bin: filepath.Dir(found[len(found)-1]), dir: dir, port: port}
	certificate, key := pair(t, dir, "localhost")
	d.ca = write(t, filepath.Join(t.TempDir(), "ca.pem"), read(t, certificate))
	shipped := filepath.Join("..", "deploy", "fleet", "postgres")
	rules := strings.ReplaceAll(read(t, filepath.Join(shipped, "pg_hba.conf")), "10.0.0.0/24 ", "127.0.0.1/32")
	write(t, filepath.Join(dir, "hba.conf"), rules+"local all postgres trust\nhost all all all trust\n")
	write(t, filepath.Join(dir, "fleet.conf"), read(t, filepath.Join(shipped, "postgresql.conf")))
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		d.as = lookUp(t, "postgres")
		for _, path := range []string{dir, certificate, key, filepath.Join(dir, "hba.conf"), filepath.Join(dir, "fleet.conf")} {
			if err := os.Chown(path, int(d.as.Uid), int(d.as.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	data := filepath.Join(dir, "data")
	if out, err := d.command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	put(t, filepath.Join(data, "postgresql.conf"), []byte(fmt.Sprintf(
		"listen_addresses = '127.0.0.1'\nport = %s\nunix_socket_directories = '%s'\nhba_file = '%s/hba.conf'\nssl_cert_file = '%s'\nssl_key_file = '%s'\ninclude '%s/fleet.conf'\n",
		port, dir, dir, certificate, key, dir)))
	if d.as != nil {
		if err := os.Chown(filepath.Join(data, "postgresql.conf"), int(d.as.Uid), int(d.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	d.run(t)
	return d
}

// run runs the server until it is stopped or the test ends.
func (d *database) run(t testing.TB) {
	t.Helper()
	said := &output{}
	d.server = d.command("postgres", "-D", filepath.Join(d.dir, "data"))
	d.server.Stdout, d.server.Stderr = said, said
	if err := d.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.stop(t)
		if t.Failed() {
			t.Logf("PostgreSQL said:\n%s", said)
		}
	})
	eventually(t, "PostgreSQL answers", func() bool {
		return d.command("pg_isready", "-q", "-h", d.dir, "-p", d.port).Run() == nil
	})
}

// stop ends the server at once, as `pg_ctl stop -m immediate` does.
func (d *database) stop(t testing.TB) {
	t.Helper()
	if d.server == nil {
		return
	}
	if err := d.server.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Error(err)
	}
	_ = d.server.Wait()
	d.server = nil
}

func lookUp(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	var ids [2]uint64
	for i, text := range []string{u.Uid, u.Gid} {
		if ids[i], err = strconv.ParseUint(text, 10, 32); err != nil {
			t.Fatal(err)
		}
	}
	return &syscall.Credential{Uid: uint32(ids[0]), Gid: uint32(ids[1])}
}

func (d *database) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(d.bin, name), args...)
	command.Dir = d.dir
	if d.as != nil {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: d.as}
	}
	return command
}

// psql runs SQL as whoever operates the server, or as what connection says.
func (d *database) psql(connection string, args ...string) (string, error) {
	if connection == "" {
		connection = fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres", d.dir, d.port)
	}
	command := exec.Command(filepath.Join(d.bin, "psql"), append([]string{"-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-w", "-d", connection}, args...)...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "PGPASSFILE=" + filepath.Join(filepath.Dir(d.ca), "pgpass")}
	out, err := command.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (d *database) must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := d.psql("", args...)
	if err != nil {
		t.Fatalf("psql %s: %v\n%s", args, err, out)
	}
	return out
}

func TestANodeOfAFleetMayWorkWithRowsAndNothingElse(t *testing.T) {
	d := startDatabase(t)
	roles := filepath.Join("..", "deploy", "fleet", "postgres", "roles.sql")
	d.must(t, "-f", roles)
	d.must(t, "-f", roles) // a second run changes nothing
	d.must(t, "-c", "ALTER ROLE mintmark PASSWORD 'of the node'", "-c", "ALTER ROLE mintmark_owner PASSWORD 'of the owner'",
		"-c", "CREATE ROLE stranger LOGIN PASSWORD 'of nobody'")
	for name, query := range map[string]string{
		"settings": "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL",
		"access":   "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL",
	} {
		if got := d.must(t, "-c", query); got != "0" {
			t.Errorf("the server finds %s faults in the %s", got, name)
		}
	}

	// The example of the password file, with a password and where this server is.
	example := strings.Replace(read(t, filepath.Join("..", "deploy", "fleet", "postgres", "pgpass.example")), "db.mintmark.internal:5432", "localhost:"+d.port, 1)
	write(t, filepath.Join(filepath.Dir(d.ca), "pgpass"), strings.TrimSuffix(example, "\n")+"of the node\n"+
		strings.Join([]string{"localhost", d.port, "mintmark", "mintmark_owner", "of the owner"}, ":")+"\n")
	as := func(role string) string {
		return fmt.Sprintf("postgres://%s@localhost:%s/mintmark?sslmode=verify-full&sslrootcert=%s", role, d.port, d.ca)
	}
	for _, c := range []struct {
		name, connection, sql string
		may                   bool
	}{
		{"the owner makes tables", as("mintmark_owner"), "CREATE TABLE made (n int PRIMARY KEY); CREATE SEQUENCE counted", true},
		{"a node writes rows", as("mintmark"), "INSERT INTO made VALUES (1); UPDATE made SET n = 2; INSERT INTO made VALUES (nextval('counted')); DELETE FROM made", true},
		{"a node locks a row", as("mintmark"), "SELECT n FROM made FOR UPDATE", true},
		{"a node listens and notifies", as("mintmark"), "LISTEN changes; NOTIFY changes, '7'", true},
		{"a node takes an advisory lock", as("mintmark"), "SELECT pg_advisory_lock(7)", true},
		{"a node sees which server it is", as("mintmark"), "SELECT system_identifier FROM pg_control_system()", true},
		{"a node makes a table", as("mintmark"), "CREATE TABLE mine (n int)", false},
		{"a node makes a temporary table", as("mintmark"), "CREATE TEMPORARY TABLE mine (n int)", false},
		{"a node makes a schema", as("mintmark"), "CREATE SCHEMA mine", false},
		{"a node changes a table", as("mintmark"), "ALTER TABLE made ADD m int", false},
		{"a node empties a table", as("mintmark"), "TRUNCATE made", false},
		{"a node drops a table", as("mintmark"), "DROP TABLE made", false},
		{"a node becomes the owner", as("mintmark"), "SET ROLE mintmark_owner", false},
		{"a node without TLS", strings.Replace(as("mintmark"), "verify-full", "disable", 1), "SELECT 1", false},
		{"a server with another name", strings.Replace(as("mintmark"), "localhost", "127.0.0.1", 1), "SELECT 1", false},
		{"a stranger", strings.Replace(as("mintmark"), "mintmark@", "stranger:of%20nobody@", 1), "SELECT 1", false},
	} {
		out, err := d.psql(c.connection, "-c", c.sql)
		if (err == nil) != c.may {
			t.Errorf("%s: %v %s", c.name, err, out)
		}
	}
	if got := d.must(t, "-c", "SELECT has_database_privilege('stranger', 'mintmark', 'CONNECT')"); got != "f" {
		t.Errorf("others may connect: %s", got)
	}
}
