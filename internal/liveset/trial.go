package liveset

import (
	"sync"
	"time"

	"mintmark/internal/authority"
)

// maxRefused bounds how many tokens a trial keeps count of.
const maxRefused = 1 << 16

// trial counts who was refused for nothing but the trial stop that began last.
// Only what is refused so comes here: no verdict that allows waits for it.
type trial struct {
	mu      sync.Mutex
	refused map[string]*refused // by the token's id
}

type refused struct {
	count uint64
	last  time.Time
}

func (t *trial) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = make(map[string]*refused)
}

func (t *trial) note(id string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.refused[id]
	if r == nil {
		if len(t.refused) >= maxRefused {
			return
		}
		r = new(refused)
		t.refused[id] = r
	}
	r.count++
	r.last = now
}

// TrialRefusals answers how often, and when last, a token was refused for
// nothing but the trial stop that began last.
func (s *Set) TrialRefusals(id authority.TokenID) (count uint64, last time.Time) {
	s.trial.mu.Lock()
	defer s.trial.mu.Unlock()
	if r := s.trial.refused[string(id)]; r != nil {
		return r.count, r.last
	}
	return 0, time.Time{}
}

// onTrial reports whether tokens under the key are refused for a while; see
// authority.Key.OnTrial.
func (k *key) onTrial(now time.Time) bool {
	return !k.trial.IsZero() && k.state == authority.KeyPrevious && now.Before(k.trial) && k.trial.Sub(now) <= authority.MaxTrial
}
