package mapstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

const (
	childVar   = "MAPSTORE_TEST_HOME" // the home in which the child works
	firstVar   = "MAPSTORE_TEST_FIRST"
	placeVar   = "MAPSTORE_TEST_PLACE"
	population = 10_000
	residents  = 100_000_000 // numbers of those who are there from the start
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if home := os.Getenv(childVar); home != "" {
		fmt.Fprintln(os.Stderr, work(home))
		os.Exit(3)
	}
	code := m.Run()
	if raceDetector {
		if program, err := plainProgram(); err == nil {
			_ = os.RemoveAll(filepath.Dir(program))
		}
	}
	os.Exit(code)
}

// plainProgram is this test binary without the race detector.
var plainProgram = sync.OnceValues(func() (string, error) {
	if !raceDetector {
		return os.Args[0], nil
	}
	dir, err := os.MkdirTemp("", "mapstore-plain-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "mapstore.test")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// elsewhere runs the test that calls it without the race detector, if that is
// on, and tells whether it did. For tests that do one thing after the other, a
// hundred thousand times: it finds nothing in them and takes its time.
func elsewhere(t *testing.T) bool {
	t.Helper()
	if !raceDetector {
		return false
	}
	program, err := plainProgram()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "-test.v", "-test.run=^"+t.Name()+"$").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}

// work changes the tokens of a home until it is killed.
func work(home string) error {
	first, err := strconv.Atoi(os.Getenv(firstVar))
	if err != nil {
		return err
	}
	s, err := mapstore.Open(mapstore.Config{Home: home, Tokens: filepath.Join(home, "tokens.json"), Now: time.Now})
	if err != nil {
		return err
	}
	return storetest.Work(os.Stdout, s, first)
}

// remove deletes what create created.
func remove(s *mapstore.Store, n int) error {
	v := storetest.Token(n)
	return s.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Delete(v.ID),
			tx.Audit().Append(authority.Event{At: v.CreatedAt, Action: "token.deleted", Target: string(v.ID), Label: v.ClientID, Outcome: authority.OutcomeOK}))
	})
}

// TestSoakOfKillsLosesNothingAcknowledged runs 30 cycles, or ten times as many
// in a soak.
func TestSoakOfKillsLosesNothingAcknowledged(t *testing.T) {
	cfg := newHome(t, durable.Files{})
	s := open(t, cfg)
	storetest.Populate(t, s, population)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	program, err := plainProgram() // no slower than the product
	if err != nil {
		t.Fatal(err)
	}
	k := storetest.Kills{Cycles: 30, Population: population, Command: func(first int) *exec.Cmd {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), childVar+"="+cfg.Home, firstVar+"="+strconv.Itoa(first))
		return cmd
	}}
	if os.Getenv("MINTMARK_SOAK") == "1" {
		k.Cycles = 300
	}
	if rate := k.Run(t); rate < 50 {
		t.Errorf("%.0f changes a second, want 50", rate)
	}
}
