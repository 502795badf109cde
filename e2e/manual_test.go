package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mintmark/api"
)

// chapter is one part of a story: those after it need what it did.
func chapter(t *testing.T, name string, tell func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, tell) {
		t.FailNow()
	}
}

// TestTheManualsPageWordForWord does what the manual's page on API tokens says,
// in its order and with its commands, in an installation that keeps tokens in
// memory at first.
func TestTheManualsPageWordForWord(t *testing.T) {
	home := install(t, "--store", "memory")
	if got := home.run(t, "start"); got.code != 0 || !strings.Contains(got.err, "tokens are kept in memory only and will be lost on restart") {
		t.Fatalf("start: exit code %d\n%s", got.code, got.err)
	}
	path := tokenFile(t, "")
	admin := visitor(t, home.url)
	var first, second string

	chapter(t, "the first sign-in takes the one-time code and a new password", func(t *testing.T) {
		firstSignIn(admin.in(t), home)
	})
	chapter(t, "manage icon, API Tokens, New API Token, client ID, role, Create", func(t *testing.T) {
		p := admin.in(t)
		p.sees("section.banner", "Tokens are kept in memory only.", "Restarting the server deletes any token you create.")
		gearIsUpperRight(p)
		p.do(t, chromedp.Click(chromedp.ID("manage")))
		if entry := evaluate[string](p, `document.querySelector("#manage-menu [role=menuitem]").innerText`); entry != "API Tokens" {
			t.Errorf("the first entry of the menu is %q", entry)
		}
		p.leads(`document.querySelector("#manage-menu [role=menuitem]")`)
		first = p.newToken("dfsadmin", "admin", map[string]string{"description": "moves the nightly files"})
		p.sees("#result-dialog", "Admin", "Tokens are kept in memory only: this one ends when the server restarts.")
		p.press("Done")
		p.forgets(first)
		second = p.newToken("etl-nightly", "user", map[string]string{"tags": "team:data, env:prod"})
		p.press("Done")
		p.sees("section.banner", "Restarting the server deletes all 2.")
	})
	chapter(t, "the list shows every detail", func(t *testing.T) {
		p := admin.in(t)
		p.open("/tokens")
		listShows(p, "dfsadmin", "Admin", "moves the nightly files", "Never used", "in 90 days", home.lastDay(t, "dfsadmin"))
		listShows(p, "etl-nightly", "User", "team:data", "env:prod", "Never used", "in 90 days", home.lastDay(t, "etl-nightly"))
	})
	chapter(t, "the API needs a token", func(t *testing.T) {
		home.rejects(t, "")
		home.accepts(t, "Bearer "+first, "dfsadmin")
		home.accepts(t, "JWT "+first, "dfsadmin")
		home.accepts(t, "Bearer "+second, "etl-nightly")
		tagsReach(t, home, second)
	})
	chapter(t, "the copy icon copies, at any later time", func(t *testing.T) {
		p := admin.in(t)
		p.open("/tokens")
		p.press("Copy token of dfsadmin")
		p.sees("#announce", "Token of dfsadmin copied.")
		if p.paste() != first {
			t.Error("the clipboard does not hold the token that was issued")
		}
	})
	chapter(t, "the trash icon ends the token at once", func(t *testing.T) {
		deleteToken(admin.in(t), "etl-nightly")
		home.rejects(t, "Bearer "+second)
	})
	chapter(t, "a restart ends the tokens in memory, and stop says so", func(t *testing.T) {
		admin.in(t).open("/tokens")
		admin.in(t).sees("section.banner", "Tokens are kept in memory only. Restarting the server deletes the 1 there is.")
		if stopped := home.manager(t, "stop"); !strings.Contains(stopped, "1 token was kept in memory") || !strings.Contains(stopped, "gone") {
			t.Errorf("stop does not say what was lost: %s", stopped)
		}
		home.manager(t, "start")
		home.rejects(t, "Bearer "+first)
		p := admin.in(t)
		p.open("/tokens")
		p.sees("main", "No tokens yet")
	})
	chapter(t, "touch, stop, config properties set, config apply, start", func(t *testing.T) {
		home.manager(t, "stop")
		if set := home.manager(t, "config", "properties", "set", "api.access.tokens.store", path); !strings.Contains(set, "Staged  api.access.tokens.store  (memory) -> "+path) {
			t.Errorf("set says: %s", set)
		}
		if read(t, path) != "" {
			t.Error("staging the property has written the file")
		}
		if applied := home.manager(t, "config", "apply"); !strings.Contains(applied, path) || !strings.Contains(applied, "Takes effect on start.") {
			t.Errorf("apply says: %s", applied)
		}
		if started := home.manager(t, "start"); !strings.Contains(started, "Store: "+path) || strings.Contains(started, "memory") {
			t.Errorf("start says: %s", started)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file has mode %v, %v", info.Mode(), err)
		}
	})
	chapter(t, "a token made from then on survives two restarts and a kill", func(t *testing.T) {
		p := admin.in(t)
		p.open("/tokens")
		if banner := p.text("section.banner"); banner != "" {
			t.Errorf("the page still warns: %s", banner)
		}
		first = p.newToken("dfsadmin", "admin", nil)
		p.press("Done")
		survives(t, home, first)
	})
	chapter(t, "a login token comes from signIn and goes into Authorization", func(t *testing.T) {
		for kind, in := range map[string][2]string{
			"form": {"application/x-www-form-urlencoded", "username=admin&password=" + strings.ReplaceAll(adminPassword, " ", "+")},
			"JSON": {"application/json", `{"username":"admin","password":"` + adminPassword + `"}`},
		} {
			login := home.signIn(t, in[0], in[1])
			for _, scheme := range []string{"Bearer ", "JWT "} {
				home.accepts(t, scheme+login, "admin")
			}
			if got := call(t, request{url: home.url + "/auth/verify", authorization: "Bearer " + login}); got.status != http.StatusUnauthorized {
				t.Errorf("a door that asks for an API token answers %d to the login token of a %s", got.status, kind)
			}
		}
	})
	chapter(t, "resetting the signing secret ends every token, login token and session", func(t *testing.T) {
		login := home.signIn(t, "application/json", `{"username":"admin","password":"`+adminPassword+`"}`)
		p := admin.in(t)
		p.open("/secret")
		p.sees("main", "Rotation is recommended every six months.")
		resetWhileStopped(t, home)
		home.rejects(t, "Bearer "+first)
		home.rejects(t, "JWT "+first)
		home.rejects(t, "Bearer "+login)
		p.follow("Audit log")
		p.sees("main", "The signing secret was reset, so all sign-ins ended.")
		p.fill("f-username", "admin")
		p.fill("f-password", adminPassword)
		p.follow("Sign in")
		if path := p.path(); path != "/audit" {
			t.Errorf("signing in again leads to %s", path)
		}
		home.accepts(t, "Bearer "+p.newToken("dfsadmin", "admin", nil), "dfsadmin")
	})
	admin.clean()
}

