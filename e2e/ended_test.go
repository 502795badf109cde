package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

func TestTheOtherAdministratorIsToldWhyTheSessionEnded(t *testing.T) {
	home := startHome(t)
	first, second := visitor(t, home.url), visitor(t, home.url)
	home.manager(t, "admin", "create", "second", "--password-file", write(t, t.TempDir()+"/password", adminPassword))
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	foreign := home.token(t, "of-the-first-secret", "admin")
	for name, click := range map[string]func(*person){
		"a link":           func(p *person) { p.follow("Audit log") },
		"copy in the list": func(p *person) { p.follow("Copy token of dfsadmin") },
		"paste to find": func(p *person) {
			p.do(p.t, chromedp.Focus(field("search")), command(input.InsertText, input.InsertTextParams{Text: foreign}))
		},
		"create": func(p *person) {
			p.press("New API Token")
			p.fill("f-client_id", "late")
			p.follow("Create")
		},
	} {
		t.Run(fmt.Sprintf("when the next click is %s", name), func(t *testing.T) {
			home.token(t, "dfsadmin", "admin")
			one, other := first.in(t), second.in(t)
			one.signInAs("second")
			other.signIn()
			one.open("/secret")
			one.follow("Reset without overlap (leak)")
			one.fill("f-confirm", host)
			one.follow("Reset signing secret")
			one.sees("main", "The signing secret was reset, so all sign-ins ended.")
			click(other)
			other.sees("main", "The signing secret was reset, so all sign-ins ended.")
		})
	}
	first.clean()
	second.clean()
}
