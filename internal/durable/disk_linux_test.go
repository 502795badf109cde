package durable_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/internal/durable"
)

// TestRealDiskFullAndReadOnly runs again where a mount is nobody else's and ends
// with the process.
func TestRealDiskFullAndReadOnly(t *testing.T) {
	if os.Getenv(homeVar) != "" {
		onASmallDisk(t, os.Getenv(homeVar))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small disk; the faults on purpose cover the errors")
	}
	home := newHome(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestRealDiskFullAndReadOnly$", "-test.v")
	cmd.Env = append(os.Environ(), homeVar+"="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM), bytes.Contains(out, []byte("--- SKIP")):
		if os.Getenv("CI") != "" {
			t.Fatalf("mounting is refused: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: mounting is refused: %v\n%s", err, out)
	case err != nil, !bytes.Contains(out, []byte("--- PASS")):
		t.Fatalf("%v\n%s", err, out)
	}
}

func onASmallDisk(t *testing.T, home string) {
	if err := unix.Mount("tmpfs", home, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skip(err)
	}
	files := durable.Files{}
	path, journal := filepath.Join(home, "file"), filepath.Join(home, "log")
	must(t, files.Write(path, []byte("old")))
	must(t, files.CreateNew(journal))
	log, err := files.OpenLog(journal)
	must(t, err)
	must(t, log.Append([]byte("one")))

	if err := files.Write(path, make([]byte, 80<<10)); !errors.Is(err, durable.ErrFull) || errors.Is(err, durable.ErrUnknown) {
		t.Errorf("more than the disk holds: %v", err)
	}
	filler := filepath.Join(home, "filler")
	if err := os.WriteFile(filler, make([]byte, 80<<10), 0o600); err == nil {
		t.Fatal("the disk is not small")
	}
	if err := files.Write(path, []byte("new")); !errors.Is(err, durable.ErrFull) {
		t.Errorf("on a full disk: %v", err)
	}
	if err := files.CreateNew(path+"2", []byte("new")); !errors.Is(err, durable.ErrFull) {
		t.Errorf("created on a full disk: %v", err)
	}
	if err := log.Append(bytes.Repeat([]byte("x"), 8<<10)); !errors.Is(err, durable.ErrFull) || errors.Is(err, durable.ErrUnknown) {
		t.Errorf("appended on a full disk: %v", err)
	}
	held, err := files.Lock(filepath.Join(home, "lock"))
	if err != nil {
		t.Fatalf("a full disk prevents the lock: %v", err)
	}
	must(t, held.Close())
	holds(t, home, "old", "one\n")

	must(t, os.Remove(filler))
	must(t, log.Append([]byte("two")))
	must(t, files.Write(path, []byte("new")))
	holds(t, home, "new", "one\ntwo\n")

	must(t, log.Close()) // a file open for writing prevents the next step
	must(t, unix.Mount("", home, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if err := files.Write(path, []byte("newer")); !errors.Is(err, durable.ErrReadOnly) || errors.Is(err, durable.ErrUnknown) {
		t.Errorf("on a read-only disk: %v", err)
	}
	if _, err := files.OpenLog(journal); !errors.Is(err, durable.ErrReadOnly) {
		t.Errorf("a log on a read-only disk: %v", err)
	}
	if got, err := files.Read(path, 3); err != nil || string(got) != "new" {
		t.Errorf("reading from a read-only disk: %q, %v", got, err)
	}
	holds(t, home, "new", "one\ntwo\n")
}

func holds(t *testing.T, home, file, log string) {
	t.Helper()
	if got := content(t, filepath.Join(home, "file")); got != file {
		t.Errorf("the file is %q, want %q", got, file)
	}
	if got := content(t, filepath.Join(home, "log")); got != log {
		t.Errorf("the log is %q, want %q", got, log)
	}
	if left := temps(t, home); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
