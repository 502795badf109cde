package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mintmark/internal/durable"
)

// calls is every way to a file.
var calls = map[string]func(files durable.Files, path string) error{
	"CheckFile": durable.Files.CheckFile,
	"Read":      func(files durable.Files, path string) error { _, err := files.Read(path, 1<<20); return err },
	"Write":     func(files durable.Files, path string) error { return files.Write(path, []byte("overwritten")) },
	"OpenLog":   func(files durable.Files, path string) error { _, err := files.OpenLog(path); return err },
	"Lock":      func(files durable.Files, path string) error { _, err := files.Lock(path); return err },
}

// folderCalls refuse a bad folder, whatever is in it.
var folderCalls = map[string]func(files durable.Files, path string) error{
	"CheckFolder":      func(files durable.Files, path string) error { return files.CheckFolder(filepath.Dir(path)) },
	"CreateNew":        func(files durable.Files, path string) error { return files.CreateNew(path+"2", []byte("new")) },
	"RemoveStaleTemps": durable.Files.RemoveStaleTemps,
}

func TestRefusesFilesThatAreNotOursAlone(t *testing.T) {
	for name, test := range map[string]struct {
		make    func(t *testing.T, path string)
		problem string
		remedy  string // with PATH for the quoted path
	}{
		"readable by all": {
			func(t *testing.T, path string) { create(t, path, "secret", 0o644) },
			"is open to group or others (mode 0644)", "chmod 600 PATH",
		},
		"writable by group": {
			func(t *testing.T, path string) { create(t, path, "secret", 0o660) },
			"is open to group or others (mode 0660)", "chmod 600 PATH",
		},
		"readable by others": {
			func(t *testing.T, path string) { create(t, path, "secret", 0o604) },
			"is open to group or others (mode 0604)", "chmod 600 PATH",
		},
		"executable by group": {
			func(t *testing.T, path string) { create(t, path, "secret", 0o710) },
			"is open to group or others (mode 0710)", "chmod 600 PATH",
		},
		"symbolic link": {
			func(t *testing.T, path string) { must(t, os.Symlink(create(t, path+".real", "secret", 0o600), path)) },
			"is a symbolic link and not a regular file", "use the path printed by: readlink -f PATH",
		},
		"dangling symbolic link": {
			func(t *testing.T, path string) { must(t, os.Symlink(path+".real", path)) },
			"is a symbolic link and not a regular file", "use the path printed by: readlink -f PATH",
		},
		"hard link": {
			func(t *testing.T, path string) { must(t, os.Link(create(t, path+"-2", "secret", 0o600), path)) },
			"has 2 names (hard links)", "cp -p PATH NEW && mv NEW PATH",
		},
		"named pipe": {
			func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) },
			"is a named pipe and not a regular file", "mv PATH OLD",
		},
		"socket": {
			func(t *testing.T, path string) {
				short := filepath.Join(t.TempDir(), "s") // socket paths are short
				listener, err := net.Listen("unix", short)
				must(t, err)
				t.Cleanup(func() { _ = listener.Close() })
				must(t, os.Rename(short, path))
			},
			"is a socket and not a regular file", "mv PATH OLD",
		},
		"folder": {
			func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) },
			"is a folder and not a regular file", "mv PATH OLD",
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := newHome(t)
			path := filepath.Join(home, "file")
			test.make(t, path)
			remedy := strings.NewReplacer("PATH", shell(path), "NEW", shell(path+".new"), "OLD", shell(path+".old")).Replace(test.remedy)
			refuses(t, home, path, calls, durable.AccessError{Path: path, Problem: test.problem, Remedy: remedy})
			if err := (durable.Files{}).CreateNew(path, nil); !errors.Is(err, fs.ErrExist) {
				t.Errorf("CreateNew: %v, want fs.ErrExist", err)
			}
			if !strings.HasPrefix(remedy, "use ") {
				remedied(t, remedy, func() error { return durable.Files{}.CheckFile(path) })
			}
		})
	}
}

