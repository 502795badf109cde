package authority_test

import (
	"testing"
	"time"

	"mintmark/internal/authority"
)

// login signs somebody in and answers the login and who speaks with it.
func (h *house) login(t *testing.T) (authority.SignedIn, authority.Caller) {
	t.Helper()
	h.admin(t, otherAdmin)
	in, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	return in, authority.LoginCaller(in.ID, in.Admin, in.AuthenticatedAt, authority.Origin{From: "10.2.0.14"})
}

func TestARenewedLoginIsTheSameUnderTheKeyThatSigns(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	in, c := h.login(t)
	if again, err := h.RenewLogin(t.Context(), c); err != nil || again.ID != "" {
		t.Errorf("before a rotation it answers %+v, %v", again.Login, err)
	}
	h.advance(10 * time.Minute)
	current := h.rotate(t, day).Current
	renewed, err := h.RenewLogin(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	want := in.Login
	want.KeyID = current.ID
	if renewed.Login != want || renewed.Text.Unsafe() == in.Text.Unsafe() {
		t.Errorf("got %+v, want %+v", renewed.Login, want)
	}
	if e := h.lastEvent(t); e.Action != "login.renewed" || e.Target != string(in.ID) || e.Detail["key"] != current.Name || e.Actor.Name != otherAdmin {
		t.Errorf("event %+v", e)
	}
	if e, err := h.Evidence(t.Context(), operator(), "key_2026a"); err != nil || e.Logins != 0 {
		t.Errorf("the key before still has %d logins, %v", e.Logins, err)
	}
	if again, err := h.RenewLogin(t.Context(), c); err != nil || again.ID != "" {
		t.Errorf("the second time it answers %+v, %v", again.Login, err)
	}
}

func TestOnlyALoginThatExistsIsRenewed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, c := h.login(t)
	h.rotate(t, day)
	if again, err := h.RenewLogin(t.Context(), operator()); err != nil || again.ID != "" {
		t.Errorf("the operator has a login: %+v, %v", again.Login, err)
	}
	if err := h.SignOut(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	_, err := h.RenewLogin(t.Context(), c)
	wantKind(t, err, authority.NotFound, "")
}

func TestTheTimeOfAResetIsThatOfNoRotation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	resetAt := func() time.Time {
		t.Helper()
		at, err := h.ResetAt(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	h.rotate(t, day)
	if at := resetAt(); !at.IsZero() {
		t.Errorf("without a reset it is %s", at)
	}
	if _, err := h.ResetKeys(t.Context(), operator(), "leak"); err != nil {
		t.Fatal(err)
	}
	want := h.now().Truncate(time.Second)
	h.advance(time.Hour)
	h.rotate(t, day)
	if at := resetAt(); !at.Equal(want) {
		t.Errorf("it is %s, want %s", at, want)
	}
}

func TestEvidenceToTakeAwayAsksForARecentPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, c := h.login(t)
	h.rotate(t, day)
	if _, err := h.ExportEvidence(t.Context(), c, "key_2026a"); err != nil {
		t.Errorf("just after the password: %v", err)
	}
	h.advance(16 * time.Minute)
	_, err := h.ExportEvidence(t.Context(), c, "key_2026a")
	wantKind(t, err, authority.StepUp, "login.step_up")
	if _, err := h.ExportEvidence(t.Context(), operator(), "key_2026a"); err != nil {
		t.Errorf("the operator: %v", err)
	}
}
