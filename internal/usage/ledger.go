package usage

import (
	"errors"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
)

// Every is how often counts are made durable.
const Every = 30 * time.Second

// maxRows bounds what waits for the store, in rows of about 64 bytes; at early
// the flush does not wait for its time.
const (
	maxRows = 1 << 20
	early   = 1 << 17
)

// Config is what a Ledger is made of.
type Config struct {
	// Store keeps the counts; nil: they are kept here and end with the process.
	Store authority.UsageStore
	// Writer is what this process is called in the store: no other has its name.
	Writer string
	// Shared: other processes keep counts in Store, too.
	Shared bool
	// Recall is handed last uses that are kept, see liveset; nil: nobody tells them.
	Recall func(since time.Time, load func(keys []authority.KeyID, each func(authority.TokenID, authority.KeyUse)) error) error
	// Keeper is told of last uses after each flush; may be nil.
	Keeper authority.UseKeeper
	// Settle brings counts here that verdicts have not told yet.
	Settle func()
	// Masked reports whether clients' addresses are to be masked.
	Masked func() bool
	Now    func() time.Time
	Log    *slog.Logger
}

// Ledger counts. All methods may be called concurrently.
type Ledger struct {
	config Config
	keys   *names
	seed   maphash.Seed
	shards [64]shard
	rows   atomic.Int64 // here and on the way to the store
	lost   atomic.Uint64
	full   chan struct{}

	writing sync.Mutex // one flush at a time
	// kept is held from before a batch is kept until it is forgotten here, and
	// shared by whoever adds up both: nothing is counted twice, or not at all.
	kept    sync.RWMutex
	waiting []*batch                     // taken out, oldest first
	number  uint64                       // of the latest batch
	used    map[authority.TokenID]uint32 // by whoever has writing: what Keeper is to be told

	look look

	told    sync.Mutex // never held for long: a status is answered while the store is not
	saved   time.Time
	others  time.Time
	problem string
}

// shard has some of the tokens.
type shard struct {
	mu     sync.Mutex
	tokens map[authority.TokenID]*entry
	_      [40]byte // the next one is in another line of the processor's cache
}

// batch is what is sent to the store as a whole.
type batch struct {
	number uint64
	tokens map[authority.TokenID]*entry
	rows   int
}

// New makes a ledger that has counted nothing.
func New(c Config) (*Ledger, error) {
	if c.Settle == nil || c.Masked == nil || c.Now == nil || c.Log == nil || c.Store != nil && c.Writer == "" {
		return nil, errors.New("usage: a member of Config is missing")
	}
	return &Ledger{config: c, keys: newNames(), seed: maphash.MakeSeed(), full: make(chan struct{}, 1), look: look{turn: make(chan struct{}, 1)}}, nil
}

func (l *Ledger) shardOf(id authority.TokenID, from address) *shard {
	h := uint64(0)
	if id == "" { // one flood is not to stop at one lock
		h = maphash.Comparable(l.seed, from)
	} else {
		h = maphash.String(l.seed, string(id))
	}
	return &l.shards[h%uint64(len(l.shards))]
}

// Count takes what verdicts have counted. It is as quick as a look into a map.
func (l *Ledger) Count(c authority.Counted) {
	u := use{
		place: place{addressOf(c.From, l.config.Masked()), addressOf(c.Via, false)}, key: l.keys.number(c.Key),
		refused: c.Refused, first: c.First, last: c.Last, count: c.Count,
	}
	s := l.shardOf(c.Token, u.from)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.tokens[c.Token]
	switch {
	case l.rows.Load() >= maxRows && (e == nil || !e.knows(u)):
		l.lost.Add(c.Count)
		return
	case e == nil:
		e = new(entry)
		if s.tokens == nil {
			s.tokens = make(map[authority.TokenID]*entry)
		}
		s.tokens[authority.TokenID(strings.Clone(string(c.Token)))] = e // it may be a part of a longer text
	}
	before := e.rows()
	e.add(u)
	if more := e.rows() - before; more > 0 && l.rows.Add(int64(more)) > early && l.config.Store != nil {
		select {
		case l.full <- struct{}{}:
		default: // it has been told
		}
	}
}

// knows reports whether verdicts can be added without another row.
func (e *entry) knows(u use) bool {
	return slices.ContainsFunc(e.hours, func(r spanRow) bool { return r.start == u.last/hour && r.key == u.key }) &&
		slices.ContainsFunc(e.sources, func(r sourceRow) bool { return r.place == u.place }) &&
		(u.refused != "" || slices.ContainsFunc(e.keys, func(r keyRow) bool { return r.key == u.key })) &&
		(u.refused == "" || slices.ContainsFunc(e.refusals, func(r refusalRow) bool { return r.reason == u.refused }))
}
