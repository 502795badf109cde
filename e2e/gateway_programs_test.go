package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// gateway is a real program before an API, with its files of deploy/.
type gateway struct {
	name     string
	debian   []string          // the packages that bring it
	programs []string          // its command, under one of these names
	module   string            // a file that it loads, "": none
	version  []string          // the arguments that print its version
	shipped  map[string]string // a file of deploy/ → where its configuration says that it is
	// own is the configuration around the shipped files that an installed
	// program already has; dir is where all of them are.
	own func(dir string) map[string]string
	// beside are files of own that a shipped configuration names by another path.
	beside  map[string]string
	command func(dir string) []string
	// passesTrailers: the program passes the fields after a chunked body on, and
	// docs/gateways.md says so.
	passesTrailers bool
	limited        int // what a client is told when a limit is reached; 0: 403, as the door says
}

// The addresses that every shipped configuration names; docs/gateways.md tells
// to change them.
const (
	shippedEntrance  = "127.0.0.1:8080"
	shippedAuthority = "127.0.0.1:3000"
	shippedAPI       = "127.0.0.1:9000"
)

func gateways() []gateway {
	return []gateway{
		{
			name: "nginx", debian: []string{"nginx"}, programs: []string{"nginx", "/usr/sbin/nginx"}, version: []string{"-v"},
			shipped: map[string]string{"nginx/mintmark.conf": ""},
			own: func(dir string) map[string]string {
				temporary := ""
				for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
					temporary += fmt.Sprintf("\t%s_temp_path %s/%s;\n", kind, dir, kind)
				}
				return map[string]string{"nginx.conf": fmt.Sprintf(
					"daemon off;\npid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\n\taccess_log %s/access.log;\n%s\tinclude %s/mintmark.conf;\n}\n", dir, dir, temporary, dir)}
			},
			command: func(dir string) []string { return []string{"-e", "stderr", "-p", dir, "-c", dir + "/nginx.conf"} },
			limited: http.StatusTooManyRequests,
		},
		{
			name: "caddy", debian: []string{"caddy"}, programs: []string{"caddy"}, version: []string{"version"},
			shipped: map[string]string{"caddy/Caddyfile": ""},
			own: func(dir string) map[string]string {
				return map[string]string{"main.caddyfile": "{\n\tadmin off\n}\nimport " + dir + "/Caddyfile\n"}
			},
			command: func(dir string) []string {
				return []string{"run", "--adapter", "caddyfile", "--config", dir + "/main.caddyfile"}
			},
			passesTrailers: true, // newer ones than Debian's do
		},
		{
			name: "haproxy", debian: []string{"haproxy"}, programs: []string{"haproxy", "/usr/sbin/haproxy"}, version: []string{"-v"},
			shipped:        map[string]string{"haproxy/haproxy.cfg": "", "haproxy/mintmark.lua": "/etc/haproxy/mintmark.lua"},
			command:        func(dir string) []string { return []string{"-db", "-f", dir + "/haproxy.cfg"} },
			passesTrailers: true,
		},
		{
			name: "apache", debian: []string{"apache2-bin", "lua-socket"}, programs: []string{"apache2", "/usr/sbin/apache2", "httpd"}, version: []string{"-v"},
			shipped: map[string]string{"apache/mintmark.conf": "", "apache/mintmark.lua": "/etc/apache2/mintmark.lua"},
			own: func(dir string) map[string]string {
				modules := ""
				for _, name := range []string{"mpm_event", "authz_core", "setenvif", "lua", "headers", "proxy", "proxy_http"} {
					modules += fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", name, name)
				}
				return map[string]string{"httpd.conf": fmt.Sprintf(
					"ServerRoot %s\nServerName localhost\nPidFile %s/pid\nDefaultRuntimeDir %s\nErrorLog %s/error.log\n%sInclude %s/mintmark.conf\n", dir, dir, dir, dir, modules, dir)}
			},
			command: func(dir string) []string { return []string{"-D", "FOREGROUND", "-f", dir + "/httpd.conf"} },
		},
	}
}

