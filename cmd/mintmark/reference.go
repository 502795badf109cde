package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go run . help --schemas ../../api/schema
//go:generate go run . help --markdown ../../docs/cli.md

// reference is where the help goes that is made from the command tree: man pages
// and schemas into folders, and one page of Markdown.
type reference struct{ man, schemas, markdown string }

func (r reference) write(root *cobra.Command) error {
	if r.man != "" {
		if err := writeFiles(r.man, manPages(root)); err != nil {
			return err
		}
	}
	if r.schemas != "" {
		files, err := schemas()
		if err != nil {
			return err
		}
		if err := writeFiles(r.schemas, files); err != nil {
			return err
		}
	}
	if r.markdown == "" {
		return nil
	}
	return os.WriteFile(r.markdown, []byte(markdown(root)), 0o644)
}

// everyCommand is each command that people can give, groups before what is in
// them.
func everyCommand(root *cobra.Command) []*cobra.Command {
	root.InitDefaultHelpFlag()
	out := []*cobra.Command{root}
	for _, sub := range root.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			out = append(out, everyCommand(sub)...)
		}
	}
	return out
}

// ownFlags are those that a command has beside those of every command.
func ownFlags(cmd *cobra.Command) []*pflag.Flag {
	set := cmd.NonInheritedFlags()
	if !cmd.HasParent() {
		set = cmd.PersistentFlags()
	}
	var out []*pflag.Flag
	set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			out = append(out, f)
		}
	})
	return out
}

// flagForm is "-o, --output string".
func flagForm(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	out := "--" + f.Name
	if f.Shorthand != "" {
		out = "-" + f.Shorthand + ", " + out
	}
	if name != "" {
		out += " " + strings.TrimSuffix(name, "Array")
	}
	return out
}

// standard is what a flag is without being given, "" when that is nothing.
func standard(f *pflag.Flag) string {
	if slices.Contains([]string{"", "false", "0", "[]"}, f.DefValue) {
		return ""
	}
	return f.DefValue
}

// synopsis is how a command is given.
func synopsis(cmd *cobra.Command) string {
	if cmd.HasSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

func markdown(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The commands\n\n"+
		"Written by `go generate ./cmd/mintmark` from the commands themselves: every command says the same with `-h`, and `%[1]s help --man DIR`\n"+
		"writes it as man pages. Inside an installation directory the program is `manager`. What holds for all of them, in scripts above all, is in\n"+
		"[manual.md](manual.md#in-scripts); what an error code means is in [troubleshooting.md](troubleshooting.md); the documents of `-o json`\n"+
		"have schemas in [api/schema](../api/schema).\n\n%[2]s\n\n", root.Name(), root.Long)
	b.WriteString("## Flags of every command\n\n" + flagTable(root))
	for _, cmd := range everyCommand(root)[1:] {
		fmt.Fprintf(&b, "\n%s %s\n\n%s.\n\n", strings.Repeat("#", min(strings.Count(cmd.CommandPath(), " ")+1, 4)), cmd.CommandPath(), cmd.Short)
		if cmd.Long != "" {
			b.WriteString(cmd.Long + "\n\n")
		}
		fmt.Fprintf(&b, "```text\n%s\n```\n", synopsis(cmd))
		if table := flagTable(cmd); table != "" {
			b.WriteString("\n" + table)
		}
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
	}
	return b.String()
}

func flagTable(cmd *cobra.Command) string {
	flags := ownFlags(cmd)
	if len(flags) == 0 {
		return ""
	}
	cell := strings.NewReplacer("|", "\\|", "<", "&lt;").Replace
	out := "| flag | | default |\n|---|---|---|\n"
	for _, f := range flags {
		_, usage := pflag.UnquoteUsage(f)
		without := standard(f)
		if without != "" {
			without = "`" + without + "`"
		}
		out += fmt.Sprintf("| `%s` | %s | %s |\n", flagForm(f), cell(usage), without)
	}
	return out
}

// manPages are the pages of section 1, by the name of the file.
func manPages(root *cobra.Command) map[string][]byte {
	out := make(map[string][]byte)
	for _, cmd := range everyCommand(root) {
		out[manName(cmd)+".1"] = []byte(manPage(root, cmd))
	}
	return out
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func manPage(root, cmd *cobra.Command) string {
	var b strings.Builder
	section := func(name, body string) {
		if body != "" {
			fmt.Fprintf(&b, ".SH %s\n%s", name, body)
		}
	}
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s\" \"Mintmark\"\n", roff(strings.ToUpper(manName(cmd))), roff(root.Name()+" "+version()))
	section("NAME", roff(manName(cmd))+" \\- "+roff(cmd.Short)+"\n")
	section("SYNOPSIS", ".nf\n"+roff(synopsis(cmd))+"\n.fi\n")
	if cmd.HasParent() && cmd.Long != "" {
		section("DESCRIPTION", roff(cmd.Long)+"\n")
	}
	section("OPTIONS", manFlags(ownFlags(cmd)))
	section("EXAMPLES", ".nf\n"+roff(cmd.Example)+"\n.fi\n")
	if !cmd.HasParent() {
		section("EXIT STATUS", roff(root.Long)+"\n")
	}
	var also []string
	if cmd.HasParent() {
		also = append(also, manName(cmd.Parent()))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			also = append(also, manName(sub))
		}
	}
	section("SEE ALSO", roff(strings.Join(also, "(1), ")+"(1)")+"\n")
	return b.String()
}

func manFlags(flags []*pflag.Flag) string {
	out := ""
	for _, f := range flags {
		_, usage := pflag.UnquoteUsage(f)
		if without := standard(f); without != "" {
			usage += " (default " + without + ")"
		}
		out += fmt.Sprintf(".TP\n\\fB%s\\fR\n%s\n", roff(flagForm(f)), roff(usage))
	}
	return out
}

// roff writes text so that nothing in it is read as a request or an escape.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "–", `\(en`, "…", "...").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
