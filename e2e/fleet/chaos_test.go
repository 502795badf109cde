package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// clients issue, verify, revoke, replace and rotate, each at a node of its own
// choice.
type clients struct {
	*fleet
	*history
	ctx context.Context //nolint:containedctx // one run's
}

func (c *clients) node() *node { return c.nodes[rand.IntN(len(c.nodes))] }

// some answers a token that was created and, so far as anybody asked, not ended.
func (c *clients) some(ended bool) (id string, l life, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, l := range c.lives { // in no order
		if l.replaced || l.asked.IsZero() == ended {
			continue
		}
		return id, *l, true
	}
	return "", life{}, false
}

func (c *clients) issue() {
	a := c.node().ask(c.ctx, "POST", "/api/v1/tokens", c.authorization(), map[string]any{"client_id": fmt.Sprintf("client-%d", rand.IntN(1000)), "role": "user"})
	if a.status == http.StatusCreated {
		c.note(func() { c.lives[a.field("id")] = &life{text: a.field("token"), created: time.Now()} })
	}
}

// issueTwice asks two nodes at once for one creation.
func (c *clients) issueTwice() {
	key := fmt.Sprintf("%016x", rand.Uint64())
	ids := c.both(func(n *node) string {
		a := n.ask(c.ctx, "POST", "/api/v1/tokens", c.authorization(), map[string]any{"client_id": "twice", "role": "user"}, "Idempotency-Key", key)
		if a.status != http.StatusCreated {
			return ""
		}
		c.note(func() {
			if c.lives[a.field("id")] == nil { // else it was answered, and perhaps revoked, already
				c.lives[a.field("id")] = &life{text: a.field("token"), created: time.Now()}
			}
		})
		return a.field("id")
	})
	if ids[0] != "" && ids[1] != "" && ids[0] != ids[1] {
		c.note(func() { c.winners["creation "+key] = 2 })
	}
}

// replaceTwice asks two nodes at once for a successor, which only one can give.
func (c *clients) replaceTwice() {
	id, _, ok := c.some(false)
	if !ok {
		return
	}
	c.note(func() { c.lives[id].replaced = true })
	for _, successor := range c.both(func(n *node) string {
		a := n.ask(c.ctx, "POST", "/api/v1/tokens/"+id+"/replace", c.authorization(), map[string]any{"overlap": "1h"})
		if a.status != http.StatusCreated && a.status != http.StatusOK {
			return ""
		}
		return a.field("id")
	}) {
		if successor != "" {
			c.note(func() { c.winners["successor of "+id]++ })
		}
	}
}

func (c *clients) both(do func(*node) string) (out [2]string) {
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i] = do(c.nodes[(i+rand.IntN(2))%len(c.nodes)]) })
	}
	wg.Wait()
	return out
}

func (c *clients) revoke() {
	id, _, ok := c.some(false)
	if !ok {
		return
	}
	c.note(func() { c.lives[id].asked = time.Now() })
	a := c.node().ask(c.ctx, "DELETE", "/api/v1/tokens/"+id, c.authorization(), nil)
	if a.status == http.StatusNoContent {
		c.note(func() { c.lives[id].revoked = time.Now() })
	}
}

func (c *clients) verify() {
	id, l, ok := c.some(rand.IntN(2) == 0)
	if !ok {
		return
	}
	n := c.node()
	before := n.ready()
	began := time.Now()
	a := n.ask(c.ctx, "GET", "/auth/verify", l.text, nil)
	if a.status == 0 {
		return
	}
	seen := look{id: id, node: n.name, began: began, allowed: a.status == http.StatusOK, ready: before && n.ready()}
	c.note(func() { c.looks = append(c.looks, seen) })
}

// rotate asks every node at once: a key has one successor, and one of those who
// asked is told that it gave it. The administrator copies its token again, as
// every client does in an overlap.
func (c *clients) rotate() {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(func() {
			a := n.ask(c.ctx, "POST", "/api/v1/keys/rotate", c.authorization(), map[string]any{"overlap": "1m", "reason": "chaos"})
			var done struct{ Previous struct{ Kid string } }
			if a.status == http.StatusOK && json.Unmarshal(a.body, &done) == nil {
				c.note(func() { c.winners["succession of "+done.Previous.Kid]++ })
			}
		})
	}
	wg.Wait()
	if text, ok := c.copy(c.node(), c.adminID); ok {
		c.admin.Store(&text)
	}
}

// copy is a token's text again, under the key that is current now.
func (f *fleet) copy(n *node, id string) (text string, ok bool) {
	a := n.ask(context.Background(), "POST", "/api/v1/tokens/"+id+"/reveal", f.authorization(), nil)
	return a.field("token"), a.status == http.StatusOK
}

// work does one thing after the other until the context ends.
func (c *clients) work(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	repeat := func(callers int, pause time.Duration, do func()) {
		for range callers {
			wg.Go(func() {
				for c.ctx.Err() == nil {
					do()
					time.Sleep(pause)
				}
			})
		}
	}
	repeat(2, 20*time.Millisecond, c.issue)
	repeat(1, 200*time.Millisecond, c.issueTwice)
	repeat(1, 300*time.Millisecond, c.replaceTwice)
	repeat(2, 40*time.Millisecond, c.revoke)
	repeat(6, 2*time.Millisecond, c.verify)
	repeat(1, 7*time.Second, c.rotate)
	wg.Wait()
}

