// Package move takes the records of one store to another while they are used.
// It touches stores through their port and nothing else.
//
// The one hard idea: what is copied is not believed. Most of it is copied while
// changes go on; then changes wait, what has changed in between follows, and
// every record is read from both sides and compared. Only then does somebody
// else commit to the new place, and only after that is it used. Verdicts notice
// nothing: followers are told of what is new to them, and of nothing else.
package move

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
)

// Switching is a store whose records can move to another one.
type Switching struct {
	present atomic.Pointer[place]
	// updates is held by every Update, and alone by the last step of a move.
	updates sync.RWMutex
	// moving is held by a move, and by whoever begins to follow.
	moving  sync.Mutex
	follows []authority.Follower
}

var (
	_ authority.Store     = (*Switching)(nil)
	_ authority.UseKeeper = (*Switching)(nil)
)

// place is one store and those who read it.
type place struct {
	authority.Store
	reading sync.RWMutex
	left    bool // guarded by reading
}

// New begins with a store, which it takes over.
func New(s authority.Store) *Switching {
	sw := &Switching{}
	sw.present.Store(&place{Store: s})
	return sw
}

// Present is the store that is in use. It may be closed at any time by a move.
func (s *Switching) Present() authority.Store { return s.present.Load().Store }

// hold keeps the present store from being closed until release.
func (s *Switching) hold() (p *place, release func()) {
	for {
		p := s.present.Load()
		p.reading.RLock()
		if !p.left {
			return p, p.reading.RUnlock
		}
		p.reading.RUnlock()
	}
}

// View implements authority.Store.
func (s *Switching) View(ctx context.Context, fn func(authority.Tx) error) error {
	p, release := s.hold()
	defer release()
	return p.View(ctx, fn)
}

// Update implements authority.Store.
func (s *Switching) Update(ctx context.Context, fn func(authority.Tx) error) error {
	s.updates.RLock()
	defer s.updates.RUnlock()
	return s.present.Load().Update(ctx, fn)
}

// Follow implements authority.Store.
func (s *Switching) Follow(ctx context.Context, f authority.Follower) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	if err := s.present.Load().Follow(ctx, f); err != nil {
		return err
	}
	s.follows = append(s.follows, f)
	return nil
}

// UsedAt implements authority.UseKeeper, where the present store does.
func (s *Switching) UsedAt(ctx context.Context, uses []authority.Used) error {
	p, release := s.hold()
	defer release()
	if keeper, ok := p.Store.(authority.UseKeeper); ok {
		return keeper.UsedAt(ctx, uses)
	}
	return nil
}

// Synced implements authority.Store.
func (s *Switching) Synced() time.Time { return s.present.Load().Synced() }

// Facts implements authority.Store.
func (s *Switching) Facts() authority.StoreFacts { return s.present.Load().Facts() }

// Close implements authority.Store.
func (s *Switching) Close() error {
	s.updates.Lock()
	defer s.updates.Unlock()
	return s.present.Load().Close()
}

// relay hands a follower what the store that is moved to tells, but for the
// records that it is loaded with: the follower has those.
type relay struct {
	to    authority.Follower
	quiet atomic.Bool
}

func (r *relay) Load(snapshot authority.Change) {
	if !r.quiet.Load() {
		r.to.Load(snapshot)
	}
}

func (r *relay) Apply(change authority.Change) { r.to.Apply(change) }

// watch notes which tokens change while the rest is copied.
type watch struct {
	mu   sync.Mutex
	over bool
	ids  map[authority.TokenID]bool
}

func (*watch) Load(authority.Change) {}

func (w *watch) Apply(change authority.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	for _, c := range change.Tokens {
		w.ids[c.Key] = true
	}
}

// end answers what has changed and notes nothing more.
func (w *watch) end() map[authority.TokenID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	return w.ids
}

// Move copies every record to another store, and makes that the present one once
// commit has noted where the records are. Changes wait for the last step; each
// that was acknowledged is there. After an error the store is the one it was,
// and what was copied can be gone on with by another Move. The store before is
// handed to leave, which closes it.
func (s *Switching) Move(ctx context.Context, m Move, commit func() error, leave func(authority.Store) error) (Moved, error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	before := s.present.Load()
	c := &copying{Move: m, from: before.Store}
	w := &watch{ids: make(map[authority.TokenID]bool)}
	defer w.end()
	if err := before.Follow(ctx, w); err != nil {
		return Moved{}, err
	}
	if err := c.most(ctx); err != nil {
		return Moved{}, err
	}
	extras, err := s.last(ctx, c, w, commit)
	if err != nil {
		return Moved{}, err
	}
	for _, f := range s.follows {
		f.Apply(authority.Change{Tokens: extras})
	}
	before.reading.Lock() // waits for those who read
	before.left = true
	before.reading.Unlock()
	return c.moved, leave(before.Store)
}

// last is what changes wait for.
func (s *Switching) last(ctx context.Context, c *copying, w *watch, commit func() error) ([]authority.Changed[authority.TokenID, authority.Token], error) {
	s.updates.Lock()
	defer s.updates.Unlock()
	extras, err := c.rest(ctx, w.end())
	if err != nil {
		return nil, err
	}
	// They follow before anything is committed, so that nothing can fail later.
	relays := make([]*relay, 0, len(s.follows))
	for _, f := range s.follows {
		r := &relay{to: f}
		r.quiet.Store(true)
		if err := c.To.Follow(ctx, r); err != nil {
			return nil, err
		}
		relays = append(relays, r)
	}
	if err := commit(); err != nil {
		return nil, err
	}
	for _, r := range relays {
		r.quiet.Store(false)
	}
	s.present.Store(&place{Store: c.To})
	return extras, nil
}
