package liveset

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// A record is what a verdict needs of one token, in 56 bytes without a pointer:
// the signed claims carry the rest. What is written while it can be found is
// written as records says.
type record struct {
	life  atomic.Uint64    // see life
	check atomic.Uint64    // keyed hash of what the token claims beside its issuer
	name  [3]atomic.Uint32 // see name
	end   atomic.Uint32    // Unix seconds; 0: never; late: what the token says
	uses  [2]use           // under the two keys that were made current last; see key.place
}

// late is the end of tokens that outlast 32 bits, in 2106.
const late = ^uint32(0)

// use is the accepted use of a token under one key.
type use struct {
	first, last atomic.Uint32 // Unix seconds; 0: never
	how         atomic.Uint32 // see how
}

// how is the number of the source that a token was last used from and, above it,
// that of the key.
type how uint32

const sourceBits = 17

func howOf(source, key uint32) how { return how(key<<sourceBits | source) }

func (h how) source() uint32 { return uint32(h) & (1<<sourceBits - 1) }
func (h how) key() uint32    { return uint32(h) >> sourceBits }

// life is the part of a record that changes, in one word: whether the token is
// deleted, whether its addresses are limited, whether its end is that of the
// overlap with its successor, how often the rest of the record was written, the
// number of the token's issuer, and the generation that it was issued in.
type life uint64

const (
	gone       life = 1 << 63
	restricted life = 1 << 62
	replaced   life = 1 << 61

	generationBits = 24 // a reset a minute for thirty years is less
	issuerBits     = 10

	writtenUnit life = 1 << (generationBits + issuerBits)
	writtenMask life = replaced - writtenUnit
)

// inGeneration reports whether the token was issued in it.
func (l life) inGeneration(g uint64) bool { return (uint64(l)^g)&(1<<generationBits-1) == 0 }

func (l life) issuer() uint32 { return uint32(l>>generationBits) & (1<<issuerBits - 1) }

// name is a token's id as the records know it: 96 bits under keys of this
// process. Of ten million ids two have one name once in 10^15 processes.
type name struct {
	place uint64 // in the index
	rest  uint32
}

// is reports whether the record is that of a name.
func (r *record) is(n name) bool {
	return r.name[0].Load() == uint32(n.place) && r.name[1].Load() == uint32(n.place>>32) && r.name[2].Load() == n.rest
}

func (r *record) call(n name) {
	r.name[0].Store(uint32(n.place))
	r.name[1].Store(uint32(n.place >> 32))
	r.name[2].Store(n.rest)
}

// place is that of the record's name.
func (r *record) place() uint64 {
	return uint64(r.name[1].Load())<<32 | uint64(r.name[0].Load())
}

const chunkSize = 1 << 12

// shards of the records have their changes counted apart, so that a change has
// few recognised tokens look at their record again.
const shards = 1 << 10

func shardOf(slot uint32) uint32 { return slot % shards }

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
	// addresses are those that restricted tokens may come from, by slot:
	// []netip.Prefix.
	addresses sync.Map
	chunks    atomic.Pointer[[]*chunk]
	index     atomic.Pointer[[]atomic.Uint32] // slot+1; 0 is empty
	changes   [shards]atomic.Uint64           // how often a record of a shard was written that could be found

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
		issuers: newNumbers[string](1<<issuerBits - 1),
	}
	index := make([]atomic.Uint32, size)
	t.index.Store(&index)
	t.chunks.Store(new([]*chunk))
	return t
}

func (t *records) name(id string) name {
	return name{maphash.String(t.seeds[0], id), uint32(maphash.String(t.seeds[1], id))}
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
func (t *records) find(n name) (slot uint32, ok bool) {
	index := *t.index.Load()
	mask := uint64(len(index) - 1)
	for i := n.place & mask; ; i = (i + 1) & mask {
		switch entry := index[i].Load(); entry {
		case 0:
			return 0, false
		case removed:
		default:
			if t.at(entry - 1).is(n) {
				return entry - 1, true
			}
		}
	}
}

// put writes a token's record and answers its slot; anew says that something
// which is not in the record has changed. Only the writer calls it.
func (t *records) put(token *authority.Token, anew bool) uint32 {
	claims := claimsOf(token)
	n, sum, end := t.name(claims.ID), t.check(&claims), endOf(token)
	slot, known := t.find(n)
	if !known {
		slot = t.take()
	}
	r := t.at(slot)
	l, next := life(r.life.Load()), t.lifeOf(token)
	switch {
	case !known || anew || r.check.Load() != sum || l.issuer() != next.issuer():
		l += writtenUnit
		r.life.Store(uint64(gone | l&writtenMask)) // whoever reads it now reads a token that is gone
		r.call(n)
		r.check.Store(sum)
		r.end.Store(end)
	case r.end.Load() != end: // one word: either is right, so the token is not refused meanwhile
		l += writtenUnit
		r.end.Store(end)
	}
	if !known {
		r.unused()
	}
	r.life.Store(uint64(l&writtenMask | next))
	if known {
		t.changes[shardOf(slot)].Add(1)
	} else {
		t.enter(n, slot)
	}
	return slot
}

// endOf is when the token ends, as a record has it.
func endOf(token *authority.Token) uint32 {
	end, _ := token.End()
	seconds, _ := jws.At(end).Seconds()
	return uint32(min(uint64(seconds), uint64(late))) // not before 1970
}

func (t *records) lifeOf(token *authority.Token) life {
	l := life(token.Generation&(1<<generationBits-1)) | life(t.issuers.of(token.Issuer))<<generationBits
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
	t.changes[shardOf(slot)].Add(1)
	index := *t.index.Load()
	mask := uint64(len(index) - 1)
	i := r.place() & mask
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
func (t *records) enter(n name, slot uint32) {
	index := *t.index.Load()
	if t.count++; t.count > len(index)*loadLimit/4 {
		index = t.rebuilt(index)
	}
	place(index, n.place, slot)
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
			place(index, t.at(entry-1).place(), entry-1)
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
