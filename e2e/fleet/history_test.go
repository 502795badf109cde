package fleet

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// grace is how long after the answer to a revocation another node may still
// allow, if it says of itself that it is ready.
const grace = 2 * time.Second

// look is one verification: when it began, on which node, what was answered, and
// whether the node said before and after that it was ready.
type look struct {
	id, node string
	began    time.Time
	allowed  bool
	ready    bool
}

// life is one token as its clients know it.
type life struct {
	text     string
	created  time.Time // when the answer to its creation was there
	asked    time.Time // when its revocation was asked for first; zero: never
	revoked  time.Time // when the answer to its revocation was there; zero: not
	replaced bool      // its end is not only up to a revocation
}

// history is what clients were answered.
type history struct {
	mu      sync.Mutex
	lives   map[string]*life
	looks   []look
	winners map[string]int // of what only one may do: how many were told that they did
}

func newHistory() *history {
	return &history{lives: make(map[string]*life), winners: make(map[string]int)}
}

func (h *history) note(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// violations is what the fleet promised and did not keep.
func (h *history) violations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, l := range h.looks {
		t := h.lives[l.id]
		if l.allowed && l.ready && !t.revoked.IsZero() && l.began.After(t.revoked.Add(grace)) {
			all = append(all, fmt.Sprintf("%s allowed %s %s after its revocation was answered", l.node, l.id, l.began.Sub(t.revoked)))
		}
	}
	for what, n := range h.winners {
		if n > 1 {
			all = append(all, fmt.Sprintf("%s was done %d times", what, n))
		}
	}
	return all
}

// The judge is worth something only if it sees what is wrong.
func TestTheJudgeSeesWhatIsWrong(t *testing.T) {
	revoked := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		look  look
		wins  int
		wrong int
	}{
		"refused in time":           {look{began: revoked.Add(3 * time.Second), ready: true}, 1, 0},
		"allowed within the grace":  {look{began: revoked.Add(grace), allowed: true, ready: true}, 1, 0},
		"allowed too late":          {look{began: revoked.Add(grace + 1), allowed: true, ready: true}, 1, 1},
		"allowed by an unready one": {look{began: revoked.Add(time.Minute), allowed: true}, 1, 0},
		"allowed before":            {look{began: revoked.Add(-time.Second), allowed: true, ready: true}, 1, 0},
		"two winners":               {look{}, 2, 1},
	} {
		h := newHistory()
		h.lives[""] = &life{revoked: revoked}
		h.looks = append(h.looks, c.look)
		h.winners["key"] = c.wins
		if got := h.violations(); len(got) != c.wrong {
			t.Errorf("%s: %q", what, got)
		}
	}
}
