package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
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

// conduct is what a stub node does with a request.
type conduct int32

const (
	answers conduct = iota
	unknown         // 503: it does not know the state
	silent          // takes the request and says nothing
	hangsUp         // takes the request and closes the connection
)

// stubNode is a node of a fleet, for who stands before it: over TLS, at one
// address, and at the mercy of a test.
type stubNode struct {
	address string
	pair    tls.Certificate
	does    atomic.Int32

	mu     sync.Mutex
	server *http.Server // nil: down
	got    []string     // method and path of what arrived
}

func newStubNode(t *testing.T, pair tls.Certificate) *stubNode {
	t.Helper()
	n := &stubNode{address: "127.0.0.1:0", pair: pair}
	n.up(t)
	t.Cleanup(n.down)
	return n
}

func (n *stubNode) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	n.address = l.Addr().String()
	s := &http.Server{Handler: n, ReadHeaderTimeout: time.Second, ErrorLog: quiet()}
	n.does.Store(int32(answers))
	n.mu.Lock()
	n.server = s
	n.mu.Unlock()
	go func() {
		_ = s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{n.pair}, MinVersion: tls.VersionTLS12}))
	}()
}

// down is what kill -9 does: no listener, and every connection cut.
func (n *stubNode) down() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		_ = n.server.Close()
		n.server = nil
	}
}

func (n *stubNode) runs() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server != nil
}

func (n *stubNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.got = append(n.got, r.Method+" "+r.URL.Path)
	n.mu.Unlock()
	switch conduct(n.does.Load()) {
	case unknown:
		w.WriteHeader(http.StatusServiceUnavailable)
	case silent:
		<-r.Context().Done()
	case hangsUp:
		panic(http.ErrAbortHandler)
	case answers:
		w.Header().Set("Cache-Control", "public, max-age=600") // a node says no-store; a cache must not need to be told
		for _, name := range []string{"Client-Id", "Role", "Token-Id"} {
			w.Header().Set("X-Auth-"+name, "stub")
		}
		_, _ = io.WriteString(w, n.address)
	}
}

// took answers what has arrived since the last call.
func (n *stubNode) took() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := n.got
	n.got = nil
	return got
}

// balanced is three stub nodes behind nginx.
type balanced struct {
	nodes  [3]*stubNode
	url    string
	client *http.Client
}

// The addresses, names and files that the shipped configurations of a fleet
// name; docs/fleet.md tells to change them.
const (
	shippedNode     = "10.0.0.1%d:3000"
	shippedNodeName = "nodes.mintmark.internal"
	shippedFolder   = "/etc/nginx/mintmark"
)

// balance runs nginx with a shipped configuration before three stub nodes; moved
// is as for layNginx.
func balance(t *testing.T, file, entrance string, moved ...string) *balanced {
	t.Helper()
	dir := newNginxDir(t)
	certificate, key := pair(t, dir, "localhost")
	loaded, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	b := &balanced{client: &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 8},
	}}
	for i := range b.nodes {
		b.nodes[i] = newStubNode(t, loaded)
		moved = append(moved, fmt.Sprintf(shippedNode, i+1), b.nodes[i].address)
	}
	layNginx(t, dir, file, entrance, moved...)
	return b
}

// newNginxDir is where a configuration, certificates and what nginx writes lie.
func newNginxDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mintmark-fleet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// layNginx runs nginx with a shipped configuration in which nothing is changed but
// what moved says: addresses, and what they are here. Its certificate, tls.pem and
// tls.key in dir, is also that of the nodes. Around it is a cache, as in
// somebody's nginx.conf.
func layNginx(t *testing.T, dir, file, entrance string, moved ...string) {
	t.Helper()
	program := gateways()[0].find(t)
	put(t, filepath.Join(dir, "nodes-ca.pem"), []byte(read(t, filepath.Join(dir, "tls.pem"))))
	moved = append(moved, shippedNodeName, "localhost", shippedFolder, dir)
	text := read(t, filepath.Join("..", "deploy", "fleet", "nginx", file))
	for i := 0; i < len(moved); i += 2 {
		if !strings.Contains(text, moved[i]) {
			t.Fatalf("%s does not name %s", file, moved[i])
		}
	}
	write(t, filepath.Join(dir, file), strings.NewReplacer(moved...).Replace(text))
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("\t%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	cache := fmt.Sprintf("\tproxy_cache_path %s/cache keys_zone=all:1m;\n\tproxy_cache all;\n\tproxy_cache_key $uri;\n\tproxy_cache_valid any 10m;\n", dir)
	conf := write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(
		"daemon off;\nworker_processes 2;\npid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\n\taccess_log off;\n%s%s\tinclude %s/%s;\n}\n", dir, temporary, cache, dir, file))
	runNginx(t, program, dir, conf, entrance)
}

// runNginx checks a configuration as `nginx -t` does and runs it until the test
// ends.
func runNginx(t *testing.T, program, dir, conf, entrance string) {
	t.Helper()
	args := []string{"-e", "stderr", "-p", dir, "-c", conf}
	said := &output{}
	command := exec.Command(program, args...)
	command.Stdout, command.Stderr = said, said
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check := exec.Command(program, append([]string{"-t"}, args...)...)
	if os.Geteuid() == 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		check.SysProcAttr = &syscall.SysProcAttr{Credential: command.SysProcAttr.Credential}
		handOver(t, dir)
	}
	if out, err := check.CombinedOutput(); err != nil || strings.Contains(string(out), "[warn]") {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // and its workers
		_ = command.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", said)
		}
	})
	eventually(t, "nginx answers", func() bool {
		c, err := net.Dial("tcp", entrance)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// ask answers the status, 0 when there was none, and the node that answered.
func (b *balanced) ask(t *testing.T, method, path string) (status int, node string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, b.url+path, strings.NewReader("x=1"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer x")
	answer, err := b.client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, ""
	}
	return answer.StatusCode, string(text)
}

// keepAsking asks from four clients at once until the function that it answers
// is called, which tells how often and what else than 200 was answered.
func (b *balanced) keepAsking(t *testing.T, method, path string) func() (asked int, failed []int) {
	t.Helper()
	var mu sync.Mutex
	var asking sync.WaitGroup
	var count int
	var bad []int
	stop := make(chan struct{})
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, _ := b.ask(t, method, path)
				mu.Lock()
				count++
				if status != http.StatusOK {
					bad = append(bad, status)
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []int) {
		close(stop)
		asking.Wait()
		return count, bad
	}
}

// arrivals is how often the nodes were asked since the last call, together.
func (b *balanced) arrivals() (all int) {
	for _, n := range b.nodes {
		all += len(n.took())
	}
	return all
}

// back has every node answer, and waits until nginx asks each of them again.
func (b *balanced) back(t *testing.T, method, path string) {
	t.Helper()
	b.mend(t)
	b.arrivals()
	waited := map[*stubNode]bool{}
	eventually(t, "every node is asked again", func() bool {
		b.ask(t, method, path)
		for _, n := range b.nodes {
			if len(n.took()) > 0 {
				waited[n] = true
			}
		}
		return len(waited) == len(b.nodes)
	})
}

// mend has every node answer.
func (b *balanced) mend(t *testing.T) {
	t.Helper()
	for _, n := range b.nodes {
		if !n.runs() {
			n.up(t)
		}
		n.does.Store(int32(answers))
	}
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
