package main

import (
	"os"
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

// fit makes columns narrower until they are across at the most, the widest first
// and none narrower than its longest word, which people copy. Where that is not
// enough the widths stay as they are.
func fit(rows [][]string, widths []int, across int) []int {
	over := -gap - across
	least, fitted := make([]int, len(widths)), make([]int, len(widths))
	for i, w := range widths {
		over += w + gap
		fitted[i] = w
	}
	for _, row := range rows {
		for i, cell := range row {
			for _, word := range strings.Fields(cell) {
				least[i] = max(least[i], utf8.RuneCountInString(word))
			}
		}
	}
	for ; over > 0; over-- {
		widest := -1
		for i, w := range fitted {
			if w > least[i] && (widest < 0 || w > fitted[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return widths
		}
		fitted[widest]--
	}
	return fitted
}

// laid is a row as lines: a cell that is wider than its column goes on below.
func laid(row []string, widths []int) []string {
	var lines [][]string
	for i, cell := range row {
		for n, part := range wrapped(cell, widths[i]) {
			if n == len(lines) {
				lines = append(lines, make([]string, len(row)))
			}
			lines[n][i] = part
		}
	}
	out := make([]string, len(lines))
	for n, line := range lines {
		out[n] = aligned(line, widths)
	}
	return out
}

// wrapped breaks a text at its spaces; one that has room stays as it is.
func wrapped(text string, width int) []string {
	if utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
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

func aligned(row []string, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+gap))
	}
	return strings.TrimRight(b.String(), " ")
}
