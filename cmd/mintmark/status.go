package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/home"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say how the server stands; the exit code is that of LSB", Args: exactly(0, 0),
		Long: "Exit codes: 0 running, 1 dead with a pid file, 3 stopped, 4 unknown.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.flags.server == "" {
				if err := c.processState(); err != nil {
					return err
				}
			}
			l, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			s, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			return c.one("Status", s, statusLines(s))
		},
	}
}

// processState answers an error with the LSB code unless the server runs.
func (c *cli) processState() error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	state, _, err := dir.Process(c.files)
	if err != nil {
		return fail(exitNotAllowed, "status.unknown", "%s", err)
	}
	switch state {
	case home.Running:
		return nil
	case home.Dead:
		return fail(exitFailed, "server.dead", "dead: the server ended without being stopped; its pid file is still there").advise("start it with: " + dir.Manager() + " start")
	case home.Stopped:
		return fail(exitNotRunning, "server.not_running", "stopped").advise("start it with: " + dir.Manager() + " start")
	case home.Unclear:
	}
	return fail(exitNotAllowed, "status.unknown", "unknown: a process holds the installation directory, and it is not known which")
}

func statusLines(s api.Status) [][]string {
	store := "memory only: tokens will be lost on restart"
	if s.Store.Persistent {
		store = "persistent  " + s.Store.Location
	}
	if s.Store.Problem != "" {
		store += "; changes cannot be written: " + s.Store.Problem
	}
	secret := s.CurrentKey.Name
	if s.CurrentKey.CurrentSince != nil {
		secret += fmt.Sprintf(", day %d", int(time.Since(*s.CurrentKey.CurrentSince).Hours()/24)+1)
		if s.KeyDue != nil {
			secret += fmt.Sprintf(" of %d", int(s.KeyDue.Sub(*s.CurrentKey.CurrentSince).Hours()/24))
		}
	}
	config := "revision " + strconv.FormatUint(s.Staging.Revision, 10)
	if s.Staging.Count == 0 {
		config += ", nothing staged"
	} else {
		config += ", " + strconv.Itoa(s.Staging.Count) + " staged"
	}
	if s.Staging.Waiting == 0 {
		config += ", nothing waiting for restart"
	} else {
		config += ", " + strconv.Itoa(s.Staging.Waiting) + " waiting for restart"
	}
	return [][]string{
		{"running", fmt.Sprintf("pid %d, up %s, on %s", s.PID, short(time.Since(s.StartedAt)), s.URL)},
		{"store", store},
		{"tokens", fmt.Sprintf("%d active, %d expired, %d deleted", s.Tokens.Active, s.Tokens.Expired, s.Tokens.Deleted)},
		{"secret", secret},
		{"config", config},
		{"version", s.Version},
	}
}

func (c *cli) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check everything and say what to do; exit code 10 when something needs attention", Args: exactly(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.reach(cmd.Context(), how{})
			if err != nil {
				f := classify(err)
				return f.advise(strings.TrimSpace(f.hint + "\n  nothing else can be checked until this is mended"))
			}
			defer l.Close()
			s, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			if l.core != nil {
				s.Checks = append([]api.Check{{Name: "server", Warning: true, OK: true, Fact: "not running", Fix: "start"}}, s.Checks...)
			}
			err = printList(c, "CheckList", s.Checks, []column[api.Check]{
				{name: "CHECK", of: func(k api.Check) string { return k.Name }},
				{name: "STATE", of: checkWord},
				{name: "FACT", of: func(k api.Check) string { return k.Fact }},
				{name: "WHAT TO DO", of: func(k api.Check) string { return orDash(k.Fix) }},
			}, nil)
			if err != nil {
				return err
			}
			for _, k := range s.Checks {
				if !k.OK || k.Warning {
					return errAttention
				}
			}
			return nil
		},
	}
}

func checkWord(k api.Check) string {
	switch {
	case !k.OK:
		return "problem"
	case k.Warning:
		return "attention"
	}
	return "ok"
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return c.one("Version", map[string]string{"version": version()}, [][]string{{"mintmark", version()}})
		},
	}
}
