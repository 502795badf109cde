package sqlstore

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"mintmark/internal/authority"
)

// Config is what a store is made of.
type Config struct {
	Driver Driver
	Now    func() time.Time
	Rand   io.Reader
	// Alarm is told of what somebody should look at; nil: the facts tell it alone.
	Alarm func(string)
	// Release gives back what belongs to the opened database; nil: nothing does.
	Release func() error
}

// Store implements authority.Store, on a database whose schema is current.
type Store struct {
	driver  *Driver
	now     func() time.Time
	random  io.Reader
	release func() error
	warn    func(string)
	write   *writer
	views   *pool
	bounds  bounds

	// updates is held by every Update until it is answered, and alone by Close.
	updates sync.RWMutex
	closed  bool

	// queue guards who waits and whether somebody leads.
	queue   sync.Mutex
	waiting []*call
	leading bool
	pace    pace
	wanted  int           // callers that the next batch may wait for
	full    chan struct{} // closed when they are there; nil: nobody waits for them

	// writing is held by the leader, and by whoever else writes. What it guards:
	writing sync.Mutex
	session *session // the writer's; nil: not connected
	doubt   *doubt   // a commit of which nobody knows whether it lasted

	doubted guarded[bool] // doubt != nil, for those who do not lead

	// follow guards what followers are told. Whoever holds it and reads the head at
	// a revision may bring them there.
	follow    sync.Mutex
	followers []authority.Follower
	at        position

	facts   guarded[authority.StoreFacts]
	apart   guarded[error] // why the followers are not level with the database; nil: they are
	counted guarded[lastCounts]
	level   guarded[time.Time] // when the followers were known to be level with the database
}

var _ authority.Store = (*Store)(nil)

// position is how far followers are, and what the store itself follows. A
// revision has a number and the random name of the commit that made it: the same
// number with another name is another history.
type position struct {
	revision int64
	batch    string
	known    *familiar
}

// familiar are records that nearly every change looks at, at one revision. It
// never changes.
type familiar struct {
	keys   []authority.Key
	system []authority.System // none or one
}

// guarded is a value that many read and few change.
type guarded[T any] struct {
	mu sync.Mutex
	v  T
}

func (g *guarded[T]) get() T {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.v
}

func (g *guarded[T]) change(fn func(*T)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn(&g.v)
}

// New opens the store of a database and takes over its connections.
func New(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Now == nil || cfg.Rand == nil {
		return nil, errors.New("sqlstore: Config.Now or Config.Rand is missing")
	}
	s := &Store{
		driver: &cfg.Driver, now: cfg.Now, random: cfg.Rand, release: cfg.Release, warn: cfg.Alarm, write: newWriter(cfg.Driver.Arrays), views: newPool(&cfg.Driver), bounds: usual(),
	}
	s.facts.v = authority.StoreFacts{Kind: cfg.Driver.Kind, Location: cfg.Driver.Location, Persistent: true}
	d := &dbtx{ctx: ctx, pool: s.views}
	defer d.end()
	h, err := readHead(d, SelectHead)
	if err != nil {
		return nil, err
	}
	s.at = h.position()
	if s.at.known, err = readFamiliar(d); err != nil {
		return nil, err
	}
	s.level.v = s.now()
	return s, nil
}

// head is the head row.
type head struct {
	revision int64
	batch    string
	seq      uint64
	hash     string
}

func (h head) position() position { return position{revision: h.revision, batch: h.batch} }

// SelectHead reads the head row.
const SelectHead = `SELECT revision, batch, audit_seq, audit_hash FROM head WHERE one = 1`

func readHead(d *dbtx, text string) (head, error) {
	var h head
	var seq int64
	found, err := d.row([]any{&h.revision, &h.batch, &seq, &h.hash}, text)
	h.seq = uint64(seq)
	if err == nil && !found {
		err = broken(ErrEmpty)
	}
	return h, err
}

func readFamiliar(d *dbtx) (*familiar, error) {
	t := &tx{db: d}
	var k familiar
	for v, err := range t.Keys().All() {
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, v)
	}
	for v, err := range t.System().All() {
		if err != nil {
			return nil, err
		}
		k.system = append(k.system, v)
	}
	return &k, nil
}

// View runs fn on one snapshot of the database.
func (s *Store) View(ctx context.Context, fn func(authority.Tx) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	d := &dbtx{ctx: ctx, pool: s.views}
	defer d.end()
	return fn(&tx{store: s, db: d})
}

// ready tells why nothing can begin.
func (s *Store) ready(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return cancelled(err)
	}
	if s.doubted.get() {
		return s.Update(ctx, func(authority.Tx) error { return nil }) // whoever leads settles it first
	}
	return nil
}

// Facts implements authority.Store.
func (s *Store) Facts() authority.StoreFacts {
	f := s.facts.get()
	if apart := s.apart.get(); f.Problem == "" && apart != nil {
		f.Problem = reason(apart)
	}
	return f
}

// reason is the private text of a problem: the public one has no reason in it.
func reason(problem error) string {
	if cause := errors.Unwrap(problem); cause != nil {
		problem = cause
	}
	return problem.Error()
}

// Synced implements authority.Store.
func (s *Store) Synced() time.Time {
	if s.driver.Notify == "" {
		return s.now() // nobody else writes
	}
	return s.level.get()
}

// note keeps why changes cannot be written; nil: they can.
func (s *Store) note(problem error) {
	s.facts.change(func(f *authority.StoreFacts) {
		if problem == nil {
			f.Problem, f.LastWrite = "", s.now()
			return
		}
		f.Problem = reason(problem)
	})
}

// Close implements authority.Store. It is idempotent.
func (s *Store) Close() error {
	s.updates.Lock()
	defer s.updates.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.views.close()
	if s.session != nil {
		s.session.drop()
		s.session = nil
	}
	err := s.driver.DB.Close()
	if s.release != nil {
		err = errors.Join(err, s.release())
	}
	return err
}
