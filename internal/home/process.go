package home

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
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
	Unclear // somebody holds the lock and nobody knows who
)

// Process looks who runs the home. pid is 0 unless Running.
func (d Dir) Process(files durable.Files) (State, int, error) {
	held, err := d.Lock(files)
	var locked *durable.LockedError
	switch {
	case errors.As(err, &locked):
		pid := locked.PID
		if noted, ok := d.readPid(); ok {
			pid = noted
		}
		if pid == 0 {
			return Unclear, 0, nil
		}
		return Running, pid, nil
	case err != nil:
		return Unclear, 0, err
	}
	defer held.Close()
	if _, noted := d.readPid(); noted {
		return Dead, 0, nil
	}
	return Stopped, 0, nil
}

// StartError is a server that did not become ready, with what it said last.
type StartError struct {
	Reason string
	Log    []string
}

func (e *StartError) Error() string {
	if len(e.Log) == 0 {
		return e.Reason
	}
	return e.Reason + "\n  " + strings.Join(e.Log, "\n  ")
}

// Start runs `manager serve` in the background and returns its pid when it is
// ready, or says why it is not. args come after "serve --home DIR".
func (d Dir) Start(ctx context.Context, args ...string) (int, error) {
	log, err := os.OpenFile(d.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
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
			return 0, &StartError{"the server stopped before it was ready:", d.lastLines(before.Size())}
		case <-ctx.Done():
			_ = child.Process.Signal(syscall.SIGTERM)
			return 0, &StartError{"the server was not ready in time:", d.lastLines(before.Size())}
		case <-tick.C:
			if d.ready(ctx) {
				return child.Process.Pid, nil
			}
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

// Stop asks the process to end and waits until it has let go of the home.
func (d Dir) Stop(ctx context.Context, files durable.Files) (pid int, err error) {
	state, pid, err := d.Process(files)
	if err != nil {
		return 0, err
	}
	switch state {
	case Running:
	case Dead:
		d.RemovePid()
		return 0, nil
	case Stopped:
		return 0, nil
	case Unclear:
		return 0, errors.New("a process holds this installation directory, and it is not known which")
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return pid, fmt.Errorf("find process %d: %w", pid, err)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return pid, fmt.Errorf("stop process %d: %w", pid, err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := d.Lock(files)
		if err == nil {
			return pid, held.Close()
		}
		var locked *durable.LockedError
		if !errors.As(err, &locked) {
			return pid, err
		}
		select {
		case <-ctx.Done():
			return pid, fmt.Errorf("process %d has not ended in time; it is still draining: %w", pid, ctx.Err())
		case <-tick.C:
		}
	}
}
