package sqlstore

import (
	"database/sql"
	"fmt"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

type auditTable tx

func (t *tx) Audit() authority.AuditTable { return (*auditTable)(t) }

func (a *auditTable) Append(events ...authority.Event) error {
	if a.batch == nil {
		return errReadOnlyTx
	}
	for _, e := range events {
		a.events = append(a.events, stored.Printable(e))
	}
	return nil
}

func (a *auditTable) Page(q authority.AuditQuery) (authority.AuditPage, error) {
	var page authority.AuditPage
	var first, last sql.NullInt64
	if _, err := a.db.row([]any{&first, &last}, `SELECT (SELECT min(seq) FROM audit), (SELECT max(seq) FROM audit)`); err != nil {
		return page, err
	}
	if last.Valid {
		page.Total = uint64(last.Int64 - first.Int64 + 1)
	}
	limit := max(q.Limit, 1)
	text, args := auditText(q, limit+1)
	events, err := decoded(a.db, stored.Events(), text, args...)
	if err != nil {
		return authority.AuditPage{}, err
	}
	if len(events) > limit {
		events = events[:limit]
		page.Next = events[limit-1].Seq
	}
	page.Events = events
	return page, nil
}

// auditText spells a query. A target is looked for under both of its names, each
// of which has an index.
func auditText(q authority.AuditQuery, limit int) (string, []any) {
	var args []any
	w := &clause{args: &args}
	if q.Before != 0 {
		w.and("seq < " + w.arg(int64(min(q.Before, 1<<62))))
	}
	for column, v := range map[string]string{"actor": q.Actor, "outcome": q.Outcome} {
		if v != "" {
			w.and(column + " = " + w.arg(v))
		}
	}
	switch group := strings.HasSuffix(q.Action, "."); {
	case group:
		w.and(w.prefixed("action", q.Action))
	case q.Action != "":
		w.and("action = " + w.arg(q.Action))
	}
	if !q.Since.IsZero() {
		w.and("at >= " + w.arg(sortable(q.Since)))
	}
	if !q.Until.IsZero() {
		w.and("at < " + w.arg(sortable(q.Until)))
	}
	newest := fmt.Sprintf("ORDER BY seq DESC LIMIT %d", limit)
	if q.Target == "" {
		return "SELECT event FROM audit WHERE " + w.String() + " " + newest, args
	}
	named, rest := w.arg(q.Target), w.String()
	by := func(column, alias string) string {
		return "SELECT * FROM (SELECT seq, event FROM audit WHERE " + column + " = " + named + " AND " + rest + " " + newest + ") " + alias
	}
	return "SELECT event FROM (" + by("target", "a") + " UNION " + by("label", "b") + ") u " + newest, args
}
