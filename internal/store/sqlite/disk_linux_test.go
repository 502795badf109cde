package sqlite_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/sqlstore"
	"mintmark/internal/store/storetest"
)

func TestRealDiskFull(t *testing.T) { storetest.SmallDisk(t, "1m", onASmallDisk) }

func onASmallDisk(t *testing.T, dir string) {
	cfg := sqlite.Config{Path: filepath.Join(dir, "mint.db"), Now: time.Now, Rand: rand.Reader}
	must(t, sqlite.Create(context.Background(), cfg))
	s, err := sqlite.Open(context.Background(), cfg)
	must(t, err)
	create := func(n int) error {
		return s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(storetest.Token(n)) })
	}
	n := 0
	for ; n < 5000; n++ {
		if err = create(n); err != nil {
			break
		}
	}
	if authority.KindOf(err) != authority.Full || s.Facts().Problem == "" {
		t.Fatalf("on a full disk, at %d: %v, %v; facts %+v", n, err, errors.Unwrap(err), s.Facts())
	}
	count(t, s, n) // memory is not ahead of the disk
	if err := create(n); authority.KindOf(err) != authority.Full {
		t.Errorf("again: %v", err)
	}
	must(t, syscall.Mount("", dir, "", 0x20, "size=4m")) // MS_REMOUNT
	must(t, create(n))
	if p := s.Facts().Problem; p != "" {
		t.Errorf("the problem stays: %s", p)
	}
	must(t, s.Close())
	s, err = sqlite.Open(context.Background(), cfg)
	must(t, err)
	count(t, s, n+1)
	must(t, s.Close())
}

const limitedVar = "SQLITE_TEST_LIMITED"

// TestADiskThatFailsIsNamed has the kernel refuse what is written, in a process of
// its own.
func TestADiskThatFailsIsNamed(t *testing.T) {
	if os.Getenv(limitedVar) != "" {
		onABadDisk(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestADiskThatFailsIsNamed$", "-test.v")
	cmd.Env = append(os.Environ(), limitedVar+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func onABadDisk(t *testing.T) {
	cfg := newFile(t)
	s := open(t, cfg)
	create := func(n int) error {
		return s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(storetest.Token(n)) })
	}
	must(t, create(1))
	signal.Ignore(syscall.SIGXFSZ)
	var free syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &free))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: free.Max}))
	err := create(2)
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &free))
	if e, ok := errors.AsType[*authority.Error](err); !ok || e.Code != "store.unknown" { // it was the commit
		t.Fatalf("%v, %#v", err, err)
	}
	if p := s.Facts().Problem; !strings.Contains(p, "disk I/O error") {
		t.Errorf("the status tells %q", p)
	}
	count(t, s, 1)
	must(t, create(2))
}

func count(t *testing.T, s *sqlstore.Store, want int) {
	t.Helper()
	n := 0
	must(t, s.View(context.Background(), func(tx authority.Tx) error {
		for _, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	}))
	if n != want {
		t.Errorf("%d tokens, want %d", n, want)
	}
}
