package message

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
)

// A node is a part of a message that was parsed: a literal, an argument, the
// number of the plural around it, a choice or a tag.
type node interface{}

type (
	literal  string
	argument string   // its name
	hash     struct{} // "#": the number of the plural around it
	choice   struct {
		name   string
		plural bool // by number, else by word
		cases  []choiceCase
	}
	choiceCase struct {
		key   string // "=0", "one", "other", or a word
		nodes []node
	}
	tag struct {
		name  string // of the argument that gives its attributes: "a", "span2"
		nodes []node
	}
)

// Elements that a message may have: what stands within a line and does nothing by
// itself.
func elements() []string {
	return []string{"a", "b", "bdi", "kbd", "small", "span", "strong", "time"}
}

// forms are the names that CLDR gives to the plural forms of the world.
func forms() map[string]plural.Form {
	return map[string]plural.Form{"zero": plural.Zero, "one": plural.One, "two": plural.Two, "few": plural.Few, "many": plural.Many, "other": plural.Other}
}

// parse reads a message: ICU's MessageFormat with simple arguments, plural and
// select, and tags around a part of the sentence. As in ICU an apostrophe that
// precedes one of {}#<| quotes up to the next, and two are one.
func parse(text string) ([]node, error) {
	p := &parser{rest: text}
	nodes, err := p.nodes("", false)
	if err == nil && p.rest != "" {
		err = fmt.Errorf("%q is not opened", p.rest[:1])
	}
	if err != nil {
		return nil, fmt.Errorf("message %q: %w", text, err)
	}
	return nodes, nil
}

type parser struct{ rest string }

// nodes reads up to the end, to a closing brace or to the end of an element, which
// is consumed.
func (p *parser) nodes(element string, number bool) ([]node, error) {
	var out []node
	var text strings.Builder
	add := func(n node) {
		if text.Len() > 0 {
			out = append(out, literal(text.String()))
			text.Reset()
		}
		if n != nil {
			out = append(out, n)
		}
	}
	for p.rest != "" {
		c := p.rest[0]
		switch {
		case c == '\'':
			text.WriteString(p.quoted())
		case c == '#' && number:
			p.rest = p.rest[1:]
			add(hash{})
		case c == '{':
			n, err := p.placeholder(number)
			if err != nil {
				return nil, err
			}
			add(n)
		case c == '}':
			if element != "" {
				return nil, fmt.Errorf("<%s> is not closed", element)
			}
			add(nil)
			return out, nil
		case strings.HasPrefix(p.rest, "</"):
			name, rest, ok := strings.Cut(p.rest[2:], ">")
			if !ok || name != element {
				return nil, fmt.Errorf("</%s> closes <%s>", name, element)
			}
			p.rest = rest
			add(nil)
			return out, nil
		case c == '<' && len(p.rest) > 1 && p.rest[1] >= 'a' && p.rest[1] <= 'z':
			n, err := p.tag(number)
			if err != nil {
				return nil, err
			}
			add(n)
		default:
			text.WriteByte(c)
			p.rest = p.rest[1:]
		}
	}
	if element != "" {
		return nil, fmt.Errorf("<%s> is not closed", element)
	}
	add(nil)
	return out, nil
}

// quoted reads from an apostrophe on.
func (p *parser) quoted() string {
	p.rest = p.rest[1:]
	switch {
	case strings.HasPrefix(p.rest, "'"):
		p.rest = p.rest[1:]
		return "'"
	case p.rest == "" || !strings.ContainsRune("{}#<|", rune(p.rest[0])):
		return "'"
	}
	inside, rest, _ := strings.Cut(p.rest, "'")
	p.rest = rest
	return inside
}

func (p *parser) tag(number bool) (node, error) {
	name, rest, ok := strings.Cut(p.rest[1:], ">")
	if !ok || !slices.Contains(elements(), elementOf(name)) {
		return nil, fmt.Errorf("<%s> is no element that a message may have", name)
	}
	p.rest = rest
	inner, err := p.nodes(name, number)
	return tag{name, inner}, err
}

