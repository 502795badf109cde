package webui

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

const (
	day = 24 * time.Hour
	// dueSoon is how long before a rotation is due it is asked for.
	dueSoon = 14 * day
	// trialLength is how long a trial stop from the console lasts.
	trialLength = 15 * time.Minute
)

// secretBody is the page of the signing keys and whichever dialog is open over it.
type secretBody struct {
	tokenDialog
	Keys                    []authority.Key // but retired ones
	Current, Next, Previous authority.Key   // Previous is zero unless a rotation is under way
	Day, Due                int             // of the key that signs
	Tokens, Logins          int
	Host                    string
	Evidence                evidence
	Overlap                 span
	Trial                   message.Text // what the running trial has refused
	Form                    keyForm
	Choices                 []choice
	MaxOverlap              time.Duration
	Capped                  bool // because no token lives longer
	Mistype                 bool
	Steps                   []string // the reset from the shell
}

// choice is one length of an overlap, and where it leads.
type choice struct {
	Value       string
	Label, When message.Text
	Until       time.Time
}

// keyForm is a dialog about a key as it was filled in.
type keyForm struct {
	Overlap, Date, Offset, Reason, Other, Confirm, Note string
}

func readKeyForm(r *http.Request) keyForm {
	f := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	return keyForm{Overlap: f("overlap"), Date: f("date"), Offset: f("offset"), Reason: f("reason"), Other: f("other"), Confirm: f("confirm"), Note: f("note")}
}

// why is the reason in one line: what was chosen, and what was added to it.
func (f keyForm) why() string {
	switch {
	case f.Reason == "other" || f.Reason == "":
		return f.Other
	case f.Other == "":
		return f.Reason
	}
	return f.Reason + ": " + f.Other
}

// Rotating reports whether a previous key is accepted.
func (b secretBody) Rotating() bool { return b.Previous.ID != "" }

// Soon reports whether a rotation is due, or nearly.
func (b secretBody) Soon() bool { return b.Day > b.Due-int(dueSoon/day) }

// Back is the address of the page, at the row of a token.
func (b secretBody) Back(id authority.TokenID) string { return "/secret#" + string(id) }

// At is the address of something to do with one token that comes back here.
func (b secretBody) At(id authority.TokenID, verb string) string {
	return "/secret/" + verb + "/" + string(id)
}

// Asks reports whether the key's name must be typed to refuse it.
func (b secretBody) Asks() bool { return b.Evidence.inUse }

func (w *console) secretPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showSecret(visit{rw, r, a}, http.StatusOK, secretBody{}, page{})
}

