package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

const gap = 2 // between columns

// across is how wide the terminal is that the output goes to; 0: it goes to none,
// or one that does not say.
func (c *cli) across() int {
	if f, ok := c.out.(*os.File); ok && terminal(f) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}

// fitting leaves out what a list can do without, one column after the other, until
// the rest goes into the terminal, and answers what it left out and what it cut short.
// What was asked for stays, and so does everything where nobody's terminal is.
func fitting[T any](c *cli, columns []column[T], items []T) (kept []column[T], left, cut []string) {
	across := c.across()
	if across == 0 || !c.narrow() || c.flags.columns != "" {
		return columns, nil, nil
	}
	for room(narrowest(columns, grid(c, columns, items))) > across {
		next := -1
		for i, col := range columns {
			if col.spare > 0 && (next < 0 || col.spare < columns[next].spare) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		left = append(left, columns[next].name)
		columns = slices.Delete(slices.Clone(columns), next, next+1)
	}
	columns, cut = shortened(columns, grid(c, columns, items), across)
	return columns, left, cut
}

// beneath takes the column of advice out of a list that has no room for it, and
// answers what it says; nil: it stays.
func beneath[T any](c *cli, columns []column[T], items []T) ([]column[T], func(T) string) {
	at := slices.IndexFunc(columns, func(col column[T]) bool { return col.below })
	across := c.across()
	if at < 0 || across == 0 || !c.narrow() || c.flags.columns != "" || room(widest(grid(c, columns, items), utf8.RuneCountInString)) <= across {
		return columns, nil
	}
	return slices.Delete(slices.Clone(columns), at, at+1), columns[at].of
}

// advised puts below each record what is to be done about it, if anything is.
func (c *cli) advised(lines []line, heads int, advice func(record int) string) (out []line) {
	for n, l := range lines {
		out = append(out, l)
		if l.row < heads || n+1 < len(lines) && lines[n+1].row == l.row {
			continue
		}
		if text := advice(l.row - heads); text != orDash("") {
			for _, part := range filled(unbroken(clean(text)), c.across()-gap) {
				out = append(out, line{l.row, []string{strings.Repeat(" ", gap) + part}, []int{0}})
			}
		}
	}
	return out
}

// unbroken are the words of an advice; a command in it is one, so that it can be
// copied.
func unbroken(advice string) (words []string) {
	command := regexp.MustCompile(`(?:\S*/)?(?:manager|mintmark) [a-z-].*?(?:[,;.] |$)|(?:chmod [0-7]+|rm -r) \S+`)
	for advice != "" {
		at := command.FindStringIndex(advice)
		if at == nil {
			return append(words, strings.Fields(advice)...)
		}
		words = append(append(words, strings.Fields(advice[:at[0]])...), strings.TrimSpace(advice[at[0]:at[1]]))
		advice = advice[at[1]:]
	}
	return words
}

// narrowest is how narrow columns can be. Where some can be cut short a record is one
// line, else each is as narrow as its longest word.
func narrowest[T any](columns []column[T], rows [][]string) []int {
	if !slices.ContainsFunc(columns, func(col column[T]) bool { return col.least > 0 }) {
		return leastOf(rows)
	}
	widths := widest(rows, utf8.RuneCountInString)
	for i, col := range columns {
		if col.least > 0 && i < len(widths) {
			widths[i] = min(widths[i], col.least)
		}
	}
	return widths
}

// shortened cuts columns that can be short, the widest first, until all goes into the
// terminal, and answers which.
func shortened[T any](columns []column[T], rows [][]string, across int) (out []column[T], cut []string) {
	widths := widest(rows, utf8.RuneCountInString)
	fitted := slices.Clone(widths)
	for over := room(widths) - across; over > 0; over-- {
		next := -1
		for i, w := range fitted {
			if columns[i].least > 0 && w > columns[i].least && (next < 0 || w > fitted[next]) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		fitted[next]--
	}
	out = slices.Clone(columns)
	for i, w := range fitted {
		if w < widths[i] {
			whole := out[i].of
			out[i].of = func(item T) string { return begun(whole(item), w) }
			cut = append(cut, out[i].name)
		}
	}
	return out, cut
}

// begun is a text, or as much of its beginning as has room.
func begun(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}

// leastOf is how narrow columns can be: each as its longest word, which people
// copy.
func leastOf(rows [][]string) []int {
	return widest(rows, func(cell string) (n int) {
		for word := range strings.FieldsSeq(cell) {
			n = max(n, utf8.RuneCountInString(word))
		}
		return n
	})
}

// widest is how wide columns are, by the widest of their cells.
func widest(rows [][]string, width func(string) int) (widths []int) {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	return widths
}

// room is what columns need beside each other.
func room(widths []int) int {
	n := -gap
	for _, w := range widths {
		n += w + gap
	}
	return n
}

// fit makes columns narrower until they are across at the most, the widest first
// and none narrower than its longest word; but the last, as nothing stands behind a
// word of it that is too long.
func fit(rows [][]string, widths []int, across int) []int {
	least, fitted := leastOf(rows), slices.Clone(widths)
	for over := room(widths) - across; over > 0; over-- {
		next := -1
		for i, w := range fitted {
			if w > least[i] && (next < 0 || w > fitted[next]) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		fitted[next]--
	}
	if last, over := len(fitted)-1, room(fitted)-across; over > 0 && last >= 0 {
		const some = 20
		fitted[last] = max(min(fitted[last], some), fitted[last]-over)
	}
	return fitted
}

// line is one line of a table; a row has more where a cell goes on below.
type line struct {
	row    int
	cells  []string
	widths []int // nil: it has tabs between
}

// lay makes lines of rows.
func (c *cli) lay(rows [][]string) (lines []line) {
	if c.flags.output == "tsv" {
		for n, row := range rows {
			lines = append(lines, line{n, row, nil})
		}
		return lines
	}
	widths := widest(rows, utf8.RuneCountInString)
	if across := c.across(); across > 0 {
		widths = fit(rows, widths, across)
	}
	for n, row := range rows {
		for _, cells := range laid(row, widths) {
			lines = append(lines, line{n, cells, widths})
		}
	}
	return lines
}

// laid is a row as lines: a cell that is wider than its column goes on below.
func laid(row []string, widths []int) (lines [][]string) {
	for i, cell := range row {
		for n, part := range wrapped(cell, widths[i]) {
			if n == len(lines) {
				lines = append(lines, make([]string, len(row)))
			}
			lines[n][i] = part
		}
	}
	return lines
}

// wrapped breaks a text at its spaces; one that has room stays as it is.
func wrapped(text string, width int) []string {
	if utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	return filled(strings.Fields(text), width)
}

// filled puts words into lines; one that is longer has a line of its own.
func filled(words []string, width int) (lines []string) {
	line := ""
	for _, word := range words {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// text is the line as it is printed; what is painted takes no more room.
func (l line) text(paint func(column int, text string) string) string {
	if l.widths == nil {
		return strings.Join(l.cells, "\t")
	}
	var b strings.Builder
	blank := 0
	for i, cell := range l.cells {
		cell = strings.TrimRight(cell, " ")
		if cell != "" {
			b.WriteString(strings.Repeat(" ", blank) + paint(i, cell))
			blank = 0
		}
		blank += l.widths[i] - utf8.RuneCountInString(cell) + gap
	}
	return b.String()
}
