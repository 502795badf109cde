package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

const apiVersion = "mintmark/v1"

// column is one column of a table.
type column[T any] struct {
	name string
	of   func(T) string
	more bool // only when asked for with --columns
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
	var head []string
	if !c.flags.noHeaders {
		for _, col := range columns {
			head = append(head, col.name)
		}
	}
	rows := make([][]string, 0, len(items))
	for _, item := range items {
		row := make([]string, len(columns))
		for i, col := range columns {
			row[i] = col.of(item)
		}
		rows = append(rows, row)
	}
	return c.table(head, rows)
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
			var names []string
			for _, col := range all {
				names = append(names, strings.ToLower(strings.ReplaceAll(col.name, " ", "_")))
			}
			return nil, fail(exitUsage, "usage", "there is no column %q", name).advise("columns: " + strings.Join(names, ","))
		}
		out = append(out, all[i])
	}
	return out, nil
}

// table prints rows under a head, which may be nil: aligned for people, within the
// width of their terminal, or with tabs between.
func (c *cli) table(head []string, rows [][]string) error {
	if head != nil {
		rows = append([][]string{head}, rows...)
	}
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			cell = clean(strings.NewReplacer("\n", " ", "\t", " ").Replace(cell))
			if row[i] = cell; i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if across := c.across(); across > 0 {
		widths = fit(rows, widths, across)
	}
	var lines []string
	heading := 0 // how many lines the head has
	for n, row := range rows {
		if c.flags.output == "tsv" {
			lines = append(lines, strings.Join(row, "\t"))
		} else {
			lines = append(lines, laid(row, widths)...)
		}
		if n == 0 && head != nil {
			heading = len(lines)
		}
	}
	pager := c.pager(len(lines))
	var b bytes.Buffer
	for n, line := range lines {
		if n < heading && pager == "" {
			line = c.paint(c.out, bold, line)
		}
		b.WriteString(line + "\n")
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
		return c.table(nil, lines)
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
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case os.IsExist(err):
		return nil, fail(exitConflict, "file.exists", "%s exists already; nothing was done", path)
	case err != nil:
		return nil, fail(exitFailed, "file.unwritable", "%s; nothing was done", err)
	}
	return f, nil
}

// dryRun ends a command that only looked.
func (c *cli) dryRun(format string, args ...any) {
	c.say("%s Nothing was changed (dry run).", fmt.Sprintf(format, args...))
}
