// Package corpora hands test data to the rooms whose parsers it is for: public
// corpora that lie beside the repository, and vectors of our own for each class
// in them, which are always there.
//
// It touches the files of the corpora. It exists for tests.
//
// The one hard idea: a clone without the public corpora tests less and says so;
// it never passes as if it had tested them.
package corpora

import (
	"embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

//go:embed testdata/json.txt testdata/jose.json
var own embed.FS

// JSON answers documents by name, as JSONTestSuite has them: y_ is JSON, n_ is
// none, and of i_ each reader decides (docs/decisions/0007-json.md).
func JSON(t testing.TB) map[string][]byte {
	t.Helper()
	all := public(t, "JSONTestSuite", "test_parsing/*.json")
	for _, line := range strings.Split(strings.TrimSpace(string(ours(t, "json.txt"))), "\n") {
		name, quoted, _ := strings.Cut(line, " ")
		text, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("testdata/json.txt: %s: %v", name, err)
		}
		all[name] = []byte(text)
	}
	return all
}

// JOSE answers examples by name, in the form of the JOSE cookbook: input.key,
// output.compact, output.json and output.json_flat. A key alone is one, too.
func JOSE(t testing.TB) map[string][]byte {
	t.Helper()
	all := public(t, "cookbook", "*.json", "jw[sek]/*.json", "curve25519/*.json", "rfc7797/*.json")
	delete(all, "package.json")
	var examples map[string]json.RawMessage
	if err := json.Unmarshal(ours(t, "jose.json"), &examples); err != nil {
		t.Fatalf("testdata/jose.json: %v", err)
	}
	for name, example := range examples {
		all[name] = example
	}
	return all
}

func ours(t testing.TB, name string) []byte {
	t.Helper()
	text, err := own.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// public reads the files of a corpus that lies in shared/corpora beside the
// repository.
func public(t testing.TB, corpus string, patterns ...string) map[string][]byte {
	t.Helper()
	folder := filepath.Join(filepath.Dir(repository(t)), "shared", "corpora", corpus)
	all := make(map[string][]byte)
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(file)] = text
		}
	}
	if len(all) == 0 {
		t.Logf("MISSING: the corpus %s is not beside the repository (shared/corpora/%s); ONLY vectors of our own are tried", corpus, corpus)
	}
	return all
}

// repository is the nearest folder above the test's that holds go.mod.
func repository(t testing.TB) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			t.Fatal("no folder above this one holds go.mod")
		}
		at = filepath.Dir(at)
	}
}
