package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const password = "correct horse battery staple"

// node is one server of the fleet.
type node struct {
	name, dir, url string
	proxy          *proxy // between it and the database; nil: none
	http           *http.Client
	env            []string
	within         []string // a command in front of the program's

	mu     sync.Mutex
	server *exec.Cmd
	ended  chan struct{}
}

// join makes a node of the database at url; the first one of a fleet makes the
// key under which secrets are sealed, the others are given it.
func join(t testing.TB, name, url, sealing string, args ...string) *node {
	t.Helper()
	n := &node{name: name, dir: filepath.Join(t.TempDir(), name)}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	n.url = "http://" + address
	n.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	n.init(t, address, url, sealing, args...)
	t.Cleanup(func() { n.kill() })
	return n
}

func (n *node) init(t testing.TB, address, url, sealing string, args ...string) {
	t.Helper()
	all := append([]string{"init", n.dir, "--listen", address, "--store", url}, args...)
	if sealing != "" {
		all = append(all, "--sealing-key", sealing)
	} else {
		file := filepath.Join(t.TempDir(), "password")
		must(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
		all = append(all, "--admin-password-file", file)
	}
	n.run(t, all...)
	for _, p := range []string{"fleet.max_staleness=5s", "jwt.issuer=https://tokens.example", "jwt.audience=https://api.example"} {
		name, value, _ := strings.Cut(p, "=")
		n.run(t, "config", "properties", "set", name, value)
	}
	n.run(t, "config", "apply")
}

// run runs the program on the node's home and answers what it printed.
func (n *node) run(t testing.TB, args ...string) string {
	t.Helper()
	path, err := program()
	must(t, err)
	all := append(append([]string(nil), n.within...), path)
	command := exec.Command(all[0], append(all[1:], args...)...)
	command.Env = append(append(os.Environ(), "MINTMARK_HOME="+n.dir), n.env...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		t.Fatalf("%s: mintmark %s: %v\n%s%s", n.name, strings.Join(args, " "), err, out.String(), said.String())
	}
	return out.String()
}

// start starts the server; it may not be ready for long.
func (n *node) start(t testing.TB) {
	t.Helper()
	path, err := program()
	must(t, err)
	log, err := os.OpenFile(filepath.Join(scratch, n.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer func() { _ = log.Close() }()
	all := append(append([]string(nil), n.within...), path, "serve", "--home", n.dir)
	server := exec.Command(all[0], all[1:]...)
	server.Env = append(os.Environ(), n.env...)
	server.Stdout, server.Stderr = log, log
	must(t, server.Start())
	ended := make(chan struct{})
	go func() {
		_ = server.Wait()
		close(ended)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server, n.ended = server, ended
}

// kill ends the server as a lost machine does.
func (n *node) kill() {
	n.mu.Lock()
	server, ended := n.server, n.ended
	n.server = nil
	n.mu.Unlock()
	if server != nil {
		_ = server.Process.Signal(syscall.SIGKILL)
		<-ended
	}
}

// runs reports whether the server has not ended by itself.
func (n *node) runs() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return true
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

func (n *node) ready() bool {
	return n.ask(context.Background(), "GET", "/readyz", "", nil).status == http.StatusOK
}

func (n *node) awaitReady(t testing.TB) {
	t.Helper()
	eventually(t, n.name+" is ready", func() bool {
		if !n.runs() {
			t.Fatalf("%s ended; its log is\n%s", n.name, n.log(t))
		}
		return n.ready()
	})
}

func (n *node) log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(scratch, n.name+".log"))
	must(t, err)
	return string(text[max(0, len(text)-4000):])
}

// answer is what a node answered; the status is 0 when there was none.
type answer struct {
	status int
	body   []byte
}

func (a answer) field(name string) string {
	var all map[string]any
	_ = json.Unmarshal(a.body, &all)
	text, _ := all[name].(string)
	return text
}

func (n *node) ask(ctx context.Context, method, path, token string, body any, headers ...string) answer {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, n.url+path, text)
	if err != nil {
		return answer{}
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := n.http.Do(r)
	if err != nil {
		return answer{}
	}
	defer func() { _ = a.Body.Close() }()
	all, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err != nil {
		return answer{}
	}
	return answer{a.StatusCode, all}
}

// fleet is three nodes of one database, each behind a proxy of its own.
type fleet struct {
	cluster *cluster
	nodes   []*node
	admin   atomic.Pointer[string] // a token that may do everything
	adminID string
}

func (f *fleet) authorization() string { return *f.admin.Load() }

func newFleet(t testing.TB, size int) *fleet {
	t.Helper()
	return newFleetBehind(t, size, func(c *cluster) *proxy { return newProxy(t, net.JoinHostPort(c.host, fmt.Sprint(c.port))) })
}

// newFleetBehind is one whose nodes reach the database by a proxy each; nil: straight.
func newFleetBehind(t testing.TB, size int, between func(*cluster) *proxy) *fleet {
	t.Helper()
	f := &fleet{cluster: newCluster(t)}
	sealing := ""
	for i := range size {
		p, address := between(f.cluster), ""
		if p != nil {
			address = p.address()
		}
		n := join(t, fmt.Sprintf("node-%d-%s", i+1, strings.NewReplacer("/", "-", "=", "-").Replace(t.Name())), f.cluster.url(address), sealing)
		n.proxy = p
		if sealing == "" {
			sealing = filepath.Join(n.dir, "sealing.key")
		}
		f.nodes = append(f.nodes, n)
	}
	for _, n := range f.nodes {
		n.start(t)
	}
	for _, n := range f.nodes {
		n.awaitReady(t)
	}
	var made struct{ ID, Token string }
	out := f.nodes[0].run(t, "token", "create", "--client-id", "chaos", "--role", "admin", "-o", "json")
	must(t, json.Unmarshal([]byte(out), &made))
	f.adminID = made.ID
	f.admin.Store(&made.Token)
	for _, n := range f.nodes {
		eventually(t, "every node knows the admin's token", func() bool {
			return n.ask(t.Context(), "GET", "/api/v1/whoami", f.authorization(), nil).status == http.StatusOK
		})
	}
	return f
}
