package mapstore_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
)

// TestFilesThatOthersCanReachAreRefused: what is checked is durable's matter;
// here, that each file of a store is checked before it is used.
func TestFilesThatOthersCanReachAreRefused(t *testing.T) {
	move := func(path string) error { return os.Rename(path, path+".real") }
	for name, spoil := range map[string]func(path string) error{
		"mode":      func(path string) error { return os.Chmod(path, 0o644) },
		"group":     func(path string) error { return os.Chmod(path, 0o660) },
		"hard link": func(path string) error { return os.Link(path, path+".twin") },
		"symlink":   func(path string) error { return errors.Join(move(path), os.Symlink(path+".real", path)) },
		"pipe":      func(path string) error { return errors.Join(move(path), syscall.Mkfifo(path, 0o600)) },
		"folder":    func(path string) error { return errors.Join(move(path), os.Mkdir(path, 0o700)) },
		"parent":    func(path string) error { return os.Chmod(filepath.Dir(path), 0o770) },
		"owner": func(path string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported // nobody else can give a file away
			}
			return os.Chown(path, 65534, 65534)
		},
	} {
		for _, file := range []string{"tokens.json", mapstore.StateFile, mapstore.AuditFile} {
			t.Run(name+" of "+file, func(t *testing.T) {
				cfg := newHome(t, durable.Files{})
				if err := open(t, cfg).Close(); err != nil {
					t.Fatal(err)
				}
				if err := spoil(filepath.Join(cfg.Home, file)); errors.Is(err, errors.ErrUnsupported) {
					t.Skip("only root can give a file away")
				} else if err != nil {
					t.Fatal(err)
				}
				s, err := mapstore.Open(cfg)
				if err == nil {
					_ = s.Close()
					t.Fatal("opened")
				}
				var refusal *durable.AccessError
				if !errors.As(err, &refusal) || !strings.Contains(err.Error(), cfg.Home) || refusal.Remedy == "" {
					t.Errorf("no path and remedy in: %v", err)
				}
			})
		}
	}
}

// TestAlsoAsAnOrdinaryUser repeats what root would be allowed to do anyway.
func TestAlsoAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 || os.Getenv(placeVar) != "" {
		t.Log("all tests run as an ordinary user already")
		return
	}
	place, err := os.MkdirTemp("", "mapstore")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(place) })
	temp, binary := filepath.Join(place, "temp"), filepath.Join(place, "mapstore.test")
	err = errors.Join(os.Chmod(place, 0o755), os.Mkdir(temp, 0o700), os.Chown(temp, 65534, 65534), copyFile(os.Args[0], binary))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.v", "-test.run=OthersCanReach|Missing|SecondOpener|EmptyFile")
	cmd.Dir = place
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, placeVar+"="+place)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFilesThatOthersCanReachAreRefused") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
