// Package webui is the console: pages rendered on the server for administrators.
//
// It touches requests and answers; it asks the authority and the control for
// everything else. Every page works without script; script only spares clicks.
//
// The one hard idea: a dialog is a state of a page. The server renders the list
// with the dialog open, script makes it modal, and without script it is simply
// there. One form, one handler, one error path.
//
// A row shows the beginning of a token's id and its glyph, not the end of its
// text. The text would have to be signed for every row of every list, which uses
// the key without an event; and after a rotation it is no longer the text that a
// client holds. Whoever holds a text pastes it into the search.
package webui

import (
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/control"
	"mintmark/internal/edge"
	"mintmark/internal/message"
	"mintmark/internal/refusals"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static/*
var staticFiles embed.FS

// Config is what the console is made of.
type Config struct {
	Authority *authority.Authority
	Live      edge.Decider
	Refusals  *refusals.Log
	Control   control.Controller
	KeepsTLS  func() bool // reports that TLS of this server is there to stay; nil: it is
	Policy    func() authority.Policy
	LoginIdle func() time.Duration
	Now       func() time.Time
	NewKey    func() string // an Idempotency-Key for one form
	Log       *slog.Logger
	Host      string
	Program   string // what people type: "manager", "mintmark"
	Home      string // "" without one
	// Unknown answers what is neither a page nor asked for as one; nil answers 404
	// in text.
	Unknown http.Handler
}

type console struct {
	Config
	languages  *message.Catalogue
	inLanguage map[*message.Language]func() (face, error)
	version    string // of the static files
}

// New makes the console. It is mounted at "/".
func New(c Config) (http.Handler, error) {
	if c.Authority == nil || c.Live == nil || c.Refusals == nil || c.Control == nil || c.Policy == nil || c.LoginIdle == nil || c.Now == nil || c.NewKey == nil || c.Log == nil {
		return nil, errors.New("webui: a member of Config is missing")
	}
	static, err := fs.Sub(staticFiles, "static")
	if err != nil {
		return nil, err
	}
	files, err := readAssets(static)
	if err != nil {
		return nil, err
	}
	w := &console{Config: c, version: files.digest()}
	if w.languages, err = readLanguages(); err != nil {
		return nil, err
	}
	if w.inLanguage, err = w.faces(files); err != nil {
		return nil, err
	}
	if w.Unknown == nil {
		w.Unknown = http.NotFoundHandler()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", w.elsewhere)
	mux.HandleFunc("GET /static/{version}/{file}", w.serveStatic)
	w.openRoutes(mux)
	w.signedRoutes(mux)
	return w.headers(http.NewCrossOriginProtection().Handler(mux)), nil
}

// openRoutes need no login.
func (w *console) openRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /sign-in", w.signInPage)
	mux.HandleFunc("POST /sign-in", w.signIn)
	mux.HandleFunc("GET /setup", w.setupPage)
	mux.HandleFunc("POST /setup", w.setup)
	mux.HandleFunc("POST /preferences", w.preferences)
}

// signedRoutes get the signed-in administrator handed in; there is no other
// way to have one.
func (w *console) signedRoutes(mux *http.ServeMux) {
	for pattern, fn := range map[string]func(http.ResponseWriter, *http.Request, admin){
		"GET /{$}":                  w.home,
		"POST /sign-out":            w.signOut,
		"GET /reauth":               w.reauthPage,
		"POST /reauth":              w.reauth,
		"GET /menu":                 w.menuPage,
		"GET /tokens":               w.tokensPage,
		"GET /tokens/new":           w.newTokenPage,
		"POST /tokens":              w.createToken,
		"POST /tokens/new":          w.createToken,
		"GET /tokens/{id}":          w.tokenPage,
		"POST /tokens/{id}/reveal":  w.revealToken,
		"GET /tokens/{id}/delete":   w.deletePage,
		"POST /tokens/{id}/delete":  w.deleteToken,
		"POST /tokens/{id}/restore": w.restoreToken,
		"GET /tokens/{id}/replace":  w.replacePage,
		"POST /tokens/{id}/replace": w.replaceToken,
		"POST /tokens/{id}/undo":    w.undoReplace,
		"GET /secret":               w.secretPage,
		"GET /secret/rotate":        w.secretDialog("rotate", true),
		"POST /secret/rotate":       w.rotateKey,
		"GET /secret/extend":        w.secretDialog("extend", false),
		"POST /secret/extend":       w.extendKey,
		"GET /secret/trial":         w.secretDialog("trial", false),
		"POST /secret/trial":        w.startTrial,
		"GET /secret/trial/refused": w.trialRefused,
		"POST /secret/trial/end":    w.endTrial,
		"GET /secret/stop":          w.secretDialog("stop", true),
		"POST /secret/stop":         w.stopKey,
		"GET /secret/reset":         w.secretDialog("reset", true),
		"POST /secret/reset":        w.resetSecret,
		"GET /secret/contact/{id}":  w.contactedPage,
		"POST /secret/contact/{id}": w.markContacted,
		"POST /secret/copy/{id}":    w.copyNew,
		"GET /secret/evidence.csv":  w.exportEvidence,
		"GET /explain":              w.explainPage,
		"POST /explain":             w.explain,
		"GET /audit":                w.auditPage,
		"GET /settings":             w.settingsPage,
		"POST /settings/stage":      w.stageSetting,
		"GET /settings/review":      w.reviewPage,
		"POST /settings/apply":      w.applySettings,
		"POST /settings/discard":    w.discardSettings,
		"GET /settings/trial":       w.trialPage,
		"POST /settings/trial":      w.settleTrial,
		"GET /settings/storage":     w.storagePage,
		"GET /status":               w.statusPage,
	} {
		mux.HandleFunc(pattern, w.signedIn(fn))
	}
}

// elsewhere answers where there is no page: a person is told so, once signed in,
// and a program gets no page at all, least of all a redirection to the sign-in.
func (w *console) elsewhere(rw http.ResponseWriter, r *http.Request) {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if reads && strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.signedIn(w.notFound)(rw, r)
		return
	}
	w.Unknown.ServeHTTP(rw, r)
}

// headers sets what holds for every page. The policy leaves no room for inline
// script or style, and none for a script that writes markup.
func (w *console) headers(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if trustworthy(r) {
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
		}
		if edge.Of(r).TLS && w.staysTLS(r) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		r.Body = http.MaxBytesReader(rw, r.Body, 64<<10)
		next.ServeHTTP(rw, r)
	})
}

// trustworthy reports an origin from which browsers take an opener policy; to
// any other they answer it with an error in their log (HTML section 7.1.3).
func trustworthy(r *http.Request) bool {
	u := url.URL{Host: r.Host}
	addr, err := netip.ParseAddr(u.Hostname())
	return edge.Of(r).TLS || u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}
