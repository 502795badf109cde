package liveset

import (
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

// Since is when uses began to be counted: when the set was first loaded.
func (s *Set) Since() time.Time {
	if at := s.since.Load(); at != 0 {
		return time.Unix(0, at).UTC()
	}
	return s.config.Now()
}

// LastUse answers the latest accepted use of a token since this process began,
// to the second.
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

// KeyUses answers the accepted uses of a token since this process began, under
// each of the two keys that were made current last, to the second.
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
		out.From = from.String()
	}
	return out
}

// inOrder is the place that is not the current key's, and then that one.
func (m *moment) inOrder() [2]uint8 { return [2]uint8{1 - m.place, m.place} }

func seconds(at uint32) time.Time { return time.Unix(int64(at), 0).UTC() }
