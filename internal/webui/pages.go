package webui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/control"
)

func faults(err error) ([]authority.FieldError, string) {
	var e *authority.Error
	if errors.As(err, &e) && len(e.Fields) > 0 {
		return e.Fields, ""
	}
	return nil, publicText(err)
}

type secretBody struct {
	Keys     []authority.Key
	Current  authority.Key
	Day, Due int
	Tokens   int
	Host     string
	Mistype  bool
	Reset    bool // the dialog is open
}

func (w *console) secretPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showSecret(visit{rw, r, a}, http.StatusOK, secretBody{Reset: r.URL.Query().Has("reset")})
}

func (w *console) showSecret(v visit, status int, b secretBody) {
	keys, err := w.Authority.Keys(v.r.Context(), v.Caller)
	if err != nil {
		w.failure(v.rw, v.r, &v.admin, err)
		return
	}
	s, err := w.Control.Status(v.r.Context(), v.Caller)
	if err != nil {
		w.failure(v.rw, v.r, &v.admin, err)
		return
	}
	b.Keys, b.Current, b.Tokens, b.Host = keys, s.CurrentKey, s.Tokens.Active, w.Host
	b.Day = int(w.Now().Sub(s.CurrentKey.CurrentSince)/(24*time.Hour)) + 1
	b.Due = int(s.KeyDue.Sub(s.CurrentKey.CurrentSince) / (24 * time.Hour))
	w.render(v.rw, v.r, &v.admin, status, page{
		Name: "secret", Title: "Signing secret", Nav: "secret", Body: b,
		Shell: []string{w.Program + " stop", w.Program + " support reset-jwt-key", w.Program + " config apply", w.Program + " start"},
	})
}

func (w *console) resetSecret(rw http.ResponseWriter, r *http.Request, a admin) {
	if strings.TrimSpace(r.PostFormValue("confirm")) != w.Host {
		w.showSecret(visit{rw, r, a}, http.StatusUnprocessableEntity, secretBody{Reset: true, Mistype: true})
		return
	}
	if _, err := w.Authority.ResetKeys(r.Context(), a.Caller, r.PostFormValue("reason")); err != nil {
		if !w.stepUp(rw, r, err, "/secret?reset") {
			w.failure(rw, r, &a, err)
		}
		return
	}
	w.clearSession(rw, r)
	http.Redirect(rw, r, "/sign-in?ended=reset", http.StatusSeeOther)
}

type auditBody struct {
	Page                                 authority.AuditPage
	Actor, Action, Target, Outcome, Next string
	Groups                               []string
}

func (w *console) auditPage(rw http.ResponseWriter, r *http.Request, a admin) {
	q := r.URL.Query()
	b := auditBody{
		Actor: q.Get("actor"), Action: q.Get("action"), Target: q.Get("target"), Outcome: q.Get("outcome"),
		Groups: []string{"token.", "login.", "keys.", "key.", "admin.", "config.", "setup.", "store."},
	}
	before, _ := strconv.ParseUint(q.Get("before"), 10, 64)
	var err error
	b.Page, err = w.Authority.Audit(r.Context(), a.Caller, authority.AuditQuery{Actor: b.Actor, Action: b.Action, Target: b.Target, Outcome: b.Outcome, Before: before})
	if err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	if b.Page.Next > 0 {
		q.Set("before", strconv.FormatUint(b.Page.Next, 10))
		b.Next = "/audit?" + q.Encode()
	}
	w.render(rw, r, &a, http.StatusOK, page{Name: "audit", Title: "Audit log", Nav: "audit", Body: b, Shell: []string{w.Program + " audit list"}})
}

type settingsBody struct {
	Groups  []settingsGroup
	Staging control.Staging
	Diff    []control.Difference
	Review  bool
	Faults  []authority.FieldError
	Input   string // what was typed for the property at fault
	Fault   string // its name
	NoHome  bool
}

type settingsGroup struct {
	Name       string
	Properties []control.Property
}

func (w *console) settingsPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showSettings(visit{rw, r, a}, http.StatusOK, settingsBody{}, page{})
}

