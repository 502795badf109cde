package authority_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func secret(s string) authority.Secret { return authority.NewSecret(s) }

func TestSignInAnswersWithALogin(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	in, err := h.SignIn(t.Context(), nobody(), " Maria", secret(goodPassword))
	if err != nil || in.Admin != otherAdmin || in.Text.Unsafe() == "" {
		t.Fatalf("got %+v, %v", in.Login, err)
	}
	if e := h.lastEvent(t); e.Action != "login.succeeded" || e.Actor.Name != otherAdmin || e.From != "10.2.0.14" {
		t.Errorf("event %+v", e)
	}
}

func TestUnknownNamesAnswerLikeWrongPasswords(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	for i := 1; i <= 7; i++ {
		var texts []string
		for _, name := range []string{otherAdmin, "nobody", "not a name\u00e9"} {
			_, err := h.SignIn(t.Context(), nobody(), name, secret("wrong password, but long"))
			texts = append(texts, fmt.Sprint(authority.KindOf(err), err))
		}
		if texts[0] != texts[1] || texts[1] != texts[2] {
			t.Fatalf("attempt %d tells names apart: %q", i, texts)
		}
		paused := strings.Contains(texts[0], "Try again at")
		if paused != (i > 5) {
			t.Errorf("attempt %d: %s", i, texts[0])
		}
	}
}

func TestAPauseHoldsForTheRightPasswordAndEnds(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	for range 5 {
		_, _ = h.SignIn(t.Context(), nobody(), "MARIA", secret("wrong password, but long"))
	}
	_, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	wantKind(t, err, authority.Throttled, "login.paused")
	if wait := classed(t, err).RetryAfter; wait <= 0 || wait > 5*time.Minute {
		t.Errorf("retry after %s", wait)
	}
	h.advance(5 * time.Minute)
	if _, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

func TestManyNamesDoNotEvictTheCountOfAnAccount(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	wrong := secret("wrong password, but long")
	for range 5 {
		_, _ = h.SignIn(t.Context(), nobody(), otherAdmin, wrong)
	}
	for i := range 2100 {
		from := authority.Nobody(authority.Origin{From: fmt.Sprintf("10.0.%d.%d", i/256, i%256)})
		_, _ = h.SignIn(t.Context(), from, fmt.Sprintf("user%d", i), wrong)
	}
	_, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	wantKind(t, err, authority.Throttled, "login.paused")
	names := 0
	_ = h.store.View(t.Context(), func(tx authority.Tx) error {
		for range tx.Throttles().All() {
			names++
		}
		return nil
	})
	if names > 2000 {
		t.Errorf("%d names are kept", names)
	}
}

func TestParallelGuessesAreNotMoreThanAllowed(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	var checked atomic.Int64
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			_, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret("wrong password, but long"))
			if authority.KindOf(err) == authority.Unauthenticated {
				checked.Add(1)
			}
		})
	}
	wg.Wait()
	if n := checked.Load(); n != 5 {
		t.Errorf("%d guesses were checked, want 5", n)
	}
}

