package main

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mintmark/internal/durable"
	"mintmark/internal/home"
)

// cli is one run of the program: where it reads and writes, and its flags.
type cli struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	getenv  func(string) (string, bool)
	program string   // manager or mintmark, as help calls it
	called  string   // as it was called, for a shell
	where   string   // the flag that named the home or the server, for a shell
	made    home.Dir // the home that this run has made
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
		c.outputOf(args)
		return c.report(err)
	}
	return exitDone
}

func (c *cli) root() *cobra.Command {
	root := c.group(c.program, "A self-hosted authority for API tokens",
		c.example("manager init ./mintmark-home --start", "manager token create --client-id dfsadmin --role admin"),
		c.initCommand(), c.serveCommand(), c.guardCommand(), c.startCommand(), c.stopCommand(), c.restartCommand(), c.statusCommand(),
		c.configCommand(), c.tokenCommand(), c.keyCommand(), c.supportCommand(), c.auditCommand(), c.adminCommand(), c.backupCommand(), c.storeCommand(),
		c.doctorCommand(), c.benchCommand(), c.completionCommand(), c.versionCommand(),
	)
	root.Long = "Exit codes: 0 done, 1 failed, 2 usage, 3 the server is not running, 4 not allowed, 5 not found, 6 conflict,\n" +
		"7 not valid, 8 confirmation needed or declined, 9 unavailable or timed out, 10 attention needed, 130 interrupted."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return c.settle(cmd) }
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(c.helpCommand(root))
	root.SetHelpTemplate(helpTemplate)
	root.SetHelpFunc(c.help(root))
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(wrongFlag)
	c.globalFlags(root)
	return root
}

func (c *cli) globalFlags(root *cobra.Command) {
	p := root.PersistentFlags()
	f := &c.flags
	p.StringVar(&f.home, "home", "", "the installation directory (MINTMARK_HOME; the manager's own folder)")
	p.StringVar(&f.server, "server", "", "a remote server's URL (MINTMARK_SERVER); the token comes from MINTMARK_TOKEN")
	p.StringVarP(&f.output, "output", "o", "", "table, json, jsonl or tsv (MINTMARK_OUTPUT)")
	p.BoolVar(&f.json, "json", false, "the same as --output json")
	p.StringVar(&f.columns, "columns", "", "the columns of a table, separated by commas")
	p.BoolVar(&f.noHeaders, "no-headers", false, "a table without its head")
	p.BoolVarP(&f.quiet, "quiet", "q", false, "nothing on the error output but warnings and errors, and no table where the exit code is the answer")
	p.BoolVarP(&f.verbose, "verbose", "v", false, "tell of every call to the server")
	p.BoolVar(&f.noColor, "no-color", false, "no colour (NO_COLOR)")
	p.BoolVar(&f.noInput, "no-input", false, "never ask")
	p.BoolVarP(&f.yes, "yes", "y", false, "agree to what is asked with [y/N]")
	p.StringVar(&f.confirm, "confirm", "", "the name that would have to be typed")
	p.BoolVar(&f.utc, "utc", false, "times in UTC instead of relative ones")
	p.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to wait")
	offer(root, "output", "table", "json", "jsonl", "tsv")
	_ = root.RegisterFlagCompletionFunc("columns", completeColumns)
}

// group is a command that only has subcommands.
func (c *cli) group(use, short, example string, subs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs,
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

// local marks a command that works on this machine and on no other.
func local(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{"local": ""}
	return cmd
}

// settle resolves the flags that the environment can give too.
func (c *cli) settle(cmd *cobra.Command) error {
	if err := allSay(cmd); err != nil {
		return err
	}
	f := &c.flags
	fromEnv := func(into *string, name string) {
		if v, ok := c.getenv(name); ok && *into == "" {
			*into = v
		}
	}
	_, here := cmd.Annotations["local"]
	switch {
	case f.server != "" && here:
		return fail(exitUsage, "usage", "%s works on this machine only; --server does not go with it", cmd.CommandPath())
	case f.timeout <= 0:
		return fail(exitUsage, "usage", "--timeout is longer than nothing")
	case f.server != "" && f.home != "":
		return fail(exitUsage, "usage", "give --server or --home, not both")
	case f.server != "":
		c.where = " --server " + quoted(f.server)
	case f.home != "":
		c.where = " --home " + quoted(f.home)
	default:
		fromEnv(&f.server, "MINTMARK_SERVER")
	}
	fromEnv(&f.home, "MINTMARK_HOME")
	if f.json {
		f.output = "json"
	}
	fromEnv(&f.output, "MINTMARK_OUTPUT")
	if v, ok := c.getenv("NO_COLOR"); ok && v != "" {
		f.noColor = true
	}
	if v, _ := c.getenv("TERM"); v == "dumb" {
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

// allSay refuses a flag without a text: --out-file "$UNSET" is not what leaving it
// out is. Only what people write about a token or a change may be nothing.
func allSay(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch {
		case err != nil, f.Value.Type() != "string", f.Value.String() != "":
		case f.Name == "description", f.Name == "contact", f.Name == "reason":
		default:
			err = fail(exitUsage, "usage", "--%s is empty; leave it out, or give it a value", f.Name)
		}
	})
	return err
}

// outputOf looks what output was wanted when the command line could not be read
// to its end: an error has the form that was asked for.
func (c *cli) outputOf(args []string) {
	probe := &cobra.Command{FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}}
	asJSON := probe.Flags().Bool("json", false, "")
	output := probe.Flags().StringP("output", "o", "", "")
	if c.flags.output == "" && probe.ParseFlags(args) == nil {
		c.flags.output = *output
		if *asJSON {
			c.flags.output = "json"
		}
	}
	if v, ok := c.getenv("MINTMARK_OUTPUT"); ok && c.flags.output == "" {
		c.flags.output = v
	}
}

// self is how a command of what is said is called, so that it works as it is copied:
// as this one was, or through the home that it has made.
func (c *cli) self() string {
	if c.made != "" {
		return quoted(c.made.Manager())
	}
	return cmp.Or(c.called, c.program) + c.where
}

// told has the commands of a text, which say manager, called so.
func (c *cli) told(text string) string {
	const placeholder = `(^|[\s(])manager ([a-z])`
	return regexp.MustCompile(placeholder).ReplaceAllString(text, "${1}"+strings.ReplaceAll(c.self(), "$", "$$")+" ${2}")
}

// asJSON reports whether the result goes to a program.
func (c *cli) asJSON() bool { return c.flags.output == "json" || c.flags.output == "jsonl" }

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
