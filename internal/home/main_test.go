package home_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/durable"
	"mintmark/internal/home"
)

const (
	roleVar  = "HOME_TEST_ROLE" // what a child process is for
	dirVar   = "HOME_TEST_DIR"
	moodFile = "mood" // in the home: how a started server behaves
)

// TestMain lets the test binary be the manager of a home: "serve --home DIR" is
// a small server that does what serve does with the lock, the socket and the
// pid file, in the mood that a file in the home names.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		exit(serve(home.Dir(os.Args[3])))
	case os.Getenv(roleVar) == "hold": // the lock and nothing else, as a command does
		exit(hold(home.Dir(os.Getenv(dirVar))))
	case os.Getenv(roleVar) == "serve":
		exit(serve(home.Dir(os.Getenv(dirVar))))
	case os.Getenv(roleVar) == "connect":
		exit(connect(home.Dir(os.Getenv(dirVar))))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0)
}

func hold(d home.Dir) error {
	held, err := d.Lock(durable.Files{})
	if err != nil {
		return err
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return held.Close()
}

func serve(d home.Dir) error {
	mood, _ := os.ReadFile(filepath.Join(string(d), moodFile))
	if string(mood) == "ill" {
		return errors.New("the first line\nthe port is in use by \"nginx\"")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	held, err := d.Lock(durable.Files{})
	if err != nil && string(mood) == "patient" { // as serve waits for the last breath of another
		time.Sleep(200 * time.Millisecond)
		held, err = d.Lock(durable.Files{})
	}
	if err != nil {
		return err
	}
	defer held.Close()
	l, err := d.Listen(ctx)
	if err != nil {
		return err
	}
	if err := d.WritePid(os.Getpid()); err != nil {
		return err
	}
	defer d.RemovePid()
	ready := http.StatusOK
	if string(mood) == "slow" {
		ready = http.StatusServiceUnavailable
	}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			rw.WriteHeader(ready)
		}
		fmt.Fprint(rw, "hello")
	})}
	go func() { _ = server.Serve(l) }()
	fmt.Println("serving")
	<-ctx.Done()
	if string(mood) == "stubborn" {
		time.Sleep(time.Minute)
	}
	return server.Close()
}

// connect says what a caller gets from the socket who is told nothing.
func connect(d home.Dir) error {
	c, err := (&net.Dialer{}).DialContext(context.Background(), "unix", d.Socket())
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second)) // of who is let in and told nothing
	_, err = c.Read(make([]byte, 1))
	return err
}

// child is another process of this test binary.
type child struct {
	*exec.Cmd
	in io.Closer
}

func start(t *testing.T, role string, d home.Dir) child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"="+role, dirVar+"="+string(d))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	in, err := cmd.StdinPipe() // open until the child is to end
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the child did not begin: %v", err)
	}
	return child{cmd, in}
}

// whileNobodyForks has a program written that is run soon. A process that another
// test starts meanwhile would have the file open for writing until it is another
// program itself, and the kernel runs no file that is ("text file busy").
func whileNobodyForks(write func()) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	write()
}

// newHome creates a home whose manager is this test binary.
func newHome(t *testing.T) home.Dir {
	t.Helper()
	return createAt(t, filepath.Join(folder(t), "home"))
}

func createAt(t *testing.T, path string) home.Dir {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	var d home.Dir
	whileNobodyForks(func() { d, _, err = home.Create(path, program) })
	must(t, err)
	t.Cleanup(func() { // whatever a test started does not outlive it
		if state, pid, err := d.Process(durable.Files{}); err == nil && state == home.Running {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return d
}

// folder is a short one, closed to others.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mm")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

func wantState(t *testing.T, d home.Dir, state home.State, pid int) {
	t.Helper()
	got, gotPid, err := d.Process(durable.Files{})
	if err != nil || got != state || gotPid != pid {
		t.Fatalf("state %d of process %d, %v; want %d of %d", got, gotPid, err, state, pid)
	}
}

func number(n int) string { return strconv.Itoa(n) + "\n" }

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func contains(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q has no %q", err, part)
		}
	}
}
