package sqlstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"mintmark/internal/authority"
)

// call is one caller of Update. Its function runs on its own goroutine, when it
// is its turn.
type call struct {
	ctx  context.Context
	fn   func(authority.Tx) error
	turn chan turn     // what it is to do next
	ran  chan struct{} // its function has returned, or will never

	tx     *tx
	err    error // of its function
	joined bool  // it changed something; else it has only seen what others changed
	leads  bool
}

// turn is what a waiting caller is told: to lead, to run its function, or its
// answer.
type turn struct {
	lead, run bool
	again     bool // it answered by what it saw, and that did not last
	err       error
}

// maxBatch bounds what one commit holds.
const maxBatch = 512

// pace decides how long a batch waits for callers that have just been answered
// and will be back: without it two half batches would take turns.
type pace struct {
	expect int           // callers that were there when the last commit ended
	took   time.Duration // of the last batch
	ended  time.Time
}

const (
	waitFraction = 4 // of the duration of a batch
	maxWait      = 5 * time.Millisecond
)

// Update implements authority.Store.
func (s *Store) Update(ctx context.Context, fn func(authority.Tx) error) error {
	s.updates.RLock()
	defer s.updates.RUnlock()
	for {
		if err := context.Cause(ctx); err != nil {
			return cancelled(err)
		}
		if s.closed {
			return closedStore()
		}
		c := &call{ctx: ctx, fn: fn, turn: make(chan turn, 1), ran: make(chan struct{}, 1)}
		s.join(c)
		if t := s.wait(c); !t.again {
			return t.err
		}
	}
}

// join puts a caller in the queue; the first of all leads.
func (s *Store) join(c *call) {
	s.queue.Lock()
	defer s.queue.Unlock()
	s.waiting = append(s.waiting, c)
	if s.full != nil && len(s.waiting) == s.wanted {
		close(s.full)
		s.full = nil
	}
	if !s.leading {
		s.leading = true
		c.leads = true
		c.turn <- turn{lead: true}
	}
}

// wait does what the caller is told until it has its answer.
func (s *Store) wait(c *call) turn {
	given := c.ctx.Done()
	for {
		select {
		case t := <-c.turn:
			switch {
			case t.lead:
				s.lead(c)
			case t.run:
				c.run()
			default:
				return t
			}
		case <-given:
			if s.leave(c) {
				return turn{err: cancelled(context.Cause(c.ctx))}
			}
			given = nil // it is in a batch, whose outcome is its own
		}
	}
}

// leave takes a caller out of the queue and reports whether it was in it.
func (s *Store) leave(c *call) bool {
	s.queue.Lock()
	defer s.queue.Unlock()
	i := slices.Index(s.waiting, c)
	if i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	if c.leads {
		s.pass()
	}
	return true
}

// pass lets the next caller lead. The queue is locked.
func (s *Store) pass() {
	if s.leading = len(s.waiting) > 0; s.leading {
		next := s.waiting[0]
		next.leads = true
		next.turn <- turn{lead: true}
	}
}

// run runs the function of a call. A function that does not return changes
// nothing.
func (c *call) run() {
	c.err = errGone
	defer func() { c.ran <- struct{}{} }()
	if err := context.Cause(c.ctx); err != nil {
		c.err = cancelled(err)
		return
	}
	c.err = c.fn(c.tx)
}

var errGone = errors.New("the function of an update did not return")

// batch is what one leader does for the callers that wait.
type batch struct {
	store *Store
	own   *call // the leader's
	calls []*call
	done  bool // everybody has an answer

	db       *dbtx
	head     head
	known    *familiar
	careful  bool // an insert looks first
	mistaken bool // what was assumed to be free is not
	read     layers
	sum      layers
	events   []authority.Event
	changes  []authority.Change
}

// lead takes all who wait through one commit, and passes the lead on.
func (s *Store) lead(c *call) {
	b := &batch{store: s, own: c, calls: s.gather(c)}
	began := s.now()
	defer func() {
		if !b.done { // a function of ours did not return: the others try again
			b.giveUp()
			b.answer(func(*call) turn { return turn{again: true} })
		}
		s.queue.Lock()
		defer s.queue.Unlock()
		s.pace = pace{expect: len(b.calls) + len(s.waiting), ended: s.now()}
		s.pace.took = s.pace.ended.Sub(began)
		s.pass()
	}()
	s.writing.Lock()
	defer s.writing.Unlock()
	b.work()
}

