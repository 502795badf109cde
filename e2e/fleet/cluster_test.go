package fleet

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is a PostgreSQL of its own, which a test may break.
type cluster struct {
	bin, dir string
	host     string
	port     int
	within   []string // a command in front of each: another network namespace

	mu     sync.Mutex
	server *exec.Cmd
	ended  chan struct{}
}

// newCluster makes a database cluster on the loopback interface and starts it.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := prepareCluster(t)
	c.start(t)
	return c
}

func prepareCluster(t testing.TB) *cluster {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		lacking(t, "PostgreSQL (Debian: postgresql)")
	}
	dir, err := os.MkdirTemp("", "mintmark-pg-")
	must(t, err)
	c := &cluster{bin: filepath.Dir(found[len(found)-1]), dir: dir, host: "127.0.0.1", port: freePort(t)}
	t.Cleanup(func() {
		c.crash(t)
		_ = os.RemoveAll(dir)
	})
	if id := c.uid(t); id >= 0 {
		must(t, os.Chown(dir, id, -1))
	}
	if out, err := c.command(t, "initdb", "-D", c.data(), "-U", "mintmark", "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	return c
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// uid is the user that runs the server when we are root; -1: we are not.
func (c *cluster) uid(t testing.TB) int {
	t.Helper()
	if os.Getuid() != 0 {
		return -1
	}
	u, err := user.Lookup("postgres")
	must(t, err)
	id, err := strconv.Atoi(u.Uid)
	must(t, err)
	return id
}

func (c *cluster) command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	all := append([]string{filepath.Join(c.bin, name)}, args...)
	if id := c.uid(t); id >= 0 {
		all = append([]string{"setpriv", "--reuid=" + strconv.Itoa(id), "--clear-groups"}, all...)
	}
	all = append(append([]string(nil), c.within...), all...)
	command := exec.Command(all[0], all[1:]...)
	command.Dir = c.dir
	return command
}

// start starts the server and waits until it answers.
func (c *cluster) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(scratch, "postgres.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer func() { _ = log.Close() }()
	server := c.command(t, "postgres", "-D", c.data(), "-h", c.host, "-p", strconv.Itoa(c.port), "-k", c.dir, "-c", "max_connections=200")
	server.Stdout, server.Stderr = log, log
	must(t, server.Start())
	ended := make(chan struct{})
	go func() {
		_ = server.Wait()
		close(ended)
	}()
	c.mu.Lock()
	c.server, c.ended = server, ended
	c.mu.Unlock()
	eventually(t, "PostgreSQL answers", func() bool {
		return c.command(t, "pg_isready", "-q", "-h", c.dir, "-p", strconv.Itoa(c.port)).Run() == nil
	})
}

// crash ends the server at once, as `pg_ctl stop -m immediate` does.
func (c *cluster) crash(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	server, ended := c.server, c.ended
	c.server = nil
	c.mu.Unlock()
	if server == nil {
		return
	}
	c.everyone(server.Process.Pid, syscall.SIGCONT)
	_ = server.Process.Signal(syscall.SIGQUIT)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("PostgreSQL does not end")
	}
}

// signal reaches every process of the server.
func (c *cluster) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		c.everyone(c.server.Process.Pid, s)
	}
}

func (c *cluster) everyone(postmaster int, s syscall.Signal) {
	pids := []int{postmaster}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(postmaster) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, s)
	}
}

// url is the database of an address; "" is the server's own.
func (c *cluster) url(address string) string {
	if address == "" {
		address = net.JoinHostPort(c.host, strconv.Itoa(c.port))
	}
	return fmt.Sprintf("postgres://mintmark@%s/postgres?sslmode=disable", address)
}

// do runs a statement as whoever operates the database.
func (c *cluster) do(ctx context.Context, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=mintmark dbname=postgres", c.dir, c.port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

// cutListeners ends every connection that listens for notifications.
func (c *cluster) cutListeners(ctx context.Context) error {
	return c.do(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen %' AND pid <> pg_backend_pid()`)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually waits for what must become true within half a minute.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