// firstSignIn takes the one-time code from its file, and sees that it is gone
// once it was used.
func firstSignIn(p *person, h home) {
	p.t.Helper()
	file := filepath.Join(h.dir, "run", "first-sign-in-code")
	code := strings.TrimSpace(read(p.t, file))
	p.open("/")
	p.sees("h1", "First sign-in")
	p.fill("f-code", code)
	p.fill("f-username", "admin")
	p.fill("f-password", adminPassword)
	p.follow("Set password and sign in")
	p.sees("h1", "API Tokens")
	eventually(p.t, "the used code's file is gone", func() bool {
		_, err := os.Stat(file)
		return os.IsNotExist(err)
	})
	if again := call(p.t, request{url: h.url + "/setup"}); again.status != http.StatusSeeOther || again.header.Get("Location") != "/sign-in" {
		p.t.Errorf("the first sign-in can be done again: %d", again.status)
	}
}

func gearIsUpperRight(p *person) {
	p.t.Helper()
	if !evaluate[bool](p, `{const g = document.getElementById("manage").getBoundingClientRect(); g.top < innerHeight / 8 && g.right > innerWidth * 0.9}`) {
		p.t.Error("the gear is not at the upper right")
	}
	if name := p.text("#manage"); !strings.HasPrefix(name, "Manage") {
		p.t.Errorf("the gear is called %q", name)
	}
}

