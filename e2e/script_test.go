package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command line as people and their scripts do. In a script
// mintmark is the program, manager that of the home in $WORK/home; $ADDR and
// $ELSEWHERE are free addresses.
func TestScripts(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"ADDR", "ELSEWHERE"} {
				l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer func() { _ = l.Close() }()
				env.Setenv(name, l.Addr().String())
			}
			env.Setenv("HOST", host)
			env.Setenv("PATH", filepath.Join(env.WorkDir, "home")+":"+filepath.Dir(program)+":"+os.Getenv("PATH"))
			env.Defer(func() { stopAll(env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "calls": calls, "mode": mode, "kill9": killServer, "matches": matches, "expired": expired,
			"answers": listening(true), "silent": listening(false), "lapsed": lapsed,
		},
	})
}

// stopAll leaves no server of a script behind.
func stopAll(work string) {
	managers, _ := filepath.Glob(filepath.Join(work, "*", "manager"))
	for _, manager := range managers {
		_ = exec.Command(manager, "stop").Run()
	}
}

// exits runs a program that has to end with an exit code. What it prints as JSON
// has to be what api/schema says:
//
//	exits 5 manager token show nobody
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code, exit := 0, (*exec.ExitError)(nil)
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	ts.Check(fit(ts.ReadFile("stdout"), ts.ReadFile("stderr")))
}

// calls asks the server with a token from a file; $REQUEST is then the id of the
// request:
//
//	calls 200 /api/v1/whoami ci.token
func calls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: calls STATUS path token-file")
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+ts.Getenv("ADDR")+args[1], nil)
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[2])))
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	ts.Check(answer.Body.Close())
	ts.Setenv("REQUEST", answer.Header.Get("X-Request-Id"))
	if strconv.Itoa(answer.StatusCode) != args[0] {
		ts.Fatalf("%s answered %d, want %s", args[1], answer.StatusCode, args[0])
	}
}

// mode demands the mode of a file: mode 0600 home/keyring.json
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode MODE file")
	}
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if info.Mode().Perm() != os.FileMode(want) {
		ts.Fatalf("%s has mode %04o, want %04o", args[1], info.Mode().Perm(), want)
	}
}

// killServer ends a home's server without a warning, and waits until it is gone:
// kill9 home
func killServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: kill9 home")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(filepath.Join(args[0], "run", "mintmark.pid"))))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	lock, err := os.Open(ts.MkAbs(filepath.Join(args[0], ".lock")))
	ts.Check(err)
	defer func() { _ = lock.Close() }()
	ts.Check(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)) // the kernel lets go of it with the process
}

// matches demands that the whole output is one line of a form:
// matches stdout '[A-Za-z0-9._-]+'
func matches(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] matches file regexp")
	}
	if regexp.MustCompile("^(?:"+args[1]+")\n$").MatchString(ts.ReadFile(args[0])) == neg {
		ts.Fatalf("%s is %q", args[0], ts.ReadFile(args[0]))
	}
}

// expired waits until a client's token has ended: expired ci
func expired(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expired client-id")
	}
	for deadline := time.Now().Add(stepTimeout); ; time.Sleep(25 * time.Millisecond) {
		ts.Check(ts.Exec("manager", "token", "list", "--client-id", args[0], "--no-headers", "--columns", "state"))
		if ts.ReadFile("stdout") == "expired\n" {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the token of %s has not ended", args[0])
		}
	}
}

// listening waits until somebody listens at an address, or until nobody does:
// answers $ADDR, silent $ADDR
func listening(listens bool) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: answers address, silent address")
		}
		for deadline := time.Now().Add(stepTimeout); ; time.Sleep(25 * time.Millisecond) {
			conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", args[0])
			if err == nil {
				ts.Check(conn.Close())
			}
			if (err == nil) == listens {
				return
			}
			if time.Now().After(deadline) {
				ts.Fatalf("at %s: %v", args[0], err)
			}
		}
	}
}

// lapsed waits until a stopped server's trial is over; stderr is then what the
// command says that found it so.
func lapsed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: lapsed")
	}
	for deadline := time.Now().Add(stepTimeout); ; time.Sleep(25 * time.Millisecond) {
		ts.Check(ts.Exec("manager", "config", "show"))
		if !strings.Contains(ts.ReadFile("stderr"), "on trial until") {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the trial goes on")
		}
	}
}
