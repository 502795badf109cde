package message_test

import (
	"encoding/json"
	"html/template"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/message"
)

const expire = "{n, plural, =0 {Nothing expires} one {# token expires} other {# tokens expire}} within 14 days"

// catalogue has a few messages, and Polish for some of them, which has four forms.
func catalogue(t *testing.T) *message.Catalogue {
	t.Helper()
	english := message.File{Language: "en", Name: "English"}
	for _, key := range []string{
		"Search", "any ## a role", "any ## a result", expire, "Token of {client}", "Not lost: <a>show <b>all</b></a>", "{who, select, none {Nobody} admin {The boss} other {{who}}} did it",
		"in {time}", "Some '{'words'}' aren''t '<'here", "The end.",
	} {
		text, note := message.Split(key)
		english.Messages = append(english.Messages, message.Entry{English: text, Note: note})
	}
	c, err := message.New(english, polish())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func polish() message.File {
	return message.File{Language: "pl", Name: "Polski", Messages: []message.Entry{
		{English: "Search", Translation: "Szukaj"},
		{English: "any", Note: "a role", Translation: "dowolna"},
		{English: "any", Note: "a result", Translation: "dowolny"},
		{English: "Token of {client}", Translation: "{client}: token"},
		{English: "Not lost: <a>show <b>all</b></a>", Translation: "<a>Pokaż <b>wszystko</b></a>"},
		{English: expire, Translation: "W ciągu 14 dni {n, plural, =0 {nic nie wygasa} one {wygasa # token} few {wygasają # tokeny} many {wygasa # tokenów} other {wygasa # tokena}}"},
		{English: "in {time}", Translation: "za {time}"},
	}}
}

func language(t *testing.T, tag string) *message.Language {
	t.Helper()
	for _, l := range catalogue(t).All() {
		if l.Tag == tag {
			return l
		}
	}
	t.Fatal("there is no " + tag)
	return nil
}

func TestATextIsWrittenInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	many := uint64(12345)
	for _, c := range []struct {
		text   message.Text
		en, pl string
	}{
		{message.Say("Search"), "Search", "Szukaj"},
		{message.Say("any ## a role"), "any", "dowolna"},
		{message.Say("any ## a result"), "any", "dowolny"},
		{message.Say(expire, "n", 0), "Nothing expires within 14 days", "W ciągu 14 dni nic nie wygasa"},
		{message.Say(expire, "n", 1), "1 token expires within 14 days", "W ciągu 14 dni wygasa 1 token"},
		{message.Say(expire, "n", 3), "3 tokens expire within 14 days", "W ciągu 14 dni wygasają 3 tokeny"},
		{message.Say(expire, "n", &many), "12,345 tokens expire within 14 days", "W ciągu 14 dni wygasa 12\u00a0345 tokenów"},
		{message.Say("Token of {client}", "client", "a<b"), "Token of a<b", "a<b: token"},
		{message.Say("{who, select, none {Nobody} admin {The boss} other {{who}}} did it", "who", ""), "Nobody did it", "Nobody did it"},
		{message.Say("{who, select, none {Nobody} admin {The boss} other {{who}}} did it", "who", "admin"), "The boss did it", "The boss did it"},
		{message.Say("{who, select, none {Nobody} admin {The boss} other {{who}}} did it", "who", "eve"), "eve did it", "eve did it"},
		{message.Say("in {time}", "time", message.Say("Search")), "in Search", "za Szukaj"},
		{message.Say("in {time}", "time", message.Verbatim("Search")), "in Search", "za Search"},
		{message.Say("Some '{'words'}' aren''t '<'here"), "Some {words} aren't <here", "Some {words} aren't <here"},
		{message.Say("Not in the catalogue: {n}", "n", 2000), "Not in the catalogue: 2,000", "Not in the catalogue: 2\u00a0000"},
		{message.Verbatim("Search"), "Search", "Search"},
		{message.Told("Search"), "Search", "Szukaj"},
		{nil, "", ""},
	} {
		if got := language(t, "en").String(c.text); got != c.en {
			t.Errorf("en: %q, want %q", got, c.en)
		}
		if got := language(t, "pl").String(c.text); strings.ReplaceAll(got, "\u202f", "\u00a0") != c.pl {
			t.Errorf("pl: %q, want %q", got, c.pl)
		}
	}
}

