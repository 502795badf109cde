package home

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mintmark/internal/durable"
)

// State is what is known of the process of a home (LSB, "Init Script Actions").
type State uint8

// The states.
const (
	Running State = iota
	Dead          // not running, but a pid file says it was
	Stopped
	Unclear // somebody holds the lock and it is not the process of the pid file: a command, or a server that begins
)

// looks is how often Process looks before it calls a home unclear: somebody who
// only looks holds the lock for a moment, too.
const looks = 10

// Process looks who runs the home. pid is 0 unless Running: that is when the
// holder of the lock is the one that the pid file names.
func (d Dir) Process(files durable.Files) (state State, pid int, err error) {
	for range looks {
		if state, pid, err = d.look(files); state != Unclear || err != nil {
			break
		}
		_ = pause(context.Background())
	}
	return state, pid, err
}

func (d Dir) look(files durable.Files) (State, int, error) {
	noted, isNoted := d.readPid()
	held, err := d.Lock(files)
	var locked *durable.LockedError
	switch {
	case errors.As(err, &locked) && isNoted && noted == locked.PID:
		return Running, noted, nil
	case errors.As(err, &locked):
		return Unclear, 0, nil
	case err != nil:
		return Unclear, 0, err
	}
	defer held.Close()
	if _, isNoted := d.readPid(); isNoted {
		return Dead, 0, nil
	}
	return Stopped, 0, nil
}

// StartError is a server that did not become ready, with what it said last.
type StartError struct {
	Reason string
	Log    []string
	Late   bool // it might have become ready: there was no more time, and it was told to stop
}

func (e *StartError) Error() string {
	if len(e.Log) == 0 {
		return e.Reason
	}
	return e.Reason + ":\n  " + strings.Join(e.Log, "\n  ")
}

// Start runs `manager serve` in the background and returns its pid when it is
// ready, or says why it is not. args come after "serve --home DIR".
func (d Dir) Start(ctx context.Context, args ...string) (int, error) {
	log, err := d.openLog()
	if err != nil {
		return 0, fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()
	before, err := log.Stat()
	if err != nil {
		return 0, fmt.Errorf("open the server's log: %w", err)
	}
	child := exec.Command(d.Manager(), append([]string{"serve", "--home", string(d)}, args...)...) //nolint:noctx // it outlives the command that starts it
	child.Stdout, child.Stderr, child.Dir = log, log, string(d)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	keepFromChildren()
	if err := child.Start(); err != nil {
		return 0, fmt.Errorf("start the server: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = child.Wait() // why it ended stands in its log
		close(exited)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-exited:
			return 0, &StartError{Reason: "the server stopped before it was ready", Log: d.lastLines(before.Size())}
		case <-ctx.Done():
			_ = child.Process.Signal(syscall.SIGTERM)
			return 0, &StartError{Reason: "the server was not ready in time, and was told to stop again", Log: d.lastLines(before.Size()), Late: true}
		case <-tick.C:
			if pid, noted := d.readPid(); noted && pid == child.Process.Pid && d.ready(ctx) {
				return pid, nil
			}
		}
	}
}

// keepFromChildren keeps from the server what the caller has open and did not
// mean it to have: a script's lock would be held for as long as the server runs.
// What this process opened itself is kept from children already.
func keepFromChildren() {
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, file := range open {
		if fd, err := strconv.Atoi(file.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd) // one that is closed meanwhile is no harm
		}
	}
}

func (d Dir) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://home/readyz", nil)
	if err != nil {
		return false
	}
	client := d.Client()
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// maxLog is the size in bytes above which a start begins a new log.
const maxLog = 16 << 20

// openLog opens the log to write at its end. A large one is set aside first, in
// the place of the one that was set aside before.
func (d Dir) openLog() (*os.File, error) {
	if info, err := os.Stat(d.Log()); err == nil && info.Size() > maxLog {
		if err := os.Rename(d.Log(), d.Log()+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(d.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// lastLines are the last lines of the log that came after offset.
func (d Dir) lastLines(offset int64) []string {
	f, err := os.Open(d.Log())
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(offset, info.Size()-16<<10)
	data := make([]byte, info.Size()-from)
	n, _ := f.ReadAt(data, from)
	lines := strings.Split(strings.TrimSpace(string(data[:n])), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-8):]
}

// Stop asks the process to end and waits until it has let go of the home. pid is
// 0 when none ran. While it is unclear who holds the home, it waits for that,
// too: nobody is signalled on a guess.
func (d Dir) Stop(ctx context.Context, files durable.Files) (pid int, err error) {
	for {
		state, pid, err := d.Process(files)
		switch {
		case err != nil:
			return 0, err
		case state == Running:
			return pid, d.end(ctx, files, pid)
		case state == Dead:
			return 0, d.bury(files)
		case state == Stopped:
			return 0, nil
		}
		if err := pause(ctx); err != nil {
			return 0, fmt.Errorf("another process holds this installation directory, and it is not its server: %w", err)
		}
	}
}

// bury forgets a process that ended without being stopped.
func (d Dir) bury(files durable.Files) error {
	held, err := d.Lock(files)
	if err != nil {
		return err
	}
	d.RemovePid()
	return held.Close()
}

func (d Dir) end(ctx context.Context, files durable.Files, pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	defer func() { _ = process.Release() }()
	// Where the system can hold on to a process, it is this one if it still runs.
	if state, still, err := d.Process(files); err != nil || state != Running || still != pid {
		return err
	}
	if err := process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	for {
		held, err := d.Lock(files)
		if err == nil {
			return held.Close()
		}
		var locked *durable.LockedError
		if !errors.As(err, &locked) {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("process %d has not ended in time; it is still draining: %w", pid, err)
		}
	}
}

// pause waits a moment, or answers why there is no time left.
func pause(ctx context.Context) error {
	moment := time.NewTimer(10 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-moment.C:
		return nil
	}
}
