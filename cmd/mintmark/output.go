package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const apiVersion = "mintmark/v1"

// list prints records: as a table of the given columns, or as JSON.
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
			line, err := json.Marshal(item)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, string(line))
		}
		return nil
	}
	columns, err := chosen(c, columns)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(items)+1)
	if !c.flags.noHeaders {
		head := make([]string, len(columns))
		for i, col := range columns {
			head[i] = col.name
		}
		rows = append(rows, head)
	}
	for _, item := range items {
		row := make([]string, len(columns))
		for i, col := range columns {
			row[i] = col.of(item)
		}
		rows = append(rows, row)
	}
	return c.table(rows)
}

// column is one column of a table.
type column[T any] struct {
	name string
	of   func(T) string
	more bool // only when asked for with --columns
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

func (c *cli) table(rows [][]string) error {
	if c.flags.output == "tsv" {
		for _, row := range rows {
			fmt.Fprintln(c.out, strings.Join(row, "\t"))
		}
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// one prints a single record: as JSON with its kind, or as lines of name and
// value.
func (c *cli) one(kind string, record any, lines [][]string) error {
	if c.flags.output == "json" || c.flags.output == "jsonl" {
		data, err := json.Marshal(record)
		if err != nil {
			return err
		}
		body := map[string]any{}
		if err := json.Unmarshal(data, &body); err != nil {
			return err
		}
		body["apiVersion"], body["kind"] = apiVersion, kind
		if c.flags.output == "jsonl" {
			line, err := json.Marshal(body)
			fmt.Fprintln(c.out, string(line))
			return err
		}
		return c.json(body)
	}
	return c.table(lines)
}

func (c *cli) json(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// when prints a time: relative for people at a terminal, RFC 3339 otherwise.
func (c *cli) when(t *time.Time, absent string) string {
	if t == nil || t.IsZero() {
		return absent
	}
	if c.flags.utc || c.flags.output == "tsv" || !terminal(c.out) {
		return t.UTC().Format(time.RFC3339)
	}
	d := time.Since(*t)
	if d < 0 {
		return "in " + short(-d)
	}
	return short(d) + " ago"
}

func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24+0.5))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d >= time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
