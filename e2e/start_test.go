package e2e

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// readmeCommand is the first line of the README's first block under a heading
// that begins with start.
func readmeCommand(t *testing.T, heading, start string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, filepath.Join("..", "README.md")), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("README has no section %s", heading)
	}
	for lines := bufio.NewScanner(strings.NewReader(rest)); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, start) {
			return line
		}
	}
	t.Fatalf("README names no command %s under %s", start, heading)
	return ""
}

// freshCopy is the repository as somebody gets it: what is committed, or where
// there is no history the files as they are.
func freshCopy(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mintmark")
	if _, err := os.Stat(filepath.Join("..", ".git")); err != nil {
		if err := os.CopyFS(dir, os.DirFS("..")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// A checkout may belong to somebody else than who tests it.
	shell(t, "..", "git -c safe.directory='*' archive --format=tar --output '"+dir+".tar' HEAD && tar -xf '"+dir+".tar' -C '"+dir+"'")
	return dir
}

// shell runs one line in a folder, as it was pasted.
func shell(t *testing.T, dir, line string) string {
	t.Helper()
	return typed(t, dir, line, "")
}

// typed runs lines in a folder, and types an answer to what they read. They are
// run as people run them: by bash, whose read can hide what is typed.
func typed(t *testing.T, dir, lines, answer string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*commandTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", lines)
	command.Dir, command.Stdin = dir, strings.NewReader(answer)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", lines, err, out)
	}
	return string(out)
}

// portIsFree reports whether somebody could listen there now.
func portIsFree(t *testing.T, addr string) bool {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func TestANewcomerIsServedByTheReadmeAlone(t *testing.T) {
	const standard = "127.0.0.1:3000"
	dir := freshCopy(t)
	line := readmeCommand(t, "Start", "go run")
	if !portIsFree(t, standard) {
		t.Logf("%s is taken, so the command gets another address", standard)
		line += " --listen " + freeAddress(t)
	}
	h := home{dir: filepath.Join(dir, "mintmark-home")}
	t.Cleanup(func() { h.stop(t) })
	began := time.Now()
	printed := shell(t, dir, line)
	t.Logf("README's first command took %s", time.Since(began).Round(time.Millisecond))

	where := regexp.MustCompile(`Open (http://\S+)`).FindStringSubmatch(printed)
	how := regexp.MustCompile(`show it with: (cat \S+)`).FindStringSubmatch(printed)
	if where == nil || how == nil {
		t.Fatalf("it is not said where to go or how to sign in:\n%s", printed)
	}
	h.url = where[1]
	began = time.Now()
	newcomer := visitor(t, h.url)
	newcomer.open("/")
	newcomer.fill("f-code", strings.TrimSpace(shell(t, dir, how[1])))
	newcomer.fill("f-password", adminPassword)
	newcomer.follow("Set password and sign in")
	token := newcomer.newToken("dfsadmin", "admin", nil)
	newcomer.press("Copy")
	newcomer.sees("#result-dialog [data-said]", "Copied.")
	if newcomer.paste() != token {
		t.Error("the clipboard does not hold the token")
	}
	paste := readmeCommand(t, "Start", "read") + "\n"
	curl := paste + strings.Replace(readmeCommand(t, "Start", "curl"), "http://"+standard, h.url, 1)
	if answered := typed(t, dir, strings.Replace(curl, "curl ", "curl -sS ", 1), token+"\n"); !strings.Contains(answered, `"client_id":"dfsadmin"`) {
		t.Errorf("curl was answered %s", answered)
	}
	deleteToken(newcomer, "dfsadmin")
	refused := typed(t, dir, strings.Replace(curl, "curl ", "curl -sSi ", 1), token+"\n")
	if !strings.HasPrefix(refused, "HTTP/1.1 401 ") || !strings.Contains(refused, "\nWww-Authenticate: "+challengeInvalid+"\r\n") {
		t.Errorf("curl was answered %s", refused)
	}
	t.Logf("a newcomer's way from the address to the refused call took %s", time.Since(began).Round(time.Millisecond))
	newcomer.clean()
}
