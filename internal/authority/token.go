package authority

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TokenRequest is what a new token is asked to be. Text members are checked
// here and nowhere else.
type TokenRequest struct {
	ClientID         string
	Role             string
	Tags             []string
	Audience         []string // empty: the policy's
	ExpiresAt        time.Time
	Lifetime         time.Duration // used when ExpiresAt is zero; 0: the policy's default
	Never            bool          // no end; excludes the two above
	Description      string
	Contact          string
	AllowedAddresses []string
}

// Issued is a token with its text.
type Issued struct {
	TokenView
	Text Secret
}

// IssueToken makes a token: the record lasts before anything is signed, so a
// lost answer leaves a visible record that can be revoked. idempotencyKey may
// be empty; with one, a repeat within a day answers as the first call did, also
// when policy has become stricter since, and the same key for another request is
// a Conflict.
func (a *Authority) IssueToken(ctx context.Context, c Caller, r TokenRequest, idempotencyKey string) (Issued, error) {
	if err := c.mustAdmin(); err != nil {
		return Issued{}, err
	}
	if len(idempotencyKey) > 255 || !printable(idempotencyKey) {
		return Issued{}, fail(Invalid, "idempotency_key.form", "An Idempotency-Key has at most 255 printable characters.")
	}
	policy, now := a.Policy(), a.second()
	draft, refused := policy.draft(r, now)
	if refused != nil && idempotencyKey == "" {
		return Issued{}, refused
	}
	random, err := randomText(a.Rand, idLength)
	if err != nil {
		return Issued{}, err
	}
	draft.ID, draft.CreatedAt, draft.CreatedBy = TokenID(tokenPrefix+random), now, c.actor.Name
	receipt := newReceipt(c, r, idempotencyKey, draft)
	a.keys.RLock()
	defer a.keys.RUnlock()
	var t Token
	err = a.Store.Update(ctx, func(tx Tx) error {
		t, err = repeated(tx, receipt, now)
		switch {
		case err != nil:
			return err
		case t.ID != "": // its text is handed out again, under the key that signs now
			if err := signedNow(tx, &t); err != nil {
				return err
			}
			return tx.Audit().Append(tokenEvent(c, now, "token.copied", &t, map[string]string{"repeat": "true"}))
		case refused != nil:
			return refused
		}
		t = draft.Clone()
		return a.insertToken(tx, c, &t, receipt)
	})
	if err != nil {
		return Issued{}, err
	}
	return a.issued(ctx, t)
}

// issued signs a token that is stored. One that has ended in the meantime, for
// one by a reset, is not signed any more.
func (a *Authority) issued(ctx context.Context, t Token) (Issued, error) {
	text, mintErr := a.Custody.Mint(t.KeyID, TypeToken, t.claims())
	view, err := a.read(ctx, t.ID)
	switch {
	case err != nil:
		return Issued{}, err
	case view.State != StateActive:
		return Issued{}, notLive(&view.Token, view.State)
	}
	return Issued{view, text}, mintErr
}

// signedNow lets the current key sign a token that is stored.
func signedNow(tx Tx, t *Token) error {
	key, err := currentKey(tx)
	if err != nil || t.KeyID == key.ID {
		return err
	}
	t.KeyID = key.ID
	return tx.Tokens().Put(*t)
}

func (a *Authority) insertToken(tx Tx, c Caller, t *Token, receipt Receipt) error {
	s, err := system(tx)
	if err != nil {
		return err
	}
	key, err := currentKey(tx)
	if err != nil {
		return err
	}
	t.KeyID, t.Generation = key.ID, s.Generation
	if err := tx.Tokens().Insert(*t); err != nil {
		return err
	}
	if receipt.Key != "" {
		if err := tx.Receipts().Insert(receipt); err != nil {
			return err
		}
	}
	detail := map[string]string{"role": string(t.Role), "tags": strings.Join(t.Tags, ","), "expires_at": timeOrNever(t.ExpiresAt)}
	if t.Replaces != "" {
		detail["replaces"] = string(t.Replaces)
	}
	return tx.Audit().Append(tokenEvent(c, t.CreatedAt, "token.created", t, detail))
}

