package usage

import (
	"sync"

	"mintmark/internal/authority"
)

// names gives keys numbers, which are smaller. 0 is no key, and any beyond the
// bound.
type names struct {
	mu     sync.RWMutex
	byName map[authority.KeyID]uint16
	all    []authority.KeyID
}

const mostNames = 1<<16 - 1

func newNames() *names {
	return &names{byName: map[authority.KeyID]uint16{"": 0}, all: []authority.KeyID{""}}
}

func (n *names) number(k authority.KeyID) uint16 {
	n.mu.RLock()
	number, ok := n.byName[k]
	n.mu.RUnlock()
	if ok {
		return number
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if number, ok := n.byName[k]; ok || len(n.all) > mostNames {
		return number
	}
	number = uint16(len(n.all))
	n.byName[k] = number
	n.all = append(n.all, k)
	return number
}

func (n *names) name(number uint16) authority.KeyID {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.all[number]
}
