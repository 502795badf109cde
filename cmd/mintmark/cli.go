package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mintmark/internal/durable"
	"mintmark/internal/home"
)

// cli is one run of the program: where it reads and writes, and its flags.
type cli struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	getenv  func(string) (string, bool)
	program string
	files   durable.Files
	flags   flags
	lines   *bufio.Reader
}

// flags are those that every command has.
type flags struct {
	home, server, output, columns, confirm      string
	noHeaders, quiet, verbose, noColor, noInput bool
	yes, utc, json                              bool
	timeout                                     time.Duration
}

// main runs one command and answers its exit code.
func (c *cli) main(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetIn(c.in)
	if err := root.ExecuteContext(ctx); err != nil {
		return c.report(err)
	}
	return exitDone
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   c.program,
		Short: "A self-hosted authority for API tokens",
		Example: "  " + c.program + " init ./mintmark-home --start\n" +
			"  " + c.program + " token create --client-id dfsadmin --role admin",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return c.settle() },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknown(cmd, args[0])
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(exitUsage, "usage", "%s", err).advise(cmd.CommandPath() + " --help")
	})
	p := root.PersistentFlags()
	f := &c.flags
	p.StringVar(&f.home, "home", "", "the installation directory (MINTMARK_HOME; the manager's own folder)")
	p.StringVar(&f.server, "server", "", "a remote server's URL (MINTMARK_SERVER); the token comes from MINTMARK_TOKEN")
	p.StringVarP(&f.output, "output", "o", "", "table, json, jsonl or tsv (MINTMARK_OUTPUT)")
	p.BoolVar(&f.json, "json", false, "the same as --output json")
	p.StringVar(&f.columns, "columns", "", "the columns of a table, separated by commas")
	p.BoolVar(&f.noHeaders, "no-headers", false, "a table without its head")
	p.BoolVarP(&f.quiet, "quiet", "q", false, "nothing on the error output but errors")
	p.BoolVarP(&f.verbose, "verbose", "v", false, "say more")
	p.BoolVar(&f.noColor, "no-color", false, "no colour (NO_COLOR)")
	p.BoolVar(&f.noInput, "no-input", false, "never ask")
	p.BoolVarP(&f.yes, "yes", "y", false, "agree to what is asked with [y/N]")
	p.StringVar(&f.confirm, "confirm", "", "the name that would have to be typed")
	p.BoolVar(&f.utc, "utc", false, "times in UTC instead of relative ones")
	p.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to wait")
	root.AddCommand(
		c.initCommand(), c.serveCommand(), c.startCommand(), c.stopCommand(), c.restartCommand(), c.statusCommand(),
		c.configCommand(), c.tokenCommand(), c.keyCommand(), c.supportCommand(), c.auditCommand(), c.adminCommand(),
		c.doctorCommand(), c.versionCommand(),
	)
	return root
}

// group is a command that only has subcommands.
func (c *cli) group(use, short string, subs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknown(cmd, args[0])
		},
	}
	g.AddCommand(subs...)
	return g
}

// unknown names what is nearest and runs nothing.
func unknown(cmd *cobra.Command, word string) error {
	cmd.SuggestionsMinimumDistance = 2
	f := fail(exitUsage, "usage", "%s %s: no such command", cmd.CommandPath(), word)
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		f.message += ". Did you mean `" + near[0] + "`?"
	}
	return f
}

// exactly demands a number of arguments, with exit code 2.
func exactly(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fail(exitUsage, "usage", "%s takes %d to %d arguments, not %d", cmd.CommandPath(), least, most, len(args)).advise(cmd.UseLine())
		}
		return nil
	}
}

// settle resolves the flags that the environment can give too.
func (c *cli) settle() error {
	f := &c.flags
	fromEnv := func(into *string, name string) {
		if v, ok := c.getenv(name); ok && *into == "" {
			*into = v
		}
	}
	if f.json {
		f.output = "json"
	}
	fromEnv(&f.output, "MINTMARK_OUTPUT")
	fromEnv(&f.server, "MINTMARK_SERVER")
	fromEnv(&f.home, "MINTMARK_HOME")
	if v, ok := c.getenv("NO_COLOR"); ok && v != "" {
		f.noColor = true
	}
	switch f.output {
	case "":
		f.output = "table"
	case "table", "tsv":
	case "json", "jsonl":
		f.noInput = true
	default:
		return fail(exitUsage, "usage", "--output is table, json, jsonl or tsv, not %q", f.output)
	}
	return nil
}

