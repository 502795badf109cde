package httpapi_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/httpapi"

	"github.com/google/go-cmp/cmp"
)

// reference is the prose of people around the tables of the code.
const reference = "../../docs/api.md"

func TestTheReferenceHoldsTheTables(t *testing.T) {
	h := newHouse(t)
	raw, err := os.ReadFile(reference)
	must(t, err)
	want := string(raw)
	for name, table := range map[string]string{"routes": routeTable(h.api.Routes()), "codes": codeTable()} {
		begin, end := "<!-- "+name+": written by a test -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			t.Fatalf("%s has no place for its %s", reference, name)
		}
		want = before + begin + table + end + after
	}
	if *update {
		must(t, os.WriteFile(reference, []byte(want), 0o644))
	}
	if diff := cmp.Diff(want, string(raw)); diff != "" && !*update {
		t.Errorf("docs/api.md is not current; run: go test ./internal/httpapi -run Reference -update (-code +file):\n%s", diff)
	}
}

func routeTable(routes []httpapi.Route) string {
	who := map[httpapi.Permission]string{
		httpapi.Administrator: "Admin", httpapi.AnyToken: "any valid token", httpapi.Anyone: "anyone", httpapi.Presented: "the token itself",
		httpapi.Verifiers: "Verifier or Admin", httpapi.Owners: "the token's owner, or Admin",
	}
	out := "\n| method and path | who may | what | parameters |\n|---|---|---|---|\n"
	for _, r := range routes {
		method := r.Method
		if method == "" {
			method = "any method"
		}
		var names []string
		for _, p := range slices.Concat(r.Query, r.Headers) {
			names = append(names, "`"+p.Name+"`")
		}
		out += fmt.Sprintf("| `%s %s` | %s | %s | %s |\n", method, r.Path, who[r.Permission], r.Summary, strings.Join(names, " "))
	}
	return strings.ReplaceAll(out, "`any method ", "any method `") + "\n"
}

func codeTable() string {
	out := "\n| status | code | meaning |\n|---|---|---|\n"
	for _, f := range httpapi.Refusals() {
		out += fmt.Sprintf("| %d | `%s` | %s |\n", f.Status, f.Code, f.Means)
	}
	return out + "\n"
}

func TestARefusalHasOneCodeOneStatusAndARoute(t *testing.T) {
	h := newHouse(t)
	var codes []string
	for _, f := range httpapi.Refusals() {
		codes = append(codes, f.Code)
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(codes)))
	if len(sorted) != len(codes) {
		t.Errorf("a code is there twice: %q", codes)
	}
	used := map[string]bool{"path.not_found": true, "method.not_allowed": true} // of no route
	for _, r := range h.api.Routes() {
		for _, f := range r.Refusals() {
			used[f.Code] = true
		}
		for _, code := range r.Refuses {
			if !slices.Contains(codes, code) {
				t.Errorf("%s %s refuses with %s, which is no code", r.Method, r.Path, code)
			}
		}
	}
	if diff := cmp.Diff(sorted, slices.Sorted(maps.Keys(used))); diff != "" {
		t.Errorf("codes and those of the routes (-codes +routes):\n%s", diff)
	}
}

// The rules, the store and the others class their failures in their own rooms.
// Each code that they give is in the table with the status of its kind.
func TestEveryCodeOfTheRulesIsInTheTable(t *testing.T) {
	elsewhere := []string{
		"setup.done", "setup.code_refused", "login.none", // the console's
		"role.insufficient",  // the live set refuses before the rules do
		"id.malformed",       // an id that can be none is as unknown as any
		"role.unknown",       // becomes a field of request.invalid
		"key.secret_missing", // the server does not start
		"caller.not_local",   // a backup is no route
	}
	kinds := make(map[string]int)
	for name, kind := range map[string]authority.Kind{
		"Invalid": authority.Invalid, "Unauthenticated": authority.Unauthenticated, "Forbidden": authority.Forbidden, "StepUp": authority.StepUp,
		"NotFound": authority.NotFound, "Conflict": authority.Conflict, "Throttled": authority.Throttled, "Unavailable": authority.Unavailable,
		"Full": authority.Full,
	} {
		kinds[name] = statusOfKind()[kind]
	}
	table := make(map[string]int)
	for _, f := range httpapi.Refusals() {
		table[f.Code] = f.Status
	}
	forms := []*regexp.Regexp{
		regexp.MustCompile(`fail\((?:authority\.)?(\w+), "([a-z_]+\.[a-z_]+)"`),
		regexp.MustCompile(`kind, code :?= (?:authority\.)?(\w+), "([a-z_]+\.[a-z_]+)"`),
		regexp.MustCompile(`Kind:\s*(?:authority\.)?(\w+),\s*Code:\s*"([a-z_]+\.[a-z_]+)"`),
	}
	found := 0
	for _, room := range []string{"authority", "control", "store/mapstore", "signing", "password"} {
		files, err := filepath.Glob("../" + room + "/*.go")
		must(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			must(t, err)
			for _, form := range forms {
				for _, m := range form.FindAllStringSubmatch(string(source), -1) {
					kind, code := m[1], m[2]
					if kind == "Internal" || slices.Contains(elsewhere, code) || strings.HasPrefix(code, "tags.") {
						continue // internal failures keep their codes to themselves
					}
					found++
					if want, named := kinds[kind]; table[code] == 0 || named && table[code] != want {
						t.Errorf("%s gives %s as %s: the table has it with status %d", file, code, kind, table[code])
					}
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d codes were found: the search is blind", found)
	}
}

// Codes of members are too many for a table; the reference lists them all.
func TestEveryCodeOfAMemberIsInTheReference(t *testing.T) {
	text, err := os.ReadFile(reference)
	must(t, err)
	form := regexp.MustCompile(`(?:FieldError\{(?:Field: )?[^,{}]+,\s*(?:Code: )?|wrong\.add\("\w+", |return bad\()"([a-z_]+\.[a-z_]+)"`)
	found := 0
	for _, pattern := range []string{"../authority/*.go", "../control/*.go", "*.go"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			must(t, err)
			for _, m := range form.FindAllStringSubmatch(string(source), -1) {
				found++
				if !strings.Contains(string(text), "`"+m[1]+"`") {
					t.Errorf("%s gives %s, which docs/api.md does not name", file, m[1])
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d codes were found: the search is blind", found)
	}
}
