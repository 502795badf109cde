package authority

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Limits of a list page.
const (
	DefaultPage = 50
	MaxPage     = 500
)

// ListRequest asks for one page of tokens. Zero members do not filter.
type ListRequest struct {
	Text, Role, Tag, ClientID string
	State                     string        // "", "all" or a TokenState; "" is all but deleted and replaced, "all" all but deleted
	Expiring                  time.Duration // only active ones that end within this time
	Sort                      string        // a TokenSort; "" is client_id
	Descending                bool
	Limit                     int    // 0: DefaultPage
	Cursor                    string // NextCursor of the page before
}

// TokenList is one page.
type TokenList struct {
	Items      []TokenView
	NextCursor string // "" on the last page
	Total      int    // matching tokens over all pages
	// TotalIsFloor: at least Total match.
	TotalIsFloor bool
}

// Tokens lists tokens.
func (a *Authority) Tokens(ctx context.Context, c Caller, r ListRequest) (TokenList, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenList{}, err
	}
	q, err := r.query()
	if err != nil {
		return TokenList{}, err
	}
	q.Now = a.Now().UTC()
	q.LastUsed = func(id TokenID) time.Time { return a.Usage.LastUse(id).At }
	var list TokenList
	err = a.Store.View(ctx, func(tx Tx) error {
		s, err := system(tx)
		if err != nil {
			return err
		}
		q.Generation = s.Generation
		if q.After, err = r.openCursor(s.CursorKey); err != nil {
			return err
		}
		page, err := tx.Tokens().Find(q)
		if err != nil {
			return err
		}
		list.Total, list.TotalIsFloor, list.NextCursor = page.Total, page.TotalIsFloor, r.sealCursor(s.CursorKey, page.Next)
		for _, t := range page.Tokens {
			list.Items = append(list.Items, a.view(t, s.Generation))
		}
		return nil
	})
	if err != nil {
		return list, err
	}
	views := make([]*TokenView, len(list.Items))
	for i := range list.Items {
		views[i] = &list.Items[i]
	}
	a.countRequests(ctx, views...)
	return list, nil
}

// TokenCounts counts tokens by state.
func (a *Authority) TokenCounts(ctx context.Context, c Caller) (TokenCounts, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenCounts{}, err
	}
	var counts TokenCounts
	err := a.Store.View(ctx, func(tx Tx) error {
		s, err := system(tx)
		if err != nil {
			return err
		}
		counts, err = tx.Tokens().Counts(a.Now().UTC(), s.Generation)
		return err
	})
	return counts, err
}

// FindToken resolves what people type for a token: its id, a prefix of it that
// only one token has, or a client ID that only one token has; a token that was
// replaced gives way to its successor. With deleted it looks among deleted
// tokens, otherwise among all others.
func (a *Authority) FindToken(ctx context.Context, c Caller, name string, deleted bool) (TokenView, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenView{}, err
	}
	none := fail(NotFound, "token.not_found", "There is no token with that id or client ID.")
	states := []TokenState{StateActive, StateExpired, StateRevoked, StateReplaced}
	switch {
	case !storable(name):
		return TokenView{}, none
	case deleted:
		states = []TokenState{StateDeleted}
	}
	var found, latest []TokenView // latest are those without a successor
	err := a.Store.View(ctx, func(tx Tx) error {
		found, latest = nil, nil
		s, err := system(tx)
		if err != nil {
			return err
		}
		q := TokenQuery{Text: name, States: states, Sort: SortClientID, Limit: MaxPage, Now: a.Now().UTC(), Generation: s.Generation}
		for {
			page, err := tx.Tokens().Find(q)
			if err != nil {
				return err
			}
			for _, t := range page.Tokens {
				if !nameMatches(&t, name) {
					continue
				}
				found = append(found, a.view(t, s.Generation))
				if t.ReplacedBy == "" {
					latest = append(latest, found[len(found)-1])
				}
			}
			if page.Next == nil || len(latest) > 1 {
				return nil
			}
			q.After = page.Next
		}
	})
	switch {
	case err != nil:
		return TokenView{}, err
	case len(latest) == 1:
		return a.counted(ctx, latest[0]), nil
	case len(found) == 0:
		return TokenView{}, none
	case len(found) > 1:
		return TokenView{}, fail(Conflict, "token.ambiguous", "More than one token matches; give more of its id.")
	}
	return a.counted(ctx, found[0]), nil
}

