package webui

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/control"
	"mintmark/internal/message"
)

type auditBody struct {
	Page                                               authority.AuditPage
	Actor, Action, Target, Outcome, Since, Until, Next string
	Groups                                             []option
	Filtered                                           bool
}

func (w *console) auditPage(rw http.ResponseWriter, r *http.Request, a admin) {
	q := r.URL.Query()
	asked := func(name string) string {
		if value := strings.TrimSpace(q.Get(name)); !holdsToken(value) {
			return value
		}
		return ""
	}
	b := auditBody{
		Actor: asked("actor"), Action: asked("action"), Target: asked("target"), Outcome: asked("outcome"),
		Groups: []option{
			{"token.", say("tokens")},
			{"login.", say("sign-ins")},
			{"key.", say("rotation")},
			{"keys.", say("resets")},
			{"admin.", say("administrators")},
			{"config.", say("settings ## events")},
			{"setup.", say("first sign-in")},
			{"store.", say("storage ## events")},
		},
	}
	query := authority.AuditQuery{Actor: b.Actor, Action: b.Action, Target: b.Target, Outcome: b.Outcome}
	query.Before, _ = strconv.ParseUint(q.Get("before"), 10, 64)
	if day, err := time.Parse(time.DateOnly, q.Get("since")); err == nil {
		query.Since, b.Since = day, q.Get("since")
	}
	if day, err := time.Parse(time.DateOnly, q.Get("until")); err == nil {
		query.Until, b.Until = day.AddDate(0, 0, 1), q.Get("until")
	}
	b.Filtered = b.Actor+b.Action+b.Target+b.Outcome+b.Since+b.Until != ""
	var err error
	if b.Page, err = w.Authority.Audit(r.Context(), a.Caller, query); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	if b.Page.Next > 0 {
		q.Set("before", strconv.FormatUint(b.Page.Next, 10))
		b.Next = "/audit?" + q.Encode()
	}
	args := []string{"audit", "list"}
	for _, flag := range [][2]string{{"--actor", b.Actor}, {"--action", b.Action}, {"--target", b.Target}, {"--outcome", b.Outcome}} {
		if flag[1] != "" {
			args = append(args, flag[0], flag[1])
		}
	}
	w.render(rw, r, &a, http.StatusOK, page{Name: "audit", Title: say("Audit log"), Nav: "audit", Body: b, Shell: []string{w.command(args...)}})
}

type storageBody struct {
	Facts  authority.StoreFacts
	AtRisk uint64 // tokens that a stop would end
	Path   string // an example that would do
	File   []string
	Live   []string // without a stop
	Steps  []string // the manual's
	Home   string
}

func (w *console) storagePage(rw http.ResponseWriter, r *http.Request, a admin) {
	folder := "/srv/mintmark"
	if w.Home != "" {
		folder = w.Home + "/store"
	}
	b := storageBody{Facts: w.Authority.Facts(), Path: folder + "/token.json", Home: w.Home}
	b.File = []string{"install -d -m 700 " + quote(folder), "install -m 600 /dev/null " + quote(b.Path)}
	b.Live = []string{w.command("config", "properties", "set", "api.access.tokens.store", b.Path), w.command("config", "apply")}
	b.Steps = slices.Concat([]string{w.command("stop")}, b.Live, []string{w.command("start")})
	if counts, err := w.Authority.TokenCounts(r.Context(), a.Caller); err == nil && !b.Facts.Persistent {
		b.AtRisk = count(counts.Active)
	}
	w.render(rw, r, &a, http.StatusOK, page{
		Name: "storage", Title: say("Set up storage"), Nav: "settings", Body: b, Shell: []string{w.command("config", "properties", "get", "api.access.tokens.store")},
	})
}

type statusBody struct {
	control.Status
	Problems int
	Uptime   message.Text
	AsOf     time.Time
}

func (w *console) statusPage(rw http.ResponseWriter, r *http.Request, a admin) {
	s, err := w.Control.Status(r.Context(), a.Caller)
	if err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	b := statusBody{Status: s, Uptime: spell(w.Now().Sub(s.StartedAt)), AsOf: w.Now()}
	for _, c := range s.Checks {
		if !c.OK || c.Warning {
			b.Problems++
		}
	}
	w.render(rw, r, &a, http.StatusOK, page{Name: "status", Title: say("System status"), Nav: "status", Body: b, Shell: []string{w.command("status"), w.command("doctor")}})
}

func (w *console) menuPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.render(rw, r, &a, http.StatusOK, page{Name: "menu", Title: say("Manage"), Shell: []string{w.command("help")}})
}
