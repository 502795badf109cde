// Package limits says how often one token and one address may ask for a verdict.
//
// It touches memory only. It stands before the live set, which asks it whether a
// request is admitted: one that is too many is refused for that reason and no
// other, and counted as refused.
//
// The one hard idea: one number per client is enough. The number is the moment at
// which everything the client has asked for would be paid off at the allowed
// rate (the generic cell rate algorithm, ITU-T I.371): it needs no timer and no
// window that everybody waits for, and a client that has nothing to pay off need
// not be remembered, so a table of fixed size will do.
package limits

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"mintmark/internal/liveset"
)

// Rate is how often something may happen: Events in each Window, Burst of them at
// once. The zero Rate is no limit.
type Rate struct {
	Events int
	Window time.Duration
	Burst  int
}

// Decider answers verdicts; the live set is one.
type Decider interface {
	Decide(token string, d liveset.Demand) liveset.Verdict
}

// Config is what Limits are made of.
type Config struct {
	// Rates are the limits in force for each token and each source.
	Rates func() (token, source Rate)
	Now   func() time.Time
}

// Limits counts by token and by source. All methods may be called concurrently.
// It takes no memory until a limit is set, and then about a megabyte for each.
type Limits struct {
	config          Config
	seed            maphash.Seed
	tokens, sources atomic.Pointer[table]
}

// New makes limits that have seen nobody.
func New(c Config) *Limits { return &Limits{config: c, seed: maphash.MakeSeed()} }

// Around answers a Decider that asks d, within the limits. A verdict about a
// token whose client is not known (no address) is not limited: somebody else
// asks.
func (l *Limits) Around(d Decider) Decider { return limited{l, d} }

type limited struct {
	*Limits
	next Decider
}

// Decide has refused as TooMany what a source asks beyond its limit, without
// looking at the token, and what a token is used for beyond its own, once it is
// known to be good: whoever makes tokens up cannot use up another's share.
func (l limited) Decide(token string, d liveset.Demand) liveset.Verdict {
	perToken, perSource := l.config.Rates()
	if perToken.Events == 0 && perSource.Events == 0 || !d.From.IsValid() {
		return l.next.Decide(token, d)
	}
	now, from := l.config.Now().UnixNano(), source(d.From)
	var left *liveset.Quota
	d.Admit = func(id string) bool {
		table, name, rate := &l.tokens, maphash.String(l.seed, id), perToken
		if id == "" {
			table, name, rate = &l.sources, maphash.Comparable(l.seed, from), perSource
		}
		if rate.Events == 0 {
			return true
		}
		q, ok := tableOf(table).take(name, now, rate)
		if left == nil || !ok || q.Remaining < left.Remaining {
			left = &q
		}
		return ok
	}
	v := l.next.Decide(token, d)
	v.Quota = left
	return v
}

// source is who an address is: of IPv6 the network, since every host has as many
// addresses of it as it likes (RFC 4291 section 2.5.4).
func source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	network, _ := a.Prefix(64) // of an IPv6 address there always is one
	return network.Addr()
}

func tableOf(p *atomic.Pointer[table]) *table {
	if t := p.Load(); t != nil {
		return t
	}
	p.CompareAndSwap(nil, new(table))
	return p.Load()
}
