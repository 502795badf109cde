package e2e

import (
	"fmt"
	"strings"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

// clipboard sets what the browser answers pages that want to read or write it.
func (p *person) clipboard(read, write cdpbrowser.PermissionSetting) {
	p.t.Helper()
	for name, setting := range map[string]cdpbrowser.PermissionSetting{"clipboard-read": read, "clipboard-write": write} {
		_, err := chromedp.CallBrowser(p.ctx, cdpbrowser.SetPermission, cdpbrowser.SetPermissionParams{
			Permission: &cdpbrowser.PermissionDescriptor{Name: name}, Setting: setting, Origin: p.url,
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// selected is the text that Ctrl+C would copy.
func (p *person) selected() string {
	p.t.Helper()
	return evaluate[string](p, `{const a = document.activeElement; a.value?.slice(a.selectionStart, a.selectionEnd) ?? String(getSelection())}`)
}

// claims is everything on the page that could tell somebody that a copy was made.
func (p *person) claims() string {
	p.t.Helper()
	return evaluate[string](p, `[...document.querySelectorAll("button, [data-said], [role=status]")].filter(e => e.checkVisibility()).map(e => e.innerText).join("\n")`)
}

// honest fails the test when the page claims a copy.
func (p *person) honest() {
	p.t.Helper()
	if claims := strings.ToLower(p.claims()); strings.Contains(claims, "copied") {
		p.t.Errorf("nothing was copied, and the page says:\n%s", claims)
	}
}

func TestCopyingInASecureContext(t *testing.T) {
	home := startHome(t)
	token := home.token(t, "dfsadmin", "admin")
	admin := visitor(t, home.url)
	admin.signIn()
	if !evaluate[bool](admin, `isSecureContext`) {
		t.Fatal("the loopback address is no secure context")
	}
	for _, write := range []cdpbrowser.PermissionSetting{cdpbrowser.PermissionSettingGranted, cdpbrowser.PermissionSettingDenied} {
		t.Run(fmt.Sprintf("the clipboard is %s, from the list", write), func(t *testing.T) {
			p := admin.in(t)
			p.clipboard(cdpbrowser.PermissionSettingGranted, write)
			p.open("/tokens")
			p.press("Copy token of dfsadmin")
			if write == cdpbrowser.PermissionSettingDenied {
				copiesTheOldWay(p, "dfsadmin", token)
				return
			}
			p.sees("#announce", "Token of dfsadmin copied.")
			if got := evaluate[string](p, row("dfsadmin")+`.querySelector("td button").innerText`); got != "Copied" {
				t.Errorf("the button says %q", got)
			}
			if evaluate[string](p, `navigator.clipboard.readText()`) != token {
				t.Error("the clipboard does not hold the token")
			}
		})
		t.Run(fmt.Sprintf("the clipboard is %s, from the dialog of a new token", write), func(t *testing.T) {
			p := admin.in(t)
			p.clipboard(cdpbrowser.PermissionSettingGranted, write)
			fresh := p.newToken("fresh-"+string(write), "user", nil)
			if p.selected() != fresh {
				t.Error("the new token is not selected")
			}
			p.press("Copy")
			p.sees("#result-dialog [data-said]", "Copied.")
			if p.paste() != fresh {
				t.Error("the clipboard does not hold the new token")
			}
		})
	}
	t.Run("commands are copied too", func(t *testing.T) {
		p := admin.in(t)
		p.clipboard(cdpbrowser.PermissionSettingGranted, cdpbrowser.PermissionSettingGranted)
		p.open("/settings/storage")
		command := evaluate[string](p, `document.querySelector(".command pre").textContent`)
		p.press("Copy command")
		p.sees("#announce", "Command copied.")
		if evaluate[string](p, `navigator.clipboard.readText()`) != command || command == "" {
			t.Error("the clipboard does not hold the command")
		}
	})
	t.Run("nothing can be copied: the token is selected and nobody claims more", func(t *testing.T) {
		p := admin.in(t)
		p.clipboard(cdpbrowser.PermissionSettingGranted, cdpbrowser.PermissionSettingDenied)
		p.open("/tokens")
		evaluate[bool](p, `(document.execCommand = () => false, true)`)
		p.press("Copy token of dfsadmin")
		isBlocked(p, token)
	})
	admin.clean()
}

// copiesTheOldWay is what happens when a page may not write to the clipboard: the
// token is shown and selected, and Copy uses the command of old.
func copiesTheOldWay(p *person, clientID, token string) {
	p.t.Helper()
	p.sees("#text-dialog", "Token of "+clientID, "Press Copy, or Ctrl+C (⌘C): the token is selected.")
	if p.selected() != token {
		p.t.Error("the token is not selected")
	}
	p.honest()
	p.press("Copy")
	p.sees("#text-dialog [data-said]", "Copied.")
	p.press("Done")
	p.forgets(token)
	if p.paste() != token {
		p.t.Error("the clipboard does not hold the token")
	}
}

// isBlocked presses Copy where even the command of old is refused.
func isBlocked(p *person, token string) {
	p.t.Helper()
	p.sees("#text-dialog", "Press Copy, or Ctrl+C (⌘C): the token is selected.")
	p.press("Copy")
	p.sees("#text-dialog [data-said]", "Your browser blocked copying. Press Ctrl+C (⌘C) – the token is selected.")
	if p.selected() != token {
		p.t.Error("the token is not selected")
	}
	p.honest()
}

func TestCopyingOnPlainHTTPToANameThatIsNotLocal(t *testing.T) {
	home := startHome(t)
	token := home.token(t, "dfsadmin", "admin")
	elsewhere := strings.Replace(home.url, "127.0.0.1", "tokens.example", 1)
	admin := visitor(t, elsewhere, chromedp.Flag("host-resolver-rules", "MAP tokens.example 127.0.0.1"))
	admin.signIn()
	if evaluate[bool](admin, `isSecureContext || navigator.clipboard !== undefined`) {
		t.Fatal("this origin is a secure context: the test shows nothing")
	}
	t.Run("from the list", func(t *testing.T) {
		p := admin.in(t)
		p.open("/tokens")
		p.press("Copy token of dfsadmin")
		copiesTheOldWay(p, "dfsadmin", token)
	})
	t.Run("from the dialog of a new token", func(t *testing.T) {
		p := admin.in(t)
		fresh := p.newToken("fresh", "user", nil)
		if p.selected() != fresh {
			t.Error("the new token is not selected")
		}
		p.press("Copy")
		p.sees("#result-dialog [data-said]", "Copied.")
		if p.paste() != fresh {
			t.Error("the clipboard does not hold the new token")
		}
	})
	t.Run("commands are copied too", func(t *testing.T) {
		p := admin.in(t)
		p.open("/settings/storage")
		command := evaluate[string](p, `document.querySelector(".command pre").textContent`)
		p.press("Copy command")
		p.sees("#announce", "Command copied.")
		if p.paste() != command || command == "" {
			t.Error("the clipboard does not hold the command")
		}
	})
	t.Run("nothing can be copied: the token is selected and nobody claims more", func(t *testing.T) {
		p := admin.in(t)
		p.open("/tokens")
		evaluate[bool](p, `(document.execCommand = () => false, true)`)
		p.press("Copy token of dfsadmin")
		isBlocked(p, token)
	})
	admin.clean()
}
