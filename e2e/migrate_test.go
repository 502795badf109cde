package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A move that is killed again and again, later each time, loses nothing, and the
// next one goes on with what it left, until one is through: into a database, out
// of it, and into it again where it was before.
func TestAMoveThatIsKilledLosesNothing(t *testing.T) {
	const population = 1000
	h := install(t)
	s := h.serve(t)
	l := newChurn(h, h.token(t, "admin", "admin"))
	l.populate(t, 32, population)
	for id := range l.tokens {
		if len(l.deleted) < 100 {
			l.delete(t.Context(), id)
		}
	}
	s.signal(os.Interrupt)
	s.ends()
	active := h.active(t)
	if len(l.deleted) != 100 || active != population-100+1 {
		t.Fatalf("%d deleted, %d active", len(l.deleted), active)
	}
	database := "sqlite:" + filepath.Join(h.dir, "mint.db")
	for _, to := range []string{database, filepath.Join(h.dir, "moved.json"), database} {
		kills := 0
		for patience := 40 * time.Millisecond; ; patience += patience / 3 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			out, err := exec.CommandContext(ctx, filepath.Join(h.dir, "manager"), "store", "migrate", "--to", to, "-o", "json").Output()
			cancel()
			if err != nil {
				kills++
				if n := h.active(t); n != active {
					t.Fatalf("killed after %s on the way to %s: %d tokens are active, want %d", patience, to, n, active)
				}
				if patience > time.Minute {
					said, _ := errors.AsType[*exec.ExitError](err)
					t.Fatalf("no move to %s gets through: %v\n%s", to, err, said.Stderr)
				}
				continue
			}
			var moved struct {
				Tokens int `json:"tokens"`
				Active int `json:"tokens_active"`
			}
			if err := json.Unmarshal(out, &moved); err != nil || moved.Tokens != 0 && (moved.Tokens < population || moved.Active != active) {
				t.Fatalf("moved %s, %v", out, err)
			}
			break
		}
		t.Logf("to %s: killed %d times", to, kills)
		if n := h.active(t); n != active {
			t.Fatalf("in %s %d tokens are active, want %d", to, n, active)
		}
		result(t, filepath.Join(h.dir, "manager"), "audit", "verify")
	}
	h.serve(t)
	ids := make([]string, 0, len(l.tokens))
	for id := range l.tokens {
		ids = append(ids, id)
	}
	l.judge(t, ids)
}

// active counts the valid tokens of a stopped home.
func (h home) active(t *testing.T) int {
	t.Helper()
	var page struct {
		Total int `json:"total"`
	}
	if err := json.Unmarshal([]byte(result(t, filepath.Join(h.dir, "manager"), "token", "list", "--state", "active", "--limit", "1", "-o", "json")), &page); err != nil {
		t.Fatal(err)
	}
	return page.Total
}

// A home joins a database, is backed up and restored there, and leaves it again:
// with its tokens, its keys and its audit log, and nothing that has ended.
func TestAStateMovesToADatabaseAndBack(t *testing.T) {
	const (
		identity  = "AGE-SECRET-KEY-1AWPFSW6V7G4MLREX0D4J7XHS53P2Y7YX8K68NSQDV3PAGQTN2RSQJCTAD4\n" // for this test alone
		recipient = "age1ls6ha3x09j8gj8ldmpehac85sresah8zy2r67fs8ayq53xuax5gqswejme"
	)
	d := startDatabase(t)
	d.must(t, "-c", "CREATE DATABASE mint")
	address := "postgres://postgres@/mint?host=" + d.dir + "&port=" + d.port + "&sslmode=disable"
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h := install(t)
	manager := filepath.Join(h.dir, "manager")
	tokens := map[string]string{}
	for _, client := range []string{"kept", "first", "second", "third"} {
		tokens[client] = result(t, manager, "token", "create", "--client-id", client, "--role", "admin", "-q")
	}
	end := func(client string) {
		t.Helper()
		result(t, manager, "token", "delete", client, "--leaked", "--confirm", client)
		delete(tokens, client)
	}
	was := map[string]string{}
	for client, text := range tokens {
		was[client] = text
	}
	judge := func(where string) {
		t.Helper()
		result(t, manager, "start")
		for client, text := range was {
			want := http.StatusUnauthorized
			if tokens[client] != "" {
				want = http.StatusOK
			}
			if got := h.answers(t, strings.TrimSpace(text)); got != want {
				t.Errorf("%s: the token of %s is answered %d, want %d", where, client, got, want)
			}
		}
		result(t, manager, "audit", "verify")
		result(t, manager, "stop")
	}
	counted := func() (n uint64) {
		t.Helper()
		result(t, manager, "start")
		defer result(t, manager, "stop")
		_, n, _ = h.used(t, "kept")
		return n
	}
	judge("in files")
	before := counted()
	end("first")
	result(t, manager, "store", "migrate", "--to", address)
	if n := counted(); n != before || before == 0 {
		t.Errorf("%d uses are told after the move, %d before", n, before)
	}
	judge("in the database")
	result(t, manager, "backup", "create", "--out", filepath.Join(h.dir, "b.age"), "--recipient", recipient)
	end("second")
	put(t, filepath.Join(h.dir, "identity"), []byte(identity))
	result(t, manager, "backup", "restore", filepath.Join(h.dir, "b.age"), "--identity-file", filepath.Join(h.dir, "identity"), "--confirm", host)
	judge("restored")
	kept, err := filepath.Glob(filepath.Join(h.dir, "kept", "*", "before.age"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	result(t, manager, "backup", "inspect", kept[0], "--identity-file", filepath.Join(h.dir, "identity"))
	end("third")
	result(t, manager, "store", "migrate", "--to", filepath.Join(h.dir, "tokens.json"))
	judge("in files again")
}

// answers is how the server answers a token.
func (h home) answers(t *testing.T, token string) int {
	t.Helper()
	return h.asks(t, "whoami", token)
}

// asks is how the server answers a question of its API.
func (h home) asks(t *testing.T, path, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/api/v1/"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}
