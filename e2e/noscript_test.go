package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestTheConsoleWorksWithoutScript(t *testing.T) {
	home := startHome(t)
	alpha := home.token(t, "alpha", "admin")
	beta := home.token(t, "beta", "user", "--tag", "team:data")
	someone := withoutScript(t, home.url)

	chapter(t, "sign in", func(t *testing.T) {
		p := someone.in(t)
		p.signIn()
		if evaluate[bool](p, `document.documentElement.classList.contains("js")`) {
			t.Fatal("the page's script has run")
		}
	})
	chapter(t, "the gear leads to the menu, the menu to the list", func(t *testing.T) {
		p := someone.in(t)
		p.leads(`document.getElementById("manage")`)
		p.sees("main h1", "Manage")
		p.leads(`document.querySelector("main a[href='/tokens']")`)
		p.sees("main h1", "API Tokens")
	})
	chapter(t, "filter and sort", func(t *testing.T) { filtersAndSorts(someone.in(t)) })
	chapter(t, "create", func(t *testing.T) {
		p := someone.in(t)
		home.accepts(t, "Bearer "+p.newToken("gamma", "user", map[string]string{"tags": "team:data"}), "gamma")
		p.follow("Done")
		listShows(p, "gamma", "User", "team:data", "in 90 days")
	})
	chapter(t, "a mistake keeps what was typed", func(t *testing.T) {
		p := someone.in(t)
		p.follow("New API Token")
		p.fill("f-client_id", "data team")
		p.press("More")
		p.fill("f-description", "kept")
		if status := p.status(named("Create")); status != 422 {
			t.Errorf("a wrong client ID answers %d", status)
		}
		p.sees("[role=alert]", "1 field needs attention")
		if got := p.value("f-client_id") + "/" + p.value("f-description"); got != "data team/kept" {
			t.Errorf("the form holds %s", got)
		}
	})
	chapter(t, "reveal", func(t *testing.T) {
		p := someone.in(t)
		p.open("/tokens")
		p.follow("Copy token of alpha")
		p.sees("dialog[open] h2", "Token of alpha")
		if p.held(`dialog[open] textarea`) != alpha {
			t.Error("what is shown is not the token")
		}
	})
	chapter(t, "delete and restore", func(t *testing.T) {
		p := someone.in(t)
		p.open("/tokens")
		p.follow("Delete token of beta")
		p.sees("dialog[open]", "Delete the token of beta?")
		p.follow("Delete token")
		p.sees(".notice", "The token of beta was deleted.")
		home.rejects(t, "Bearer "+beta)
		p.follow("Restore")
		p.sees(".notice", "The token of beta works again.")
		home.accepts(t, "Bearer "+beta, "beta")
	})
	chapter(t, "stage, review and apply a property", func(t *testing.T) {
		p := someone.in(t)
		p.open("/settings")
		p.fill("p-tokens.lifetime.default", "30d")
		p.follow("Stage tokens.lifetime.default")
		p.sees(".notice", "Staged. Nothing runs differently until you apply it.")
		p.follow("Review and apply")
		p.sees("dialog[open]", "tokens.lifetime.default", "30d", "at once")
		p.follow("Apply now")
		p.sees(".notice", "Applied.")
		p.newToken("delta", "user", nil)
		p.follow("Done")
		listShows(p, "delta", "in 30 days")
	})
	chapter(t, "reset the signing secret, sign in again, sign out", func(t *testing.T) { resetsAndLeaves(someone.in(t), home, alpha) })
	someone.scripts(true)
	someone.open("/sign-in")
	someone.clean("status of 422")
}

// held is what the field that a CSS selector finds holds.
func (p *person) held(css string) string {
	p.t.Helper()
	return ask(p.t, p.browser, chromedp.Value(chromedp.CSS(css)))
}

// clients are the client IDs in the list, in its order.
func (p *person) clients() string {
	p.t.Helper()
	return evaluate[string](p, `[...document.querySelectorAll("table.list tbody th bdi")].map(e => e.textContent).join(" ")`)
}

func filtersAndSorts(p *person) {
	p.t.Helper()
	shows := func(what, want string) {
		p.t.Helper()
		if got := p.clients(); got != want {
			p.t.Errorf("%s: the list shows %q, want %q", what, got, want)
		}
	}
	shows("at first", "alpha beta")
	p.follow("Client ID ▲")
	shows("descending", "beta alpha")
	p.follow("Access")
	shows("by access", "alpha beta")
	const search chromedp.JSPath = `document.querySelector("[role=search] button")`
	p.fill("search", "team:data")
	p.leads(search)
	shows("by tag", "beta")
	p.open("/tokens")
	p.choose("select[name=role]", "Admin")
	p.leads(search)
	shows("by role", "alpha")
	p.open("/tokens")
	p.choose("select[name=state]", "expired")
	p.leads(search)
	shows("by state", "")
	p.sees("main", "Nothing matches")
}

func resetsAndLeaves(p *person, h home, token string) {
	p.t.Helper()
	host, err := os.Hostname()
	if err != nil {
		p.t.Fatal(err)
	}
	p.open("/secret")
	p.follow("Reset without overlap (leak)")
	p.sees("dialog[open]", "yours included")
	p.fill("f-confirm", host)
	p.follow("Reset signing secret")
	p.sees("main", "The signing secret was reset, so all sign-ins ended.")
	h.rejects(p.t, "Bearer "+token)
	p.signIn()
	p.leads(`document.getElementById("manage")`)
	p.leads(`[...document.querySelectorAll("main button")].find(b => b.innerText.trim() === "Sign out")`)
	p.sees("h1", "Sign in")
	p.open("/tokens")
	if path := p.path(); !strings.HasPrefix(path, "/sign-in") {
		p.t.Errorf("after signing out %s opens", path)
	}
	if cookie := p.cookie("mintmark_session"); cookie != "" {
		p.t.Error("the session's cookie is still there")
	}
}
