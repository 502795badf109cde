package mapstore

import (
	"context"
	"errors"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// batch is what is written at once: the changes of some transactions, in order.
type batch struct {
	prev    *batch // must be written first; nil: nothing before this one
	file    *file  // nil: events only, or memory
	state   state  // after the last transaction
	events  []authority.Event
	changes []authority.Change
	callers int
	full    chan struct{} // closed when want callers are in; nil: nobody waits
	want    int

	done  chan struct{} // closed when err is final: callers are answered
	free  chan struct{} // closed when the next batch may be written
	err   error
	doubt *unknown // why err is not certain
}

// pace decides how long a batch waits for callers that have just been answered
// and will be back: without it two half batches would take turns.
type pace struct {
	expect int           // callers that were there when the last write ended
	took   time.Duration // of the last write
	ended  time.Time
}

const (
	waitFraction = 4 // of the duration of a write
	maxWait      = 50 * time.Millisecond
)

// Update implements authority.Store.
func (s *Store) Update(ctx context.Context, fn func(authority.Tx) error) error {
	s.updates.RLock()
	defer s.updates.RUnlock()
	for {
		p, err := s.run(ctx, fn)
		if p.leads {
			s.flush(p.batch)
		}
		if p.batch != nil {
			<-p.batch.done
		}
		switch {
		case p.batch == nil:
			return err
		case p.joined:
			return p.batch.err
		case p.batch.err == nil:
			return err
		}
		// It answered by what it saw, and that did not last: it must look again.
	}
}

// part is a caller's part in a batch.
type part struct {
	batch  *batch
	joined bool // changed something; else it has only seen the batch's changes
	leads  bool // must flush it
}

// run runs fn in turn on the newest state and puts what it changed in a batch.
func (s *Store) run(ctx context.Context, fn func(authority.Tx) error) (part, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.ready(ctx); err != nil {
		return part{}, err
	}
	t := &tx{state: s.newest, trail: s.durable.Load().trail, edit: new(edit), codecs: s.codecs}
	if err := fn(t); err != nil || t.idle() {
		return part{batch: s.last}, err
	}
	f, err := s.fileOf(t)
	if err != nil {
		return part{}, err
	}
	return s.join(t, f), nil
}

// ready tells why no change can begin. The caller has the turn.
func (s *Store) ready(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return cancelled(err)
	}
	if s.closed {
		return unavailable(errors.New("the store is closed"))
	}
	return s.settle()
}

// fileOf answers the file that a transaction changes.
func (s *Store) fileOf(t *tx) (*file, error) {
	inTokens, inHome := t.inTokens && s.tokens != nil, t.inHome && s.state != nil
	switch {
	case inTokens && inHome:
		return nil, &authority.Error{
			Kind: authority.Internal, Code: "store.two_files",
			Err: errors.New("one transaction changes tokens and other records, which are in different files"),
		}
	case inTokens:
		return s.tokens, nil
	case inHome:
		return s.state, nil
	}
	return nil, nil
}

// join puts a transaction in the open batch when that goes to the same file.
func (s *Store) join(t *tx, f *file) part {
	p := part{batch: s.open, joined: true}
	if b := s.open; b == nil || f != nil && b.file != nil && b.file != f {
		p.batch, p.leads = &batch{prev: s.last, done: make(chan struct{}), free: make(chan struct{})}, true
		s.open, s.last = p.batch, p.batch
	}
	b := p.batch
	if f != nil {
		b.file = f
	}
	s.newest, b.state = t.state, t.state
	b.events = append(b.events, t.events...)
	b.changes = append(b.changes, t.change())
	b.callers++
	if b.full != nil && b.callers == b.want {
		close(b.full)
	}
	return p
}

// flush writes a batch and answers its callers. The caller that made the batch
// calls it, once. Callers are answered when the batch is durable; events move to
// their log while those come back with more.
func (s *Store) flush(b *batch) {
	defer close(b.free)
	if !s.write(b) {
		return
	}
	_ = s.ledger.move() // what stays is in a file, and in ledger.problem
	s.turn.Lock()
	defer s.turn.Unlock()
	s.note(s.ledger.problem)
	if s.last == b {
		s.last = nil
	}
}

// write makes a batch durable, after those before it, and tells whether it
// lasted.
func (s *Store) write(b *batch) bool {
	defer close(b.done)
	if b.prev != nil {
		<-b.prev.free
		if b.err = b.prev.err; b.err != nil {
			return false // built on what did not last; the newest state forgot it already
		}
		b.prev = nil
	}
	s.gather(b)
	began := s.now()
	b.err = s.commit(b)
	s.turn.Lock()
	defer s.turn.Unlock()
	if b.err != nil {
		s.note(b.err)
		s.newest, s.open, s.last = s.durable.Load().state, nil, nil
		s.doubt = b.doubt
		s.doubted.Store(b.doubt != nil)
		return false
	}
	s.pace = pace{expect: b.callers, ended: s.now()}
	s.pace.took = s.pace.ended.Sub(began)
	if s.open != nil {
		s.pace.expect += s.open.callers
	}
	return true
}

// gather waits for the callers that are expected, not for long, and then lets
// nobody else in.
func (s *Store) gather(b *batch) {
	s.turn.Lock()
	defer s.turn.Unlock()
	wait := min(s.pace.took/waitFraction, maxWait)
	if wait > 0 && s.open == b && b.callers < s.pace.expect && s.now().Sub(s.pace.ended) < s.pace.took {
		b.want, b.full = s.pace.expect, make(chan struct{})
		timer := time.NewTimer(wait)
		s.turn.Unlock()
		select {
		case <-b.full:
		case <-timer.C:
		}
		timer.Stop()
		s.turn.Lock()
	}
	if s.open == b {
		s.open = nil
	}
}

// codecsOf answers how records are encoded that have a file.
func codecsOf(state, tokens *file) *codecs {
	var c codecs
	if tokens != nil {
		c.token, c.receipt = new(stored.Tokens()), new(stored.Receipts())
	}
	if state != nil {
		c.key, c.admin, c.login = new(stored.Keys()), new(stored.Admins()), new(stored.Logins())
		c.throttle, c.system = new(stored.Throttles()), new(stored.Systems())
	}
	return &c
}
