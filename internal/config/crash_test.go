package config_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
)

// trialOnDisk is a folder with a book of which revision 2 is on trial.
func trialOnDisk(t *testing.T) (path string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(folder, "config.json")
	b, err := config.Create(durable.Files{}, path, map[string]string{config.Listen: "127.0.0.1:3000"}, root, t0)
	if err != nil {
		t.Fatal(err)
	}
	stage(t, b, config.Listen, elsewhere)
	if _, _, err := b.ApplyOnTrial(0, config.TrialLength, maria, t0); err != nil {
		t.Fatal(err)
	}
	return path
}

func openFrom(t *testing.T, files durable.Files, path string) *config.Book {
	t.Helper()
	b, err := config.Open(files, path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// later is the operating system until a test lets its operations fail.
type later struct{ durable.Ops }

// dies gives an answer to a trial on a machine that dies as faults say, and
// reports whether it died, and whether it had acknowledged the answer.
func dies(t *testing.T, path, name string, faults *durabletest.Faults) (died, acknowledged bool) {
	t.Helper()
	dead, said := make(chan struct{}), make(chan error, 1)
	faults.Then = func() {
		close(dead)
		select {} // nothing is done any more
	}
	ops := &later{durable.System{}}
	b := openFrom(t, durable.Files{Ops: ops}, path)
	ops.Ops = faults
	go func() { said <- answers(b, 2)[name]() }()
	select {
	case <-dead:
		return true, false
	case err := <-said:
		if err != nil {
			t.Fatal(err)
		}
		return false, true
	}
}

// TestAMachineThatDiesKeepsTheTrialOrItsEnd lets the machine die before, in and
// behind every operation that an answer to the trial does on the disk. The next
// start finds all old or all new, and after the time of the trial it is over.
func TestAMachineThatDiesKeepsTheTrialOrItsEnd(t *testing.T) {
	t.Parallel()
	for name := range answers(nil, 0) {
		old := whole(openFrom(t, durable.Files{}, trialOnDisk(t)))
		path := trialOnDisk(t)
		dies(t, path, name, &durabletest.Faults{})
		renewed := whole(openFrom(t, durable.Files{}, path))
		if cmp.Equal(old, renewed) {
			t.Fatalf("%s changes nothing", name)
		}
		for how, fault := range map[string]error{"before": syscall.EIO, "in": io.ErrShortWrite, "behind": syscall.EIO} {
			deaths := 0
			for at := 1; at < 40; at++ {
				t.Run(fmt.Sprintf("%s/%s operation %d", name, how, at), func(t *testing.T) {
					path := trialOnDisk(t)
					died, acknowledged := dies(t, path, name, &durabletest.Faults{At: at, Err: fault, Done: how == "behind"})
					if died {
						deaths++
					}
					b := openFrom(t, durable.Files{}, path)
					if found := whole(b); !cmp.Equal(found, renewed) && (acknowledged || !cmp.Equal(found, old)) {
						t.Errorf("acknowledged: %v; found %v", acknowledged, found)
					}
					if _, err := b.EndTrial(after(time.Hour)); err != nil {
						t.Fatal(err)
					}
					if _, runs := openFrom(t, durable.Files{}, path).Trial(); runs {
						t.Error("the trial goes on")
					}
				})
			}
			if deaths == 0 {
				t.Errorf("%s: the machine never died %s an operation", name, how)
			}
		}
	}
}
