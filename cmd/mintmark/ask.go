package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// asks reports whether there is somebody to ask.
func (c *cli) asks() bool { return !c.flags.noInput && terminal(c.in) && terminal(c.err) }

// answered is what a read from the terminal brought.
type answered struct {
	text string
	err  error
}

// prompt asks for one line.
func (c *cli) prompt(ctx context.Context, question string) (string, error) {
	text, err := c.line(ctx, question)
	return strings.TrimSpace(text), err
}

// line asks and answers what was typed, to the end of the line. The read itself
// cannot be interrupted, so it happens aside; after Ctrl-C nobody waits for it.
func (c *cli) line(ctx context.Context, question string) (string, error) {
	if c.lines == nil {
		c.lines = bufio.NewReader(c.in)
	}
	fmt.Fprint(c.err, clean(question))
	got := make(chan answered, 1)
	go func() {
		text, err := c.lines.ReadString('\n')
		got <- answered{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(c.err)
		return "", unchanged(exitInterrupted, "interrupted")
	case a := <-got:
		if a.err != nil && a.text == "" {
			fmt.Fprintln(c.err)
			return "", unchanged(exitConfirm, "confirmation.declined")
		}
		return strings.TrimSuffix(a.text, "\n"), nil
	}
}

// agree asks [y/N], which --yes answers too. doing names what is asked about:
// "deleting tok_7k3m9q2x".
func (c *cli) agree(ctx context.Context, doing, question string) error {
	if c.flags.yes {
		return nil
	}
	if !c.asks() {
		return fail(exitConfirm, "confirmation.needed", "%s needs to be confirmed. Pass --yes.", doing)
	}
	answer, err := c.prompt(ctx, question+" [y/N] ")
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return unchanged(exitConfirm, "confirmation.declined")
	}
	return nil
}

// typed asks for a name to be typed, which --confirm answers too; --yes is not
// enough. reason says why: "tok_7k3m9q2x is in use"; end is what typing it
// does: "to delete it".
func (c *cli) typed(ctx context.Context, name, reason, end string) error {
	given := c.flags.confirm
	switch {
	case given != "":
	case c.asks():
		var err error
		if given, err = c.prompt(ctx, "Type "+name+" "+end+": "); err != nil {
			return err
		}
	case c.flags.yes:
		return fail(exitConfirm, "confirmation.needed", "%s; --yes is not enough. Pass --confirm %s.", reason, name)
	default:
		return fail(exitConfirm, "confirmation.needed", "%s. Pass --confirm %s.", reason, name)
	}
	if given != name {
		return fail(exitConfirm, "confirmation.declined", "that is not %s; nothing was changed", name)
	}
	return nil
}

// password reads one from a file ("-" is the input), or asks twice without
// echo. One trailing newline is not part of it.
func (c *cli) password(ctx context.Context, file string) (string, error) {
	if file != "" {
		return c.secretFile(file, "password")
	}
	in, ok := c.in.(*os.File)
	if !ok || !c.asks() {
		return "", fail(exitConfirm, "password.needed", "a password is needed. Pass --password-file FILE, or - for the input")
	}
	// Before the first question: who types fast is not shown either.
	echo, err := silence(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask for the password: %w", err)
	}
	defer echo()
	first, err := c.line(ctx, "New password (at least 15 characters): ")
	if err != nil {
		return "", err
	}
	second, err := c.line(ctx, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", fail(exitInvalid, "password.differs", "the two passwords differ; nothing was changed")
	}
	return first, nil
}

// secretFile reads one from a file ("-" is the input); what is its name for people.
func (c *cli) secretFile(file, what string) (string, error) {
	const limit = 4096
	in := c.in
	if file != "-" {
		f, err := oldFile(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			c.warn("others can read the %s in %s (%04o); close it with: chmod 600 %s", what, file, info.Mode().Perm(), quoted(file))
		}
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch {
	case err != nil:
		return "", fail(exitUsage, "password.file", "read the %s: %s", what, err)
	case len(data) > limit:
		return "", fail(exitInvalid, "password.file", "the %s is longer than %d bytes", what, limit)
	}
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// silence stops a terminal from showing what is typed, but for the ends of
// lines. What it answers undoes that.
func silence(fd int) (undo func(), err error) {
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	quiet := *before
	quiet.Lflag = quiet.Lflag&^unix.ECHO | unix.ECHONL
	if err := unix.IoctlSetTermios(fd, setTermios, &quiet); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }, nil
}
