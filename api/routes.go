package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// SignIn exchanges a name and a password for a login token.
func (c *Client) SignIn(ctx context.Context, in Credentials) (SignedIn, error) {
	var out SignedIn
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/signIn", in: in, out: &out})
}

// SignOut ends the login that the client's token belongs to.
func (c *Client) SignOut(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodPost, path: "api/v1/signOut"})
}

// Whoami answers who the client's token speaks for.
func (c *Client) Whoami(ctx context.Context) (Identity, error) {
	var out Identity
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/whoami", out: &out})
}

// Tokens lists one page of tokens.
func (c *Client) Tokens(ctx context.Context, q TokenQuery) (TokenList, error) {
	v := make(url.Values)
	put(v, "q", q.Text)
	put(v, "role", q.Role)
	put(v, "state", q.State)
	put(v, "tag", q.Tag)
	put(v, "client_id", q.ClientID)
	put(v, "expiring", q.Expiring)
	put(v, "sort", q.Sort)
	put(v, "cursor", q.Cursor)
	if q.Descending {
		v.Set("dir", "desc")
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out TokenList
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/tokens", query: v, out: &out})
}

// FindToken resolves what people type for a token: its id, a prefix of it that
// only one token has, or a client ID that only one token has; with deleted,
// among the deleted ones.
func (c *Client) FindToken(ctx context.Context, name string, deleted bool) (Token, error) {
	var out Token
	if len(name) > MaxName {
		// Nothing that long is a name; it may be a token, which no URL may hold.
		return out, &Error{Code: "token.not_found", Status: http.StatusNotFound, Title: "Not Found", Detail: "There is no token with that id or client ID."}
	}
	v := url.Values{"name": {name}}
	if deleted {
		v.Set("deleted", "true")
	}
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/tokens/find", query: v, out: &out})
}

// MaxName is the length of the longest name that a token can be found by.
const MaxName = 64

// CreateToken makes a token. With an idempotency key a repeated call answers as
// the first did.
func (c *Client) CreateToken(ctx context.Context, in CreateToken, idempotencyKey string) (IssuedToken, error) {
	var out IssuedToken
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/tokens", in: in, out: &out, idempotencyKey: idempotencyKey})
}

// PreviewToken answers the record that a create would make, without an id, and
// makes nothing.
func (c *Client) PreviewToken(ctx context.Context, in CreateToken) (Token, error) {
	var out Token
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/tokens/preview", in: in, out: &out})
}

// Token answers one record.
func (c *Client) Token(ctx context.Context, id string) (Token, error) {
	var out Token
	return out, c.do(ctx, call{method: http.MethodGet, path: tokenPath(id), out: &out})
}

// DeleteToken revokes a token; leaked deletes it for good.
func (c *Client) DeleteToken(ctx context.Context, id string, leaked bool) error {
	v := make(url.Values)
	if leaked {
		v.Set("leaked", "true")
	}
	return c.do(ctx, call{method: http.MethodDelete, path: tokenPath(id), query: v})
}

// RevealToken answers a token's text again.
func (c *Client) RevealToken(ctx context.Context, id string) (IssuedToken, error) {
	var out IssuedToken
	return out, c.do(ctx, call{method: http.MethodPost, path: tokenPath(id) + "/reveal", out: &out})
}

// RestoreToken undoes a delete within its grace.
func (c *Client) RestoreToken(ctx context.Context, id string) (Token, error) {
	var out Token
	return out, c.do(ctx, call{method: http.MethodPost, path: tokenPath(id) + "/restore", out: &out})
}

// ReplaceToken gives a token a successor and answers that with its text; the old
// one lives on for an overlap.
func (c *Client) ReplaceToken(ctx context.Context, id string, in ReplaceToken) (IssuedToken, error) {
	var out IssuedToken
	return out, c.do(ctx, call{method: http.MethodPost, path: tokenPath(id) + "/replace", in: in, out: &out})
}

// UndoReplace takes a replacement back while its overlap lasts, and answers the
// old token, whose id it is given. It is refused of a token without a successor.
func (c *Client) UndoReplace(ctx context.Context, id string) (Token, error) {
	var out Token
	return out, c.do(ctx, call{method: http.MethodDelete, path: tokenPath(id) + "/replace", out: &out})
}

// MarkContacted notes that whoever uses a token was told to move.
func (c *Client) MarkContacted(ctx context.Context, id string, in MarkContacted) (Token, error) {
	var out Token
	return out, c.do(ctx, call{method: http.MethodPost, path: tokenPath(id) + "/contacted", in: in, out: &out})
}

// Explain answers every check of a token.
func (c *Client) Explain(ctx context.Context, in Explain) (Findings, error) {
	var out Findings
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/explain", in: in, out: &out})
}

// Keys lists every key.
func (c *Client) Keys(ctx context.Context) (KeyList, error) {
	var out KeyList
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/keys", out: &out})
}

// RotateKeys lets the next key sign and accepts the one before for an overlap.
func (c *Client) RotateKeys(ctx context.Context, in RotateKeys) (KeysRotated, error) {
	var out KeysRotated
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/keys/rotate", in: in, out: &out})
}

// Evidence answers who still depends on a key, which is named by its kid or its
// name.
func (c *Client) Evidence(ctx context.Context, key string, q EvidenceQuery) (Evidence, error) {
	v := make(url.Values)
	put(v, "state", q.State)
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out Evidence
	return out, c.do(ctx, call{method: http.MethodGet, path: keyPath(key) + "/evidence", query: v, out: &out})
}

// ExtendKey lets the overlap of a previous key end later.
func (c *Client) ExtendKey(ctx context.Context, key string, in ExtendKey) (Key, error) {
	var out Key
	return out, c.do(ctx, call{method: http.MethodPost, path: keyPath(key) + "/extend", in: in, out: &out})
}

// TrialStop refuses tokens under a previous key for a while.
func (c *Client) TrialStop(ctx context.Context, key string, in TrialStop) (Key, error) {
	var out Key
	return out, c.do(ctx, call{method: http.MethodPost, path: keyPath(key) + "/trial-stop", in: in, out: &out})
}

// EndTrial accepts tokens under a key on trial again at once.
func (c *Client) EndTrial(ctx context.Context, key string) (Key, error) {
	var out Key
	return out, c.do(ctx, call{method: http.MethodDelete, path: keyPath(key) + "/trial-stop", out: &out})
}

// RetireKey ends the overlap of a previous key for good.
func (c *Client) RetireKey(ctx context.Context, key string) (Key, error) {
	var out Key
	return out, c.do(ctx, call{method: http.MethodPost, path: keyPath(key) + "/retire", out: &out})
}

// ResetKeys ends every token and every login.
func (c *Client) ResetKeys(ctx context.Context, in ResetKeys) (KeysReset, error) {
	var out KeysReset
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/keys/reset", in: in, out: &out})
}

// ResealKeys seals the secrets of a fleet's keys under the first key-encryption key
// of the node's file.
func (c *Client) ResealKeys(ctx context.Context) (KeysResealed, error) {
	var out KeysResealed
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/keys/reseal", out: &out})
}

// Audit answers one page of the audit log.
func (c *Client) Audit(ctx context.Context, q EventQuery) (EventList, error) {
	v := make(url.Values)
	put(v, "actor", q.Actor)
	put(v, "target", q.Target)
	put(v, "action", q.Action)
	put(v, "outcome", q.Outcome)
	putTime(v, "since", q.Since)
	putTime(v, "until", q.Until)
	put(v, "cursor", q.Cursor)
	if q.Before != 0 {
		v.Set("before", strconv.FormatUint(q.Before, 10))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out EventList
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/audit", query: v, out: &out})
}

// Status tells how the server stands.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/status", out: &out})
}

// Admins lists the administrators.
func (c *Client) Admins(ctx context.Context) (AdminList, error) {
	var out AdminList
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/admins", out: &out})
}

// CreateAdmin adds an administrator.
func (c *Client) CreateAdmin(ctx context.Context, in Credentials) (Admin, error) {
	var out Admin
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/admins", in: in, out: &out})
}

// ResetPassword gives an administrator a new password and ends its logins.
func (c *Client) ResetPassword(ctx context.Context, name string, in NewPassword) error {
	return c.do(ctx, call{method: http.MethodPost, path: "api/v1/admins/" + url.PathEscape(name) + "/password", in: in})
}

// DeleteAdmin removes an administrator, who is not the last one, and ends its
// logins.
func (c *Client) DeleteAdmin(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "api/v1/admins/" + url.PathEscape(name)})
}

