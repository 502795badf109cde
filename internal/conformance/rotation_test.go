package conformance_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// What a client in the drive is owed.
const (
	passes = iota
	either // between a request to refuse it and the answer
	refused
)

// driven is a client that arrives at every door, from its own address, with the
// token it was given last.
type driven struct {
	id     string
	text   atomic.Pointer[string]
	owed   atomic.Int64 // what it is owed, and above it how often that changed
	rounds atomic.Int64
}

func (c *driven) owe(what int64) { c.owed.Store((c.owed.Load()/4+1)*4 + what) }

// drive is clients at doors while something happens.
type drive struct {
	*house
	clients []*driven
	doors   []door
	stop    atomic.Bool
	wrong   sync.Map
	asked   atomic.Int64
}

// askFrom is forward-auth asked from one of fifty addresses.
func (d *drive) askFrom(n int, q question) (class, id string) {
	r := q.request("GET", "/auth/verify")
	r.RemoteAddr = fmt.Sprintf("198.51.100.%d:4711", n%50)
	w := httptest.NewRecorder()
	d.node.ServeHTTP(w, r)
	return d.class(w), w.Header().Get("X-Auth-Token-Id")
}

func (d *drive) ask(n int, c *driven, at door) (class string) {
	q := question{token: *c.text.Load(), id: c.id}
	if at.name == "forward-auth" {
		class, _ = d.askFrom(n, q)
	} else {
		class, _ = at.ask(d.house, q)
	}
	d.asked.Add(1)
	return class
}

// run lets every w-th client of many arrive, again and again.
func (d *drive) run(w, many int) {
	for round := 0; !d.stop.Load(); round++ {
		for n := w; n < len(d.clients); n += many {
			c, at := d.clients[n], d.doors[(n+round)%len(d.doors)]
			before := c.owed.Load()
			class := d.ask(n, c, at)
			if before == c.owed.Load() && (before%4 == passes && class != allow || before%4 == refused && class != invalid) {
				d.wrong.Store(fmt.Sprintf("%s answers client %d %s", at.name, n, class), true)
			}
			c.rounds.Add(1)
		}
	}
}

// around waits until every client has been at every door.
func (d *drive) around() {
	d.t.Helper()
	want := make([]int64, len(d.clients))
	for n, c := range d.clients {
		want[n] = c.rounds.Load() + int64(len(d.doors)) + 1
	}
	deadline := time.Now().Add(2 * time.Minute)
	for n, c := range d.clients {
		for c.rounds.Load() < want[n] {
			if time.Now().After(deadline) {
				d.t.Fatal("the clients do not arrive any more")
			}
			time.Sleep(time.Millisecond)
		}
	}
	d.advance(time.Second)
}

// A whole rotation while 200 clients are at every door that knows of it: nobody
// is refused who is to pass, the evidence names exactly the ten that have not
// moved, a trial stop and the end refuse them and nobody else.
func TestARotationUnderLoadBreaksExactlyThoseTheEvidenceNames(t *testing.T) {
	h := newHouse(t, jws.ES256)
	d := &drive{house: h}
	for _, at := range doors() {
		if at.name != "Go, offline" && at.name != "console" { // the first cannot know, the second takes logins
			d.doors = append(d.doors, at)
		}
	}
	for n := range 200 {
		i := h.issue(authority.TokenRequest{ClientID: fmt.Sprintf("client-%03d", n), Role: "user"})
		text := i.Text.Unsafe()
		c := &driven{id: string(i.ID)}
		c.text.Store(&text)
		d.clients = append(d.clients, c)
	}
	stay := d.clients[190:]
	owe := func(what int64) {
		for _, c := range stay {
			c.owe(what)
		}
	}
	var workers sync.WaitGroup
	const many = 4
	for w := range many {
		workers.Go(func() { d.run(w, many) })
	}
	began := time.Now()
	ctx := t.Context()
	d.around()
	done, err := h.rules.RotateKey(ctx, operator(), authority.RotateRequest{Overlap: 14 * 24 * time.Hour})
	must(t, err)
	old := done.Previous.Name
	d.around()

	move := func(id authority.TokenID) authority.Issued {
		i, err := h.rules.RevealToken(ctx, operator(), id)
		must(t, err)
		if i.KeyID != done.Current.ID {
			t.Fatalf("a copy after the switch is signed by %s", i.KeyID)
		}
		return i
	}
	as := h.askers.Load()
	h.askers.Store(&askers{move(as.admin.ID), move(as.all.ID), move(as.own.ID), move(as.second.ID)})
	for _, c := range d.clients[:190] {
		text := move(authority.TokenID(c.id)).Text.Unsafe()
		c.text.Store(&text)
	}
	d.around()
	named := func(of func(authority.TokenEvidence) bool) []string {
		t.Helper()
		e, err := h.rules.Evidence(ctx, operator(), old)
		must(t, err)
		var ids []string
		for _, row := range e.Tokens {
			if of(row) {
				ids = append(ids, string(row.ID))
			}
		}
		slices.Sort(ids)
		return ids
	}
	var want []string
	for _, c := range stay {
		want = append(want, c.id)
	}
	slices.Sort(want)
	if got := named(func(r authority.TokenEvidence) bool { return r.Movement == authority.NotMoved }); !slices.Equal(got, want) {
		t.Errorf("the evidence names %d clients that have not moved: %v", len(got), got)
	}

	owe(either)
	_, err = h.rules.TrialStop(ctx, operator(), old, 15*time.Minute)
	must(t, err)
	owe(refused)
	d.around()
	if got := named(func(r authority.TokenEvidence) bool { return r.TrialRefusals > 0 }); !slices.Equal(got, want) {
		t.Errorf("the trial stop refused %d clients: %v", len(got), got)
	}
	owe(either)
	_, err = h.rules.EndTrial(ctx, operator(), old)
	must(t, err)
	owe(passes)
	d.around()
	_, err = h.rules.ExtendKey(ctx, operator(), old, done.Previous.Until.Add(24*time.Hour))
	must(t, err)
	d.around()
	owe(either)
	_, err = h.rules.RetireKey(ctx, operator(), old)
	must(t, err)
	owe(refused)
	d.around()
	rate := float64(d.asked.Load()) / time.Since(began).Seconds()
	d.stop.Store(true)
	workers.Wait()

	for n, c := range d.clients {
		for _, at := range d.doors {
			if class := d.ask(n, c, at); (class == allow) != (n < 190) {
				t.Errorf("after the end %s answers client %d %s", at.name, n, class)
			}
		}
	}
	for what := range d.wrong.Range {
		t.Error(what)
	}
	if t.Logf("%d verdicts, %.0f a second", d.asked.Load(), rate); rate < 500 {
		t.Error("that is no load")
	}
}