func nameMatches(t *Token, name string) bool {
	if t.ClientID == name {
		return true
	}
	return len(name) > len(tokenPrefix) && len(name) <= len(t.ID) && string(t.ID[:len(name)]) == name
}

func (r ListRequest) query() (TokenQuery, error) {
	q := TokenQuery{
		Text: r.Text, Tag: r.Tag, ClientID: r.ClientID, Expiring: r.Expiring,
		Sort: TokenSort(r.Sort), Descending: r.Descending, Limit: r.Limit,
	}
	var faults []FieldError
	if r.Role != "" {
		role, err := ParseRole(r.Role)
		if err != nil {
			faults = append(faults, FieldError{"role", "role.unknown", err.Error()})
		}
		q.Role = role
	}
	switch state := TokenState(r.State); state {
	case "":
		q.States = []TokenState{StateActive, StateExpired, StateRevoked}
	case "all":
		q.States = []TokenState{StateActive, StateExpired, StateRevoked, StateReplaced}
	case StateActive, StateExpired, StateRevoked, StateDeleted, StateReplaced:
		q.States = []TokenState{state}
	default:
		faults = append(faults, FieldError{"state", "state.form", "The state is one of active, expired, revoked, deleted, replaced, all."})
	}
	if q.Sort == "" {
		q.Sort = SortClientID
	}
	if !slices.Contains([]TokenSort{SortClientID, SortRole, SortCreatedAt, SortExpiresAt, SortLastUsed}, q.Sort) {
		faults = append(faults, FieldError{"sort", "sort.unknown", "Sort by client_id, role, created_at, expires_at or last_used_at."})
	}
	if q.Limit == 0 {
		q.Limit = DefaultPage
	}
	if q.Limit < 1 || q.Limit > MaxPage {
		faults = append(faults, FieldError{"limit", "limit.range", fmt.Sprintf("A page has 1 to %d tokens.", MaxPage)})
	}
	if len(faults) > 0 {
		return TokenQuery{}, invalid(faults...)
	}
	if !storable(q.Text, q.Tag, q.ClientID) { // nothing matches
		q.Text, q.Tag, q.ClientID, q.States = "", "", "", nil
	}
	return q, nil
}

// A cursor is a place in one list: it is bound to the filters and the order it
// was made for and authenticated, so that nothing else can be put in its place.
type sealedCursor struct {
	Value string  `json:"v"`
	ID    TokenID `json:"i"`
}

func (r ListRequest) mac(key, body []byte) []byte {
	r.Cursor, r.Limit = "", 0
	about, _ := json.Marshal(r)
	h := hmac.New(sha256.New, key)
	h.Write(about)
	h.Write([]byte{0})
	h.Write(body)
	return h.Sum(nil)[:16]
}

func (r ListRequest) sealCursor(key []byte, at *TokenCursor) string {
	if at == nil {
		return ""
	}
	body, _ := json.Marshal(sealedCursor{at.Value, at.ID})
	return base64.RawURLEncoding.EncodeToString(append(r.mac(key, body), body...))
}

func (r ListRequest) openCursor(key []byte) (*TokenCursor, error) {
	if r.Cursor == "" {
		return nil, nil
	}
	wrong := invalid(FieldError{"cursor", "cursor.invalid", "This cursor does not belong to this list. Start again without it."})
	raw, err := base64.RawURLEncoding.Strict().DecodeString(r.Cursor)
	if err != nil || len(raw) < 16 {
		return nil, wrong
	}
	var at sealedCursor
	if !hmac.Equal(raw[:16], r.mac(key, raw[16:])) || json.Unmarshal(raw[16:], &at) != nil {
		return nil, wrong
	}
	return &TokenCursor{Value: at.Value, ID: at.ID}, nil
}
