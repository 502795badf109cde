package conformance_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// soak is a node whose tokens come and go while every door is asked about them.
type soak struct {
	*house
	pool    [64]atomic.Pointer[tenant]
	turn    atomic.Int64 // odd while the keys are rotated or reset
	reset   atomic.Int64 // the turn that ended the latest reset
	asked   [16]atomic.Int64
	changes atomic.Int64
}

// tenant is a token in the pool.
type tenant struct {
	question
	before, after int64       // the turns between which it was issued
	ending        atomic.Bool // somebody is about to end it
	over          atomic.Bool // the answer to that is here
}

// mustPass reports whether nothing can have ended the token by now, which is
// after it was asked about: a key goes at the second rotation after its own.
func (s *soak) mustPass(t *tenant) bool {
	return !t.ending.Load() && t.before%2 == 0 && s.turn.Load()-t.before < 3 && (s.reset.Load() < t.before || s.reset.Load() == 0)
}

// mustFail reports whether the token had ended by now, which is before it is
// asked about.
func (s *soak) mustFail(t *tenant) bool {
	issued := t.after + t.after%2
	return t.over.Load() || s.reset.Load() > issued || s.turn.Load()-issued >= 4
}

// asks asks one door about one tenant after the other.
func (s *soak) asks(ctx context.Context, number int, d door) {
	for ctx.Err() == nil {
		t := s.pool[rand.IntN(len(s.pool))].Load()
		before, ended := s.turn.Load(), s.mustFail(t)
		class, _ := d.ask(s.house, t.question)
		passes := s.mustPass(t)
		steady := before%2 == 0 && before == s.turn.Load()
		s.asked[number].Add(1)
		switch {
		case class == allow && ended && d.name != "Go, offline":
			s.t.Errorf("%s lets in what has ended", d.name)
		case class == unknown && steady, class != allow && class != invalid && class != unknown:
			s.t.Errorf("%s answers %s", d.name, class)
		case class == invalid && passes && steady:
			s.t.Errorf("%s refuses what is good", d.name)
		}
	}
}

// issues fills a place of the pool.
func (s *soak) issues(place int) {
	t := &tenant{before: s.turn.Load()}
	issued := s.user()
	t.question, t.after = question{token: issued.Text.Unsafe(), id: string(issued.ID)}, s.turn.Load()
	s.pool[place].Store(t)
	s.changes.Add(1)
}

// ends revokes the token at a place, and sometimes takes that back.
func (s *soak) ends(place int) {
	t := s.pool[place].Load()
	if t.ending.Swap(true) {
		return
	}
	turn := s.turn.Load()
	if _, err := s.rules.RevokeToken(s.t.Context(), operator(), authority.TokenID(t.id), false); err != nil {
		s.t.Error(err)
	}
	s.changes.Add(1)
	if rand.IntN(4) > 0 {
		t.over.Store(true)
		s.issues(place)
		return
	}
	if class, _ := s.askForwardAuth(t.question); class != invalid {
		s.t.Errorf("between its end and its return it is answered %s", class)
	}
	_, err := s.rules.RestoreToken(s.t.Context(), operator(), authority.TokenID(t.id))
	s.changes.Add(1)
	if err != nil || s.turn.Load() != turn { // a reset may have come between
		s.issues(place)
		return
	}
	s.pool[place].Store(&tenant{question: t.question, before: t.before, after: t.after})
}

// turns rotates the keys, or resets them every fourth time. Whoever asks gets a
// new token in the same turn.
func (s *soak) turns(n int) {
	s.turn.Add(1)
	defer s.turn.Add(1)
	if n%4 == 3 {
		s.house.reset()
		s.reset.Store(s.turn.Load() + 1)
		return
	}
	keys, err := s.rules.Keys(s.t.Context(), operator())
	must(s.t, err)
	for _, k := range keys {
		if k.State == authority.KeyPrevious {
			_, err := s.rules.RetireKey(s.t.Context(), operator(), k.Name)
			must(s.t, err)
		}
	}
	_, err = s.rules.RotateKey(s.t.Context(), operator(), authority.RotateRequest{Overlap: 24 * time.Hour})
	must(s.t, err)
	s.hireAskers()
}

