// Package stored says what records look like where they last: one line of JSON
// each, the same in a file and in a database. It touches nothing.
//
// The one hard idea: a line has exactly one reading. What is decoded and encoded
// again is the same text, and nothing else is accepted.
package stored

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/strictjson"
)

// The stored forms. They are what is kept and nothing else uses them;
// a change to one is a new version of the format.

type tokenForm struct {
	ID               string         `json:"id"`
	ClientID         string         `json:"client_id"`
	Role             string         `json:"role"`
	Tags             []string       `json:"tags,omitempty"`
	Issuer           string         `json:"issuer"`
	Audience         []string       `json:"audience,omitempty"`
	Description      string         `json:"description,omitempty"`
	Contact          string         `json:"contact,omitempty"`
	AllowedAddresses []netip.Prefix `json:"allowed_addresses,omitempty"`
	CreatedAt        time.Time      `json:"created_at,omitzero"`
	CreatedBy        string         `json:"created_by,omitempty"`
	ExpiresAt        time.Time      `json:"expires_at,omitzero"`
	KeyID            string         `json:"kid"`
	Generation       uint64         `json:"generation"`
	DeletedAt        time.Time      `json:"deleted_at,omitzero"`
	DeletedBy        string         `json:"deleted_by,omitempty"`
	Leaked           bool           `json:"leaked,omitempty"`
	Replaces         string         `json:"replaces,omitempty"`
	ReplacedBy       string         `json:"replaced_by,omitempty"`
	EndsAt           time.Time      `json:"ends_at,omitzero"`
	RetireWhenSeen   bool           `json:"retire_when_seen,omitempty"`
	ContactedAt      time.Time      `json:"contacted_at,omitzero"`
	ContactedBy      string         `json:"contacted_by,omitempty"`
	ContactedNote    string         `json:"contacted_note,omitempty"`
}

type receiptForm struct {
	Key     string    `json:"key"`
	TokenID string    `json:"token_id"`
	Request []byte    `json:"request,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

type keyForm struct {
	ID           string    `json:"kid"`
	Name         string    `json:"name"`
	Algorithm    string    `json:"alg"`
	State        string    `json:"state"`
	CreatedAt    time.Time `json:"created_at,omitzero"`
	CurrentSince time.Time `json:"current_since,omitzero"`
	Until        time.Time `json:"until,omitzero"`
	RetiredAt    time.Time `json:"retired_at,omitzero"`
	Hold         bool      `json:"hold,omitempty"`
	TrialUntil   time.Time `json:"trial_until,omitzero"`
	Reason       string    `json:"reason,omitempty"`
	Sealed       []byte    `json:"sealed,omitempty"`
}

type adminForm struct {
	Name              string    `json:"name"`
	PasswordHash      string    `json:"password_hash"`
	CreatedAt         time.Time `json:"created_at,omitzero"`
	CreatedBy         string    `json:"created_by,omitempty"`
	PasswordChangedAt time.Time `json:"password_changed_at,omitzero"`
}

type loginForm struct {
	ID              string    `json:"id"`
	Admin           string    `json:"admin"`
	CreatedAt       time.Time `json:"created_at,omitzero"`
	AuthenticatedAt time.Time `json:"authenticated_at,omitzero"`
	ExpiresAt       time.Time `json:"expires_at,omitzero"`
	From            string    `json:"from,omitempty"`
	KeyID           string    `json:"kid"`
	Generation      uint64    `json:"generation"`
}

type throttleForm struct {
	Name        string    `json:"name"`
	Failures    int       `json:"failures"`
	Total       int       `json:"total"`
	LastAt      time.Time `json:"last_at,omitzero"`
	PausedUntil time.Time `json:"paused_until,omitzero"`
	Known       bool      `json:"known,omitempty"`
}

type systemForm struct {
	Generation   uint64    `json:"generation"`
	ResetAt      time.Time `json:"reset_at,omitzero"`
	SetupDigest  []byte    `json:"setup_digest,omitempty"`
	SetupExpires time.Time `json:"setup_expires,omitzero"`
	CursorKey    []byte    `json:"cursor_key,omitempty"`
}

type eventForm struct {
	Seq       uint64            `json:"seq"`
	At        time.Time         `json:"at,omitzero"`
	ActorKind string            `json:"actor_kind,omitempty"`
	Actor     string            `json:"actor,omitempty"`
	Action    string            `json:"action"`
	Target    string            `json:"target,omitempty"`
	Label     string            `json:"label,omitempty"`
	From      string            `json:"from,omitempty"`
	Outcome   string            `json:"outcome,omitempty"`
	RequestID string            `json:"request_id,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
	Hash      string            `json:"hash"`
}

