package home_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"mintmark/internal/durable"
	"mintmark/internal/home"
)

func TestCreateMakesAClosedDirectoryWithTheProgramInIt(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	program := filepath.Join(parent, "program")
	write(t, program, "#!/bin/true\n")
	empty := filepath.Join(parent, "empty")
	must(t, os.Mkdir(empty, 0o755))
	for _, path := range []string{filepath.Join(parent, "new"), empty} {
		d, _, err := home.Create(path, program)
		must(t, err)
		for name, want := range map[string]fs.FileMode{
			"": fs.ModeDir | 0o700, "run": fs.ModeDir | 0o700, "logs": fs.ModeDir | 0o700, "manager": 0o755,
		} {
			info, err := os.Lstat(filepath.Join(path, name))
			must(t, err)
			if info.Mode() != want {
				t.Errorf("%s: %v, want %v", filepath.Join(path, name), info.Mode(), want)
			}
		}
		if got, err := os.ReadFile(d.Manager()); err != nil || string(got) != "#!/bin/true\n" {
			t.Errorf("the manager is %q, %v", got, err)
		}
	}
}

func TestCreateRefusesWhatIsThereAndLeavesIt(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	program := filepath.Join(parent, "program")
	write(t, program, "x")
	file, full := filepath.Join(parent, "file"), filepath.Join(parent, "full")
	write(t, file, "mine")
	must(t, os.Mkdir(full, 0o700))
	write(t, filepath.Join(full, ".hidden"), "mine")
	_, _, err := home.Create(full, program)
	if !errors.Is(err, home.ErrExists) {
		t.Errorf("a directory that is not empty: %v", err)
	}
	contains(t, err, full, "not empty")
	for name, path := range map[string]string{"a file": file, "no parent": filepath.Join(parent, "a", "b")} {
		if _, _, err := home.Create(path, program); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for _, path := range []string{file, filepath.Join(full, ".hidden")} {
		if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
			t.Errorf("%s holds %q, %v", path, got, err)
		}
	}
	// The second time is refused as well.
	d := createAt(t, filepath.Join(parent, "home"))
	if _, _, err := home.Create(string(d), program); !errors.Is(err, home.ErrExists) {
		t.Errorf("a home is made over another: %v", err)
	}
}

func TestACreationThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	if _, _, err := home.Create(filepath.Join(parent, "new"), filepath.Join(parent, "no program")); err == nil {
		t.Fatal("it has no program")
	}
	must(t, os.Mkdir(filepath.Join(parent, "empty"), 0o700))
	program := filepath.Join(parent, "program")
	write(t, program, "x")
	d, undo, err := home.Create(filepath.Join(parent, "empty"), program)
	must(t, err)
	write(t, d.Config(), "{}")
	undo()
	entries, err := os.ReadDir(parent)
	must(t, err)
	for _, e := range entries {
		if e.Name() != "empty" && e.Name() != "program" {
			t.Errorf("%s is left", e.Name())
		}
	}
	if left, err := os.ReadDir(string(d)); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// Of many who create one home at once, one does, and the others undo nothing of
// it.
func TestOneOfManyCreatesAHome(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	program := filepath.Join(parent, "program")
	write(t, program, "x")
	for range 20 {
		path := filepath.Join(parent, "home")
		var made atomic.Int64
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if _, _, err := home.Create(path, program); err == nil {
					made.Add(1)
				} else if !errors.Is(err, home.ErrExists) {
					t.Errorf("refused with %v", err)
				}
			})
		}
		group.Wait()
		if made.Load() != 1 {
			t.Fatalf("%d made it", made.Load())
		}
		for _, name := range []string{"run", "logs", "manager"} {
			if _, err := os.Lstat(filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
		}
		must(t, os.RemoveAll(path))
	}
}

func TestOpenWantsAnInstallation(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	_, err := home.Open(string(d))
	if !errors.Is(err, home.ErrNone) {
		t.Errorf("a directory without a configuration: %v", err)
	}
	contains(t, err, string(d), "mintmark init")
	if got := home.Beside(d.Manager()); got != "" {
		t.Errorf("beside: %q", got)
	}
	write(t, d.Config(), "{}")
	if got, err := home.Open(string(d)); err != nil || got != d {
		t.Errorf("got %s, %v", got, err)
	}
	if got := home.Beside(d.Manager()); got != string(d) {
		t.Errorf("beside: %q", got)
	}
	if _, err := home.Open(d.Config()); err == nil || errors.Is(err, home.ErrNone) {
		t.Errorf("a file: %v", err)
	}
}

func TestAHomeIsHeldByOne(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	held, err := d.Lock(durable.Files{})
	must(t, err)
	var locked *durable.LockedError
	if _, err := d.Lock(durable.Files{}); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("a second time: %v", err)
	}
	must(t, held.Close())
	held, err = d.Lock(durable.Files{})
	must(t, err)
	must(t, held.Close())
	for _, path := range []string{d.Keyring(), d.Tokens(), d.Code(), d.Log()} {
		if rel, err := filepath.Rel(string(d), path); err != nil || !filepath.IsLocal(rel) {
			t.Errorf("%s is not in the home", path)
		}
	}
}

// A home that has lost its configuration is still one: its manager must not
// start as if there were none.
func TestALostConfigurationIsNoMissingHome(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	write(t, d.Keyring(), "")
	if got := home.Beside(d.Manager()); got != string(d) {
		t.Errorf("beside: %q", got)
	}
	_, err := home.Open(string(d))
	if errors.Is(err, home.ErrNone) {
		t.Errorf("it is taken for no home: %v", err)
	}
	contains(t, err, d.Config(), "lost", "Put a copy of it back")
}
