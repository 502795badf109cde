package authority

import (
	"slices"
	"strconv"
	"time"
)

// CaughtUp is what became of tokens whose records were older than the audit log.
type CaughtUp struct {
	Changes  int       // made to the records
	Missing  []TokenID // created later and not among the records, ascending by when; those deleted since are left out
	Unproven bool      // the log does not reach back to the records: what has ended since is not known
}

// Any reports whether there is anything to tell.
func (c CaughtUp) Any() bool { return c.Changes > 0 || len(c.Missing) > 0 || c.Unproven }

// Event is the entry of the audit log about it.
func (c CaughtUp) Event(at time.Time, location string) Event {
	detail := map[string]string{"changes": strconv.Itoa(c.Changes), "missing": strconv.Itoa(len(c.Missing))}
	if c.Unproven {
		detail["unproven"] = "true"
	}
	return Event{At: at, Actor: Itself().actor, Action: "tokens.caught_up", Target: location, Label: location, Outcome: OutcomeOK, Detail: detail}
}

// CatchUp does to records what events that came after them, oldest first, say
// was done: so no older copy of a store brings back what has ended since.
// Events that ask for nothing, because the record tells so already, are not
// counted.
func CatchUp(tokens Table[TokenID, Token], events []Event) (CaughtUp, error) {
	var c CaughtUp
	ended := make(map[TokenID]bool)
	for _, e := range events {
		id := TokenID(e.Target)
		t, err := tokens.Get(id)
		switch {
		case err != nil && KindOf(err) != NotFound:
			return CaughtUp{}, err
		case err != nil && e.Action == "token.created":
			c.Missing = append(c.Missing, id)
		case err != nil:
			ended[id] = e.Action == "token.deleted" || ended[id] && e.Action != "token.restored"
		case t.redo(e):
			if err := tokens.Put(t); err != nil {
				return CaughtUp{}, err
			}
			c.Changes++
		}
	}
	kept := c.Missing[:0]
	for _, id := range c.Missing {
		if !ended[id] {
			kept = append(kept, id)
		}
	}
	c.Missing = kept
	return c, nil
}

// redo does to the record what the event says was done to it and reports whether
// that changed it. An event says enough for all but the key of a copy, which
// decides nothing.
func (t *Token) redo(e Event) bool {
	if e.Outcome != OutcomeOK {
		return false
	}
	was, at := *t, e.At.UTC().Truncate(time.Second)
	switch e.Action {
	case "token.deleted":
		if t.DeletedAt.IsZero() {
			t.DeletedAt, t.DeletedBy = at, e.Actor.Name
		}
		t.Leaked = t.Leaked || e.Detail["leaked"] == "true"
	case "token.restored":
		t.DeletedAt, t.DeletedBy = time.Time{}, ""
	case "token.replaced", "token.handed_over":
		ends, err := time.Parse(time.RFC3339, e.Detail["ends_at"])
		if err != nil {
			ends = at // it ends in any case
		}
		t.ReplacedBy, t.EndsAt, t.RetireWhenSeen = TokenID(e.Detail["successor"]), ends.UTC(), e.Detail["retire_when_seen"] == "true"
	case "token.replace_undone":
		t.ReplacedBy, t.EndsAt, t.RetireWhenSeen = "", time.Time{}, false
	case "token.contacted":
		t.Contacted = Contact{At: at, By: e.Actor.Name, Note: e.Detail["note"]}
	}
	return !t.DeletedAt.Equal(was.DeletedAt) || t.Leaked != was.Leaked || t.ReplacedBy != was.ReplacedBy ||
		!t.EndsAt.Equal(was.EndsAt) || t.RetireWhenSeen != was.RetireWhenSeen || !t.Contacted.At.Equal(was.Contacted.At) || t.Contacted.Note != was.Contacted.Note
}

// SameClaims reports whether both say the same of the same client: what is
// signed for one is what is signed for the other.
func (t *Token) SameClaims(o *Token) bool {
	a, b := t.claims(), o.claims()
	return a.Issuer == b.Issuer && a.Subject == b.Subject && a.ClientID == b.ClientID && a.ID == b.ID && a.Role == b.Role &&
		a.IssuedAt.Equal(b.IssuedAt) && a.ExpiresAt.Equal(b.ExpiresAt) &&
		slices.Equal(a.Audience, b.Audience) && slices.Equal(a.Tags, b.Tags)
}
