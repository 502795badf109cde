package mapstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
)

// Config says where the store keeps its files.
type Config struct {
	Home   string // folder of state.json and audit.ndjson; "": nothing lasts
	Tokens string // absolute path of the token file; "": tokens in memory
	Files  durable.Files
	Now    func() time.Time
	// Arriving: the records come from another store, whose audit log this one's
	// goes on to be. Opening adds no event of its own.
	Arriving bool
}

// Opened says what Open found.
type Opened struct {
	New    bool // the token file was empty and is a new store now
	Tokens int  // tokens in the file, also deleted ones
	// CaughtUp is what had happened since the file was written, and was redone.
	CaughtUp authority.CaughtUp
}

// Store implements authority.Store.
type Store struct {
	files  durable.Files
	now    func() time.Time
	home   string
	opened Opened

	durable atomic.Pointer[moment] // what views read
	doubted atomic.Bool            // doubt != nil, for views

	// updates is held by every Update until it is answered, and alone by what
	// must have none under way.
	updates sync.RWMutex

	// turn orders transactions. What it guards:
	turn   sync.Mutex
	newest state    // with every change not yet written
	last   *batch   // the newest batch, until it is written
	open   *batch   // last, while it takes more
	doubt  *unknown // a write of which nobody knows whether it lasted
	pace   pace
	codecs *codecs
	closed bool

	// What only the caller who writes touches: there is one at a time.
	state  *file // nil: no home
	tokens *file // nil: in memory
	ledger ledger
	held   *durable.Held
	writer writer

	// follow orders publishing: followers miss nothing and see commits in order.
	follow    sync.Mutex
	followers []authority.Follower

	facts sync.Mutex // guards what Facts answers
	fact  authority.StoreFacts
}

var _ authority.Store = (*Store)(nil)

// state is every record of the store.
type state struct {
	tokens    sorted[authority.TokenID, authority.Token]
	receipts  sorted[string, authority.Receipt]
	keys      sorted[authority.KeyID, authority.Key]
	admins    sorted[string, authority.Admin]
	logins    sorted[authority.LoginID, authority.Login]
	throttles sorted[string, authority.Throttle]
	system    sorted[string, authority.System]
}

// generation is the one that tokens are valid in.
func (s *state) generation() uint64 {
	if w := s.system.get(authority.SystemKey); w != nil {
		return w.value.Generation
	}
	return 0
}

// active counts the tokens that are valid.
func (s *state) active(now time.Time) int {
	n, generation := 0, s.generation()
	for w := range s.tokens.all() {
		if w.value.State(now, generation) == authority.StateActive {
			n++
		}
	}
	return n
}

// moment is one durable state and the audit log that belongs to it.
type moment struct {
	state
	trail trail
	memo  *memo // about its tokens
}

// show lets views see a state. One with the same tokens as before has their memo.
func (s *Store) show(st state) {
	m := &moment{st, s.ledger.trail(), new(memo)}
	if last := s.durable.Load(); last != nil && last.tokens.same(&st.tokens) {
		m.memo = last.memo
	}
	s.durable.Store(m)
}

// Opened says what Open found.
func (s *Store) Opened() Opened { return s.opened }

// View runs fn on the durable state of this moment, which later commits do not
// change: fn may take its time.
func (s *Store) View(ctx context.Context, fn func(authority.Tx) error) error {
	if err := context.Cause(ctx); err != nil {
		return cancelled(err)
	}
	if err := s.settled(); err != nil {
		return err
	}
	m := s.durable.Load()
	return fn(&tx{state: m.state, trail: m.trail, memo: m.memo})
}

// Follow implements authority.Store.
func (s *Store) Follow(ctx context.Context, f authority.Follower) error {
	if err := context.Cause(ctx); err != nil {
		return cancelled(err)
	}
	if err := s.settled(); err != nil {
		return err
	}
	s.follow.Lock()
	defer s.follow.Unlock()
	f.Load(snapshot(s.durable.Load().state))
	s.followers = append(s.followers, f)
	return nil
}

// Synced implements authority.Store.
func (s *Store) Synced() time.Time { return s.now() }

// Facts implements authority.Store.
func (s *Store) Facts() authority.StoreFacts {
	s.facts.Lock()
	defer s.facts.Unlock()
	return s.fact
}

// Close implements authority.Store. It is idempotent.
func (s *Store) Close() error {
	s.updates.Lock()
	defer s.updates.Unlock()
	if s.closed {
		return nil
	}
	s.turn.Lock()
	s.closed = true
	s.turn.Unlock()
	var err error
	if problem := s.ledger.move(); problem != nil {
		err = fmt.Errorf("moving audit events to their log: %w", problem)
	}
	return errors.Join(err, s.release())
}

// release gives back files and locks.
func (s *Store) release() error {
	var err error
	if s.ledger.log != nil {
		err = s.ledger.log.Close()
	}
	if s.held != nil {
		err = errors.Join(err, s.held.Close())
	}
	return err
}

// publish makes a written state the one that views and followers see.
func (s *Store) publish(st state, changes []authority.Change) {
	s.follow.Lock()
	defer s.follow.Unlock()
	s.show(st)
	for _, c := range changes {
		for _, f := range s.followers {
			f.Apply(cloneChange(c))
		}
	}
}

func (s *Store) note(problem error) {
	s.facts.Lock()
	defer s.facts.Unlock()
	if cause := errors.Unwrap(problem); cause != nil {
		problem = cause // the public message has no reason in it
	}
	if problem != nil {
		s.fact.Problem = problem.Error()
		return
	}
	s.fact.Problem, s.fact.LastWrite = "", s.now()
}

func snapshot(st state) authority.Change {
	c := authority.Change{
		Tokens: make([]authority.Changed[authority.TokenID, authority.Token], 0, st.tokens.size),
	}
	for w := range st.tokens.all() {
		v := w.value.Clone()
		c.Tokens = append(c.Tokens, authority.Changed[authority.TokenID, authority.Token]{Key: v.ID, Value: &v})
	}
	for w := range st.logins.all() {
		v := w.value.Clone()
		c.Logins = append(c.Logins, authority.Changed[authority.LoginID, authority.Login]{Key: v.ID, Value: &v})
	}
	for w := range st.keys.all() {
		v := w.value.Clone()
		c.Keys = append(c.Keys, authority.Changed[authority.KeyID, authority.Key]{Key: v.ID, Value: &v})
	}
	for w := range st.system.all() {
		v := w.value.Clone()
		c.System = &v
	}
	return c
}

// cloneChange copies a change, so that no follower shares values with another
// or with the store.
func cloneChange(c authority.Change) authority.Change {
	out := authority.Change{Tokens: cloneChanged(c.Tokens), Logins: cloneChanged(c.Logins), Keys: cloneChanged(c.Keys)}
	if c.System != nil {
		v := c.System.Clone()
		out.System = &v
	}
	return out
}

func cloneChanged[K comparable, T interface{ Clone() T }](in []authority.Changed[K, T]) []authority.Changed[K, T] {
	if len(in) == 0 {
		return nil
	}
	out := make([]authority.Changed[K, T], len(in))
	for i, c := range in {
		out[i].Key = c.Key
		if c.Value != nil {
			v := (*c.Value).Clone()
			out[i].Value = &v
		}
	}
	return out
}