func TestRefusesFilesOfAnotherOwner(t *testing.T) {
	folder, owner := os.Getenv(foreignVar), 0 // made by the parent, who is root
	if folder == "" {
		if folder, owner = foreign(t, 0), nobody; folder == "" {
			t.Skip("SKIPPED: only root can make another user's files")
		}
	}
	uid := os.Geteuid()
	for _, name := range []string{"closed", "open"} {
		path := filepath.Join(folder, name)
		remedy := fmt.Sprintf("chown %d %s", uid, path)
		if uid == 0 {
			remedy = fmt.Sprintf("run this as the user with uid %d, or: %s", owner, remedy)
		}
		refuses(t, folder, path, calls, durable.AccessError{
			Path: path, Remedy: remedy,
			Problem: fmt.Sprintf("belongs to uid %d and not to uid %d, who runs this", owner, uid),
		})
	}
	device := filepath.Join(folder, "device")
	if _, err := os.Lstat(device); err == nil {
		refuses(t, folder, device, calls, durable.AccessError{
			Path:    device,
			Problem: "is a device and not a regular file", Remedy: "mv " + device + " " + device + ".old",
		})
	}
	inside := filepath.Join(folder, "folder", "file")
	var refusal *durable.AccessError
	if err := (durable.Files{}).Write(inside, nil); !errors.As(err, &refusal) || refusal.Path != filepath.Dir(inside) {
		t.Errorf("a folder of another owner: %v", err)
	}
	below := filepath.Join(folder, "folder", "ours", "file")
	if err := (durable.Files{}).Write(below, nil); errors.As(err, &refusal) == (owner == 0) {
		t.Errorf("below a folder of uid %d: %v", owner, err) // only root's is as good as ours
	}
}

// foreign makes a folder that belongs to uid and holds things that do not; only
// root can, for others the answer is empty.
func foreign(t *testing.T, uid int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return ""
	}
	other := nobody - uid
	folder := filepath.Join(t.TempDir(), "foreign")
	must(t, os.Mkdir(folder, 0o700))
	for name, mode := range map[string]fs.FileMode{"closed": 0o600, "open": 0o644} {
		must(t, os.Chown(create(t, filepath.Join(folder, name), "secret", mode), other, other))
	}
	must(t, os.Mkdir(filepath.Join(folder, "folder"), 0o755))
	must(t, os.Chown(filepath.Join(folder, "folder"), other, other))
	must(t, os.Mkdir(filepath.Join(folder, "folder", "ours"), 0o700))
	must(t, os.Chown(filepath.Join(folder, "folder", "ours"), uid, uid))
	device := filepath.Join(folder, "device")
	if err := makeNull(device); err != nil {
		t.Logf("without a device: %v", err)
	} else {
		must(t, os.Chown(device, uid, uid))
		must(t, os.Chmod(device, 0o600))
	}
	must(t, os.Chown(folder, uid, uid))
	return folder
}

func TestRefusesFoldersThatOthersCanReach(t *testing.T) {
	for name, test := range map[string]struct {
		make   func(t *testing.T, root string) (path, culprit string)
		remedy string
	}{
		"group-writable": {func(t *testing.T, root string) (string, string) {
			dir := folder(t, filepath.Join(root, "a"), 0o770)
			return filepath.Join(dir, "file"), dir
		}, "chmod 700 PATH"},
		"readable by others": {func(t *testing.T, root string) (string, string) {
			dir := folder(t, filepath.Join(root, "a"), 0o705)
			return filepath.Join(dir, "file"), dir
		}, "chmod 700 PATH"},
		"sticky but open": {func(t *testing.T, root string) (string, string) {
			dir := folder(t, filepath.Join(root, "a"), 0o777|fs.ModeSticky)
			return filepath.Join(dir, "file"), dir
		}, "chmod 700 PATH"},
		"symbolic link": {func(t *testing.T, root string) (string, string) {
			dir := folder(t, filepath.Join(root, "a"), 0o700)
			create(t, filepath.Join(dir, "file"), "old", 0o600)
			must(t, os.Symlink(dir, dir+"-link"))
			return filepath.Join(dir+"-link", "file"), dir + "-link"
		}, "use the path printed by: readlink -f PATH"},
		"regular file": {func(t *testing.T, root string) (string, string) {
			file := create(t, filepath.Join(root, "a"), "old", 0o600)
			return filepath.Join(file, "file"), file
		}, "mv PATH OLD"},
		"below a world-writable folder": {func(t *testing.T, root string) (string, string) {
			open := folder(t, filepath.Join(root, "a"), 0o777)
			dir := folder(t, filepath.Join(open, "b", "c"), 0o700)
			return filepath.Join(dir, "file"), open
		}, "chmod o-w PATH"},
		"below a link into a world-writable folder": {func(t *testing.T, root string) (string, string) {
			open := folder(t, filepath.Join(root, "a"), 0o777)
			dir := folder(t, filepath.Join(open, "b", "c"), 0o700)
			must(t, os.Symlink("./a/b", filepath.Join(root, "link")))
			create(t, filepath.Join(dir, "file"), "old", 0o600)
			return filepath.Join(root, "link", "c", "file"), open
		}, "chmod o-w PATH"},
		"below a link in a world-writable folder": {func(t *testing.T, root string) (string, string) {
			open := folder(t, filepath.Join(root, "a"), 0o777)
			dir := folder(t, filepath.Join(root, "b", "c"), 0o700)
			must(t, os.Symlink(filepath.Join(root, "b"), filepath.Join(open, "link")))
			create(t, filepath.Join(dir, "file"), "old", 0o600)
			return filepath.Join(open, "link", "c", "file"), open
		}, "chmod o-w PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			root := newHome(t)
			path, culprit := test.make(t, root)
			for _, more := range []map[string]func(durable.Files, string) error{calls, folderCalls} {
				refuses(t, root, path, more, durable.AccessError{
					Path:   culprit,
					Remedy: strings.NewReplacer("PATH", shell(culprit), "OLD", shell(culprit+".old")).Replace(test.remedy),
				})
			}
			if strings.HasPrefix(test.remedy, "chmod") {
				remedied(t, strings.ReplaceAll(test.remedy, "PATH", shell(culprit)),
					func() error { return durable.Files{}.CheckFolder(filepath.Dir(path)) })
			}
		})
	}
}

