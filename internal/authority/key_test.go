package authority_test

import (
	"fmt"
	"sync"
	"testing"

	"mintmark/internal/authority"
)

func TestResetEndsEveryTokenAndLoginForGood(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	if _, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil {
		t.Fatal(err)
	}
	before, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := h.Logins(t.Context(), operator()); err != nil || n != 1 {
		t.Errorf("told beforehand of %d logins, %v", n, err)
	}
	result, err := h.ResetKeys(t.Context(), operator(), "leak")
	if err != nil || result.Tokens != 1 || result.Logins != 1 || result.Generation != 2 {
		t.Fatalf("got %+v, %v", result, err)
	}
	view, err := h.Token(t.Context(), operator(), id)
	if err != nil || view.State != authority.StateRevoked {
		t.Fatalf("got %s, %v", view.State, err)
	}
	_, err = h.RevealToken(t.Context(), operator(), id)
	wantKind(t, err, authority.Conflict, "token.revoked")
	_, err = h.RestoreToken(t.Context(), operator(), id)
	wantKind(t, err, authority.Conflict, "token.revoked")
	for _, k := range before {
		if h.ring.Has(k.ID) {
			t.Errorf("the secret of %s is still kept", k.Name)
		}
	}
	keys, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[authority.KeyState]int)
	for _, k := range keys {
		states[k.State]++
		if k.State != authority.KeyRetired && !h.ring.Has(k.ID) {
			t.Errorf("%s has no secret", k.Name)
		}
	}
	if states[authority.KeyCurrent] != 1 || states[authority.KeyNext] != 1 || states[authority.KeyRetired] != 2 {
		t.Errorf("states %v", states)
	}
	if e := h.lastEvent(t); e.Action != "keys.reset" || e.Detail["reason"] != "leak" {
		t.Errorf("event %+v", e)
	}
}

func TestResetRestoresNothingThatWasDeleted(t *testing.T) {
	h := newHouse(t)
	id := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"}).ID
	if _, err := h.RevokeToken(t.Context(), operator(), id, false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
		t.Fatal(err)
	}
	_, err := h.RestoreToken(t.Context(), operator(), id)
	wantKind(t, err, authority.Conflict, "token.revoked")
}

func TestConcurrentResetsKeepTheLastSecrets(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := h.CheckCustody(t.Context(), h.ring.Has); err != nil {
		t.Fatal(err)
	}
	h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
}

func TestMissingSecretIsRefused(t *testing.T) {
	h := newHouse(t)
	if err := h.ring.Keep(nil); err != nil {
		t.Fatal(err)
	}
	wantKind(t, h.CheckCustody(t.Context(), h.ring.Has), authority.Conflict, "key.secret_missing")
}

func TestFoundRefusesAStoreThatHasKeys(t *testing.T) {
	h := newHouse(t)
	wantKind(t, h.Found(t.Context(), operator()), authority.Conflict, "")
}

func TestRenewNextFollowsThePolicy(t *testing.T) {
	h := newHouse(t)
	if done, err := h.RenewNext(t.Context(), operator()); err != nil || done {
		t.Fatalf("renewed without need: %v", err)
	}
	h.policy.Algorithm = "EdDSA"
	if done, err := h.RenewNext(t.Context(), operator()); err != nil || !done {
		t.Fatalf("not renewed: %v", err)
	}
	keys, err := h.PublishedKeys(t.Context())
	if err != nil || len(keys) != 2 || keys[0].State != authority.KeyNext || keys[0].Algorithm != "EdDSA" || keys[1].Algorithm != "ES256" {
		t.Errorf("got %+v, %v", keys, err)
	}
}

func TestKeysAreNamedByYearAndLetter(t *testing.T) {
	h := newHouse(t)
	for range 14 {
		if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, k := range keys {
		names[k.Name] = true
	}
	for _, want := range []string{"key_2026a", "key_2026z", "key_2026aa", "key_2026ad"} {
		if !names[want] {
			t.Errorf("there is no %s among %v", want, fmt.Sprint(names))
		}
	}
	if len(names) != len(keys) {
		t.Error("two keys share a name")
	}
}
