package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/storetest"
)

// told is a follower that knows how often it was told of a token.
type told struct {
	mu    sync.Mutex
	ids   map[authority.TokenID]int
	loads int
}

func (f *told) Load(c authority.Change) {
	f.mu.Lock()
	f.ids = make(map[authority.TokenID]int)
	f.loads++
	f.mu.Unlock()
	f.Apply(c)
}

func (f *told) Apply(c authority.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range c.Tokens {
		f.ids[x.Key]++
	}
}

func (f *told) of(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids[storetest.Token(n).ID]
}

func (f *told) loaded() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loads
}

func issue(s authority.Store, n int) error {
	v := storetest.Token(n)
	return s.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Insert(v), tx.Audit().Append(authority.Event{At: v.CreatedAt, Action: "token.created", Target: string(v.ID)}))
	})
}

func there(t *testing.T, s authority.Store, n int) bool {
	t.Helper()
	found := false
	err := s.View(context.Background(), func(tx authority.Tx) error {
		_, err := tx.Tokens().Get(storetest.Token(n).ID)
		found = err == nil
		if authority.KindOf(err) == authority.NotFound {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return found
}

// eventually waits for what must come about soon.
func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

// TestACommitWhoseAnswerIsLostIsAnsweredTruly cuts the connection when the server
// has committed: the store finds out, and the caller gets the answer.
func TestACommitWhoseAnswerIsLostIsAnsweredTruly(t *testing.T) {
	cfg := newStore(t)
	p, address := newProxy(t, cfg.URL)
	direct := open(t, cfg)
	cfg.URL = address
	s, f := open(t, cfg), &told{}
	if err := s.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	const cycles = 40
	for n := range cycles {
		p.set(func(p *proxy) { p.cut = true })
		if err := issue(s, n); err != nil {
			t.Fatalf("cycle %d: %v, %v", n, err, errors.Unwrap(err))
		}
		if got := f.of(n); got != 1 {
			t.Errorf("the follower was told %d times of token %d", got, n)
		}
		if !there(t, direct, n) {
			t.Errorf("token %d was acknowledged and is not there", n)
		}
		if err := issue(s, n); authority.KindOf(err) != authority.Conflict {
			t.Errorf("again: %v", err)
		}
	}
	if p.done() < cycles {
		t.Errorf("only %d of %d answers were cut off", p.done(), cycles)
	}
}

// TestAnUnknownOutcomeIsSettledBeforeTheNextAnswer cuts the connection at the
// commit and lets nobody through for a while.
func TestAnUnknownOutcomeIsSettledBeforeTheNextAnswer(t *testing.T) {
	cfg := newStore(t)
	p, address := newProxy(t, cfg.URL)
	cfg.URL = address
	s, f := open(t, cfg), &told{}
	if err := s.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		p.set(func(p *proxy) { p.cut, p.after = true, true })
		err := issue(s, n)
		if e, ok := errors.AsType[*authority.Error](err); !ok || e.Code != "store.unknown" || e.Kind != authority.Unavailable {
			t.Fatalf("a commit whose outcome nobody knows: %v", err)
		}
		if s.Facts().Problem == "" {
			t.Error("the facts tell no problem")
		}
		if err := s.View(context.Background(), func(authority.Tx) error { return nil }); authority.KindOf(err) != authority.Unavailable || err == nil {
			t.Errorf("a view while it is not settled: %v", err)
		}
		p.set(func(p *proxy) { p.down = false })
		if !there(t, s, n) {
			t.Errorf("token %d was committed, and is not seen", n)
		}
		if got := f.of(n); got != 1 {
			t.Errorf("the follower was told %d times", got)
		}
		if err := issue(s, 100+n); err != nil {
			t.Errorf("the next: %v, %v", err, errors.Unwrap(err))
		}
	}
}

// TestTheFeedOutlivesItsListener ends every session of a node while another
// changes records.
func TestTheFeedOutlivesItsListener(t *testing.T) {
	server := postgrestest.Shared(t)
	cfg := newStore(t)
	p, address := newProxy(t, cfg.URL)
	direct := open(t, cfg)
	cfg.URL = address
	s, f := open(t, cfg), &told{}
	if err := s.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		if n%2 == 0 {
			p.sever()
		} else {
			server.Exec(t, "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'`)
		}
		if err := issue(direct, n); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other node hears of it", 5*time.Second, func() bool { return f.of(n) == 1 })
	}
	if f.loaded() != 1 || s.Facts().Alarm != "" {
		t.Errorf("loaded %d times, alarm %q", f.loaded(), s.Facts().Alarm)
	}
	eventually(t, "it is level", 5*time.Second, func() bool { return time.Since(s.Synced()) < 2*time.Second && s.Facts().Problem == "" })
}

// TestAChangeWithoutANotificationIsHeardOf commits as a node would whose
// notification got lost.
func TestAChangeWithoutANotificationIsHeardOf(t *testing.T) {
	cfg := newStore(t)
	s, f := open(t, cfg), &told{}
	if err := errors.Join(issue(s, 1), s.Follow(context.Background(), f)); err != nil {
		t.Fatal(err)
	}
	db := plain(t, cfg.URL)
	for i := range 3 {
		_, err := db.Exec(fmt.Sprintf(`BEGIN;
			UPDATE head SET revision = revision + 1, batch = 'lost%d';
			INSERT INTO commits (revision, batch, keys) SELECT revision, batch, '["t%s"]' FROM head;
			COMMIT`, i, storetest.Token(1).ID))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is heard of", 3*time.Second, func() bool { return f.of(1) == 2+i })
	}
}

// TestANodeWithNothingToHearOfLooksByItself sees a node look at the head again
// and again, on the connections that it has.
func TestANodeWithNothingToHearOfLooksByItself(t *testing.T) {
	cfg := newStore(t)
	p, address := newProxy(t, cfg.URL)
	cfg.URL = address
	s := open(t, cfg)
	looks, level := 0, s.Synced()
	look := func() bool {
		if at := s.Synced(); at.After(level) {
			looks, level = looks+1, at
		}
		return looks >= 5
	}
	connections := func() (n int) {
		p.set(func(p *proxy) { n = p.came })
		return n
	}
	eventually(t, "it looks", 5*time.Second, func() bool { look(); return looks > 0 })
	before := connections()
	eventually(t, "it looks each half second", 4*time.Second, look)
	if after := connections(); after != before {
		t.Errorf("%d connections more than %d", after-before, before)
	}
}

// TestAnotherHistoryIsReadAgainWithAnAlarm makes the database one that is not
// the continuation of what a node has followed, as a failover to a replica that
// lacks the last commits does, or a restored backup.
func TestAnotherHistoryIsReadAgainWithAnAlarm(t *testing.T) {
	for name, change := range map[string]string{
		"the revision goes back":                      `UPDATE head SET revision = revision - 2, batch = 'other'; DELETE FROM commits WHERE revision > (SELECT revision FROM head)`,
		"the revision is another one":                 `UPDATE head SET batch = 'other'; UPDATE commits SET batch = 'other' WHERE revision = (SELECT revision FROM head)`,
		"the revision is another one and has gone on": `UPDATE commits SET batch = 'other' WHERE revision = (SELECT revision FROM head); UPDATE head SET revision = revision + 1, batch = 'new'; INSERT INTO commits SELECT revision, batch, '[]' FROM head`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newStore(t)
			var mu sync.Mutex
			alarms := 0
			cfg.Alarm = func(string) { mu.Lock(); alarms++; mu.Unlock() }
			s, f := open(t, cfg), &told{}
			for n := range 4 {
				if err := issue(s, n); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Follow(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			gone := storetest.Token(3)
			if _, err := plain(t, cfg.URL).Exec(fmt.Sprintf("BEGIN; DELETE FROM tokens WHERE id = '%s'; %s; COMMIT", gone.ID, change)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "everything is read again", 5*time.Second, func() bool { return f.loaded() == 2 })
			if f.of(3) != 0 || f.of(2) != 1 {
				t.Error("the follower does not have what is there now")
			}
			mu.Lock()
			defer mu.Unlock()
			if s.Facts().Alarm == "" || alarms != 1 {
				t.Errorf("alarm %q, %d times", s.Facts().Alarm, alarms)
			}
			if err := issue(s, 50); err != nil {
				t.Errorf("a change after it: %v", err)
			}
		})
	}
}

// TestAServerThatIsGoneIsWaitedForByNobody stops the server under load and
// starts it again.
func TestAServerThatIsGoneIsWaitedForByNobody(t *testing.T) {
	server := postgrestest.Start(t)
	cfg := create(t, server.URL("postgres"))
	s, f := open(t, cfg), &told{}
	if err := s.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acknowledged := map[int]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := w; ; n += 4 {
				select {
				case <-stop:
					return
				default:
				}
				err := issue(s, n)
				mu.Lock()
				acknowledged[n] = err == nil
				mu.Unlock()
				if err != nil {
					if authority.KindOf(err) != authority.Unavailable {
						t.Errorf("token %d: %v, %v", n, err, errors.Unwrap(err))
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	before := runtime.NumGoroutine()
	for range 2 {
		server.Stop(syscall.SIGQUIT)
		if err := s.View(context.Background(), func(tx authority.Tx) error {
			_, err := tx.System().Get(authority.SystemKey)
			return err
		}); err == nil || authority.KindOf(err) != authority.Unavailable {
			t.Errorf("a view without a server: %v", err)
		}
		time.Sleep(300 * time.Millisecond)
		if n := runtime.NumGoroutine(); n > 2*before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		if s.Facts().Problem == "" {
			t.Error("the facts tell no problem")
		}
		if err := server.Up(); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		eventually(t, "changes go on", 10*time.Second, func() bool { return s.Facts().Problem == "" && s.Facts().LastWrite.After(back) })
		t.Logf("changes went on %s after the server was back", time.Since(back).Round(time.Millisecond))
	}
	close(stop)
	wg.Wait()
	yes := 0
	for n, ok := range acknowledged {
		if ok {
			yes++
			if !there(t, s, n) || f.of(n) != 1 {
				t.Errorf("token %d was acknowledged; the follower was told %d times", n, f.of(n))
			}
		}
	}
	t.Logf("%d of %d were acknowledged", yes, len(acknowledged))
}

// TestAServerThatIsNotThereIsNotWaitedFor opens a store without a server.
func TestAServerThatIsNotThereIsNotWaitedFor(t *testing.T) {
	_, err := postgres.Open(context.Background(), postgres.Config{URL: "postgres://postgres@127.0.0.1:1/x", Now: time.Now, Rand: rand.Reader})
	if err == nil || authority.KindOf(err) != authority.Unavailable {
		t.Fatalf("opened: %v", err)
	}
}

// TestWhatWaitingDoesNotMendIsNoOutage opens stores whose address is wrong.
// Several questions in one bound are answered, or not, within it: also when a
// connection was in use as the database fell silent, and when all are new.
func TestADatabaseThatHangsIsWaitedForAsLongAsTheCallerWaits(t *testing.T) {
	p, address := newProxy(t, newStore(t).URL)
	s := open(t, postgres.Config{URL: address, Now: time.Now, Rand: rand.Reader})
	if err := issue(s, 1); err != nil {
		t.Fatal(err)
	}
	p.set(func(p *proxy) { p.mute = true })
	defer p.set(func(p *proxy) { p.mute = false })
	for round := range 3 {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		for range 3 {
			err := s.View(ctx, func(tx authority.Tx) error { _, err := tx.Tokens().Counts(time.Now(), 1); return err })
			if authority.KindOf(err) != authority.Unavailable {
				t.Errorf("a view: %v", err)
			}
		}
		if _, err := s.Nodes(ctx); authority.KindOf(err) != authority.Unavailable {
			t.Errorf("the nodes: %v", err)
		}
		cancel()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("round %d took %s", round, took)
		}
	}
}

func TestWhatWaitingDoesNotMendIsNoOutage(t *testing.T) {
	s := postgrestest.Shared(t)
	for name, address := range map[string]string{
		"no such database": s.URL("nothing"), "no store in it": s.Schema(t), "no such role": strings.Replace(s.URL("postgres"), "postgres@", "nobody@", 1),
		"no address": "postgres://%zz",
	} {
		_, err := postgres.Open(context.Background(), postgres.Config{URL: address, Now: time.Now, Rand: rand.Reader})
		if err == nil || authority.KindOf(err) == authority.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