func TestAcceptsClosedFoldersHoweverTheyAreReached(t *testing.T) {
	root := newHome(t)
	sticky := folder(t, filepath.Join(root, "sticky"), 0o777|fs.ModeSticky)
	dir := folder(t, filepath.Join(sticky, "b", "c"), 0o700)
	folder(t, filepath.Join(root, "group"), 0o775)
	must(t, os.Symlink("../sticky/./b", filepath.Join(root, "group", "relative")))
	must(t, os.Symlink(filepath.Join(root, "group", "relative"), filepath.Join(root, "absolute")))
	create(t, filepath.Join(dir, "file"), "old", 0o600)
	for _, way := range []string{"sticky/b/c", "group/relative/c", "absolute/c", "absolute/c/", "sticky/nothing/../b/c"} {
		files := durable.Files{}
		path := root + "/" + way + "/file"
		if data, err := files.Read(path, 3); err != nil || string(data) != "old" {
			t.Errorf("Read by %s: %q, %v", way, data, err)
		}
		if err := files.Write(path, []byte("old")); err != nil {
			t.Errorf("Write by %s: %v", way, err)
		}
	}
}

func TestRefusesLinksInACircleAndRelativePaths(t *testing.T) {
	root := newHome(t)
	must(t, os.Symlink("a", filepath.Join(root, "b")))
	must(t, os.Symlink("b", filepath.Join(root, "a")))
	if err := (durable.Files{}).CheckFolder(filepath.Join(root, "a", "c")); !errors.Is(err, unix.ELOOP) {
		t.Errorf("links in a circle: %v", err)
	}
	if err := (durable.Files{}).Write("file", nil); err == nil {
		t.Error("a relative path was accepted")
	}
}

func TestSaysWhatIsMissing(t *testing.T) {
	home := newHome(t)
	for name, call := range calls {
		for _, path := range []string{filepath.Join(home, "none"), filepath.Join(home, "none", "file")} {
			creates := filepath.Dir(path) == home && (name == "Write" || name == "Lock")
			err := call(durable.Files{}, path)
			if errors.Is(err, fs.ErrNotExist) == creates {
				t.Errorf("%s(%s): %v", name, path, err)
			}
			if creates {
				must(t, os.Remove(path))
			}
		}
	}
}

// swapping exchanges the file after it was checked and before it is opened.
type swapping struct {
	durable.System
	swap func(path string)
}

func (s swapping) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	s.swap(path)
	return s.System.Open(path, flag, perm)
}

func TestRefusesAFileThatWasSwappedAfterTheCheck(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, path string){
		"symbolic link": func(t *testing.T, path string) { must(t, os.Symlink(create(t, path+"-2", "new", 0o600), path)) },
		"hard link":     func(t *testing.T, path string) { must(t, os.Link(create(t, path+"-2", "new", 0o600), path)) },
		"named pipe":    func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) },
		"open file":     func(t *testing.T, path string) { create(t, path, "new", 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			path := create(t, filepath.Join(newHome(t), "file"), "old", 0o600)
			files := durable.Files{Ops: swapping{swap: func(path string) {
				must(t, os.Remove(path))
				put(t, path)
			}}}
			var refusal *durable.AccessError
			if data, err := files.Read(path, 100); !errors.As(err, &refusal) {
				t.Errorf("Read: %q, %v", data, err)
			}
		})
	}
}

