package mapstore_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

const smallVar = "MAPSTORE_TEST_SMALL" // the folder for a small disk

// TestRealDiskFullAndReadOnly runs again where a mount is nobody else's and ends
// with the process.
func TestRealDiskFullAndReadOnly(t *testing.T) {
	if dir := os.Getenv(smallVar); dir != "" {
		onASmallDisk(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small disk; the faults on purpose cover the errors")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRealDiskFullAndReadOnly$", "-test.v")
	cmd.Env = append(os.Environ(), smallVar+"="+fastHome(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), strings.Contains(string(out), "--- SKIP"):
		if os.Getenv("CI") != "" {
			t.Fatalf("mounting is refused: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: root may not mount here; the faults on purpose cover the errors: %v\n%s", err, out)
	case err != nil, !strings.Contains(string(out), "--- PASS"):
		t.Fatalf("%v\n%s", err, out)
	}
}

func onASmallDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skip(err)
	}
	template(t, dir)
	cfg := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Now: time.Now}
	s := open(t, cfg)
	n := 100
	for ; n < 1000; n++ {
		if err := create(s, n); err != nil {
			if authority.KindOf(err) != authority.Full {
				t.Fatalf("on a full disk: %v, %v", err, errors.Unwrap(err))
			}
			break
		}
	}
	if n == 1000 || s.Facts().Problem == "" {
		t.Fatalf("the disk is not small, or the facts tell no problem: %+v", s.Facts())
	}
	wantCount(t, s, 1+n-100) // memory is not ahead of the disk
	// Deleting needs less room than there was, and brings room back.
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		for i := range n - 110 {
			if err := tx.Tokens().Delete(storetest.Token(100 + i).ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("deleting on a full disk: %v, %v", err, errors.Unwrap(err))
	}
	if err := create(s, 5000); err != nil {
		t.Fatalf("after there is room: %v, %v", err, errors.Unwrap(err))
	}
	if p := s.Facts().Problem; p != "" {
		t.Errorf("the problem stays: %s", p)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const readOnly = 0x20 | 0x1 // MS_REMOUNT, MS_RDONLY
	if err := syscall.Mount("", dir, "", readOnly, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := mapstore.Open(cfg); !errors.Is(err, durable.ErrReadOnly) {
		t.Errorf("opened on a read-only disk: %v", err)
	}
	if err := syscall.Mount("", dir, "", 0x20, ""); err != nil {
		t.Fatal(err)
	}
	wantCount(t, open(t, cfg), 12)
}
