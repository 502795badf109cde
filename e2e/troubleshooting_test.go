package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// code is the form of an error code.
var code = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)

// givers are the functions and methods that are handed an error code, and which
// of their arguments it is.
func givers() map[string]int {
	return map[string]int{"fail": 1, "unchanged": 1, "add": 1, "TellFault": 1, "bad": 0}
}

// makers are those that make codes of the field they are handed first.
func makers() map[string][]string {
	return map[string][]string{
		"time": {".form"}, "number": {".form"}, "flag": {".form"}, "duration": {".form"}, "trial": {".form"}, "parseText": {".too_long", ".characters"},
	}
}

// endOfToken are the codes that are made of one of two fields.
func endOfToken() []string {
	return []string{"lifetime.past", "lifetime.range", "lifetime.policy", "expires_at.past", "expires_at.range", "expires_at.policy"}
}

// errorCodes are the codes that the product can answer with, read from its source:
// what stands where an error is made.
func errorCodes(t *testing.T) []string {
	t.Helper()
	found := endOfToken()
	take := func(e ast.Expr, suffix string) {
		if sum, ok := e.(*ast.BinaryExpr); ok { // field + ".form"
			literal, _ := sum.Y.(*ast.BasicLit)
			if literal != nil && strings.HasPrefix(literal.Value, `".`) && !strings.Contains(`".form" ".too_long" ".characters" ".past" ".range" ".policy"`, literal.Value) {
				t.Errorf("this test does not know the codes that end with %s", literal.Value)
			}
			return
		}
		literal, ok := e.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return
		}
		if text, err := strconv.Unquote(literal.Value); err == nil && code.MatchString(text) {
			found = append(found, text+suffix)
		}
	}
	for _, room := range []string{"api", "cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "storetest") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				inspect(n, take)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// inspect hands on what is an error code where a node stands.
func inspect(n ast.Node, take func(e ast.Expr, suffix string)) {
	switch n := n.(type) {
	case *ast.KeyValueExpr: // Error{Code: "token.not_found"}
		if name, ok := n.Key.(*ast.Ident); ok && name.Name == "Code" {
			take(n.Value, "")
		}
		if kind, ok := n.Key.(*ast.SelectorExpr); ok && strings.HasPrefix(kind.Sel.Name, "Err") { // ErrNewer: "backup.newer"
			take(n.Value, "")
		}
	case *ast.ValueSpec: // CodeInternal = "internal"
		for i, name := range n.Names {
			if i < len(n.Values) && (strings.HasPrefix(name.Name, "Code") || name.Name == "unusableStore") {
				take(n.Values[i], "")
			}
		}
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		if at, gives := givers()[name]; gives && at < len(n.Args) {
			take(n.Args[at], "")
		}
		for _, suffix := range makers()[name] {
			if len(n.Args) > 1 {
				take(n.Args[0], suffix)
			}
		}
	case *ast.CompositeLit: // FieldError{"limit", "limit.range", "…"}, and the rows of the table of refusals
		name := ""
		switch typ := n.Type.(type) {
		case *ast.Ident:
			name = typ.Name
		case *ast.SelectorExpr:
			name = typ.Sel.Name
		case *ast.ArrayType:
			if item, ok := typ.Elt.(*ast.Ident); ok && item.Name == "Refusal" {
				for _, row := range n.Elts {
					if row, ok := row.(*ast.CompositeLit); ok && len(row.Elts) > 0 {
						take(row.Elts[0], "")
					}
				}
			}
		}
		if name == "FieldError" && len(n.Elts) == 3 {
			take(n.Elts[1], "")
		}
	}
}

// oauthCodes are the codes of RFC 6749 and RFC 6750 that are told.
func oauthCodes(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile(`(?m)^\t[a-zA-Z]+ += "([a-z_]+)"$`).FindAllStringSubmatch(read(t, filepath.Join("..", "internal", "gateway", "oauth.go")), -1) {
		found = append(found, match[1])
	}
	if len(found) < 5 {
		t.Fatalf("oauth.go has the codes %q", found)
	}
	return found
}

// The page has every code that the product can answer with, once, and no other.
func TestTroubleshootingHasEveryErrorCode(t *testing.T) {
	const enough = 150
	want := append(errorCodes(t), oauthCodes(t)...)
	if len(want) < enough {
		t.Fatalf("%d codes were found", len(want))
	}
	var have []string
	for line := range strings.Lines(read(t, filepath.Join("..", "docs", "troubleshooting.md"))) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 && !strings.HasPrefix(line, "`store.view`") {
			continue
		}
		if len(cells) >= 3 {
			line = cells[1]
		}
		for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
			if match[1] != "internal" || len(cells) >= 3 {
				have = append(have, match[1])
			}
		}
	}
	for _, c := range want {
		if !slices.Contains(have, c) {
			t.Errorf("docs/troubleshooting.md does not say what to do about %s", c)
		}
	}
	for _, c := range have {
		if !slices.Contains(want, c) {
			t.Errorf("docs/troubleshooting.md has %s, which nothing answers with", c)
		}
	}
}
