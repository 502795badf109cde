package mintmark_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	maxFunctionLines = 80
	maxFileLines     = 500
	maxParameters    = 5
	maxMethods       = 8
)

// file is one Go file of the house as it is written, whatever system or build
// tag it is for.
type file struct {
	room    string // folder relative to the root, "." for the root itself
	name    string
	imports []string
	lines   int
	syntax  *ast.File
	set     *token.FileSet
}

func (f file) path() string { return path.Join(f.room, f.name) }

func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

func (f file) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.path(), f.set.Position(n.Pos()).Line)
}

// readHouse reads every Go file of the tree, except what the go tool leaves out
// too: testdata, folders that begin with a dot or an underscore, other modules.
func readHouse(tree fs.FS) ([]file, error) {
	var house []file
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && isForeign(tree, name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		f, err := parseFile(path.Dir(name), entry.Name(), src)
		house = append(house, f)
		return err
	})
	return house, err
}

// isForeign reports whether a folder and all below it are no rooms of ours.
func isForeign(tree fs.FS, dir string) bool {
	if dir == "." {
		return false
	}
	base := path.Base(dir)
	if base == "testdata" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(tree, path.Join(dir, "go.mod"))
	return err == nil
}

func parseFile(room, name string, src []byte) (file, error) {
	f := file{room: room, name: name, set: token.NewFileSet(), lines: bytes.Count(src, []byte("\n"))}
	syntax, err := parser.ParseFile(f.set, f.path(), src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return f, err
	}
	f.syntax = syntax
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return f, err
		}
		f.imports = append(f.imports, imported)
	}
	return f, nil
}

func mustParse(t *testing.T, room, name, src string) file {
	t.Helper()
	f, err := parseFile(room, name, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// undrawn reports every room and every import that the drawing does not show.
func undrawn(drawing map[string]room, house []file) []string {
	var faults []string
	unknown := map[string]bool{}
	for _, f := range house {
		r, drawn := drawing[f.room]
		if !drawn {
			unknown[f.room] = true
			continue
		}
		for _, imported := range f.imports {
			if fault := undrawnImport(drawing, r, f, imported); fault != "" {
				faults = append(faults, fmt.Sprintf("%s: imports %s, which %s", f.path(), imported, fault))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		faults = append(faults, name+": is not drawn: draw it first")
	}
	return faults
}

// undrawnImport says what is wrong with one import, or "".
func undrawnImport(drawing map[string]room, r room, f file, imported string) string {
	target, ours := strings.CutPrefix(imported, module+"/")
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case ours && strings.HasPrefix(target, "cmd/"):
		return "nobody may"
	case ours:
		return undrawnRoom(drawing, r, f, target)
	case strings.Contains(first, "."):
		if within(r.modules, imported) || f.isTest() && within(testModules(), imported) {
			return ""
		}
		return "is not drawn"
	case imported == "C":
		return "is not drawn"
	case f.isTest():
		return ""
	case !r.test && within([]string{"testing", "net/http/httptest"}, imported):
		return "is for tests"
	case r.pure && reachesOutside(imported):
		return "reaches outside the process"
	}
	return ""
}

// undrawnRoom says what is wrong with the import of one of our rooms, or "".
func undrawnRoom(drawing map[string]room, r room, f file, target string) string {
	to, drawn := drawing[target]
	switch {
	case !drawn:
		return "is not drawn"
	case f.isTest():
		return ""
	case to.test && !r.test:
		return "is for tests"
	case !allows(r.ours, target):
		return "is not drawn"
	}
	return ""
}

func allows(rooms []string, target string) bool {
	return slices.Contains(rooms, "*") || slices.Contains(rooms, target)
}

// within reports whether imported is one of the paths or lies below one.
func within(paths []string, imported string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return imported == p || strings.HasPrefix(imported, p+"/")
	})
}

// reachesOutside reports whether a package of the standard library touches
// disk, network, a database, the log, the process or a random source.
func reachesOutside(imported string) bool {
	if within([]string{"net/netip", "net/url", "math/rand/v2"}, imported) {
		return imported == "math/rand/v2"
	}
	return within([]string{
		"crypto/rand", "crypto/tls", "database", "embed", "expvar", "flag", "io/fs", "io/ioutil", "log", "math/rand",
		"net", "os", "path/filepath", "plugin", "runtime", "syscall", "unsafe",
	}, imported)
}

// unlawful reports what no drawing may show.
func unlawful(drawing map[string]room) []string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(drawing)) {
		r := drawing[name]
		if name == "internal/authority" && len(r.ours)+len(r.modules) > 0 {
			faults = append(faults, name+": the domain imports nothing of ours and no third party")
		}
		for _, target := range r.ours {
			if fault := unlawfulArrow(drawing, name, target); fault != "" {
				faults = append(faults, fmt.Sprintf("%s -> %s: %s", name, target, fault))
			}
		}
	}
	return append(faults, cycles(drawing)...)
}

