package home_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/durable"
	"mintmark/internal/home"
)

func TestStartReturnsWhenReadyAndStopWhenEnded(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	wantState(t, d, home.Stopped, 0)
	pid, err := d.Start(soon(t))
	must(t, err)
	wantState(t, d, home.Running, pid)
	r, err := d.Client().Get("http://home/hello")
	must(t, err)
	_ = r.Body.Close()
	stopped, err := d.Stop(soon(t), durable.Files{})
	if err != nil || stopped != pid {
		t.Fatalf("stopped %d, %v", stopped, err)
	}
	wantState(t, d, home.Stopped, 0)
	if stopped, err := d.Stop(soon(t), durable.Files{}); err != nil || stopped != 0 {
		t.Errorf("a second stop: %d, %v", stopped, err)
	}
	if _, err := os.Lstat(d.Socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// A script that starts a server under a lock of its own lets go of that lock. This
// test runs alone: what is open here would be another test's child's, too.
func TestAServerHasNothingOpenOfWhoStartedIt(t *testing.T) {
	d := newHome(t)
	path := filepath.Join(folder(t), "lock")
	kept, err := os.Create(path)
	must(t, err)
	must(t, syscall.Flock(int(kept.Fd()), syscall.LOCK_EX))
	inherited, err := syscall.Dup(int(kept.Fd())) // as a shell's 9>lock: not closed on exec
	must(t, err)
	_, err = d.Start(soon(t))
	must(t, err)
	must(t, errors.Join(syscall.Close(inherited), kept.Close()))
	again, err := os.Open(path)
	must(t, err)
	defer func() { _ = again.Close() }()
	if err := syscall.Flock(int(again.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("the server holds the lock of whoever started it: %v", err)
	}
	_, err = d.Stop(soon(t), durable.Files{})
	must(t, err)
}

func TestAKilledServerIsDeadAndStartsAgain(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	pid, err := d.Start(soon(t))
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	for state := home.Running; state != home.Dead; {
		if state, _, err = d.Process(durable.Files{}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := d.Start(soon(t)) // over the dead one's socket and pid file
	must(t, err)
	wantState(t, d, home.Running, again)
	must(t, syscall.Kill(again, syscall.SIGKILL))
	for state := home.Running; state != home.Dead; {
		if state, _, err = d.Process(durable.Files{}); err != nil {
			t.Fatal(err)
		}
	}
	if stopped, err := d.Stop(soon(t), durable.Files{}); err != nil || stopped != 0 {
		t.Errorf("stopping a dead one: %d, %v", stopped, err)
	}
	wantState(t, d, home.Stopped, 0)
}

func TestAServerThatDoesNotBecomeReadySaysWhy(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	write(t, filepath.Join(string(d), moodFile), "ill")
	write(t, d.Log(), "a line of last year\n")
	_, err := d.Start(soon(t))
	var failed *home.StartError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	contains(t, err, "stopped before it was ready", "the first line", "nginx")
	if strings.Contains(err.Error(), "last year") {
		t.Errorf("it tells of another start: %v", err)
	}
	wantState(t, d, home.Stopped, 0)

	must(t, os.Truncate(d.Log(), 0))
	write(t, filepath.Join(string(d), moodFile), "slow")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = d.Start(ctx)
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	contains(t, err, "not ready in time")
	if pid, err := d.Stop(soon(t), durable.Files{}); err != nil {
		t.Errorf("it goes on: %d, %v", pid, err)
	}

	must(t, os.Remove(d.Manager()))
	if _, err := d.Start(soon(t)); err == nil {
		t.Error("a home without its manager starts")
	}
	must(t, os.RemoveAll(filepath.Dir(d.Log())))
	_, err = d.Start(soon(t))
	contains(t, err, "log")
}

func TestAStartSetsALargeLogAside(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	for _, c := range []struct {
		size   int64
		before string // the log that was set aside, by its size
	}{{16 << 20, "none"}, {16<<20 + 1, "16777217"}, {17 << 20, "17825792"}} {
		must(t, os.WriteFile(d.Log(), nil, 0o600))
		must(t, os.Truncate(d.Log(), c.size))
		_, err := d.Start(soon(t))
		must(t, err)
		_, err = d.Stop(soon(t), durable.Files{})
		must(t, err)
		aside := "none"
		if info, err := os.Stat(d.Log() + ".1"); err == nil {
			aside = strconv.FormatInt(info.Size(), 10)
		}
		if aside != c.before {
			t.Errorf("with %d bytes %s are set aside, want %s", c.size, aside, c.before)
		}
		if info, err := os.Stat(d.Log()); err != nil || aside != "none" && info.Size() > 1<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("with %d bytes the log is %v, %v", c.size, info, err)
		}
	}
}

func TestAnErrorWithoutLinesIsOneLine(t *testing.T) {
	t.Parallel()
	if got := (&home.StartError{Reason: "it is over"}).Error(); got != "it is over" {
		t.Errorf("got %q", got)
	}
}

func TestASecondServerIsRefusedAndTheFirstIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	first, err := d.Start(soon(t))
	must(t, err)
	write(t, filepath.Join(string(d), moodFile), "patient")
	pid, err := d.Start(soon(t)) // /readyz answers all the while
	if err == nil {
		t.Fatalf("a second one is started as %d", pid)
	}
	contains(t, err, "locked")
	wantState(t, d, home.Running, first)
}

func TestAStopThatTakesTooLongSaysSo(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	write(t, filepath.Join(string(d), moodFile), "stubborn")
	pid, err := d.Start(soon(t))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	got, err := d.Stop(ctx, durable.Files{})
	if got != pid || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped %d, %v", got, err)
	}
	contains(t, err, "still draining")
}

// The lock is the truth: a pid in a file, whoever has it now, is never taken for
// the server's and never signalled.
func TestNobodyIsSignalledOnAGuess(t *testing.T) {
	t.Parallel()
	bystander := start(t, "hold", newHome(t)) // another home's
	for name, pid := range map[string]string{
		"of a bystander": number(bystander.Process.Pid), "of init": "1\n", "negative": "-1\n", "of nobody": "x", "missing": "",
	} {
		t.Run(name, func(t *testing.T) {
			d := newHome(t)
			if pid != "" {
				write(t, d.Pid(), pid)
			}
			holder := start(t, "hold", d)
			wantState(t, d, home.Unclear, 0)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if got, err := d.Stop(ctx, durable.Files{}); err == nil || got != 0 {
				t.Errorf("stopped %d, %v", got, err)
			}
			for _, c := range []child{holder, bystander} {
				if err := c.Process.Signal(syscall.Signal(0)); err != nil {
					t.Errorf("it was ended: %v", err)
				}
			}
		})
	}
}

func TestStopWaitsForACommandThatHoldsTheHome(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	holder := start(t, "hold", d)
	done := make(chan error, 1)
	go func() {
		_, err := d.Stop(soon(t), durable.Files{})
		done <- err
	}()
	must(t, holder.in.Close()) // the command is done
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAPidFileWithoutAHolderIsADeadServer(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	write(t, d.Pid(), number(os.Getpid())) // the pid lives, and is not its server
	wantState(t, d, home.Dead, 0)
	if pid, err := d.Stop(soon(t), durable.Files{}); err != nil || pid != 0 {
		t.Errorf("stopped %d, %v", pid, err)
	}
	wantState(t, d, home.Stopped, 0)
}

func TestAHomeThatCannotBeLockedIsAnError(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	must(t, os.Chmod(string(d), 0o777))
	if state, _, err := d.Process(durable.Files{}); err == nil {
		t.Errorf("state %d", state)
	}
	if _, err := d.Stop(soon(t), durable.Files{}); err == nil {
		t.Error("it is stopped")
	}
	must(t, os.RemoveAll(filepath.Dir(d.Pid())))
	if err := d.WritePid(7); err == nil {
		t.Error("a pid is noted nowhere")
	}
}
