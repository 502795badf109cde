package storetest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const smallDisk = "STORETEST_SMALL_DISK" // its folder

// SmallDisk gives body the folder of a disk of a size ("1m", as mount has it). Its
// test runs again for that, in a process where a mount is nobody else's and ends
// with it. Only root can; where nobody may mount the test is skipped, and with CI
// set it fails.
func SmallDisk(t *testing.T, size string, body func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(smallDisk); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
			t.Skip(err)
		}
		body(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can mount a small disk")
		}
		t.Skip("SKIPPED: only root can mount a small disk")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), strings.Contains(string(out), "--- SKIP"):
		if os.Getenv("CI") != "" {
			t.Fatalf("mounting is refused: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: root may not mount here: %v\n%s", err, out)
	case err != nil, !strings.Contains(string(out), "--- PASS"):
		t.Fatalf("%v\n%s", err, out)
	}
}