// elementOf is what a tag is written as: a number after it only tells it from
// another of its kind.
func elementOf(name string) string { return strings.TrimRight(name, "0123456789") }

// placeholder reads {name}, {name, plural, …} or {name, select, …}.
func (p *parser) placeholder(number bool) (node, error) {
	p.rest = p.rest[1:]
	end := strings.IndexAny(p.rest, ",}")
	if end < 0 {
		return nil, errors.New("a placeholder is not closed")
	}
	name, closed := strings.TrimSpace(p.rest[:end]), p.rest[end] == '}'
	p.rest = p.rest[end+1:]
	if !isName(name) {
		return nil, fmt.Errorf("%q is no name of a placeholder", name)
	}
	if closed {
		return argument(name), nil
	}
	kind, rest, ok := strings.Cut(p.rest, ",")
	if kind = strings.TrimSpace(kind); !ok || kind != "plural" && kind != "select" {
		return nil, fmt.Errorf("%q is neither plural nor select", kind)
	}
	p.rest = rest
	return p.cases(choice{name: name, plural: kind == "plural"}, number)
}

func (p *parser) cases(c choice, number bool) (node, error) {
	for {
		p.rest = strings.TrimLeft(p.rest, " \n")
		if strings.HasPrefix(p.rest, "}") {
			p.rest = p.rest[1:]
			break
		}
		key, rest, ok := strings.Cut(p.rest, "{")
		if key = strings.TrimSpace(key); !ok || !c.takes(key) {
			return nil, fmt.Errorf("%q is no case of {%s}", key, c.name)
		}
		p.rest = rest
		nodes, err := p.nodes("", number || c.plural)
		if err != nil {
			return nil, err
		}
		if p.rest == "" {
			return nil, fmt.Errorf("the case %q of {%s} is not closed", key, c.name)
		}
		p.rest = p.rest[1:]
		c.cases = append(c.cases, choiceCase{key, nodes})
	}
	if !slices.ContainsFunc(c.cases, func(of choiceCase) bool { return of.key == "other" }) {
		return nil, fmt.Errorf("{%s} has no case other", c.name)
	}
	return c, nil
}

func (c choice) takes(key string) bool {
	if !c.plural {
		return isName(key)
	}
	if exact, ok := strings.CutPrefix(key, "="); ok {
		_, err := strconv.ParseUint(exact, 10, 64)
		return err == nil
	}
	_, ok := forms()[key]
	return ok
}

func isName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	}) < 0
}

// source writes a message as it would be parsed.
func source(nodes []node) string {
	var b strings.Builder
	for _, n := range nodes {
		switch n := n.(type) {
		case literal:
			b.WriteString(strings.NewReplacer("'", "''", "{", "'{'", "}", "'}'", "#", "'#'", "<", "'<'").Replace(string(n)))
		case argument:
			b.WriteString("{" + string(n) + "}")
		case hash:
			b.WriteString("#")
		case tag:
			b.WriteString("<" + n.name + ">" + source(n.nodes) + "</" + n.name + ">")
		case choice:
			kind := "select"
			if n.plural {
				kind = "plural"
			}
			b.WriteString("{" + n.name + ", " + kind + ",")
			for _, of := range n.cases {
				b.WriteString(" " + of.key + " {" + source(of.nodes) + "}")
			}
			b.WriteString("}")
		}
	}
	return b.String()
}

// walk shows every node to fn, those inside others too.
func walk(nodes []node, fn func(node)) {
	for _, n := range nodes {
		fn(n)
		switch n := n.(type) {
		case tag:
			walk(n.nodes, fn)
		case choice:
			for _, of := range n.cases {
				walk(of.nodes, fn)
			}
		}
	}
}
