package webui

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// maxEvidence is how many tokens the page names; the export has all.
const maxEvidence = 100

// evidence is who still depends on the previous key, as the page shows it.
type evidence struct {
	authority.Evidence
	Left  int    // rows that the page leaves out
	State string // the movement that is asked for; "" is all but moved
	Sort  string // "risk", "client" or "last"
	inUse bool
}

// Still counts the tokens that still come under the previous key.
func (e evidence) Still() int { return e.Count(authority.NotMoved) + e.Count(authority.Mixed) }

// Silent counts those of which nothing is known.
func (e evidence) Silent() int { return e.Count(authority.Silent) }

// Moved counts those that need the previous key no more.
func (e evidence) Moved() int { return e.Count(authority.Moved) }

// More counts those that depend on the key and are not named.
func (e evidence) More() int { return e.Still() - len(e.Depends) }

// Latest is the last use under the previous key.
func (e evidence) Latest() authority.KeyUse { return e.LastUse() }

// Quiet is since when nobody is known to have used the previous key.
func (e evidence) Quiet() time.Time {
	if last := e.LastUse().Last; !last.IsZero() {
		return last
	}
	if e.Counted.After(e.Current.CurrentSince) {
		return e.Counted
	}
	return e.Current.CurrentSince
}

// Forgotten reports that the counting began after the rotation.
func (e evidence) Forgotten() bool { return e.Counted.After(e.Current.CurrentSince) }

// Filters are the movements to choose from, with how many tokens each has.
func (e evidence) Filters() []option {
	out := []option{{"", say("All but moved {n}", "n", e.All-e.Moved())}}
	for _, m := range authority.Movements() {
		out = append(out, option{string(m), say("{state} {n}", "state", movementWord(m), "n", e.Count(m))})
	}
	return out
}

// Link is the page with another filter or order.
func (e evidence) Link(state, sort string) string {
	q := url.Values{}
	if state != "" {
		q.Set("state", state)
	}
	if sort != "risk" {
		q.Set("sort", sort)
	}
	return withQuery("/secret", q.Encode())
}

func movementWord(m authority.Movement) message.Text {
	switch m {
	case authority.NotMoved:
		return say("Not moved")
	case authority.Mixed:
		return say("Mixed")
	case authority.Silent:
		return say("Silent")
	case authority.Moved:
		return say("Moved")
	}
	return message.Verbatim(string(m))
}

// movementIcon stands beside the word, never alone.
func movementIcon(m authority.Movement) string {
	switch m {
	case authority.NotMoved:
		return "dot"
	case authority.Mixed:
		return "half"
	case authority.Silent:
		return "circle"
	case authority.Moved:
	}
	return "check"
}

// inUse is what makes refusing the key ask for its name.
func inUse(e authority.Evidence) bool {
	last := e.LastUse().Last
	return !last.IsZero() && e.AsOf.Sub(last) < day
}

// evidence reads the rows that a page is asked for. What needs none of them, the
// counts and who depends on the key, is the same with every filter.
func (w *console) evidence(v visit, key string) (evidence, error) {
	q := v.r.URL.Query()
	e := evidence{State: q.Get("state"), Sort: q.Get("sort")}
	query := authority.EvidenceQuery{Movements: []authority.Movement{authority.Movement(e.State)}, Limit: maxEvidence}
	if !slices.Contains(authority.Movements(), authority.Movement(e.State)) {
		e.State, query.Movements = "", []authority.Movement{authority.NotMoved, authority.Mixed, authority.Silent}
	}
	switch e.Sort {
	case "client":
		query.Order = authority.ByClient
	case "last":
		query.Order = authority.ByLast
	default:
		e.Sort = "risk"
	}
	var err error
	if e.Evidence, err = w.Authority.SomeEvidence(v.r.Context(), v.Caller, key, query); err != nil {
		return e, err
	}
	all := 0
	for _, m := range query.Movements {
		all += e.Count(m)
	}
	e.inUse, e.Left = inUse(e.Evidence), all-len(e.Tokens)
	return e, nil
}

// none asks for as little of the evidence as there is.
func none() authority.EvidenceQuery { return authority.EvidenceQuery{Limit: 1} }

