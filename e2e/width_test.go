package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// across runs the home's manager at a terminal of so many columns.
func (h home) across(t *testing.T, columns, code int, args ...string) *screen {
	t.Helper()
	command := exec.Command("sh", "-c", fmt.Sprintf(`stty rows 200 cols %d; exec "$@"`, columns), "sh", filepath.Join(h.dir, "manager"))
	command.Args = append(command.Args, args...)
	command.Env = append(os.Environ(), "PAGER=")
	s := startScreen(t, command)
	s.ends(code)
	return s
}

// within demands that no line is wider than the terminal.
func within(t *testing.T, columns int, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
			t.Errorf("%d of %d columns: %s", n, columns, line)
		}
	}
}

// A table is as wide as the terminal, and says the same; no word is broken, and
// what goes to a file is as it was.
func TestATableFitsTheTerminal(t *testing.T) {
	home := startHome(t)
	id := home.refusedAs(t, home.token(t, "etl", "user", "--tag", "team:data"), "role=admin")
	inspect := []string{"token", "inspect", "--request", id}
	wide := home.run(t, inspect...)
	if wide.code != 10 || !regexp.MustCompile(`(?m)^role +problem +user, wanted admin +The service asks for another role`).MatchString(wide.out) {
		t.Fatalf("without a terminal: %d %s", wide.code, wide.out)
	}
	what := strings.NewReplacer("WHAT TO DO", "", "–", "") // a column, or below
	for _, columns := range []int{80, 100, 300} {
		s := home.across(t, columns, 10, inspect...)
		_, table, found := strings.Cut(s.lines(), "CHECK ")
		if !found {
			t.Fatalf("no table:\n%s", s.lines())
		}
		within(t, columns, "CHECK "+table)
		if diff := cmp.Diff(words(what.Replace(wide.out)), words(what.Replace("CHECK "+table))); diff != "" {
			t.Errorf("at %d columns (-want +got):\n%s", columns, diff)
		}
		if column := strings.Contains(table, "WHAT TO DO"); column != (columns == 300) {
			t.Errorf("at %d columns what to do is a column: %v", columns, column)
		}
	}
}

func words(text string) []string {
	all := strings.Fields(text)
	slices.Sort(all)
	return all
}

const longName = "payments-reconciliation-nightly-eu-west-1"

// longNames is a home with a token of a long name and two tags that is used before
// and after the secret is rotated, and one that nobody used; it answers the id of the
// first.
func longNames(t *testing.T) (home, string) {
	t.Helper()
	home := startHome(t)
	home.configure(t, "server.trusted_proxies", "127.0.0.1")
	token := home.token(t, longName, "user", "--tag", "team:data", "--tag", "env:production", "--expires", "9d")
	useToken(t, home, token, "198.51.100.104")
	home.token(t, "ci", "admin")
	home.manager(t, "key", "rotate", "--overlap", "14d")
	useToken(t, home, token, "198.51.100.104")
	return home, strings.TrimSpace(home.manager(t, "token", "list", "--client-id", longName, "--no-headers", "--columns", "id"))
}