// secretDialog opens a dialog over the page. A password that is too old for what
// the dialog does is asked for before anything is filled in.
func (w *console) secretDialog(name string, guarded bool) func(http.ResponseWriter, *http.Request, admin) {
	return func(rw http.ResponseWriter, r *http.Request, a admin) {
		if guarded && w.Now().Sub(a.authenticatedAt) > w.Policy().StepUp {
			http.Redirect(rw, r, "/reauth?next="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
			return
		}
		w.showSecret(visit{rw, r, a}, http.StatusOK, secretBody{tokenDialog: tokenDialog{Dialog: name}}, page{})
	}
}

func (w *console) showSecret(v visit, status int, b secretBody, p page) {
	err := w.loadSecret(v, &b)
	if err != nil {
		w.failure(v.rw, v.r, &v.admin, err)
		return
	}
	if b.Dialog != "" && needsRotation(b.Dialog) && !b.Rotating() {
		w.failure(v.rw, v.r, &v.admin, &authority.Error{Kind: authority.Conflict, Msg: "No rotation is under way: there is no previous secret."})
		return
	}
	w.copyFacts(v.admin, &b.tokenDialog)
	p.Name, p.Nav, p.Body = "secret", "secret", b
	if p.Title == nil {
		p.Title = say("Signing secret")
	}
	p.Shell = []string{w.command("key", "list")}
	if b.Rotating() {
		p.Shell = append(p.Shell, w.command("key", "evidence"))
	}
	if p.Dialog == nil {
		p.Dialog = w.dialogCommands(b)
	}
	if v.r.Method == http.MethodGet {
		p.Notice = w.secretNotice(v, b)
	}
	w.render(v.rw, v.r, &v.admin, status, p)
}

func needsRotation(dialog string) bool {
	switch dialog {
	case "extend", "trial", "stop", "contacted":
		return true
	}
	return false
}

// loadSecret reads the keys and, during a rotation, who still depends on the one
// before.
func (w *console) loadSecret(v visit, b *secretBody) error {
	keys, err := w.Authority.Keys(v.r.Context(), v.Caller)
	if err != nil {
		return err
	}
	counts, err := w.Authority.TokenCounts(v.r.Context(), v.Caller)
	if err != nil {
		return err
	}
	if b.Logins, err = w.Authority.Logins(v.r.Context(), v.Caller); err != nil {
		return err
	}
	now, policy := w.Now(), w.Policy()
	for _, k := range keys {
		switch {
		case k.State == authority.KeyRetired || k.Over(now):
			continue
		case k.State == authority.KeyCurrent:
			b.Current = k
		case k.State == authority.KeyNext:
			b.Next = k
		case k.State == authority.KeyPrevious:
			b.Previous = k
		}
		b.Keys = append(b.Keys, k)
	}
	slices.SortStableFunc(b.Keys, func(a, b authority.Key) int { return cmp.Compare(keyPlace(a), keyPlace(b)) })
	b.Tokens, b.Host, b.MaxOverlap, b.Capped = counts.Active, w.Host, policy.MaxOverlap(), policy.MaxLifetime > 0
	b.Steps = []string{w.command("stop"), w.command("support", "reset-jwt-key"), w.command("config", "apply"), w.command("start")}
	b.Day, b.Due = int(now.Sub(b.Current.CurrentSince)/day)+1, int(policy.RotateEvery/day)
	b.Choices = w.choices(b)
	if !b.Rotating() {
		return nil
	}
	if b.Evidence, err = w.evidence(v, b.Previous.Name); err != nil {
		return err
	}
	b.Overlap = overlapSpan(b.Current.CurrentSince, b.Previous.Until, now)
	if b.Previous.OnTrial(now) {
		b.Trial = trialText(b.Evidence.Evidence.Trial)
	}
	return nil
}

// keyPlace orders the keys: first the one that signs.
func keyPlace(k authority.Key) int {
	return slices.Index([]authority.KeyState{authority.KeyCurrent, authority.KeyPrevious, authority.KeyNext}, k.State)
}

// choices are the overlaps to choose from: of a rotation from now on, of an
// extension from the end that is set.
func (w *console) choices(b *secretBody) []choice {
	policy, now := w.Policy(), w.Now().UTC().Truncate(time.Second)
	lengths := []choice{{Label: hours24(), When: say("you deploy daily")}, {Label: spell(14 * day), When: say("several teams")}, {Label: spell(30 * day), When: say("clients you have to write to")}}
	each := []time.Duration{day, 14 * day, 30 * day}
	from, standard := now, policy.DefaultOverlap()
	if b.Dialog == "extend" {
		lengths = []choice{{Label: spell(day)}, {Label: spell(7 * day)}, {Label: spell(14 * day)}, {Label: spell(30 * day)}}
		each = []time.Duration{day, 7 * day, 14 * day, 30 * day}
		from, standard = b.Previous.Until, 7*day
	}
	if b.Form.Overlap == "" {
		b.Form.Overlap = standard.String()
	}
	var out []choice
	listed := b.Dialog == "extend"
	for i, c := range lengths {
		if !listed && standard < each[i] {
			out = append(out, choice{standard.String(), spell(standard), say("the usual"), from.Add(standard)})
			listed = true
		}
		c.Value, c.Until = each[i].String(), from.Add(each[i])
		if c.Until.After(now.Add(policy.MaxOverlap())) {
			continue
		}
		listed = listed || each[i] == standard
		out = append(out, c)
	}
	if !listed {
		out = append(out, choice{standard.String(), spell(standard), say("the usual"), from.Add(standard)})
	}
	return out
}

// until is the end of the overlap that was chosen, counted from a time.
func (f keyForm) until(from time.Time) (time.Time, error) {
	if f.Overlap == "date" {
		end, err := endOfDay(f.Date, f.Offset)
		if err != nil {
			return end, fault("date", "Choose a date.")
		}
		return end, nil
	}
	d, err := time.ParseDuration(f.Overlap)
	if err != nil || d <= 0 {
		return time.Time{}, fault("overlap", "Choose how long the previous secret is accepted.")
	}
	return from.Add(d), nil
}

// Chosen is the choice that is set, or the first.
func (b secretBody) Chosen() choice {
	for _, c := range b.Choices {
		if c.Value == b.Form.Overlap {
			return c
		}
	}
	return choice{}
}

func (w *console) rotateKey(rw http.ResponseWriter, r *http.Request, a admin) {
	v, form := visit{rw, r, a}, readKeyForm(r)
	if form.Overlap == "none" {
		w.reset(v, "rotate", form)
		return
	}
	now := w.Now().UTC().Truncate(time.Second)
	end, err := form.until(now)
	if err == nil && !end.After(now) {
		err = fault("date", "Choose a date after today.")
	}
	if err == nil {
		_, err = w.Authority.RotateKey(r.Context(), a.Caller, authority.RotateRequest{Overlap: end.Sub(now), Reason: form.why()})
	}
	if err != nil {
		w.refuseSecret(v, err, "rotate", form)
		return
	}
	w.renewSession(v)
	http.Redirect(rw, r, "/secret?done=rotated", http.StatusSeeOther)
}

// renewSession lets whoever changed the keys stay signed in. Without it the
// session lasts until the key that signed it is retired, so that a failure is
// logged and no more.
func (w *console) renewSession(v visit) {
	in, err := w.Authority.RenewLogin(v.r.Context(), v.Caller)
	switch {
	case err != nil:
		w.Log.Warn("session was not renewed", "error", err)
	case in.ID != "":
		w.setSession(v.rw, v.r, in)
	}
}

func (w *console) extendKey(rw http.ResponseWriter, r *http.Request, a admin) {
	v, form := visit{rw, r, a}, readKeyForm(r)
	k, ok := w.previousKey(v)
	if !ok {
		return
	}
	until, err := form.until(k.Until)
	if err == nil {
		_, err = w.Authority.ExtendKey(r.Context(), a.Caller, k.Name, until)
	}
	if err != nil {
		w.refuseSecret(v, err, "extend", form)
		return
	}
	http.Redirect(rw, r, "/secret?done=extended", http.StatusSeeOther)
}

// previousKey is the key that a rotation is leaving behind; without one it
// answers the request itself.
func (w *console) previousKey(v visit) (authority.Key, bool) {
	keys, err := w.Authority.Keys(v.r.Context(), v.Caller)
	if err != nil {
		w.failure(v.rw, v.r, &v.admin, err)
		return authority.Key{}, false
	}
	for _, k := range keys {
		if k.State == authority.KeyPrevious {
			return k, true
		}
	}
	w.failure(v.rw, v.r, &v.admin, &authority.Error{Kind: authority.Conflict, Msg: "No rotation is under way: there is no previous secret."})
	return authority.Key{}, false
}

func (w *console) startTrial(rw http.ResponseWriter, r *http.Request, a admin) {
	w.refuseKey(visit{rw, r, a}, "trial", func(k authority.Key) (string, error) {
		_, err := w.Authority.TrialStop(r.Context(), a.Caller, k.Name, trialLength)
		return "trial", err
	})
}

func (w *console) stopKey(rw http.ResponseWriter, r *http.Request, a admin) {
	v := visit{rw, r, a}
	w.refuseKey(v, "stop", func(k authority.Key) (string, error) {
		_, err := w.Authority.RetireKey(r.Context(), a.Caller, k.Name)
		if err == nil {
			w.renewSession(v)
		}
		return "stopped", err
	})
}

// refuseKey does what refuses tokens under the previous key, once its name was
// typed if somebody came under it within a day.
func (w *console) refuseKey(v visit, dialog string, act func(authority.Key) (string, error)) {
	k, ok := w.previousKey(v)
	if !ok {
		return
	}
	found, err := w.Authority.SomeEvidence(v.r.Context(), v.Caller, k.Name, none())
	if err != nil {
		w.failure(v.rw, v.r, &v.admin, err)
		return
	}
	form := readKeyForm(v.r)
	if inUse(found) && form.Confirm != k.Name && form.Confirm != string(k.ID) {
		w.showSecret(v, http.StatusUnprocessableEntity, secretBody{tokenDialog: tokenDialog{Dialog: dialog}, Form: form, Mistype: true}, page{})
		return
	}
	done, err := act(k)
	if err != nil {
		w.refuseSecret(v, err, dialog, form)
		return
	}
	http.Redirect(v.rw, v.r, "/secret?done="+done, http.StatusSeeOther)
}

func (w *console) endTrial(rw http.ResponseWriter, r *http.Request, a admin) {
	v := visit{rw, r, a}
	k, ok := w.previousKey(v)
	if !ok {
		return
	}
	if _, err := w.Authority.EndTrial(r.Context(), a.Caller, k.Name); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	http.Redirect(rw, r, "/secret?done=accepted", http.StatusSeeOther)
}

func (w *console) resetSecret(rw http.ResponseWriter, r *http.Request, a admin) {
	w.reset(visit{rw, r, a}, "reset", readKeyForm(r))
}

// reset is the path of a leak, from its own dialog or from that of a rotation.
func (w *console) reset(v visit, dialog string, form keyForm) {
	if form.Confirm != w.Host {
		w.showSecret(v, http.StatusUnprocessableEntity, secretBody{tokenDialog: tokenDialog{Dialog: dialog}, Form: form, Mistype: true}, page{})
		return
	}
	if _, err := w.Authority.ResetKeys(v.r.Context(), v.Caller, form.why()); err != nil {
		w.refuseSecret(v, err, dialog, form)
		return
	}
	w.clearSession(v.rw, v.r)
	http.Redirect(v.rw, v.r, "/sign-in?ended=reset", http.StatusSeeOther)
}

// refuseSecret shows a dialog again with what was wrong, and its input kept.
func (w *console) refuseSecret(v visit, err error, dialog string, form keyForm) {
	switch kind := authority.KindOf(err); {
	case w.stepUp(v.rw, v.r, err, "/secret/"+dialog):
	case kind == authority.Internal:
		w.failure(v.rw, v.r, &v.admin, err)
	default:
		p := page{}
		p.Errors, p.Problem = faults(err)
		w.showSecret(v, statusOf(kind), secretBody{tokenDialog: tokenDialog{Dialog: dialog}, Form: form}, p)
	}
}

// dialogCommands are the dialog's own from the shell.
func (w *console) dialogCommands(b secretBody) []string {
	switch b.Dialog {
	case "rotate":
		return []string{w.command("key", "rotate", "--overlap", length(w.Policy().DefaultOverlap()))}
	case "extend":
		return []string{w.command("key", "extend", "--by", "7d")}
	case "trial":
		return []string{w.command("key", "trial-stop", "--for", "15m"), w.command("key", "trial-stop", "--end")}
	case "stop":
		if b.Asks() {
			return []string{w.command("key", "retire", "--confirm", b.Previous.Name)}
		}
		return []string{w.command("key", "retire")}
	case "reset":
		return []string{w.command("support", "reset-jwt-key", "--confirm", w.Host)}
	}
	return nil
}

// secretNotice says what was done last, if the records agree.
func (w *console) secretNotice(v visit, b secretBody) notice {
	q := v.r.URL.Query()
	done := q.Get("done")
	until := utc(b.Previous.Until)
	switch {
	case done == "stopped" && !b.Rotating():
		return noted(say("The previous secret is not accepted any more, for good."))
	case !b.Rotating():
		return notice{}
	case done == "rotated":
		text := []message.Text{say("{key} signs from now on. {previous} is accepted until {end}.", "key", b.Current.Name, "previous", b.Previous.Name, "end", until)}
		if b.Current.CurrentSince.Sub(b.Current.CreatedAt) < authority.KeySetAge {
			text = append(text, say("The new secret was published only just before: verifiers that keep the key set may not know it for some minutes."))
		}
		return noted(text...)
	case done == "extended":
		return noted(say("{key} is accepted until {end}.", "key", b.Previous.Name, "end", until))
	case done == "trial" && b.Trial != nil:
		return noted(say("{key} is refused for {time} and then accepted again by itself.", "key", b.Previous.Name, "time", spell(trialLength)))
	case done == "accepted" && b.Trial == nil:
		return noted(say("{key} is accepted again.", "key", b.Previous.Name))
	case done == "contacted":
		id, _ := authority.ParseTokenID(q.Get("id"))
		if t, err := w.Authority.Token(v.r.Context(), v.Caller, id); err == nil && !t.Contacted.At.Before(b.Current.CurrentSince) {
			return noted(say("It is noted that {client} was contacted.", "client", t.ClientID))
		}
	}
	return notice{}
}