// gather waits for the callers that are expected, not for long, and takes the
// queue. The leader is in it.
func (s *Store) gather(c *call) []*call {
	s.queue.Lock()
	defer s.queue.Unlock()
	wait := min(s.pace.took/waitFraction, maxWait)
	if wait > 0 && len(s.waiting) < s.pace.expect && s.now().Sub(s.pace.ended) < s.pace.took {
		full, timer := make(chan struct{}), time.NewTimer(wait)
		s.wanted, s.full = s.pace.expect, full
		s.queue.Unlock()
		select {
		case <-full:
		case <-timer.C:
		}
		timer.Stop()
		s.queue.Lock()
		s.full = nil
	}
	n := min(len(s.waiting), maxBatch)
	calls := slices.Clone(s.waiting[:n])
	s.waiting = slices.Delete(s.waiting, 0, n)
	if !slices.Contains(calls, c) { // it waits far behind, and goes first; or was given up while it waited
		s.waiting = slices.DeleteFunc(s.waiting, func(w *call) bool { return w == c })
		calls = append([]*call{c}, calls...)
	}
	c.leads = false
	return calls
}

func (b *batch) answer(of func(*call) turn) {
	for _, c := range b.calls {
		c.turn <- of(c)
	}
	b.done = true
}

// work runs the calls and commits what they changed.
func (b *batch) work() {
	s := b.store
	err := s.settle()
	if err == nil {
		err = b.attempt()
	}
	if errors.Is(err, errMistaken) {
		b.careful = true
		err = b.attempt()
	}
	if err != nil {
		s.note(err)
	}
	b.answer(func(c *call) turn {
		switch {
		case err == nil:
			return turn{err: c.err}
		case c.joined, c.tx == nil, authority.KindOf(c.err) == authority.Unavailable && c.err != nil:
			return turn{err: err}
		}
		return turn{again: true}
	})
}

// errMistaken says that a key that was inserted exists.
var errMistaken = errors.New("a key that was inserted exists")

func (b *batch) attempt() error {
	b.read, b.sum, b.events, b.changes, b.mistaken = layers{}, layers{}, nil, nil, false
	for _, c := range b.calls {
		c.tx, c.joined = nil, false
	}
	if err := b.begin(); err != nil {
		return err
	}
	for _, c := range b.calls {
		b.turn(c)
	}
	if b.db.failed != nil {
		b.giveUp()
		return failure(b.store.driver, b.db.failed)
	}
	if b.mistaken {
		b.giveUp()
		return errMistaken
	}
	if b.sum.touched() == 0 && len(b.events) == 0 {
		b.giveUp()
		return nil
	}
	return b.commit()
}

// turn lets one call run and takes over what it changed.
func (b *batch) turn(c *call) {
	c.tx = &tx{store: b.store, db: b.db, batch: b}
	if c == b.own {
		c.run()
	} else {
		c.turn <- turn{run: true}
	}
	<-c.ran
	if c.err != nil || c.tx.idle() {
		return
	}
	c.joined = true
	b.sum.merge(&c.tx.own)
	b.events = append(b.events, c.tx.events...)
	b.changes = append(b.changes, c.tx.own.change())
}

// begin begins a transaction that holds the head, and makes sure that what the
// store knows is what the database has there.
func (b *batch) begin() error {
	s := b.store
	if err := s.connect(); err != nil {
		return failure(s.driver, err)
	}
	b.db = &dbtx{ctx: context.Background(), session: s.session}
	var err error
	if b.head, err = readHead(b.db, s.driver.Lock); err == nil {
		b.known, err = s.catchUp(b.db, b.head)
	}
	if err != nil {
		b.giveUp()
	}
	return err
}

// connect begins a transaction on the writer's session, and makes one when there
// is none, or only a broken one.
func (s *Store) connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	for range 2 {
		fresh := s.session == nil
		if fresh {
			var err error
			if s.session, err = s.driver.open(ctx); err != nil {
				return err
			}
		}
		err := s.session.exec(ctx, s.driver.Write)
		if err == nil {
			return nil
		}
		s.disconnect()
		if fresh || !s.driver.Fault(err).Lost {
			return err
		}
	}
	return nil
}

func (s *Store) disconnect() {
	if s.session != nil {
		s.session.drop()
		s.session = nil
	}
}

// giveUp rolls back.
func (b *batch) giveUp() {
	s := b.store
	if s.session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	if err := s.session.exec(ctx, "ROLLBACK"); err != nil {
		s.disconnect()
	}
}

// timeout bounds the writing of a batch by its size.
func (b *batch) timeout() time.Duration {
	return timeFor(b.sum.touched() + len(b.events))
}
