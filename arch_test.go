package mintmark_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// module is the path of the product's module; rooms are named relative to it.
const module = "mintmark"

// A room is one package of the house and the arrows that leave it. An import of
// ours or of a third party that is not named here is not drawn and fails.
type room struct {
	ours    []string // rooms it may import; "*" is every room
	modules []string // third-party module paths it may import from
	pure    bool     // no package of the standard library that reaches outside the process
	test    bool     // exists for tests: may import testing, and only tests may import it
}

// houseDrawing is the drawing of docs/architecture.md. A new room or arrow is drawn
// here and there, with its reason, before it is used.
func houseDrawing() map[string]room {
	return map[string]room{
		".":            {},
		"cmd/mintmark": {ours: []string{"*"}, modules: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "golang.org/x/sys"}},
		"api":          {ours: []string{"internal/strictjson"}},
		"verify":       {ours: []string{"internal/jws", "internal/strictjson"}},

		"verify/grpcverify": {ours: []string{"verify"}, modules: []string{"google.golang.org/grpc"}},
		"bench": {ours: []string{
			"internal/authority", "internal/config", "internal/control", "internal/edge", "internal/gateway", "internal/limits", "internal/liveset", "internal/metrics",
			"internal/gateway/extauthz", "internal/pathrule", "internal/refusals", "internal/signing", "internal/store/usagesql", "internal/usage",
		}, modules: []string{"github.com/envoyproxy/go-control-plane/envoy", "google.golang.org/grpc", "google.golang.org/protobuf"}},

		"internal/authority":  {pure: true},
		"internal/strictjson": {pure: true},
		"internal/jws":        {ours: []string{"internal/strictjson"}, pure: true},
		"internal/liveset":    {ours: []string{"internal/authority", "internal/jws"}, pure: true},
		"internal/signing":    {ours: []string{"internal/authority", "internal/durable", "internal/jws", "internal/strictjson"}},
		"internal/backup":     {ours: []string{"internal/authority", "internal/store/stored"}, modules: []string{"filippo.io/age"}, pure: true},
		"internal/password":   {ours: []string{"internal/authority"}, modules: []string{"golang.org/x/crypto", "golang.org/x/text"}},
		"internal/config":     {ours: []string{"internal/durable", "internal/pathrule", "internal/strictjson"}},
		"internal/home":       {ours: []string{"internal/durable"}, modules: []string{"golang.org/x/sys"}},
		"internal/durable":    {modules: []string{"golang.org/x/sys"}},
		"internal/bitting":    {pure: true},
		"internal/message":    {modules: []string{"golang.org/x/text"}, pure: true},
		"internal/jsonschema": {ours: []string{"api"}, pure: true},
		"internal/pathrule":   {ours: []string{"internal/authority"}, pure: true},

		"internal/edge":     {ours: []string{"internal/authority", "internal/liveset"}},
		"internal/limits":   {ours: []string{"internal/liveset"}, pure: true},
		"internal/refusals": {ours: []string{"internal/authority", "internal/liveset"}, pure: true},
		"internal/metrics":  {ours: []string{"internal/authority", "internal/liveset"}, modules: []string{"github.com/prometheus/client_golang"}},
		"internal/usage":    {ours: []string{"internal/authority"}},
		"internal/tracing":  {ours: []string{"internal/authority", "internal/edge", "internal/liveset"}, modules: []string{"go.opentelemetry.io/otel"}},
		"internal/control":  {ours: []string{"internal/authority", "internal/config"}},
		"internal/httpapi": {ours: []string{
			"api", "internal/authority", "internal/config", "internal/control", "internal/edge", "internal/jsonschema", "internal/liveset", "internal/refusals",
			"internal/strictjson",
		}},
		"internal/webui": {ours: []string{
			"internal/authority", "internal/bitting", "internal/config", "internal/control", "internal/edge", "internal/liveset", "internal/message", "internal/refusals",
		}},
		"internal/gateway": {ours: []string{"internal/authority", "internal/edge", "internal/liveset", "internal/pathrule", "internal/strictjson"}},
		"internal/gateway/extauthz": {
			ours:    []string{"internal/authority", "internal/edge", "internal/gateway", "internal/liveset"},
			modules: []string{"github.com/envoyproxy/go-control-plane/envoy", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/grpc"},
		},

		"internal/store/stored":   {ours: []string{"internal/authority", "internal/strictjson"}, pure: true},
		"internal/store/sqlstore": {ours: []string{"internal/authority", "internal/store/stored"}},
		"internal/store/sqlite":   {ours: []string{"internal/authority", "internal/durable", "internal/store/sqlstore"}, modules: []string{"modernc.org/sqlite"}},
		"internal/store/postgres": {
			ours: []string{"internal/authority", "internal/store/sqlstore"}, modules: []string{"github.com/jackc/pgx/v5", "golang.org/x/sys"},
		},
		"internal/store/usagesql": {ours: []string{"internal/authority"}, modules: []string{"modernc.org/sqlite"}},
		"internal/store/move":     {ours: []string{"internal/authority", "internal/store/stored"}, pure: true},
		"internal/store/mapstore": {ours: []string{"internal/authority", "internal/durable", "internal/store/stored", "internal/strictjson"}, modules: []string{"golang.org/x/sys"}},

		"internal/conformance": {
			modules: append(testModules(), "github.com/envoyproxy/go-control-plane/envoy", "google.golang.org/grpc"), test: true,
		},
		"internal/corpora":             {modules: testModules(), test: true},
		"internal/durable/durabletest": {ours: []string{"internal/durable"}, modules: testModules(), test: true},
		"internal/store/postgrestest":  {modules: append(testModules(), "github.com/jackc/pgx/v5"), test: true},
		"internal/store/powerloss":     {modules: append(testModules(), "golang.org/x/sys"), test: true},
		"internal/store/storetest":     {ours: []string{"internal/authority"}, modules: testModules(), test: true},
	}
}

