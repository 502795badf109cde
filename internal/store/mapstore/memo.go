package mapstore

import (
	"slices"
	"sync"
	"time"

	"mintmark/internal/authority"
)

// memo is what was asked of one durable table of tokens before, and for how long
// the answer stands: until a token ends or comes to need care. So a page that is
// looked at again does not read a hundred thousand tokens again. The zero memo is
// empty, and nil remembers nothing.
type memo struct {
	mu     sync.Mutex
	counts counted
	found  []found // the newest last
}

// maxFound is how many answers are kept: they are pages, and people look at few.
const maxFound = 8

// counted is an answer of Counts.
type counted struct {
	valid      span
	generation uint64
	counts     authority.TokenCounts
}

// found is an answer of Find.
type found struct {
	valid span
	query authority.TokenQuery
	page  authority.TokenPage
}

// span is the time in which an answer stands: from it was made until something
// changes by itself, zero for never.
type span struct{ from, until time.Time }

func (s *span) holds(now time.Time) bool {
	return !s.from.IsZero() && !now.Before(s.from) && (s.until.IsZero() || now.Before(s.until))
}

// ends takes in a time at which something changes.
func (s *span) ends(at time.Time) {
	if !at.IsZero() && at.After(s.from) && (s.until.IsZero() || at.Before(s.until)) {
		s.until = at
	}
}

// turn is the next time at which t changes its state, or comes within care of
// its end.
func (s *span) turn(t *authority.Token, care time.Duration) {
	end, _ := t.End()
	s.ends(end)
	if care > 0 && !t.ExpiresAt.IsZero() {
		s.ends(t.ExpiresAt.Add(-care))
	}
}

func (m *memo) countsAt(now time.Time, generation uint64) (authority.TokenCounts, bool) {
	if m == nil {
		return authority.TokenCounts{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.counts; c.generation == generation && c.valid.holds(now) {
		return c.counts, true
	}
	return authority.TokenCounts{}, false
}

func (m *memo) keepCounts(c counted) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts = c
}

// remembers reports whether the answer to q depends on nothing but the tokens
// and the time.
func (m *memo) remembers(q *authority.TokenQuery) bool {
	return m != nil && q.Sort != authority.SortLastUsed
}

func (m *memo) pageOf(q *authority.TokenQuery) (authority.TokenPage, bool) {
	if !m.remembers(q) {
		return authority.TokenPage{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.found {
		if f.valid.holds(q.Now) && same(&f.query, q) {
			return copied(f.page), true
		}
	}
	return authority.TokenPage{}, false
}

func (m *memo) keepPage(q *authority.TokenQuery, valid span, p authority.TokenPage) {
	if !m.remembers(q) {
		return
	}
	kept := found{valid, *q, copied(p)}
	kept.query.States, kept.query.LastUsed = slices.Clone(q.States), nil
	if q.After != nil {
		after := *q.After
		kept.query.After = &after
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.found = append(m.found, kept)
	if n := len(m.found); n > maxFound {
		m.found = slices.Delete(m.found, 0, n-maxFound)
	}
}

// same reports whether two queries ask for the same, but for the time.
func same(a, b *authority.TokenQuery) bool {
	if (a.After == nil) != (b.After == nil) || a.After != nil && *a.After != *b.After {
		return false
	}
	return a.Text == b.Text && a.Role == b.Role && a.Tag == b.Tag && a.ClientID == b.ClientID && slices.Equal(a.States, b.States) &&
		a.Expiring == b.Expiring && a.Sort == b.Sort && a.Descending == b.Descending && a.Limit == b.Limit && a.Generation == b.Generation
}

// copied is a page that shares nothing with another.
func copied(p authority.TokenPage) authority.TokenPage {
	p.Tokens = slices.Clone(p.Tokens)
	for i := range p.Tokens {
		p.Tokens[i] = p.Tokens[i].Clone()
	}
	if p.Next != nil {
		next := *p.Next
		p.Next = &next
	}
	return p
}
