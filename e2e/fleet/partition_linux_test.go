package fleet

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// wire is a cable between two network namespaces of our own.
type wire struct{ database, node string }

const (
	databaseAddress = "10.213.7.1"
	nodeAddress     = "10.213.7.2"
)

func newWire(t *testing.T) wire {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "root, for network namespaces,")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		lacking(t, "ip (Debian: iproute2)")
	}
	var b [3]byte
	_, _ = rand.Read(b[:])
	w := wire{"mmdb" + hex.EncodeToString(b[:]), "mmnode" + hex.EncodeToString(b[:])}
	t.Cleanup(func() {
		for _, name := range []string{w.database, w.node} {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	})
	for _, line := range []string{
		"netns add " + w.database, "netns add " + w.node,
		"link add wire netns " + w.database + " type veth peer name wire netns " + w.node,
		"-n " + w.database + " addr add " + databaseAddress + "/24 dev wire", "-n " + w.node + " addr add " + nodeAddress + "/24 dev wire",
		"-n " + w.database + " link set lo up", "-n " + w.node + " link set lo up", "-n " + w.database + " link set wire up", "-n " + w.node + " link set wire up",
	} {
		ip(t, line)
	}
	return w
}

func ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

func (w wire) plug(t *testing.T, in bool) {
	t.Helper()
	state := map[bool]string{true: "up", false: "down"}[in]
	ip(t, "-n "+w.node+" link set wire "+state)
}

// dial connects from inside a namespace.
func dialIn(namespace string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		type made struct {
			conn net.Conn
			err  error
		}
		done := make(chan made, 1)
		go func() {
			runtime.LockOSThread() // and never let go: the thread ends with the goroutine
			file, err := os.Open(filepath.Join("/run/netns", namespace))
			if err != nil {
				done <- made{err: err}
				return
			}
			defer func() { _ = file.Close() }()
			if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
				done <- made{err: err}
				return
			}
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, address)
			done <- made{conn, err}
		}()
		m := <-done
		return m.conn, m.err
	}
}

// TestAPartedNodeAnswersAtNoDoorAndRecovers pulls the cable between a node and
// its database.
func TestAPartedNodeAnswersAtNoDoorAndRecovers(t *testing.T) {
	w := newWire(t)
	c := prepareCluster(t)
	c.within, c.host = []string{"ip", "netns", "exec", w.database}, databaseAddress
	hba, err := os.OpenFile(filepath.Join(c.data(), "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = hba.WriteString("host all all " + nodeAddress + "/32 trust\n")
	must(t, joined(err, hba.Close()))
	c.start(t)

	dial := dialIn(w.node)
	n := &node{name: "parted", dir: filepath.Join(t.TempDir(), "home"), url: "http://127.0.0.1:3000", within: []string{"ip", "netns", "exec", w.node}}
	n.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8}}
	t.Cleanup(n.kill)
	n.init(t, "127.0.0.1:3000", c.url(""), "")
	upstream := newUpstream(t, w.node)
	for _, p := range []string{"gateway.ext_authz.listen=127.0.0.1:3001", "guard.upstream=http://" + upstream, "guard.listen=127.0.0.1:3002"} {
		name, value, _ := strings.Cut(p, "=")
		n.run(t, "config", "properties", "set", name, value)
	}
	n.run(t, "config", "apply")
	n.start(t)
	n.awaitReady(t)
	token := strings.TrimSpace(n.run(t, "token", "create", "--client-id", "parted", "--role", "admin", "-q"))

	doors := n.doors(t, token, dial)
	for name, door := range doors {
		eventually(t, name+" allows", func() bool { return door() == http.StatusOK })
	}
	const bound = 5 * time.Second
	w.plug(t, false)
	pulled := time.Now()
	for name, door := range doors {
		if got := door(); got != http.StatusOK {
			t.Errorf("%s answers %d at once, though the node may answer from what it knows for %s", name, got, bound)
		}
	}
	time.Sleep(time.Until(pulled.Add(bound + time.Second)))
	for name, door := range doors {
		if got := door(); got != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d, %s after the cable was pulled", name, got, time.Since(pulled))
		}
	}
	if n.ready() {
		t.Error("it says that it is ready")
	}
	time.Sleep(3 * time.Second) // long enough for connections to have given up
	w.plug(t, true)
	back := time.Now()
	for name, door := range doors {
		for door() != http.StatusOK && time.Since(back) < 10*time.Second {
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("%s answers %s after the cable is back", name, time.Since(back).Round(10*time.Millisecond))
	}
	if took := time.Since(back); took > 3*time.Second {
		t.Errorf("it took %s to recover", took)
	}
}

// newUpstream is an API behind the guard, inside the namespace.
func newUpstream(t *testing.T, namespace string) string {
	t.Helper()
	const address = "127.0.0.1:9000"
	listening := make(chan error, 1)
	var l net.Listener
	go func() {
		runtime.LockOSThread()
		file, err := os.Open(filepath.Join("/run/netns", namespace))
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			_ = file.Close()
		}
		if err == nil {
			l, err = net.Listen("tcp", address)
		}
		listening <- err
	}()
	must(t, <-listening)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return address
}

// doors asks each door about a token; the answer is the HTTP status that it
// stands for.
func (n *node) doors(t *testing.T, token string, dial func(context.Context, string, string) (net.Conn, error)) map[string]func() int {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:3001", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) }))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	check := &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
		Method: "GET", Path: "/", Headers: map[string]string{"authorization": "Bearer " + token},
	}}, Source: &auth.AttributeContext_Peer{Address: &core.Address{}}}}
	form := func(path string) func() int {
		return func() int {
			r, _ := http.NewRequest(http.MethodPost, n.url+path, strings.NewReader("token="+token))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", "Bearer "+token)
			return n.status(r)
		}
	}
	get := func(url string) func() int {
		return func() int {
			r, _ := http.NewRequest(http.MethodGet, url, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			return n.status(r)
		}
	}
	return map[string]func() int{
		"forward-auth":  get(n.url + "/auth/verify"),
		"own API":       get(n.url + "/api/v1/whoami"),
		"guard":         get("http://127.0.0.1:3002/"),
		"introspection": form("/oauth2/introspect"),
		"token review": func() int {
			body := fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":%q}}`, token)
			r, _ := http.NewRequest(http.MethodPost, n.url+"/k8s/tokenreview", bytes.NewReader([]byte(body)))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+token)
			return n.status(r)
		},
		"ext_authz": func() int {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			a, err := auth.NewAuthorizationClient(conn).Check(ctx, check)
			switch {
			case err != nil:
				return http.StatusBadGateway
			case codes.Code(a.GetStatus().GetCode()) == codes.OK:
				return http.StatusOK
			}
			return int(a.GetDeniedResponse().GetStatus().GetCode())
		},
	}
}

func (n *node) status(r *http.Request) int {
	a, err := n.http.Do(r)
	if err != nil {
		return 0
	}
	_ = a.Body.Close()
	return a.StatusCode
}