func TestOneSourceIsSlowedOverManyNames(t *testing.T) {
	h := newHouse(t)
	for i := range 60 {
		_, err := h.SignIn(t.Context(), nobody(), fmt.Sprintf("user%d", i), secret("wrong password, but long"))
		if kind := authority.KindOf(err); (kind == authority.Throttled) != (i >= 50) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	h.advance(5 * time.Minute)
	_, err := h.SignIn(t.Context(), nobody(), "user99", secret("wrong password, but long"))
	wantKind(t, err, authority.Unauthenticated, "login.refused")
}

func TestUnknownNamesAreNotWrittenDown(t *testing.T) {
	h := newHouse(t)
	_, _ = h.SignIn(t.Context(), nobody(), goodPassword, secret("x"))
	_, _ = h.SignIn(t.Context(), nobody(), "hunter2-in-the-wrong-field", secret("x"))
	page, err := h.Audit(t.Context(), operator(), authority.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", page.Events); strings.Contains(text, "hunter2") || strings.Contains(text, "horse") {
		t.Errorf("the audit log holds what was typed: %s", text)
	}
}

func TestSetupCodeMakesExactlyOneAdministrator(t *testing.T) {
	h := newHouse(t)
	code, err := h.OpenSetup(t.Context(), operator())
	if err != nil || code.Unsafe() == "" {
		t.Fatalf("no code: %v", err)
	}
	_, err = h.CompleteSetup(t.Context(), nobody(), secret("0000"), "admin", secret(goodPassword))
	wantKind(t, err, authority.Unauthenticated, "setup.code_refused")
	_, err = h.CompleteSetup(t.Context(), nobody(), code, "admin", secret("short"))
	wantKind(t, err, authority.Invalid, "")
	var made atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := h.CompleteSetup(t.Context(), nobody(), code, fmt.Sprintf("admin%d", i), secret(goodPassword)); err == nil {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("%d administrators came of one code", made.Load())
	}
	if again, err := h.OpenSetup(t.Context(), operator()); err != nil || again.Unsafe() != "" {
		t.Errorf("a code was given although there is an administrator: %v", err)
	}
}

// unchanging is a store that takes no changes now.
type unchanging struct{ authority.Store }

func (unchanging) Update(context.Context, func(authority.Tx) error) error { return errBroken }

func TestWhetherASetupCodeIsNeededIsNoChange(t *testing.T) {
	h := newHouse(t)
	cfg := h.Config
	cfg.Store = unchanging{h.store}
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.OpenSetup(t.Context(), operator())
	wantKind(t, err, authority.Unavailable, "")
	if _, err := h.CreateAdmin(t.Context(), operator(), "admin", secret(goodPassword)); err != nil {
		t.Fatal(err)
	}
	if code, err := a.OpenSetup(t.Context(), operator()); err != nil || code.Unsafe() != "" {
		t.Errorf("with an administrator: %v", err)
	}
}

func TestSetupCodeEnds(t *testing.T) {
	h := newHouse(t)
	code, err := h.OpenSetup(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	h.advance(24 * time.Hour)
	_, err = h.CompleteSetup(t.Context(), nobody(), code, "admin", secret(goodPassword))
	wantKind(t, err, authority.Unauthenticated, "setup.code_refused")
}

func TestReauthenticationReplacesTheLogin(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	in, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	caller := authority.LoginCaller(in.ID, in.Admin, in.AuthenticatedAt, authority.Origin{})
	h.advance(20 * time.Minute)
	_, err = h.ResetKeys(t.Context(), caller, "")
	wantKind(t, err, authority.StepUp, "login.step_up")
	fresh, err := h.Reauthenticate(t.Context(), caller, secret(goodPassword))
	if err != nil || fresh.ID == in.ID {
		t.Fatalf("got %s, %v", fresh.ID, err)
	}
	err = h.store.View(t.Context(), func(tx authority.Tx) error { _, err := tx.Logins().Get(in.ID); return err })
	wantKind(t, err, authority.NotFound, "")
	if _, err := h.ResetKeys(t.Context(), authority.LoginCaller(fresh.ID, fresh.Admin, fresh.AuthenticatedAt, authority.Origin{}), ""); err != nil {
		t.Error(err)
	}
}

func TestNewPasswordEndsLogins(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	in, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.ResetPassword(t.Context(), operator(), otherAdmin, secret("another long pass phrase")); err != nil {
		t.Fatal(err)
	}
	err = h.store.View(t.Context(), func(tx authority.Tx) error { _, err := tx.Logins().Get(in.ID); return err })
	wantKind(t, err, authority.NotFound, "")
	_, err = h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	wantKind(t, err, authority.Unauthenticated, "login.refused")
}

func TestUnlockLiftsAPause(t *testing.T) {
	h := newHouse(t)
	h.admin(t, otherAdmin)
	for range 5 {
		_, _ = h.SignIn(t.Context(), nobody(), otherAdmin, secret("wrong password, but long"))
	}
	if err := h.UnlockAdmin(t.Context(), operator(), otherAdmin); err != nil {
		t.Fatal(err)
	}
	if _, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil {
		t.Error(err)
	}
}
