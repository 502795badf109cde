package home_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/durable"
	"mintmark/internal/home"
)

func TestTheSocketIsClosedToOthers(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	for range 2 { // the second finds a dead socket
		l, err := d.Listen(t.Context())
		must(t, err)
		info, err := os.Lstat(d.Socket())
		must(t, err)
		if info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
			t.Errorf("mode %v", info.Mode())
		}
		c, err := d.Dial(t.Context())
		must(t, err)
		_ = c.Close()
		must(t, l.Close())
		write(t, d.Socket(), "") // a process that was killed leaves one
	}
}

func TestAPathTooLongForASocketHasAnotherOfItsOwner(t *testing.T) {
	t.Parallel()
	long := filepath.Join(folder(t), strings.Repeat("long", 25))
	must(t, os.Mkdir(long, 0o700))
	d := createAt(t, filepath.Join(long, "home"))
	path := d.Socket()
	if len(path) > 100 || strings.HasPrefix(path, string(d)) {
		t.Fatalf("the socket is %s", path)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(path)) })
	if other := home.Dir(string(d) + "2").Socket(); other == path {
		t.Error("two homes share a socket")
	}
	pid, err := d.Start(soon(t))
	must(t, err)
	wantState(t, d, home.Running, pid)
	info, err := os.Lstat(filepath.Dir(path))
	must(t, err)
	if info.Mode() != os.ModeDir|0o700 {
		t.Errorf("its folder is %v", info.Mode())
	}
	r, err := d.Client().Get("http://home/hello")
	must(t, err)
	_ = r.Body.Close()
	if _, err := d.Stop(soon(t), durable.Files{}); err != nil {
		t.Error(err)
	}
}

// A folder that others can reach could hold anybody's socket: nobody listens
// there, and nobody tells it anything.
func TestAFolderThatOthersCanReachIsRefusedByBothEnds(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, folder string){
		"open to others": func(t *testing.T, folder string) { must(t, os.Chmod(folder, 0o711)) },
		"a link": func(t *testing.T, folder string) {
			must(t, os.Rename(folder, folder+".real"))
			must(t, os.Symlink(folder+".real", folder))
		},
		"a file": func(t *testing.T, folder string) {
			must(t, os.RemoveAll(folder))
			write(t, folder, "")
		},
		"another user's": func(t *testing.T, folder string) {
			if os.Geteuid() == 0 {
				must(t, os.Chown(folder, 65534, 65534))
			} else { // the same from the other side
				must(t, os.Chmod(folder, 0o755))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newHome(t)
			spoil(t, filepath.Dir(d.Socket()))
			if l, err := d.Listen(t.Context()); err == nil {
				t.Error("it listens there")
				_ = l.Close()
			}
			if c, err := d.Dial(t.Context()); err == nil {
				t.Error("it connects there")
				_ = c.Close()
			}
		})
	}
}

func TestDialWithoutAServerSaysThatNobodyIsThere(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	if _, err := d.Dial(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", d.Socket())
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, l.Close())
	// A process that another test starts just now has the socket for a moment, too.
	for patience := soon(t); ; time.Sleep(time.Millisecond) {
		c, err := d.Dial(t.Context())
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err != nil || patience.Err() != nil {
			t.Fatalf("a dead socket: %v", err)
		}
		_ = c.Close()
	}
	if _, err := home.Dir(string(d) + "/none").Dial(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no home: %v", err)
	}
	must(t, os.Remove(d.Socket()))
	must(t, os.MkdirAll(filepath.Join(d.Socket(), "in the way"), 0o700))
	if _, err := d.Listen(t.Context()); err == nil {
		t.Error("it listens in place of a folder")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := d.Dial(ended); err == nil {
		t.Error("it connects after its time")
	}
}

// Another user who gets at the socket, by whatever mistake, is not served.
func TestAnotherUserIsNotServed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can be two users")
		}
		t.Skip("SKIPPED: only root can be two users")
	}
	d := newHome(t)
	start(t, "serve", d)
	r, err := d.Client().Get("http://home/hello")
	must(t, err)
	_ = r.Body.Close()
	// The socket is laid open and the other user has it.
	must(t, os.Chmod(d.Socket(), 0o666))
	must(t, os.Chmod(filepath.Dir(d.Socket()), 0o755))
	must(t, os.Chmod(string(d), 0o755))
	must(t, os.Chmod(filepath.Dir(string(d)), 0o755))
	program, err := os.Executable()
	must(t, err)
	in, err := os.ReadFile(program)
	must(t, err)
	copied := filepath.Join(filepath.Dir(string(d)), "caller")
	whileNobodyForks(func() { must(t, os.WriteFile(copied, in, 0o755)) })
	cmd := exec.Command(copied)
	cmd.Env = append(os.Environ(), roleVar+"=connect", dirVar+"="+string(d))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "EOF") && !strings.Contains(string(out), "reset") {
		t.Errorf("the other user got %q, %v", out, err)
	}
}
