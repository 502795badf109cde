package limits

import (
	"sync"
	"time"

	"mintmark/internal/liveset"
)

// table remembers 65,536 clients. More push out those that have least to pay
// off: they are forgiven, nobody is refused for another's requests.
type table [1 << 13]bucket

type bucket struct {
	mu      sync.Mutex
	clients [8]client
}

// client is one client's debt: it is paid off at this moment, in Unix
// nanoseconds.
type client struct {
	name uint64
	paid int64
}

// take counts one request of a client, unless it is too many.
func (t *table) take(name uint64, now int64, r Rate) (q liveset.Quota, ok bool) {
	interval := int64(r.Window) / int64(r.Events)
	allowed := interval * int64(r.Burst) // how far ahead of its payments a client may be
	b := &t[name%uint64(len(t))]
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.find(name)
	debt := min(max(c.paid-now, 0), allowed) // a clock that was set back costs nobody more than one burst
	if ok = debt+interval <= allowed; ok {
		debt += interval
	}
	c.paid = now + debt
	q = liveset.Quota{Limit: r.Events, Window: r.Window, Remaining: int((allowed - debt) / interval)}
	if q.Remaining <= 0 {
		q.Remaining, q.Wait = 0, time.Duration(debt+interval-allowed)
	}
	return q, ok
}

// find answers the client's place, or the one of whoever has least to pay off,
// as if nobody had it.
func (b *bucket) find(name uint64) *client {
	least := &b.clients[0]
	for i := range b.clients {
		c := &b.clients[i]
		if c.name == name {
			return c
		}
		if c.paid < least.paid {
			least = c
		}
	}
	*least = client{name: name}
	return least
}
