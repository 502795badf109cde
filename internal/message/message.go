// Package message says what people read in the language that they read.
//
// It touches nothing. A text is written in English where it is needed, which is
// its key in every catalogue; a language that lacks it says the English.
//
// The one hard idea: a text has no language until it is written. What is to be
// said travels as a Text, its placeholders not filled in, and the one place that
// knows the reader's language writes it. So no sentence is glued from pieces, and
// nobody who has something to say asks for whom.
package message

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// noteMark parts the English of a message from a note for who translates it. The
// note is part of the key: what English says with one word for two things are two
// messages.
const noteMark = " ## "

// Text is something to be said; nil says nothing. Say, Told and Verbatim make one.
type Text interface{ isText() }

type text struct {
	key    string
	args   []any
	origin origin
}

func (*text) isText() {}

// origin is where the words of a text come from.
type origin uint8

const (
	ours      origin = iota // the catalogue
	told                    // another room: they may be in the catalogue
	somebodys               // nobody translates them
)

// Say is the message whose English is given, with names and values of its
// placeholders in turns; a select takes "" for "none". A value is a string, a whole number, a Text or a
// template.HTML; that of a tag is an Attributes.
func Say(english string, args ...any) Text { return &text{key: english, args: args} }

// Verbatim is words that are in no catalogue: a name, or what somebody wrote.
func Verbatim(words string) Text { return &text{key: words, origin: somebodys} }

// Told is an English sentence that came from elsewhere. Where there is no translation
// it is said in English, and in HTML marked as such (WCAG 2.2 SC 3.1.2).
func Told(english string) Text {
	if english == "" {
		return nil
	}
	return &text{key: english, origin: told}
}

// Attributes are those of a tag in a message, escaped and with a space before each.
type Attributes string

// NewAttributes makes attributes of names and values in turns. A link leads to this
// server: any other address becomes "#".
func NewAttributes(pairs ...string) Attributes {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		value := pairs[i+1]
		if pairs[i] == "href" && (!strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "#") || strings.HasPrefix(value, "//") || strings.ContainsAny(value, "\\\t\r\n")) {
			value = "#"
		}
		b.WriteString(" " + pairs[i])
		if value != "" {
			b.WriteString(`="` + template.HTMLEscapeString(value) + `"`)
		}
	}
	return Attributes(b.String())
}

// A compiled message.
type compiled struct {
	nodes  []node
	tagged bool // it is HTML
}

func compile(text string) (compiled, error) {
	nodes, err := parse(text)
	c := compiled{nodes: nodes}
	walk(nodes, func(n node) {
		if _, ok := n.(tag); ok {
			c.tagged = true
		}
	})
	return c, err
}

// Language writes texts. It is safe for concurrent use.
type Language struct {
	Tag         string // BCP 47
	Name        string // what those call it who speak it
	RightToLeft bool
	Pseudo      bool // made from English, to see what is not translated or does not fit

	rules    language.Tag // of plurals and numbers
	english  bool
	messages map[string]compiled
	base     *Language // has what this one lacks: English; nil for English
	numbers  *message.Printer
}

// Write gives a text as a plain string or, when it has tags, as template.HTML in
// which everything but the tags is escaped.
func (l *Language) Write(t Text) any {
	of, ok := t.(*text)
	switch {
	case !ok:
		return ""
	case l.says(of):
	case of.origin == told && !l.english:
		return template.HTML(`<span lang="en" dir="auto">` + template.HTMLEscapeString(of.key) + `</span>`)
	default:
		return of.key
	}
	c := l.find(of.key)
	html := c.tagged
	for i := 1; i < len(of.args); i += 2 {
		_, marked := of.args[i].(template.HTML)
		html = html || marked
	}
	w := writer{language: l, args: of.args, html: html}
	w.write(c.nodes, "")
	if html {
		return template.HTML(w.out.String())
	}
	return w.out.String()
}

// String gives a text without its tags.
func (l *Language) String(t Text) string {
	w := writer{language: l}
	w.value(t)
	return w.out.String()
}

// says reports whether a text is a message, and not words as they are.
func (l *Language) says(t *text) bool {
	return t.origin == ours || t.origin == told && l.Has(t.key)
}