// listShows fails the test unless the row of a client ID says all of details.
func listShows(p *person, clientID string, details ...string) {
	p.t.Helper()
	text := strings.Join(strings.Fields(evaluate[string](p, row(clientID)+`.innerText`)), " ")
	for _, detail := range details {
		if !strings.Contains(text, detail) {
			p.t.Errorf("the row of %s does not show %q: %s", clientID, detail, text)
		}
	}
}

// tagsReach fails the test unless a door tells an API behind it the role and the
// tags of a token.
func tagsReach(t *testing.T, h home, token string) {
	t.Helper()
	got := call(t, request{url: h.url + "/auth/verify?role=user&tag=team:data&tag=env:prod", authorization: "Bearer " + token})
	if got.status != http.StatusOK || got.header.Get("X-Auth-Role") != "user" || got.header.Get("X-Auth-Tags") != "team:data,env:prod" {
		t.Errorf("verify answers %d, role %q, tags %q", got.status, got.header.Get("X-Auth-Role"), got.header.Get("X-Auth-Tags"))
	}
	if got := call(t, request{url: h.url + "/auth/verify?tag=team:other", authorization: "Bearer " + token}); got.status != http.StatusForbidden {
		t.Errorf("verify answers %d for a tag that the token does not carry", got.status)
	}
}

// deleteToken presses the trash icon of a token in use, types its client ID and
// confirms.
func deleteToken(p *person, clientID string) {
	p.t.Helper()
	p.open("/tokens")
	p.follow("Delete token of " + clientID)
	p.sees("#delete-dialog", "Delete the token of "+clientID+"?", "Used ", " from 127.0.0.1", "refused at once")
	p.fill("f-confirm", clientID)
	p.follow("Delete token")
	p.sees(".notice", "The token of "+clientID+" was deleted.", "Restore")
	if evaluate[bool](p, row(clientID)+` !== undefined`) {
		p.t.Errorf("%s is still in the list", clientID)
	}
}

// survives restarts a home twice and kills its server once.
func survives(t *testing.T, h home, token string) {
	t.Helper()
	for range 2 {
		h.manager(t, "stop")
		h.manager(t, "start")
		h.accepts(t, "Bearer "+token, "dfsadmin")
	}
	h.kill(t)
	h.manager(t, "start")
	h.accepts(t, "Bearer "+token, "dfsadmin")
}

// resetWhileStopped rotates the signing secret as the manual says.
func resetWhileStopped(t *testing.T, h home) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h.manager(t, "stop")
	h.refuses(t, 8, []string{"Pass --confirm " + host}, "support", "reset-jwt-key")
	if done := h.manager(t, "support", "reset-jwt-key", "--confirm", host); !strings.Contains(done, "ended") {
		t.Errorf("the reset says: %s", done)
	}
	if applied := h.manager(t, "config", "apply"); !strings.Contains(applied, "Nothing was staged; nothing changed.") {
		t.Errorf("apply says: %s", applied)
	}
	h.manager(t, "start")
}

