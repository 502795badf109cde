package sqlite_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/storetest"
)

const (
	fileVar    = "SQLITE_TEST_FILE" // the file on which the process works that is killed
	firstVar   = "SQLITE_TEST_FIRST"
	population = 10_000
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(fileVar); path != "" {
		fmt.Fprintln(os.Stderr, work(path))
		os.Exit(3)
	}
	if path := os.Getenv(syncVar); path != "" {
		if err := unsynced(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func work(path string) error {
	first, err := strconv.Atoi(os.Getenv(firstVar))
	if err != nil {
		return err
	}
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: path, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		return err
	}
	return storetest.Work(os.Stdout, s, first)
}

// TestSoakOfKillsLosesNothingAcknowledged runs 30 cycles, or ten times as many
// in a soak.
func TestSoakOfKillsLosesNothingAcknowledged(t *testing.T) {
	cfg := newFile(t)
	s := open(t, cfg)
	storetest.Populate(t, s, population)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k := storetest.Kills{Cycles: 30, Population: population, Command: func(first int) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fileVar+"="+cfg.Path, firstVar+"="+strconv.Itoa(first))
		return cmd
	}}
	soak := os.Getenv("MINTMARK_SOAK") == "1"
	if soak {
		k.Cycles = 300
	}
	if rate := k.Run(t); soak && rate < 50 {
		t.Errorf("%.0f changes a second, want 50", rate)
	}
}
