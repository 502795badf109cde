package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// recorder is a follower that keeps what it is told.
type recorder struct {
	mu      sync.Mutex
	loaded  []authority.Change
	applied []authority.Change
}

func (r *recorder) Load(c authority.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded = append(r.loaded, c)
}

func (r *recorder) Apply(c authority.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = append(r.applied, c)
}

func (r *recorder) each(fn func(authority.Change)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.loaded {
		fn(c)
	}
	for _, c := range r.applied {
		fn(c)
	}
}

const (
	workers = 8
	rounds  = 12
)

// together runs fn in each worker for each round.
func together(t *testing.T, fn func(worker, round int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				if err := fn(w, r); err != nil {
					t.Errorf("worker %d, round %d: %v", w, r, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// raise counts one up in the record of Token(1).
func raise(tx authority.Tx) error {
	v, err := tx.Tokens().Get(Token(1).ID)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(v.Description)
	v.Description = strconv.Itoa(n + 1)
	return errors.Join(err, tx.Tokens().Put(v))
}

func counter() authority.Token {
	v := Token(1)
	v.Description = "0"
	return v
}

func lostUpdates(t *testing.T, h Harness) {
	put(t, h.Store, counter())
	together(t, func(int, int) error { return h.Store.Update(context.Background(), raise) })
	want := counter()
	want.Description = strconv.Itoa(workers * rounds)
	wantTokens(t, h.Store, want)
}

func views(t *testing.T, h Harness) {
	put(t, h.Store, counter())
	update(t, h.Store, func(tx authority.Tx) error {
		if err := raise(tx); err != nil {
			return err
		}
		view(t, h.Store, func(seen authority.Tx) error {
			v, err := seen.Tokens().Get(Token(1).ID)
			if v.Description != "0" {
				t.Errorf("a view sees a change before it is durable")
			}
			return err
		})
		return nil
	})
	done := make(chan error, 1)
	view(t, h.Store, func(tx authority.Tx) error {
		before, err := tx.Tokens().Get(Token(1).ID)
		go func() { done <- h.Store.Update(context.Background(), raise) }()
		select { // a store may let the writer wait for the view
		case failed := <-done:
			err = errors.Join(err, failed)
			done <- nil
		case <-time.After(100 * time.Millisecond):
		}
		after, again := tx.Tokens().Get(Token(1).ID)
		if d := diff(before, after); d != "" {
			t.Errorf("a view changed under its reader:\n%s", d)
		}
		return errors.Join(err, again)
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func visible(t *testing.T, h Harness) {
	f := &recorder{}
	if err := h.Store.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	together(t, func(w, r int) error {
		v := Token(w*rounds + r)
		if err := h.Store.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(v) }); err != nil {
			return err
		}
		told := false
		f.each(func(c authority.Change) {
			for _, x := range c.Tokens {
				told = told || x.Key == v.ID
			}
		})
		if !told {
			t.Errorf("%s was answered before the follower applied it", v.ID)
		}
		return h.Store.View(context.Background(), func(tx authority.Tx) error {
			_, err := tx.Tokens().Get(v.ID)
			return err
		})
	})
}

// wantSteps checks that the counter goes up by one from from with every change.
func wantSteps(t *testing.T, r *recorder, from, to int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	at := from
	for _, c := range r.applied {
		for _, x := range c.Tokens {
			if at++; x.Value == nil || x.Value.Description != strconv.Itoa(at) {
				t.Fatalf("step %d: got %+v", at, x.Value)
			}
		}
	}
	if at != to {
		t.Errorf("the follower is at %d, want %d", at, to)
	}
}

func followers(t *testing.T, h Harness) {
	put(t, h.Store, counter())
	f := &recorder{}
	if err := h.Store.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	together(t, func(int, int) error { return h.Store.Update(context.Background(), raise) })
	wantSteps(t, f, 0, workers*rounds)
	s := sample()
	f.mu.Lock()
	f.applied = nil
	f.mu.Unlock()
	update(t, h.Store, func(tx authority.Tx) error {
		return errors.Join(tx.Keys().Insert(s.keys[0]), tx.Logins().Insert(s.logins[0]), tx.System().Insert(s.system), tx.Admins().Insert(s.admins[0]))
	})
	update(t, h.Store, func(tx authority.Tx) error {
		return errors.Join(tx.Keys().Delete(s.keys[0].ID), tx.Logins().Delete(s.logins[0].ID))
	})
	update(t, h.Store, func(tx authority.Tx) error { return tx.Tokens().Delete(Token(1).ID) })
	want := []authority.Change{
		{
			Keys: []authority.Changed[authority.KeyID, authority.Key]{{Key: "k-1", Value: &s.keys[0]}}, System: &s.system,
			Logins: []authority.Changed[authority.LoginID, authority.Login]{{Key: "lgn_1", Value: &s.logins[0]}},
		},
		{
			Keys:   []authority.Changed[authority.KeyID, authority.Key]{{Key: "k-1"}},
			Logins: []authority.Changed[authority.LoginID, authority.Login]{{Key: "lgn_1"}},
		},
		{Tokens: []authority.Changed[authority.TokenID, authority.Token]{{Key: Token(1).ID}}},
	}
	if d := diff(want, f.applied); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func followersAborted(t *testing.T, h Harness) {
	f := &recorder{}
	if err := h.Store.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	err := h.Store.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Insert(Token(1)), stop)
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	f.each(func(c authority.Change) {
		if len(c.Tokens) > 0 {
			t.Errorf("the follower was told of %+v", c)
		}
	})
}

func followLate(t *testing.T, h Harness) {
	put(t, h.Store, counter())
	f := &recorder{}
	together(t, func(w, r int) error {
		if w == 0 && r == rounds/2 {
			if err := h.Store.Follow(context.Background(), f); err != nil {
				return err
			}
		}
		return h.Store.Update(context.Background(), raise)
	})
	if len(f.loaded) != 1 || len(f.loaded[0].Tokens) != 1 {
		t.Fatalf("loaded %+v", f.loaded)
	}
	from, err := strconv.Atoi(f.loaded[0].Tokens[0].Value.Description)
	if err != nil {
		t.Fatal(err)
	}
	wantSteps(t, f, from, workers*rounds)
}

func cancellation(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := h.Store.Update(ctx, func(tx authority.Tx) error { return tx.Tokens().Insert(Token(1)) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	wantTokens(t, h.Store)
	// Whatever the moment of the cancel: an error that says cancelled is true.
	for i := range 40 {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel()
		err := h.Store.Update(ctx, func(tx authority.Tx) error { return tx.Tokens().Insert(Token(i)) })
		cancel()
		view(t, h.Store, func(tx authority.Tx) error {
			if _, got := tx.Tokens().Get(Token(i).ID); (err == nil) != (got == nil) && !errors.Is(err, errInjected) {
				t.Errorf("update answered %v, but get answers %v", err, got)
			}
			return nil
		})
	}
}

// loading checks that a follower is handed all that is live, once, whichever
// follower it is.
func loading(t *testing.T, h Harness) {
	s := sample()
	put(t, h.Store, Token(1), Token(2), Token(3))
	update(t, h.Store, func(tx authority.Tx) error { return tx.Tokens().Delete(Token(2).ID) })
	update(t, h.Store, func(tx authority.Tx) error {
		return errors.Join(tx.Keys().Insert(s.keys[1]), tx.Keys().Insert(s.keys[0]), tx.Logins().Insert(s.logins[0]),
			tx.System().Insert(s.system), tx.Admins().Insert(s.admins[0]))
	})
	one, three := Token(1), Token(3)
	want := authority.Change{
		Tokens: []authority.Changed[authority.TokenID, authority.Token]{{Key: one.ID, Value: &one}, {Key: three.ID, Value: &three}},
		Keys:   []authority.Changed[authority.KeyID, authority.Key]{{Key: "k-1", Value: &s.keys[0]}, {Key: "k-2", Value: &s.keys[1]}},
		Logins: []authority.Changed[authority.LoginID, authority.Login]{{Key: "lgn_1", Value: &s.logins[0]}},
		System: &s.system,
	}
	for range 2 {
		f := &recorder{}
		if err := h.Store.Follow(context.Background(), f); err != nil {
			t.Fatal(err)
		}
		if d := diff([]authority.Change{want}, f.loaded); d != "" {
			t.Errorf("loaded (-want +got):\n%s", d)
		}
		f.each(func(c authority.Change) { c.Tokens[0].Value.Tags[0] = "spoilt:x" })
	}
}

// gaveUp checks that what is given up says so, and is Unavailable.
func gaveUp(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, err := range map[string]error{
		"view":   h.Store.View(ctx, func(authority.Tx) error { return nil }),
		"update": h.Store.Update(ctx, func(tx authority.Tx) error { return tx.Tokens().Insert(Token(1)) }),
		"follow": h.Store.Follow(ctx, &recorder{}),
	} {
		wantKind(t, name, err, authority.Unavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", name, err)
		}
	}
}

func facts(t *testing.T, h Harness) {
	before := h.Store.Facts()
	put(t, h.Store, Token(1))
	got := h.Store.Facts()
	if got.Kind == "" || got.Problem != "" || got.Persistent != (got.Location != "") {
		t.Errorf("facts %+v", got)
	}
	if got.LastWrite.IsZero() || got.LastWrite.Before(before.LastWrite) {
		t.Errorf("the last write was at %v, before that at %v", got.LastWrite, before.LastWrite)
	}
}

// closing checks that Close waits for what is under way, and that nothing begins
// after it.
func closing(t *testing.T, h Harness) {
	begun, goOn, answer := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		answer <- h.Store.Update(context.Background(), func(tx authority.Tx) error {
			once.Do(func() { close(begun) })
			<-goOn
			return tx.Tokens().Insert(Token(1))
		})
	}()
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- h.Store.Close() }()
	select {
	case err := <-closed:
		t.Errorf("closed while an update was under way: %v", err)
		closed <- err
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	updated := <-answer
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if updated != nil && authority.KindOf(updated) != authority.Unavailable {
		t.Errorf("the update under way: %v", updated)
	}
	wantKind(t, "an update after it", h.Store.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(Token(2)) }), authority.Unavailable)
	if err := h.Store.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if h.Reopen == nil || h.TokensLost {
		return
	}
	h.Store = h.Reopen(t)
	var want []authority.Token
	if updated == nil {
		want = append(want, Token(1))
	}
	wantTokens(t, h.Store, want...)
}

// looking checks that a caller who looks after each lost answer does everything
// once: what an Unavailable left behind is there or not there, at once and for
// good.
func looking(t *testing.T, h Harness) {
	f := &recorder{}
	if err := h.Store.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	s := FailAndPersist(FailAndForget(FailBefore(h.Store, 5), 4), 3)
	together(t, func(w, r int) error {
		v := Token(w*rounds + r)
		for {
			err := s.Update(context.Background(), func(tx authority.Tx) error {
				return errors.Join(tx.Tokens().Insert(v), tx.Audit().Append(authority.Event{At: epoch(), Action: "token.created", Target: string(v.ID)}))
			})
			if !errors.Is(err, errInjected) {
				return err
			}
			there := false
			err = h.Store.View(context.Background(), func(tx authority.Tx) error {
				_, err := tx.Tokens().Get(v.ID)
				there = err == nil
				return nil
			})
			if there || err != nil {
				return err
			}
		}
	})
	var want []authority.Token
	for n := range workers * rounds {
		want = append(want, Token(n))
	}
	wantTokens(t, h.Store, want...)
	wantChain(t, h.Store, len(want))
	told := make(map[authority.TokenID]int)
	f.each(func(c authority.Change) {
		for _, x := range c.Tokens {
			told[x.Key]++
		}
	})
	for _, v := range want {
		if told[v.ID] != 1 {
			t.Errorf("the follower was told of %s %d times", v.ID, told[v.ID])
		}
		if page := audit(t, h.Store, authority.AuditQuery{Limit: 5, Target: string(v.ID)}); len(page.Events) != 1 {
			t.Errorf("%d events of %s", len(page.Events), v.ID)
		}
	}
}

// persisting checks what a lost answer means: done once, and seen by all.
func persisting(t *testing.T, h Harness) {
	f := &recorder{}
	if err := h.Store.Follow(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	s := FailAndPersist(h.Store, 1)
	insert := func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Insert(Token(1)), tx.Audit().Append(authority.Event{At: epoch(), Action: "token.created"}))
	}
	wantKind(t, "first", s.Update(context.Background(), insert), authority.Unavailable)
	wantKind(t, "again", h.Store.Update(context.Background(), insert), authority.Conflict)
	wantTokens(t, h.Store, Token(1))
	if page := audit(t, h.Store, authority.AuditQuery{Limit: 10}); page.Total != 1 {
		t.Errorf("%d events, want 1", page.Total)
	}
	if len(f.applied) != 1 {
		t.Errorf("the follower saw %d changes, want 1", len(f.applied))
	}
}
