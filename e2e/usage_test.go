package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mintmark/api"
)

// used is how often a token was allowed and refused, as the program tells.
func (h home) used(t *testing.T, client string) (u api.TokenUsage, allowed, refused uint64) {
	t.Helper()
	if err := json.Unmarshal([]byte(h.manager(t, "token", "usage", client, "-o", "json")), &u); err != nil {
		t.Fatal(err)
	}
	for _, hour := range u.Hours {
		allowed, refused = allowed+hour.Current+hour.Previous, refused+hour.Refused
	}
	return u, allowed, refused
}

// tokenOf makes a token and answers its text.
func (h home) tokenOf(t *testing.T, client string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), client+".token")
	h.manager(t, "token", "create", "--client-id", client, "--role", "user", "--out-file", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// verdicts asks for a number of verdicts at forward-auth.
func (h home) verdicts(t *testing.T, token, query string, many, status int) {
	t.Helper()
	for range many {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/auth/verify"+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != status {
			t.Fatalf("status %d", answer.StatusCode)
		}
	}
}

func wantUsed(t *testing.T, h home, client string, allowed, refused uint64) api.TokenUsage {
	t.Helper()
	u, a, f := h.used(t, client)
	if a != allowed || f != refused {
		t.Errorf("%d allowed and %d refused, want %d and %d", a, f, allowed, refused)
	}
	return u
}

func TestCountsOfUseSurviveAStopAndKillingLosesWhatWasNotSaved(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	token := h.tokenOf(t, "ci")
	h.verdicts(t, token, "", 7, http.StatusOK)
	h.verdicts(t, token, "?role=admin", 3, http.StatusForbidden)
	before := wantUsed(t, h, "ci", 7, 3)
	if len(before.Sources) != 1 || before.Sources[0].From != "127.0.0.1" || before.Refusals[0].Reason != "role_insufficient" || before.Refusals[0].Count != 3 {
		t.Errorf("sources %+v, refusals %+v", before.Sources, before.Refusals)
	}
	h.stop(t)
	if about, err := os.Stat(filepath.Join(h.dir, "usage.db")); err != nil || about.Mode().Perm() != 0o600 {
		t.Errorf("the file of counts: %v, %v", about, err)
	}

	s := h.serve(t)
	after := wantUsed(t, h, "ci", 7, 3)
	if !after.CountedSince.Equal(before.CountedSince) && after.CountedSince.After(before.AsOf) {
		t.Errorf("counted since %v, and before the stop since %v", after.CountedSince, before.CountedSince)
	}
	eventually(t, "the last use is known again", func() bool {
		var shown api.Token
		err := json.Unmarshal([]byte(h.manager(t, "token", "show", "ci", "-o", "json")), &shown)
		return err == nil && shown.LastUsedAt != nil && shown.LastUsedFrom == "127.0.0.1" && *shown.Requests24h == 7
	})
	h.verdicts(t, token, "", 5, http.StatusOK)
	wantUsed(t, h, "ci", 12, 3)
	if err := s.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.ended

	h.serve(t)
	if _, allowed, refused := h.used(t, "ci"); allowed < 7 || allowed > 12 || refused != 3 {
		t.Errorf("%d allowed and %d refused after a kill", allowed, refused)
	}
}