// introspecting is Apache with mod_auth_openidc, which asks by introspection as a
// Verifier and trusts one authority for certificates.
func introspecting(verifier issued, authority string) gateway {
	g := gateways()[len(gateways())-1]
	g.name, g.debian = "apache-openidc", []string{"apache2-bin", "libapache2-mod-auth-openidc"}
	g.module = "/usr/lib/apache2/modules/mod_auth_openidc.so"
	g.shipped = map[string]string{"apache/mintmark-openidc.conf": "", "apache/mintmark.lua": "/etc/apache2/mintmark.lua"}
	g.beside = map[string]string{"/etc/apache2/mintmark-secret.conf": "mintmark-secret.conf", "/etc/apache2/mintmark-ca.pem": "mintmark-ca.pem"}
	around := g.own
	g.own = func(dir string) map[string]string {
		files := around(dir)
		modules := ""
		for _, name := range []string{"authn_core", "auth_openidc"} {
			modules += fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", name, name)
		}
		files["httpd.conf"] = modules + strings.Replace(files["httpd.conf"], "/mintmark.conf", "/mintmark-openidc.conf", 1)
		files["mintmark-secret.conf"] = fmt.Sprintf("OIDCOAuthClientID %s\nOIDCOAuthClientSecret %s\n", verifier.ClientID, verifier.Token)
		files["mintmark-ca.pem"] = authority
		return files
	}
	return g
}

// find answers the path of the gateway's program. One that is missing fails
// where CI is set.
func (g gateway) find(t *testing.T) string {
	t.Helper()
	for _, name := range g.programs {
		path, err := exec.LookPath(name)
		if err == nil && g.module != "" {
			_, err = os.Stat(g.module)
		}
		if err == nil {
			return path
		}
	}
	missing := fmt.Sprintf("%s IS NOT INSTALLED, its configuration was not tested; on Debian: apt-get install %s", g.name, strings.Join(g.debian, " "))
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// lay writes the shipped files into dir with the addresses of this run, and
// nothing else changed.
func (g gateway) lay(t *testing.T, dir, entrance string, s *site) {
	t.Helper()
	moved := []string{shippedEntrance, entrance, shippedAuthority, s.line.address, shippedAPI, s.api.address()}
	all := ""
	for file, path := range g.shipped {
		all += read(t, filepath.Join("..", "deploy", file))
		if path != "" {
			moved = append(moved, path, filepath.Join(dir, filepath.Base(file)))
		}
	}
	for path, name := range g.beside {
		moved = append(moved, path, filepath.Join(dir, name))
	}
	for i := 0; i < len(moved); i += 2 {
		if !strings.Contains(all, moved[i]) {
			t.Fatalf("the configuration of %s does not name %s", g.name, moved[i])
		}
	}
	for file := range g.shipped {
		text := strings.NewReplacer(moved...).Replace(read(t, filepath.Join("..", "deploy", file)))
		write(t, filepath.Join(dir, filepath.Base(file)), text)
	}
	if g.own != nil {
		for name, text := range g.own(dir) {
			write(t, filepath.Join(dir, name), text)
		}
	}
}

// nobody runs the gateways when these tests run as root: whom the system has for
// it.
const nobody = 65534

// running is a gateway that answers.
type running struct {
	gateway
	entrance string // its address
	dir      string
	printed  *output
}

// said is everything that the gateway has printed or logged.
func (r running) said(t *testing.T) string {
	t.Helper()
	all := r.printed.String()
	logs, err := filepath.Glob(filepath.Join(r.dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		all += read(t, path)
	}
	return all
}

// start runs a gateway until the test ends.
func (g gateway) start(t *testing.T, s *site) running {
	t.Helper()
	program := g.find(t)
	dir, err := os.MkdirTemp("", "mintmark-"+g.name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := running{g, freeAddress(t), dir, &output{}}
	g.lay(t, dir, r.entrance, s)

	version, err := exec.Command(program, g.version...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, g.version, err, version)
	}
	t.Logf("run against %s", bytes.SplitN(version, []byte("\n"), 2)[0])

	command := exec.Command(program, g.command(dir)...)
	command.Dir = dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	command.Stdout, command.Stderr = r.printed, r.printed
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		handOver(t, dir)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", g.name, r.said(t))
		}
	})
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // and its workers
		<-ended
	})
	eventually(t, g.name+" answers", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v", g.name, err)
		default:
		}
		c, err := net.Dial("tcp", r.entrance)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return r
}

// handOver gives a folder and what is in it to nobody.
func handOver(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// output is what a program prints while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