// Codec turns one kind of record into a line of JSON and back.
type Codec[T any] struct {
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error)
}

// codecOf joins the two conversions of a record with the JSON of its stored
// form.
func codecOf[T, S any](store func(T) S, load func(S) T) Codec[T] {
	return Codec[T]{
		Encode: func(v T) ([]byte, error) { return json.Marshal(store(v)) },
		Decode: func(line []byte) (T, error) {
			// What is written again byte for byte has one reading; only another
			// text, by an older version perhaps, needs the slower proof.
			var s S
			if json.Unmarshal(line, &s) == nil {
				if again, err := json.Marshal(s); err == nil && bytes.Equal(again, line) {
					return load(s), nil
				}
			}
			var strict S
			if err := strictjson.Decode(line, &strict); err != nil {
				var none T
				return none, err
			}
			return load(strict), nil
		},
	}
}

// utc is how every time is stored.
func utc(t time.Time) time.Time { return t.UTC() }

// Tokens is the codec of API tokens.
func Tokens() Codec[authority.Token] {
	return codecOf(
		func(t authority.Token) tokenForm {
			return tokenForm{
				ID: string(t.ID), ClientID: t.ClientID, Role: string(t.Role), Tags: t.Tags, Issuer: t.Issuer, Audience: t.Audience,
				Description: t.Description, Contact: t.Contact, AllowedAddresses: t.AllowedAddresses,
				CreatedAt: utc(t.CreatedAt), CreatedBy: t.CreatedBy, ExpiresAt: utc(t.ExpiresAt), KeyID: string(t.KeyID),
				Generation: t.Generation, DeletedAt: utc(t.DeletedAt), DeletedBy: t.DeletedBy, Leaked: t.Leaked,
				Replaces: string(t.Replaces), ReplacedBy: string(t.ReplacedBy), EndsAt: utc(t.EndsAt), RetireWhenSeen: t.RetireWhenSeen,
				ContactedAt: utc(t.Contacted.At), ContactedBy: t.Contacted.By, ContactedNote: t.Contacted.Note,
			}
		},
		func(s tokenForm) authority.Token {
			return authority.Token{
				ID: authority.TokenID(s.ID), ClientID: s.ClientID, Role: authority.Role(s.Role), Tags: s.Tags, Issuer: s.Issuer, Audience: s.Audience,
				Description: s.Description, Contact: s.Contact, AllowedAddresses: s.AllowedAddresses,
				CreatedAt: s.CreatedAt, CreatedBy: s.CreatedBy, ExpiresAt: s.ExpiresAt, KeyID: authority.KeyID(s.KeyID),
				Generation: s.Generation, DeletedAt: s.DeletedAt, DeletedBy: s.DeletedBy, Leaked: s.Leaked,
				Replaces: authority.TokenID(s.Replaces), ReplacedBy: authority.TokenID(s.ReplacedBy), EndsAt: s.EndsAt, RetireWhenSeen: s.RetireWhenSeen,
				Contacted: authority.Contact{At: s.ContactedAt, By: s.ContactedBy, Note: s.ContactedNote},
			}
		})
}

// Receipts is the codec of receipts.
func Receipts() Codec[authority.Receipt] {
	return codecOf(
		func(r authority.Receipt) receiptForm {
			return receiptForm{Key: r.Key, TokenID: string(r.TokenID), Request: r.Request, At: utc(r.At)}
		},
		func(s receiptForm) authority.Receipt {
			return authority.Receipt{Key: s.Key, TokenID: authority.TokenID(s.TokenID), Request: s.Request, At: s.At}
		})
}

