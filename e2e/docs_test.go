package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is one fenced block of a page: the commands that it shows and, if a block
// of text follows at once, what they print.
type block struct {
	line          int
	info, text    string
	prints, after string // after is what stands between it and the next block
}

// blocks are the fenced blocks of a page.
func blocks(page string) []block {
	var out []block
	in := false
	for n, line := range strings.Split(page, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !in:
			out, in = append(out, block{line: n + 1, info: info}), true
		case fence:
			in = false
		case in:
			out[len(out)-1].text += line + "\n"
		case len(out) > 0:
			out[len(out)-1].after += line
		}
	}
	for i := range out {
		if i+1 < len(out) && out[i+1].info == "text" && out[i].after == "" {
			out[i].prints = out[i+1].text
		}
	}
	return out
}

// The commands of every page of docs/ are run as they stand, a page in one shell,
// in a folder of its own. Paths of the machine and ports lie elsewhere there, a
// person's answer to a question is a flag, and dfsadmin and nightly-report have a
// token. A block that begins "sh REASON" is not run: the reason says who runs it,
// or why nobody can.
func TestTheCommandsOfTheDocumentationWork(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	ran := 0
	for _, path := range pages {
		page := read(t, path)
		var commands []block
		for _, b := range blocks(page) {
			switch language, reason, _ := strings.Cut(b.info, " "); {
			case language == "":
				t.Errorf("%s:%d: the block does not say what it is: sh, text, go, …", path, b.line)
			case language == "sh" && reason == "":
				commands = append(commands, b)
			case language == "console":
				t.Errorf("%s:%d: commands stand in a block of sh, what they print in one of text behind it", path, b.line)
			}
		}
		if len(commands) > 0 {
			ran += len(commands)
			t.Run(filepath.Base(path), func(t *testing.T) { runPage(t, page, commands) })
		}
	}
	if ran < 30 {
		t.Errorf("%d blocks were run", ran)
	}
}

