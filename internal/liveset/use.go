package liveset

import (
	"net/netip"
	"time"

	"mintmark/internal/authority"
)

func (r *record) unused() {
	for i := range r.uses {
		r.uses[i].first.Store(0)
		r.uses[i].last.Store(0)
		r.uses[i].how.Store(0)
	}
}

// usedLike takes the uses of another record over.
func (r *record) usedLike(other *record) {
	for i := range r.uses {
		r.uses[i].first.Store(other.uses[i].first.Load())
		r.uses[i].last.Store(other.uses[i].last.Load())
		r.uses[i].how.Store(other.uses[i].how.Load())
	}
}

// mark notes an accepted use in the record; it writes only what is new.
func (s *Set) mark(use used, at uint32, from source, number uint32) {
	u := &use.seen.record.uses[use.place]
	h := how(u.how.Load())
	if h.key() != use.seen.key || s.sources.value(h.source()) != from {
		if h.key() != use.seen.key || u.first.Load() == 0 {
			u.first.Store(at)
		}
		u.how.Store(uint32(howOf(number, use.seen.key)))
	}
	if u.last.Load() != at {
		u.last.Store(at)
	}
}

// Since is when uses began to be counted: what an earlier process has counted was
// brought back by Recall, else when the set was first loaded.
func (s *Set) Since() time.Time {
	if at := s.since.Load(); at != 0 {
		return time.Unix(0, at).UTC()
	}
	return s.config.Now()
}

// LastUse answers the latest accepted use of a token that is known, to the second.
func (s *Set) LastUse(id authority.TokenID) authority.Use {
	var latest authority.KeyUse
	m := s.current.Load()
	if r := m.recordOf(id); r != nil {
		for _, place := range m.inOrder() {
			if u := s.useOf(&r.uses[place]); !u.Last.Before(latest.Last) {
				latest = u
			}
		}
	}
	return authority.Use{At: latest.Last, From: latest.From, Key: latest.Key}
}

// KeyUses answers the accepted uses of a token that are known, under each of the
// two keys that were made current last, to the second.
func (s *Set) KeyUses(id authority.TokenID) []authority.KeyUse {
	var out []authority.KeyUse
	m := s.current.Load()
	if r := m.recordOf(id); r != nil {
		for _, place := range m.inOrder() {
			if u := s.useOf(&r.uses[place]); !u.Last.IsZero() {
				out = append(out, u)
			}
		}
	}
	return out
}

// recordOf finds a token's record; nil when there is none.
func (m *moment) recordOf(id authority.TokenID) *record {
	if m == nil {
		return nil
	}
	slot, ok := m.records.find(m.records.name(string(id)))
	if !ok {
		return nil
	}
	return m.records.at(slot)
}

// useOf answers a use as others know it; the zero KeyUse for none.
func (s *Set) useOf(u *use) authority.KeyUse {
	last := u.last.Load()
	if last == 0 {
		return authority.KeyUse{}
	}
	h := how(u.how.Load())
	out := authority.KeyUse{Key: s.kids.value(h.key()), First: seconds(u.first.Load()), Last: seconds(last)}
	if from := s.sources.value(h.source()).from; from.IsValid() {
		out.From = authority.AddressText(from, s.masked())
	}
	return out
}

// masked reports whether addresses are shown masked.
func (s *Set) masked() bool { return s.config.Masked != nil && s.config.Masked() }

// inOrder is the place that is not the current key's, and then that one.
func (m *moment) inOrder() [2]uint8 { return [2]uint8{1 - m.place, m.place} }

func seconds(at uint32) time.Time { return time.Unix(int64(at), 0).UTC() }

// Recall takes over uses that another process has seen, an earlier one or one
// beside this, and since when uses are known. load is given the two keys that were
// made current last and hands over the uses under them. Whoever saw them, the
// earlier first use and the later last one count.
func (s *Set) Recall(since time.Time, load func(keys []authority.KeyID, each func(authority.TokenID, authority.KeyUse)) error) error {
	s.writer.Lock()
	keys := s.latestKeys()
	s.writer.Unlock()
	if err := load(keys, s.recall); err != nil {
		return err
	}
	for at := s.since.Load(); since.UnixNano() < at; at = s.since.Load() {
		if s.since.CompareAndSwap(at, since.UnixNano()) {
			break
		}
	}
	return nil
}

// latestKeys are those that a record has room for.
func (s *Set) latestKeys() (ids []authority.KeyID) {
	m := s.current.Load()
	if m == nil {
		return nil
	}
	keys := m.inTurn()
	for _, k := range keys[max(0, len(keys)-2):] {
		ids = append(ids, k.id)
	}
	return ids
}

func (s *Set) recall(id authority.TokenID, seen authority.KeyUse) {
	s.writer.Lock()
	defer s.writer.Unlock()
	m := s.current.Load()
	if m == nil {
		return
	}
	r, k := m.recordOf(id), m.keys[seen.Key]
	if r == nil || k == nil || k.number == 0 {
		return
	}
	u, first, last := &r.uses[k.place], uint32(seen.First.Unix()), uint32(seen.Last.Unix())
	h := how(u.how.Load())
	if h.key() != k.number { // what is here was under a key before it, or is nothing
		u.first.Store(first)
	}
	if h.key() != k.number || u.last.Load() < last {
		number := uint32(0)
		if s.sources.many() < 1<<(sourceBits-1) { // half of the numbers are for those who come
			number = s.sources.of(source{from: addressIn(seen.From)})
		}
		u.how.CompareAndSwap(uint32(h), uint32(howOf(number, k.number))) // whoever comes just now is the later one
	}
	if how(u.how.Load()).key() != k.number {
		return
	}
	for now := u.last.Load(); now < last && !u.last.CompareAndSwap(now, last); now = u.last.Load() {
	}
	for now := u.first.Load(); (now == 0 || first < now) && !u.first.CompareAndSwap(now, first); now = u.first.Load() {
	}
}

// addressIn is an address, or that of a network, of a text; none of any other.
func addressIn(text string) netip.Addr {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr()
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a
}
