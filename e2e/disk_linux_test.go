package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// ownMounts is set in the process whose mounts are nobody else's.
const ownMounts = "MINTMARK_E2E_OWN_MOUNTS"

// inOwnMounts runs the test that calls it again where mounts are nobody else's
// and end with the process; it tells whether this is that place.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMounts) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can mount a small disk")
		}
		t.Skip("SKIPPED: only root can mount a small disk")
	}
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), ownMounts+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := again.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "--- SKIP: "+t.Name()) {
		if os.Getenv("CI") != "" {
			t.Fatalf("mounting is refused: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: root may not mount here: %v\n%s", err, out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// disk is a folder with a small file system of its own.
type disk struct {
	t    *testing.T
	path string
}

func newDisk(t *testing.T, size string) disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	return disk{t, path}
}

func (d disk) filler() string { return filepath.Join(d.path, "filler") }

// fill takes all the space that is left.
func (d disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			chunk = chunk[:len(chunk)/2]
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d disk) empty() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}

// protect puts the same folder, read-only, in its own place: what is open stays
// writable, and nothing else is.
func (d disk) protect() {
	d.t.Helper()
	const bind, remountReadOnly = syscall.MS_BIND, syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY
	if err := errors.Join(syscall.Mount(d.path, d.path, "", bind, ""), syscall.Mount("", d.path, "", remountReadOnly, "")); err != nil {
		d.t.Fatal(err)
	}
}

func (d disk) unprotect() {
	d.t.Helper()
	if err := syscall.Unmount(d.path, syscall.MNT_DETACH); err != nil {
		d.t.Fatal(err)
	}
}

// operator looks at a server whose disk makes trouble.
type operator struct {
	t       *testing.T
	home    home
	admin   string // Authorization of an Admin token
	user    string // and of a User token
	console *http.Client
	made    []string // ids of the tokens that were created since
}

// newOperator signs in to the console and has two tokens.
func newOperator(t *testing.T, h home) *operator {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{
		t: t, home: h, console: &http.Client{Jar: jar},
		admin: "Bearer " + h.token(t, "admin", "admin"), user: "Bearer " + h.token(t, "before", "user"),
	}
	in, err := o.console.PostForm(h.url+"/sign-in", url.Values{"username": {"admin"}, "password": {adminPassword}})
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Body.Close()
	if in.StatusCode != http.StatusOK {
		t.Fatalf("signing in leads to a page with status %d", in.StatusCode)
	}
	return o
}

func (o *operator) create() answer {
	o.t.Helper()
	a := call(o.t, request{
		method: http.MethodPost, url: o.home.url + "/api/v1/tokens", authorization: o.admin,
		contentType: "application/json", body: `{"client_id":"batch","role":"user"}`,
	})
	var made struct{ ID string }
	if a.status == http.StatusCreated {
		if err := json.Unmarshal([]byte(a.body), &made); err != nil {
			o.t.Fatal(err)
		}
		o.made = append(o.made, made.ID)
	}
	return a
}

func (o *operator) delete(id string) answer {
	o.t.Helper()
	return call(o.t, request{method: http.MethodDelete, url: o.home.url + "/api/v1/tokens/" + id, authorization: o.admin})
}

// works makes a token and deletes it.
func (o *operator) works() {
	o.t.Helper()
	if a := o.create(); a.status != http.StatusCreated {
		o.t.Fatalf("create answers %d %s", a.status, a.body)
	}
	if a := o.delete(o.made[len(o.made)-1]); a.status != http.StatusNoContent {
		o.t.Fatalf("delete answers %d %s", a.status, a.body)
	}
	if banner := o.banner(); banner {
		o.t.Error("the console tells a problem that is over")
	}
}

// banner reports whether the console says that nothing can be changed.
func (o *operator) banner() bool {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, o.home.url+"/tokens", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	page := exchange(o.t, o.console, r)
	if page.status != http.StatusOK {
		o.t.Fatalf("the list of tokens has status %d", page.status)
	}
	return strings.Contains(page.body, "Changes cannot be written")
}

// refused expects changes to be refused with a problem, and all else to go on.
func (o *operator) refused(status int, code string) {
	o.t.Helper()
	before := len(o.made)
	for name, a := range map[string]answer{"create": o.create(), "delete": o.delete(o.tokenID("before"))} {
		var problem struct {
			Code, Detail string
			Status       int
		}
		err := json.Unmarshal([]byte(a.body), &problem)
		if a.status != status || problem.Status != status || problem.Code != code || problem.Detail == "" || err != nil ||
			a.header.Get("Content-Type") != "application/problem+json" {
			o.t.Errorf("%s answers %d %s %s, want a problem %d %s", name, a.status, a.header.Get("Content-Type"), a.body, status, code)
		}
	}
	if len(o.made) != before {
		o.t.Error("a token was made")
	}
	o.goesOn()
	if !o.banner() {
		o.t.Error("the console does not say that changes cannot be written")
	}
}

// goesOn expects verdicts, and the server to be ready for them.
func (o *operator) goesOn() {
	o.t.Helper()
	for path, authorization := range map[string]string{"/api/v1/whoami": o.user, "/auth/verify": o.user, "/readyz": "", "/healthz": ""} {
		if a := call(o.t, request{url: o.home.url + path, authorization: authorization}); a.status != http.StatusOK {
			o.t.Errorf("%s answers %d %s", path, a.status, a.body)
		}
	}
}

// tokenID finds the one token of a client.
func (o *operator) tokenID(clientID string) string {
	o.t.Helper()
	a := call(o.t, request{url: o.home.url + "/api/v1/tokens?q=" + clientID, authorization: o.admin})
	var list struct{ Items []struct{ ID string } }
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list.Items) != 1 {
		o.t.Fatalf("the list of %s is %d %s", clientID, a.status, a.body)
	}
	return list.Items[0].ID
}

