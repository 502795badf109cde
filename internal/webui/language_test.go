package webui_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mintmark/internal/authority"
)

// reads makes the visitor choose a language.
func (v *visitor) reads(tag string) {
	v.t.Helper()
	if status, _ := v.send("/preferences", url.Values{"language": {tag}}); status.StatusCode != http.StatusOK {
		v.t.Fatalf("choosing %s answered %d", tag, status.StatusCode)
	}
}

func TestAPageIsInTheLanguageThatWasChosen(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	h.issue(t, authority.TokenRequest{ClientID: "web-1", Role: "user"})
	_, body := v.get("/tokens")
	shows(t, body, `<html lang="en" data-theme`, "<h1>API Tokens</h1>", ">1 active</a>")
	files, err := filepath.Glob("languages/*.json")
	if err != nil || strings.Contains(body, `name="language"`) != (len(files) > 1) {
		t.Errorf("of %d languages the menu does not offer what there is: %v", len(files), err)
	}
	v.reads("en-XA")
	_, body = v.get("/tokens")
	shows(t, body, `<html lang="en-XA" data-theme`, "<h1>[ÅÞÎ Ţöķéñš öñé]</h1>", ">[1 åçţîṽé öñ]</a>", `aria-label="[Ðéļéţé ţöķéñ öƒ web-1 öñé ţŵ]"`)
	shows(t, body, `name="language" value="en"`, `name="language" value="en-XA" lang="en-XA" data-chosen`) // the way back
	lacks(t, body, "ar-XB")
	v.reads("ar-XB")
	_, body = v.get("/tokens")
	shows(t, body, `<html lang="ar-XB" dir="rtl" data-theme`, "\u202eTokens\u202c</h1>", "\u2068web-1\u2069")
	v.reads("xx") // is not there
	if _, body = v.get("/tokens"); !strings.Contains(body, `lang="ar-XB"`) {
		t.Error("a language that is not there was taken")
	}
}

func TestScriptsSpeakTheLanguageOfTheirPage(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	folder := func() string {
		_, body := v.get("/tokens")
		return regexp.MustCompile(`src="(/static/[^"]*)/console\.js"`).FindStringSubmatch(body)[1]
	}
	english := folder()
	v.reads("en-XA")
	accented := folder()
	if english == accented {
		t.Fatal("both languages have their scripts at", english)
	}
	if _, script := v.get(english + "/find.js"); !strings.Contains(script, "That does not look like a token.") {
		t.Error("the script says no English")
	}
	_, script := v.get(accented + "/find.js")
	shows(t, script, "Ţĥåţ ðöéš ñöţ ļööķ ļîķé å ţöķéñ.")
	if _, sheet := v.get(accented + "/console.css"); !strings.Contains(sheet, "--") {
		t.Error("the style sheet is not there in another language")
	}
}

// What other rooms say in English has its translation, or is marked as English.
func TestErrorsOfTheRulesAreTranslated(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	v.reads("en-XA")
	_, body := v.post("/tokens/new", url.Values{"client_id": {"a"}, "role": {"user"}, "tags": {"x"}, "expires": {"date"}, "key": {"1"}})
	shows(t, body, "[Çĥööšé å ðåţé. ")
	_, body = v.post("/tokens/new", url.Values{"client_id": {"a"}, "role": {"user"}, "tags": {"x"}, "expires": {"90"}, "key": {"1"}})
	shows(t, body, `<span lang="en" dir="auto">`)
	_, body = v.get("/nowhere")
	shows(t, body, "[Þåĝé ñöţ ƒöûñð ")
}
