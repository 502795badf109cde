package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsWrittenFromTheCommandsIsCurrent(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	page := filepath.Join(folder, "cli.md")
	if got := runs(t, exec.Command(program, "help", "--markdown", page, "--schemas", filepath.Join(folder, "schema"))); got.code != 0 || got.out != "" {
		t.Fatalf("help: exit code %d\n%s%s", got.code, got.out, got.err)
	}
	const again = "is not current; run: go generate ./cmd/mintmark"
	if diff := cmp.Diff(read(t, filepath.Join("..", "docs", "cli.md")), read(t, page)); diff != "" {
		t.Errorf("docs/cli.md %s\n%s", again, diff)
	}
	made, kept := files(t, filepath.Join(folder, "schema")), files(t, filepath.Join("..", "api", "schema"))
	if diff := cmp.Diff(kept, made); diff != "" {
		t.Fatalf("api/schema %s\n%s", again, diff)
	}
	for _, name := range made {
		if diff := cmp.Diff(read(t, filepath.Join("..", "api", "schema", name)), read(t, filepath.Join(folder, "schema", name))); diff != "" {
			t.Errorf("api/schema/%s %s\n%s", name, again, diff)
		}
	}
}

func files(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Every command has a page that groff takes without a warning and that holds its
// flags.
func TestManPagesAreWrittenForEveryCommand(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "man1")
	if got := runs(t, exec.Command(program, "help", "--man", folder)); got.code != 0 {
		t.Fatalf("help --man: exit code %d\n%s", got.code, got.err)
	}
	names := files(t, folder)
	for _, name := range []string{"mintmark.1", "mintmark-token-create.1", "mintmark-config-properties-set.1", "mintmark-help.1"} {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s", name)
		}
	}
	if page := read(t, filepath.Join(folder, "mintmark-token-create.1")); !strings.Contains(page, `\fB\-\-client\-id string\fR`) {
		t.Errorf("mintmark-token-create.1 lacks a flag:\n%s", page)
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("groff is missing")
		}
		t.Skip("groff is missing: the pages were not read")
	}
	for _, name := range names {
		page := filepath.Join(folder, name)
		if out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", page).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff of %s: %v\n%s", name, err, out)
		}
	}
}