// trialText says in one sentence what the running trial has refused.
func trialText(t authority.TrialRefused) message.Text {
	if t.Tokens == 0 {
		return say("Nothing has been refused so far.")
	}
	var names []string
	for _, of := range t.First {
		names = append(names, fmt.Sprintf("%s %d", of.ClientID, of.TrialRefusals))
	}
	clients := message.Verbatim(strings.Join(names, ", "))
	if more := t.Tokens - len(names); more > 0 {
		clients = say("{clients}, and {n} more", "clients", clients, "n", more)
	}
	return say("{n, plural, one {# request} other {# requests}} of {tokens, plural, one {# token} other {# tokens}} {n, plural, one {was} other {were}} refused: {clients}.", "n", t.Requests, "tokens", t.Tokens, "clients", clients)
}

// trialRefused is the sentence alone, for the script that keeps it current.
func (w *console) trialRefused(rw http.ResponseWriter, r *http.Request, a admin) {
	k, ok := w.previousKey(visit{rw, r, a})
	if !ok {
		return
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !k.OnTrial(w.Now()) {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	found, err := w.Authority.SomeEvidence(r.Context(), a.Caller, k.Name, none())
	if err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	_, _ = rw.Write([]byte(w.language(r).String(trialText(found.Trial))))
}

// exportEvidence is all of the evidence, as a file.
func (w *console) exportEvidence(rw http.ResponseWriter, r *http.Request, a admin) {
	v := visit{rw, r, a}
	k, ok := w.previousKey(v)
	if !ok {
		return
	}
	found, err := w.Authority.ExportEvidence(r.Context(), a.Caller, k.Name)
	if err != nil {
		if !w.stepUp(rw, r, err, "/secret/evidence.csv") {
			w.failure(rw, r, &a, err)
		}
		return
	}
	rw.Header().Set("Content-Type", "text/csv; charset=utf-8")
	rw.Header().Set("Content-Disposition", `attachment; filename="evidence-`+k.Name+`.csv"`)
	out := csv.NewWriter(rw)
	_ = out.Write([]string{
		"client_id", "id", "state", "last_under_previous", "last_under_previous_from", "last_under_current", "last_under_current_from",
		"trial_refusals", "contact", "contacted_at", "contacted_by", "note",
	})
	for _, t := range found.Tokens {
		_ = out.Write(cells(
			t.ClientID, string(t.ID), string(t.Movement), stamp(t.Under.Last), t.Under.From, stamp(t.Since.Last), t.Since.From,
			fmt.Sprint(t.TrialRefusals), t.Contact, stamp(t.Contacted.At), t.Contacted.By, t.Contacted.Note,
		))
	}
	out.Flush()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// cells keeps what somebody wrote from being a formula where the file is opened.
func cells(values ...string) []string {
	for i, v := range values {
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			values[i] = "'" + v
		}
	}
	return values
}

func (w *console) contactedPage(rw http.ResponseWriter, r *http.Request, a admin) {
	if t, ok := w.tokenOf(rw, r, a); ok {
		w.askContacted(visit{rw, r, a}, http.StatusOK, t, page{})
	}
}

func (w *console) askContacted(v visit, status int, t authority.TokenView, p page) {
	p.Title, p.Dialog = say("Mark {client} as contacted", "client", t.ClientID), []string{}
	w.showSecret(v, status, secretBody{tokenDialog: tokenDialog{Dialog: "contacted", Token: t}, Form: readKeyForm(v.r)}, p)
}

func (w *console) markContacted(rw http.ResponseWriter, r *http.Request, a admin) {
	t, ok := w.tokenOf(rw, r, a)
	if !ok {
		return
	}
	if _, err := w.Authority.MarkContacted(r.Context(), a.Caller, t.ID, readKeyForm(r).Note); err != nil {
		if authority.KindOf(err) == authority.Internal {
			w.failure(rw, r, &a, err)
			return
		}
		p := page{}
		p.Errors, p.Problem = faults(err)
		w.askContacted(visit{rw, r, a}, statusOf(authority.KindOf(err)), t, p)
		return
	}
	http.Redirect(rw, r, "/secret?done=contacted&id="+string(t.ID), http.StatusSeeOther)
}

// copyNew is Copy on the page of the keys: the same token, signed by the key
// that signs now.
func (w *console) copyNew(rw http.ResponseWriter, r *http.Request, a admin) {
	w.reveal(visit{rw, r, a}, "/secret", func(issued authority.Issued, p page) {
		w.showSecret(visit{rw, r, a}, http.StatusOK, secretBody{tokenDialog: tokenDialog{Dialog: "reveal", Token: issued.TokenView, Text: issued.Text.Unsafe()}}, p)
	})
}
