package liveset

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// Leeway is how far clocks of nodes may differ (RFC 7519 section 4.1.4). It is
// granted to iat and nbf; a token's end is exact, because the record has it.
const Leeway = 30 * time.Second

// Config is what a Set is made of.
type Config struct {
	// Verifier answers what verifies signatures of a key, or nil.
	Verifier func(authority.KeyID) *jws.Verifier
	// Audience is the server's own audience; a token for none of them is refused
	// unless the door says otherwise.
	Audience func() []string
	// LoginIssuer is the issuer and audience of login tokens.
	LoginIssuer func() string
	// LoginIdle ends a login that was not used for so long.
	LoginIdle func() time.Duration
	// Recognised is how many verified tokens are known again without a signature
	// check; 0 is 65,536.
	Recognised int
	// Record reads a token's record where it lasts; only explanations ask.
	Record func(authority.TokenID) (authority.Token, error)
	// Tally is told what was counted, by verdicts themselves: it is quick and calls
	// nobody. nil: nothing is counted.
	Tally func(authority.Counted)
	// Masked reports whether clients' addresses are shown masked; nil: never.
	Masked func() bool
	Now    func() time.Time
}

// Set is the live set. All methods may be called concurrently; a zero Set
// answers StateUnknown until it is loaded.
type Set struct {
	config  Config
	counts  [counters]counter
	sources *numbers[source]
	kids    *numbers[authority.KeyID]
	cache   *cache
	current atomic.Pointer[moment] // nil until loaded
	fresh   fresh

	trial  trial
	since  atomic.Int64 // Unix nanoseconds of the first load; 0: not loaded
	writer sync.Mutex
}

// counters are as many as keep processors from waiting for each other.
const counters = 16

// counter counts refusals by reason, in lines of the processor's cache that no
// other counter has.
type counter struct {
	of [(len(names) + 7) / 8 * 8]atomic.Uint64
}

// moment is the state at one commit. The records change in place, each by
// itself; everything else of a moment never changes.
type moment struct {
	records    *records
	generation uint64
	keys       map[authority.KeyID]*key
	numbered   []*key // by number; nil at 0
	place      uint8  // of the current key, see key.place
	logins     map[authority.LoginID]*login
}

type key struct {
	id       authority.KeyID
	number   uint32 // in Set.kids; 0: there are more keys than numbers
	state    authority.KeyState
	current  time.Time // since when it signs; zero: not yet
	place    uint8     // which use of a record is under it: each key's is not that of the one before
	until    time.Time // end of the overlap; zero: none
	trial    time.Time // refused until then, see authority.Key.OnTrial; zero: no trial
	verifier *jws.Verifier
}

type login struct {
	authority.Login
	used atomic.Int64 // Unix nanoseconds of the latest accepted use
}

// New makes an empty set that answers StateUnknown until Load.
func New(c Config) (*Set, error) {
	if c.Verifier == nil || c.Audience == nil || c.LoginIssuer == nil || c.LoginIdle == nil || c.Record == nil || c.Now == nil {
		return nil, errors.New("liveset: a member of Config is missing")
	}
	if c.Recognised <= 0 {
		c.Recognised = 1 << 16
	}
	return &Set{
		config: c, cache: newCache(c.Recognised),
		// The last number is that of no source: see closed.
		sources: newNumbers[source](1<<sourceBits - 2), kids: newNumbers[authority.KeyID](1<<(32-sourceBits) - 1),
	}, nil
}

// Load replaces everything the set holds; see authority.Follower. The last use
// of a token or login that is there again is kept.
func (s *Set) Load(snapshot authority.Change) {
	s.writer.Lock()
	defer s.writer.Unlock()
	old := s.current.Load()
	next := &moment{records: newRecords(len(snapshot.Tokens)), keys: make(map[authority.KeyID]*key), logins: make(map[authority.LoginID]*login)}
	s.apply(next, snapshot)
	if old != nil {
		for _, c := range snapshot.Tokens {
			keepUse(old.records, next.records, string(c.Key))
		}
		for id, l := range next.logins {
			if before := old.logins[id]; before != nil {
				l.used.Store(before.used.Load())
			}
		}
	}
	s.since.CompareAndSwap(0, s.config.Now().UnixNano())
	s.current.Store(next)
	s.cache.clear(s.retire)
}

func keepUse(from, to *records, id string) {
	a, ok := from.find(from.name(id))
	b, still := to.find(to.name(id))
	if ok && still {
		to.at(b).usedLike(from.at(a))
	}
}

// Apply applies one committed change; see authority.Follower.
func (s *Set) Apply(change authority.Change) {
	s.writer.Lock()
	defer s.writer.Unlock()
	old := s.current.Load()
	if old == nil {
		return // the snapshot that Load brings has it
	}
	if change.System == nil && len(change.Keys) == 0 && len(change.Logins) == 0 {
		s.applyTokens(old.records, change)
		return
	}
	next := &moment{records: old.records, generation: old.generation, keys: maps.Clone(old.keys), numbered: slices.Clone(old.numbered), place: old.place, logins: maps.Clone(old.logins)}
	s.apply(next, change)
	s.current.Store(next)
}

