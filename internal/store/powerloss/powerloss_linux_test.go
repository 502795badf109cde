// Package powerloss has the stores that keep files lose the power, again and
// again, and looks what is left.
//
// It touches an ext4 file system of its own, in an image on a loop device, and
// needs to be root.
//
// The one hard idea: a file system that is shut down without its journal keeps
// what was synced and nothing else, as a disk does whose machine goes dark. Two
// stores that do not sync as they should show that the loss would be seen.
package powerloss

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/storetest"
)

const (
	homeVar  = "POWERLOSS_TEST_HOME"
	storeVar = "POWERLOSS_TEST_STORE" // json or sqlite
	flawVar  = "POWERLOSS_TEST_FLAW"  // what is not synced: files, folders; empty: everything is
	firstVar = "POWERLOSS_TEST_FIRST"

	population = 200
)

// TestMain lets the test binary be the process whose machine goes dark.
func TestMain(m *testing.M) {
	if home := os.Getenv(homeVar); home != "" {
		fmt.Fprintln(os.Stderr, work(home))
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func work(home string) error {
	first, err := strconv.Atoi(os.Getenv(firstVar))
	if err != nil {
		return err
	}
	files := flawed(os.Getenv(flawVar))
	if os.Getenv(storeVar) == "file" {
		return rewrite(filepath.Join(home, "number"), files, first)
	}
	s, err := open(home, os.Getenv(storeVar), files, false)
	if err != nil {
		return err
	}
	return storetest.Work(os.Stdout, s, first)
}

// rewrite writes one number after the other into a file, says each, and leaves
// some time before the next, which would sync what was forgotten.
func rewrite(path string, files durable.Files, n int) error {
	for {
		if err := files.Write(path, []byte(strconv.Itoa(n))); err != nil {
			return err
		}
		fmt.Println(n)
		time.Sleep(20 * time.Millisecond)
		n++
	}
}

// open opens a store, and makes it first when it is to be new.
func open(home, kind string, files durable.Files, fresh bool) (authority.Store, error) {
	ctx := context.Background()
	if kind == "sqlite" {
		cfg := sqlite.Config{Path: filepath.Join(home, "mintmark.db"), Files: files, Now: time.Now, Rand: rand.Reader}
		if fresh {
			if err := sqlite.Create(ctx, cfg); err != nil {
				return nil, err
			}
		}
		return sqlite.Open(ctx, cfg)
	}
	cfg := mapstore.Config{Home: home, Tokens: filepath.Join(home, "tokens.json"), Files: files, Now: time.Now}
	if fresh {
		if err := errors.Join(mapstore.CreateTokens(files, cfg.Tokens), mapstore.Create(mapstore.Config{Home: home, Files: files, Now: time.Now})); err != nil {
			return nil, err
		}
	}
	return mapstore.Open(cfg)
}

// flawed is a file system that does not sync what it is told to.
func flawed(flaw string) durable.Files {
	if flaw == "" {
		return durable.Files{}
	}
	return durable.Files{Ops: forgetful{folders: flaw == "folders"}}
}

// forgetful syncs nothing, or nothing but files.
type forgetful struct {
	durable.System
	folders bool // folders are forgotten, files are not
}

func (f forgetful) Open(path string, flag int, perm os.FileMode) (durable.File, error) {
	opened, err := f.System.Open(path, flag, perm)
	if err != nil {
		return nil, err
	}
	about, err := opened.Stat()
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	if f.folders && !about.IsDir() {
		return opened, nil
	}
	return unsynced{opened}, nil
}

type unsynced struct{ durable.File }

func (unsynced) Sync() error { return nil }

// disk is a file system that can lose its power.
type disk struct{ image, at string }

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Getenv("MINTMARK_POWERLOSS") == "" {
		t.Skip("not run: MINTMARK_POWERLOSS is not set (make power)")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil || os.Getuid() != 0 {
		t.Skip("not run: it needs root and loop devices")
	}
	dir := t.TempDir()
	d := &disk{filepath.Join(dir, "image"), filepath.Join(dir, "disk")}
	run(t, "truncate", "-s", "256M", d.image)
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	run(t, "mkdir", d.at)
	d.mount(t)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", d.at).Run() })
	run(t, "chmod", "0700", d.at)
	return d
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (d *disk) mount(t *testing.T) {
	t.Helper()
	run(t, "mount", "-o", "loop", d.image, d.at)
}

// again is the power that comes back: the journal is replayed. Whoever has copied
// the mounts of this process meanwhile keeps the dark file system for a moment.
func (d *disk) again(t *testing.T) {
	t.Helper()
	run(t, "umount", d.at)
	for range 1000 {
		if !d.attached() {
			d.mount(t)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the file system that went dark is not let go of")
}

// attached reports whether a loop device still has the image.
func (d *disk) attached() bool {
	devices, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, device := range devices {
		if file, err := os.ReadFile(device); err == nil && strings.TrimSpace(string(file)) == d.image {
			return true
		}
	}
	return false
}

const (
	shutdown        = 0x8004587d // EXT4_IOC_SHUTDOWN
	withoutTheirLog = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
)

// goDark ends the file system as it is on the disk.
func (d *disk) goDark() {
	f, err := os.Open(d.at)
	if err != nil {
		return
	}
	defer f.Close()
	flags := uint32(withoutTheirLog)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags)))
	if errno != 0 {
		fmt.Fprintln(os.Stderr, "the file system does not go dark:", errno)
	}
}

// still stops a process between two calls of the system. A sync that is under way
// when the file system goes dark may be answered as if it had been done, which no
// disk without power does.
func still(pid int) {
	_ = unix.Kill(pid, unix.SIGSTOP)
	for range 5000 {
		if stopped(pid) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// stopped reports whether every thread of a process has stopped.
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if _, rest, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}

func shake(t *testing.T, kind string) {
	t.Helper()
	d := newDisk(t)
	home := d.home(t)
	s, err := open(home, kind, durable.Files{}, true)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Populate(t, s, population)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "sync")
	k := storetest.Kills{
		Command: func(first int) *exec.Cmd { return process(home, kind, "", first) }, Cycles: cycles(), Population: population,
		End: func(cmd *exec.Cmd) {
			still(cmd.Process.Pid)
			d.goDark()
		}, Between: d.again,
	}
	k.Run(t)
}

func (d *disk) home(t *testing.T) string {
	t.Helper()
	home := filepath.Join(d.at, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	return home
}

func process(home, kind, flaw string, first int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), homeVar+"="+home, storeVar+"="+kind, flawVar+"="+flaw, firstVar+"="+strconv.Itoa(first))
	return cmd
}

func cycles() int {
	if n, err := strconv.Atoi(os.Getenv("MINTMARK_POWERLOSS")); err == nil && n > 1 {
		return n
	}
	return 200
}

func TestAJSONFileLosesNothingWithThePower(t *testing.T) { shake(t, "json") }

func TestASQLiteFileLosesNothingWithThePower(t *testing.T) { shake(t, "sqlite") }

// A loss that is not seen would prove nothing: a file that is written without
// syncing it, or without syncing its folder, is not what it was said to be.
func TestALossIsSeen(t *testing.T) {
	for flaw, wanted := range map[string]bool{"": false, "files": true, "folders": true} {
		t.Run("forgetting "+flaw, func(t *testing.T) {
			d := newDisk(t)
			home := d.home(t)
			lost := false
			for cycle := 0; cycle < 10 && !lost; cycle++ {
				n, found := d.rewritten(t, home, flaw, (cycle+1)*1000)
				if lost = found < n; lost {
					t.Logf("%d was said, %d is there", n, found)
				}
			}
			if lost != wanted {
				t.Errorf("a loss was seen: %t", lost)
			}
		})
	}
}

// rewritten lets a process rewrite a file until the power goes, and answers the
// last number that it said and the one that is there afterwards; 0 is none.
func (d *disk) rewritten(t *testing.T, home, flaw string, first int) (said, found int) {
	t.Helper()
	cmd := process(home, "file", flaw, first)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() {
		defer close(ended)
		still(cmd.Process.Pid)
		d.goDark()
		_ = cmd.Process.Kill()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said, _ = strconv.Atoi(lines.Text())
	}
	<-ended
	_ = cmd.Wait()
	d.again(t)
	text, _ := os.ReadFile(filepath.Join(home, "number"))
	found, _ = strconv.Atoi(string(text))
	return said, found
}
