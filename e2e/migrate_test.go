package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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
					t.Fatalf("no move gets through: %v", err)
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
