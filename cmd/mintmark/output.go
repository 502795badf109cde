package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"mintmark/api"
)

const apiVersion = "mintmark/v1"

// column is one column of a table.
type column[T any] struct {
	name  string
	of    func(T) string
	more  bool // only when asked for with --columns
	word  bool // what it says are words of ours, which can have a colour
	spare int  // a terminal that is too narrow goes without it: the lowest first, 0 never
	below bool // an advice: a terminal that is too narrow has it below the record, where its commands can be copied
	least int  // a terminal that is too narrow shows the beginning, so many characters at the least; 0: the whole
}

// printList prints records: as a table of the given columns, or as JSON.
func printList[T any](c *cli, kind string, items []T, columns []column[T], extra map[string]any) error {
	switch c.flags.output {
	case "json":
		if items == nil {
			items = []T{}
		}
		body := map[string]any{"apiVersion": apiVersion, "kind": kind, "items": items}
		for k, v := range extra {
			body[k] = v
		}
		return c.json(body)
	case "jsonl":
		for _, item := range items {
			if err := c.json(item); err != nil {
				return err
			}
		}
		return nil
	}
	columns, err := chosen(c, columns)
	if err != nil {
		return err
	}
	columns, below := beneath(c, columns, items)
	columns, left, cut := fitting(c, columns, items)
	rows := tidy(grid(c, columns, items))
	heads := len(rows) - len(items)
	lines := c.lay(rows)
	if below != nil {
		lines = c.advised(lines, heads, func(n int) string { return below(items[n]) })
	}
	err = c.print(lines, rows, heads, slices.IndexFunc(columns, func(col column[T]) bool { return col.word }))
	if len(left) > 0 {
		c.note("No room for %s; --columns shows them.", strings.Join(left, ", "))
	}
	if len(cut) > 0 {
		c.note("Cut short (…): %s; -o tsv has the whole.", strings.Join(cut, ", "))
	}
	return err
}

// none says to a person at a terminal that a list is empty, in the place of its head.
// Programs get the head, or a list of nothing.
func (c *cli) none(n int, format string, args ...any) bool {
	if n > 0 || !c.narrow() || c.asJSON() {
		return false
	}
	c.tell(format, args...)
	return true
}

// codeAlone reports whether a command whose exit code is its answer prints nothing
// else: that is what asking for quiet means there.
func (c *cli) codeAlone() bool { return c.flags.quiet && !c.asJSON() }

// grid is what a table shows: its head, unless nobody wants one, and a row for
// each record.
func grid[T any](c *cli, columns []column[T], items []T) [][]string {
	rows := make([][]string, 0, len(items)+1)
	add := func(of func(column[T]) string) {
		row := make([]string, len(columns))
		for i, col := range columns {
			row[i] = of(col)
		}
		rows = append(rows, row)
	}
	if !c.flags.noHeaders {
		add(func(col column[T]) string { return col.name })
	}
	for _, item := range items {
		add(func(col column[T]) string { return col.of(item) })
	}
	return rows
}

func chosen[T any](c *cli, all []column[T]) ([]column[T], error) {
	if c.flags.columns == "" {
		return slices.DeleteFunc(slices.Clone(all), func(col column[T]) bool { return col.more }), nil
	}
	var out []column[T]
	for name := range strings.SplitSeq(c.flags.columns, ",") {
		key := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(name), "_", " "))
		i := slices.IndexFunc(all, func(col column[T]) bool { return col.name == key })
		if i < 0 {
			return nil, fail(exitUsage, "usage", "there is no column %q", name).advise("columns: " + strings.Join(namesOf(all), ","))
		}
		out = append(out, all[i])
	}
	return out, nil
}

// namesOf are the names of columns as --columns takes them.
func namesOf[T any](columns []column[T]) []string {
	var names []string
	for _, col := range columns {
		names = append(names, strings.ToLower(strings.ReplaceAll(col.name, " ", "_")))
	}
	return names
}

// table prints rows, of which the first may be heads: aligned for people, within the
// width of their terminal, or with tabs between. One column, unless it is -1, has
// words that can have a colour.
func (c *cli) table(rows [][]string, heads, words int) error {
	return c.print(c.lay(tidy(rows)), rows, heads, words)
}

