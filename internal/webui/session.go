package webui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/message"
)

// admin is a signed-in administrator; only signedIn makes one.
type admin struct {
	authority.Caller
	name            string
	authenticatedAt time.Time
}

// visit is one request of a signed-in administrator.
type visit struct {
	rw http.ResponseWriter
	r  *http.Request
	admin
}

// cookieName is bound to the host by its prefix where the connection allows it
// (RFC 6265bis section 4.1.3.2).
func cookieName(in edge.Inbound) string {
	if in.TLS {
		return "__Host-mintmark_session"
	}
	return "mintmark_session"
}

func (w *console) setSession(rw http.ResponseWriter, r *http.Request, in authority.SignedIn) {
	inbound := edge.Of(r)
	http.SetCookie(rw, &http.Cookie{
		Name: cookieName(inbound), Value: in.Text.Unsafe(), Path: "/", HttpOnly: true, Secure: inbound.TLS, SameSite: http.SameSiteStrictMode,
		MaxAge: max(1, int(in.ExpiresAt.Sub(w.Now())/time.Second)), // not a date: the browser's clock may be another
	})
}

func (w *console) clearSession(rw http.ResponseWriter, r *http.Request) {
	inbound := edge.Of(r)
	http.SetCookie(rw, &http.Cookie{Name: cookieName(inbound), Path: "/", HttpOnly: true, Secure: inbound.TLS, SameSite: http.SameSiteStrictMode, MaxAge: -1})
}

// signedIn lets only a login through; everybody else is asked to sign in.
func (w *console) signedIn(fn func(http.ResponseWriter, *http.Request, admin)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		in := edge.Of(r)
		reason := ""
		if cookie, err := r.Cookie(cookieName(in)); err == nil {
			v := w.Live.Decide(cookie.Value, liveset.Demand{Purpose: liveset.ForLogin, From: in.Addr})
			if v.Allow() {
				fn(rw, r, admin{v.Identity.Caller(in.Origin()), v.Identity.ClientID, v.Identity.AuthenticatedAt})
				return
			}
			if v.Reason.Class() == liveset.ClassUnknown { // the login may be good: nobody is sent away
				rw.Header().Set("Retry-After", "5")
				w.failure(rw, r, nil, &authority.Error{Kind: authority.Unavailable, Msg: "The state of the sign-ins is not known now. Try again."})
				return
			}
			// The cookie stays: without it the next page could not say why. A page's
			// own script may be the first to ask.
			reason = ended(v.Reason)
		}
		target := "/sign-in"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			target += "?next=" + url.QueryEscape(localNext(r.URL.RequestURI()))
		}
		if reason != "" {
			sep := "?"
			if strings.Contains(target, "?") {
				sep = "&"
			}
			target += sep + "ended=" + reason
		}
		http.Redirect(rw, r, target, http.StatusSeeOther)
	}
}

func ended(r liveset.Reason) string {
	switch r {
	case liveset.Idle:
		return "idle"
	case liveset.Expired:
		return "expired"
	case liveset.Revoked, liveset.RetiredKey, liveset.UnknownKey:
		return "reset"
	case liveset.SignedOut:
		return "out"
	default:
		return "other"
	}
}

// endedText says why somebody has to sign in again. The code comes from the
// address and picks a text; it is never shown.
func (w *console) endedText(r *http.Request, code, next string) (why, goOn message.Text) {
	goOn = say("Sign in to go on.")
	if name := pageName(next); name != nil {
		goOn = say("Sign in to return to {page}.", "page", name)
	}
	switch code {
	case "idle":
		return say("You were signed out after {time} without activity.", "time", spell(w.LoginIdle())), goOn
	case "expired":
		return say("Your sign-in has reached its end."), goOn
	case "reset":
		return w.keyEnded(r)
	case "bye":
		return say("You are signed out."), nil
	case "out", "other":
		return say("You are signed out."), goOn
	}
	return nil, nil
}

// keyEnded says what became of the key that had signed a login: a reset ended
// it, or, when there was none while the login could last, its overlap is over.
func (w *console) keyEnded(r *http.Request) (why, goOn message.Text) {
	at, err := w.Authority.ResetAt(r.Context())
	switch {
	case err != nil:
		return say("You are signed out."), say("Sign in to go on.") // why is a courtesy here
	case w.Now().Sub(at) > w.Policy().LoginAbsolute:
		return say("The signing secret was rotated, and the one before is not accepted any more."), say("Sign in to go on.")
	}
	return say("The signing secret was reset, so all sign-ins ended. That was on {date} at {time} UTC.", "date", date(at), "time", at.UTC().Format("15:04")), nil
}

// pageName is what a page is called, nil for one that has no name of its own.
func pageName(path string) message.Text {
	path, _, _ = strings.Cut(path, "?")
	return map[string]message.Text{
		"/tokens": say("API Tokens"), "/secret": say("Signing secret"), "/audit": say("Audit log"), "/explain": say("Explain a refusal"), "/settings": say("Settings"), "/status": say("System status"),
	}[path]
}

// localNext keeps a redirect on this server, and a token that stood in an address,
// or the beginning of one, out of the next.
func localNext(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n") || strings.Contains(s, tokenStart) {
		return "/tokens"
	}
	return u.RequestURI()
}

type signInForm struct {
	Username, Next string
	Ended, GoOn    message.Text // why, and what for
	Insecure       bool
	Fresh          message.Text // how long a password counts as just entered
}