// draft turns a request into a record without id, or answers every fault.
func (p Policy) draft(r TokenRequest, now time.Time) (Token, error) {
	var faults []FieldError
	note := func(f *FieldError) {
		if f != nil {
			faults = append(faults, *f)
		}
	}
	t := Token{Issuer: p.Issuer, Audience: p.Audience}
	var err error
	if t.ClientID, err = ParseClientID(r.ClientID); err != nil {
		var e *Error
		errors.As(err, &e)
		faults = append(faults, e.Fields...)
	}
	if t.Role, err = ParseRole(r.Role); err != nil {
		note(&FieldError{"role", "role.unknown", err.Error()})
	}
	var fault *FieldError
	t.Tags, fault = parseTags(r.Tags)
	note(fault)
	if len(t.Tags) > 0 && t.Role != RoleUser && t.Role != "" {
		note(&FieldError{"tags", "tags.role", "Only a user token carries tags."})
	}
	if len(r.Audience) > 0 {
		t.Audience, fault = parseAudience(r.Audience)
		note(fault)
	}
	t.Description, fault = parseText("description", r.Description, maxDescription)
	note(fault)
	t.Contact, fault = parseText("contact", r.Contact, maxContact)
	note(fault)
	t.AllowedAddresses, fault = parseAddresses(r.AllowedAddresses)
	note(fault)
	t.ExpiresAt, fault = p.expiry(r, now)
	note(fault)
	if len(faults) > 0 {
		return Token{}, invalid(faults...)
	}
	return t, nil
}

// expiry decides a token's end. Nothing near zero ever becomes "never".
func (p Policy) expiry(r TokenRequest, now time.Time) (time.Time, *FieldError) {
	given := 0
	for _, set := range []bool{r.Never, r.Lifetime != 0, !r.ExpiresAt.IsZero()} {
		if set {
			given++
		}
	}
	if given > 1 {
		return time.Time{}, &FieldError{"lifetime", "lifetime.twice", "Give either a lifetime or an end, not both."}
	}
	if r.Never {
		if !p.NeverExpire || p.MaxLifetime > 0 {
			return time.Time{}, &FieldError{"lifetime", "lifetime.never", "Policy does not allow tokens that never expire."}
		}
		return time.Time{}, nil
	}
	end, field := r.ExpiresAt.UTC().Truncate(time.Second), "expires_at"
	if r.ExpiresAt.IsZero() {
		lifetime := r.Lifetime
		if lifetime == 0 {
			lifetime = p.DefaultLifetime
		}
		end, field = now.Add(lifetime).Truncate(time.Second), "lifetime"
	}
	switch {
	case !end.After(now):
		return time.Time{}, &FieldError{field, field + ".past", "The end of a token lies in the future."}
	case end.Year() > 9999:
		return time.Time{}, &FieldError{field, field + ".range", "The end of a token lies before the year 10000."}
	case p.MaxLifetime > 0 && end.After(now.Add(p.MaxLifetime)):
		return time.Time{}, &FieldError{
			field, field + ".policy",
			"Policy allows " + daysOrLess(p.MaxLifetime, now) + ".",
		}
	}
	return end, nil
}

func daysOrLess(d time.Duration, now time.Time) string {
	const day = 24 * time.Hour
	if d < day {
		return d.String() + " at most"
	}
	return fmt.Sprintf("%d days at most (%s)", d/day, now.Add(d).Format("2 Jan 2006"))
}

// claims is what t says when it is signed. Only these members are signed, so
// the same record always gives the same bytes under the same key.
func (t *Token) claims() Claims {
	return Claims{
		Issuer: t.Issuer, Subject: t.ClientID, ClientID: t.ClientID, Audience: t.Audience, ID: string(t.ID),
		IssuedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Role: t.Role, Tags: t.Tags,
	}
}

