package authority_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
)

// victim is what the process that is killed is for.
type victim struct {
	Dir    string
	Clock  int64
	Change string // of crashes
	At     int    // the operation of the disk that it does not come back from
	Torn   bool   // of a write, half is done
	Done   bool   // it is done
}

const victimVar = "AUTHORITY_TEST_VICTIM"

// acknowledged is what the victim says when its change was answered without an
// error.
const acknowledged = "acknowledged"

// die makes the change and is killed on its way.
func (v victim) die(t *testing.T) {
	s := &site{newHouse(t), v.Dir}
	s.clock.Store(v.Clock)
	faults := &durabletest.Faults{At: v.At, For: 1, Err: syscall.EIO, Done: v.Done, Then: func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing is done between the signal and the end
	}}
	if v.Torn {
		faults.Err = io.ErrShortWrite
	}
	s.process(t, durable.Files{Ops: faults}, func(a *authority.Authority) {
		if err := crashes(s)[v.Change][1](context.Background(), a); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString(acknowledged + "\n")
	})
}

// kill runs the victim and reports whether it was killed, and whether it had
// acknowledged the change.
func (v victim) kill(t *testing.T) (killed, said bool) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAProcessKilledAtAnyStepLeavesAllOldOrAllNew$")
	cmd.Env = append(os.Environ(), victimVar+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		killed = true
	default:
		t.Fatalf("%+v: %v\n%s", v, err, out)
	}
	return killed, strings.Contains(string(out), acknowledged)
}

// victims are a process for each operation that the change does on the disk, killed
// before it, one for each write, killed half-way, one that is killed behind the
// last, and one that is not killed.
func (s *site) victims(t *testing.T, start map[string][]byte, change string) []victim {
	t.Helper()
	one := victim{Dir: s.dir, Clock: s.now().UnixNano(), Change: change}
	all := []victim{one}
	for at := s.operations(t, start) + 1; ; at++ {
		one.At, one.Torn, one.Done = at, false, false
		if s.hits(t, start, one) == "" {
			one.At, one.Done = at-1, true
			return append(all, one)
		}
		all = append(all, one)
		if one.Torn = true; s.hits(t, start, one) == "write" {
			all = append(all, one)
		}
	}
}

// hits is the operation that a victim would be killed at.
func (s *site) hits(t *testing.T, start map[string][]byte, v victim) string {
	t.Helper()
	s.restore(t, start)
	faults := &durabletest.Faults{At: v.At, For: 1 << 30, Err: syscall.EIO}
	if v.Torn {
		faults.For, faults.Err = 1, io.ErrShortWrite
	}
	s.process(t, durable.Files{Ops: faults}, func(a *authority.Authority) { _ = crashes(s)[v.Change][1](t.Context(), a) })
	return faults.Hit()
}

// A process that is killed at any operation of the disk, before it, half-way or
// behind it, leaves all that was or all that was to be, with every timer; and what
// it had acknowledged is there.
func TestAProcessKilledAtAnyStepLeavesAllOldOrAllNew(t *testing.T) {
	if text := os.Getenv(victimVar); text != "" {
		var v victim
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		v.die(t)
		return
	}
	// Not beside other tests: what is forked holds the locks of all their files for
	// the moment until it is another program.
	for name := range crashes(nil) {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			prepare, change := crashes(s)[name][0], crashes(s)[name][1]
			s.process(t, durable.Files{}, func(a *authority.Authority) {
				_, err := a.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "ci", Role: "user"}, "")
				if err := errors.Join(err, prepare(t.Context(), a)); err != nil {
					t.Fatal(err)
				}
			})
			start := s.files(t)
			var before, after map[string]string
			s.process(t, durable.Files{}, func(a *authority.Authority) { before = told(t, a) })
			s.process(t, durable.Files{}, func(a *authority.Authority) {
				if err := change(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			})
			s.process(t, durable.Files{}, func(a *authority.Authority) { after = told(t, a) })
			old, anew := 0, 0
			for _, v := range s.victims(t, start, name) {
				s.restore(t, start)
				killed, said := v.kill(t)
				if killed == (v.At == 0) || !killed && !said {
					t.Fatalf("%+v: killed %v, acknowledged %v", v, killed, said)
				}
				s.process(t, durable.Files{}, func(a *authority.Authority) {
					switch found := told(t, a); {
					case cmp.Equal(found, after):
						anew++
					case said:
						t.Fatalf("what was acknowledged is not there:\n%s", cmp.Diff(after, found))
					case cmp.Equal(found, before):
						old++
					default:
						t.Fatalf("%+v: neither what was nor what was to be:\n%s", v, cmp.Diff(before, found))
					}
				})
			}
			if old < 2 || anew < 2 {
				t.Errorf("%d times nothing had happened, %d times all: no kill came between", old, anew)
			}
			t.Logf("%d times nothing had happened, %d times all", old, anew)
		})
	}
}
