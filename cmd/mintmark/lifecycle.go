package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/home"
)

// onHome is a command on the process of an installation directory.
func (c *cli) onHome(use, short, example string, fn func(context.Context, home.Dir) error) *cobra.Command {
	return local(&cobra.Command{
		Use: use, Short: short, Args: exactly(0, 0), Example: example,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := c.dir()
			if err != nil {
				return err
			}
			return fn(cmd.Context(), dir)
		},
	})
}

func (c *cli) startCommand() *cobra.Command {
	return c.onHome("start", "Start the server in the background; returns when it is ready",
		c.example("manager start", "manager start --timeout 2m"),
		func(ctx context.Context, dir home.Dir) error { return c.start(ctx, dir, false) })
}

func (c *cli) stopCommand() *cobra.Command {
	return c.onHome("stop", "Stop the server; waits until it has ended",
		c.example("manager stop", "manager stop --timeout 2m"), c.stop)
}

func (c *cli) restartCommand() *cobra.Command {
	return c.onHome("restart", "Stop the server and start it again",
		c.example("manager restart", "manager restart --timeout 2m"),
		func(ctx context.Context, dir home.Dir) error {
			if _, err := c.halt(ctx, dir); err != nil {
				return err
			}
			return c.start(ctx, dir, false)
		})
}

func (c *cli) start(ctx context.Context, dir home.Dir, withPassword bool) error {
	state, pid, err := dir.Process(c.files)
	if err != nil {
		return err
	}
	if state == home.Running {
		c.say("Already running (pid %d).", pid)
		if !c.asJSON() {
			return nil
		}
		return c.running(ctx, dir, func(api.Status) {})
	}
	wait, cancel := context.WithTimeout(ctx, c.flags.timeout)
	defer cancel()
	done := c.patience("Starting")
	pid, err = dir.Start(wait)
	done()
	if ctx.Err() != nil {
		return fail(exitInterrupted, "interrupted", "interrupted; the server was told to stop again")
	}
	if late, is := errors.AsType[*home.StartError](err); is && late.Late {
		return fail(exitUnavailable, "server.start", "%s", late).advise("give it longer: manager start --timeout 2m; its log is " + dir.Log())
	}
	if err != nil {
		return err
	}
	return c.running(ctx, dir, func(s api.Status) {
		place := s.Store.Location
		if place == "" {
			place = "memory"
		}
		c.say("Started (pid %d) on %s. Store: %s (%s).", pid, s.URL, place, plural(s.Tokens.Active, "token"))
		c.signInHelp(dir, s.URL, withPassword)
		if !s.Store.Persistent {
			c.warnMemory(string(dir))
		}
	})
}

// running prints how the server of a home stands; people read what tell says.
func (c *cli) running(ctx context.Context, dir home.Dir, tell func(api.Status)) error {
	client, err := c.local(ctx, dir)
	if err != nil {
		return err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	tell(s)
	return c.one("Status", standing{"running", s}, nil)
}

// signInHelp says how to sign in for the first time. A code goes to a terminal
// and to nothing that might be kept.
func (c *cli) signInHelp(dir home.Dir, url string, withPassword bool) {
	if withPassword {
		c.say("Open %s and sign in as admin with your password.", url)
		return
	}
	code, err := os.ReadFile(dir.Code())
	if err != nil {
		return // there is an administrator
	}
	if terminal(c.err) {
		c.say("Open %s and enter this one-time code:\n\n    %s\n", url, strings.TrimSpace(string(code)))
		return
	}
	c.say("Open %s and enter the one-time code; show it with: cat %s", url, dir.Code())
}

// warnMemory says that tokens will be lost, and the exact command to keep them.
func (c *cli) warnMemory(dir string) {
	path := "/path/to/tokens.json"
	if dir != "" {
		path = home.Dir(dir).Tokens()
	}
	c.warn("tokens are kept in memory only and will be lost on restart\n         keep them: %s config properties set api.access.tokens.store %s && %[1]s config apply", c.self(), path)
}

func (c *cli) stop(ctx context.Context, dir home.Dir) error {
	ended, err := c.halt(ctx, dir)
	if err != nil {
		return err
	}
	return c.one("Stopped", ended, nil)
}

// halt ends the server of a home, and says so.
func (c *cli) halt(ctx context.Context, dir home.Dir) (halted, error) {
	lost := -1
	if client, err := c.local(ctx, dir); err == nil {
		if s, err := client.Status(ctx); err == nil && !s.Store.Persistent {
			lost = s.Tokens.Active
		}
	}
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, c.flags.timeout)
	defer cancel()
	done := c.patience("Waiting for requests under way")
	pid, err := dir.Stop(wait, c.files)
	done()
	switch {
	case errors.Is(err, context.Canceled):
		return halted{}, fail(exitInterrupted, "interrupted", "interrupted; the server (pid %d) was told to stop and still waits for requests under way", pid)
	case err != nil:
		return halted{}, err
	case pid == 0:
		c.say("Already stopped.")
	default:
		c.stopped(pid, time.Since(began), lost)
	}
	return halted{pid, max(lost, 0)}, nil
}

// halted is what a stop ended; the pid is 0 when nothing ran.
type halted struct {
	PID        int `json:"pid"`
	TokensLost int `json:"tokens_lost"`
}

// stopped says what the stop cost. A loss is said however quiet it has to be.
func (c *cli) stopped(pid int, took time.Duration, lost int) {
	text := fmt.Sprintf("Stopped (pid %d, %.1f s).", pid, took.Seconds())
	if lost <= 0 {
		c.say("%s", text)
		return
	}
	if !c.flags.quiet && !c.asJSON() {
		fmt.Fprint(c.err, text+"  ")
	}
	c.warn("%s kept in memory and %s gone.", wereOrWas(lost), isOrAre(lost))
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
