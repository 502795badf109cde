package webui

import (
	"bytes"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/bitting"
	"mintmark/internal/edge"
	"mintmark/internal/message"
)

// page is what a template is given.
type page struct {
	Name     string // the template
	Title    message.Text
	Nav      string   // the entry of the main navigation that is current
	Shell    []string // the same page from the shell
	Dialog   []string // the same dialog from the shell
	Errors   []authority.FieldError
	Problem  message.Text // a failure that belongs to no field
	Retry    bool         // asking again may help
	Notice   notice
	Body     any
	Frame    frame
	Language *message.Language
}

// frame is what every page of a signed-in administrator shows.
type frame struct {
	Signed       bool
	User         string
	Host         string
	Theme, Times string
	Keys         bool
	Path         string              // of this page, to come back to
	Languages    []*message.Language // to choose from, none when there is one
	Static       string
	Program      string
	Strips       []strip // what the whole console must say; one is shown
	Trial        strip   // is shown beside it
	Staged       int
	RequestID    string
}

// Error answers the message for a field, or "".
func (p page) Error(field string) string {
	for _, e := range p.Errors {
		if e.Field == field {
			return e.Msg
		}
	}
	return ""
}

func (w *console) functions(l *message.Language) template.FuncMap {
	all := template.FuncMap{
		"glyph":   bitting.Path,
		"short":   func(id authority.TokenID) string { return id.Short() },
		"tokenID": tokenID,
		"rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"title":   func(r authority.Role) string { return l.String(roleName(r)) },
		"utc":     func(t time.Time) string { return l.String(utc(t)) },
		"date":    func(t time.Time) string { return l.String(date(t)) },
		"clock":   func(t time.Time) string { return l.String(clock(t)) },
		"exact":   func(t time.Time) string { return l.String(exact(t)) },
		"ago":     func(t time.Time) string { return l.String(ago(w.Now(), t)) },
		"until":   func(t time.Time) string { return l.String(until(w.Now(), t)) },
		"spell":   spell,
		"join":    strings.Join,
		"dict":    dict,
		"list":    lines,
		"add":     func(a, b int) int { return a + b },
		"soon":    func(t time.Time) bool { return !t.IsZero() && t.After(w.Now()) && t.Sub(w.Now()) <= soon },
		"action":  action,
		"command": w.command,
		"advice":  advice,
		"capital": sentence,
		"moved":   movementWord,
		"mark":    movementIcon,
		"number":  func(n any) string { return l.Number(count(n)) },
		"unknown": w.unknownBefore,
		"share":   share,
		"days":    func(d time.Duration) int { return int(d / day) },
		"reason":  reason,
		"reasons": reasons,
		"why":     whyOf,
		"deref": func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		},
	}
	maps.Copy(all, sayings(l))
	return all
}

// tokenID answers the target of an event that is a token; "": it is something else.
func tokenID(target string) authority.TokenID {
	if strings.HasPrefix(target, "tok_") {
		return authority.TokenID(target)
	}
	return ""
}

func dict(pairs ...any) (map[string]any, error) {
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("dict: a key is not a string")
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// lines makes one list of lines and lists of lines.
func lines(parts ...any) []string {
	var out []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p)
		case []string:
			out = append(out, p...)
		}
	}
	return out
}

// parsePages parses each page together with the frame and the shared parts.
func parsePages(l *message.Language, functions template.FuncMap) (map[string]*template.Template, error) {
	frame, err := template.New("frame").Funcs(functions).ParseFS(templateFiles, "templates/frame.html", "templates/parts.html", "templates/icons.html", "templates/dialogs.html")
	if err != nil {
		return nil, err
	}
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".html")
		if name == "frame" || name == "parts" || name == "icons" || name == "dialogs" {
			continue
		}
		t, err := frame.Clone()
		if err != nil {
			return nil, err
		}
		if pages[name], err = t.ParseFS(templateFiles, path.Join("templates", f.Name())); err != nil {
			return nil, err
		}
		if err := fold(l, t); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// render writes a whole page or, should the template fail, a whole error.
func (w *console) render(rw http.ResponseWriter, r *http.Request, a *admin, status int, p page) {
	p.Frame = w.frame(r, a, p.Nav)
	p.Language = w.language(r)
	p.Frame.Static, p.Frame.Languages = w.static(p.Language), w.offered(p.Language)
	if p.Notice.Texts == nil {
		p.Notice = w.notice(r, a)
	}
	var out bytes.Buffer
	if err := w.write(&out, p); err != nil {
		w.Log.Error("page did not render", "page", p.Name, "request_id", p.Frame.RequestID, "error", err)
		http.Error(rw, "internal error", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.WriteHeader(status)
	_, _ = out.WriteTo(rw)
}

func (w *console) frame(r *http.Request, a *admin, nav string) frame {
	f := frame{
		Host: w.Host, Theme: preference(r, "theme", "system"), Times: preference(r, "times", "relative"), Keys: preference(r, "keys", "on") == "on",
		Program: w.command(), RequestID: edge.Of(r).RequestID, Path: "/tokens",
	}
	if r.Method == http.MethodGet {
		f.Path = localNext(r.URL.RequestURI())
	}
	if a == nil {
		return f
	}
	f.Signed, f.User = true, a.name
	w.strips(r.Context(), a, &f, nav)
	return f
}

func preference(r *http.Request, name, standard string) string {
	c, err := r.Cookie("mintmark_" + name)
	if err != nil {
		return standard
	}
	switch c.Value {
	case "system", "light", "dark", "relative", "utc", "local", "on", "off":
		return c.Value
	}
	return standard
}

// refuse renders a page again with what was wrong, and its input kept.
func (w *console) refuse(rw http.ResponseWriter, r *http.Request, a *admin, err error, p page) {
	var e *authority.Error
	if !errors.As(err, &e) || e.Kind == authority.Internal {
		w.failure(rw, r, a, err)
		return
	}
	p.Errors, p.Problem = faults(err)
	if e.RetryAfter > 0 {
		if e.Kind == authority.Throttled {
			at := w.Now().Add(e.RetryAfter)
			p.Problem = say("Too many attempts. Try again at {time} ({when}).", "time", at.UTC().Format("15:04 UTC"), "when", until(w.Now(), at))
		}
		rw.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter/time.Second)+1))
	}
	w.render(rw, r, a, statusOf(e.Kind), p)
}

// failure renders the page for an error that no form can mend.
func (w *console) failure(rw http.ResponseWriter, r *http.Request, a *admin, err error) {
	kind := authority.KindOf(err)
	text := say("Something went wrong on the server.")
	if kind == authority.Internal {
		w.Log.Error("request failed", "request_id", edge.Of(r).RequestID, "error", err)
	} else {
		text = message.Told(curly(err.Error()))
	}
	w.render(rw, r, a, statusOf(kind), page{Name: "problem", Title: say("That did not work"), Problem: text})
}

func (w *console) notFound(rw http.ResponseWriter, r *http.Request, a admin) {
	w.render(rw, r, &a, http.StatusNotFound, page{Name: "problem", Title: say("Page not found"), Problem: say("There is no page at this address.")})
}

// statusOf is the status of a page for a failure: a form that is at fault was
// read and understood, so it is 422 (RFC 9110 section 15.5.21).
func statusOf(k authority.Kind) int {
	if k == authority.Invalid {
		return http.StatusUnprocessableEntity
	}
	return edge.StatusOf(k)
}
