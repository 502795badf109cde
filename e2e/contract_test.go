package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reading are the commands that only read, as they are given to a home with a
// token of ci; changing are those that do something, or run until they are ended.
// Every command is in one of the two.
func reading() []string {
	return []string{
		"status", "doctor", "version", "help token create", "config show", "config diff", "config validate", "config properties list",
		"config properties get server.listen", "token list", "token show ci", "token usage ci", "key list", "key evidence", "audit list", "audit verify",
		"admin list", "completion bash", "audit export",
	}
}

func changing() []string {
	return []string{
		"init", "serve", "guard", "start", "stop", "restart", "bench", "config apply", "config confirm", "config extend", "config revert", "config discard", "config rollback", "config properties set",
		"config properties unset", "token create", "token copy", "token replace", "token delete", "token restore", "token inspect",
		"key rotate", "key extend", "key trial-stop", "key retire", "key reseal", "key reset", "support reset-jwt-key", "support bundle", "audit follow",
		"backup create", "backup restore", "backup inspect", "store migrate", "store upgrade",
		"admin create", "admin reset-password", "admin unlock", "admin delete",
	}
}

// commandTree are the names of all commands but groups, as their help lists them.
func commandTree(t *testing.T, program string) []string {
	t.Helper()
	subcommand := regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)
	var leaves []string
	var walk func(path []string)
	walk = func(path []string) {
		got := runs(t, exec.Command(program, append(slices.Clone(path), "-h")...))
		_, commands, group := strings.Cut(got.out, "\nCommands:\n")
		if !group {
			leaves = append(leaves, strings.Join(path, " "))
			return
		}
		commands, _, _ = strings.Cut(commands, "\n\n")
		for _, match := range subcommand.FindAllStringSubmatch(commands, -1) {
			walk(append(slices.Clone(path), match[1]))
		}
	}
	walk(nil)
	return leaves
}

func TestEveryCommandIsKnownToReadOrToChange(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range commandTree(t, program) {
		given := func(line string) bool { return line == name || strings.HasPrefix(line, name+" ") }
		if reads, changes := slices.ContainsFunc(reading(), given), slices.ContainsFunc(changing(), given); reads == changes {
			t.Errorf("%s: it is in none, or in both, of the lists of commands in this file", name)
		}
	}
}

// homeInUse is a running home with something for every command to say: tokens, a
// staged property, a key that is rotated away, a failure to warn of.
func homeInUse(t *testing.T) home {
	t.Helper()
	h := startHome(t, "--store", "memory")
	token := h.token(t, "ci", "user", "--tag", "team:data", "--expires", "2d")
	h.accepts(t, "Bearer "+token, "ci")
	h.manager(t, "key", "rotate", "--overlap", "1h")
	h.manager(t, "config", "properties", "set", "tokens.copy", "reauth")
	h.manager(t, "config", "apply")
	h.manager(t, "config", "properties", "set", "tokens.lifetime.default", "30d")
	return h
}

// Numbers that time changes between two runs are not compared.
func TestColourIsAllThatDiffersBetweenTheOutputsOfACommand(t *testing.T) {
	h := homeInUse(t)
	// Figures differ from one moment to the next, and with their length the width of a column.
	escapes, number := regexp.MustCompile("\x1b\\[[0-9;]*m"), regexp.MustCompile(`[0-9][0-9.]*|  +`)
	plain := func(text string) string { return number.ReplaceAllString(escapes.ReplaceAllString(text, ""), "#") }
	coloured := 0
	for _, line := range append(reading(), "token show nobody", "token delete nobody", "config properties get nothing", "token lst") {
		args := append(strings.Fields(line), "--utc")
		at := func(env []string, more ...string) string {
			s := h.atTerminal(t, env, append(slices.Clone(args), more...)...)
			select {
			case <-s.closed:
			case <-time.After(stepTimeout):
				t.Fatalf("%s has not ended:\n%s", line, s.text())
			}
			return s.text()
		}
		shown := at(nil)
		if escapes.MatchString(shown) {
			coloured++
		}
		for _, without := range []string{at([]string{"NO_COLOR=1"}), at(nil, "--no-color")} {
			if strings.Contains(without, "\x1b") {
				t.Errorf("%s: colour without colour: %q", line, without)
			}
			if plain(shown) != plain(without) {
				t.Errorf("%s:\n%q with colours\n%q without", line, shown, without)
			}
		}
		piped, again := h.run(t, args...), h.run(t, append(slices.Clone(args), "--no-color")...)
		if plain(piped.out) != plain(again.out) || plain(piped.err) != plain(again.err) || strings.Contains(piped.out+piped.err, "\x1b") {
			t.Errorf("%s, in a pipe:\n%q %q\n%q %q with --no-color", line, piped.out, piped.err, again.out, again.err)
		}
	}
	if coloured < 10 {
		t.Errorf("%d commands use colours", coloured)
	}
}

