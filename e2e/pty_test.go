package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

const (
	ctrlC = "\x03"
	ctrlD = "\x04"
)

// screen is a command that runs at a terminal, as a person sees it.
type screen struct {
	t       *testing.T
	command *exec.Cmd
	tty     *os.File
	closed  chan struct{} // when the screen has been read to its end

	mu    sync.Mutex
	shown bytes.Buffer
	seen  int // how much of it was waited for
}

// atTerminal runs the home's manager at a terminal, with more variables of the
// environment.
func (h home) atTerminal(t *testing.T, env []string, args ...string) *screen {
	t.Helper()
	command := exec.Command(filepath.Join(h.dir, "manager"), args...)
	command.Env = append(append(os.Environ(), "TERM=xterm"), env...)
	return startScreen(t, command)
}

func startScreen(t *testing.T, command *exec.Cmd) *screen {
	t.Helper()
	tty, err := pty.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, command: command, tty: tty, closed: make(chan struct{})}
	go func() {
		defer close(s.closed)
		buffer := make([]byte, 4096)
		for {
			n, err := tty.Read(buffer)
			s.mu.Lock()
			s.shown.Write(buffer[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = tty.Close()
	})
	return s
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// sees waits until text stands on the screen, after what was waited for before.
func (s *screen) sees(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(stepTimeout); ; time.Sleep(10 * time.Millisecond) {
		screen := s.text()
		if i := strings.Index(screen[s.seen:], text); i >= 0 {
			s.seen += i + len(text)
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q did not appear on the screen:\n%s", text, screen)
		}
	}
}

// types writes what a person types.
func (s *screen) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.tty, text); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for the end of the command and demands its exit code.
func (s *screen) ends(code int) {
	s.t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.command.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
	case <-time.After(stepTimeout):
		s.t.Fatalf("it has not ended:\n%s", s.text())
	}
	<-s.closed
	if got := s.command.ProcessState.ExitCode(); got != code {
		s.t.Errorf("exit code %d, want %d:\n%s", got, code, s.text())
	}
}

// lines are what stands on the screen, without colours.
func (s *screen) lines() string {
	plain := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(s.text(), "")
	return strings.ReplaceAll(plain, "\r\n", "\n")
}

func TestCtrlCAtAPromptChangesNothing(t *testing.T) {
	home := startHome(t)
	home.configure(t, "tokens.lifetime.default", "30d")
	token := home.token(t, "ci", "user")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		prompt string
	}{
		"reset":    {[]string{"support", "reset-jwt-key"}, "Type " + host + " to continue: "},
		"delete":   {[]string{"token", "delete", "ci"}, "[y/N] "},
		"rollback": {[]string{"config", "rollback"}, "). Go on? [y/N] "},
		"password": {[]string{"admin", "reset-password"}, "New password (at least 15 characters): "},
		"inspect":  {[]string{"token", "inspect"}, "Paste the token and press Enter: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := home.atTerminal(t, nil, c.args...)
			s.sees(c.prompt)
			s.types(ctrlC)
			s.sees("Nothing was changed.")
			s.ends(130)
			if strings.Contains(s.text(), "error") {
				t.Errorf("what a person did is called an error:\n%s", s.text())
			}
		})
	}
	if me := home.whoami(t, "Bearer "+token).status; me != 200 {
		t.Errorf("the token answers %d", me)
	}
}

// The question says which revision, of when and by whom; one that is not there is
// refused before anybody is asked.
func TestARollbackAsksAboutARevisionThatIsThere(t *testing.T) {
	home := startHome(t)
	s := home.atTerminal(t, nil, "config", "rollback")
	s.sees("there is no earlier revision")
	s.ends(5)
	home.configure(t, "tokens.lifetime.default", "30d")
	home.configure(t, "tokens.lifetime.default", "40d")
	home.manager(t, "config", "properties", "set", "tokens.copy", "never")
	s = home.atTerminal(t, nil, "config", "rollback", "7")
	s.sees("there are: 2, 1")
	s.ends(5)
	for args, asks := range map[string]string{"": `revision 2 again`, " 1": `revision 1 again`} {
		s = home.atTerminal(t, nil, strings.Fields("config rollback"+args)...)
		s.sees(asks + " (")
		s.sees("@")
		s.sees(") and drops 1 staged change. Go on? [y/N] ")
		if !regexp.MustCompile(asks + ` \((20[0-9-]+ )?[0-9]{2}:[0-9]{2} UTC, `).MatchString(s.lines()) {
			t.Errorf("it does not say when that was applied:\n%s", s.lines())
		}
		s.types("n\n")
		s.ends(8)
	}
}