// siblings are rooms of which none may ever import another, however the drawing
// is changed.
func siblings() [][]string {
	return [][]string{
		{"internal/httpapi", "internal/webui", "internal/gateway"},
		{"internal/store/mapstore", "internal/store/sqlite", "internal/store/postgres"},
	}
}

// testModules may be imported by any test and by the rooms for tests.
func testModules() []string {
	return []string{
		"github.com/google/go-cmp",
		"github.com/rogpeppe/go-internal",
		"github.com/go-jose/go-jose/v4",
		"github.com/golang-jwt/jwt/v5",
		"go.opentelemetry.io/proto/otlp",
		"google.golang.org/protobuf",
	}
}

func TestTheHouseFollowsItsDrawing(t *testing.T) {
	t.Parallel()
	house, err := readHouse(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	report(t, undrawn(houseDrawing(), house))
}

func TestTheDrawingKeepsItsOwnLaws(t *testing.T) {
	t.Parallel()
	report(t, unlawful(houseDrawing()))
}

func TestSizesAndHandedInThings(t *testing.T) {
	t.Parallel()
	house, err := readHouse(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range house {
		report(t, oversized(f))
		if !houseDrawing()[f.room].test {
			report(t, notHandedIn(f))
		}
	}
}

func report(t *testing.T, faults []string) {
	t.Helper()
	for _, fault := range faults {
		t.Error(fault)
	}
}

// A file that breaks a law has to be reported, or the tests above prove nothing.
func TestEveryForbiddenImportIsReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		room, file, imports string
		want                string
	}{
		"arrow that is not drawn":         {"internal/jws", "a.go", "mintmark/internal/authority", "internal/jws/a.go: imports mintmark/internal/authority, which is not drawn"},
		"domain imports a room":           {"internal/authority", "a.go", "mintmark/internal/jws", "internal/authority/a.go: imports mintmark/internal/jws, which is not drawn"},
		"sibling edge":                    {"internal/webui", "a.go", "mintmark/internal/httpapi", "internal/webui/a.go: imports mintmark/internal/httpapi, which is not drawn"},
		"public room imports the domain":  {"api", "a.go", "mintmark/internal/authority", "api/a.go: imports mintmark/internal/authority, which is not drawn"},
		"room imports the program":        {"internal/home", "a.go", "mintmark/cmd/mintmark", "internal/home/a.go: imports mintmark/cmd/mintmark, which nobody may"},
		"test imports the program":        {"internal/home", "a_test.go", "mintmark/cmd/mintmark", "internal/home/a_test.go: imports mintmark/cmd/mintmark, which nobody may"},
		"test imports a room not drawn":   {"internal/jws", "a_test.go", "mintmark/internal/nowhere", "internal/jws/a_test.go: imports mintmark/internal/nowhere, which is not drawn"},
		"module outside its room":         {"internal/httpapi", "a.go", "github.com/spf13/cobra", "internal/httpapi/a.go: imports github.com/spf13/cobra, which is not drawn"},
		"module for tests only":           {"internal/jws", "a.go", "github.com/go-jose/go-jose/v4", "internal/jws/a.go: imports github.com/go-jose/go-jose/v4, which is not drawn"},
		"module whose name is longer":     {"internal/durable", "a.go", "golang.org/x/system", "internal/durable/a.go: imports golang.org/x/system, which is not drawn"},
		"domain opens files":              {"internal/authority", "a.go", "os", "internal/authority/a.go: imports os, which reaches outside the process"},
		"domain opens the network":        {"internal/authority", "a.go", "net/http", "internal/authority/a.go: imports net/http, which reaches outside the process"},
		"domain opens a database":         {"internal/authority", "a.go", "database/sql", "internal/authority/a.go: imports database/sql, which reaches outside the process"},
		"domain draws its own randomness": {"internal/authority", "a.go", "crypto/rand", "internal/authority/a.go: imports crypto/rand, which reaches outside the process"},
		"domain logs":                     {"internal/authority", "a.go", "log/slog", "internal/authority/a.go: imports log/slog, which reaches outside the process"},
		"product imports a test room":     {"cmd/mintmark", "a.go", "mintmark/internal/store/storetest", "cmd/mintmark/a.go: imports mintmark/internal/store/storetest, which is for tests"},
		"testing in the product":          {"internal/signing", "a.go", "testing", "internal/signing/a.go: imports testing, which is for tests"},
		"cgo":                             {"internal/durable", "a.go", "C", "internal/durable/a.go: imports C, which is not drawn"},
		"room that is not drawn":          {"internal/util", "a.go", "fmt", "internal/util: is not drawn: draw it first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := undrawn(houseDrawing(), []file{{room: c.room, name: c.file, imports: []string{c.imports}}})
			if diff := cmp.Diff([]string{c.want}, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDrawnImportsAreNotReported(t *testing.T) {
	t.Parallel()
	house := []file{
		{room: "internal/authority", name: "a.go", imports: []string{"net/netip", "crypto/sha256", "time", "context"}},
		{room: "internal/jws", name: "a.go", imports: []string{"mintmark/internal/strictjson"}},
		{room: "internal/jws", name: "a_test.go", imports: []string{"testing", "os", "mintmark/internal/jws", "github.com/go-jose/go-jose/v4/jwt"}},
		{room: "internal/durable", name: "lock_darwin.go", imports: []string{"os", "golang.org/x/sys/unix"}},
		{room: "internal/store/mapstore", name: "a_test.go", imports: []string{"mintmark/internal/store/storetest"}},
		{room: "cmd/mintmark", name: "main.go", imports: []string{"mintmark/internal/httpapi", "github.com/spf13/cobra"}},
		{room: "internal/store/storetest", name: "suite.go", imports: []string{"testing", "mintmark/internal/authority"}},
	}
	if got := undrawn(houseDrawing(), house); len(got) > 0 {
		t.Errorf("reported: %s", strings.Join(got, "\n"))
	}
}

func TestEveryUnlawfulDrawingIsReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(map[string]room)
		want   []string
	}{
		"cycle": {
			func(d map[string]room) { d["internal/durable"] = room{ours: []string{"internal/home"}} },
			[]string{
				"cycle: internal/durable -> internal/home -> internal/durable",
			},
		},
		"siblings": {
			func(d map[string]room) { d["internal/webui"] = room{ours: []string{"internal/gateway"}} },
			[]string{"internal/webui -> internal/gateway: siblings never import each other"},
		},
		"program": {
			func(d map[string]room) { d["internal/gateway"] = room{ours: []string{"cmd/mintmark"}} },
			[]string{"internal/gateway -> cmd/mintmark: nobody may import the program"},
		},
		"arrow to nowhere": {
			func(d map[string]room) { d["internal/gateway"] = room{ours: []string{"internal/nowhere"}} },
			[]string{"internal/gateway -> internal/nowhere: the room is not drawn"},
		},
		"domain with an arrow": {
			func(d map[string]room) {
				d["internal/authority"] = room{ours: []string{"internal/strictjson"}, pure: true}
			},
			[]string{"internal/authority: the domain imports nothing of ours and no third party"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drawing := houseDrawing()
			c.change(drawing)
			if diff := cmp.Diff(c.want, unlawful(drawing)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryOversizedThingIsReported(t *testing.T) {
	t.Parallel()
	lines := func(n int) string { return strings.Repeat("\n", n) }
	for name, c := range map[string]struct{ code, want string }{
		"function": {"func long() {" + lines(maxFunctionLines) + "}", "internal/jws/a.go:3: long has 81 lines, at most 80"},
		"method":   {"type x int\nfunc (x) long() {" + lines(maxFunctionLines) + "}", "internal/jws/a.go:4: long has 81 lines, at most 80"},
		"file":     {lines(maxFileLines), "internal/jws/a.go: has 503 lines, at most 500"},
		"parameters": {
			"func wide(a, b, c int, d, e, f string) {}",
			"internal/jws/a.go:3: wide has 6 parameters, at most 5",
		},
		"port": {
			"type Wide interface { A(); B(); C(); D(); E(); F(); G(); H(); I() }",
			"internal/jws/a.go:3: Wide has 9 methods, at most 8",
		},
		"init": {"func init() {}", "internal/jws/a.go:3: init runs behind everybody's back: no init functions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := mustParse(t, "internal/jws", "a.go", "package jws\n\n"+c.code+"\n")
			if diff := cmp.Diff([]string{c.want}, oversized(f)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			test := mustParse(t, "internal/jws", "a_test.go", "package jws\n\n"+c.code+"\n")
			if got := oversized(test); len(got) > 0 {
				t.Errorf("reported in a test file: %s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestTheLargestAllowedSizesAreNotReported(t *testing.T) {
	t.Parallel()
	f := mustParse(t, "internal/jws", "a.go",
		"package jws\nfunc full(a, b, c, d, e int) {"+strings.Repeat("\n", maxFunctionLines-1)+"}\n"+
			"type Full interface { A(); B(); C(); D(); E(); F(); G(); H() }\n"+
			strings.Repeat("\n", maxFileLines-maxFunctionLines-2))
	if got := oversized(f); len(got) > 0 {
		t.Errorf("reported: %s", strings.Join(got, "\n"))
	}
}

func TestEveryThingTakenInsteadOfHandedInIsReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ imports, expression string }{
		"clock":             {`"time"`, "time.Now"},
		"clock as a value":  {`"time"`, "time.Since"},
		"clock, renamed":    {`clock "time"`, "clock.Until"},
		"environment":       {`"os"`, "os.Getenv"},
		"all environment":   {`"os"`, "os.Environ"},
		"end of process":    {`"os"`, "os.Exit"},
		"randomness":        {`"crypto/rand"`, "rand.Reader"},
		"random text":       {`"crypto/rand"`, "rand.Text"},
		"weak randomness":   {`"math/rand/v2"`, "rand.IntN"},
		"everybody's log":   {`"log/slog"`, "slog.Default"},
		"everybody's flags": {`"os"`, "os.Args"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := "package x\nimport " + c.imports + "\nvar v = " + c.expression + "\n"
			want := []string{"internal/x/a.go:3: " + c.expression + " is taken, not handed in"}
			if diff := cmp.Diff(want, notHandedIn(mustParse(t, "internal/x", "a.go", code))); diff != "" {
				t.Errorf("in a room (-want +got):\n%s", diff)
			}
			if got := notHandedIn(mustParse(t, "cmd/mintmark", "a.go", code)); len(got) > 0 {
				t.Errorf("reported in the program, where it belongs: %s", strings.Join(got, "\n"))
			}
			if got := notHandedIn(mustParse(t, "internal/x", "a_test.go", code)); len(got) > 0 {
				t.Errorf("reported in a test: %s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestTheReaderSeesFilesOfEverySystem(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{}
	for _, name := range []string{
		"root.go", "notes.md", "internal/a/a.go", "internal/a/a_darwin.go", "internal/a/a_test.go",
		"internal/a/testdata/a.go", "_old/old.go", ".hidden/hidden.go", "other/go.mod", "other/other.go", "other/below/below.go",
	} {
		tree[name] = &fstest.MapFile{Data: []byte("package x\n")}
	}
	house, err := readHouse(tree)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range house {
		got = append(got, f.path())
	}
	want := []string{"internal/a/a.go", "internal/a/a_darwin.go", "internal/a/a_test.go", "root.go"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