func (s *Set) apply(m *moment, change authority.Change) {
	if change.System != nil {
		m.generation = change.System.Generation
	}
	for _, c := range change.Keys {
		k := s.keyOf(c)
		if before := m.keys[c.Key]; !k.trial.IsZero() && (before == nil || !k.trial.Equal(before.trial)) {
			s.trial.begin()
		}
		m.enter(k)
	}
	if len(change.Keys) > 0 {
		m.assignPlaces()
	}
	for _, c := range change.Logins {
		if c.Value == nil {
			delete(m.logins, c.Key)
			continue
		}
		l := &login{Login: *c.Value}
		l.used.Store(s.config.Now().UnixNano()) // idleness counts from here, also after a restart
		m.logins[c.Key] = l
	}
	s.applyTokens(m.records, change)
}

func (s *Set) keyOf(c authority.Changed[authority.KeyID, authority.Key]) *key {
	k := &key{id: c.Key, number: s.kids.of(c.Key), state: authority.KeyRetired}
	if c.Value == nil {
		return k
	}
	if k.current = c.Value.CurrentSince; c.Value.State == authority.KeyRetired {
		return k
	}
	k.state, k.trial, k.verifier = c.Value.State, c.Value.TrialUntil, s.config.Verifier(c.Key)
	if !c.Value.Hold {
		k.until = c.Value.Until
	}
	return k
}

// assignPlaces gives the keys that sign or signed the two uses of a record in
// turn, so that the current and the previous key have one each.
func (m *moment) assignPlaces() {
	for i, k := range m.inTurn() {
		place := uint8(i & 1)
		if k.state == authority.KeyCurrent {
			m.place = place
		}
		if k.place != place {
			moved := *k // an earlier moment has the other
			moved.place = place
			m.enter(&moved)
		}
	}
}

// inTurn is the keys that sign or signed, the current one last.
func (m *moment) inTurn() (keys []*key) {
	for _, k := range m.keys {
		if !k.current.IsZero() {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *key) int {
		return cmp.Or(a.current.Compare(b.current), strings.Compare(string(a.id), string(b.id)))
	})
	return keys
}

// enter puts a key in the place of the one with its id.
func (m *moment) enter(k *key) {
	m.keys[k.id] = k
	for len(m.numbered) <= int(k.number) {
		m.numbered = append(m.numbered, nil)
	}
	if k.number != 0 {
		m.numbered[k.number] = k
	}
}

func (s *Set) applyTokens(r *records, change authority.Change) {
	for _, c := range change.Tokens {
		if c.Value == nil {
			if slot, ok := r.remove(string(c.Key)); ok {
				r.addresses.Delete(slot)
			}
			continue
		}
		s.put(r, c.Value)
	}
}

func (s *Set) put(r *records, t *authority.Token) {
	slot, known := r.find(r.name(string(t.ID)))
	if !known {
		if slot = r.put(t, true); len(t.AllowedAddresses) > 0 {
			r.addresses.Store(slot, t.AllowedAddresses)
		}
		return
	}
	before, _ := r.addresses.Load(slot)
	list, _ := before.([]netip.Prefix)
	anew := !slices.Equal(list, t.AllowedAddresses)
	switch {
	case !anew:
	case len(t.AllowedAddresses) == 0:
		r.addresses.Delete(slot)
	default:
		r.addresses.Store(slot, t.AllowedAddresses)
	}
	r.put(t, anew)
}

// allowed answers the addresses that a restricted token may come from: none
// while its record is just being written.
func (t *records) allowed(slot uint32) []netip.Prefix {
	v, _ := t.addresses.Load(slot)
	if list, ok := v.([]netip.Prefix); ok {
		return list
	}
	return []netip.Prefix{{}}
}

// Ready reports whether the set is loaded, and not too old to be answered from.
func (s *Set) Ready() bool { return s.current.Load() != nil && !s.fresh.over(s.config.Now()) }

// Len is how many records the set holds, those of deleted tokens that can be
// restored among them.
func (s *Set) Len() int {
	s.writer.Lock()
	defer s.writer.Unlock()
	m := s.current.Load()
	if m == nil {
		return 0
	}
	return int(m.records.next) - len(m.records.free)
}

// Refusals counts the verdicts that did not allow, by reason, since start.
func (s *Set) Refusals() map[string]uint64 {
	counts := make(map[string]uint64)
	for i := range names {
		n := uint64(0)
		for c := range s.counts {
			n += s.counts[c].of[i].Load()
		}
		if n > 0 {
			counts[Reason(i).String()] = n
		}
	}
	return counts
}
