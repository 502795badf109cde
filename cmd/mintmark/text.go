package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
)

// The four uses of colour. It never carries a meaning alone.
const (
	red    = "31" // the word error, and what is one
	yellow = "33" // the word warning, and what is one
	bold   = "1"  // headings
	dim    = "2"  // what is about the rest
)

// colourOf is the colour of a word in a table; normal is unmarked.
func colourOf(word string) string {
	switch word {
	case "problem", "dead":
		return red
	case "attention", "expires soon":
		return yellow
	}
	return ""
}

func (c *cli) paint(on io.Writer, code, text string) string {
	if code == "" || c.flags.noColor || !terminal(on) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func terminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// clean makes text safe for a terminal: what could move the cursor, change
// colours or turn the direction of reading round is shown, not done. Line ends
// and tabs stay.
func clean(text string) string {
	return replace(text, func(r rune) string { return strings.Trim(strconv.QuoteRuneToASCII(r), "'") })
}

// escape does the same within JSON, where it stays the same text for programs.
func escape(text string) string {
	return replace(text, func(r rune) string { return fmt.Sprintf(`\u%04x`, r) })
}

func replace(text string, instead func(rune) string) string {
	unsafe := func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
	}
	text = strings.ToValidUTF8(text, "�")
	if !strings.ContainsFunc(text, unsafe) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unsafe(r) {
			b.WriteString(instead(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// tell prints a line of the result.
func (c *cli) tell(format string, args ...any) {
	fmt.Fprintln(c.out, clean(fmt.Sprintf(format, args...)))
}

// say is the conversation: it goes to the error output, where a program that asked
// for JSON finds nothing else.
func (c *cli) say(format string, args ...any) {
	if !c.flags.quiet && !c.asJSON() {
		fmt.Fprintln(c.err, clean(fmt.Sprintf(format, args...)))
	}
}

// note is what is said about the result and the way to it: nobody has to read it.
func (c *cli) note(format string, args ...any) {
	if !c.flags.quiet && !c.asJSON() {
		fmt.Fprintln(c.err, c.paint(c.err, dim, clean(fmt.Sprintf(format, args...))))
	}
}

// warn is said however quiet it has to be.
func (c *cli) warn(format string, args ...any) {
	text := c.told(fmt.Sprintf(format, args...))
	if c.asJSON() {
		message := strings.ReplaceAll(text, "\n         ", "; ")
		line, _ := json.Marshal(warned{warning{message}}) // strings only
		fmt.Fprintln(c.err, escape(string(line)))
		return
	}
	fmt.Fprintf(c.err, "%s: %s\n", c.paint(c.err, yellow, "warning"), clean(text))
}

// warned is the document of a warning, on the error output.
type warned struct {
	Warning warning `json:"warning"`
}

type warning struct {
	Message string `json:"message"`
}

// patience tells a person at a terminal that something takes its time, once it
// has taken half a second. What it answers ends that.
func (c *cli) patience(what string) (done func()) {
	if c.flags.quiet || c.asJSON() || !terminal(c.err) {
		return func() {}
	}
	timer := time.AfterFunc(500*time.Millisecond, func() { fmt.Fprintln(c.err, c.paint(c.err, dim, what+" …")) })
	return func() { timer.Stop() }
}

// when prints a time: relative for people at a terminal, RFC 3339 otherwise.
func (c *cli) when(t *time.Time, absent string) string {
	if t == nil || t.IsZero() {
		return absent
	}
	if c.exact(c.out) {
		return t.UTC().Format(time.RFC3339)
	}
	d := time.Since(*t)
	if d < 0 {
		return "in " + short(-d)
	}
	return short(d) + " ago"
}

// exact reports whether times on an output are for programs, or asked for so.
func (c *cli) exact(on io.Writer) bool {
	return c.flags.utc || c.flags.output == "tsv" || !terminal(on)
}

// narrow reports whether the result goes to a person's terminal, where a row has
// to fit; anything else gets every value whole and in a column of its own.
func (c *cli) narrow() bool { return c.flags.output != "tsv" && terminal(c.out) }

// listed is a list in one cell. At a terminal it can go on below after a comma.
func (c *cli) listed(all []string) string {
	if c.narrow() {
		return orDash(strings.Join(all, ", "))
	}
	return orDash(strings.Join(all, ","))
}

// idOf is an id in a cell, short for people: a command takes the beginning too.
func (c *cli) idOf(id string) string {
	if c.narrow() {
		return shortID(id)
	}
	return id
}

// until prints a time in the conversation.
func (c *cli) until(t time.Time) string {
	if !terminal(c.err) {
		return t.UTC().Format(time.RFC3339)
	}
	if time.Until(t).Abs() < 12*time.Hour {
		return t.UTC().Format("15:04 UTC")
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// asOf prints a moment just now in the conversation, to the second.
func (c *cli) asOf(t time.Time) string {
	if !terminal(c.err) {
		return t.UTC().Format(time.RFC3339)
	}
	return t.UTC().Format("15:04:05 UTC")
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

// long is the same in words: "4 minutes".
func long(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return plural(int(d.Hours()/24+0.5), "day")
	case d >= time.Hour:
		return plural(int(d.Hours()), "hour")
	case d >= time.Minute:
		return plural(int(d.Minutes()), "minute")
	}
	return plural(int(d.Seconds()), "second")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func wereOrWas(n int) string {
	if n == 1 {
		return "1 token was"
	}
	return plural(n, "token") + " were"
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
