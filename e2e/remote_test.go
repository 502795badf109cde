package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// elsewhere is the program against a server of the test.
func elsewhere(t *testing.T, url string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, append([]string{"--server", url}, args...)...)
	command.Env = append(os.Environ(), "MINTMARK_TOKEN=the-token-of-this-test")
	return command
}

// runs runs a command to its end, whatever comes of it.
func runs(t *testing.T, command *exec.Cmd) said {
	t.Helper()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said{out.String(), errs.String(), command.ProcessState.ExitCode()}
}

// evil is text that a terminal would act on: a change of the window's title,
// colours, both forms of a control sequence, another direction of reading.
const evil = "\x1b]0;title\x07\x1b[31mred\u009b2J\u202egnp\r\nmore\t"

// lyingServer answers every call with records that no Mintmark would keep.
func lyingServer(t *testing.T, status int) string {
	t.Helper()
	token := map[string]any{
		"id": "tok_" + evil, "client_id": evil, "role": evil, "tags": []string{evil}, "description": evil, "contact": evil, "created_by": evil,
		"kid": evil, "state": evil, "issuer": evil, "audience": []string{evil}, "allowed_addresses": []string{evil}, "last_used_from": evil,
		"created_at": "2026-01-01T00:00:00Z", "last_used_at": time.Now().UTC().Format(time.RFC3339), "token": evil,
	}
	record := map[string]any{
		"items": []any{token}, "version": evil, "url": evil, "store": map[string]any{"kind": evil, "location": evil, "persistent": true, "problem": evil},
		"type": "about:blank", "title": evil, "status": status, "detail": evil, "code": evil, "request_id": evil,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := record
		if strings.HasPrefix(r.URL.Path, "/api/v1/tokens/") || r.Method == http.MethodPost {
			body = map[string]any{}
			for _, of := range []map[string]any{record, token} {
				for name, value := range of {
					body[name] = value
				}
			}
		}
		w.Header().Set("Content-Type", map[bool]string{true: "application/json", false: "application/problem+json"}[status < 300])
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestWhatAnotherServerSaysReachesTheTerminalAsText(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusConflict} {
		url := lyingServer(t, status)
		for _, args := range [][]string{
			{"token", "list"},
			{"token", "list", "-o", "tsv"},
			{"token", "list", "-o", "json"},
			{"token", "list", "-o", "jsonl"},
			{"token", "list", "--columns", "description,contact,created_by,kid,state"},
			{"token", "show", "x"},
			{"token", "copy", "x"},
			{"token", "create", "--client-id", "x"},
			{"token", "delete", "x"},
			{"status"},
			{"status", "-o", "json"},
			{"key", "list"},
			{"audit", "list"},
			{"admin", "list"},
			{"doctor"},
			{"config", "show"},
			{"config", "properties", "list"},
			{"config", "apply"},
			{"-v", "token", "list"},
		} {
			got := runs(t, elsewhere(t, url, args...))
			for _, text := range []string{got.out, got.err} {
				if i := strings.IndexFunc(text, func(r rune) bool { return strings.ContainsRune("\x1b\x07\u009b\u202e\r", r) }); i >= 0 {
					t.Errorf("%d %s: %q", status, args, text[max(0, i-20):min(len(text), i+20)])
				}
			}
			if status == http.StatusOK && args[0] == "token" && args[1] == "list" && !strings.Contains(got.out, "red") {
				t.Errorf("%s shows nothing of it: %q", args, got.out)
			}
			if status == http.StatusConflict && got.code == 0 {
				t.Errorf("%s: a refusal is no failure", args)
			}
		}
	}
	// What programs read is still the same text.
	got := runs(t, elsewhere(t, lyingServer(t, http.StatusOK), "token", "list", "-o", "json"))
	var list struct {
		Items []struct {
			ClientID string `json:"client_id"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || len(list.Items) != 1 || list.Items[0].ClientID != evil {
		t.Errorf("%v: %+v", err, list)
	}
}

func TestATokenIsNotSentOverARedirect(t *testing.T) {
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		}))
		for _, args := range [][]string{{"token", "list"}, {"token", "create", "--client-id", "x"}} {
			got := runs(t, elsewhere(t, server.URL, args...))
			if got.code != 9 || !strings.Contains(got.err, fmt.Sprint("the server answered ", status)) {
				t.Errorf("%s over a %d: exit code %d\n%s", args, status, got.code, got.err)
			}
		}
		server.Close()
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

// silentServer takes calls and never answers; it tells of each.
func silentServer(t *testing.T) (url string, asked <-chan string) {
	t.Helper()
	calls, release := make(chan string, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		calls <- r.Method
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	return server.URL, calls
}

func TestWhatIsNotMintmarkIsExitCode9AndSaysSo(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusNotFound, http.StatusNotImplemented} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<title>something else</title>"))
		}))
		t.Cleanup(other.Close)
		got := runs(t, elsewhere(t, other.URL, "token", "show", "ci"))
		if got.code != 9 || !strings.Contains(got.err, "is that Mintmark's address") {
			t.Errorf("%d: exit code %d\n%s", status, got.code, got.err)
		}
		got = runs(t, elsewhere(t, strings.Replace(other.URL, "http:", "https:", 1), "token", "show", "ci"))
		if got.code != 9 || !strings.Contains(got.err, "error: the server has no TLS\n  its address begins with http://") {
			t.Errorf("https to http: exit code %d\n%s", got.code, got.err)
		}
	}
}

func TestNoAnswerInTimeIsExitCode9(t *testing.T) {
	url, _ := silentServer(t)
	got := runs(t, elsewhere(t, url, "token", "list", "--timeout", "50ms", "-o", "json"))
	if got.code != 9 || !strings.HasPrefix(got.err, `{"error":{"code":"timeout",`) {
		t.Errorf("exit code %d\n%s", got.code, got.err)
	}
	got = runs(t, elsewhere(t, url, "token", "create", "--client-id", "x", "--timeout", "3s"))
	if got.code != 9 || !strings.Contains(got.err, "the change may have been made") {
		t.Errorf("exit code %d\n%s", got.code, got.err)
	}
}

// Whoever asked for a change and got no answer is told what is known: whether
// the server may have made it.
func TestABrokenConnectionSaysWhatIsKnown(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(broken.Close)
	const broke = "error: the connection broke before the answer came"
	for says, args := range map[string][]string{
		broke + "\n  does the server run":                           {"token", "list"},
		broke + "; the change may have been made: see audit list\n": {"token", "create", "--client-id", "x"},
	} {
		if got := runs(t, elsewhere(t, broken.URL, args...)); got.code != 9 || !strings.HasPrefix(got.err, says) {
			t.Errorf("%s: exit code %d\n%s", args, got.code, got.err)
		}
	}
	full := unanswering(t)
	got := runs(t, elsewhere(t, "http://"+full, "token", "create", "--client-id", "x", "--timeout", "200ms"))
	if got.code != 9 || !strings.Contains(got.err, "there was no answer in time") || strings.Contains(got.err, "may have been made") {
		t.Errorf("nobody takes the connection: exit code %d\n%s", got.code, got.err)
	}
}

// unanswering is an address whose queue of connections is full: no more is taken.
func unanswering(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	loopback := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	must(t, syscall.Bind(fd, loopback))
	must(t, syscall.Listen(fd, 0))
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue is not full")
	return ""
}

// Ctrl-C says whether something may have been done.
func TestAnInterruptedCallSaysWhatIsKnown(t *testing.T) {
	url, asked := silentServer(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"token", "list"}, "Nothing was changed.\n"},
		{[]string{"token", "create", "--client-id", "x"}, "the change may have been made"},
	} {
		command := elsewhere(t, url, c.args...)
		var errs bytes.Buffer
		command.Stderr = &errs
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		<-asked
		if err := command.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = command.Wait()
		if code := command.ProcessState.ExitCode(); code != 130 || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%s: exit code %d\n%s", c.args, code, errs.String())
		}
	}
}

// An interrupted stop tells that the server goes on to stop.
func TestAnInterruptedStopGoesOn(t *testing.T) {
	home := install(t)
	s := home.serve(t)
	slow := home.beginRequest(t)
	command := exec.Command(filepath.Join(home.dir, "manager"), "stop")
	var errs bytes.Buffer
	command.Stderr = &errs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server takes no more connections", func() bool { return !home.listens() })
	if err := command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 130 || !strings.Contains(errs.String(), "still waits for requests under way") {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
	if err := slow.finish(); err != nil {
		t.Errorf("the request under way: %v", err)
	}
	s.ends()
}

func TestAnInterruptedStartLeavesNoServer(t *testing.T) {
	home := install(t)
	lock, err := os.OpenFile(filepath.Join(home.dir, ".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // the server waits for it a moment
		t.Fatal(err)
	}
	command := exec.Command(filepath.Join(home.dir, "manager"), "start")
	var errs bytes.Buffer
	command.Stderr = &errs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server begins", func() bool {
		_, err := os.Stat(filepath.Join(home.dir, "logs", "server.log"))
		return err == nil
	})
	if err := command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 130 || !strings.Contains(errs.String(), "the server was told to stop again") {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the home is stopped", func() bool { return home.run(t, "status").code == 3 })
	if home.listens() {
		t.Error("a server runs")
	}
}

func TestAnotherUserIsNotAllowed(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can be somebody else")
		}
		t.Skip("NOT TESTED: only root can be somebody else")
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	// Where everybody may go, and a home in it.
	public, err := os.MkdirTemp("", "mintmark-public-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(public) })
	h := home{dir: filepath.Join(public, "home")}
	t.Cleanup(func() { h.stop(t) })
	shell(t, public, `chmod 755 . && install -m 755 '`+program+`' mintmark && ./mintmark init home --start --listen `+freeAddress(t))
	for _, opened := range []string{"true", "chmod 755 home && chmod 644 home/config.json", "chmod 755 home/run", "chmod 666 home/run/mintmark.sock"} {
		shell(t, public, opened)
		command := exec.Command(filepath.Join(public, "mintmark"), "--home", h.dir, "token", "list")
		command.Dir = public
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		got := runs(t, command)
		if got.code != 4 || got.out != "" || got.err == "" {
			t.Errorf("after %q: exit code %d\n%s%s", opened, got.code, got.out, got.err)
		}
	}
	shell(t, public, "chmod 700 home home/run && chmod 600 home/config.json home/run/mintmark.sock")
}

// Every command leads its help with two examples, and each of them is a command
// line that the program takes.
func TestEveryHelpLeadsWithExamplesThatExist(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	subcommand := regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)
	var seen []string
	var walk func(path []string)
	walk = func(path []string) {
		seen = append(seen, strings.Join(path, " "))
		got := runs(t, exec.Command(program, append(path, "-h")...))
		again := runs(t, exec.Command(program, append([]string{"help"}, path...)...))
		if got.code != 0 || got.err != "" || got.out != again.out {
			t.Errorf("%s -h: exit code %d, and help says %q", path, got.code, again.out)
		}
		_, rest, found := strings.Cut(got.out, "\nExamples:\n")
		examples, rest, _ := strings.Cut(rest, "\n\n")
		lines := strings.Split(examples, "\n")
		if !found || len(lines) != 2 || strings.Contains(strings.Split(got.out, "\nExamples:\n")[0], "Usage") {
			t.Errorf("%s -h does not lead with two examples:\n%s", path, got.out)
		}
		for _, line := range lines {
			takesExample(t, program, path, line)
		}
		if _, commands, group := strings.Cut(rest, "\nCommands:\n"); group {
			commands, _, _ = strings.Cut(commands, "\n\n")
			for _, match := range subcommand.FindAllStringSubmatch(commands, -1) {
				if match[1] != "help" {
					walk(append(append([]string{}, path...), match[1]))
				}
			}
		}
	}
	walk(nil)
	for _, command := range strings.Fields("init serve start stop restart status config/properties/list config/properties/get config/properties/set " +
		"config/properties/unset config/show config/diff config/validate config/apply config/discard config/rollback token/create token/list " +
		"token/show token/copy token/delete token/restore token/inspect key/list key/reset support/reset-jwt-key audit/list admin/create " +
		"admin/list admin/reset-password admin/unlock doctor completion version") {
		name := strings.ReplaceAll(command, "/", " ")
		if !strings.Contains("\n"+strings.Join(seen, "\n")+"\n", "\n"+name+"\n") {
			t.Errorf("there is no command %s", name)
		}
	}
}

// takesExample has the program read an example with help after it, so that
// nothing is done: its command is there, and so are its flags.
func takesExample(t *testing.T, program string, path []string, line string) {
	t.Helper()
	_, args, found := strings.Cut(line, "mintmark ")
	if !found {
		t.Errorf("%s: the example %q runs nothing", path, line)
		return
	}
	if strings.HasPrefix(args, "completion") || strings.Contains(line, "T=$(") {
		args = strings.TrimSuffix(args, ")")
	}
	args = regexp.MustCompile(`( <| >| \|).*`).ReplaceAllString(args, "")
	got := runs(t, exec.Command("sh", "-c", `"$0" `+args+` -h`, program))
	if got.code != 0 {
		t.Errorf("%s: the example %q: exit code %d\n%s", path, line, got.code, got.err)
	}
	if name := strings.Join(path, " "); len(path) > 0 && !strings.HasPrefix(args, strings.Fields(name)[0]) {
		t.Errorf("%s: the example %q is of another command", path, line)
	}
}

// The lines for the shell in the README, in their order, each as it stands.
func TestTheCommandsOfTheReadmeWork(t *testing.T) {
	const standard = "127.0.0.1:3000"
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```\n(.*?)```\n").FindAllStringSubmatch(read(t, filepath.Join("..", "README.md")), -1)
	folder, addr := t.TempDir(), freeAddress(t)
	h := home{dir: filepath.Join(folder, "mintmark-home"), url: "http://" + addr}
	t.Cleanup(func() { h.stop(t) })
	ran, paste := 0, "" // the line before a call takes a token in
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			line = strings.ReplaceAll(strings.TrimSpace(line), standard, addr)
			switch {
			case line == "./scripts/test": // what runs this
				continue
			case strings.HasPrefix(line, "go run ./cmd/mintmark init "):
				line = strings.Replace(line, "go run ./cmd/mintmark", "'"+program+"'", 1) + " --listen " + addr
			case strings.HasPrefix(line, "read "):
				paste = line + "\n"
				continue
			case strings.HasPrefix(line, "curl "): // the token that the reader has made in the console
				token := h.token(t, "dfsadmin", "admin") + "\n"
				typed(t, folder, paste+strings.Replace(line, "curl ", "curl -sSf ", 1), token)
				ran++
				continue
			case !strings.HasPrefix(line, "./mintmark-home/manager "):
				t.Errorf("nobody tries the line %q of the README", line)
				continue
			}
			shell(t, folder, line)
			ran++
		}
	}
	if ran < 6 {
		t.Errorf("the README has %d commands", ran)
	}
}
