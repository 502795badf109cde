package webui

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"text/template/parse"

	"mintmark/internal/message"
)

//go:generate go test . -run TestTheCatalogueHoldsWhatIsSaid -update

//go:embed languages/*.json
var languageFiles embed.FS

// readLanguages reads the catalogue: en.json has every message, and each other file
// is a language.
func readLanguages() (*message.Catalogue, error) {
	names, err := languageFiles.ReadDir("languages")
	if err != nil {
		return nil, err
	}
	var english message.File
	var others []message.File
	for _, name := range names {
		text, err := languageFiles.ReadFile("languages/" + name.Name())
		if err != nil {
			return nil, err
		}
		var f message.File
		if err := json.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", name.Name(), err)
		}
		if f.Language == "en" {
			english = f
		} else {
			others = append(others, f)
		}
	}
	return message.New(english, others...)
}

// face is the console in one language.
type face struct {
	pages map[string]*template.Template
	files assets
}

// say is message.Say. What is said through it is in the catalogue.
func say(english string, args ...any) message.Text { return message.Say(english, args...) }

// faces makes the console in each language when it is first asked for; English is
// made at once, so that what is wrong with a template shows at the start.
func (w *console) faces(files assets) (map[*message.Language]func() (face, error), error) {
	all := make(map[*message.Language]func() (face, error))
	for _, l := range w.languages.All() {
		all[l] = sync.OnceValues(func() (face, error) {
			pages, err := parsePages(l, w.functions(l))
			return face{pages, files.in(l)}, err
		})
	}
	_, err := all[w.languages.English()]()
	return all, err
}

// language is the one that somebody chose, or that their browser asks for.
func (w *console) language(r *http.Request) *message.Language {
	chosen := ""
	if c, err := r.Cookie("mintmark_language"); err == nil {
		chosen = c.Value
	}
	return w.languages.Choose(chosen, r.Header.Get("Accept-Language"))
}

// offered are the languages to choose from: those that somebody speaks and the one
// that is shown; none when that is all there is.
func (w *console) offered(now *message.Language) []*message.Language {
	all := w.languages.Real()
	if now.Pseudo {
		all = append(all, now)
	}
	if len(all) == 1 {
		return nil
	}
	return all
}

// tags are those of every language.
func (w *console) tags() []string {
	var out []string
	for _, l := range w.languages.All() {
		out = append(out, l.Tag)
	}
	return out
}

// static is the folder of the static files in a language. It names their state and,
// because what scripts say is part of them, the language.
func (w *console) static(l *message.Language) string {
	if l == w.languages.English() {
		return "/static/" + w.version
	}
	return "/static/" + w.version + "-" + l.Tag
}

func (w *console) serveStatic(rw http.ResponseWriter, r *http.Request) {
	_, tag, _ := strings.Cut(r.PathValue("version"), "-")
	of, err := w.inLanguage[w.languages.Choose(tag, "")]()
	if err != nil {
		w.Log.Error("language is not there", "language", tag, "error", err)
		http.Error(rw, "internal error", http.StatusInternalServerError)
		return
	}
	of.files.ServeHTTP(rw, r)
}

// in is the files as they are in a language.
func (a assets) in(l *message.Language) assets {
	out := make(assets, len(a))
	for name, text := range a {
		out[name] = text
		if strings.HasSuffix(name, ".js") {
			out[name] = l.Script(text)
		}
	}
	return out
}

// sayings are the functions with which a template speaks a language.
func sayings(l *message.Language) template.FuncMap {
	return template.FuncMap{
		"t": func(text any, args ...any) any {
			if english, ok := text.(string); ok {
				text = message.Say(english, args...)
			}
			known, _ := text.(message.Text)
			return l.Write(known)
		},
		"attr": message.NewAttributes,
		"told": func(english any) any { return l.Write(message.Told(fmt.Sprint(english))) },
	}
}

// fold writes what is said without arguments into the templates themselves, so that
// it costs nothing when they are shown, and refuses what is in no catalogue.
func fold(l *message.Language, t *template.Template) error {
	for _, of := range t.Templates() {
		if of.Tree == nil {
			continue
		}
		if err := foldList(l, of.Tree.Root); err != nil {
			return fmt.Errorf("template %s: %w", of.Name(), err)
		}
	}
	return nil
}

func foldList(l *message.Language, list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for i, n := range list.Nodes {
		var err error
		switch n := n.(type) {
		case *parse.ActionNode:
			var text *parse.TextNode
			if text, err = foldAction(l, n); text != nil {
				list.Nodes[i] = text
			}
		case *parse.TemplateNode:
			err = foldPipe(l, n.Pipe)
		case *parse.IfNode:
			err = foldBranch(l, &n.BranchNode)
		case *parse.RangeNode:
			err = foldBranch(l, &n.BranchNode)
		case *parse.WithNode:
			err = foldBranch(l, &n.BranchNode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func foldBranch(l *message.Language, b *parse.BranchNode) error {
	if err := foldPipe(l, b.Pipe); err != nil {
		return err
	}
	if err := foldList(l, b.List); err != nil {
		return err
	}
	return foldList(l, b.ElseList)
}

// foldAction answers the text that an action always writes, or nil.
func foldAction(l *message.Language, n *parse.ActionNode) (*parse.TextNode, error) {
	if err := foldPipe(l, n.Pipe); err != nil {
		return nil, err
	}
	if len(n.Pipe.Cmds) != 1 || len(n.Pipe.Decl) > 0 || len(n.Pipe.Cmds[0].Args) != 2 {
		return nil, nil
	}
	key, ok := said(n.Pipe.Cmds[0])
	if !ok {
		return nil, nil
	}
	out := parse.TextNode{NodeType: parse.NodeText, Pos: n.Pos}
	switch text := l.Write(message.Say(key)).(type) {
	case template.HTML:
		out.Text = []byte(text)
	case string: // also inside an attribute, which stands between double quotes
		out.Text = []byte(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;").Replace(text))
	}
	return &out, nil
}

// foldPipe looks for messages that are in no catalogue.
func foldPipe(l *message.Language, p *parse.PipeNode) error {
	if p == nil {
		return nil
	}
	for _, c := range p.Cmds {
		if key, ok := said(c); ok && !l.Has(key) && l.Tag == "en" {
			return fmt.Errorf("%q is not in the catalogue: go generate ./internal/webui", key)
		}
		for _, a := range c.Args {
			if inner, ok := a.(*parse.PipeNode); ok {
				if err := foldPipe(l, inner); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// said is the message that a command says, if it stands there.
func said(c *parse.CommandNode) (string, bool) {
	if len(c.Args) < 2 {
		return "", false
	}
	name, ok := c.Args[0].(*parse.IdentifierNode)
	if !ok || name.Ident != "t" {
		return "", false
	}
	text, ok := c.Args[1].(*parse.StringNode)
	if !ok {
		return "", false
	}
	return text.Text, true
}

// write writes a page in a language, whole or not at all.
func (w *console) write(out *bytes.Buffer, p page) error {
	of, err := w.inLanguage[p.Language]()
	if err != nil {
		return err
	}
	return of.pages[p.Name].ExecuteTemplate(out, "frame", p)
}
