package message

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// File is the form of a language's file: what a translator gets and gives back.
type File struct {
	Language    string  `json:"language"` // BCP 47
	Name        string  `json:"name"`     // what those call it who speak it
	RightToLeft bool    `json:"right_to_left,omitempty"`
	Messages    []Entry `json:"messages"`
}

// Entry is one message of a File.
type Entry struct {
	English     string   `json:"english"`
	Note        string   `json:"note,omitempty"`        // tells it from another of the same English
	Where       []string `json:"where,omitempty"`       // files that have it
	Translation string   `json:"translation,omitempty"` // "": English is shown
}

// Key is what a message is asked for by.
func (e Entry) Key() string {
	if e.Note == "" {
		return e.English
	}
	return e.English + noteMark + e.Note
}

// Split is the English and the note of a key.
func Split(key string) (english, note string) {
	english, note, _ = strings.Cut(key, noteMark)
	return english, note
}

// Catalogue is every language there is.
type Catalogue struct {
	languages []*Language // English is the first
	spoken    int         // how many of them somebody speaks
	matcher   language.Matcher
}

// New makes a catalogue of English, which has every message, and of other languages.
// The pseudo-languages en-XA and ar-XB are made.
func New(english File, others ...File) (*Catalogue, error) {
	first, err := newLanguage(english, nil)
	if err != nil {
		return nil, err
	}
	first.english = true
	c := &Catalogue{languages: []*Language{first}}
	tags := []language.Tag{first.rules}
	for _, f := range others {
		l, err := newLanguage(f, first)
		if err != nil {
			return nil, err
		}
		c.languages, tags = append(c.languages, l), append(tags, l.rules)
	}
	c.matcher, c.spoken = language.NewMatcher(tags), len(tags)
	c.languages = append(c.languages,
		first.pseudo(Language{Tag: "en-XA", Name: "Accented", Pseudo: true}, accented), first.pseudo(Language{Tag: "ar-XB", Name: "Mirrored", RightToLeft: true, Pseudo: true}, mirrored))
	return c, nil
}

// newLanguage compiles a file; a message that first does not have is left out.
func newLanguage(f File, first *Language) (*Language, error) {
	rules, err := language.Parse(f.Language)
	if err != nil {
		return nil, fmt.Errorf("language %q: %w", f.Language, err)
	}
	l := &Language{Tag: f.Language, Name: f.Name, RightToLeft: f.RightToLeft, rules: rules, numbers: message.NewPrinter(rules), messages: make(map[string]compiled, len(f.Messages)), base: first}
	for _, e := range f.Messages {
		text := e.Translation
		if first == nil {
			text = e.English
		}
		if text == "" || first != nil && !first.Has(e.Key()) {
			continue
		}
		if l.messages[e.Key()], err = compile(text); err != nil {
			return nil, fmt.Errorf("language %s: %w", f.Language, err)
		}
	}
	return l, nil
}

func (l *Language) pseudo(as Language, change func([]node) []node) *Language {
	as.rules, as.numbers, as.messages = l.rules, l.numbers, make(map[string]compiled, len(l.messages))
	for key, c := range l.messages {
		as.messages[key] = compiled{change(c.nodes), c.tagged}
	}
	return &as
}

// English is the language that every text is written in.
func (c *Catalogue) English() *Language { return c.languages[0] }

// All is every language, English first and the pseudo-languages last.
func (c *Catalogue) All() []*Language { return c.languages }

// Real is every language that somebody speaks.
func (c *Catalogue) Real() []*Language {
	return slices.DeleteFunc(slices.Clone(c.languages), func(l *Language) bool { return l.Pseudo })
}

// Choose is the language that was chosen or, when there is none of that tag, the one
// that suits an Accept-Language best (RFC 9110 section 12.5.4). A pseudo-language
// must be chosen.
func (c *Catalogue) Choose(chosen, accept string) *Language {
	for _, l := range c.languages {
		if l.Tag == chosen {
			return l
		}
	}
	if c.spoken == 1 {
		return c.English()
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(wanted) == 0 {
		return c.English()
	}
	_, i, confidence := c.matcher.Match(wanted...)
	if confidence == language.No {
		i = 0
	}
	return c.languages[i]
}

// Faults says what is wrong with a translation: a placeholder or a tag that English
// does not have or that is lacking, a plural form that the language has and the
// translation has not, and messages that are not there any more.
func (c *Catalogue) Faults(f File) []string {
	var out []string
	rules, err := language.Parse(f.Language)
	if err != nil {
		return []string{err.Error()}
	}
	l := &Language{rules: rules}
	for _, e := range f.Messages {
		was, ok := c.English().messages[e.Key()]
		if !ok {
			out = append(out, fmt.Sprintf("%q: is in no page any more", e.Key()))
			continue
		}
		if e.Translation == "" {
			continue
		}
		is, err := compile(e.Translation)
		if err != nil {
			out = append(out, err.Error())
			continue
		}
		if a, b := holds(was.nodes), holds(is.nodes); !slices.Equal(a, b) {
			out = append(out, fmt.Sprintf("%q: the translation has %v, English %v", e.Key(), b, a))
		}
		counted := make(map[string]bool) // where English itself has more than one form
		walk(was.nodes, func(n node) {
			if of, ok := n.(choice); ok && of.plural && of.has("one") {
				counted[of.name] = true
			}
		})
		walk(is.nodes, func(n node) {
			of, ok := n.(choice)
			if !ok || !counted[of.name] {
				return
			}
			for _, form := range l.Forms() {
				if !of.has(form) {
					out = append(out, fmt.Sprintf("%q: the plural form %s is missing", e.Key(), form))
				}
			}
		})
	}
	return out
}

// holds names the placeholders and tags of a message.
func holds(nodes []node) []string {
	found := make(map[string]bool)
	walk(nodes, func(n node) {
		switch n := n.(type) {
		case argument:
			found["{"+string(n)+"}"] = true
		case choice:
			found["{"+n.name+"}"] = true
		case tag:
			found["<"+n.name+">"] = true
		}
	})
	return slices.Sorted(maps.Keys(found))
}

// Forms are the plural forms that whole numbers have in this language.
func (l *Language) Forms() []string {
	found := make(map[string]bool)
	for n := range uint64(1000) {
		found[l.form(n)] = true
	}
	found[l.form(1_000_000)] = true
	return slices.Sorted(maps.Keys(found))
}

// scriptText is where a script says something.
func scriptText() *regexp.Regexp { return regexp.MustCompile(`\bsay\(("(?:[^"\\]|\\.)*")`) }

// ScriptKeys are the messages of a script: the first arguments of say, where they
// are strings between double quotes.
func ScriptKeys(script []byte) []string {
	var keys []string
	for _, found := range scriptText().FindAllSubmatch(script, -1) {
		var key string
		if json.Unmarshal(found[1], &key) == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// Script is a script whose messages are in this language. English stays as it is,
// but for the notes.
func (l *Language) Script(script []byte) []byte {
	return scriptText().ReplaceAllFunc(script, func(call []byte) []byte {
		var key string
		if json.Unmarshal(call[len("say("):], &key) != nil {
			return call
		}
		text, _ := Split(key)
		if c, ok := l.messages[key]; ok && !l.english {
			text = source(c.nodes)
		}
		var quoted strings.Builder
		encoder := json.NewEncoder(&quoted)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(text) // a string can be encoded
		return []byte("say(" + strings.TrimSuffix(quoted.String(), "\n"))
	})
}