// TestNoReadAndNoWriteFollowsALinkThatComesAndGoes races with somebody who puts
// a link to another file in place, and a file again, as fast as can be.
func TestNoReadAndNoWriteFollowsALinkThatComesAndGoes(t *testing.T) {
	const rounds = 10_000
	home := newHome(t)
	path, secret := filepath.Join(home, "file"), create(t, filepath.Join(t.TempDir(), "secret"), "secret", 0o600)
	create(t, path, "ours", 0o600)
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			link, file := path+"-link", path+"-file"
			if err := errors.Join(os.Symlink(secret, link), os.Rename(link, path),
				os.WriteFile(file, []byte("ours"), 0o600), os.Rename(file, path)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	read, refused := 0, 0
	for i := range rounds {
		data, err := durable.Files{}.Read(path, 100)
		var refusal *durable.AccessError
		switch {
		case err == nil && string(data) == "ours":
			read++
		case err != nil && len(data) == 0 && (errors.As(err, &refusal) || errors.Is(err, fs.ErrNotExist)):
			refused++
		case err != nil && len(data) == 0 && strings.Contains(err.Error(), "EOF"): // it was truncated meanwhile
		default:
			t.Fatalf("round %d: read %q, %v", i, data, err)
		}
		if i%100 == 0 {
			if err := (durable.Files{}).Write(path, []byte("ours")); err != nil && !errors.As(err, &refusal) {
				t.Fatalf("round %d: write: %v", i, err)
			}
		}
	}
	close(stop)
	swapper.Wait()
	if content(t, secret) != "secret" {
		t.Error("a write went through the link")
	}
	if read == 0 || refused == 0 {
		t.Errorf("%d read, %d refused: nobody raced", read, refused)
	}
}

// TestAlsoAsAnOrdinaryUser repeats what root would be allowed to do anyway.
func TestAlsoAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("all tests run as an ordinary user already")
		return
	}
	place, err := os.MkdirTemp("", "durable")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(place) })
	must(t, os.Chmod(place, 0o755))
	binary := filepath.Join(place, "durable.test")
	must(t, copyFile(os.Args[0], binary))
	temp := folder(t, filepath.Join(place, "temp"), 0o700)
	must(t, os.Chown(temp, nobody, nobody))
	theirs := foreign(t, nobody)
	must(t, os.Rename(theirs, filepath.Join(place, "foreign")))

	cmd := exec.Command(binary, "-test.v", "-test.run=Refuses|Accepts|Says|Names|Read")
	cmd.Dir = place
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, foreignVar+"="+filepath.Join(place, "foreign"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestRefusesFilesOfAnotherOwner") {
		t.Fatalf("as uid %d: %v\n%s", nobody, err, out)
	}
}

// TestNamesWhatItMayNotEnter needs modes to be obeyed, so it says nothing as root.
func TestNamesWhatItMayNotEnter(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("run by TestAlsoAsAnOrdinaryUser")
		return
	}
	home := newHome(t)
	path := create(t, filepath.Join(home, "file"), "old", 0)
	refusal := durable.AccessError{
		Path: path, Remedy: "chmod 600 " + shell(path),
		Problem: fmt.Sprintf("is closed to uid %d, who runs this", os.Geteuid()),
	}
	read := map[string]func(durable.Files, string) error{"Read": calls["Read"]}
	refusesCalls(t, path, read, refusal)
	must(t, os.Chmod(path, 0o600))
	must(t, os.Chmod(home, 0o500))
	refusal.Path, refusal.Remedy = home, "chmod 700 "+shell(home)
	refusesCalls(t, path, map[string]func(durable.Files, string) error{"Write": calls["Write"], "CreateNew": folderCalls["CreateNew"]}, refusal)
	must(t, os.Chmod(home, 0o600))
	refusesCalls(t, path, read, refusal)
	must(t, os.Chmod(home, 0o700))
	refusal.Path, refusal.Remedy = home, "chmod a+x "+shell(home)
	inner := folder(t, filepath.Join(home, "inner", "most"), 0o700)
	must(t, os.Chmod(home, 0o600))
	refusesCalls(t, filepath.Join(inner, "file"), read, refusal)
	must(t, os.Chmod(home, 0o700))
}

// refuses makes every call and finds the refusal, and nothing changed.
func refuses(t *testing.T, root, path string, calls map[string]func(durable.Files, string) error, want durable.AccessError) {
	t.Helper()
	before := snapshot(t, root)
	refusesCalls(t, path, calls, want)
	if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
}

func refusesCalls(t *testing.T, path string, calls map[string]func(durable.Files, string) error, want durable.AccessError) {
	t.Helper()
	for name, call := range calls {
		err := call(durable.Files{}, path)
		var got *durable.AccessError
		if !errors.As(err, &got) {
			t.Errorf("%s: %v, want an AccessError", name, err)
			continue
		}
		if want.Problem == "" {
			want.Problem = got.Problem
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s refused otherwise:\n%s", name, diff)
		}
	}
}

// remedied runs the remedy and finds the check content: the file is in order, or
// out of the way.
func remedied(t *testing.T, remedy string, check func() error) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", remedy).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", remedy, err, out)
	}
	if err := check(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after %s: %v", remedy, err)
	}
}

func shell(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

func folder(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	must(t, os.MkdirAll(path, 0o700))
	must(t, os.Chmod(path, mode))
	return path
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
