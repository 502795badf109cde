package liveset

import (
	"hash/maphash"
	"sync/atomic"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// A record is what a verdict needs of one token, in 64 bytes without a pointer:
// the signed claims carry the rest. What is written while it can be found is
// written as records says.
type record struct {
	name  [2]atomic.Uint64 // keyed hash of the token's id
	check atomic.Uint64    // keyed hash of what the token claims beside its issuer
	terms atomic.Uint64    // see terms
	life  atomic.Uint64    // see life
	uses  [2]use           // under the two keys that were made current last; see key.place
}

// use is the accepted use of a token under one key.
type use struct {
	first, last atomic.Uint32 // Unix seconds; 0: never
	how         atomic.Uint32 // see how
}

// terms is a token's end in Unix seconds, 0 for never, and the number of its
// issuer, in one word.
type terms uint64

const endBits = 40 // until the year 36812

func (t terms) ends() int64    { return int64(t & (1<<endBits - 1)) } // 40 bits
func (t terms) issuer() uint32 { return uint32(t >> endBits) }        // 24 bits

// how is the number of the address that a token was last used from and, above it,
// that of the key.
type how uint32

const addressBits = 17

func howOf(address, key uint32) how { return how(key<<addressBits | address) }

func (h how) address() uint32 { return uint32(h) & (1<<addressBits - 1) }
func (h how) key() uint32     { return uint32(h) >> addressBits }

// life is the part of a record that changes, in one word: whether the token is
// deleted, whether its addresses are limited, whether its end is that of the
// overlap with its successor, how often the rest of the record
// was written, and the generation that the token was issued in.
type life uint64

const (
	gone        life = 1 << 63
	restricted  life = 1 << 62
	replaced    life = 1 << 61
	writtenUnit life = 1 << 32
	writtenMask life = replaced - writtenUnit
)

func (l life) generation() uint64 { return uint64(l) & (1<<32 - 1) }

const chunkSize = 1 << 12

type chunk [chunkSize]record

// records holds a record per token. One writer changes it; readers never wait.
//
// Readers find a record through an index that is replaced whole when it grows
// and otherwise changed entry by entry. A record that is written again changes its
// life first and last, so a reader that sees the same life before and after has
// read one token's record.
type records struct {
	seeds   [3]maphash.Seed
	issuers *numbers[string]
	chunks  atomic.Pointer[[]*chunk]
	index   atomic.Pointer[[]atomic.Uint32] // slot+1; 0 is empty

	// The writer's own.
	count int      // entries of the index, with those that were removed
	next  uint32   // the first slot that was never used
	free  []uint32 // slots of removed tokens
}

const (
	removed   = ^uint32(0)
	smallest  = 1 << 10
	loadLimit = 3 // of 4
)

func newRecords(expected int) *records {
	size := smallest
	for size*loadLimit/4 < expected {
		size *= 2
	}
	t := &records{
		seeds:   [3]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed()},
		issuers: newNumbers[string](1<<(64-endBits) - 1),
	}
	index := make([]atomic.Uint32, size)
	t.index.Store(&index)
	t.chunks.Store(new([]*chunk))
	return t
}

// name is the id as the records know it: 128 bits under keys of this process.
func (t *records) name(id string) [2]uint64 {
	return [2]uint64{maphash.String(t.seeds[0], id), maphash.String(t.seeds[1], id)}
}

// check sums up what a token says of whom it is for: its claims are its record's
// when the sums are the same.
func (t *records) check(c *jws.Claims) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seeds[2])
	text := func(s string) {
		h.WriteString(s)
		h.WriteByte(0) // no claim of ours holds it
	}
	date := func(d jws.NumericDate) {
		seconds, _ := d.Seconds()
		maphash.WriteComparable(&h, seconds)
	}
	text(c.Subject)
	text(c.ClientID)
	text(c.ID)
	text(c.Role)
	date(c.IssuedAt)
	date(c.Expires)
	for _, list := range [][]string{c.Audience, c.Tags} {
		for _, s := range list {
			text(s)
		}
		h.WriteByte(1)
	}
	return h.Sum64()
}

func (t *records) at(slot uint32) *record {
	return &(*t.chunks.Load())[slot/chunkSize][slot%chunkSize]
}