func TestADeleteIsConfirmedInProportionToItsUse(t *testing.T) {
	home := startHome(t)
	home.token(t, "idle", "user")
	busy := home.token(t, "busy", "user")
	home.whoami(t, "Bearer "+busy)

	s := home.atTerminal(t, nil, "token", "delete", "idle")
	s.sees("of idle? [y/N] ")
	s.types("\n")
	s.sees("Nothing was changed.")
	s.ends(8)

	s = home.atTerminal(t, nil, "token", "delete", "idle")
	s.sees("[y/N] ")
	s.types(ctrlD)
	s.sees("Nothing was changed.")
	s.ends(8)

	s = home.atTerminal(t, nil, "token", "delete", "idle")
	s.sees("[y/N] ")
	s.types("y\n")
	s.sees("Deleted. Restore until ")
	s.sees(" UTC: " + filepath.Join(home.dir, "manager") + " token restore tok_")
	s.ends(0)

	s = home.atTerminal(t, nil, "token", "delete", "busy", "--yes")
	s.sees(" ago from 127.0.0.1 (1 request in 24 h).")
	s.sees("Those requests will be refused at once.")
	s.sees("Type busy to delete it: ")
	s.types("idle\n")
	s.sees("that is not busy; nothing was changed")
	s.ends(8)

	s = home.atTerminal(t, nil, "token", "delete", "busy")
	s.sees("Type busy to delete it: ")
	s.types("busy\n")
	s.sees("Deleted.")
	s.ends(0)
	if me := home.whoami(t, "Bearer "+busy).status; me != 401 {
		t.Errorf("the deleted token answers %d", me)
	}
}

func TestAPasswordIsAskedTwiceAndNotShown(t *testing.T) {
	home := startHome(t)
	const secret = "a password that nobody sees"
	s := home.atTerminal(t, nil, "admin", "create", "maria")
	s.sees("New password (at least 15 characters): ")
	s.types(secret + "\n")
	s.sees("The same again: ")
	s.types(secret + "!\n")
	s.sees("the two passwords differ; nothing was changed")
	s.ends(7)
	differs := s.text()

	s = home.atTerminal(t, nil, "admin", "create", "maria")
	s.sees("New password (at least 15 characters): ")
	s.types(secret + "\n")
	s.sees("The same again: ")
	s.types(secret + "\n")
	s.sees("Made the administrator maria.")
	s.ends(0)
	if strings.Contains(differs+s.text(), secret) {
		t.Errorf("the password stands on the screen:\n%s", s.text())
	}
}

// A Ctrl-C while nothing is echoed must not leave the shell without echo.
func TestCtrlCAtAPasswordLeavesTheTerminalAsItWas(t *testing.T) {
	home := startHome(t)
	command := exec.Command("sh", "-c", `trap : INT; stty -a > before; "$0" admin create maria; echo "ended $?"; stty -a > after`, filepath.Join(home.dir, "manager"))
	command.Dir = t.TempDir()
	s := startScreen(t, command)
	s.sees("New password")
	s.types(ctrlC)
	s.sees("ended 130")
	s.ends(0)
	before, after := read(t, filepath.Join(command.Dir, "before")), read(t, filepath.Join(command.Dir, "after"))
	if before != after || !strings.Contains(after, " echo ") {
		t.Errorf("the terminal before:\n%s\nand after:\n%s", before, after)
	}
}

func TestColourIsAllThatNoColourTakesAway(t *testing.T) {
	home := startHome(t, "--store", "memory")
	home.token(t, "ci", "user")
	run := func(env []string, args ...string) string {
		s := home.atTerminal(t, env, args...)
		s.ends(map[bool]int{true: 5}[args[1] == "show"])
		return s.text()
	}
	escapes := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for name, args := range map[string][]string{
		"headings": {"token", "list"}, "error": {"token", "show", "nobody"}, "warning": {"token", "copy", "ci"},
	} {
		coloured := run(nil, args...)
		if !escapes.MatchString(coloured) {
			t.Errorf("%s: there is no colour in %q", name, coloured)
		}
		for _, plain := range []string{run([]string{"NO_COLOR=1"}, args...), run([]string{"TERM=dumb"}, args...), run(nil, append(args, "--no-color")...)} {
			if plain != escapes.ReplaceAllString(coloured, "") {
				t.Errorf("%s:\n%q with colours\n%q without", name, coloured, plain)
			}
		}
	}
}

