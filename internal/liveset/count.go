package liveset

import (
	"net/netip"

	"mintmark/internal/authority"
)

// source is where a request came from: the client, and who stood between, if
// anybody did.
type source struct{ from, via netip.Addr }

// slot counts the allowed uses of a recognised token that came from one source in
// one hour and are in no ledger yet: the number of the source, their count, and
// the second of the latest. It is one word, so no use is counted for another
// source than its own.
type slot uint64

const (
	secondBits = 32 // until 2106
	countBits  = 15
	oneUse     = slot(1) << secondBits
	mostUses   = 1<<countBits - 1

	// closed is a slot that nobody looks at any more.
	closed = ^slot(0)
)

func slotOf(source uint32, second uint32) slot {
	return slot(source)<<(secondBits+countBits) | slot(second)
}

func (l slot) source() uint32 { return uint32(l >> (secondBits + countBits)) }
func (l slot) count() uint64  { return uint64(l>>secondBits) & mostUses }
func (l slot) second() uint32 { return uint32(l) }

// with is the slot after one more use, which has to be of the same hour.
func (l slot) with(second uint32) slot {
	return l + oneUse + slot(max(second, l.second())-l.second())
}

func hourOf(second uint32) uint32 { return second / 3600 }

// count notes an allowed use: in a slot of the token's when it has one for the
// source, else in the ledger. It looks at the record once a second for each
// source.
func (s *Set) count(use used, now int64, from source) {
	at := uint32(now)
	for i := range use.seen.slots {
		word := &use.seen.slots[i]
		for {
			l := slot(word.Load())
			if l == 0 || l == closed || s.sources.value(l.source()) != from {
				break
			}
			if at == l.second() && s.config.Tally == nil {
				return
			}
			next, full := l.with(at), l.count() == mostUses || hourOf(at) != hourOf(l.second())
			if full {
				next = slotOf(l.source(), at) + oneUse
			}
			if !word.CompareAndSwap(uint64(l), uint64(next)) {
				continue
			}
			if full {
				s.settle(use.seen, l)
			}
			if at != l.second() {
				s.mark(use, at, from, l.source())
			}
			return
		}
	}
	s.open(use, at, from)
}

// open counts a use of a source that has no slot, and gives it one: a free one,
// or that of another source, which is settled. In a second in which the record
// was marked it does no more than count: a token that comes from many sources at
// once has them share what is shared, and not fight for it.
func (s *Set) open(use used, at uint32, from source) {
	s.tally(&authority.Counted{Token: authority.TokenID(use.seen.identity.ID), Key: use.seen.identity.KeyID, From: from.from, Via: from.via, First: at, Last: at, Count: 1})
	if u := &use.seen.record.uses[use.place]; u.last.Load() == at && how(u.how.Load()).key() == use.seen.key {
		return
	}
	number := s.sources.of(from)
	s.mark(use, at, from, number)
	if number == 0 && from != (source{}) {
		return // there are more sources than numbers
	}
	slots := &use.seen.slots
	word := &slots[number%uint32(len(slots))]
	for i := range slots {
		if slots[i].Load() == 0 {
			word = &slots[i]
			break
		}
	}
	if l := slot(word.Load()); l != closed && word.CompareAndSwap(uint64(l), uint64(slotOf(number, at))) {
		s.settle(use.seen, l)
	}
}

// settle brings the count of a slot that is taken back to the ledger.
func (s *Set) settle(v *verified, l slot) {
	if n := l.count(); l != closed && n > 0 {
		from := s.sources.value(l.source())
		s.tally(&authority.Counted{
			Token: authority.TokenID(v.identity.ID), Key: v.identity.KeyID, From: from.from, Via: from.via, First: l.second(), Last: l.second(), Count: n,
		})
	}
}

func (s *Set) tally(c *authority.Counted) {
	if s.config.Tally != nil {
		s.config.Tally(*c)
	}
}

// retire takes a token out of use: what it counted goes to the ledger, and so
// does whatever is counted on it later by a verdict that still holds it.
func (s *Set) retire(v *verified) {
	if v == nil {
		return
	}
	for i := range v.slots {
		s.settle(v, slot(v.slots[i].Swap(uint64(closed))))
	}
}

// Settle brings every count that is not there yet to the ledger.
func (s *Set) Settle() {
	for i := range s.cache.sets {
		for j := range s.cache.sets[i] {
			if v := s.cache.sets[i][j].token.Load(); v != nil {
				s.settleAll(v)
			}
		}
	}
}

func (s *Set) settleAll(v *verified) {
	for i := range v.slots {
		word := &v.slots[i]
		for l := slot(word.Load()); l != closed && l.count() > 0; l = slot(word.Load()) {
			if word.CompareAndSwap(uint64(l), uint64(slotOf(l.source(), l.second()))) {
				s.settle(v, l)
				break
			}
		}
	}
}

// refused counts a refusal, for the token when it is certain whose it is.
func (s *Set) refused(use used, q *question, d *Demand, reason Reason) {
	if s.config.Tally == nil || use.ofLogin || reason == NoCredential || reason == StateUnknown || d.Purpose == ForLogin {
		return
	}
	at := uint32(q.unix)
	c := authority.Counted{Token: authority.TokenID(use.id), Refused: reason.String(), From: d.From, Via: d.Via, First: at, Last: at, Count: 1}
	if c.Token != "" {
		c.Key = q.key.id
	}
	s.tally(&c)
}
