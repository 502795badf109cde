package webui

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"mintmark/internal/authority"
)

// spell says a duration in its largest unit that fits: "30 minutes".
func spell(d time.Duration) string {
	for _, u := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if d >= u.length {
			return plural(int(d/u.length), u.name)
		}
	}
	return plural(int(d/time.Second), "second")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return number(uint64(n)) + " " + word + "s"
}

func ago(now, t time.Time) string {
	d := now.Sub(t)
	if d < time.Minute {
		return "just now"
	}
	return spell(d) + " ago"
}

func until(now, t time.Time) string {
	d := t.Sub(now)
	if d < 0 {
		return ago(now, t)
	}
	return "in " + spell(d+slack(d))
}

// slack rounds to the nearest: a token made a minute ago for 90 days does not
// end in 89.
func slack(d time.Duration) time.Duration {
	switch {
	case d >= 24*time.Hour:
		return 12 * time.Hour
	case d >= time.Hour:
		return 30 * time.Minute
	}
	return 30 * time.Second
}

// length writes a duration as the command line takes it: "14d".
func length(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// exact is a time as it is agreed on: "Mon 7 Dec 2026, 14:08 UTC".
func exact(t time.Time) string { return t.UTC().Format("Mon 2 Jan 2006, 15:04 UTC") }

func roleName(r authority.Role) string { return capital(string(r)) }

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// action says an event's code in words: "token.created" is "Token created".
func action(code string) string {
	return capital(strings.NewReplacer(".", " ", "_", " ").Replace(code))
}

// command writes a command of the program as it can be pasted into a shell.
func (w *console) command(args ...string) string {
	out := []string{quote(w.Program)}
	for _, a := range args {
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}

// quote makes one word of a POSIX shell.
func quote(s string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`).MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
