package authority_test

import (
	"testing"

	"mintmark/internal/authority"
)

func TestAnOwnerEndsTheTokensOfItsClientIDAndNoOther(t *testing.T) {
	h := newHouse(t)
	own := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	sister := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "admin"}).ID
	foreign := h.issue(t, authority.TokenRequest{ClientID: "ci2", Role: "user"}).ID
	origin := authority.Origin{From: "10.2.0.14", RequestID: "req_7"}
	for _, role := range []authority.Role{authority.RoleUser, authority.RoleVerifier, authority.RoleAdmin} {
		caller := authority.TokenCaller(own, "ci", role, origin)
		for _, id := range []authority.TokenID{foreign, "tok_00000000000000000000000000"} {
			wantKind(t, h.RevokeOwn(t.Context(), caller, id), authority.NotFound, "token.not_found")
		}
	}
	if view, err := h.Token(t.Context(), operator(), foreign); err != nil || view.State != authority.StateActive {
		t.Errorf("the token of another client ID is %s, %v", view.State, err)
	}
	caller := authority.TokenCaller(own, "ci", authority.RoleUser, origin)
	for _, id := range []authority.TokenID{sister, own} {
		for range 2 {
			if err := h.RevokeOwn(t.Context(), caller, id); err != nil {
				t.Fatal(err)
			}
		}
		view, err := h.Token(t.Context(), operator(), id)
		if err != nil || view.State != authority.StateDeleted || view.DeletedBy != "ci" || view.Leaked {
			t.Errorf("%s by %q, leaked %v, %v", view.State, view.DeletedBy, view.Leaked, err)
		}
	}
	page, err := h.Audit(t.Context(), operator(), authority.AuditQuery{Action: "token.deleted"})
	if err != nil || len(page.Events) != 2 {
		t.Fatalf("%d events, %v", len(page.Events), err)
	}
	for i, id := range []authority.TokenID{own, sister} {
		e := page.Events[i]
		if e.Target != string(id) || e.Actor != (authority.Actor{Kind: "token", Name: "ci"}) || e.From != "10.2.0.14" || e.RequestID != "req_7" {
			t.Errorf("event %+v", e)
		}
	}
	if _, err := h.RestoreToken(t.Context(), operator(), sister); err != nil {
		t.Errorf("an administrator cannot undo it: %v", err)
	}
}

func TestAnOwnersDeleteLeavesALeakedOneFinal(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	if _, err := h.RevokeToken(t.Context(), operator(), id, true); err != nil {
		t.Fatal(err)
	}
	if err := h.RevokeOwn(t.Context(), authority.TokenCaller("tok_x", "ci", authority.RoleUser, authority.Origin{}), id); err != nil {
		t.Fatal(err)
	}
	_, err := h.RestoreToken(t.Context(), operator(), id)
	wantKind(t, err, authority.Conflict, "token.deleted_for_good")
}

func TestOnlyATokenIsAnOwner(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	for name, caller := range map[string]authority.Caller{
		"nobody": nobody(), "zero": {}, "operator": operator(), "a token of nobody": authority.TokenCaller("tok_x", "", authority.RoleAdmin, authority.Origin{}),
		"a login of that name": authority.LoginCaller("lgn_x", "ci", h.now(), authority.Origin{}),
	} {
		t.Run(name, func(t *testing.T) {
			wantKind(t, h.RevokeOwn(t.Context(), caller, id), authority.Unauthenticated, "token.missing")
		})
	}
}