func TestEveryNameOfTheStorePropertySetsIt(t *testing.T) {
	for name, arguments := range map[string]func(path string) []string{
		"the manual's full name": func(path string) []string { return []string{"com.unraveldata.api.access.tokens.store", path} },
		"the path alone":         func(path string) []string { return []string{path} },
	} {
		t.Run(name, func(t *testing.T) {
			home := install(t, "--store", "memory")
			path := tokenFile(t, "")
			set := home.manager(t, append([]string{"config", "properties", "set"}, arguments(path)...)...)
			for _, word := range []string{"api.access.tokens.store", "Staged", "(memory) -> " + path, "1 staged change"} {
				if !strings.Contains(set, word) {
					t.Errorf("set does not say %q: %s", word, set)
				}
			}
			home.manager(t, "config", "apply")
			home.manager(t, "start")
			if got := home.status(t).Store; got.Location != path {
				t.Errorf("the store is %+v", got)
			}
			survives(t, home, home.token(t, "dfsadmin", "admin"))
		})
	}
}

func TestAStoreAppliedWhileTheServerRunsTakesTheTokensOver(t *testing.T) {
	home := install(t, "--store", "memory", "--start")
	token := home.token(t, "dfsadmin", "admin")
	path := tokenFile(t, "{}")
	home.manager(t, "config", "properties", "set", "api.access.tokens.store", path)
	if read(t, path) != "{}" {
		t.Error("staging the property has written the file")
	}
	applied := home.manager(t, "config", "apply")
	for _, word := range []string{"(memory)", path, "It held 0 tokens; 1 token was carried over.", "It is in effect."} {
		if !strings.Contains(applied, word) {
			t.Errorf("apply does not say %q: %s", word, applied)
		}
	}
	home.accepts(t, "Bearer "+token, "dfsadmin")
	survives(t, home, token)
	if strings.Contains(read(t, path), token) {
		t.Error("the file holds the token itself")
	}
}

func TestApplyingNothingIsNoFailure(t *testing.T) {
	home := install(t)
	for _, state := range []string{"start", "stop"} {
		home.manager(t, state)
		for range 2 {
			if got := home.run(t, "config", "apply"); got.code != 0 || got.out != "Nothing was staged; nothing changed.\n" {
				t.Errorf("after %s: exit code %d, %q, %s", state, got.code, got.out, got.err)
			}
		}
	}
}

func TestAWrongPathIsRefusedBeforeAnythingChanges(t *testing.T) {
	home := install(t, "--store", "memory", "--start")
	token := home.token(t, "dfsadmin", "admin")
	good := tokenFile(t, "")
	folder := filepath.Dir(good)
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	loose := write(t, filepath.Join(folder, "loose.json"), "")
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "link.json")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	const invalid = 7
	for name, c := range map[string]struct {
		path  string
		words []string
	}{
		"not absolute":          {"token.json", []string{"not an absolute path"}},
		"another ending":        {"/srv/token.txt", []string{"does not end in .json"}},
		"a file that is absent": {filepath.Join(folder, "absent.json"), []string{"absent.json", "does not exist", "install -m 600"}},
		"a folder for everyone": {write(t, filepath.Join(open, "token.json"), ""), []string{open, "0777"}},
		"a file for everyone":   {loose, []string{loose, "0644", "chmod 600"}},
		"a symbolic link":       {link, []string{link, "symbolic link"}},
		"a foreign document":    {write(t, filepath.Join(folder, "foreign.json"), `{"users":[]}`), []string{"foreign.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := os.ReadFile(c.path)
			set := home.run(t, "config", "properties", "set", "api.access.tokens.store", c.path)
			if set.code == 0 {
				home.refuses(t, invalid, c.words, "config", "apply")
				home.manager(t, "config", "discard")
			} else if set.code != invalid || !strings.Contains(set.err, c.words[0]) {
				t.Errorf("set: exit code %d, want %d and %q\n%s", set.code, invalid, c.words, set.err)
			}
			if after, _ := os.ReadFile(c.path); string(after) != string(before) {
				t.Errorf("the file was changed to %q", after)
			}
			if kind := home.status(t).Store.Kind; kind != "memory" {
				t.Errorf("the store is %s", kind)
			}
			home.accepts(t, "Bearer "+token, "dfsadmin")
		})
	}
	home.refuses(t, 5, []string{"Did you mean api.access.tokens.store?"}, "config", "properties", "set", "api.access.token.store", good)
	home.refuses(t, 2, []string{"give a property and its value, or the absolute path of a .json file"}, "config", "properties", "set", "token.json")
}

