package authority_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func TestIssuedTokenIsListedWithEverythingChosen(t *testing.T) {
	h := newHouse(t)
	issued := h.issue(t, authority.TokenRequest{
		ClientID: " etl-nightly ", Role: "user", Tags: []string{"team:data", "env:prod"}, Lifetime: 12 * time.Hour,
		Description: "nightly load", Contact: "data@corp.example", AllowedAddresses: []string{"10.0.0.0/8", "192.0.2.7"},
	})
	list, err := h.Tokens(t.Context(), operator(), authority.ListRequest{})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("got %d items, %v", len(list.Items), err)
	}
	got := list.Items[0]
	if got.ClientID != "etl-nightly" || got.Role != authority.RoleUser || strings.Join(got.Tags, ",") != "team:data,env:prod" ||
		got.Description != "nightly load" || got.Contact != "data@corp.example" || len(got.AllowedAddresses) != 2 ||
		!got.ExpiresAt.Equal(h.now().Truncate(time.Second).Add(12*time.Hour)) || got.State != authority.StateActive {
		t.Errorf("got %+v", got)
	}
	if e := h.lastEvent(t); e.Action != "token.created" || e.Target != string(issued.ID) || e.Actor.Name != "root@tokens-01" || e.RequestID != "r1" {
		t.Errorf("event %+v", e)
	}
}

func TestRevealGivesTheSameBytes(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			h := newHouse(t)
			h.policy.Algorithm = alg
			if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
				t.Fatal(err)
			}
			issued := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "admin"})
			for range 3 {
				h.advance(time.Hour)
				again, err := h.RevealToken(t.Context(), operator(), issued.ID)
				if err != nil {
					t.Fatal(err)
				}
				if again.Text.Unsafe() != issued.Text.Unsafe() {
					t.Fatal("a reveal differs from the first issue")
				}
			}
			if e := h.lastEvent(t); e.Action != "token.copied" {
				t.Errorf("event %+v", e)
			}
		})
	}
}

func TestRefusesBadRequestsAndNamesTheField(t *testing.T) {
	h := newHouse(t)
	h.policy.MaxLifetime = 180 * 24 * time.Hour
	ok := authority.TokenRequest{ClientID: "ci", Role: "user"}
	tags := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("n:%d", i))
		}
		return out
	}
	for name, c := range map[string]struct {
		change func(*authority.TokenRequest)
		code   string
	}{
		"empty client id":       {func(r *authority.TokenRequest) { r.ClientID = "  " }, "client_id.empty"},
		"space in client id":    {func(r *authority.TokenRequest) { r.ClientID = "data team" }, "client_id.characters"},
		"long client id":        {func(r *authority.TokenRequest) { r.ClientID = strings.Repeat("a", 71) }, "client_id.too_long"},
		"client id with accent": {func(r *authority.TokenRequest) { r.ClientID = "caf\u00e9" }, "client_id.characters"},
		"client id starts bad":  {func(r *authority.TokenRequest) { r.ClientID = ".ci" }, "client_id.start"},
		"unknown role":          {func(r *authority.TokenRequest) { r.Role = "Admin" }, "role.unknown"},
		"tag without value":     {func(r *authority.TokenRequest) { r.Tags = []string{"team"} }, "tags.form"},
		"tag with comma":        {func(r *authority.TokenRequest) { r.Tags = []string{"team:a,b"} }, "tags.form"},
		"tag twice":             {func(r *authority.TokenRequest) { r.Tags = []string{"a:b", "a:b"} }, "tags.twice"},
		"21 tags":               {func(r *authority.TokenRequest) { r.Tags = tags(21) }, "tags.too_many"},
		"tags on admin":         {func(r *authority.TokenRequest) { r.Role, r.Tags = "admin", []string{"a:b"} }, "tags.role"},
		"lifetime over policy":  {func(r *authority.TokenRequest) { r.Lifetime = 181 * 24 * time.Hour }, "lifetime.policy"},
		"lifetime -1":           {func(r *authority.TokenRequest) { r.Lifetime = -1 }, "lifetime.past"},
		"lifetime 1ns":          {func(r *authority.TokenRequest) { r.Lifetime = 1 }, "lifetime.past"},
		"never under a cap":     {func(r *authority.TokenRequest) { r.Never = true }, "lifetime.never"},
		"end in the past":       {func(r *authority.TokenRequest) { r.ExpiresAt = h.now().Add(-time.Hour) }, "expires_at.past"},
		"both end and lifetime": {func(r *authority.TokenRequest) { r.ExpiresAt, r.Lifetime = h.now().Add(time.Hour), time.Hour }, "lifetime.twice"},
		"bad address":           {func(r *authority.TokenRequest) { r.AllowedAddresses = []string{"10.2.0.0/40"} }, "allowed_addresses.form"},
		"escape in description": {func(r *authority.TokenRequest) { r.Description = "\x1b[2J" }, "description.characters"},
		"long contact":          {func(r *authority.TokenRequest) { r.Contact = strings.Repeat("x", 121) }, "contact.too_long"},
		"audience with a quote": {func(r *authority.TokenRequest) { r.Audience = []string{`a"b`} }, "audience.form"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ok
			c.change(&r)
			_, err := h.IssueToken(t.Context(), operator(), r, "")
			wantKind(t, err, authority.Invalid, "request.invalid")
			if f := classed(t, err).Fields; len(f) != 1 || f[0].Code != c.code {
				t.Errorf("fields %+v, want %s", f, c.code)
			}
		})
	}
}

