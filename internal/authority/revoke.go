package authority

import "context"

// RevokeToken deletes a token: it is refused everywhere on this node before
// this returns. leaked deletes for good. It is idempotent; a later leaked
// delete makes an earlier one final.
func (a *Authority) RevokeToken(ctx context.Context, c Caller, id TokenID, leaked bool) (TokenView, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenView{}, err
	}
	t, err := a.revoke(ctx, c, id, leaked, "")
	if err != nil {
		return TokenView{}, err
	}
	return a.viewOf(ctx, t)
}

// RevokeOwn deletes a token in the name of its owner (RFC 7009 section 2.1): who
// calls with a token may end it, and any other of the same client ID, whatever
// the roles are. A token of another client ID is as unknown as one that is not
// there. Like any delete it holds before this returns, is idempotent, and can be
// undone by an administrator.
func (a *Authority) RevokeOwn(ctx context.Context, c Caller, id TokenID) error {
	if c.token == "" || c.actor.Name == "" {
		return fail(Unauthenticated, "token.missing", "Send an API token.")
	}
	_, err := a.revoke(ctx, c, id, false, c.actor.Name)
	return err
}

// revoke deletes a token of a client ID, or of any when owner is "".
func (a *Authority) revoke(ctx context.Context, c Caller, id TokenID, leaked bool, owner string) (Token, error) {
	now := a.second()
	return a.changeToken(ctx, c, id, func(_ Tx, t *Token, _ System) (string, error) {
		if owner != "" && t.ClientID != owner {
			return "", noToken(NotFound)
		}
		if !t.DeletedAt.IsZero() && (t.Leaked || !leaked) {
			return "", nil
		}
		if t.DeletedAt.IsZero() {
			t.DeletedAt, t.DeletedBy = now, c.actor.Name
		}
		t.Leaked = leaked
		return "token.deleted", nil
	})
}
