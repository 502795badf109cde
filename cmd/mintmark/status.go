package main

import (
	"context"
	"fmt"
	"os"
	"slices"
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
		Long:    "Exit codes: 0 running, 1 dead with a pid file, 3 stopped, 4 unknown.",
		Example: c.example("manager status", "manager status -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.status(cmd.Context())
			if err != nil {
				return err
			}
			return c.one("Status", standing{"running", s}, c.statusLines(s))
		},
	}
}

// standing is the status of a server together with the word for it.
type standing struct {
	State string `json:"state"`
	api.Status
}

// gone is the status of a server that does not run.
type gone struct {
	State string `json:"state"` // stopped or dead
	PID   int    `json:"pid"`   // 0
	Home  string `json:"home"`
}

// absent prints that a home's server is stopped or dead: an answer like any
// other. What people do about it goes to the error output.
func (c *cli) absent(dir home.Dir, f *failure) error {
	state, fact, more := strings.Cut(f.message, ": ")
	line := []string{state}
	if more {
		line = append(line, fact)
	}
	if err := c.one("Status", gone{State: state, Home: string(dir)}, [][]string{line}); err != nil {
		return err
	}
	if !c.asJSON() {
		f.message, f.asked = f.hint, true
	}
	return f
}

// status answers an error with the LSB code unless the server runs and tells.
func (c *cli) status(ctx context.Context) (api.Status, error) {
	unclear := func(err error) error {
		if ctx.Err() != nil {
			return err
		}
		f := classify(err)
		return &failure{exit: exitNotAllowed, code: f.code, message: "unknown: " + f.message, hint: f.hint, requestID: f.requestID}
	}
	if c.flags.server == "" {
		dir, err := c.dir()
		if err != nil {
			return api.Status{}, unclear(err)
		}
		if err := c.processState(dir); err != nil {
			return api.Status{}, err
		}
	}
	l, err := c.connect(ctx)
	if err != nil {
		return api.Status{}, unclear(err)
	}
	s, err := l.Status(ctx)
	if err != nil {
		return api.Status{}, unclear(err)
	}
	s.Checks = append(s.Checks, c.firstAdmin(ctx, l, s)...)
	return s, nil
}

func (c *cli) processState(dir home.Dir) error {
	state, pid, err := dir.Process(c.files)
	if err != nil {
		return fail(exitNotAllowed, "status.unknown", "unknown: %s", err)
	}
	const start = "start it with: manager start"
	switch state {
	case home.Running:
		if _, err := os.Lstat(dir.Socket()); err != nil {
			return fail(exitNotAllowed, "status.unknown", "unknown: pid %d holds the installation directory and does not answer yet", pid)
		}
		return nil
	case home.Dead:
		return c.absent(dir, fail(exitFailed, "server.dead", "dead: the server ended without being stopped; its pid file is still there").advise(start))
	case home.Stopped:
		return c.absent(dir, fail(exitNotRunning, "server.not_running", "stopped").advise(start))
	case home.Unclear:
	}
	return fail(exitNotAllowed, "status.unknown", "unknown: a process holds the installation directory, and it is not known which")
}

// notKnown is what is said of what the store did not answer.
const notKnown = "not known: the store does not answer"

