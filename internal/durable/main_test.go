package durable_test

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mintmark/internal/durable"
)

const (
	roleVar    = "DURABLE_TEST_ROLE"    // what a child process is for
	homeVar    = "DURABLE_TEST_HOME"    // the folder it works in
	foreignVar = "DURABLE_TEST_FOREIGN" // a folder of ours with another user's things in it
	nobody     = 65534
)

// TestMain lets the test binary be the processes that are killed.
func TestMain(m *testing.M) {
	home := os.Getenv(homeVar)
	switch os.Getenv(roleVar) {
	case "hold":
		exit(holdLock(home))
	case "write":
		exit(writeForever(home))
	default:
		os.Exit(m.Run())
	}
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}

// child is another process of this test binary.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
}

func start(t *testing.T, role, home string) child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"="+role, homeVar+"="+home)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // open until the child ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return child{cmd, bufio.NewScanner(out)}
}

// kill ends the child as kill -9 does and returns what it still had said.
func (c child) kill(t *testing.T) []string {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var rest []string
	for c.lines.Scan() {
		rest = append(rest, c.lines.Text())
	}
	_ = c.Wait()
	return rest
}

func holdLock(home string) error {
	held, err := durable.Files{}.Lock(filepath.Join(home, "lock"))
	if err != nil {
		return err
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return held.Close()
}

// newHome returns a closed folder whose name the shell could misread.
func newHome(t *testing.T) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "it's home")
	must(t, os.Mkdir(home, 0o700))
	return home
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, path, content string, mode fs.FileMode) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
	must(t, os.Chmod(path, mode))
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// temps lists the temporary files in home.
func temps(t *testing.T, home string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(home, ".temp-*"))
	must(t, err)
	return found
}

// snapshot describes everything below root: kinds, modes, owners, contents.
func snapshot(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&all, "%s %v uid=%d names=%d", path, info.Mode(), stat.Uid, stat.Nlink)
		if target, err := os.Readlink(path); err == nil {
			all.WriteString(" -> " + target)
		}
		if info.Mode().IsRegular() && stat.Uid == uint32(os.Geteuid()) {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&all, " %q", data)
		}
		all.WriteByte('\n')
		return nil
	}))
	return all.String()
}
