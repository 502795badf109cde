package mapstore

import (
	"slices"
	"time"

	"mintmark/internal/authority"
)

type tokenTable struct {
	table[authority.TokenID, authority.Token]
}

type candidate struct {
	place authority.TokenCursor
	token *authority.Token
}

// Find reads every token and keeps no more than two pages of candidates.
func (t *tokenTable) Find(q authority.TokenQuery) (authority.TokenPage, error) {
	if page, ok := t.tx.memo.pageOf(&q); ok {
		return page, nil
	}
	var page authority.TokenPage
	valid := span{from: q.Now}
	limit := max(q.Limit, 1)
	order := func(a, b candidate) int { return q.Compare(a.place, b.place) }
	best := make([]candidate, 0, 2*(limit+1))
	full := false // best is sorted up to limit+1, and its last is a bound
	for w := range t.rows.all() {
		valid.turn(&w.value, q.Expiring)
		if !q.Match(&w.value) {
			continue
		}
		page.Total++
		c := candidate{authority.TokenCursor{Value: q.SortValue(&w.value), ID: w.value.ID}, &w.value}
		if q.After != nil && q.Compare(c.place, *q.After) <= 0 || full && order(c, best[limit]) >= 0 {
			continue
		}
		if best = append(best, c); len(best) == cap(best) {
			slices.SortFunc(best, order)
			best, full = best[:limit+1], true
		}
	}
	slices.SortFunc(best, order)
	if len(best) > limit {
		best = best[:limit]
		next := best[limit-1].place
		page.Next = &next
	}
	for _, c := range best {
		page.Tokens = append(page.Tokens, c.token.Clone())
	}
	t.tx.memo.keepPage(&q, valid, page)
	return page, nil
}

func (t *tokenTable) Counts(now time.Time, generation uint64) (authority.TokenCounts, error) {
	if c, ok := t.tx.memo.countsAt(now, generation); ok {
		return c, nil
	}
	var c authority.TokenCounts
	valid := span{from: now}
	for w := range t.rows.all() {
		valid.turn(&w.value, authority.CareWithin)
		c.Add(&w.value, now, generation)
	}
	t.tx.memo.keepCounts(counted{valid, generation, c})
	return c, nil
}