func TestDeleteIsIdempotentAndRestorableWithinItsGrace(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	for range 2 {
		view, err := h.RevokeToken(t.Context(), operator(), id, false)
		if err != nil || view.State != authority.StateDeleted {
			t.Fatalf("got %s, %v", view.State, err)
		}
	}
	if _, err := h.RevealToken(t.Context(), operator(), id); authority.KindOf(err) != authority.Conflict {
		t.Errorf("a deleted token was revealed: %v", err)
	}
	h.advance(59 * time.Minute)
	if view, err := h.RestoreToken(t.Context(), operator(), id); err != nil || view.State != authority.StateActive {
		t.Fatalf("got %s, %v", view.State, err)
	}
	if _, err := h.RevokeToken(t.Context(), operator(), id, false); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Hour)
	_, err := h.RestoreToken(t.Context(), operator(), id)
	wantKind(t, err, authority.Conflict, "token.restore_ended")
}

func TestLeakedTokenIsNeverRestored(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	if _, err := h.RevokeToken(t.Context(), operator(), id, false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RevokeToken(t.Context(), operator(), id, true); err != nil {
		t.Fatal(err)
	}
	_, err := h.RestoreToken(t.Context(), operator(), id)
	wantKind(t, err, authority.Conflict, "token.deleted_for_good")
}

func TestRepeatedCreateAnswersAsTheFirst(t *testing.T) {
	h := newHouse(t)
	r := authority.TokenRequest{ClientID: "ci", Role: "user"}
	first, err := h.IssueToken(t.Context(), operator(), r, "key-1")
	if err != nil {
		t.Fatal(err)
	}
	h.advance(time.Minute)
	again, err := h.IssueToken(t.Context(), operator(), r, "key-1")
	if err != nil || again.ID != first.ID || again.Text.Unsafe() != first.Text.Unsafe() {
		t.Fatalf("a repeat made %s, %v", again.ID, err)
	}
	r.Role = "admin"
	_, err = h.IssueToken(t.Context(), operator(), r, "key-1")
	wantKind(t, err, authority.Conflict, "idempotency_key.reused")
	h.advance(25 * time.Hour)
	if later, err := h.IssueToken(t.Context(), operator(), r, "key-1"); err != nil || later.ID == first.ID {
		t.Errorf("a day later: %s, %v", later.ID, err)
	}
}

// What a repeat asks for was allowed when it was asked for first.
func TestARepeatIsAnsweredWhateverPolicyAllowsNow(t *testing.T) {
	h := newHouse(t)
	r := authority.TokenRequest{ClientID: "ci", Role: "user", ExpiresAt: h.now().Add(12 * time.Hour)}
	first, err := h.IssueToken(t.Context(), operator(), r, "key-1")
	if err != nil {
		t.Fatal(err)
	}
	h.policy.MaxLifetime = time.Hour
	again, err := h.IssueToken(t.Context(), operator(), r, "key-1")
	if err != nil || again.ID != first.ID || again.Text.Unsafe() != first.Text.Unsafe() {
		t.Fatalf("a repeat made %s, %v", again.ID, err)
	}
	for _, key := range []string{"", "key-2"} {
		_, err = h.IssueToken(t.Context(), operator(), r, key)
		wantKind(t, err, authority.Invalid, "")
	}
	h.advance(12 * time.Hour)
	_, err = h.IssueToken(t.Context(), operator(), r, "key-1")
	wantKind(t, err, authority.Conflict, "token.expired")
	if records := h.tokenRecords(t); len(records) != 1 {
		t.Errorf("%d tokens", len(records))
	}
}

func TestOnlyAdminsReachTokens(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	origin := authority.Origin{From: "10.0.0.1"}
	for name, c := range map[string]struct {
		caller authority.Caller
		want   authority.Kind
	}{
		"nobody":   {authority.Nobody(origin), authority.Unauthenticated},
		"zero":     {authority.Caller{}, authority.Unauthenticated},
		"user":     {authority.TokenCaller(id, "ci", authority.RoleUser, origin), authority.Forbidden},
		"verifier": {authority.TokenCaller(id, "ci", authority.RoleVerifier, origin), authority.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			calls := map[string]func() error{
				"issue":   func() error { _, err := h.IssueToken(ctx, c.caller, authority.TokenRequest{}, ""); return err },
				"list":    func() error { _, err := h.Tokens(ctx, c.caller, authority.ListRequest{}); return err },
				"find":    func() error { _, err := h.FindToken(ctx, c.caller, "ci", false); return err },
				"counts":  func() error { _, err := h.TokenCounts(ctx, c.caller); return err },
				"logins":  func() error { _, err := h.Logins(ctx, c.caller); return err },
				"token":   func() error { _, err := h.Token(ctx, c.caller, id); return err },
				"reveal":  func() error { _, err := h.RevealToken(ctx, c.caller, id); return err },
				"revoke":  func() error { _, err := h.RevokeToken(ctx, c.caller, id, false); return err },
				"restore": func() error { _, err := h.RestoreToken(ctx, c.caller, id); return err },
				"keys":    func() error { _, err := h.Keys(ctx, c.caller); return err },
				"reset":   func() error { _, err := h.ResetKeys(ctx, c.caller, ""); return err },
				"renew":   func() error { _, err := h.RenewNext(ctx, c.caller); return err },
				"found":   func() error { return h.Found(ctx, c.caller) },
				"setup":   func() error { _, err := h.OpenSetup(ctx, c.caller); return err },
				"admins":  func() error { _, err := h.Admins(ctx, c.caller); return err },
				"create": func() error {
					_, err := h.CreateAdmin(ctx, c.caller, "x", authority.NewSecret(goodPassword))
					return err
				},
				"password":     func() error { return h.ResetPassword(ctx, c.caller, "x", authority.NewSecret(goodPassword)) },
				"delete admin": func() error { return h.DeleteAdmin(ctx, c.caller, "x") },
				"unlock":       func() error { return h.UnlockAdmin(ctx, c.caller, "x") },
				"audit":        func() error { _, err := h.Audit(ctx, c.caller, authority.AuditQuery{}); return err },
				"record":       func() error { return h.Record(ctx, c.caller, []authority.Recorded{{}}) },
			}
			for call, fn := range calls {
				if got := authority.KindOf(fn()); got != c.want {
					t.Errorf("%s: %v, want %v", call, got, c.want)
				}
			}
		})
	}
}

