package liveset

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
)

// verified is a presented token whose signature and claims were found good, and
// what the record was then. It saves the signature check and nothing else: while
// the record is the same, and the key still verifies, the finding is the same.
type verified struct {
	digest   [sha256.Size]byte // of the whole text
	records  *records          // in which the record is
	record   *record
	life     life
	ends     int64         // Unix seconds; 0: never
	begins   int64         // Unix seconds; before it nbf or iat lies in the future
	key      uint32        // see moment.numbered
	shard    uint32        // of the record, see records.changes
	changes  atomic.Uint64 // those of the shard when life was last looked at
	slots    [4]atomic.Uint64
	identity Identity
	allowed  []netip.Prefix
}

// unchanged reports whether the record still is what it was when the token was
// verified. The record is far away in memory; it is looked at only after some
// record of its shard has changed.
func (v *verified) unchanged() bool {
	changes := v.records.changes[v.shard].Load() // before the record, or a change in between would be missed
	if v.changes.Load() == changes {
		return true
	}
	if life(v.record.life.Load()) != v.life {
		return false
	}
	v.changes.Store(changes)
	return true
}

// cache recognises verified tokens by their digest. It is bounded: a hint, which
// is cheaper than the digest and proves nothing, names a set of eight places, and
// a newcomer takes the place that its hint names. With four, 10,000 tokens in
// 65,536 places would meet more than four to a set often enough to be felt.
type cache struct{ sets [][8]entry }

type entry struct {
	hint  atomic.Uint64
	token atomic.Pointer[verified]
}

func newCache(tokens int) *cache {
	size := 1
	for size*8 < tokens {
		size *= 2
	}
	return &cache{make([][8]entry, size)}
}

// hintOf mixes the end of a text: a part of its signature, which looks random
// and which nobody without the key can choose.
func hintOf(raw string) uint64 {
	if len(raw) < 16 {
		return 0
	}
	var end [16]byte
	copy(end[:], raw[len(raw)-16:])
	high, low := bits.Mul64(binary.LittleEndian.Uint64(end[:8])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(end[8:])^0xc2b2ae3d27d4eb4f)
	return high ^ low
}

// digestOf copies a text of a usual length to the stack, not to the heap, and to
// no more of the stack than has to be cleared for it.
func digestOf(raw string) [sha256.Size]byte {
	if len(raw) <= 1<<9 {
		var text [1 << 9]byte
		return sha256.Sum256(append(text[:0], raw...))
	}
	var text [1 << 11]byte
	return sha256.Sum256(append(text[:0], raw...))
}

func (c *cache) set(hint uint64) *[8]entry { return &c.sets[hint&uint64(len(c.sets)-1)] }

// find answers what may be the token, or nil; its digest tells. It looks at every
// place without a branch: the processor would guess which is the one, and wait
// for memory whenever it guesses wrong.
func (c *cache) find(hint uint64) *verified {
	set, at := c.set(hint), 0
	for i := range set {
		if set[i].hint.Load() == hint {
			at = i
		}
	}
	if set[at].hint.Load() != hint {
		return nil
	}
	return set[at].token.Load()
}

// put answers the token whose place it takes, or nil.
func (c *cache) put(hint uint64, v *verified) (old *verified) {
	set := c.set(hint)
	at := &set[hint>>61]
	for i := range set {
		if set[i].hint.Load() == hint || set[i].token.Load() == nil {
			at = &set[i]
			break
		}
	}
	old = at.token.Swap(v)
	at.hint.Store(hint)
	return old
}

// clear forgets every token and hands each over.
func (c *cache) clear(each func(*verified)) {
	for i := range c.sets {
		for j := range c.sets[i] {
			each(c.sets[i][j].token.Swap(nil))
		}
	}
}
