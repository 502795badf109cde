// Package e2e drives the built program as people do: from a shell and in a real
// browser. Of the product's packages it knows the public one that a service
// imports, verify.
package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// scratch is the folder of this run, removed at its end.
var scratch string

// binary builds the program once, when the first test needs it, and answers its path.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "mintmark")
	build := exec.Command("go", "build", "-o", path, "./cmd/mintmark")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mintmark-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	scratch = dir
	return m.Run()
}

// adminPassword is the password of `admin` in every home of these tests.
const adminPassword = "correct horse battery staple"

// home is one running installation directory.
type home struct {
	dir string
	url string // without a slash at the end
}

// startHome creates and starts an installation directory on a free port of the
// loopback interface, with args after those of init, and stops it when the test
// ends.
func startHome(t *testing.T, args ...string) home {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	h := home{dir: filepath.Join(t.TempDir(), "home"), url: "http://" + addr}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(adminPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	init := exec.Command(program, append([]string{"init", h.dir, "--listen", addr, "--admin-password-file", password, "--start"}, args...)...)
	t.Cleanup(func() { h.stop(t) })
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("mintmark init --start: %v\n%s", err, out)
	}
	return h
}

// manager runs `<home>/manager args…` and answers what it printed on both
// outputs; it fails the test when the command fails.
func (h home) manager(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(h.dir, "manager"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("manager %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// stop leaves no server behind, also when the start went wrong half-way.
func (h home) stop(t *testing.T) {
	t.Helper()
	manager := filepath.Join(h.dir, "manager")
	if _, err := os.Stat(manager); errors.Is(err, os.ErrNotExist) {
		return
	}
	if out, err := exec.Command(manager, "stop").CombinedOutput(); err != nil {
		t.Errorf("manager stop: %v\n%s", err, out)
	}
}

// freeAddress answers an address that was free a moment ago.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// passwordFile is the file of the administrator's password.
func passwordFile(t *testing.T) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "password"), adminPassword+"\n")
}
