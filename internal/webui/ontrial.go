package webui

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/edge"
	"mintmark/internal/message"
)

// staysTLS reports that TLS is there to stay: a browser that was told to use nothing
// else for a year (RFC 6797) would not find back. A proxy's is its own affair.
func (w *console) staysTLS(r *http.Request) bool {
	return r.TLS == nil || w.KeepsTLS == nil || w.KeepsTLS()
}

// trialPage is the settings with the question what becomes of those on trial.
func (w *console) trialPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.showSettings(visit{rw, r, a}, http.StatusOK, settingsBody{Asks: true}, page{})
}

func (w *console) settleTrial(rw http.ResponseWriter, r *http.Request, a admin) {
	answer := control.Answer{Revision: formRevision(r), Decision: control.Decision(r.PostFormValue("answer"))}
	applied, err := w.Control.Settle(r.Context(), a.Caller, answer)
	w.applied(visit{rw, r, a}, applied, map[control.Decision]string{control.Keep: "settings-kept", control.Revert: "settings-back", control.Extend: "more-time"}[answer.Decision], err)
}

// applied answers a change of what is in force. Where the server listens elsewhere
// by now, or is about to, an address to go to would lead nowhere: the page is the
// answer, and says where the server is. So it is when there is more to say than
// an address can: what became of the tokens, or what went wrong, which may be
// after the change was made.
func (w *console) applied(v visit, applied control.Applied, done string, failed error) {
	status, b, p := http.StatusOK, settingsBody{}, page{Notice: outcome(done)}
	if failed != nil {
		status, p.Notice = statusOf(authority.KindOf(failed)), notice{}
		p.Errors, p.Problem = faults(failed)
	}
	if applied.Carried != nil {
		b.Asks, p.Notice = failed == nil && applied.Trial != nil, noted(appliedText(applied)...)
	}
	if slices.ContainsFunc(applied.Differences, moves) {
		var err error
		if b.Moved, err = w.place(v); err != nil {
			w.failure(v.rw, v.r, &v.admin, err)
			return
		}
		b.Asks = true
	}
	switch {
	case failed != nil || applied.Carried != nil || b.Moved != nil:
		w.showSettings(v, status, b, p)
	case applied.Trial != nil && done != "more-time":
		http.Redirect(v.rw, v.r, "/settings/trial?done="+done, http.StatusSeeOther)
	default:
		http.Redirect(v.rw, v.r, "/settings?done="+done, http.StatusSeeOther)
	}
}

// moves reports a change of where the server is reached, or of whether it has TLS.
// Another certificate is shown at the same address.
func moves(d control.Difference) bool {
	return d.Property == config.Listen || d.Property == config.Certificate && (d.Before == "") != (d.After == "")
}

// moved is where the server is now.
type moved struct {
	Address string // on which it listens
	URL     string // "" when a proxy is between, which knows a way of its own
}

// place is where the server is now, seen from where somebody has come to it: on
// all addresses of the machine it keeps the name by which it was called.
func (w *console) place(v visit) (*moved, error) {
	s, err := w.Control.Status(v.r.Context(), v.Caller)
	if err != nil {
		return nil, err
	}
	m := moved{Address: s.Listen}
	to, err := url.Parse(s.URL)
	if err != nil || edge.Of(v.r).Proxied {
		return &m, nil //nolint:nilerr // without an address to follow, the address says enough
	}
	host, port, _ := net.SplitHostPort(s.Listen)
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		called := url.URL{Host: v.r.Host}
		to.Host = net.JoinHostPort(called.Hostname(), port)
	}
	m.URL = to.JoinPath("settings", "trial").String()
	return &m, nil
}

// trialStrip says on every page that settings go back by themselves.
func trialStrip(now time.Time, t *control.Trial) strip {
	if t == nil {
		return strip{}
	}
	return strip{
		Label: say("Settings on trial"), Icon: "clock", Href: "/settings/trial", Word: say("Keep or revert"),
		Text: say("Settings are on trial. They revert at {time}.", "time", near(now, t.Until)),
	}
}

// near is an instant of the next hours: without its date when that is today's.
func near(now, t time.Time) message.Text {
	if now.UTC().Format(time.DateOnly) == t.UTC().Format(time.DateOnly) {
		return say("{time} UTC", "time", t.UTC().Format("15:04"))
	}
	return utc(t)
}

// Tries reports whether a property goes back with the trial that runs.
func (b settingsBody) Tries(property string) bool {
	t := b.Staging.Trial
	return t != nil && (slices.Contains(t.Properties, property) || slices.Contains(t.With, property))
}

// TrialEnd says until when the trial runs.
func (b settingsBody) TrialEnd() message.Text {
	return say("They revert at {time}.", "time", b.Ends)
}
