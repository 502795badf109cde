package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// soaking reports whether the tests that take long on purpose are asked for.
func soaking() bool { return os.Getenv("MINTMARK_SOAK") == "1" }

// knowing are the doors that know of a deletion.
func knowing() (all []door) {
	for _, d := range doors() {
		if d.name != "Go, offline" && d.name != "console" {
			all = append(all, d)
		}
	}
	return all
}

// target is a token that is about to be revoked.
type target struct {
	question
	over atomic.Bool // the answer to its revocation is here
}

// chase asks doors about whatever the target is, without a pause, until the
// current target is nil; late counts who was let in by a request that began after
// the answer.
func (h *house) chase(at *atomic.Pointer[target], late *atomic.Int64) {
	all := knowing()
	for i := 0; ; i++ {
		t := at.Load()
		if t == nil {
			return
		}
		over := t.over.Load()
		if class, _ := all[i%len(all)].ask(h, t.question); class == allow && over {
			late.Add(1)
		}
	}
}

// revoke ends a token in one of the ways there are, and returns with the answer.
func (h *house) revoke(i int, t *target) {
	h.t.Helper()
	ctx, id := h.t.Context(), authority.TokenID(t.id)
	switch {
	case i%100 == 99:
		h.reset()
		return
	case i%4 == 0:
		r := httptest.NewRequest("DELETE", "/api/v1/tokens/"+t.id, nil)
		r.Header.Set("Authorization", "Bearer "+h.askers.Load().admin.Text.Unsafe())
		if w := do(h.node, r); w.Code != http.StatusNoContent {
			h.t.Fatalf("the API deletes with %d %s", w.Code, w.Body)
		}
	case i%4 == 1:
		if w := do(h.node, h.form("/oauth2/revoke", t.token, h.askers.Load().admin)); w.Code != http.StatusOK {
			h.t.Fatalf("the revocation endpoint answers %d %s", w.Code, w.Body)
		}
	case i%4 == 2:
		_, err := h.rules.ReplaceToken(ctx, operator(), id, 0)
		must(h.t, err)
	default:
		_, err := h.rules.RevokeToken(ctx, operator(), id, i%8 == 3)
		must(h.t, err)
	}
}

// A token whose revocation has been answered is refused by every door of the
// node, by the first request that begins after the answer; while others ask about
// it all the time, so that it is verified and remembered at that very moment.
// 2,000 times, or 100,000 times in a soak.
func TestSoakOfRevocationsThatHoldForTheNextRequest(t *testing.T) {
	n := 2000
	if soaking() {
		n = 100_000
	}
	began := time.Now()
	for _, alg := range algorithms() {
		t.Run(string(alg), func(t *testing.T) {
			h, all := newHouse(t, alg), knowing()
			var at atomic.Pointer[target]
			var late atomic.Int64
			var chaser sync.WaitGroup
			share := n / len(algorithms())
			if alg == jws.ES256 {
				share += n % len(algorithms())
			}
			for i := range share {
				issued := h.user()
				next := &target{question: question{token: issued.Text.Unsafe(), id: string(issued.ID)}}
				at.Store(next)
				if i == 0 {
					chaser.Go(func() { h.chase(&at, &late) })
				}
				if class, _ := all[i%len(all)].ask(h, next.question); class != allow {
					t.Fatalf("a new token is answered %s", class)
				}
				h.revoke(i, next)
				next.over.Store(true)
				for k := range all {
					d := all[(i+k)%len(all)] // each is the first in turn
					if class, _ := d.ask(h, next.question); class != invalid {
						t.Errorf("race %d: %s answers %s", i, d.name, class)
					}
				}
			}
			at.Store(nil)
			chaser.Wait()
			if late.Load() > 0 {
				t.Errorf("%d requests were let in that began after the answer", late.Load())
			}
		})
	}
	t.Logf("%d races in %s", n, time.Since(began).Round(time.Millisecond))
}