func (w *console) signInPage(rw http.ResponseWriter, r *http.Request) {
	needed, err := w.Authority.SetupNeeded(r.Context())
	if err != nil {
		w.failure(rw, r, nil, err)
		return
	}
	if needed {
		http.Redirect(rw, r, "/setup", http.StatusSeeOther)
		return
	}
	q := r.URL.Query()
	next := localNext(q.Get("next"))
	form := signInForm{Next: next, Insecure: insecure(r)}
	form.Ended, form.GoOn = w.endedText(r, q.Get("ended"), next)
	w.render(rw, r, nil, http.StatusOK, page{Name: "sign-in", Title: say("Sign in"), Shell: w.signInShell(), Body: form})
}

// signInShell is what to do without a password.
func (w *console) signInShell() []string {
	return []string{w.command("admin", "reset-password"), w.command("admin", "unlock")}
}

// insecure reports a connection on which a password can be read by others.
func insecure(r *http.Request) bool {
	in := edge.Of(r)
	return !in.TLS && in.Addr.IsValid() && !in.Addr.IsLoopback()
}

func (w *console) signIn(rw http.ResponseWriter, r *http.Request) {
	form := signInForm{Username: r.PostFormValue("username"), Next: localNext(r.PostFormValue("next")), Insecure: insecure(r)}
	in, err := w.Authority.SignIn(r.Context(), authority.Nobody(edge.Of(r).Origin()), form.Username, authority.NewSecret(r.PostFormValue("password")))
	if err != nil {
		w.refuse(rw, r, nil, err, page{Name: "sign-in", Title: say("Sign in"), Shell: w.signInShell(), Body: form})
		return
	}
	w.setSession(rw, r, in)
	http.Redirect(rw, r, form.Next, http.StatusSeeOther)
}

func (w *console) signOut(rw http.ResponseWriter, r *http.Request, a admin) {
	if err := w.Authority.SignOut(r.Context(), a.Caller); err != nil {
		w.failure(rw, r, &a, err)
		return
	}
	w.clearSession(rw, r)
	http.Redirect(rw, r, "/sign-in?ended=bye", http.StatusSeeOther)
}

func (w *console) reauthPage(rw http.ResponseWriter, r *http.Request, a admin) {
	w.render(rw, r, &a, http.StatusOK, page{
		Name: "reauth", Title: say("Enter your password again"), Body: signInForm{Username: a.name, Next: localNext(r.URL.Query().Get("next")), Fresh: spell(w.Policy().StepUp)},
	})
}

func (w *console) reauth(rw http.ResponseWriter, r *http.Request, a admin) {
	form := signInForm{Username: a.name, Next: localNext(r.PostFormValue("next")), Fresh: spell(w.Policy().StepUp)}
	in, err := w.Authority.Reauthenticate(r.Context(), a.Caller, authority.NewSecret(r.PostFormValue("password")))
	if err != nil {
		w.refuse(rw, r, &a, err, page{Name: "reauth", Title: say("Enter your password again"), Body: form})
		return
	}
	w.setSession(rw, r, in)
	http.Redirect(rw, r, form.Next, http.StatusSeeOther)
}

func (w *console) setupPage(rw http.ResponseWriter, r *http.Request) {
	needed, err := w.Authority.SetupNeeded(r.Context())
	if err != nil {
		w.failure(rw, r, nil, err)
		return
	}
	if !needed {
		http.Redirect(rw, r, "/sign-in", http.StatusSeeOther)
		return
	}
	w.render(rw, r, nil, http.StatusOK, page{Name: "setup", Title: say("First sign-in"), Shell: []string{w.command("admin", "create")}, Body: signInForm{Username: "admin", Insecure: insecure(r)}})
}

func (w *console) setup(rw http.ResponseWriter, r *http.Request) {
	form := signInForm{Username: r.PostFormValue("username"), Insecure: insecure(r)}
	in, err := w.Authority.CompleteSetup(r.Context(), authority.Nobody(edge.Of(r).Origin()),
		authority.NewSecret(strings.TrimSpace(r.PostFormValue("code"))), form.Username, authority.NewSecret(r.PostFormValue("password")))
	if err != nil {
		w.refuse(rw, r, nil, err, page{Name: "setup", Title: say("First sign-in"), Shell: []string{w.command("admin", "create")}, Body: form})
		return
	}
	w.setSession(rw, r, in)
	http.Redirect(rw, r, "/tokens", http.StatusSeeOther)
}

// stepUp sends a login whose password is too old to enter it again, and
// reports whether it did.
func (w *console) stepUp(rw http.ResponseWriter, r *http.Request, err error, back string) bool {
	if !errors.Is(err, authority.StepUp) {
		return false
	}
	http.Redirect(rw, r, "/reauth?next="+url.QueryEscape(back), http.StatusSeeOther)
	return true
}

// preferences keeps how pages look and how times read. They are no secrets.
func (w *console) preferences(rw http.ResponseWriter, r *http.Request) {
	for name, allowed := range map[string][]string{"theme": {"system", "light", "dark"}, "times": {"relative", "utc", "local"}, "keys": {"on", "off"}, "language": w.tags()} {
		value := r.PostFormValue(name)
		for _, a := range allowed {
			if value == a {
				http.SetCookie(rw, &http.Cookie{
					Name: "mintmark_" + name, Value: a, Path: "/", MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteStrictMode, Secure: edge.Of(r).TLS, HttpOnly: true,
				})
			}
		}
	}
	http.Redirect(rw, r, localNext(r.PostFormValue("next")), http.StatusSeeOther)
}