// RevealToken answers the token's text again, signed by the current key. Every
// reveal is an event.
func (a *Authority) RevealToken(ctx context.Context, c Caller, id TokenID) (Issued, error) {
	if err := c.mustAdmin(); err != nil {
		return Issued{}, err
	}
	policy, now := a.Policy(), a.second()
	switch policy.Copy {
	case CopyNever:
		return Issued{}, fail(Forbidden, "token.copy_forbidden", "Policy shows a token once, when it is created. Replace it to get a new one.")
	case CopyReauth:
		if c.token != "" {
			return Issued{}, fail(Forbidden, "token.copy_forbidden", "Policy asks for a password before a token is copied; an API token cannot give one.")
		}
		if err := c.mustBeRecent(now, policy.StepUp); err != nil {
			return Issued{}, err
		}
	}
	a.keys.RLock()
	defer a.keys.RUnlock()
	t, err := a.changeToken(ctx, c, id, func(tx Tx, t *Token, s System) (string, error) {
		if state := t.State(now, s.Generation); state != StateActive {
			return "", notLive(t, state)
		}
		key, err := currentKey(tx)
		if err != nil {
			return "", err
		}
		t.KeyID = key.ID
		return "token.copied", nil
	})
	if err != nil {
		return Issued{}, err
	}
	return a.issued(ctx, t)
}

// RestoreToken undoes a delete within its grace.
func (a *Authority) RestoreToken(ctx context.Context, c Caller, id TokenID) (TokenView, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenView{}, err
	}
	now, policy := a.second(), a.Policy()
	if err := c.mustBeRecent(now, policy.StepUp); err != nil {
		return TokenView{}, err
	}
	t, err := a.changeToken(ctx, c, id, func(_ Tx, t *Token, s System) (string, error) {
		switch {
		case t.State(now, s.Generation) == StateReplaced:
			return "", notLive(t, StateReplaced)
		case t.DeletedAt.IsZero() && t.Generation == s.Generation:
			return "", nil
		case t.Generation != s.Generation:
			return "", fail(Conflict, "token.revoked", "A reset of the signing secret ended this token; it cannot be restored.")
		case t.Leaked:
			return "", fail(Conflict, "token.deleted_for_good", "This token was deleted for good because it may have leaked.")
		case !now.Before(t.RestorableUntil(policy.RestoreGrace)):
			return "", fail(Conflict, "token.restore_ended", "The time to restore this token is over.")
		}
		t.DeletedAt, t.DeletedBy = time.Time{}, ""
		return "token.restored", nil
	})
	if err != nil {
		return TokenView{}, err
	}
	return a.viewOf(ctx, t)
}

// changeToken runs one change of one token and records its event; an empty
// action means that nothing had to be done.
func (a *Authority) changeToken(ctx context.Context, c Caller, id TokenID, change func(Tx, *Token, System) (string, error)) (Token, error) {
	var t Token
	err := a.Store.Update(ctx, func(tx Tx) error {
		var err error
		if t, err = tx.Tokens().Get(id); err != nil {
			return noToken(err)
		}
		s, err := system(tx)
		if err != nil {
			return err
		}
		action, err := change(tx, &t, s)
		if err != nil || action == "" {
			return err
		}
		if err := tx.Tokens().Put(t); err != nil {
			return err
		}
		return tx.Audit().Append(tokenEvent(c, a.Now().UTC(), action, &t, t.detail(action)))
	})
	return t, err
}

// detail is what the event of a change says of it.
func (t *Token) detail(action string) map[string]string {
	switch {
	case action == "token.replaced" || action == "token.handed_over":
		detail := map[string]string{"successor": string(t.ReplacedBy), "ends_at": timeOrNever(t.EndsAt)}
		if t.RetireWhenSeen {
			detail["retire_when_seen"] = "true"
		}
		return detail
	case action == "token.contacted" && t.Contacted.Note != "":
		return map[string]string{"note": t.Contacted.Note}
	case t.Leaked:
		return map[string]string{"leaked": "true"}
	}
	return nil
}