func TestOnlyTheTagsOfAMessageAreMarkup(t *testing.T) {
	t.Parallel()
	en := language(t, "en")
	link := message.NewAttributes("href", `/tokens?q="><script>`, "class", "id")
	for _, c := range []struct {
		text message.Text
		want any
	}{
		{message.Say("Token of {client}", "client", "<b>"), "Token of <b>"}, // a string, which the template escapes
		{message.Say("Not lost: <a>show <b>all</b></a>", "a", link), template.HTML(`Not lost: <a href="/tokens?q=&#34;&gt;&lt;script&gt;" class="id">show <b>all</b></a>`)},
		{message.Say("<b>{client}</b> & co", "client", "<script>"), template.HTML(`<b>&lt;script&gt;</b> &amp; co`)},
		{message.Say("<b>{client}</b>", "client", message.Say("Token of {client}", "client", "<i>")), template.HTML(`<b>Token of &lt;i&gt;</b>`)},
		{message.Say("{icon} {client}", "icon", template.HTML("<hr>"), "client", "<i>"), template.HTML(`<hr> &lt;i&gt;`)},
	} {
		if diff := cmp.Diff(c.want, en.Write(c.text)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for _, address := range []string{"https://elsewhere.example", "javascript:alert(1)", "//elsewhere.example", `/\elsewhere.example`} {
		if got := message.NewAttributes("href", address); got != ` href="#"` {
			t.Errorf("a link to %s became %s", address, got)
		}
	}
}

func TestEnglishThatIsNotTranslatedIsMarkedAsEnglish(t *testing.T) {
	t.Parallel()
	if got := language(t, "pl").Write(message.Told("A <name>.")); got != template.HTML(`<span lang="en" dir="auto">A &lt;name&gt;.</span>`) {
		t.Errorf("%v", got)
	}
	if got := language(t, "en").Write(message.Told("A <name>.")); got != "A <name>." {
		t.Errorf("%v", got)
	}
}

func TestPseudoLanguagesKeepWhatIsFilledIn(t *testing.T) {
	t.Parallel()
	got := language(t, "en-XA").Write(message.Say("Not lost: <a>show <b>all</b></a>", "a", message.NewAttributes("href", "/tokens")))
	if want := template.HTML(`[Ñöţ ļöšţ: <a href="/tokens">šĥöŵ <b>åļļ</b></a> öñé ţŵö]`); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := language(t, "en-XA").String(message.Say(expire, "n", 2)); !strings.HasPrefix(got, "[2 ţöķéñš éẋþîŕé ŵîţĥîñ 14 ðåýš ") {
		t.Error(got)
	}
	if got := language(t, "ar-XB").String(message.Say("Token of {client}", "client", "web-1")); got != "\u202eToken\u202c \u202eof\u202c \u2068web-1\u2069" {
		t.Errorf("%q", got)
	}
}

func TestALanguageIsChosenOrAskedFor(t *testing.T) {
	t.Parallel()
	c := catalogue(t)
	for _, of := range []struct{ chosen, accept, want string }{
		{"", "", "en"},
		{"", "pl-PL,pl;q=0.9,en;q=0.8", "pl"},
		{"", "fr, en;q=0.5", "en"},
		{"", "ja", "en"},
		{"", "en-XA", "en"},
		{"", ";;;", "en"},
		{"en-XA", "pl", "en-XA"},
		{"en", "pl", "en"},
		{"xx", "pl", "pl"},
	} {
		if got := c.Choose(of.chosen, of.accept); got.Tag != of.want {
			t.Errorf("chosen %q, accepted %q: %s, want %s", of.chosen, of.accept, got.Tag, of.want)
		}
	}
	if real := c.Real(); len(real) != 2 || real[0].Tag != "en" {
		t.Errorf("%d languages are real", len(real))
	}
}

func TestWhatIsWrongWithATranslationIsSaid(t *testing.T) {
	t.Parallel()
	if faults := catalogue(t).Faults(polish()); len(faults) > 0 {
		t.Error(faults)
	}
	for text, want := range map[string]string{
		"Token":                 `the translation has [], English [{client}]`,
		"Token {client} {more}": `the translation has [{client} {more}], English [{client}]`,
		"<b>Token</b> {client}": `the translation has [<b> {client}], English [{client}]`,
		"Token {client":         `a placeholder is not closed`,
	} {
		f := message.File{Language: "pl", Messages: []message.Entry{{English: "Token of {client}", Translation: text}}}
		faults := catalogue(t).Faults(f)
		if !slices.ContainsFunc(faults, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("of %q it is said %q, not %q", text, faults, want)
		}
	}
	lacking := message.File{Language: "pl", Messages: []message.Entry{{English: expire, Translation: "{n, plural, one {wygasa # token} few {wygasają # tokeny} other {wygasa # tokena}}"}}}
	if faults := catalogue(t).Faults(lacking); len(faults) != 1 || !strings.Contains(faults[0], "the plural form many is missing") {
		t.Error(faults)
	}
	gone := message.File{Language: "pl", Messages: []message.Entry{{English: "Find", Translation: "Szukaj"}}}
	if faults := catalogue(t).Faults(gone); len(faults) != 1 || !strings.Contains(faults[0], "in no page any more") {
		t.Error(faults)
	}
}

func TestAMessageThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{n":                           "a placeholder is not closed",
		"{}":                           "no name of a placeholder",
		"a}":                           `"}" is not opened`,
		"{n, date}":                    "neither plural nor select",
		"{n, plural, one {a}}":         "has no case other",
		"{n, plural, lots {a}}":        `"lots" is no case`,
		"{n, plural, one {a":           "is not closed",
		"<b>a":                         "<b> is not closed",
		"<b>a</a>":                     "</a> closes <b>",
		"<script>a</script>":           "no element that a message may have",
		"{n, select, a {<b>} other {}": "<b> is not closed",
	} {
		_, err := message.New(message.File{Language: "en", Messages: []message.Entry{{English: text}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of %q it is said %v, not %q", text, err, want)
		}
	}
}

func TestAScriptSaysWhatTheCatalogueSays(t *testing.T) {
	t.Parallel()
	script := []byte(`if (a) say("Search"); else b(say("Token of {client}", { client }), unsay("Search"), say("any ## a role"), say(x));`)
	if diff := cmp.Diff([]string{"Search", "Token of {client}", "any ## a role"}, message.ScriptKeys(script)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	want := `if (a) say("Search"); else b(say("Token of {client}", { client }), unsay("Search"), say("any"), say(x));`
	if got := string(language(t, "en").Script(script)); got != want {
		t.Errorf("en: %s", got)
	}
	want = `if (a) say("[Šéåŕçĥ öñ]"); else b(say("[Ţöķéñ öƒ {client} öñé]", { client }), unsay("Search"), say("[åñý ö]"), say(x));`
	if got := string(language(t, "en-XA").Script(script)); got != want {
		t.Errorf("en-XA: %s", got)
	}
}

// FuzzMessage holds that a message that was read can be written, in any language, and
// read again from what a script gets.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"Search", expire, "Not lost: <a>show <b>all</b></a>", "it''s '{'{n}'}' '<b'", "{who, select, none {Nobody} other {{who, plural, =1 {#} other {'#'}}}}", "{a"} {
		f.Add(seed, "web-1", 2)
	}
	f.Fuzz(func(t *testing.T, english, who string, n int) {
		c, err := message.New(message.File{Language: "en", Messages: []message.Entry{{English: english}}})
		if err != nil {
			return
		}
		args := []any{"who", who, "n", n, "client", who, "a", message.NewAttributes("href", who)}
		for _, l := range c.All() {
			l.Write(message.Say(english, args...))
			l.String(message.Say(english, args...))
		}
		call, err := json.Marshal(english)
		if err != nil || strings.Contains(english, " ## ") {
			return
		}
		keys := message.ScriptKeys(c.All()[1].Script([]byte("say(" + string(call) + ")")))
		if len(keys) != 1 {
			t.Fatalf("%q is not one message in a script", english)
		}
		if _, err := message.New(message.File{Language: "en", Messages: []message.Entry{{English: keys[0]}}}); err != nil {
			t.Errorf("%q became %q, which cannot be read: %v", english, keys[0], err)
		}
	})
}
