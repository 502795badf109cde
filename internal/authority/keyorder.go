package authority

import (
	"cmp"
	"slices"
	"strings"
)

// sortNewestFirst orders by creation, then by name: the pair made together
// keeps the order of its names, next before current.
func sortNewestFirst(keys []Key) {
	slices.SortFunc(keys, func(a, b Key) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(len(b.Name), len(a.Name)), strings.Compare(b.Name, a.Name))
	})
}