// dir is the home that is meant.
func (c *cli) dir() (home.Dir, error) {
	if c.flags.home != "" {
		return home.Open(c.flags.home)
	}
	program, err := os.Executable()
	if err == nil {
		if dir := home.Beside(program); dir != "" {
			return home.Open(dir)
		}
	}
	return "", fail(exitUsage, "home.none", "which installation directory? Run its manager, or name it with --home or MINTMARK_HOME").advise("make one with: mintmark init DIR")
}

const (
	red    = "31"
	yellow = "33"
	bold   = "1"
	dim    = "2"
)

func (c *cli) paint(code, text string) string {
	if c.flags.noColor || !terminal(c.err) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func terminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// say is the conversation: it goes to the error output.
func (c *cli) say(format string, args ...any) {
	if !c.flags.quiet {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

func (c *cli) warn(format string, args ...any) {
	fmt.Fprintf(c.err, "%s: %s\n", c.paint(yellow, "warning"), fmt.Sprintf(format, args...))
}

// asks reports whether there is somebody to ask.
func (c *cli) asks() bool { return !c.flags.noInput && terminal(c.in) && terminal(c.err) }

// line reads one line of the answer.
func (c *cli) line() (string, error) {
	if c.lines == nil {
		c.lines = bufio.NewReader(c.in)
	}
	text, err := c.lines.ReadString('\n')
	if err != nil && text == "" {
		return "", fail(exitConfirm, "confirmation.declined", "nothing was changed")
	}
	return strings.TrimSpace(text), nil
}

// agree asks [y/N], which --yes answers too.
func (c *cli) agree(question string) error {
	if c.flags.yes || c.flags.confirm != "" {
		return nil
	}
	if !c.asks() {
		return fail(exitConfirm, "confirmation.needed", "%s Pass --yes.", question)
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answer, err := c.line()
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return fail(exitConfirm, "confirmation.declined", "nothing was changed")
	}
	return nil
}

// typed asks for a name to be typed, which --confirm answers too; --yes is not
// enough.
func (c *cli) typed(name, purpose string) error {
	given := c.flags.confirm
	if given == "" {
		if !c.asks() {
			reason := purpose + " needs to be confirmed."
			if c.flags.yes {
				reason = purpose + ": --yes is not enough."
			}
			return fail(exitConfirm, "confirmation.needed", "%s Pass --confirm %s.", reason, name)
		}
		fmt.Fprintf(c.err, "Type %s to continue: ", name)
		answer, err := c.line()
		if err != nil {
			return err
		}
		given = answer
	}
	if given != name {
		return fail(exitConfirm, "confirmation.declined", "that is not %s; nothing was changed", name)
	}
	return nil
}

// password reads one from a file ("-" is the input), or asks twice without
// echo. One trailing newline is not part of it.
func (c *cli) password(file string) (string, error) {
	if file != "" {
		return c.passwordFile(file)
	}
	in, ok := c.in.(*os.File)
	if !ok || !c.asks() {
		return "", fail(exitConfirm, "password.needed", "a password is needed. Pass --password-file FILE, or - for the input")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(c.err, prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(c.err)
		return string(b), err
	}
	first, err := ask("New password (at least 15 characters): ")
	if err != nil {
		return "", err
	}
	second, err := ask("The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", fail(exitInvalid, "password.differs", "the two passwords differ; nothing was changed")
	}
	return first, nil
}

func (c *cli) passwordFile(file string) (string, error) {
	const limit = 4096
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(io.LimitReader(c.in, limit+1))
	} else {
		var f *os.File
		if f, err = os.Open(file); err == nil {
			data, err = io.ReadAll(io.LimitReader(f, limit+1))
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return "", fail(exitUsage, "password.file", "read the password: %s", err)
	}
	if len(data) > limit {
		return "", fail(exitInvalid, "password.file", "the password is longer than %d bytes", limit)
	}
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}