// Names and ids are whole, as they are copied; what does not fit beside them is
// left out in order, and said to be.
func TestAListLeavesOutWhatATerminalHasNoRoomFor(t *testing.T) {
	home, id := longNames(t)
	key := strings.Fields(home.manager(t, "key", "list", "--no-headers", "--columns", "kid"))[0]
	for name, c := range map[string]struct {
		columns int
		args    []string
		heads   []string
		whole   []string
		said    string
	}{
		"tokens at 80": {
			80,
			[]string{"token", "list"},
			[]string{"CLIENT ID", "ID", "LAST USED", "STATE"},
			[]string{longName, id[:12], "198.51.100.104", "expires"},
			"No room for KEY, TAGS, 24H, ROLE, EXPIRES; --columns shows them.",
		},
		"tokens at 120": {
			120,
			[]string{"token", "list"},
			[]string{"CLIENT ID", "ID", "ROLE", "TAGS", "LAST USED", "24H", "EXPIRES", "STATE"},
			[]string{longName, id[:12], "team:data,", "env:production", "198.51.100.104"},
			"No room for KEY; --columns shows them.",
		},
		"tokens at 160": {
			160,
			[]string{"token", "list"},
			[]string{"CLIENT ID", "ID", "KEY", "ROLE", "TAGS", "LAST USED", "24H", "EXPIRES", "STATE"},
			[]string{longName, id[:12], "team:data, env:production", "expires soon"},
			"",
		},
		"tokens at 80, quietly": {80, []string{"token", "list", "-q"}, []string{"CLIENT ID", "ID", "LAST USED", "STATE"}, []string{longName}, ""},
		"a log at 80": {
			80,
			[]string{"audit", "list", "--action", "token."},
			[]string{"TIME", "ACTOR", "ACTION", "TARGET", "FROM", "OUTCOME"},
			[]string{longName[:11], "token.created", "local"},
			"",
		},
		"a log at 140": {
			140,
			[]string{"audit", "list", "--action", "token."},
			[]string{"TIME", "ACTOR", "ACTION", "TARGET", "FROM", "OUTCOME"},
			[]string{longName, id[:12], "local"},
			"",
		},
		"keys at 80":  {80, []string{"key", "list"}, []string{"NAME", "KEY", "STATE", "ALG", "CREATED", "SIGNS SINCE", "UNTIL"}, []string{"key_"}, "No room for KID; --columns shows them."},
		"keys at 120": {120, []string{"key", "list"}, []string{"NAME", "KEY", "STATE", "ALG", "CREATED", "SIGNS SINCE", "UNTIL", "KID"}, []string{key}, ""},
		"the evidence at 80": {
			80,
			[]string{"key", "evidence", "-q"},
			[]string{"CLIENT ID", "ID", "STATE", "LAST UNDER"},
			[]string{longName, id[:12], "198.51.100.104"},
			"",
		},
		"the evidence at 120": {
			120,
			[]string{"key", "evidence", "-q"},
			[]string{"CLIENT ID", "ID", "STATE", "LAST UNDER", "LAST UNDER", "CONTACT", "IN TRIAL"},
			[]string{longName, id[:12], "198.51.100.104"},
			"",
		},
		"what was asked for": {
			80, []string{"token", "list", "--columns", "id,key,tags"}, []string{"ID", "KEY", "TAGS"}, []string{"team:data, env:production"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := home.across(t, c.columns, 0, c.args...)
			text := s.lines()
			within(t, c.columns, text)
			head, _, _ := strings.Cut(text, "\n")
			if diff := cmp.Diff(c.heads, regexp.MustCompile(" {2,}").Split(head, -1)); diff != "" {
				t.Errorf("the columns (-want +got):\n%s", diff)
			}
			for _, part := range c.whole {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not on the screen:\n%s", part, text)
				}
			}
			if said := strings.Contains(text, "No room for"); said != (c.said != "") || !strings.Contains(s.text(), "\x1b[2m"+c.said+"\x1b[0m") && said {
				t.Errorf("it does not say %q, dim:\n%q", c.said, s.text())
			}
		})
	}
}

// Of what has no room only the beginning is shown, and it is said where the whole is.
func TestAnEntryOfTheLogIsOneLine(t *testing.T) {
	home, id := longNames(t)
	list := []string{"audit", "list", "--action", "token.created"}
	s := home.across(t, 80, 0, list...)
	text := s.lines()
	within(t, 80, text)
	if entries := regexp.MustCompile(`(?m)^20[0-9-]+ [0-9:]+Z  \S+ +token\.created  \S.*  local  ok$`).FindAllString(text, -1); len(entries) != 2 || strings.Count(text, "\n") != 4 {
		t.Errorf("two entries and what is said about them are:\n%s", text)
	}
	if !strings.Contains(text, longName[:11]) || strings.Contains(text, longName) || !strings.Contains(text, "…") || !strings.Contains(text, "TARGET; -o tsv has the whole.") {
		t.Errorf("a long name is not cut short, or that is not said:\n%s", text)
	}
	if whole := home.manager(t, append(list, "-o", "tsv")...); !strings.Contains(whole, "\t"+longName+"\t"+id+"\t") {
		t.Errorf("in a file:\n%s", whole)
	}
	if asked := home.across(t, 80, 0, append(list, "--columns", "target,number")...).lines(); !strings.Contains(asked, longName+" "+id[:12]) {
		t.Errorf("asked for:\n%s", asked)
	}
}

// A command that is broken over two lines cannot be copied.
func TestDoctorBreaksNoCommand(t *testing.T) {
	home := startHome(t)
	home.manager(t, "config", "properties", "set", "tokens.lifetime.default", "30d")
	for _, columns := range []int{44, 80, 120} {
		text := home.across(t, columns, 10, "doctor").lines()
		within(t, columns, regexp.MustCompile(`\S*/\S+`).ReplaceAllString(text, "PATH"))
		for _, command := range []string{"manager config apply", "manager config discard"} {
			if !strings.Contains(text, command) {
				t.Errorf("at %d columns %q is broken:\n%s", columns, command, text)
			}
		}
	}
	if wide := home.across(t, 400, 10, "doctor").lines(); !strings.Contains(wide, "WHAT TO DO") {
		t.Errorf("with room for it, there is no column of what to do:\n%s", wide)
	}
}