// The input is open and never answers, so whoever asks waits for ever; so it is
// at a terminal with --no-input, or when the result is for a program.
func TestNothingAsksWhereNobodyCanAnswer(t *testing.T) {
	const needed = 8
	h := homeInUse(t)
	h.token(t, "idle", "user")
	password := write(t, filepath.Join(t.TempDir(), "password"), adminPassword+"\n")
	h.manager(t, "admin", "create", "maria", "--password-file", password)
	for _, line := range []string{
		"token delete idle", "token delete ci", "token delete ci --yes", "token replace ci --overlap 0s", "key rotate", "key retire", "key retire --yes",
		"key trial-stop", "key reset", "key reset --yes", "support reset-jwt-key", "config rollback", "admin create jo", "admin reset-password maria", "admin delete maria", "admin delete maria --yes",
	} {
		args := strings.Fields(line)
		for name, got := range map[string]said{
			"without a terminal": h.waits(t, args...), "for a program": h.waits(t, append(slices.Clone(args), "-o", "json")...),
		} {
			if got.code != needed || got.out != "" || !strings.Contains(got.err, "Pass --") {
				t.Errorf("%s %s: exit code %d\n%s%s", line, name, got.code, got.out, got.err)
			}
		}
		for _, more := range [][]string{{"--no-input"}, {"-o", "json"}} {
			s := h.atTerminal(t, nil, append(slices.Clone(args), more...)...)
			s.sees("Pass --")
			s.ends(needed)
		}
	}
	h.accepts(t, "Bearer "+h.token(t, "after", "admin"), "after")
}

// waits runs a command with an input that stays open and silent, and no terminal.
func (h home) waits(t *testing.T, args ...string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	silent, keep, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = silent.Close(), keep.Close() }()
	command := exec.CommandContext(ctx, filepath.Join(h.dir, "manager"), args...)
	command.Stdin, command.SysProcAttr = silent, &syscall.SysProcAttr{Setsid: true}
	got := runs(t, command)
	if err := fit(got.out, got.err); err != nil {
		t.Errorf("manager %s: %v", args, err)
	}
	return got
}