func (w *console) showSettings(v visit, status int, b settingsBody, p page) {
	properties, staging, err := w.Control.Properties(v.r.Context(), v.Caller)
	if err != nil {
		w.failure(v.rw, v.r, &v.admin, err)
		return
	}
	for _, property := range properties {
		if n := len(b.Groups); n == 0 || b.Groups[n-1].Name != property.Group {
			b.Groups = append(b.Groups, settingsGroup{Name: property.Group})
		}
		g := &b.Groups[len(b.Groups)-1]
		g.Properties = append(g.Properties, property)
	}
	b.Staging, b.NoHome = staging, w.Home == ""
	p.Name, p.Title, p.Nav, p.Body = "settings", "Settings", "settings", b
	p.Shell = []string{w.Program + " config properties list", w.Program + " config properties set <property> <value>", w.Program + " config apply"}
	w.render(v.rw, v.r, &v.admin, status, p)
}

func (w *console) stageSetting(rw http.ResponseWriter, r *http.Request, a admin) {
	name, value := r.PostFormValue("property"), strings.TrimSpace(r.PostFormValue("value"))
	staged := &value
	if value == "" || r.PostFormValue("unset") != "" {
		staged = nil
	}
	if _, _, err := w.Control.Stage(r.Context(), a.Caller, name, staged); err != nil {
		p := page{}
		p.Errors, p.Problem = faults(err)
		w.showSettings(visit{rw, r, a}, statusOf(authority.KindOf(err)), settingsBody{Fault: name, Input: value}, p)
		return
	}
	http.Redirect(rw, r, "/settings?done=staged#"+url.PathEscape(name), http.StatusSeeOther)
}

func (w *console) reviewPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.review(visit{rw, r, a}, http.StatusOK, nil)
}

// review shows what would be applied, or every reason why it cannot be.
func (w *console) review(v visit, status int, cause error) {
	diff, _, err := w.Control.Diff(v.r.Context(), v.Caller)
	if err == nil {
		err = cause
	}
	b, p := settingsBody{Diff: diff, Review: true}, page{}
	if err != nil {
		b.Faults, p.Problem = faults(err)
		status = statusOf(authority.KindOf(err))
	}
	w.showSettings(v, status, b, p)
}

func (w *console) applySettings(rw http.ResponseWriter, r *http.Request, a admin) {
	revision, _ := strconv.ParseUint(r.PostFormValue("revision"), 10, 64)
	applied, err := w.Control.Apply(r.Context(), a.Caller, revision)
	if err != nil {
		w.review(visit{rw, r, a}, statusOf(authority.KindOf(err)), err)
		return
	}
	done := "applied"
	switch {
	case len(applied.Differences) == 0:
		done = "nothing"
	case len(applied.RestartNeeded) > 0:
		done = "restart"
	}
	http.Redirect(rw, r, "/settings?done="+done, http.StatusSeeOther)
}

func (w *console) discardSettings(rw http.ResponseWriter, r *http.Request, a admin) {
	if _, err := w.Control.Discard(r.Context(), a.Caller); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	http.Redirect(rw, r, "/settings?done=discarded", http.StatusSeeOther)
}

type storageBody struct {
	Facts  authority.StoreFacts
	Folder string
	Path   string
	Home   string
}

func (w *console) storagePage(rw http.ResponseWriter, r *http.Request, a admin) {
	b := storageBody{Facts: w.Authority.Facts(), Folder: "/srv/mintmark", Home: w.Home}
	if w.Home != "" {
		b.Folder = w.Home + "/store"
	}
	b.Path = b.Folder + "/token.json"
	w.render(rw, r, &a, http.StatusOK, page{Name: "storage", Title: "Set up storage", Nav: "settings", Body: b})
}

type statusBody struct {
	control.Status
	Problems int
	Uptime   string
}

func (w *console) statusPage(rw http.ResponseWriter, r *http.Request, a admin) {
	s, err := w.Control.Status(r.Context(), a.Caller)
	if err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	b := statusBody{Status: s, Uptime: spell(w.Now().Sub(s.StartedAt))}
	for _, c := range s.Checks {
		if !c.OK || c.Warning {
			b.Problems++
		}
	}
	w.render(rw, r, &a, http.StatusOK, page{Name: "status", Title: "System status", Nav: "status", Body: b, Shell: []string{w.Program + " status", w.Program + " doctor"}})
}

func (w *console) menuPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.render(rw, r, &a, http.StatusOK, page{Name: "menu", Title: "Manage"})
}