// audited expects exactly one event of the making of each token.
func (o *operator) audited() {
	o.t.Helper()
	a := call(o.t, request{url: o.home.url + "/api/v1/audit?limit=500&action=token.created", authorization: o.admin})
	var log struct{ Items []struct{ Target string } }
	if err := json.Unmarshal([]byte(a.body), &log); err != nil || a.status != http.StatusOK {
		o.t.Fatalf("the audit log is %d %s", a.status, a.body)
	}
	var made []string
	for _, e := range log.Items {
		made = append(made, e.Target)
	}
	for _, id := range o.made {
		if n := len(made) - len(slices.DeleteFunc(slices.Clone(made), func(s string) bool { return s == id })); n != 1 {
			o.t.Errorf("the audit log has %d events of the making of %s", n, id)
		}
	}
}

func TestDoctorTellsOfLittleSpace(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t, "64m")
	h := installAt(t, d.path)
	h.says(t, "free space", "attention\t", "Make space: without it no token is created or deleted.")
}

// Whether or not a change has been tried: verdicts are given, the server is ready,
// and whoever looks is told.
func TestAFullOrReadOnlyDiskIsNamedBeforeAChangeIsTried(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t, "64m")
	if err := os.Mkdir(filepath.Join(d.path, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"", "sqlite:"} {
		h := installAt(t, t.TempDir(), "--store", kind+filepath.Join(d.path, "tokens", "of"+strings.TrimSuffix(kind, ":")+".json"))
		s := h.serve(t)
		named := func(fact, remedy string) {
			t.Helper()
			h.says(t, "free space of the store", "problem\t"+fact, remedy)
			if got := h.run(t, "status"); got.code != 0 || !strings.Contains(got.out, "free space of the store: "+fact) {
				t.Errorf("the status says %d %s", got.code, got.out)
			}
			if a := call(t, request{url: h.url + "/readyz"}); a.status != http.StatusOK {
				t.Errorf("/readyz answers %d", a.status)
			}
		}
		d.fill()
		named("0 KiB in "+d.path, "Make space: without it no token is created or deleted.")
		d.empty()
		d.protect()
		named(filepath.Join(d.path, "tokens")+" cannot be written: read-only file system", "until then no token is created or deleted.")
		d.unprotect()
		s.signal(os.Interrupt)
		s.ends()
	}
}

// installAt makes an installation directory in a folder, with args after those
// of init.
func installAt(t *testing.T, folder string, args ...string) home {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	h := home{dir: filepath.Join(folder, "home"), url: "http://" + addr}
	args = append([]string{"init", h.dir, "--listen", addr, "--admin-password-file", passwordFile(t)}, args...)
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("mintmark init: %v\n%s", err, out)
	}
	return h
}

func TestAFullOrReadOnlyDiskOfTokensEndsChangesAndNothingElse(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t, "256k")
	file := write(t, filepath.Join(d.path, "token.json"), "")
	h := installAt(t, t.TempDir(), "--store", file)
	s := h.serve(t)
	o := newOperator(t, h)
	o.works()

	d.fill()
	o.refused(http.StatusInsufficientStorage, "store.full")
	d.empty()
	o.works()

	d.protect()
	o.refused(http.StatusServiceUnavailable, "store.read_only")
	d.unprotect()
	o.works()
	o.audited()
	h.survivesAKill(t, s, o)
}

func TestAFullDiskOfTheHomeEndsChangesAndNothingElse(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t, "128m")
	h := installAt(t, d.path)
	s := h.serve(t)
	o := newOperator(t, h)
	o.works()

	d.fill()
	o.refused(http.StatusInsufficientStorage, "store.full")
	if a := call(t, request{
		method: http.MethodPost, url: h.url + "/api/v1/signIn", contentType: "application/json",
		body: `{"username":"admin","password":"` + adminPassword + `"}`,
	}); a.status != http.StatusInsufficientStorage && a.status != http.StatusServiceUnavailable {
		t.Errorf("signing in answers %d %s", a.status, a.body)
	}
	o.goesOn()
	d.empty()
	o.works()
	o.audited()
	h.survivesAKill(t, s, o)
}

// TestAFullDiskOfTheAuditLogEndsChanges: tokens have room, but their events have
// not; the first that finds no room in the log is in the token file, with its
// change, and no other change is made until it is in the log.
func TestAFullDiskOfTheAuditLogEndsChanges(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t, "128m")
	place := filepath.Join(t.TempDir(), "tokens")
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(place, "token.json"), "")
	h := installAt(t, d.path, "--store", file)
	s := h.serve(t)
	o := newOperator(t, h)
	o.works()

	d.fill()
	const room = 100 // more events than fit in what the last page of the log has left
	n := 0
	for ; n < room && o.create().status == http.StatusCreated; n++ {
		o.goesOn()
	}
	t.Logf("%d tokens were made before the log was full", n)
	if n == room {
		t.Fatal("the log took all of them: its disk is not full")
	}
	o.refused(http.StatusInsufficientStorage, "store.full")
	o.audited() // also of the last one that was made
	d.empty()
	o.works()
	o.audited()
	h.survivesAKill(t, s, o)
}

// survivesAKill expects the tokens of before, and their events, after a kill -9.
func (h home) survivesAKill(t *testing.T, s *server, o *operator) {
	t.Helper()
	s.signal(os.Kill)
	<-s.ended
	h.serve(t)
	o.goesOn()
	o.audited()
}