// What a script reads of create, copy and replace is the token and a newline,
// whatever else is asked for; only JSON has it as a member.
func TestATokenIsAloneOnTheOutputInEveryMode(t *testing.T) {
	h := homeInUse(t)
	alone := regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\n$`)
	commands := func(n string) []string {
		h.token(t, "old"+n, "user")
		return []string{"token create --client-id new" + n + " --role user", "token copy old" + n, "token replace old" + n}
	}
	for n, mode := range []string{"", "-q", "-v", "--utc", "--no-color", "--no-headers", "--no-input", "--yes", "-o table", "-o tsv", "--columns id"} {
		for _, line := range commands(string(rune('a' + n))) {
			got := h.run(t, strings.Fields(line+" "+mode)...)
			if got.code != 0 || !alone.MatchString(got.out) {
				t.Errorf("%s %s: exit code %d, the output is %q", line, mode, got.code, got.out)
			}
			if token := strings.TrimSpace(got.out); token != "" && strings.Contains(got.err, token) {
				t.Errorf("%s %s: the token is in the conversation too", line, mode)
			}
			if quiet := mode == "-q"; quiet && strings.Trim(got.err, "\n") != "" && !strings.HasPrefix(got.err, "warning: tokens are kept in memory only") {
				t.Errorf("%s %s: %q is more than a warning", line, mode, got.err)
			}
		}
	}
	for n, mode := range []string{"-o json", "-o jsonl", "--json"} {
		for _, line := range commands(string(rune('p' + n))) {
			got := h.run(t, strings.Fields(line+" "+mode)...)
			if err := fit(got.out, got.err); got.code != 0 || err != nil || !strings.Contains(got.out, `"token":`) {
				t.Errorf("%s %s: exit code %d, %v\n%s", line, mode, got.code, err, got.err)
			}
		}
	}
	s := h.atTerminal(t, nil, "token", "copy", "ci")
	s.ends(0)
	lines := strings.Split(s.lines(), "\n")
	if !slices.ContainsFunc(lines, func(l string) bool { return alone.MatchString(l + "\n") }) {
		t.Errorf("at a terminal no line is the token alone:\n%s", s.lines())
	}
}

// Each command that changes something, in an order in which each can be done.
func TestEveryChangeWarnsOfTokensThatNothingKeeps(t *testing.T) {
	h := startHome(t, "--store", "memory")
	password := write(t, filepath.Join(t.TempDir(), "password"), adminPassword+"\n")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	first := ""
	for _, line := range []string{
		"token create --client-id ci --role user", "token copy ci", "token replace ci", "token replace --undo ID", "token delete ID --yes", "token restore ID",
		"key rotate --overlap 1d", "key extend --by 1h", "key trial-stop --yes", "key trial-stop --end", "key retire --yes", "key reset --confirm " + host,
		"config properties set tokens.lifetime.default 30d", "config properties unset tokens.lifetime.default", "config properties set tokens.copy never",
		"config discard", "config properties set tokens.lifetime.max 300d", "config apply", "config rollback --yes",
		"admin create maria --password-file " + password, "admin reset-password maria --password-file " + password, "admin unlock maria",
		"admin create omar --password-file " + password, "admin delete maria --confirm maria",
	} {
		got := h.run(t, append(strings.Fields(strings.Replace(line, " ID", " "+first, 1)), "-q")...)
		if first == "" {
			first = strings.TrimSpace(h.manager(t, "token", "list", "--no-headers", "--columns", "full_id"))
		}
		said := strings.TrimSpace(got.err)
		manager := filepath.Join(h.dir, "manager")
		end := "keep them: " + manager + " config properties set api.access.tokens.store " + filepath.Join(h.dir, "tokens.json") + " && " + manager + " config apply"
		if got.code != 0 || !strings.Contains(said, "warning: tokens are kept in memory only and will be lost on restart\n") || !strings.HasSuffix(said, end) {
			t.Errorf("%s: exit code %d; it does not end with the warning:\n%s", line, got.code, said)
		}
	}
}

// Each command that has --dry-run, with a server and then without.
func TestADryRunForAProgramIsOneDocument(t *testing.T) {
	h := startHome(t)
	h.token(t, "ci", "user")
	h.token(t, "twice", "user")
	h.manager(t, "token", "replace", "twice")
	h.manager(t, "admin", "create", "maria", "--password-file", write(t, filepath.Join(t.TempDir(), "password"), adminPassword+"\n"))
	passphrase := write(t, filepath.Join(t.TempDir(), "passphrase"), "a long phrase for a backup\n")
	file := filepath.Join(t.TempDir(), "b.age")
	h.manager(t, "backup", "create", "--passphrase-file", passphrase, "--out", file)
	h.manager(t, "config", "properties", "set", "tokens.lifetime.default", "30d")
	lines := []string{
		"token create --client-id new --role user", "token delete ci", "token replace ci", "token replace twice --undo", "key rotate", "key reset",
		"support reset-jwt-key", "support bundle", "config apply", "admin delete maria", "key rotate --overlap 1h", "key trial-stop", "key retire", "config discard", "stop",
		"token delete ci", "admin delete maria", "backup restore " + file + " --passphrase-file " + passphrase,
		"store migrate --to sqlite:" + filepath.Join(h.dir, "mint.db"), "store migrate --to memory",
	}
	for _, line := range lines {
		args := append(strings.Fields(line), "-o", "json")
		if line == "stop" || line == "config discard" || line == "key rotate --overlap 1h" {
			h.manager(t, args...)
			continue
		}
		before := h.manager(t, "audit", "list", "--limit", "1", "-o", "json")
		got := h.run(t, append(args, "--dry-run")...)
		documents := json.NewDecoder(strings.NewReader(got.out))
		var one, more map[string]any
		if err := errors.Join(fit(got.out, got.err), documents.Decode(&one)); err != nil || got.code != 0 || one["kind"] == nil || documents.Decode(&more) == nil {
			t.Errorf("%s: exit code %d, %v\n%s%s", line, got.code, err, got.out, got.err)
		}
		moves := strings.HasPrefix(line, "store migrate") // it is staged, checked and dropped
		if after := h.manager(t, "audit", "list", "--limit", "1", "-o", "json"); after != before && !moves {
			t.Errorf("%s: it did something: %s", line, after)
		}
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range commandTree(t, program) {
		help := runs(t, exec.Command(program, append(strings.Fields(name), "-h")...))
		tried := slices.ContainsFunc(lines, func(line string) bool { return line == name || strings.HasPrefix(line, name+" ") })
		if strings.Contains(help.out, "--dry-run") && !tried {
			t.Errorf("%s has --dry-run and is not tried here", name)
		}
	}
}

func TestTheScriptsReachEveryExitCode(t *testing.T) {
	scripts := ""
	for _, name := range files(t, filepath.Join("testdata", "script")) {
		scripts += read(t, filepath.Join("testdata", "script", name))
	}
	codes := regexp.MustCompile(`(?m)^\s+exit[A-Z][A-Za-z]+\s+= ([0-9]+)$`).FindAllStringSubmatch(read(t, filepath.Join("..", "cmd", "mintmark", "exit.go")), -1)
	if len(codes) < 12 {
		t.Fatalf("exit.go has %d exit codes", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(scripts, "\nexits "+code[1]+" ") {
			t.Errorf("no script reaches exit code %s", code[1])
		}
	}
}

// Who waits for longer than half a second is told for what, at a terminal only.
func TestAPersonWhoWaitsIsToldForWhat(t *testing.T) {
	url, _ := silentServer(t)
	s := startScreen(t, elsewhere(t, url, "token", "list"))
	s.sees("Waiting for the server …")
	s.types(ctrlC)
	s.sees("Nothing was changed.")
	s.ends(130)
	if got := runs(t, elsewhere(t, url, "token", "list", "--timeout", "1s")); strings.Contains(got.err, "Waiting") {
		t.Errorf("a script is told to wait: %q", got.err)
	}
}