// Has reports whether a message is in the catalogue.
func (l *Language) Has(key string) bool {
	_, ok := l.messages[key]
	return ok
}

// find never fails: what is in no catalogue is English.
func (l *Language) find(key string) compiled {
	if c, ok := l.messages[key]; ok {
		return c
	}
	if l.base != nil {
		return l.base.find(key)
	}
	english, _, _ := strings.Cut(key, noteMark)
	c, err := compile(english)
	if err != nil {
		return compiled{nodes: []node{literal(english)}}
	}
	return c
}

// Number writes a whole number with its digits in groups.
func (l *Language) Number(n uint64) string {
	if n < 1000 && l.english {
		return strconv.FormatUint(n, 10)
	}
	return l.numbers.Sprintf("%d", n)
}

// writer fills in one message.
type writer struct {
	language *Language
	args     []any
	html     bool
	out      strings.Builder
}

func (w *writer) write(nodes []node, number string) {
	for _, n := range nodes {
		switch n := n.(type) {
		case literal:
			w.text(string(n))
		case hash:
			w.text(number)
		case argument:
			w.value(w.argument(string(n)))
		case choice:
			w.choose(n, number)
		case tag:
			attributes, _ := w.argument(n.name).(Attributes)
			if w.html {
				w.out.WriteString("<" + elementOf(n.name) + string(attributes) + ">")
			}
			w.write(n.nodes, number)
			if w.html {
				w.out.WriteString("</" + elementOf(n.name) + ">")
			}
		}
	}
}

func (w *writer) text(s string) {
	if w.html {
		s = template.HTMLEscapeString(s)
	}
	w.out.WriteString(s)
}

func (w *writer) argument(name string) any {
	for i := 0; i+1 < len(w.args); i += 2 {
		if w.args[i] == name {
			return w.args[i+1]
		}
	}
	return nil
}

// The first strong isolate and its end keep a name that is written in one
// direction from turning the sentence around it (UAX #9 section 2.4).
const (
	isolate    = "\u2068"
	endIsolate = "\u2069"
)

func (w *writer) value(v any) {
	if n, ok := count(v); ok {
		w.text(w.language.Number(n))
		return
	}
	switch v := v.(type) {
	case nil:
	case template.HTML:
		w.out.WriteString(string(v))
	case *text:
		if w.language.says(v) {
			inner := writer{language: w.language, args: v.args, html: w.html}
			inner.write(w.language.find(v.key).nodes, "")
			w.out.WriteString(inner.out.String())
			return
		}
		w.words(v.key)
	default:
		w.words(fmt.Sprint(v))
	}
}

// words writes what is not of this language.
func (w *writer) words(s string) {
	if w.language.RightToLeft && s != "" {
		s = isolate + s + endIsolate
	}
	w.text(s)
}

func (w *writer) choose(c choice, number string) {
	value := w.argument(c.name)
	key := ""
	if c.plural {
		n, _ := count(value)
		number, key = w.language.Number(n), "="+strconv.FormatUint(n, 10)
		if !c.has(key) {
			key = w.language.form(n)
		}
	} else if key = fmt.Sprint(value); value == nil || key == "" {
		key = "none"
	}
	if !c.has(key) {
		key = "other"
	}
	for _, of := range c.cases {
		if of.key == key {
			w.write(of.nodes, number)
			return
		}
	}
}

func (c choice) has(key string) bool {
	for _, of := range c.cases {
		if of.key == key {
			return true
		}
	}
	return false
}

// form is the name of the plural form of a number.
func (l *Language) form(n uint64) string {
	if l.english {
		if n == 1 {
			return "one"
		}
		return "other"
	}
	form := plural.Cardinal.MatchPlural(l.rules, int(n%1_000_000_000), 0, 0, 0, 0)
	for name, f := range forms() {
		if f == form {
			return name
		}
	}
	return "other"
}

// count takes whole numbers; what is negative or not known is none.
func count(v any) (uint64, bool) {
	switch v := v.(type) {
	case int:
		return uint64(max(v, 0)), true
	case int64:
		return uint64(max(v, 0)), true
	case uint64:
		return v, true
	case *uint64:
		if v == nil {
			return 0, true
		}
		return *v, true
	}
	return 0, false
}
