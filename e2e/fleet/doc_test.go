// Package fleet drives several nodes that share one PostgreSQL, breaks what lies
// between and beneath them, and holds what they answered against what a fleet
// promises.
//
// The one hard idea: the promise is judged from outside. Clients note what they
// were answered and when; whoever judges knows nothing of how a node works.
package fleet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// scratch is the folder of this run, removed at its end.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mintmark-fleet-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	scratch = dir
	return m.Run()
}

// program builds the program once and answers its path.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "mintmark")
	build := exec.Command("go", "build", "-o", path, "./cmd/mintmark")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
})

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lacking ends a test whose real component is not here: a failure where
// everything has to be.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("NOT RUN: %s is missing", what)
}

func joined(errs ...error) error { return errors.Join(errs...) }
