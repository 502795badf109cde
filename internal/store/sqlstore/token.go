package sqlstore

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
)

// more holds the members of a token that nothing is searched or sorted by. It is
// "" when all are zero.
type more struct {
	AllowedAddresses []netip.Prefix `json:"allowed_addresses,omitempty"`
	DeletedBy        string         `json:"deleted_by,omitempty"`
	Leaked           bool           `json:"leaked,omitempty"`
	Replaces         string         `json:"replaces,omitempty"`
	ReplacedBy       string         `json:"replaced_by,omitempty"`
	RetireWhenSeen   bool           `json:"retire_when_seen,omitempty"`
	ContactedAt      time.Time      `json:"contacted_at,omitzero"`
	ContactedBy      string         `json:"contacted_by,omitempty"`
	ContactedNote    string         `json:"contacted_note,omitempty"`
}

// tokenColumns are the columns of a record, in the order that tokenRow writes
// and tokenReader reads them. stops_at and stops_as are Token.End; client_fold
// is what clients are sorted and searched by.
func tokenColumns() []column {
	c := texts("id", "client_id", "client_fold", "role", "tags", "tags_fold", "issuer", "audience", "kid", "generation",
		"created_at", "created_by", "expires_at", "deleted_at", "ends_at", "stops_at", "stops_as", "description", "contact", "more")
	for i := range c {
		switch c[i].name {
		case "generation", "created_at", "expires_at", "deleted_at", "ends_at", "stops_at":
			c[i].number = true
		}
	}
	return c
}

// readColumns are what a record is read from.
const readColumns = `id, client_id, role, tags, issuer, audience, kid, generation, created_at, created_by, expires_at, deleted_at, ends_at, description, contact, more`

// The tokens of each state, for columns that are not NULL for a reason:
// stops_as is "" when a token has no end.
const (
	stopsExpired  = "e"
	stopsReplaced = "r"
)

// micro is how a time is stored: microseconds since 1970, NULL for none. Times
// of tokens are whole seconds.
func micro(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func fromMicro(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return time.UnixMicro(v.Int64).UTC()
}

// fold is how text is compared without regard to case.
func fold(s string) string { return strings.ToLower(s) }

// texts of a list: "" for none, else JSON.
func packed(list []string) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	text, err := json.Marshal(list)
	return string(text), err
}

func tokenRow(t *authority.Token) ([]any, error) {
	tags, err := packed(t.Tags)
	if err != nil {
		return nil, err
	}
	audience, err := packed(t.Audience)
	if err != nil {
		return nil, err
	}
	m := more{
		AllowedAddresses: t.AllowedAddresses, DeletedBy: t.DeletedBy, Leaked: t.Leaked,
		Replaces: string(t.Replaces), ReplacedBy: string(t.ReplacedBy), RetireWhenSeen: t.RetireWhenSeen,
		ContactedAt: t.Contacted.At.UTC(), ContactedBy: t.Contacted.By, ContactedNote: t.Contacted.Note,
	}
	rest, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if string(rest) == "{}" {
		rest = nil
	}
	stops, as := t.End()
	kind := ""
	switch {
	case stops.IsZero():
	case as == authority.StateReplaced:
		kind = stopsReplaced
	default:
		kind = stopsExpired
	}
	return []any{
		string(t.ID), t.ClientID, fold(t.ClientID), string(t.Role), tags, fold(tags), t.Issuer, audience, string(t.KeyID), int64(t.Generation),
		micro(t.CreatedAt), t.CreatedBy, micro(t.ExpiresAt), micro(t.DeletedAt), micro(t.EndsAt), micro(stops), kind, t.Description, t.Contact, string(rest),
	}, nil
}

// tokenReader reads rows of readColumns. Lists that are the same text are parsed
// once.
type tokenReader struct {
	id, client, role, tags, issuer, audience, kid, createdBy, description, contact, more string
	generation                                                                           int64
	created, expires, deleted, ends                                                      sql.NullInt64

	into  []any
	lists map[string][]string
	texts map[string]string // what many records have in common, once
	share bool              // records may share a list, because nobody changes it
}

const maxLists = 10_000

func newTokenReader() *tokenReader {
	r := &tokenReader{lists: make(map[string][]string), texts: make(map[string]string)}
	r.into = []any{
		&r.id, &r.client, &r.role, &r.tags, &r.issuer, &r.audience, &r.kid, &r.generation, &r.created, &r.createdBy,
		&r.expires, &r.deleted, &r.ends, &r.description, &r.contact, &r.more,
	}
	return r
}

func (r *tokenReader) list(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	l, ok := r.lists[text]
	if !ok {
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, err
		}
		if len(r.lists) < maxLists {
			r.lists[text] = l
		}
	}
	if r.share {
		return slices.Clip(l), nil
	}
	return slices.Clone(l), nil
}

func (r *tokenReader) once(text string) string {
	if s, ok := r.texts[text]; ok {
		return s
	}
	if len(r.texts) < maxLists {
		r.texts[text] = text
	}
	return text
}

// read reads the present row; rest are columns behind those of the record.
func (r *tokenReader) read(rows *sql.Rows, rest ...any) (authority.Token, error) {
	into := r.into
	if len(rest) > 0 {
		into = slices.Concat(into, rest)
	}
	if err := rows.Scan(into...); err != nil {
		return authority.Token{}, err
	}
	t := authority.Token{
		ID: authority.TokenID(r.id), ClientID: r.client, Role: authority.Role(r.once(r.role)), Issuer: r.once(r.issuer),
		CreatedAt: fromMicro(r.created), CreatedBy: r.once(r.createdBy), ExpiresAt: fromMicro(r.expires),
		KeyID: authority.KeyID(r.once(r.kid)), Generation: uint64(r.generation), DeletedAt: fromMicro(r.deleted), EndsAt: fromMicro(r.ends),
		Description: r.description, Contact: r.once(r.contact),
	}
	var err error
	if t.Tags, err = r.list(r.tags); err == nil {
		t.Audience, err = r.list(r.audience)
	}
	if err == nil && r.more != "" {
		err = addMore(&t, r.more)
	}
	if err != nil {
		return authority.Token{}, broken(fmt.Errorf("token %s: %w", r.id, err))
	}
	return t, nil
}

// addMore sets the members that are in more.
func addMore(t *authority.Token, text string) error {
	var m more
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	t.AllowedAddresses, t.DeletedBy, t.Leaked = m.AllowedAddresses, m.DeletedBy, m.Leaked
	t.Replaces, t.ReplacedBy, t.RetireWhenSeen = authority.TokenID(m.Replaces), authority.TokenID(m.ReplacedBy), m.RetireWhenSeen
	t.Contacted = authority.Contact{At: m.ContactedAt, By: m.ContactedBy, Note: m.ContactedNote}
	return nil
}

// tagRows are the rows by which a token is found by its tags, each tag once. The
// role is among them because most roles have no tags.
func tagRows(t *authority.Token) [][]any {
	var rows [][]any
	for i, tag := range t.Tags {
		if !slices.Contains(t.Tags[:i], tag) {
			rows = append(rows, []any{fold(tag), tag, string(t.Role), string(t.ID)})
		}
	}
	return rows
}

// tagPart is how a tag, or the beginning of one, is found in the text of a list:
// behind the quotation mark that begins it. A whole one ends with another.
func tagPart(tag string, whole bool) string {
	text, err := json.Marshal(tag)
	if err != nil {
		return tag // no string fails
	}
	if whole {
		return string(text)
	}
	return string(text[:len(text)-1])
}