// find answers the slot of a name.
func (t *records) find(name [2]uint64) (slot uint32, ok bool) {
	index := *t.index.Load()
	mask := uint64(len(index) - 1)
	for i := name[0] & mask; ; i = (i + 1) & mask {
		switch entry := index[i].Load(); entry {
		case 0:
			return 0, false
		case removed:
		default:
			if r := t.at(entry - 1); r.name[0].Load() == name[0] && r.name[1].Load() == name[1] {
				return entry - 1, true
			}
		}
	}
}

// put writes a token's record and answers its slot; anew says that something
// which is not in the record has changed. Only the writer calls it.
func (t *records) put(token *authority.Token, anew bool) uint32 {
	claims := claimsOf(token)
	name, sum := t.name(claims.ID), t.check(&claims)
	end, _ := token.End()
	ends, _ := jws.At(end).Seconds()
	said := uint64(t.issuers.of(claims.Issuer))<<endBits | uint64(ends) // not before 1970
	slot, known := t.find(name)
	if !known {
		slot = t.take()
	}
	r := t.at(slot)
	l := life(r.life.Load())
	switch {
	case !known || anew || r.check.Load() != sum:
		l += writtenUnit
		r.life.Store(uint64(gone | l&writtenMask)) // whoever reads it now reads a token that is gone
		r.name[0].Store(name[0])
		r.name[1].Store(name[1])
		r.check.Store(sum)
		r.terms.Store(said)
	case r.terms.Load() != said: // one word: either is right, so the token is not refused meanwhile
		l += writtenUnit
		r.terms.Store(said)
	}
	if !known {
		r.unused()
	}
	r.life.Store(uint64(l&writtenMask | lifeOf(token)))
	if !known {
		t.enter(name, slot)
	}
	return slot
}

func lifeOf(token *authority.Token) life {
	l := life(uint32(token.Generation)) // a reset a second for a century is less
	if !token.DeletedAt.IsZero() {
		l |= gone
	}
	if len(token.AllowedAddresses) > 0 {
		l |= restricted
	}
	if _, state := token.End(); state == authority.StateReplaced {
		l |= replaced
	}
	return l
}

// remove forgets a token. Only the writer calls it.
func (t *records) remove(id string) (slot uint32, ok bool) {
	slot, ok = t.find(t.name(id))
	if !ok {
		return 0, false
	}
	r := t.at(slot)
	r.life.Store(r.life.Load() | uint64(gone))
	index := *t.index.Load()
	mask := uint64(len(index) - 1)
	i := r.name[0].Load() & mask
	for index[i].Load() != slot+1 {
		i = (i + 1) & mask
	}
	index[i].Store(removed)
	t.free = append(t.free, slot)
	return slot, true
}

// take answers a slot that nobody has.
func (t *records) take() uint32 {
	if n := len(t.free); n > 0 {
		slot := t.free[n-1]
		t.free = t.free[:n-1]
		return slot
	}
	chunks := *t.chunks.Load()
	if int(t.next) == len(chunks)*chunkSize {
		grown := append(chunks[:len(chunks):len(chunks)], new(chunk))
		t.chunks.Store(&grown)
	}
	t.next++
	return t.next - 1
}

// enter makes a slot findable, in a larger index when this one is full.
func (t *records) enter(name [2]uint64, slot uint32) {
	index := *t.index.Load()
	if t.count++; t.count > len(index)*loadLimit/4 {
		index = t.rebuilt(index)
	}
	place(index, name[0], slot)
	t.index.Store(&index)
}

// rebuilt copies the entries that count into a new index with room.
func (t *records) rebuilt(old []atomic.Uint32) []atomic.Uint32 {
	live := int(t.next) - len(t.free)
	size := smallest
	for size*loadLimit/4 <= live {
		size *= 2
	}
	index := make([]atomic.Uint32, size)
	for i := range old {
		if entry := old[i].Load(); entry != 0 && entry != removed {
			place(index, t.at(entry - 1).name[0].Load(), entry-1)
		}
	}
	t.count = live
	return index
}

func place(index []atomic.Uint32, hash uint64, slot uint32) {
	mask := uint64(len(index) - 1)
	i := hash & mask
	for index[i].Load() != 0 {
		i = (i + 1) & mask
	}
	index[i].Store(slot + 1)
}

// claimsOf is what a token says when it is signed.
func claimsOf(t *authority.Token) jws.Claims {
	return jws.Claims{
		Issuer: t.Issuer, Subject: t.ClientID, ClientID: t.ClientID, Audience: t.Audience, ID: string(t.ID),
		IssuedAt: jws.At(t.CreatedAt), Expires: jws.At(t.ExpiresAt), Role: string(t.Role), Tags: t.Tags,
	}
}
