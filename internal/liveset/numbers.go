package liveset

import (
	"sync"
	"sync/atomic"
)

// numbers keeps each of a few values once, under a number that fits a record.
// Number 0 is the zero value, and any value beyond the bound.
type numbers[T comparable] struct {
	most   int
	mu     sync.Mutex
	number map[T]uint32
	values atomic.Pointer[[]T]
}

func newNumbers[T comparable](most int) *numbers[T] {
	var zero T
	n := &numbers[T]{most: most, number: map[T]uint32{zero: 0}}
	n.values.Store(&[]T{zero})
	return n
}

// value answers what has a number.
func (n *numbers[T]) value(number uint32) T { return (*n.values.Load())[number] }

// of answers the number of a value and gives it one.
func (n *numbers[T]) of(value T) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if number, ok := n.number[value]; ok {
		return number
	}
	values := *n.values.Load()
	if len(values) > n.most {
		return 0
	}
	number := uint32(len(values)) // bounded above
	n.number[value] = number
	values = append(values, value) // whoever reads the shorter list never looks behind its end
	n.values.Store(&values)
	return number
}

// many is how many values have a number.
func (n *numbers[T]) many() int { return len(*n.values.Load()) }
