package webui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/message"
)

type settingsBody struct {
	Groups  []settingsGroup
	Staging control.Staging
	Diff    []control.Difference
	Review  bool
	LockOut []string // staged properties with which a mistake shuts everybody out
	Faults  []authority.FieldError
	Problem message.Text
	Search  string
	Input   string // what was typed for the property at fault
	Fault   string // its name
	NoHome  bool
	Asks    bool         // what becomes of the settings on trial
	Ends    message.Text // when they revert; nil without them
	Moved   *moved       // nil: the server is where it was
}

type settingsGroup struct {
	Name       string
	Properties []control.Property
}

// Standing is a value as it stands in the file, or what stands for it there.
func (settingsBody) Standing(property, value string) message.Text {
	p, err := config.Lookup(property)
	switch {
	case value != "":
		return message.Verbatim(value)
	case err == nil && p.Default != "":
		return say("{value} (default)", "value", p.Default)
	case property == config.Store:
		return say("(memory)")
	}
	return say("(unset)")
}

// Effect says when a change takes effect, and whether it is on trial.
func (b settingsBody) Effect(d control.Difference) message.Text {
	switch {
	case !d.Live:
		return say("next start")
	case len(b.LockOut) == 0:
		return say("at once")
	case d.Property == config.Store:
		return say("at once, for good")
	}
	return say("at once, on trial")
}

// Switches reports whether the store is among the changes.
func (b settingsBody) Switches() bool {
	return slices.ContainsFunc(b.Diff, func(d control.Difference) bool { return d.Property == config.Store })
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
	if b.Search = strings.TrimSpace(v.r.URL.Query().Get("q")); holdsToken(b.Search) {
		b.Search = ""
	}
	for _, property := range properties {
		if property.LockOut && (property.Staged != nil || property.Unsets) {
			b.LockOut = append(b.LockOut, property.Name)
		}
		if !mentions(property, b.Search) {
			continue
		}
		if n := len(b.Groups); n == 0 || b.Groups[n-1].Name != property.Group {
			b.Groups = append(b.Groups, settingsGroup{Name: property.Group})
		}
		g := &b.Groups[len(b.Groups)-1]
		g.Properties = append(g.Properties, property)
	}
	b.Staging, b.NoHome = staging, w.Home == ""
	if staging.Trial != nil {
		b.Ends = near(w.Now(), staging.Trial.Until)
	}
	p.Name, p.Title, p.Nav, p.Body = "settings", say("Settings"), "settings", b
	p.Shell = []string{w.command("config", "properties", "list"), w.command("config", "properties", "set") + " <property> <value>", w.command("config", "apply")}
	p.Dialog = []string{w.command("config", "diff"), w.command("config", "apply")}
	switch {
	case b.Asks:
		p.Dialog = []string{w.command("config", "confirm"), w.command("config", "revert"), w.command("config", "extend")}
	case len(b.LockOut) > 0:
		p.Dialog[1] = w.command("config", "apply", "--trial", config.FormatDuration(config.TrialLength))
	}
	w.render(v.rw, v.r, &v.admin, status, p)
}

// mentions reports whether a property's name, alias or help holds the words
// searched for.
func mentions(p control.Property, search string) bool {
	text := strings.ToLower(p.Name + " " + p.Help + " " + strings.Join(p.Aliases, " "))
	return strings.Contains(text, strings.ToLower(search))
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
	b := settingsBody{Diff: diff, Review: true}
	if err != nil {
		b.Faults, b.Problem = faults(err)
		status = statusOf(authority.KindOf(err))
	}
	w.showSettings(v, status, b, page{})
}

func (w *console) applySettings(rw http.ResponseWriter, r *http.Request, a admin) {
	applied, err := w.Control.Apply(r.Context(), a.Caller, formRevision(r), config.TrialLength)
	if w.stepUp(rw, r, err, "/settings/review") {
		return
	}
	if err != nil && applied.Revision == 0 {
		w.review(visit{rw, r, a}, statusOf(authority.KindOf(err)), err)
		return
	}
	done := "applied"
	switch {
	case len(applied.Differences) == 0:
		done = "nothing"
	case waits(applied):
		done = "restart"
	}
	w.applied(visit{rw, r, a}, applied, done, err)
}

// waits reports whether some of what was applied waits for a restart; what has
// waited before is no part of it.
func waits(applied control.Applied) bool {
	return slices.ContainsFunc(applied.Differences, func(d control.Difference) bool { return slices.Contains(applied.RestartNeeded, d.Property) })
}

func formRevision(r *http.Request) uint64 {
	revision, _ := strconv.ParseUint(r.PostFormValue("revision"), 10, 64)
	return revision
}

// appliedText says what became of the tokens when the store was switched, one
// sentence each. It is part of the answer, not of an address: there are numbers in it.
func appliedText(applied control.Applied) []message.Text {
	c := applied.Carried
	place := "memory"
	if c.Store.Persistent {
		place = "store"
	}
	text := []message.Text{say("Applied. {place, select, memory {Tokens are kept in memory only from now on} other {Tokens are kept in {store} from now on}}: {n, plural, one {# token was} other {# tokens were}} brought along, {existing} were there.",
		"place", place, "store", c.Store.Location, "n", c.Carried, "existing", c.Existing)}
	if n := c.CaughtUp.Changes; n > 0 {
		text = append(text, say("It is older than the audit log: {n, plural, one {# change} other {# changes}} made since was applied to it again.", "n", n))
	}
	if n := len(c.CaughtUp.Missing); n > 0 {
		text = append(text, say("{n, plural, one {# token was} other {# tokens were}} created since and not in it: lost.", "n", n))
	}
	if c.CaughtUp.Unproven {
		text = append(text, say("The audit log does not reach back to it: what has ended since is not known."))
	}
	if waits(applied) {
		text = append(text, say("Some of what was staged takes effect at the next start."))
	}
	return text
}

func (w *console) discardSettings(rw http.ResponseWriter, r *http.Request, a admin) {
	if _, err := w.Control.Discard(r.Context(), a.Caller); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	http.Redirect(rw, r, "/settings?done=discarded", http.StatusSeeOther)
}
