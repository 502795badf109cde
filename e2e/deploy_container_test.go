package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// container is the Containerfile that is shipped, as BuildKit reads it. BuildKit's
// own linter has no remark.
func container(t *testing.T) []instructions.Stage {
	t.Helper()
	text := read(t, filepath.Join("..", "deploy", "container", "Containerfile"))
	read, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range read.Warnings {
		t.Errorf("%s", w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		t.Errorf("line %d: %s: %s", at[0].Start.Line, rule, message)
	}})
	stages, arguments, err := instructions.Parse(read.AST, lint)
	if err != nil || len(arguments) != 0 {
		t.Fatalf("%v, arguments %v", err, arguments)
	}
	return stages
}

// No image is built here. What is tested is that BuildKit understands the file and
// that it promises what a careful cluster asks for.
func TestTheContainerHoldsTheProgramAloneAndRunsAsNobody(t *testing.T) {
	stages := container(t)
	if len(stages) != 2 {
		t.Fatalf("%d stages", len(stages))
	}
	build, image := stages[0], stages[1]
	if !regexp.MustCompile(`^docker\.io/library/golang:\d+\.\d+-bookworm$`).MatchString(build.BaseName) || image.BaseName != "scratch" {
		t.Errorf("built from %s, made from %s", build.BaseName, image.BaseName)
	}
	got := map[string]string{}
	for _, c := range image.Commands {
		text := c.Name()
		switch c := c.(type) {
		case *instructions.CopyCommand:
			if c.From != "build" || !slices.Equal(c.SourcePaths, []string{"/out"}) {
				t.Errorf("it copies %v from %q", c.SourcePaths, c.From)
			}
		case *instructions.UserCommand:
			text = c.User
		case *instructions.EntrypointCommand:
			text = strings.Join(c.CmdLine, " ")
			if c.PrependShell {
				t.Error("the entry point needs a shell, and there is none")
			}
		case *instructions.CmdCommand:
			text = strings.Join(c.CmdLine, " ")
		case *instructions.HealthCheckCommand:
			text = strings.Join(c.Health.Test, " ")
		case *instructions.VolumeCommand:
			text = strings.Join(c.Volumes, " ")
		case *instructions.EnvCommand:
			for _, pair := range c.Env {
				got[pair.Key] = pair.Value
			}
		case *instructions.AddCommand, *instructions.RunCommand:
			t.Errorf("the image is changed by %s", c.Name())
		}
		got[strings.ToLower(c.Name())] = text
	}
	for name, want := range map[string]string{
		"user": "65532:65532", "entrypoint": "mintmark", "cmd": "serve", "healthcheck": "CMD mintmark status",
		"volume": "/var/lib/mintmark", "MINTMARK_HOME": "/var/lib/mintmark/home",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, not %q", name, got[name], want)
		}
	}
	// The image is given nothing that lies around in a checkout.
	if ignored := read(t, "../.containerignore"); !strings.HasSuffix(ignored, "\n*\n!.git\n") {
		t.Errorf(".containerignore lets in more than what is committed:\n%s", ignored)
	}
	// The Go of the image is one that the module takes.
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if module == nil || !strings.HasSuffix(build.BaseName, "golang:"+module[1]+"-bookworm") {
		t.Errorf("go.mod wants Go %v, the image has %s", module, build.BaseName)
	}
}