// UnlockAdmin lifts the pause after failed sign-ins.
func (c *Client) UnlockAdmin(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodPost, path: "api/v1/admins/" + url.PathEscape(name) + "/unlock"})
}

// Config answers every property and what is staged.
func (c *Client) Config(ctx context.Context) (Configuration, error) {
	var out Configuration
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/config", out: &out})
}

// SetProperty stages a property; nothing runs differently yet.
func (c *Client) SetProperty(ctx context.Context, name, value string) (Staged, error) {
	var out Staged
	return out, c.do(ctx, call{method: http.MethodPut, path: propertyPath(name), in: Value{value}, out: &out})
}

// UnsetProperty stages that a property is unset.
func (c *Client) UnsetProperty(ctx context.Context, name string) (Staged, error) {
	var out Staged
	return out, c.do(ctx, call{method: http.MethodDelete, path: propertyPath(name), out: &out})
}

// ConfigDiff answers what is staged, validated together.
func (c *Client) ConfigDiff(ctx context.Context) (DifferenceList, error) {
	var out DifferenceList
	return out, c.do(ctx, call{method: http.MethodGet, path: "api/v1/config/diff", out: &out})
}

// ConfigApply applies what is staged on top of a revision; 0: whatever the
// revision. It is for good.
func (c *Client) ConfigApply(ctx context.Context, revision uint64) (Applied, error) {
	return c.ConfigApplyAs(ctx, Apply{Revision: revision})
}