func TestTimesAtATerminalAreRelativeUnlessUTCIsAsked(t *testing.T) {
	home := startHome(t)
	home.token(t, "ci", "user", "--expires", "90d")
	s := home.atTerminal(t, nil, "token", "list")
	s.sees("in 90d")
	s.ends(0)
	if strings.Contains(s.text(), "active") {
		t.Errorf("what is normal is marked:\n%s", s.lines())
	}
	s = home.atTerminal(t, nil, "token", "list", "--utc")
	s.ends(0)
	if !regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`).MatchString(s.text()) {
		t.Errorf("no time in UTC:\n%s", s.lines())
	}
	s = home.atTerminal(t, nil, "status")
	s.sees("up 0 min")
	s.ends(0)
}

func TestTheOneTimeCodeGoesToATerminalOnly(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	h := home{dir: filepath.Join(t.TempDir(), "home"), url: "http://" + addr}
	t.Cleanup(func() { h.stop(t) })
	s := startScreen(t, exec.Command(program, "init", h.dir, "--listen", addr, "--start"))
	s.sees("Open " + h.url + " and enter this one-time code:")
	s.ends(0)
	code := strings.TrimSpace(read(t, filepath.Join(h.dir, "run", "first-sign-in-code")))
	if code == "" || !strings.Contains(s.text(), code) {
		t.Errorf("the code %q is not on the screen:\n%s", code, s.text())
	}
	if strings.Contains(read(t, filepath.Join(h.dir, "logs", "server.log")), code) {
		t.Error("the code is in the log")
	}
}

func TestALongTableGoesThroughThePager(t *testing.T) {
	home := startHome(t)
	s := home.atTerminal(t, []string{"PAGER=sed s/^/paged:/"}, "config", "properties", "list")
	s.ends(0)
	if strings.Contains(s.text(), "paged:") {
		t.Errorf("a terminal without a size is paged:\n%s", s.lines())
	}
	command := exec.Command("sh", "-c", `stty rows 10 cols 200; exec "$0" config properties list`, filepath.Join(home.dir, "manager"))
	command.Env = append(os.Environ(), "PAGER=sed s/^/paged:/")
	s = startScreen(t, command)
	s.sees("paged:PROPERTY")
	s.ends(0)
}

// What takes longer than half a second shows a person how far it is, and says
// nothing of it to a file. The database is held, so that it takes so long.
func TestProgressIsShownAtATerminalAlone(t *testing.T) {
	d := startDatabase(t)
	d.must(t, "-c", "CREATE DATABASE mint")
	address := "postgres://postgres@/mint?host=" + d.dir + "&port=" + d.port + "&sslmode=disable"
	home := install(t)
	file := filepath.Join(home.dir, "tokens.json")
	home.manager(t, "store", "migrate", "--to", address, "-q")
	home.manager(t, "store", "migrate", "--to", file, "-q")
	for name, c := range map[string]struct {
		run   func(args ...string) string
		shown bool
	}{
		"at a terminal": {func(args ...string) string { s := home.atTerminal(t, nil, args...); s.ends(0); return s.text() }, true},
		"quietly there": {func(args ...string) string {
			s := home.atTerminal(t, nil, append(args, "-q")...)
			s.ends(0)
			return s.text()
		}, false},
		"elsewhere": {func(args ...string) string { got := home.run(t, args...); return got.out + got.err }, false},
	} {
		t.Run(name, func(t *testing.T) {
			home.manager(t, "token", "create", "--client-id", "more", "--role", "user", "-q")
			release := d.hold(t)
			text := c.run("store", "migrate", "--to", address)
			must(t, <-release)
			if shown := regexp.MustCompile(`\rMoving tokens \[#+\] \d+ of \d+`).MatchString(text); shown != c.shown || !shown && strings.Contains(text, "Moving tokens") {
				t.Errorf("progress is shown: %v\n%q", shown, text)
			}
			home.manager(t, "store", "migrate", "--to", file, "-q")
		})
	}
}

// hold keeps whoever changes something in the database mint waiting for longer than a
// person is left without a word, and answers when it has let go.
func (d *database) hold(t *testing.T) <-chan error {
	t.Helper()
	held := d.command("psql", "-X", "-q", "-h", d.dir, "-p", d.port, "-U", "postgres", "-d", "mint")
	in, err := held.StdinPipe()
	must(t, err)
	out, err := held.StdoutPipe()
	must(t, err)
	must(t, held.Start())
	_, err = io.WriteString(in, "BEGIN;\nSELECT 1 FROM head FOR UPDATE;\n\\echo held\n")
	must(t, err)
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "held"; {
	}
	let := make(chan error, 1)
	go func() {
		for end := time.Now().Add(stepTimeout); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
			if waits, _ := d.psql("", "-c", "SELECT 'yes' FROM pg_stat_activity WHERE wait_event_type = 'Lock'"); strings.HasPrefix(waits, "yes") {
				break
			}
		}
		time.Sleep(700 * time.Millisecond)
		_, err := io.WriteString(in, "COMMIT;\n")
		let <- errors.Join(err, in.Close(), held.Wait())
	}()
	return let
}

// Ctrl-C lets requests under way finish; the second one does not wait.
func TestASecondCtrlCEndsAtOnce(t *testing.T) {
	home := install(t)
	s := home.atTerminal(t, nil, "serve")
	s.sees("msg=ready")
	slow := home.beginRequest(t)
	s.types(ctrlC)
	eventually(t, "the server takes no more connections", func() bool { return !home.listens() })
	if strings.Contains(s.text(), "msg=stopped") {
		t.Fatal("the first Ctrl-C did not wait for the request")
	}
	s.types(ctrlC)
	s.ends(-1)
	if status, ok := s.command.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", s.command.ProcessState)
	}
	if err := slow.finish(); err == nil {
		t.Error("the request was answered")
	}
}

// A terminal that goes away takes its server along.
func TestAServerEndsWithItsTerminal(t *testing.T) {
	home := install(t)
	s := home.atTerminal(t, nil, "serve")
	s.sees("msg=ready")
	if err := s.command.Process.Signal(syscall.SIGHUP); err != nil { // what the kernel sends then
		t.Fatal(err)
	}
	s.sees("msg=stopped")
	s.ends(0)
}
