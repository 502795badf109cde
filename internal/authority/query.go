package authority

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// lastSortValue sorts behind every other value, in both directions.
const lastSortValue = ""

// Match reports whether the query's filters let t through.
func (q *TokenQuery) Match(t *Token) bool {
	state := t.State(q.Now, q.Generation)
	switch {
	case !slices.Contains(q.States, state):
	case q.Role != "" && t.Role != q.Role:
	case q.ClientID != "" && t.ClientID != q.ClientID:
	case q.Tag != "" && !slices.Contains(t.Tags, q.Tag):
	case q.Expiring > 0 && (t.ExpiresAt.IsZero() || t.ExpiresAt.After(q.Now.Add(q.Expiring))):
	case q.Text != "" && !q.matchText(t):
	default:
		return true
	}
	return false
}

func (q *TokenQuery) matchText(t *Token) bool {
	text := strings.ToLower(q.Text)
	has := func(s string) bool { return strings.HasPrefix(strings.ToLower(s), text) }
	return has(t.ClientID) || has(string(t.ID)) || slices.ContainsFunc(t.Tags, has)
}

// SortValue is what t sorts by: text that compares bytewise, "" for a value
// that is not there (and sorts last in both directions).
func (q *TokenQuery) SortValue(t *Token) string {
	switch q.Sort {
	case SortRole:
		return string(t.Role)
	case SortCreatedAt:
		return SortTime(t.CreatedAt)
	case SortExpiresAt:
		return SortTime(t.ExpiresAt)
	case SortLastUsed:
		if q.LastUsed == nil {
			return lastSortValue
		}
		return SortTime(q.LastUsed(t.ID))
	case SortClientID:
	}
	return strings.ToLower(t.ClientID)
}

// Compare orders two places: by value with "" last, then by id.
func (q *TokenQuery) Compare(a, b TokenCursor) int {
	if a.Value != b.Value {
		switch {
		case a.Value == lastSortValue:
			return 1
		case b.Value == lastSortValue:
			return -1
		case q.Descending:
			return strings.Compare(b.Value, a.Value)
		}
		return strings.Compare(a.Value, b.Value)
	}
	return cmp.Compare(a.ID, b.ID)
}

// SortTime is the SortValue of a time.
func SortTime(t time.Time) string {
	if t.IsZero() {
		return lastSortValue
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// Match reports whether the query's filters let e through.
func (q *AuditQuery) Match(e *Event) bool {
	switch {
	case q.Before != 0 && e.Seq >= q.Before:
	case q.Actor != "" && e.Actor.Name != q.Actor:
	case q.Target != "" && e.Target != q.Target && e.Label != q.Target:
	case q.Outcome != "" && e.Outcome != q.Outcome:
	case strings.HasSuffix(q.Action, ".") && !strings.HasPrefix(e.Action, q.Action):
	case q.Action != "" && !strings.HasSuffix(q.Action, ".") && e.Action != q.Action:
	case !q.Since.IsZero() && e.At.Before(q.Since):
	case !q.Until.IsZero() && !e.At.Before(q.Until):
	default:
		return true
	}
	return false
}
