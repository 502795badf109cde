package webui_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/liveset"
	"mintmark/internal/message"
)

const catalogueFile = "languages/en.json"

// found is every message, and the files that it is in.
type found map[string]map[string]bool

func (f found) add(key, where string) {
	if f[key] == nil {
		f[key] = make(map[string]bool)
	}
	f[key][where] = true
}

func (f found) file() message.File {
	out := message.File{Language: "en", Name: "English"}
	for key, where := range f {
		english, note := message.Split(key)
		out.Messages = append(out.Messages, message.Entry{English: english, Note: note, Where: slices.Sorted(maps.Keys(where))})
	}
	slices.SortFunc(out.Messages, func(a, b message.Entry) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

// TestTheCatalogueHoldsWhatIsSaid compares the file that translators get with the
// templates, the scripts and the code.
func TestTheCatalogueHoldsWhatIsSaid(t *testing.T) {
	all := make(found)
	for name, trees := range templates(t) {
		for _, tree := range trees {
			commands(tree.Root, func(c *parse.CommandNode) {
				if key, ok := saidBy(c); ok {
					all.add(key, name)
				}
			})
		}
	}
	scripts, err := filepath.Glob("static/*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range scripts {
		for _, key := range message.ScriptKeys(read(t, path)) {
			all.add(key, filepath.Base(path))
		}
	}
	sayings(t, all)
	elsewhere(t, all)
	files, err := filepath.Glob("languages/*.json")
	if err != nil || !slices.Contains(files, catalogueFile) {
		t.Fatal("where is the catalogue?", err)
	}
	for _, path := range files {
		want := written(t, renewed(all.file(), file(t, path)))
		if *update {
			if err := os.WriteFile(path, want, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(read(t, path), want) {
			t.Errorf("%s is not what is said: go generate ./internal/webui", path)
		}
	}
	if _, err := message.New(all.file()); err != nil {
		t.Error(err)
	}
}

// renewed is a language with what is said now: what it has translated stays, what is
// said no more goes.
func renewed(english, old message.File) message.File {
	translations := make(map[string]string)
	for _, e := range old.Messages {
		translations[e.Key()] = e.Translation
	}
	out := message.File{Language: old.Language, Name: old.Name, RightToLeft: old.RightToLeft}
	for _, e := range english.Messages {
		e.Translation = translations[e.Key()]
		out.Messages = append(out.Messages, e)
	}
	return out
}

func written(t *testing.T, f message.File) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(t *testing.T, path string) message.File {
	t.Helper()
	var f message.File
	if err := json.Unmarshal(read(t, path), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestALanguageKeepsItsTranslationsWhenEnglishChanges(t *testing.T) {
	english := message.File{Language: "en", Messages: []message.Entry{{English: "Find"}, {English: "any", Note: "a role"}}}
	old := message.File{Language: "pl", Name: "Polski", Messages: []message.Entry{{English: "any", Note: "a role", Translation: "dowolna"}, {English: "Search", Translation: "Szukaj"}}}
	want := message.File{Language: "pl", Name: "Polski", Messages: []message.Entry{{English: "Find"}, {English: "any", Note: "a role", Translation: "dowolna"}}}
	if diff := cmp.Diff(want, renewed(english, old)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTranslationsHaveWhatEnglishHas holds every language to the placeholders of
// English and to its own plural forms.
func TestTranslationsHaveWhatEnglishHas(t *testing.T) {
	all, err := message.New(file(t, catalogueFile))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("languages/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f := file(t, path)
		if f.Language+".json" != filepath.Base(path) {
			t.Errorf("%s is of %q", path, f.Language)
		}
		for _, fault := range all.Faults(f) {
			t.Errorf("%s: %s", path, fault)
		}
		for _, e := range f.Messages {
			if slices.ContainsFunc(e.Where, inScript) && (!flatText(e.English) || !flatText(e.Translation)) {
				t.Errorf("%s: %q is said by a script, which knows no select, no tag and nothing to fill in within a plural", path, e.English)
			}
		}
	}
}

func inScript(where string) bool { return strings.HasSuffix(where, ".js") }

// flatText reports a message that static/say.js can fill in.
func flatText(s string) bool {
	return !regexp.MustCompile(`, select,|<[a-z]|, plural,( [=\w]+ \{[^{}]*\})* [=\w]+ \{[^{}]*\{`).MatchString(s)
}

func TestWhatAScriptCannotSayIsReported(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                true,
		"Token of {client} copied.":       true,
		"{n, plural, one {#} other {#s}}": true,
		"{n, plural, one {#} other {# of {client}}}":    false,
		"{n, plural, one {# of {client}} other {#}}":    false,
		"{who, select, none {Nobody} other {Somebody}}": false,
		"<b>now</b>": false,
	} {
		if got := flatText(text); got != want {
			t.Errorf("of %q it is said %v", text, got)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// templates parses every template, by file.
func templates(t *testing.T) map[string]map[string]*parse.Tree {
	t.Helper()
	files, err := filepath.Glob("templates/*.html")
	if err != nil || len(files) < 10 {
		t.Fatal("where are the templates?", err)
	}
	all := make(map[string]map[string]*parse.Tree)
	for _, path := range files {
		all[filepath.Base(path)] = parsed(t, string(read(t, path)))
	}
	return all
}

func parsed(t *testing.T, text string) map[string]*parse.Tree {
	t.Helper()
	trees := make(map[string]*parse.Tree)
	tree := parse.New("")
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		t.Fatal(err)
	}
	return trees
}

// commands shows every command below a node, in the order of the file.
func commands(n parse.Node, fn func(*parse.CommandNode)) {
	pipe := func(p *parse.PipeNode) {
		if p != nil {
			commands(p, fn)
		}
	}
	branch := func(b *parse.BranchNode) {
		pipe(b.Pipe)
		commands(b.List, fn)
		if b.ElseList != nil {
			commands(b.ElseList, fn)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, of := range n.Nodes {
			commands(of, fn)
		}
	case *parse.ActionNode:
		pipe(n.Pipe)
	case *parse.TemplateNode:
		pipe(n.Pipe)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			fn(c)
			for _, a := range c.Args {
				commands(a, fn)
			}
		}
	}
}

func saidBy(c *parse.CommandNode) (string, bool) {
	if len(c.Args) < 2 || c.Args[0].String() != "t" && c.Args[0].String() != "told" {
		return "", false
	}
	text, ok := c.Args[1].(*parse.StringNode)
	if !ok {
		return "", false
	}
	return text.Text, true
}

// sources shows the syntax of a room, but for its tests.
func sources(t *testing.T, room string, fn func(name string, n ast.Node) bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(room, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal("where is the code?", room, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool { return fn(filepath.Base(path), n) })
	}
}

func literalOf(n ast.Expr) (string, bool) {
	l, ok := n.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// sayings finds what the code of the console says: by say, and in the errors that
// it makes.
func sayings(t *testing.T, all found) {
	t.Helper()
	sources(t, ".", func(name string, n ast.Node) bool {
		var texts []ast.Expr
		switch n := n.(type) {
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && fn.Name == "say" {
				texts = n.Args[:1]
			} else if ok && fn.Name == "fault" {
				texts = n.Args[1:]
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Msg" {
				texts = []ast.Expr{n.Value}
			}
		}
		for _, e := range texts {
			if text, ok := literalOf(e); ok {
				all.add(text, name)
			}
		}
		return true
	})
}

// elsewhere finds what other rooms say to people and the console translates by its
// English: whole sentences without a value in them, and the words of its codes.
func elsewhere(t *testing.T, all found) {
	t.Helper()
	sentence := regexp.MustCompile(`^[A-Z][^%{}<>]* [^%{}<>]*[.]$`)
	for _, room := range []string{"authority", "config", "control", "liveset", "refusals"} {
		sources(t, filepath.Join("..", room), func(_ string, n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if text, ok := literalOf(e); ok && sentence.MatchString(text) {
					all.add(text, room)
				}
			}
			return true
		})
	}
	for _, source := range []config.Source{config.FromFlag, config.FromFile, config.FromDefault} {
		all.add(string(source), "config")
	}
	for _, p := range config.Catalogue() {
		all.add(p.Group, "config")
	}
	for _, r := range liveset.Reasons() {
		all.add(strings.ReplaceAll(r.String(), "_", " "), "liveset")
	}
	checks := func(room, fn string) {
		sources(t, filepath.Join("..", room), func(_ string, n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr: // e.add("form", …)
				if of, ok := n.Fun.(*ast.SelectorExpr); ok && of.Sel.Name == fn && len(n.Args) > 1 {
					if text, ok := literalOf(n.Args[0]); ok {
						all.add(text, room)
					}
				}
			case *ast.CompositeLit: // Check{Name: "tokens", …}
				if of, ok := n.Type.(*ast.Ident); ok && of.Name == "Check" && len(n.Elts) > 0 {
					if first, ok := n.Elts[0].(*ast.KeyValueExpr); ok {
						if text, ok := literalOf(first.Value); ok {
							all.add(text, room)
						}
					}
				}
			}
			return true
		})
	}
	checks("liveset", "add")
	checks("control", "")
	for _, code := range authority.Actions() {
		words := strings.NewReplacer("login.", "sign-in ", "config.", "settings ", ".", " ", "_", " ").Replace(code)
		all.add(strings.ToUpper(words[:1])+words[1:], "authority")
	}
}

// The code has nothing else in the form of a code but those of errors, properties and
// files.
func TestEveryActionIsAmongThose(t *testing.T) {
	code := regexp.MustCompile(`^(tokens?|login|keys?|admin|config|setup|store|backup)\.[a-z_]+$`)
	codes, errors := make(map[string]bool), make(map[string]bool)
	for _, room := range []string{"authority", "config", "control"} {
		sources(t, filepath.Join("..", room), func(_ string, n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if fn, ok := n.Fun.(*ast.Ident); ok && fn.Name == "fail" && len(n.Args) > 1 {
					text, _ := literalOf(n.Args[1])
					errors[text] = true
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
					text, _ := literalOf(n.Value)
					errors[text] = true
				}
			case *ast.BasicLit:
				if text, ok := literalOf(n); ok && code.MatchString(text) {
					codes[text] = true
				}
			}
			return true
		})
	}
	for _, a := range authority.Actions() {
		if !codes[a] {
			t.Errorf("no event is %s", a)
		}
		delete(codes, a)
	}
	for c := range codes {
		if _, err := config.Lookup(c); err != nil && !errors[c] && !strings.HasSuffix(c, ".json") {
			t.Errorf("%s is not among the actions", c)
		}
	}
}
