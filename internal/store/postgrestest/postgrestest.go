// Package postgrestest starts a PostgreSQL server for tests, from the binaries of
// the system: one for a test binary, which ends with it. It touches a folder of
// its own below the one for temporary files.
//
// The one hard idea: the server is a child that the kernel ends when the test
// binary is gone, however it went.
package postgrestest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of the harness itself
)

// Server is a running PostgreSQL.
type Server struct {
	Dir      string // its data
	Port     int    // on 127.0.0.1 and in the socket folder
	Socket   string // folder of the Unix socket
	bin      string
	as       *syscall.Credential // nil: as ourselves
	mu       sync.Mutex
	process  *os.Process
	ended    chan struct{}
	settings []string
	names    atomic.Int64
}

// shared is the one server of a test binary.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Main runs the tests of a package and ends the server afterwards.
func Main(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.server != nil {
			shared.server.Close()
		}
	}()
	return m.Run()
}

// Shared answers the server of this test binary. Where PostgreSQL is not
// installed the test is skipped, in continuous integration it fails.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start(nil, nil)
	}
	return need(t, shared.server, shared.err)
}

// Start starts a server for one test alone, with settings such as
// "ssl=on", and ends it with the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return StartWith(t, nil, settings...)
}

// StartWith is Start with files that are copied to the data, for the server's eyes
// only.
func StartWith(t testing.TB, files []string, settings ...string) *Server {
	t.Helper()
	s, err := start(files, settings)
	s = need(t, s, err)
	t.Cleanup(s.Close)
	return s
}

func need(t testing.TB, s *Server, err error) *Server {
	t.Helper()
	switch {
	case errors.Is(err, errMissing) && os.Getenv("CI") == "":
		t.Skipf("SKIPPED: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return s
}

var errMissing = errors.New("PostgreSQL is not installed: apt-get install postgresql-15")

// binaries finds the newest server.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errMissing
}

// start makes a cluster and starts it.
func start(files, settings []string) (_ *Server, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, settings: settings}
	if os.Geteuid() == 0 { // which PostgreSQL refuses
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	root, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s.Socket, s.Dir = root, filepath.Join(root, "data")
	defer func() {
		if err != nil {
			_ = os.RemoveAll(root)
		}
	}()
	if s.as != nil {
		if err := os.Chown(root, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return nil, err
		}
	}
	init := s.command("initdb", "--pgdata", s.Dir, "--username", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8")
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	for _, from := range files {
		if err := s.place(from); err != nil {
			return nil, err
		}
	}
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	return s, s.Up()
}

// place copies a file to the data.
func (s *Server) place(from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	to := filepath.Join(s.Dir, filepath.Base(from))
	if err := os.WriteFile(to, text, 0o600); err != nil || s.as == nil {
		return err
	}
	return os.Chown(to, int(s.as.Uid), int(s.as.Gid))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.Socket
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// Up starts the server, which was not started or was stopped, and waits until it
// answers.
func (s *Server) Up() error {
	args := []string{
		"-D", s.Dir, "-p", strconv.Itoa(s.Port), "-k", s.Socket, "-h", "127.0.0.1", "-c", "max_connections=200", "-c", "shared_buffers=256MB",
		"-c", "logging_collector=off", "-c", "log_min_messages=panic",
	}
	for _, x := range s.settings {
		args = append(args, "-c", x)
	}
	cmd := s.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	endWithUs(cmd.SysProcAttr)
	begun, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the child ends with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-begun; err != nil {
		return err
	}
	s.mu.Lock()
	s.process, s.ended = cmd.Process, ended
	s.mu.Unlock()
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := db.PingContext(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("the server ended at once")
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %w", err)
		}
	}
}

// URL is the address of a database by TCP.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// SocketURL is the address of a database by the Unix socket.
func (s *Server) SocketURL(database string) string {
	return fmt.Sprintf("postgres://postgres@/%s?host=%s&port=%d", database, s.Socket, s.Port)
}

// Database makes an empty database and answers its name. A template and a locale
// may be given as "TEMPLATE template0 LC_COLLATE …".
func (s *Server) Database(t testing.TB, like string) string {
	t.Helper()
	name := fmt.Sprintf("t%d", s.names.Add(1))
	s.Exec(t, "postgres", "CREATE DATABASE "+name+" "+like)
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return name
}

// Schema makes an empty schema in a database that all share and answers an
// address whose tables are there.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("s%d", s.names.Add(1))
	s.Exec(t, "postgres", "CREATE SCHEMA "+name)
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP SCHEMA IF EXISTS "+name+" CASCADE") })
	return s.URL("postgres") + "&search_path=" + name
}

// Exec executes a statement as the superuser.
func (s *Server) Exec(t testing.TB, database, text string, args ...any) {
	t.Helper()
	db, err := sql.Open("pgx", s.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// Stop ends the server by a signal: SIGQUIT is the immediate shutdown, SIGINT
// the fast one. Up starts it again.
func (s *Server) Stop(how syscall.Signal) {
	s.mu.Lock()
	process, ended := s.process, s.ended
	s.process = nil
	s.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Signal(how)
	<-ended
}

// Signal sends a signal to the server's own process, such as SIGSTOP.
func (s *Server) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("the server is stopped")
	}
	return s.process.Signal(sig)
}

// Close ends the server and removes its data.
func (s *Server) Close() {
	s.Stop(syscall.SIGQUIT)
	_ = os.RemoveAll(s.Socket)
}