func TestCopyPolicies(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	old := authority.LoginCaller("lgn_x", "admin", h.now().Add(-16*time.Minute), authority.Origin{})
	recent := authority.LoginCaller("lgn_x", "admin", h.now().Add(-14*time.Minute), authority.Origin{})
	script := authority.TokenCaller(id, "ci", authority.RoleAdmin, authority.Origin{})
	h.policy.Copy = authority.CopyReauth
	_, err := h.RevealToken(t.Context(), old, id)
	wantKind(t, err, authority.StepUp, "login.step_up")
	_, err = h.RevealToken(t.Context(), script, id)
	wantKind(t, err, authority.Forbidden, "token.copy_forbidden")
	if _, err := h.RevealToken(t.Context(), recent, id); err != nil {
		t.Error(err)
	}
	h.policy.Copy = authority.CopyNever
	_, err = h.RevealToken(t.Context(), recent, id)
	wantKind(t, err, authority.Forbidden, "token.copy_forbidden")
}

func TestFindsByIdPrefixAndClientID(t *testing.T) {
	h := newHouse(t)
	a := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	h.issue(t, authority.TokenRequest{ClientID: "cron", Role: "user"})
	h.issue(t, authority.TokenRequest{ClientID: "cron", Role: "user"})
	for _, name := range []string{string(a.ID), a.ID.Short(), "ci"} {
		if got, err := h.FindToken(t.Context(), operator(), name, false); err != nil || got.ID != a.ID {
			t.Errorf("%s: %s, %v", name, got.ID, err)
		}
	}
	_, err := h.FindToken(t.Context(), operator(), "cron", false)
	wantKind(t, err, authority.Conflict, "token.ambiguous")
	for _, name := range []string{"c", "tok_", "nobody", ""} {
		_, err := h.FindToken(t.Context(), operator(), name, false)
		wantKind(t, err, authority.NotFound, "token.not_found")
	}
}

func TestCursorBelongsToItsList(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		h.issue(t, authority.TokenRequest{ClientID: fmt.Sprintf("c%d", i), Role: "user"})
	}
	r := authority.ListRequest{Limit: 2}
	var seen []string
	for {
		page, err := h.Tokens(t.Context(), operator(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			seen = append(seen, item.ClientID)
		}
		if page.NextCursor == "" {
			break
		}
		r.Cursor = page.NextCursor
	}
	if got := strings.Join(seen, " "); got != "c0 c1 c2 c3 c4" {
		t.Errorf("pages gave %s", got)
	}
	for name, bad := range map[string]authority.ListRequest{
		"other order": {Limit: 2, Descending: true, Cursor: r.Cursor},
		"cut":         {Cursor: r.Cursor[:len(r.Cursor)-1]},
		"garbage":     {Cursor: "AAAA"},
	} {
		if _, err := h.Tokens(t.Context(), operator(), bad); authority.KindOf(err) != authority.Invalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPurgeKeepsWhatCanBeRestored(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	if _, err := h.RevokeToken(t.Context(), operator(), id, false); err != nil {
		t.Fatal(err)
	}
	h.advance(29 * 24 * time.Hour)
	if err := h.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Token(t.Context(), operator(), id); err != nil {
		t.Fatalf("purged too early: %v", err)
	}
	h.advance(2 * 24 * time.Hour)
	if err := h.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := h.Token(t.Context(), operator(), id)
	wantKind(t, err, authority.NotFound, "token.not_found")
}