func unlawfulArrow(drawing map[string]room, from, to string) string {
	if to == "*" && strings.HasPrefix(from, "cmd/") {
		return ""
	}
	if strings.HasPrefix(to, "cmd/") {
		return "nobody may import the program"
	}
	if _, drawn := drawing[to]; !drawn {
		return "the room is not drawn"
	}
	for _, family := range siblings() {
		if slices.Contains(family, from) && slices.Contains(family, to) {
			return "siblings never import each other"
		}
	}
	return ""
}

// cycles reports every way along the arrows that comes back to where it began,
// each once, from the first of its rooms in the order of their names.
func cycles(drawing map[string]room) []string {
	var found []string
	var walk func(way []string)
	walk = func(way []string) {
		for _, next := range drawing[way[len(way)-1]].ours {
			switch {
			case next == way[0]:
				found = append(found, "cycle: "+strings.Join(append(slices.Clone(way), next), " -> "))
			case next > way[0] && !slices.Contains(way, next):
				walk(append(slices.Clone(way), next))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(drawing)) {
		walk([]string{name})
	}
	return found
}

// oversized reports what is too large in one file of the product. Tests and
// generated files may be as long as they are.
func oversized(f file) []string {
	if f.isTest() || ast.IsGenerated(f.syntax) {
		return nil
	}
	var faults []string
	if f.lines > maxFileLines {
		faults = append(faults, fmt.Sprintf("%s: has %d lines, at most %d", f.path(), f.lines, maxFileLines))
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			faults = append(faults, oversizedFunction(f, n)...)
		case *ast.TypeSpec:
			port, ok := n.Type.(*ast.InterfaceType)
			if ok && port.Methods.NumFields() > maxMethods {
				faults = append(faults, fmt.Sprintf("%s: %s has %d methods, at most %d",
					f.at(n), n.Name.Name, port.Methods.NumFields(), maxMethods))
			}
		}
		return true
	})
	return faults
}

func oversizedFunction(f file, fn *ast.FuncDecl) []string {
	var faults []string
	lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
	if lines > maxFunctionLines {
		faults = append(faults, fmt.Sprintf("%s: %s has %d lines, at most %d", f.at(fn), fn.Name.Name, lines, maxFunctionLines))
	}
	if n := fn.Type.Params.NumFields(); n > maxParameters {
		faults = append(faults, fmt.Sprintf("%s: %s has %d parameters, at most %d", f.at(fn), fn.Name.Name, n, maxParameters))
	}
	if fn.Recv == nil && fn.Name.Name == "init" {
		faults = append(faults, f.at(fn)+": init runs behind everybody's back: no init functions")
	}
	return faults
}

// takenByHand lists what a room has to be given and may not fetch: the names it
// may not use of each package; "*" is every name.
func takenByHand() map[string][]string {
	return map[string][]string{
		"time":         {"Now", "Since", "Until"},
		"os":           {"Args", "Environ", "Exit", "ExpandEnv", "Getenv", "LookupEnv"},
		"crypto/rand":  {"*"},
		"math/rand":    {"*"},
		"math/rand/v2": {"*"},
		"log":          {"*"},
		"log/slog":     {"Default", "Debug", "Info", "Warn", "Error"},
	}
}

// notHandedIn reports clocks, environment, randomness and logs that a file of
// the product takes from the process. Only programs and tests may.
func notHandedIn(f file) []string {
	if f.isTest() || strings.HasPrefix(f.room, "cmd/") || f.room == "bench" {
		return nil
	}
	packages := importNames(f.syntax)
	var faults []string
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := selector.X.(*ast.Ident)
		if !ok {
			return true
		}
		if f.room == "internal/durable" && packages[pkg.Name] == "crypto/rand" {
			return true // Files.Rand is handed in; its zero value is the system's, like that of Files.Ops
		}
		if f.room == "verify" && selector.Sel.Name == "Now" {
			return true // Config.Now is handed in; its zero value is the system's: who uses this is elsewhere
		}
		taken := takenByHand()[packages[pkg.Name]]
		if slices.Contains(taken, selector.Sel.Name) || slices.Contains(taken, "*") {
			faults = append(faults, fmt.Sprintf("%s: %s.%s is taken, not handed in", f.at(n), pkg.Name, selector.Sel.Name))
		}
		return true
	})
	return faults
}

// importNames maps the names under which a file knows its imports to their paths.
func importNames(syntax *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range syntax.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(strings.TrimSuffix(imported, "/v2"))
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imported
	}
	return names
}
