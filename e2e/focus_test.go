package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A dialog that the server drew open gives the focus back to what leads to it, and
// never to the page as a whole: whoever works by keyboard would begin at its top.
func TestEveryDialogGivesTheFocusBack(t *testing.T) {
	idle, rotated := newStage(t, true), newStage(t, true)
	ids := idle.cast(t)
	rotated.rotated(t)
	token, moving := "/tokens/"+string(ids["dfsadmin"]), string(rotated.made["billing"].ID)
	for _, of := range []struct {
		stage *stage
		paths []string
	}{
		{idle, []string{"/tokens/new", token + "/delete", token + "/replace", "/secret/rotate", "/secret/reset"}},
		{rotated, []string{"/secret/extend", "/secret/trial", "/secret/stop", "/secret/contact/" + moving}},
	} {
		a := newSitter(t, of.stage, "")
		for _, path := range of.paths {
			t.Run(path, func(t *testing.T) {
				a.show(t, scene{path: path})
				a.do(t, chromedp.KeyEvent(kb.Escape))
				a.becomes(t, `!document.querySelector("dialog:modal") && document.activeElement.matches("main a, main button, main summary")`)
			})
		}
	}
}