// Help breaks between words, below where it began, and says the same as in a pipe.
func TestHelpFitsTheTerminal(t *testing.T) {
	home := install(t)
	for _, name := range commandTree(t, filepath.Join(home.dir, "manager")) {
		group, _, _ := strings.Cut(name, " ")
		for _, args := range [][]string{append(strings.Fields(name), "-h"), {"help", group}} {
			text := home.across(t, 80, 0, args...).lines()
			before, rest, _ := strings.Cut(text, "\nExamples:\n")
			_, after, _ := strings.Cut(rest, "\n\n")
			within(t, 80, before+"\n"+after)
			if diff := cmp.Diff(words(home.run(t, args...).out), words(text)); diff != "" {
				t.Errorf("%s (-in a pipe +at a terminal):\n%s", args, diff)
			}
		}
	}
	if text := home.across(t, 80, 0, "--help").lines(); !strings.Contains(text, "\n              needs attention\n") {
		t.Errorf("what is said of doctor does not go on below where it began:\n%s", text)
	}
}

// A person is told that there is nothing and what to do about it; a program reads a
// list of nothing.
func TestAnEmptyListSaysSo(t *testing.T) {
	home := install(t)
	for want, args := range map[string][]string{
		"No tokens. Make one: manager token create --client-id NAME\n": {"token", "list", "--sort", "role"},
		"No token matches.\n": {"token", "list", "--tag", "team:data"},
		"No administrators. Make one: manager admin create\n": {"admin", "list"},
		"No entry matches.\n": {"audit", "list", "--action", "token."},
	} {
		want = strings.Replace(want, "manager", filepath.Join(home.dir, "manager"), 1)
		if got := home.across(t, 80, 0, args...).lines(); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
		if got := home.run(t, args...); got.code != 0 || strings.Count(got.out, "\n") != 1 || strings.HasPrefix(got.out, "No ") {
			t.Errorf("%s, in a pipe: %q", args, got.out)
		}
		if got := home.run(t, append(args, "-o", "json")...); got.code != 0 || !strings.Contains(got.out, `"items": []`) {
			t.Errorf("%s, for a program: %q", args, got.out)
		}
	}
}

// Where it is no terminal, a list has every column, and every value is whole.
func TestNothingIsLeftOutWithoutATerminal(t *testing.T) {
	home, id := longNames(t)
	for _, output := range []string{"table", "tsv"} {
		got := home.run(t, "token", "list", "-o", output)
		if got.code != 0 || strings.Contains(got.err, "No room") {
			t.Fatalf("%s: %d %s", output, got.code, got.err)
		}
		for _, part := range []string{longName, id, "team:data,env:production", "198.51.100.104", "KEY", "24H", "active"} {
			if !strings.Contains(got.out, part) {
				t.Errorf("%s: there is no %q in\n%s", output, part, got.out)
			}
		}
	}
	evidence := home.manager(t, "key", "evidence", "-o", "tsv", "--columns", "id,previous_from,current_from", "--no-headers")
	if !strings.Contains(evidence, id+"\t198.51.100.104\t–\n") {
		t.Errorf("the evidence of %s:\n%s", id, evidence)
	}
}

// What is wrong is red, what wants to be looked at yellow, what is about the rest
// dim: and without colours it is the same.
func TestWordsOfStateHaveAColour(t *testing.T) {
	home := startHome(t)
	home.token(t, longName, "user", "--expires", "9d")
	colours := regexp.MustCompile("\x1b\\[[0-9;]*m")
	figures := regexp.MustCompile(`[0-9.]+`)
	shows := func(code int, want []string, args ...string) {
		t.Helper()
		coloured := home.across(t, 80, code, args...).text()
		for _, part := range want {
			if !strings.Contains(coloured, part) {
				t.Errorf("%s: there is no %q in\n%q", args, part, coloured)
			}
		}
		plain := home.across(t, 80, code, append(args, "--no-color")...).text()
		if colours.MatchString(plain) {
			t.Errorf("%s: there are colours in %q", args, plain)
		}
		// Free space, ages and rates are not the same twice.
		same := func(text string) []string {
			return words(figures.ReplaceAllString(colours.ReplaceAllString(text, ""), "0"))
		}
		if diff := cmp.Diff(same(coloured), same(plain)); diff != "" {
			t.Errorf("%s (-coloured +plain):\n%s", args, diff)
		}
	}
	shows(0, []string{"\x1b[33mexpires\x1b[0m", "\x1b[33msoon\x1b[0m", "\x1b[2mNo room for KEY, TAGS, 24H, ROLE; --columns shows them.\x1b[0m"}, "token", "list")
	shows(10, []string{"  \x1b[33mattention\x1b[0m  "}, "doctor")
	home.kill(t)
	shows(1, []string{"\x1b[31mdead\x1b[0m"}, "status")
	if err := os.WriteFile(filepath.Join(home.dir, "tokens.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	shows(10, []string{"  \x1b[31mproblem\x1b[0m  "}, "doctor")
}