// faults are what is done to a fleet; each ends by itself.
func (c *clients) faults(t *testing.T) map[string]func() {
	t.Helper()
	wait := func(least, most time.Duration) {
		select {
		case <-time.After(least + rand.N(most-least)):
		case <-c.ctx.Done():
		}
	}
	return map[string]func(){
		"kill a node": func() {
			n := c.node()
			n.kill()
			wait(0, 2*time.Second)
			n.start(t)
			wait(time.Second, 2*time.Second)
		},
		"crash the database": func() {
			c.cluster.crash(t)
			wait(0, 3*time.Second)
			c.cluster.start(t)
			wait(time.Second, 2*time.Second)
		},
		"end the listeners": func() {
			for range 5 {
				_ = c.cluster.cutListeners(c.ctx)
				wait(100*time.Millisecond, 300*time.Millisecond)
			}
		},
		"drop notifications": func() {
			n := c.node()
			n.proxy.deaf.Store(true)
			wait(2*time.Second, 4*time.Second)
			n.proxy.deaf.Store(false)
		},
		"stop the database's processes": func() {
			c.cluster.signal(syscall.SIGSTOP)
			wait(time.Second, 8*time.Second)
			c.cluster.signal(syscall.SIGCONT)
			wait(time.Second, 2*time.Second)
		},
		"cut connections in COMMIT": func() {
			n := c.node()
			n.proxy.cut.Store(true)
			wait(time.Second, 2*time.Second)
			n.proxy.cut.Store(false)
		},
		"part a node": func() {
			n := c.node()
			n.proxy.darken(true)
			wait(time.Second, 8*time.Second)
			n.proxy.darken(false)
			wait(time.Second, 2*time.Second)
		},
	}
}

// TestAFleetKeepsItsPromisesWhateverBreaks shakes three nodes of one database.
func TestAFleetKeepsItsPromisesWhateverBreaks(t *testing.T) { shake(t, time.Minute) }

func TestSoakOfAFleet(t *testing.T) {
	if os.Getenv("MINTMARK_SOAK") == "" {
		t.Skip("MINTMARK_SOAK is not set")
	}
	shake(t, 10*time.Minute)
}

func shake(t *testing.T, length time.Duration) {
	t.Helper()
	f := newFleet(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	c := &clients{fleet: f, history: newHistory(), ctx: ctx}
	var wg sync.WaitGroup
	wg.Go(func() { c.work(t) })
	faults, done := c.faults(t), map[string]int{}
	names := slices.Sorted(maps.Keys(faults))
	for ctx.Err() == nil {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			if ctx.Err() != nil {
				break
			}
			faults[name]()
			done[name]++
		}
	}
	wg.Wait()
	c.calm(t)
	for _, v := range c.violations() {
		t.Error(v)
	}
	cuts, drops := int64(0), int64(0)
	for _, n := range f.nodes {
		cuts, drops = cuts+n.proxy.cuts.Load(), drops+n.proxy.drops.Load()
	}
	t.Logf("%d tokens, %d looks, faults %v, %d connections cut in COMMIT, %d notifications dropped", len(c.lives), len(c.looks), done, cuts, drops)
	if len(c.lives) == 0 || len(c.looks) == 0 || cuts == 0 || drops == 0 {
		t.Error("the run says nothing: something that belongs to it did not happen")
	}
}

// calm waits until every node is ready again and holds what each token is
// against what its clients were answered: nothing that was acknowledged is lost.
func (c *clients) calm(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		n.awaitReady(t)
	}
	for id, l := range c.lives {
		for _, n := range c.nodes {
			var a answer
			eventually(t, "a node answers", func() bool {
				a = n.ask(t.Context(), "GET", "/auth/verify", l.text, nil)
				return a.status == http.StatusOK || a.status == http.StatusUnauthorized
			})
			switch allowed := a.status == http.StatusOK; {
			case !l.revoked.IsZero() && allowed:
				t.Errorf("%s allows %s, whose revocation was answered", n.name, id)
			case l.asked.IsZero() && !allowed:
				c.isThere(t, n, id)
			}
		}
	}
}

// isThere finds a token that is refused refused for nothing but its key, which
// was rotated away since: copied again it is accepted.
func (c *clients) isThere(t *testing.T, n *node, id string) {
	t.Helper()
	shown := n.ask(t.Context(), "GET", "/api/v1/tokens/"+id, c.authorization(), nil)
	copied := n.ask(t.Context(), "POST", "/api/v1/tokens/"+id+"/reveal", c.authorization(), nil)
	verdict := n.ask(t.Context(), "GET", "/auth/verify", copied.field("token"), nil)
	if verdict.status != http.StatusOK {
		t.Errorf("%s refuses %s, whose creation was answered; its record: %d %s; copied: %d; verdict: %d %s",
			n.name, id, shown.status, shown.body, copied.status, verdict.status, verdict.body)
	}
}