// Keys is the codec of key records.
func Keys() Codec[authority.Key] {
	return codecOf(
		func(k authority.Key) keyForm {
			return keyForm{
				ID: string(k.ID), Name: k.Name, Algorithm: k.Algorithm, State: string(k.State), CreatedAt: utc(k.CreatedAt),
				CurrentSince: utc(k.CurrentSince), Until: utc(k.Until), RetiredAt: utc(k.RetiredAt),
				Hold: k.Hold, TrialUntil: utc(k.TrialUntil), Reason: k.Reason, Sealed: k.Sealed,
			}
		},
		func(s keyForm) authority.Key {
			return authority.Key{
				ID: authority.KeyID(s.ID), Name: s.Name, Algorithm: s.Algorithm, State: authority.KeyState(s.State), CreatedAt: s.CreatedAt,
				CurrentSince: s.CurrentSince, Until: s.Until, RetiredAt: s.RetiredAt,
				Hold: s.Hold, TrialUntil: s.TrialUntil, Reason: s.Reason, Sealed: s.Sealed,
			}
		})
}

// Admins is the codec of administrators.
func Admins() Codec[authority.Admin] {
	return codecOf(
		func(a authority.Admin) adminForm {
			return adminForm{a.Name, a.PasswordHash, utc(a.CreatedAt), a.CreatedBy, utc(a.PasswordChangedAt)}
		},
		func(s adminForm) authority.Admin { return authority.Admin(s) })
}

// Logins is the codec of logins.
func Logins() Codec[authority.Login] {
	return codecOf(
		func(l authority.Login) loginForm {
			return loginForm{
				ID: string(l.ID), Admin: l.Admin, CreatedAt: utc(l.CreatedAt), AuthenticatedAt: utc(l.AuthenticatedAt),
				ExpiresAt: utc(l.ExpiresAt), From: l.From, KeyID: string(l.KeyID), Generation: l.Generation,
			}
		},
		func(s loginForm) authority.Login {
			return authority.Login{
				ID: authority.LoginID(s.ID), Admin: s.Admin, CreatedAt: s.CreatedAt, AuthenticatedAt: s.AuthenticatedAt,
				ExpiresAt: s.ExpiresAt, From: s.From, KeyID: authority.KeyID(s.KeyID), Generation: s.Generation,
			}
		})
}

// Throttles is the codec of throttles.
func Throttles() Codec[authority.Throttle] {
	return codecOf(
		func(t authority.Throttle) throttleForm {
			return throttleForm{t.Name, t.Failures, t.Total, utc(t.LastAt), utc(t.PausedUntil), t.Known}
		},
		func(s throttleForm) authority.Throttle { return authority.Throttle(s) })
}

// Systems is the codec of the System record.
func Systems() Codec[authority.System] {
	return codecOf(
		func(s authority.System) systemForm {
			return systemForm{s.Generation, utc(s.ResetAt), s.SetupDigest, utc(s.SetupExpires), s.CursorKey}
		},
		func(s systemForm) authority.System { return authority.System(s) })
}

// Events is the codec of audit events.
func Events() Codec[authority.Event] {
	return codecOf(
		func(e authority.Event) eventForm {
			return eventForm{
				Seq: e.Seq, At: utc(e.At), ActorKind: e.Actor.Kind, Actor: e.Actor.Name, Action: e.Action, Target: e.Target, Label: e.Label,
				From: e.From, Outcome: e.Outcome, RequestID: e.RequestID, Detail: e.Detail, Hash: e.Hash,
			}
		},
		func(s eventForm) authority.Event {
			return authority.Event{
				Seq: s.Seq, At: s.At, Actor: authority.Actor{Kind: s.ActorKind, Name: s.Actor}, Action: s.Action, Target: s.Target, Label: s.Label,
				From: s.From, Outcome: s.Outcome, RequestID: s.RequestID, Detail: s.Detail, Hash: s.Hash,
			}
		})
}

// Printable copies an event with text that JSON can hold: what is hashed is what
// is stored.
func Printable(e authority.Event) authority.Event {
	e = e.Clone()
	for _, s := range []*string{
		&e.Actor.Kind, &e.Actor.Name, &e.Action, &e.Target, &e.Label, &e.From, &e.Outcome, &e.RequestID,
	} {
		*s = valid(*s)
	}
	detail := make(map[string]string, len(e.Detail))
	for k, v := range e.Detail {
		detail[valid(k)] = valid(v)
	}
	if e.Detail != nil {
		e.Detail = detail
	}
	e.At = e.At.UTC()
	return e
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