// ConfigApplyAs is ConfigApply with all that can be asked for.
func (c *Client) ConfigApplyAs(ctx context.Context, a Apply) (Applied, error) {
	var out Applied
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/config/apply", in: a, out: &out})
}

// ConfigConfirm keeps a revision that is on trial; 0: whatever is.
func (c *Client) ConfigConfirm(ctx context.Context, revision uint64) (Applied, error) {
	var out Applied
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/config/confirm", in: Revision{revision}, out: &out})
}

// ConfigExtend gives what is on trial more time.
func (c *Client) ConfigExtend(ctx context.Context, e ExtendTrial) (Applied, error) {
	var out Applied
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/config/extend", in: e, out: &out})
}

// ConfigRevert goes back from a revision that is on trial to the one before; 0:
// whatever is.
func (c *Client) ConfigRevert(ctx context.Context, revision uint64) (Applied, error) {
	var out Applied
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/config/revert", in: Revision{revision}, out: &out})
}

// ConfigDiscard drops what is staged.
func (c *Client) ConfigDiscard(ctx context.Context) (Discarded, error) {
	var out Discarded
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/config/discard", out: &out})
}

// ConfigRollback applies an earlier revision again; 0: the newest that differs and
// was not reverted. What was staged is dropped; after an error all is as it was.
func (c *Client) ConfigRollback(ctx context.Context, revision uint64) (Applied, error) {
	return c.ConfigRollbackAs(ctx, Rollback{Revision: revision})
}

// ConfigRollbackAs is ConfigRollback with all that can be asked for.
func (c *Client) ConfigRollbackAs(ctx context.Context, r Rollback) (Applied, error) {
	var out Applied
	return out, c.do(ctx, call{method: http.MethodPost, path: "api/v1/config/rollback", in: r, out: &out})
}

// KeySet answers the public keys, a JWK Set (RFC 7517 section 5).
func (c *Client) KeySet(ctx context.Context) ([]byte, error) {
	var out []byte
	return out, c.do(ctx, call{method: http.MethodGet, path: ".well-known/jwks.json", out: &out})
}

// Metadata describes the authority to OAuth libraries.
func (c *Client) Metadata(ctx context.Context) (Metadata, error) {
	var out Metadata
	return out, c.do(ctx, call{method: http.MethodGet, path: ".well-known/oauth-authorization-server", out: &out})
}

// Alive asks whether the process answers.
func (c *Client) Alive(ctx context.Context) (Health, error) {
	var out Health
	return out, c.do(ctx, call{method: http.MethodGet, path: "healthz", out: &out})
}

// Ready asks whether the server answers verdicts.
func (c *Client) Ready(ctx context.Context) (Health, error) {
	var out Health
	return out, c.do(ctx, call{method: http.MethodGet, path: "readyz", out: &out})
}

// Description answers the OpenAPI document.
func (c *Client) Description(ctx context.Context) ([]byte, error) {
	var out []byte
	return out, c.do(ctx, call{method: http.MethodGet, path: "openapi.json", out: &out})
}

func tokenPath(id string) string { return "api/v1/tokens/" + url.PathEscape(id) }

func keyPath(key string) string { return "api/v1/keys/" + url.PathEscape(key) }

func propertyPath(name string) string { return "api/v1/config/properties/" + url.PathEscape(name) }

func put(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

func putTime(v url.Values, name string, at time.Time) {
	if !at.IsZero() {
		v.Set(name, at.UTC().Format(time.RFC3339Nano))
	}
}