func (c *cli) statusLines(s api.Status) [][]string {
	tokens, secret := fmt.Sprintf("%d active, %d expired, %d deleted", s.Tokens.Active, s.Tokens.Expired, s.Tokens.Deleted), s.CurrentKey.Name
	if slices.Contains(s.Unknown, "tokens") {
		tokens = notKnown
	}
	if slices.Contains(s.Unknown, "keys") {
		secret = notKnown
	}
	if s.CurrentKey.CurrentSince != nil {
		secret += fmt.Sprintf(", day %d", int(time.Since(*s.CurrentKey.CurrentSince).Hours()/24)+1)
		if s.KeyDue != nil {
			secret += fmt.Sprintf(" of %d", int(s.KeyDue.Sub(*s.CurrentKey.CurrentSince).Hours()/24))
		}
	}
	verdicts, admins := "none in the last minute", ""
	for _, k := range s.Checks {
		switch k.Name {
		case "overlap":
			secret += "; " + k.Fact
		case "verdicts":
			verdicts = k.Fact
		case noAdmins:
			admins = k.Fact
		}
	}
	config := "revision " + strconv.FormatUint(s.Staging.Revision, 10) + ", " +
		orNothing(s.Staging.Count) + " staged, " + orNothing(s.Staging.Waiting) + " waiting for restart"
	if t := s.Staging.Trial; t != nil {
		form := "2006-01-02 15:04 UTC"
		if c.exact(c.out) {
			form = time.RFC3339
		}
		config += ", on trial until " + t.Until.UTC().Format(form)
	}
	up := "up " + upTime(time.Since(s.StartedAt))
	if c.exact(c.out) {
		up = "since " + s.StartedAt.UTC().Format(time.RFC3339)
	}
	lines := [][]string{
		{"running", fmt.Sprintf("pid %d, %s, on %s", s.PID, up, s.URL)},
		{"store", c.storeLine(s)},
		{"tokens", tokens},
		{"secret", secret},
		{"config", config},
		{"counts", c.countsLine(s.Usage)},
		{"verdicts", verdicts},
		{"version", s.Version},
	}
	if admins != "" {
		lines = append(lines, []string{"admins", admins})
	}
	for _, n := range s.Nodes {
		lines = append(lines, []string{"node", c.nodeLine(n)})
	}
	if slices.Contains(s.Unknown, "nodes") {
		lines = append(lines, []string{"nodes", notKnown})
	}
	return append(lines, problemLines(s)...)
}

// problemLines tells what keeps the server from its work, beside what the line
// about the store says.
func problemLines(s api.Status) (lines [][]string) {
	for _, k := range s.Checks {
		if !k.OK && (k.Name != "token store" || s.Store.Problem == "") {
			lines = append(lines, []string{"problem", k.Name + ": " + k.Fact})
		}
	}
	return lines
}

func (c *cli) nodeLine(n api.Node) string {
	line := n.Name + ", " + n.Version + ", seen " + c.when(&n.SeenAt, "")
	if n.Behind > 0 {
		line += fmt.Sprintf(", %s behind", plural(int(n.Behind), "revision"))
	}
	if !n.Ready {
		line += ", not ready"
	}
	return line
}

// countsLine says how fresh the saved counts of use are.
func (c *cli) countsLine(u api.UsageState) string {
	switch {
	case !u.Durable:
		return "of use end with the server"
	case u.Problem != "":
		return "of use are not saved: " + u.Problem
	}
	if u.SavedAt == nil {
		return "of use, not saved yet"
	}
	line := "of use, saved " + c.when(u.SavedAt, "")
	if u.OthersAt != nil {
		line += ", those of other nodes read " + c.when(u.OthersAt, "")
	}
	return line
}

func (c *cli) storeLine(s api.Status) string {
	line := fmt.Sprintf("memory only: a restart deletes all %d", s.Tokens.Active)
	if s.Store.Persistent {
		line = "persistent  " + s.Store.Location
		if info, err := os.Stat(s.Store.Location); err == nil && c.flags.server == "" {
			line += fmt.Sprintf(" (%04o)", info.Mode().Perm())
		}
		if s.Store.LastWrite != nil {
			line += ", last write " + c.when(s.Store.LastWrite, "")
		}
	}
	if s.Store.Problem != "" {
		line += "; changes cannot be written: " + s.Store.Problem
	}
	return line
}

func orNothing(n int) string {
	if n == 0 {
		return "nothing"
	}
	return strconv.Itoa(n)
}

// upTime is "3 d 4 h".
func upTime(d time.Duration) string {
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	}
	return fmt.Sprintf("%d min %d s", minutes, int(d.Seconds())%60)
}

// built is what the program knows of its build.
type built struct {
	Version string `json:"version"`
}

func (c *cli) versionCommand() *cobra.Command {
	return local(&cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0, 0), Example: c.example("manager version", "manager version -o json"),
		RunE: func(*cobra.Command, []string) error {
			return c.one("Version", built{version()}, [][]string{{"mintmark " + version()}})
		},
	})
}