// signsInAndOut is an administrator who cannot decide.
func (s *soak) signsInAndOut() {
	turn := s.turn.Load()
	in, err := s.rules.SignIn(s.t.Context(), authority.Nobody(authority.Origin{From: client}), adminName, authority.NewSecret(adminPassword))
	if errors.Is(err, authority.Conflict) || errors.Is(err, authority.Unavailable) {
		return // a reset has come between
	}
	must(s.t, err)
	q := question{token: in.Text.Unsafe(), id: string(in.ID), cookie: in.Text.Unsafe()}
	class, _ := s.askConsole(q)
	if class != allow && turn%2 == 0 && s.turn.Load() == turn {
		s.t.Errorf("the console answers a login with %s", class)
	}
	if class != allow {
		return
	}
	caller := s.decider.Decide(q.token, loginDemand()).Identity.Caller(authority.Origin{From: client})
	if err := s.rules.SignOut(s.t.Context(), caller); err == nil {
		if class, _ := s.askConsole(q); class != invalid {
			s.t.Errorf("after the sign-out the console answers %s", class)
		}
	}
	s.changes.Add(2)
}

// every does something at an even pace until ctx ends.
func every(ctx context.Context, pace time.Duration, do func(n int)) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(n)
		}
	}
}

// run lets everybody work for d.
func (s *soak) run(d time.Duration) {
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for number, door := range doors() {
		if door.name != "console" {
			all.Go(func() { s.asks(ctx, number, door) })
		}
	}
	for range 2 {
		all.Go(func() { every(ctx, 10*time.Millisecond, func(int) { s.ends(rand.IntN(len(s.pool))) }) })
	}
	all.Go(func() { every(ctx, 250*time.Millisecond, s.turns) })
	all.Go(func() { every(ctx, 50*time.Millisecond, func(int) { s.signsInAndOut() }) })
	all.Go(func() {
		every(ctx, 50*time.Millisecond, func(int) {
			s.advance(time.Second)
			if err := s.rules.Maintain(s.t.Context()); err != nil {
				s.t.Error(err)
			}
		})
	})
	all.Wait()
}

// heap is what is in use after a collection, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestSoakOfEveryDoor asks every door without a pause for ten seconds, or five
// minutes in a soak, while tokens are issued, revoked and restored, keys rotated
// and reset, and an administrator signs in and out. What has ended is refused by
// whoever asks afterwards, what is good passes, and in the end all that was used
// is given back.
func TestSoakOfEveryDoor(t *testing.T) {
	d := 10 * time.Second
	if soaking() {
		d = 5 * time.Minute
	}
	before := runtime.NumGoroutine()
	t.Run("all at once", func(t *testing.T) {
		s := &soak{house: newHouse(t, jws.ES256)}
		for place := range s.pool {
			s.issues(place)
		}
		s.run(d / 5)
		began, changes, goroutines := heap(), s.changes.Load(), runtime.NumGoroutine()
		s.run(d - d/5)
		grown, changed := heap()-began, s.changes.Load()-changes
		total := int64(0)
		for number, door := range doors() {
			n := s.asked[number].Load()
			total += n
			if n == 0 && door.name != "console" {
				t.Errorf("%s was never asked", door.name)
			}
		}
		t.Logf("%d verdicts, %d changes, %d turns of the keys; %d KiB more in use, %d goroutines then and %d now",
			total, changed, s.turn.Load()/2, grown>>10, goroutines, runtime.NumGoroutine())
		// A store in memory keeps its audit log and the records of what was deleted.
		if allowed := 4<<20 + changed*perChange; grown > allowed {
			t.Errorf("%d KiB more are in use, at most %d are the records of %d changes", grown>>10, allowed>>10, changed)
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines before, %d after", before, now)
	}
}

// perChange is what a change leaves in a store that is in memory: a record and
// its event.
const perChange = 2 << 10
