package webui_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
)

// untranslated is what stands in templates and is the same in every language.
func untranslated() []string {
	return []string{"Mintmark", "request_id", "X-Request-Id", "team:data, env:prod", "10.2.0.14"}
}

// TestEveryTextIsAMessage finds text in templates that no translator would get.
func TestEveryTextIsAMessage(t *testing.T) {
	for name, trees := range templates(t) {
		for of, tree := range trees {
			if of == "invalid" { // it is attributes alone
				continue
			}
			for _, text := range outside(flat(tree.Root)) {
				t.Errorf("%s: %q is in no message", name, text)
			}
		}
	}
}

// A text that is in no message has to be reported, or the test above proves nothing.
func TestEveryTextOutsideIsReported(t *testing.T) {
	for text, want := range map[string][]string{
		`<p>Search</p>`:                                    {"Search"},
		`<p>{{t "Search"}}</p>`:                            nil,
		`<p>{{if .A}}Yes{{else}}No{{end}}</p>`:             {"Yes", "No"},
		`<p>{{t "a"}} of {{.B}}</p>`:                       {"of"},
		`<p class="meta" aria-label="Tags">·</p>`:          {"Tags"},
		`<p{{if .A}} title="All > none"{{end}}>{{.B}}</p>`: {"All > none"},
		`<pre translate="no">mintmark <b>help</b></pre>`:   nil,
		`<b translate="no">{{.}}</b> is it`:                {"is it"},
		`<button data-busy="Wait{{.A}}">–</button>`:        {"Wait"},
		`<svg><path d="M0 16V4"/><text>today</text></svg>`: {"today"},
		`<a href="/tokens">Mintmark</a>`:                   nil,
	} {
		var got []string
		for _, tree := range parsed(t, text) {
			got = append(got, outside(flat(tree.Root))...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %s found %q, want %q", text, got, want)
		}
	}
}

// flat is a template with every branch in it, one after the other, and a mark for
// whatever is filled in.
func flat(n parse.Node) string {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return ""
		}
		var b strings.Builder
		for _, of := range n.Nodes {
			b.WriteString(flat(of))
		}
		return b.String()
	case *parse.TextNode:
		return string(n.Text)
	case *parse.IfNode:
		return flat(n.List) + "\x00" + flat(n.ElseList)
	case *parse.RangeNode:
		return flat(n.List) + "\x00" + flat(n.ElseList)
	case *parse.WithNode:
		return flat(n.List) + "\x00" + flat(n.ElseList)
	}
	return "\x00"
}

// outside is the text of a flat template: between tags, and in those attributes that
// people read or hear. What is marked translate=no is left out, and what is in keys.
func outside(flat string) []string {
	var out []string
	say := func(text string) {
		for part := range strings.SplitSeq(text, "\x00") {
			if part = strings.TrimSpace(part); regexp.MustCompile(`\pL`).MatchString(part) && !slices.Contains(untranslated(), part) {
				out = append(out, part)
			}
		}
	}
	for skip := ""; flat != ""; {
		text, rest, _ := strings.Cut(flat, "<")
		if skip == "" {
			say(text)
		}
		end := tagEnd(rest)
		tag := rest[:end]
		flat = strings.TrimPrefix(rest[end:], ">")
		name := regexp.MustCompile(`^/?[a-z0-9]*`).FindString(tag)
		switch {
		case skip != "":
			if name == "/"+skip {
				skip = ""
			}
			continue
		case (strings.Contains(tag, `translate="no"`) || name == "kbd") && !slices.Contains([]string{"input", "textarea"}, name):
			skip = name
		}
		for _, found := range regexp.MustCompile(`\s(?:aria-label|title|placeholder|alt|data-(?:busy|ask|yes|no|says|over|label))="([^"]*)"`).FindAllStringSubmatch(tag, -1) {
			say(found[1])
		}
	}
	return out
}

// tagEnd is where the tag ends that has begun.
func tagEnd(s string) int {
	quoted := false
	for i, c := range s {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i
		}
	}
	return len(s)
}
