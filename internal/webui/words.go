package webui

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// units is a duration in its largest unit that fits.
func units(d time.Duration) (unit string, n int) {
	switch {
	case d >= day:
		return "day", int(d / day)
	case d >= time.Hour:
		return "hour", int(d / time.Hour)
	case d >= time.Minute:
		return "minute", int(d / time.Minute)
	}
	return "second", int(d / time.Second)
}

// spell says a duration: "30 minutes".
func spell(d time.Duration) message.Text {
	unit, n := units(d)
	return say("{unit, select, day {{n, plural, one {# day} other {# days}}} hour {{n, plural, one {# hour} other {# hours}}} minute {{n, plural, one {# minute} other {# minutes}}} other {{n, plural, one {# second} other {# seconds}}}} ## how long something lasts",
		"unit", unit, "n", n)
}

func ago(now, t time.Time) message.Text {
	d := now.Sub(t)
	if d < time.Minute {
		return say("just now")
	}
	unit, n := units(d)
	return say("{unit, select, day {{n, plural, one {# day} other {# days}}} hour {{n, plural, one {# hour} other {# hours}}} other {{n, plural, one {# minute} other {# minutes}}}} ago", "unit", unit, "n", n)
}

func until(now, t time.Time) message.Text {
	d := t.Sub(now)
	if d < 0 {
		return ago(now, t)
	}
	unit, n := units(d + slack(d))
	return say("in {unit, select, day {{n, plural, one {# day} other {# days}}} hour {{n, plural, one {# hour} other {# hours}}} minute {{n, plural, one {# minute} other {# minutes}}} other {{n, plural, one {# second} other {# seconds}}}}",
		"unit", unit, "n", n)
}

// left says how much of a time is left, "over" when nothing is.
func left(d time.Duration) message.Text {
	if d <= 0 {
		return say("over ## a time that has ended")
	}
	unit, n := units(d + slack(d))
	return say("{unit, select, day {{n, plural, one {# day} other {# days}}} hour {{n, plural, one {# hour} other {# hours}}} minute {{n, plural, one {# minute} other {# minutes}}} other {{n, plural, one {# second} other {# seconds}}}} left",
		"unit", unit, "n", n)
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

// dayOfMonth is a day without its year: "7 Dec".
func dayOfMonth(t time.Time) message.Text {
	say := func(month string) message.Text { return message.Say(month, "day", t.UTC().Format("2")) }
	switch t.UTC().Month() {
	case time.January:
		return say("{day} Jan")
	case time.February:
		return say("{day} Feb")
	case time.March:
		return say("{day} Mar")
	case time.April:
		return say("{day} Apr")
	case time.May:
		return say("{day} May")
	case time.June:
		return say("{day} Jun")
	case time.July:
		return say("{day} Jul")
	case time.August:
		return say("{day} Aug")
	case time.September:
		return say("{day} Sep")
	case time.October:
		return say("{day} Oct")
	case time.November:
		return say("{day} Nov")
	case time.December:
	}
	return say("{day} Dec")
}

// date is a day of UTC, with its month as a word, so that nobody takes it for
// another: "7 Dec 2026".
func date(t time.Time) message.Text {
	return say("{day} {year} ## a date: the day is “23 Nov”", "day", dayOfMonth(t), "year", t.UTC().Format("2006"))
}

// utc is an instant: "7 Dec 2026, 14:08 UTC".
func utc(t time.Time) message.Text {
	return say("{date}, {time} UTC", "date", date(t), "time", t.UTC().Format("15:04"))
}

// clock is a time of today.
func clock(t time.Time) message.Text {
	return say("{time} UTC", "time", t.UTC().Format("15:04:05"))
}

// hours24 is a day that is not one of the calendar.
func hours24() message.Text { return say("24 hours") }

// exact is an instant as it is agreed on: "Mon 7 Dec 2026, 14:08 UTC".
func exact(t time.Time) message.Text {
	t = t.UTC()
	say := func(weekday string) message.Text {
		return message.Say(weekday, "date", date(t), "time", t.Format("15:04"))
	}
	switch t.Weekday() {
	case time.Monday:
		return say("Mon {date}, {time} UTC")
	case time.Tuesday:
		return say("Tue {date}, {time} UTC")
	case time.Wednesday:
		return say("Wed {date}, {time} UTC")
	case time.Thursday:
		return say("Thu {date}, {time} UTC")
	case time.Friday:
		return say("Fri {date}, {time} UTC")
	case time.Saturday:
		return say("Sat {date}, {time} UTC")
	case time.Sunday:
	}
	return say("Sun {date}, {time} UTC")
}

func roleName(r authority.Role) message.Text {
	switch r {
	case authority.RoleAdmin:
		return say("Admin")
	case authority.RoleUser:
		return say("User")
	case authority.RoleVerifier:
		return say("Verifier")
	}
	return message.Verbatim(string(r))
}

// reasons are those of a rotation to choose from; what is stored is English.
func reasons() []option {
	return []option{{"scheduled", say("Scheduled")}, {"suspected leak", say("Suspected leak")}, {"someone left", say("Someone left")}, {"other", say("Other ## reason")}}
}

// whyOf says a reason that was stored: one of those offered, or somebody's words.
func whyOf(stored string) message.Text {
	for _, r := range reasons() {
		if r.Value == stored {
			return r.Label
		}
	}
	return message.Verbatim(stored)
}

// action says an event's code in words: "token.created" is "Token created".
func action(code string) message.Text {
	words := strings.NewReplacer("login.", "sign-in ", "config.", "settings ", ".", " ", "_", " ").Replace(code)
	if words != "" {
		words = strings.ToUpper(words[:1]) + words[1:]
	}
	return message.Told(words)
}

// sentence begins with a capital if what comes from elsewhere begins with a word;
// a name, a path or an address stays as it is.
func sentence(s string) string {
	if regexp.MustCompile(`^[a-z]+[,:]?( |$)`).MatchString(s) {
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return s
}

// curly gives what other rooms quote for a terminal the quotes of a page.
func curly(s string) string {
	return regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`).ReplaceAllString(s, "“$1”")
}

// phrase is some of a text: words, or a command to type.
type phrase struct {
	Text    string
	Command bool
}

// advice tells the commands in an advice from its words.
func advice(text string) []phrase {
	var out []phrase
	for text != "" {
		at := regexp.MustCompile(`(?:\S*/)?manager [a-z].*?(?:[,;.] |$)|chmod [0-7]+ \S+`).FindStringIndex(text)
		if at == nil {
			return append(out, phrase{Text: text})
		}
		command := strings.TrimRight(text[at[0]:at[1]], ",;. ")
		if at[0] > 0 {
			out = append(out, phrase{Text: text[:at[0]]})
		}
		out = append(out, phrase{command, true})
		text = text[at[0]+len(command):]
	}
	return out
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
