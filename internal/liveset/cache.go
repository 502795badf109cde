package liveset

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
)

// verified is a presented token whose signature and claims were found good, and
// what the record was then. It saves the signature check and nothing else: while
// the record is the same, and the key still verifies, the finding is the same.
type verified struct {
	digest   [sha256.Size]byte // of the whole text
	records  *records          // in which slot is
	slot     uint32
	life     life
	ends     int64     // Unix seconds; 0: never
	begins   time.Time // before it nbf or iat lies in the future
	identity Identity
	allowed  []netip.Prefix
}

// cache recognises verified tokens by their digest. It is bounded: a set of
// eight places per digest, which is one line of the processor's cache, and a
// newcomer takes the place that its digest names. With four, 10,000 tokens in
// 65,536 places would meet more than four to a set often enough to be felt.
type cache struct{ sets [][8]atomic.Pointer[verified] }

func newCache(tokens int) *cache {
	size := 1
	for size*8 < tokens {
		size *= 2
	}
	return &cache{make([][8]atomic.Pointer[verified], size)}
}

// digestOf copies a text of a usual length to the stack, not to the heap.
func digestOf(raw string) [sha256.Size]byte {
	var text [1 << 10]byte
	return sha256.Sum256(append(text[:0], raw...))
}

func (c *cache) set(digest *[sha256.Size]byte) *[8]atomic.Pointer[verified] {
	return &c.sets[binary.LittleEndian.Uint64(digest[:8])&uint64(len(c.sets)-1)]
}

func (c *cache) get(digest *[sha256.Size]byte) *verified {
	set := c.set(digest)
	for i := range set {
		if v := set[i].Load(); v != nil && v.digest == *digest {
			return v
		}
	}
	return nil
}

func (c *cache) put(v *verified) {
	set := c.set(&v.digest)
	place := int(v.digest[8] & 7)
	for i := range set {
		if old := set[i].Load(); old == nil || old.digest == v.digest {
			place = i
			break
		}
	}
	set[place].Store(v)
}

func (c *cache) clear() {
	for i := range c.sets {
		for j := range c.sets[i] {
			c.sets[i][j].Store(nil)
		}
	}
}
