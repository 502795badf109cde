package conformance_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/jws"
)

// survivor is a token or login token that a reset is to end.
type survivor struct {
	text  string
	login bool
	born  int64 // resets that had begun when its answer was here
}

// resets is a node of which the operator resets the keys while others issue and
// present tokens. Its clock stands still: all of it happens within one second.
type resets struct {
	*house
	began, done atomic.Int64
	mu          sync.Mutex
	pool        []survivor
	late        atomic.Int64 // accepted by a request that began after the answer to a later reset
	refused     atomic.Int64
	accepted    atomic.Int64
}

// call is the operator's on the socket, or anybody's with a token.
func (r *resets) call(path, body string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	r.socket.ServeHTTP(w, request)
	return w
}

// issues makes a token, or a login token, by the API.
func (r *resets) issues(login bool) (survivor, error) {
	path, body := "/api/v1/tokens", `{"client_id":"nightly","role":"user"}`
	if login {
		path, body = "/api/v1/signIn", fmt.Sprintf(`{"username":%q,"password":%q}`, adminName, adminPassword)
	}
	w := r.call(path, body)
	born := r.began.Load()
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Token == "" {
		return survivor{}, fmt.Errorf("%s answers %d", path, w.Code)
	}
	return survivor{answer.Token, login, born}, nil
}

// passes asks one of the doors.
func (r *resets) passes(s survivor) bool {
	path := "/auth/verify"
	if s.login {
		path = "/api/v1/whoami"
	}
	done := r.done.Load()
	w := do(r.node, question{token: s.text}.request(http.MethodGet, path))
	switch ok := w.Code == http.StatusOK; {
	case ok && done > s.born:
		r.late.Add(1)
		return true
	case ok:
		r.accepted.Add(1)
		return true
	case w.Code != http.StatusUnauthorized:
		r.t.Errorf("%s answers %d", path, w.Code)
	}
	r.refused.Add(1)
	return false
}

// crowd issues and presents tokens until over.
func (r *resets) crowd(over *atomic.Bool, all *sync.WaitGroup) {
	for n := range 2 {
		all.Go(func() {
			for !over.Load() {
				s, err := r.issues(n == 0 && rand.IntN(8) == 0)
				if err != nil {
					r.t.Error(err)
					return
				}
				r.mu.Lock()
				if r.pool = append(r.pool, s); len(r.pool) > 64 {
					r.pool = r.pool[1:]
				}
				r.mu.Unlock()
			}
		})
		all.Go(func() {
			for !over.Load() {
				r.mu.Lock()
				known := len(r.pool)
				var s survivor
				if known > 0 {
					s = r.pool[rand.IntN(known)]
				}
				r.mu.Unlock()
				if known > 0 {
					r.passes(s)
				}
			}
		})
	}
}

// Whatever was issued before a reset, even in the same second and while others
// issue and ask, nothing of it passes once the reset is answered; and what is
// issued then does.
func TestSoakOfResets(t *testing.T) {
	times := 100
	if soaking() {
		times = 1000
	}
	r := &resets{house: newHouse(t, jws.ES256)}
	var over atomic.Bool
	var all sync.WaitGroup
	r.crowd(&over, &all)
	start, old := time.Now(), 0
	for range times {
		var before []survivor
		for n := range 4 {
			s, err := r.issues(n == 3)
			must(t, err)
			if !r.passes(s) {
				t.Error("a new token is refused")
			}
			before = append(before, s)
		}
		r.mu.Lock()
		before = append(before, r.pool...)
		r.mu.Unlock()
		r.began.Add(1)
		if w := r.call("/api/v1/keys/reset", `{}`); w.Code != http.StatusOK {
			t.Fatalf("reset: %d %s", w.Code, w.Body)
		}
		r.done.Add(1)
		for _, s := range before {
			if r.passes(s) {
				t.Error("an old token passes after the answer")
			}
			old++
		}
	}
	over.Store(true)
	all.Wait()
	if n := r.late.Load(); n != 0 {
		t.Errorf("%d old tokens were accepted", n)
	}
	if r.accepted.Load() == 0 || r.refused.Load() == 0 {
		t.Errorf("%d accepted, %d refused", r.accepted.Load(), r.refused.Load())
	}
	t.Logf("%d resets in %s: of %d old tokens asked about after the answer, and %d verdicts meanwhile, %d accepted too late; %d refused, %d accepted",
		times, time.Since(start).Round(time.Millisecond), old, r.accepted.Load()+r.refused.Load()-int64(old), r.late.Load(), r.refused.Load(), r.accepted.Load())
}

// Of however many who ask at once for a rotation, one gets it; everybody else is
// told what is in the way and until when, and one event is recorded.
func TestOfManyRotationsAtOnceOneIsMade(t *testing.T) {
	const callers = 200
	h := newHouse(t, jws.ES256)
	server := httptest.NewServer(h.node)
	t.Cleanup(server.Close)
	events := func() (n int) {
		page := h.get(t, server.URL+"/api/v1/audit?action=keys.rotated")
		return page.Total
	}
	before := events()
	var all sync.WaitGroup
	var won, lost atomic.Int64
	begin := make(chan struct{})
	for range callers {
		all.Go(func() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/v1/keys/rotate", strings.NewReader(`{"overlap":"14d"}`))
			if err != nil {
				t.Error(err)
				return
			}
			request.Header = http.Header{"Authorization": {"Bearer " + h.askers.Load().admin.Text.Unsafe()}, "Content-Type": {"application/json"}}
			<-begin
			resp, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			var said struct{ Code, Detail string }
			if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
				t.Error(err)
			}
			switch {
			case resp.StatusCode == http.StatusOK:
				won.Add(1)
			case resp.StatusCode == http.StatusConflict && said.Code == "key.rotating" && strings.Contains(said.Detail, "is accepted until 2026-12-07"):
				lost.Add(1)
			default:
				t.Errorf("%d %+v", resp.StatusCode, said)
			}
		})
	}
	close(begin)
	all.Wait()
	if won.Load() != 1 || lost.Load() != callers-1 {
		t.Errorf("%d were made, %d were refused", won.Load(), lost.Load())
	}
	if made := events() - before; made != 1 {
		t.Errorf("%d events", made)
	}
}

// listed is a page of a list.
type listed struct{ Total int }

func (h *house) get(t *testing.T, url string) (page listed) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+h.askers.Load().admin.Text.Unsafe())
	resp, err := http.DefaultClient.Do(request)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	must(t, json.NewDecoder(resp.Body).Decode(&page))
	return page
}
