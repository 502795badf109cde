package sqlstore

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"mintmark/internal/authority"
)

// usesAtOnce is how many last uses are written while changes wait.
const usesAtOnce = 1000

// UsedAt implements authority.UseKeeper. It changes no record, so followers are
// told nothing and the revision stays.
func (s *Store) UsedAt(ctx context.Context, uses []authority.Used) error {
	s.updates.RLock()
	defer s.updates.RUnlock()
	latest := make(map[string]int64, len(uses))
	for _, u := range uses {
		latest[string(u.ID)] = max(latest[string(u.ID)], u.At.UnixMicro())
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(latest)), usesAtOnce) {
		if err := context.Cause(ctx); err != nil {
			return cancelled(err)
		}
		if s.closed {
			return closedStore()
		}
		rows := make([][]any, len(ids))
		for i, id := range ids {
			rows[i] = []any{id, latest[id]}
		}
		if err := s.used(ctx, rows); err != nil {
			return err
		}
	}
	return nil
}

// used writes what the tokens do not know. Most of what is told at a start they
// know: that is seen without making changes wait.
func (s *Store) used(ctx context.Context, rows [][]any) error {
	from, args, err := s.values(rows)
	if err != nil {
		return err
	}
	const later = ` WHERE tokens.id = v.id AND (tokens.last_used_at IS NULL OR tokens.last_used_at < v.at)`
	view, news := &dbtx{ctx: ctx, pool: s.views}, false
	_, err = view.row([]any{&news}, `SELECT EXISTS (SELECT 1 FROM `+from+`, tokens`+later+`)`, args...)
	view.end()
	if err != nil || !news {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.connect(); err != nil {
		return failure(s.driver, err)
	}
	b := &batch{store: s, db: &dbtx{ctx: context.Background(), session: s.session}}
	if _, err := readHead(b.db, s.driver.Lock); err != nil {
		b.giveUp()
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeFor(len(rows)))
	defer cancel()
	sent, err := s.send(ctx, []Statement{{`UPDATE tokens SET last_used_at = v.at FROM ` + from + later, args}, {Text: commitText}})
	if err == nil {
		return nil
	}
	if sent {
		s.disconnect() // done or not: it may be done again
	} else {
		b.giveUp()
	}
	return failure(s.driver, err)
}

// values are ids and times as a table v (id, at).
func (s *Store) values(rows [][]any) (table string, args []any, err error) {
	if s.driver.Arrays {
		r := rowset{columns: []column{{name: "id"}, {name: "at", number: true}}, rows: rows}
		return unnest(r.columns) + ` AS v (id, at)`, arrays(r), nil
	}
	text, err := json.Marshal(rows)
	return `(SELECT value ->> 0 AS id, value ->> 1 AS at FROM json_each($1)) AS v`, []any{string(text)}, err
}