// tidy makes every cell safe for a terminal, and one line.
func tidy(rows [][]string) [][]string {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = clean(strings.NewReplacer("\n", " ", "\t", " ").Replace(cell))
		}
	}
	return rows
}

// print prints the lines of rows.
func (c *cli) print(lines []line, rows [][]string, heads, words int) error {
	pager := c.pager(len(lines))
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(l.text(func(column int, text string) string {
			switch {
			case pager != "":
				return text
			case l.row < heads:
				return c.paint(c.out, bold, text)
			case column == words:
				return c.paint(c.out, colourOf(rows[l.row][column]), text)
			}
			return text
		}) + "\n")
	}
	if pager == "" {
		_, err := c.out.Write(b.Bytes())
		return err
	}
	show := exec.CommandContext(context.Background(), "sh", "-c", pager) // the person's own choice
	show.Stdin, show.Stdout, show.Stderr = &b, c.out, c.err
	return show.Run()
}

// pager is the person's PAGER, for what is longer than the terminal.
func (c *cli) pager(lines int) string {
	if f, ok := c.out.(*os.File); ok && c.asks() {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 0 && lines >= height {
			pager, _ := c.getenv("PAGER")
			return pager
		}
	}
	return ""
}

// one prints a single record: as JSON with its kind, or as lines of name and
// value.
func (c *cli) one(kind string, record any, lines [][]string) error {
	if !c.asJSON() {
		return c.table(lines, 0, 0)
	}
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	body := map[string]any{}
	if err := json.Unmarshal(data, &body); err != nil {
		return err
	}
	body["apiVersion"], body["kind"] = apiVersion, kind
	return c.json(body)
}

// json prints a value: on one line for jsonl.
func (c *cli) json(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	if c.flags.output == "json" {
		e.SetIndent("", "  ")
	}
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(c.out, escape(b.String()))
	return err
}

// newFile reserves a file for a secret before there is one: it is new, and this
// user's alone.
func newFile(path string) (*os.File, error) {
	if path == "-" {
		return nil, fail(exitUsage, "usage", "a file is made, none of the name -; nothing was done").advise("without that flag it goes to the output; ./- is a name, too")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, fail(exitConflict, "file.exists", "%s exists already; nothing was done", path)
	case errors.Is(err, fs.ErrNotExist):
		folder := filepath.Dir(path)
		return nil, fail(exitNotFound, "file.unwritable", "%s does not exist; nothing was done", folder).advise("make it with: install -d -m 700 " + quoted(folder))
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(exitNotAllowed, "file.unwritable", "%s cannot be written by this user; nothing was done", filepath.Dir(path))
	case err != nil:
		return nil, fail(exitFailed, "file.unwritable", "%s; nothing was done", err)
	}
	return f, nil
}

// oldFile opens a file that the command line names.
func oldFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		none := fail(exitNotFound, "file.none", "%s does not exist; nothing was done", path)
		if whole, err := filepath.Abs(path); err == nil && whole != path {
			none.hint = "it was looked for at " + whole
		}
		return nil, none
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(exitNotAllowed, "file.unreadable", "%s cannot be read by this user; nothing was done", path)
	case err != nil:
		return nil, fail(exitFailed, "file.unreadable", "%s; nothing was done", err)
	}
	return f, nil
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// rehearsed is what a dry run found, as the command prints it.
type rehearsed struct {
	Would  string         `json:"would"` // in a sentence
	Token  *api.Token     `json:"token,omitempty"`
	Admin  *api.Admin     `json:"admin,omitempty"`
	Keys   []api.Key      `json:"keys,omitempty"`
	Counts map[string]int `json:"counts,omitempty"` // by the names that they have in the document of the change itself
}

// dryRun ends a command that only looked, and has not printed what it found.
func (c *cli) dryRun(r rehearsed) error {
	c.looked("%s", r.Would)
	if !c.asJSON() {
		return nil
	}
	return c.one("DryRun", r, nil)
}

// looked says of a command that it only looked.
func (c *cli) looked(format string, args ...any) {
	c.say("%s Nothing was changed (dry run).", fmt.Sprintf(format, args...))
}