func TestADamagedFileOfCountsStopsNoStart(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	token := h.tokenOf(t, "ci")
	h.stop(t)
	file := filepath.Join(h.dir, "usage.db")
	if err := os.WriteFile(file, []byte("no database at all, and longer than a header of one is, which has a hundred bytes; so it is read"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := h.serve(t)
	if !strings.Contains(s.said(), "moved_to=") {
		t.Error("the log does not say where the file is")
	}
	if aside, err := filepath.Glob(file + ".unusable-*"); err != nil || len(aside) != 1 {
		t.Errorf("moved aside: %v, %v", aside, err)
	}
	h.verdicts(t, token, "", 1, http.StatusOK)
	wantUsed(t, h, "ci", 1, 0)
}

// byLastUse is the client IDs of the tokens, those that were used last first.
func (h home) byLastUse(t *testing.T) string {
	t.Helper()
	var list api.TokenList
	if err := json.Unmarshal([]byte(h.manager(t, "token", "list", "--sort", "last_used_at", "--desc", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, v := range list.Items {
		order = append(order, v.ClientID)
	}
	return strings.Join(order, " ")
}

// usedInTurn makes three tokens, of which two are used, and answers how a list by
// last use goes.
func (h home) usedInTurn(t *testing.T) string {
	t.Helper()
	h.tokenOf(t, "a-never")
	first, last := h.tokenOf(t, "z-first"), h.tokenOf(t, "b-last")
	h.verdicts(t, first, "", 1, http.StatusOK)
	time.Sleep(time.Second) // uses are known to the second
	h.verdicts(t, last, "", 1, http.StatusOK)
	return "b-last z-first a-never"
}

func TestTheOrderByLastUseMovesAlong(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	want := h.usedInTurn(t)
	h.manager(t, "config", "properties", "set", "api.access.tokens.store", "sqlite:"+filepath.Join(h.dir, "mint.db"))
	h.manager(t, "config", "apply", "--yes")
	if got := h.byLastUse(t); got != want {
		t.Errorf("the order is %s", got)
	}
}

// What was counted goes into a database when it can be read, however late that is;
// out of it go the last uses.
func TestCountsOfUseMoveToADatabaseAndLastUsesBack(t *testing.T) {
	t.Parallel()
	d := startDatabase(t)
	d.must(t, "-c", "CREATE DATABASE mint")
	address := "postgres://postgres@/mint?host=" + d.dir + "&port=" + d.port + "&sslmode=disable"
	h := startHome(t)
	order := h.usedInTurn(t)
	h.manager(t, "stop")
	left := filepath.Join(h.dir, "usage.db.leaving-0123456789abcdef") // as a move does that is cut short
	if err := os.Rename(filepath.Join(h.dir, "usage.db"), left); err != nil {
		t.Fatal(err)
	}
	whole, damaged := []byte(read(t, left)), strings.Repeat("no database at all, and longer than a header is ", 100)
	put(t, left, []byte(damaged))
	if said := h.manager(t, "store", "migrate", "--to", address); !strings.Contains(said, "is not there yet") || !strings.Contains(said, left) {
		t.Errorf("it says nothing of what it leaves behind:\n%s", said)
	}
	if read(t, left) != damaged {
		t.Error("the file that cannot be read is another one")
	}
	put(t, left, whole)
	h.manager(t, "start")
	wantUsed(t, h, "b-last", 1, 0)
	if before, err := os.ReadFile(filepath.Join(h.dir, "usage.db.before")); err != nil || len(before) == 0 {
		t.Errorf("the file is not kept: %v", err)
	}
	eventually(t, "the database knows the order", func() bool { return h.byLastUse(t) == order })
	admin := h.manager(t, "token", "create", "--client-id", "admin", "--role", "admin", "-q")
	for _, path := range []string{"tokens?q=a%00", "tokens?tag=%ff", "tokens?client_id=%00", "audit?target=%00", "audit?actor=%ff"} {
		if status := h.asks(t, path, strings.TrimSpace(admin)); status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
	}
	h.manager(t, "token", "delete", "admin", "--confirm", "admin")
	h.manager(t, "stop")
	h.manager(t, "store", "migrate", "--to", "sqlite:"+filepath.Join(h.dir, "mint.db"))
	h.manager(t, "start")
	eventually(t, "the order and the times agree", func() bool {
		return h.byLastUse(t) == order && strings.Count(h.manager(t, "token", "list", "--columns", "client_id,last_used"), "never\n") == 1
	})
	wantUsed(t, h, "b-last", 0, 0)
}

func TestTheOrderByLastUseComesBackWithABackup(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil { // nobody else may reach a store
		t.Fatal(err)
	}
	h := startHome(t, "--store", "sqlite:"+filepath.Join(folder, "mint.db"))
	want := h.usedInTurn(t)
	passphrase, file := passwordFile(t), filepath.Join(h.dir, "b.age")
	h.manager(t, "stop")
	h.manager(t, "backup", "create", "--out", file, "--passphrase-file", passphrase)
	h.manager(t, "backup", "restore", file, "--passphrase-file", passphrase, "--confirm", host)
	h.manager(t, "start")
	eventually(t, "the order is as it was", func() bool { return h.byLastUse(t) == want })
}
