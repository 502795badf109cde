package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// mirror is a follower that keeps what is live, and finds fault with a counter
// that goes back.
type mirror struct {
	mu      sync.Mutex
	tokens  map[authority.TokenID]string // their descriptions
	logins  map[authority.LoginID]bool
	keys    map[authority.KeyID]authority.KeyState
	system  uint64
	last    int
	loads   int
	retreat error
}

func (m *mirror) Load(c authority.Change) {
	m.mu.Lock()
	m.tokens, m.logins, m.keys = map[authority.TokenID]string{}, map[authority.LoginID]bool{}, map[authority.KeyID]authority.KeyState{}
	m.loads++
	m.mu.Unlock()
	m.Apply(c)
}

func (m *mirror) Apply(c authority.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range c.Tokens {
		if x.Value == nil {
			delete(m.tokens, x.Key)
			continue
		}
		m.tokens[x.Key] = x.Value.Description
		if x.Key == Token(1).ID {
			n, err := strconv.Atoi(x.Value.Description)
			if n < m.last || err != nil {
				m.retreat = errors.Join(err, fmt.Errorf("the counter went from %d to %d", m.last, n))
			}
			m.last = n
		}
	}
	for _, x := range c.Logins {
		if m.logins[x.Key] = true; x.Value == nil {
			delete(m.logins, x.Key)
		}
	}
	for _, x := range c.Keys {
		if x.Value == nil {
			delete(m.keys, x.Key)
		} else {
			m.keys[x.Key] = x.Value.State
		}
	}
	if c.System != nil {
		m.system = c.System.Generation
	}
}

// truth is what a mirror would hold of the store now.
func truth(t *testing.T, s authority.Store) *mirror {
	t.Helper()
	m := &mirror{tokens: map[authority.TokenID]string{}, logins: map[authority.LoginID]bool{}, keys: map[authority.KeyID]authority.KeyState{}}
	view(t, s, func(tx authority.Tx) error {
		for v, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			m.tokens[v.ID] = v.Description
		}
		for v, err := range tx.Logins().All() {
			if err != nil {
				return err
			}
			m.logins[v.ID] = true
		}
		for v, err := range tx.Keys().All() {
			if err != nil {
				return err
			}
			m.keys[v.ID] = v.State
		}
		v, err := tx.System().Get(authority.SystemKey)
		if authority.KindOf(err) == authority.NotFound {
			return nil
		}
		m.system = v.Generation
		return err
	})
	return m
}

func (m *mirror) equal(o *mirror) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Equal(m.tokens, o.tokens) && maps.Equal(m.logins, o.logins) && maps.Equal(m.keys, o.keys) && m.system == o.system
}

// wantLevel waits until a follower has what the store has.
func wantLevel(t *testing.T, s authority.Store, m *mirror) {
	t.Helper()
	want := truth(t, s)
	for deadline := time.Now().Add(10 * time.Second); !m.equal(want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.mu.Lock()
			defer m.mu.Unlock()
			t.Fatalf("the follower has %d tokens, the store %d; counter %q and %q", len(m.tokens), len(want.tokens), m.tokens[Token(1).ID], want.tokens[Token(1).ID])
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retreat != nil {
		t.Error(m.retreat)
	}
}

func lostUpdatesOfTwo(t *testing.T, h Harness) {
	if h.Second == nil {
		return
	}
	both := []authority.Store{h.Store, h.Second(t)}
	put(t, h.Store, counter())
	together(t, func(w, _ int) error { return both[w%2].Update(context.Background(), raise) })
	want := counter()
	want.Description = strconv.Itoa(workers * rounds)
	for _, s := range both {
		wantTokens(t, s, want)
	}
	events := 0
	together(t, func(w, r int) error {
		return both[w%2].Update(context.Background(), func(tx authority.Tx) error {
			return tx.Audit().Append(authority.Event{At: epoch(), Action: "x", Target: fmt.Sprint(w, " ", r)})
		})
	})
	events += workers * rounds
	wantChain(t, both[1], events)
}

// feed lets two handles change the same records and checks that the followers of
// each have all of it, the own changes as soon as they are answered.
func feed(t *testing.T, h Harness) {
	if h.Second == nil {
		return
	}
	both, followers := []authority.Store{h.Store, h.Second(t)}, []*mirror{{}, {}}
	put(t, h.Store, counter())
	for i, s := range both {
		if err := s.Follow(context.Background(), followers[i]); err != nil {
			t.Fatal(err)
		}
	}
	records := sample()
	together(t, func(w, r int) error {
		s, f, n := both[w%2], followers[w%2], 100+w*rounds+r
		v := Token(n)
		err := s.Update(context.Background(), func(tx authority.Tx) error { return errors.Join(raise(tx), tx.Tokens().Insert(v)) })
		f.mu.Lock()
		_, told := f.tokens[v.ID]
		f.mu.Unlock()
		if err == nil && !told {
			t.Errorf("%s was answered before the follower applied it", v.ID)
		}
		if err != nil || r%2 == 0 {
			return err
		}
		err = s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Delete(v.ID) })
		f.mu.Lock()
		_, told = f.tokens[v.ID]
		f.mu.Unlock()
		if err == nil && told {
			t.Errorf("%s was deleted and is live for the follower", v.ID)
		}
		return err
	})
	for i, s := range both {
		wantLevel(t, s, followers[1-i])
	}
	update(t, both[0], func(tx authority.Tx) error {
		return errors.Join(tx.Keys().Insert(records.keys[0]), tx.Logins().Insert(records.logins[0]), tx.System().Insert(records.system))
	})
	wantLevel(t, both[0], followers[1])
	changed := records.keys[0]
	changed.State = authority.KeyRetired
	update(t, both[1], func(tx authority.Tx) error {
		s, err := tx.System().Get(authority.SystemKey)
		s.Generation++
		return errors.Join(err, tx.System().Put(s), tx.Keys().Put(changed), tx.Logins().Delete(records.logins[0].ID))
	})
	wantLevel(t, both[1], followers[0])
	for _, f := range followers {
		if f.loads != 1 {
			t.Errorf("the follower was loaded %d times", f.loads)
		}
	}
}

// feedLate lets followers join both handles while the other changes records.
func feedLate(t *testing.T, h Harness) {
	if h.Second == nil {
		return
	}
	both := []authority.Store{h.Store, h.Second(t)}
	put(t, h.Store, counter())
	var mu sync.Mutex
	followers := map[*mirror]authority.Store{}
	together(t, func(w, r int) error {
		s := both[w%2]
		if r == rounds/2 {
			f := &mirror{}
			if err := s.Follow(context.Background(), f); err != nil {
				return err
			}
			mu.Lock()
			followers[f] = s
			mu.Unlock()
		}
		return s.Update(context.Background(), raise)
	})
	for f, s := range followers {
		wantLevel(t, s, f)
	}
}
