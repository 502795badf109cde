package main

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const helpTemplate = `{{.Short}}
{{with .Example}}
Examples:
{{.}}
{{end}}{{with .Long}}
{{.}}
{{end}}
{{.UsageString}}`

const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{if .HasAvailableSubCommands}}
Commands:{{range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasAvailableInheritedFlags}}
Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}`

// help prints help, within the width of a person's terminal.
func (c *cli) help(root *cobra.Command) func(*cobra.Command, []string) {
	print := root.HelpFunc()
	return func(cmd *cobra.Command, args []string) {
		width := c.across()
		if width == 0 {
			print(cmd, args)
			return
		}
		var text bytes.Buffer
		root.SetOut(&text)
		print(cmd, args)
		root.SetOut(c.out)
		_, _ = io.WriteString(c.out, reflowed(text.String(), width)) // as cobra itself
	}
}

// reflowed breaks lines that are wider than a terminal: paragraphs anew, and what is
// said of a command or a flag below where that begins. Examples stay, as they are
// copied.
func reflowed(text string, width int) string {
	named := regexp.MustCompile(`^( +\S.*?  +|  [a-z-]+ )(\S.*)$`)
	var out []string
	for part := range strings.SplitSeq(text, "\n\n") {
		lines := strings.Split(part, "\n")
		wide := slices.ContainsFunc(lines, func(line string) bool { return utf8.RuneCountInString(line) > width })
		switch {
		case !wide, lines[0] == "Examples:", lines[0] == "" && lines[1] == "Examples:":
		case !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, " ") }):
			lines = filled(strings.Fields(part), width)
		default:
			var broken []string
			for _, line := range lines {
				of := named.FindStringSubmatch(line)
				if of == nil || utf8.RuneCountInString(line) <= width || len(of[1]) > width/2 {
					broken = append(broken, line)
					continue
				}
				for n, said := range filled(strings.Fields(of[2]), width-len(of[1])) {
					if n > 0 {
						of[1] = strings.Repeat(" ", len(of[1]))
					}
					broken = append(broken, of[1]+said)
				}
			}
			lines = broken
		}
		out = append(out, strings.Join(lines, "\n"))
	}
	return strings.Join(out, "\n\n")
}

// example shows command lines; manager in them is this program.
func (c *cli) example(lines ...string) string {
	return "  " + strings.ReplaceAll(strings.Join(lines, "\n  "), "manager", c.program)
}

func (c *cli) helpCommand(root *cobra.Command) *cobra.Command {
	var into reference
	cmd := local(&cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command, and all of it as files", Args: cobra.ArbitraryArgs, ValidArgsFunction: completeCommand,
		Example: c.example("manager help token create", "manager help --man ~/.local/share/man/man1"),
		RunE: func(_ *cobra.Command, args []string) error {
			if into != (reference{}) {
				return into.write(root)
			}
			found, rest, err := root.Find(args)
			if err != nil {
				return fail(exitUsage, "usage", "%s", err)
			}
			if len(rest) > 0 {
				return unknown(found, rest[0])
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	})
	f := cmd.Flags()
	f.StringVar(&into.man, "man", "", "write a man page for each command into this folder")
	f.StringVar(&into.schemas, "schemas", "", "write the JSON schema of each document that a command prints into this folder")
	f.StringVar(&into.markdown, "markdown", "", "write docs/cli.md to this file")
	_ = f.MarkHidden("markdown")
	return cmd
}

// unknown names what is nearest and runs nothing.
func unknown(cmd *cobra.Command, word string) error {
	cmd.SuggestionsMinimumDistance = 2
	f := fail(exitUsage, "usage", "%s %s: no such command", cmd.CommandPath(), word)
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		f.message += ". Did you mean `" + near[0] + "`?"
	}
	return f.advise(cmd.CommandPath() + " --help")
}

// wrongFlag does the same for flags.
func wrongFlag(cmd *cobra.Command, err error) error {
	f := fail(exitUsage, "usage", "%s", err)
	var missing *pflag.NotExistError
	var silent *pflag.ValueRequiredError
	var wrong *pflag.InvalidValueError
	switch {
	case errors.As(err, &silent):
		f.message = "--" + silent.GetFlag().Name + " needs a value"
	case errors.As(err, &wrong):
		f.message = "--" + wrong.GetFlag().Name + " takes " + takes(wrong.GetFlag().Value.Type())
	case errors.As(err, &missing):
		names := &cobra.Command{SuggestionsMinimumDistance: 2}
		for field := range strings.FieldsSeq(cmd.LocalFlags().FlagUsages() + cmd.InheritedFlags().FlagUsages()) {
			if name, long := strings.CutPrefix(field, "--"); long {
				names.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
			}
		}
		if near := names.SuggestionsFor(missing.GetSpecifiedName()); len(near) > 0 {
			f.message += ". Did you mean `--" + near[0] + "`?"
		}
	}
	return f.advise(cmd.CommandPath() + " --help")
}

// takes is what a flag of a type takes. What was given is not repeated: it may be a
// token in the wrong place.
func takes(kind string) string {
	switch kind {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 30s or 2m"
	case "uint", "uint64":
		return "a number from 0 on"
	}
	return "a number"
}

// exactly demands a number of arguments, with exit code 2. An argument may be a
// token in the wrong place, so none is repeated.
func exactly(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var wanted string
		switch {
		case len(args) >= least && len(args) <= most:
			return nil
		case most == 0:
			wanted = "no argument"
		case least == most:
			wanted = plural(most, "argument")
		case least == 0:
			wanted = "at most " + plural(most, "argument")
		default:
			wanted = plural(least, "argument") + " or more"
		}
		return fail(exitUsage, "usage", "%s takes %s, not %d", cmd.CommandPath(), wanted, len(args)).advise(cmd.UseLine())
	}
}

// alone splits a command line where bash-completion is not loaded, which cobra's
// script takes for granted: by spaces, which is all that our words need.
const alone = `
    if ! declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        local line="${COMP_LINE:0:COMP_POINT}"
        read -ra words <<<"${line}"
        [[ ${line} == *[[:space:]] ]] && words+=("")
        cword=$((${#words[@]} - 1))
        cur="${words[cword]}" prev="${words[cword - 1]}"
        return 0
    fi
`

func (c *cli) bashCompletion(root *cobra.Command) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	const split = "\n    _get_comp_words_by_ref "
	_, err := io.WriteString(c.out, strings.Replace(script.String(), split, alone+split[1:], 1))
	return err
}

// completionCommand prints what a shell loads to complete command lines.
func (c *cli) completionCommand() *cobra.Command {
	return local(&cobra.Command{
		Use: "completion SHELL", Short: "Print the completion script of a shell: bash, zsh, fish or powershell",
		Example: c.example("source <(manager completion bash)", "manager completion fish > ~/.config/fish/completions/manager.fish"),
		Args:    exactly(1, 1), ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return c.bashCompletion(root)
			case "zsh":
				return root.GenZshCompletion(c.out)
			case "fish":
				return root.GenFishCompletion(c.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(c.out)
			}
			return fail(exitUsage, "usage", "there is a script for bash, zsh, fish and powershell, not for %q", args[0])
		},
	})
}