func TestADamagedTokenFileIsRefusedWithItsNameAndTheRemedy(t *testing.T) {
	home := install(t, "--start")
	token := home.token(t, "dfsadmin", "admin")
	home.manager(t, "stop")
	path := filepath.Join(home.dir, "tokens.json")
	whole := read(t, path)
	for name, text := range map[string]string{
		"one letter changed": strings.Replace(whole, "dfsadmin", "dfsadmim", 1),
		"cut":                whole[:len(whole)/2],
		"emptied":            "",
		"an empty document":  "{}",
		"of something else":  `{"users":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			write(t, path, text)
			home.refuses(t, 1, []string{path, "backup"}, "start")
			if got := read(t, path); got != text {
				t.Errorf("the refused file was changed to %q", got)
			}
			if got := home.run(t, "status"); got.code != 3 && got.code != 1 {
				t.Errorf("status: exit code %d", got.code)
			}
		})
	}
	write(t, path, whole)
	home.manager(t, "start")
	home.accepts(t, "Bearer "+token, "dfsadmin")
}

func TestEveryCopyIsTheTokenAsItWasIssued(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	home := install(t, "--start")
	for _, algorithm := range []string{"ES256", "EdDSA", "HS256"} {
		t.Run(algorithm, func(t *testing.T) {
			home.manager(t, "config", "properties", "set", "jwt.algorithm", algorithm)
			home.manager(t, "config", "apply")
			home.manager(t, "support", "reset-jwt-key", "--confirm", host) // the algorithm is that of the next key
			token := home.token(t, algorithm, "admin")
			header, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
			if err != nil || !strings.Contains(string(header), `"`+algorithm+`"`) {
				t.Fatalf("the header is %s, %v", header, err)
			}
			for _, state := range []string{"running", "started again"} {
				for range 2 {
					if got := home.run(t, "token", "copy", algorithm); got.code != 0 || got.out != token+"\n" {
						t.Errorf("%s: the copy is another token, exit code %d", state, got.code)
					}
				}
				home.accepts(t, "Bearer "+token, algorithm)
				home.manager(t, "restart")
			}
		})
	}
}

// lastDay is the day on which a token expires, as the console has it.
func (h home) lastDay(t *testing.T, client string) string {
	t.Helper()
	var shown api.Token
	if err := json.Unmarshal([]byte(h.manager(t, "token", "show", client, "-o", "json")), &shown); err != nil || shown.ExpiresAt == nil {
		t.Fatalf("%s expires at %v, %v", client, shown.ExpiresAt, err)
	}
	return shown.ExpiresAt.UTC().Format("2 Jan 2006")
}

func TestASecondServerOnAHomeSaysWhoHasIt(t *testing.T) {
	home := install(t, "--start")
	pid := fmt.Sprint(home.status(t).PID)
	if again := home.run(t, "start"); again.code != 0 || !strings.Contains(again.err, "Already running (pid "+pid+")") {
		t.Errorf("a second start: exit code %d, %s", again.code, again.err)
	}
	home.refuses(t, 6, []string{home.dir, pid}, "serve")
}

func TestAStopDoesNotWaitForWhoHasAskedNothing(t *testing.T) {
	home := install(t, "--start")
	idle, err := net.Dial("tcp", strings.TrimPrefix(home.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	const patience = 4 * time.Second // less than the five of a server that waits
	if got := home.run(t, "stop", "--timeout", patience.String()); got.code != 0 {
		t.Errorf("stop: exit code %d, %s", got.code, got.err)
	}
}
