package sqlstore

import (
	"context"
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
		if err := s.used(rows); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) used(rows [][]any) error {
	r := rowset{columns: []column{{name: "id"}, {name: "at", number: true}}, rows: rows}
	var statements []Statement
	if s.driver.Arrays {
		statements = []Statement{{`UPDATE tokens SET last_used_at = v.at FROM ` + unnest(r.columns) + ` AS v (id, at)
			WHERE tokens.id = v.id AND (tokens.last_used_at IS NULL OR tokens.last_used_at < v.at)`, arrays(r)}}
	} else {
		for _, row := range rows {
			statements = append(statements, Statement{`UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)`, row})
		}
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
	ctx, cancel := context.WithTimeout(context.Background(), timeFor(len(rows)))
	defer cancel()
	sent, err := s.send(ctx, append(statements, Statement{Text: commitText}))
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