// PurgeDeleted removes records that were deleted, or replaced, longer than 30
// days ago, and receipts that have ended. Nothing is removed while it can still be restored.
func (a *Authority) PurgeDeleted(ctx context.Context) error {
	now := a.second()
	keep := max(30*24*time.Hour, a.Policy().RestoreGrace)
	over := func(t *Token) bool {
		ended := t.DeletedAt
		if ended.IsZero() && a.pulse.settled() {
			ended = t.EndsAt
		}
		return !ended.IsZero() && now.Sub(ended) > keep
	}
	// Nobody waits while all are looked at.
	var gone []TokenID
	err := a.Store.View(ctx, func(tx Tx) error {
		gone = nil
		for t, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			if over(&t) {
				gone = append(gone, t.ID)
			}
		}
		return nil
	})
	for ids := range slices.Chunk(gone, purgedAtOnce) {
		if err != nil {
			return err
		}
		err = a.Store.Update(ctx, func(tx Tx) error { return purge(tx, ids, over) })
	}
	if err != nil {
		return err
	}
	return a.Store.Update(ctx, func(tx Tx) error { return expireReceipts(tx, now) })
}

const purgedAtOnce = 1000

// purge deletes those that are still over.
func purge(tx Tx, ids []TokenID, over func(*Token) bool) error {
	for _, id := range ids {
		t, err := tx.Tokens().Get(id)
		if KindOf(err) == NotFound && err != nil {
			continue
		}
		if err == nil && over(&t) {
			err = tx.Tokens().Delete(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func noToken(err error) error {
	if KindOf(err) == NotFound {
		return &Error{Kind: NotFound, Code: "token.not_found", Msg: "There is no token with that id.", Err: err}
	}
	return err
}

func notLive(t *Token, state TokenState) error {
	return fail(Conflict, "token."+string(state), "The token of "+t.ClientID+" is "+string(state)+".")
}

func tokenEvent(c Caller, at time.Time, action string, t *Token, detail map[string]string) Event {
	e := c.event(at, action)
	e.Target, e.Label, e.Detail = string(t.ID), t.ClientID, detail
	return e
}

func timeOrNever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

const receiptLife = 24 * time.Hour

func newReceipt(c Caller, r TokenRequest, key string, draft Token) Receipt {
	if key == "" {
		return Receipt{}
	}
	// Lengths are part of JSON text, so no two callers or requests share a digest.
	who, _ := json.Marshal([]string{c.actor.Kind, c.actor.Name, string(c.token), key})
	what, _ := json.Marshal(r)
	whoSum, whatSum := sha256.Sum256(who), sha256.Sum256(what)
	return Receipt{Key: hex.EncodeToString(whoSum[:]), TokenID: draft.ID, Request: whatSum[:], At: draft.CreatedAt}
}

// repeated answers the token that an earlier call with the same receipt made.
func repeated(tx Tx, r Receipt, now time.Time) (Token, error) {
	if r.Key == "" {
		return Token{}, nil
	}
	old, err := tx.Receipts().Get(r.Key)
	if KindOf(err) == NotFound && err != nil {
		return Token{}, nil
	}
	if err != nil {
		return Token{}, err
	}
	if now.Sub(old.At) > receiptLife {
		return Token{}, tx.Receipts().Delete(r.Key)
	}
	if string(old.Request) != string(r.Request) {
		return Token{}, fail(Conflict, "idempotency_key.reused", "This Idempotency-Key was used for another request.")
	}
	t, err := tx.Tokens().Get(old.TokenID)
	if err != nil {
		return Token{}, noToken(err)
	}
	s, err := system(tx)
	if err != nil {
		return Token{}, err
	}
	if state := t.State(now, s.Generation); state != StateActive {
		return Token{}, notLive(&t, state)
	}
	return t, nil
}

func expireReceipts(tx Tx, now time.Time) error {
	var old []string
	for r, err := range tx.Receipts().All() {
		if err != nil {
			return err
		}
		if now.Sub(r.At) > receiptLife {
			old = append(old, r.Key)
		}
	}
	for _, k := range old {
		if err := tx.Receipts().Delete(k); err != nil {
			return err
		}
	}
	return nil
}