func runPage(t *testing.T, page string, commands []block) {
	w := sandbox(t, strings.Contains(page, "\nmintmark init /opt/mintmark") || strings.Contains(page, " init ./mintmark-home"))
	script := "set -eu\n"
	for _, b := range commands {
		out := filepath.Join(w.dir, fmt.Sprintf("out.%d", b.line))
		script += fmt.Sprintf("echo %d > '%s/line'\n{\n%s} > '%s' 2> '%s/err' < '%s/pasted'\ncode=$?; [ $code = 0 ] || exit $code\n", b.line, w.dir, w.here(b.text), out, w.dir, w.dir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*commandTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", script)
	command.Dir = w.dir
	command.Env = append(os.Environ(), "PATH="+filepath.Join(w.dir, "bin")+":"+os.Getenv("PATH"), "HOME="+w.dir)
	if out, err := command.CombinedOutput(); err != nil {
		line := strings.TrimSpace(read(t, filepath.Join(w.dir, "line")))
		t.Fatalf("the block at line %s: %v\n%s%s%s", line, err, out, read(t, filepath.Join(w.dir, "out."+line)), read(t, filepath.Join(w.dir, "err")))
	}
	for _, b := range commands {
		if got := read(t, filepath.Join(w.dir, fmt.Sprintf("out.%d", b.line))); b.prints != "" && got != w.here(b.prints) {
			t.Errorf("the block at line %d prints\n%s\nand not\n%s", b.line, got, b.prints)
		}
	}
}

// sand is a folder that stands for a machine.
type sand struct {
	t     *testing.T
	dir   string
	ports map[string]string
}

// sandbox makes such a machine: with the program installed and running in
// /opt/mintmark, or bare for a page that installs it.
func sandbox(t *testing.T, bare bool) *sand {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	w := &sand{t, t.TempDir(), make(map[string]string)}
	for _, folder := range []string{"bin", "opt", "srv", "etc/ssl", "var/backups"} {
		if err := os.MkdirAll(filepath.Join(w.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	certificate, key := pair(t, filepath.Join(w.dir, "etc", "ssl"), "mintmark")
	for from, to := range map[string]string{certificate: "mintmark.pem", key: "mintmark.key"} {
		if err := os.Rename(from, filepath.Join(filepath.Dir(from), to)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(w.dir, "pasted"), "")
	for name, path := range map[string]string{"mintmark": program, "manager": filepath.Join(w.dir, "opt", "mintmark", "manager"), "go": program} {
		text := strings.NewReplacer("PROGRAM", path, "FOLDER", w.dir).Replace(w.here(answering))
		if err := os.WriteFile(filepath.Join(w.dir, "bin", name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, home := range []string{"opt/mintmark", "mintmark-home"} {
			if manager := filepath.Join(w.dir, home, "manager"); fileExists(manager) {
				_ = exec.Command(manager, "stop").Run()
			}
		}
	})
	if bare {
		return w
	}
	shell(t, w.dir, w.here("bin/mintmark init /opt/mintmark && bin/manager start"))
	plain := filepath.Join(w.dir, "bin", "mintmark") // what an upgrade copies
	if err := os.Remove(plain); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, plain); err != nil {
		t.Fatal(err)
	}
	return w
}

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// answering runs a program for somebody who answers its questions with yes and
// with the name that is asked for. What is started for the first time gets the
// tokens that the pages speak of.
const answering = `#!/bin/bash
[ "$1 $2" != "run ./cmd/mintmark" ] || shift 2
args=("$@")
case "$1 $2" in
"init "*) [[ "$*" == *--listen* ]] || args+=(--listen 127.0.0.1:3000) ;;
"support reset-jwt-key" | "key reset") args+=(--confirm "$(hostname)") ;;
"key retire" | "key trial-stop") args+=(--yes --confirm "$(PROGRAM key list -o tsv --no-headers --columns name,state | awk '$2 == "previous" {print $1}')") ;;
esac
PROGRAM "${args[@]}"
code=$?
if [ "$1" = start ] && [ ! -e FOLDER/dfsadmin ]; then
	cd FOLDER || exit 1
	PROGRAM token create --client-id dfsadmin --role admin -q > pasted
	PROGRAM token create --client-id nightly-report --role user --tag team:data -q > presented.token
	PROGRAM token create --client-id gateway --role verifier -q > verifier.token
	cp pasted dfsadmin
fi
[ "$1 $code" != "doctor 10" ] || code=0
exit $code
`

// here puts paths of the machine into the folder, and ports that pages name on
// free ones of the loopback interface.
func (w *sand) here(text string) string {
	text = regexp.MustCompile(`(^|[\s'"=:(])(/(?:opt|srv|etc/ssl|var)/)`).ReplaceAllString(text, "${1}"+w.dir+"${2}")
	return regexp.MustCompile(`(127\.0\.0\.1|0\.0\.0\.0):\d+`).ReplaceAllStringFunc(text, func(address string) string {
		_, port, _ := strings.Cut(address, ":")
		if w.ports[port] == "" {
			w.ports[port] = freeAddress(w.t)
		}
		return w.ports[port]
	})
}

// Links between the pages lead to a page and a heading that are there.
func TestLinksOfTheDocumentationLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	link, seen := regexp.MustCompile(`\]\(([^)\s]+)\)`), 0
	index := read(t, filepath.Join("..", "docs", "README.md"))
	for _, path := range append(pages, filepath.Join("..", "README.md")) {
		if name := filepath.Base(path); name != "README.md" && !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/README.md does not lead to %s", name)
		}
		for _, match := range link.FindAllStringSubmatch(read(t, path), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			seen++
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if !fileExists(to) {
				t.Errorf("%s: %s is not there", path, match[1])
			} else if anchor != "" && !strings.Contains(headings(read(t, to)), "\n"+anchor+"\n") {
				t.Errorf("%s: %s has no such heading", path, match[1])
			}
		}
	}
	if seen < 40 {
		t.Errorf("%d links were seen", seen)
	}
}

// headings are the anchors of a page, each on a line.
func headings(page string) string {
	out := "\n"
	for line := range strings.Lines(page) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			out += strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-") + "\n"
		}
	}
	return out
}
