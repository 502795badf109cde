package authority_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/mapstore"
)

func TestAdministratorsAreListedWithoutTheirHashes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, "omar")
	made, err := h.CreateAdmin(t.Context(), operator(), " Maria ", secret(goodPassword))
	if err != nil || made.Name != otherAdmin || made.PasswordHash != "" || made.CreatedBy != "root@tokens-01" {
		t.Fatalf("got %+v, %v", made, err)
	}
	if e := h.lastEvent(t); e.Action != "admin.created" || e.Target != otherAdmin {
		t.Errorf("event %+v", e)
	}
	admins, err := h.Admins(t.Context(), operator())
	if err != nil || len(admins) != 2 || admins[0].Name != otherAdmin || admins[1].Name != "omar" {
		t.Fatalf("got %+v, %v", admins, err)
	}
	for _, a := range admins {
		if a.PasswordHash != "" {
			t.Errorf("the hash of %s is shown", a.Name)
		}
	}
}

func TestAnAdministratorIsThereOnceUnderEverySpelling(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	for _, name := range []string{"maria", "MARIA", " Maria\t"} {
		_, err := h.CreateAdmin(t.Context(), operator(), name, secret(goodPassword))
		wantKind(t, err, authority.Conflict, "admin.exists")
	}
	for _, name := range []string{"", "m\u0430ria", "\uff4daria", "maria\u200b", "mar ia", "maria\x00", ".maria", strings.Repeat("m", 65)} {
		_, err := h.CreateAdmin(t.Context(), operator(), name, secret(goodPassword))
		wantKind(t, err, authority.Invalid, "request.invalid")
		if f := classed(t, err).Fields; len(f) != 1 || f[0].Field != "username" || f[0].Code != "username.form" {
			t.Errorf("%q: %+v", name, f)
		}
	}
}

func TestPasswordsThatMayNotBeAreRefusedWhereverOneIsSet(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	code, err := h.OpenSetup(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "fourteen chars", "tokens-01 tokens-01", "mintmarkmintmark", "omar mintmark 2026"} {
		_, err := h.CreateAdmin(t.Context(), operator(), "omar", secret(bad))
		wantKind(t, err, authority.Invalid, "request.invalid")
		_, err = h.CompleteSetup(t.Context(), nobody(), code, "omar", secret(bad))
		wantKind(t, err, authority.Invalid, "request.invalid")
	}
	h.admin(t, "omar")
	err = h.ResetPassword(t.Context(), operator(), "omar", secret("short"))
	wantKind(t, err, authority.Invalid, "request.invalid")
	if f := classed(t, err).Fields; len(f) != 1 || f[0].Field != "password" || !strings.Contains(f[0].Msg, "15") {
		t.Errorf("the reason is not shown: %+v", f)
	}
}

func TestWhoLeavesIsGoneWithEveryLogin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	h.admin(t, "omar")
	in, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	stays, err := h.SignIn(t.Context(), nobody(), "omar", secret(goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteAdmin(t.Context(), operator(), " Maria "); err != nil {
		t.Fatal(err)
	}
	if e := h.lastEvent(t); e.Action != "admin.deleted" || e.Target != otherAdmin || e.Actor.Kind != "local" {
		t.Errorf("event %+v", e)
	}
	all, _ := h.records(t)
	_, there := all["login "+string(in.ID)]
	if _, others := all["login "+string(stays.ID)]; there || !others {
		t.Errorf("its login is there: %v; that of another: %v", there, others)
	}
	_, err = h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	wantKind(t, err, authority.Unauthenticated, "login.refused")
	wantKind(t, h.DeleteAdmin(t.Context(), operator(), otherAdmin), authority.NotFound, "admin.not_found")
}

func TestTheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	_, events := h.records(t)
	wantKind(t, h.DeleteAdmin(t.Context(), operator(), otherAdmin), authority.Conflict, "admin.last")
	if admins, err := h.Admins(t.Context(), operator()); err != nil || len(admins) != 1 {
		t.Errorf("got %+v, %v", admins, err)
	}
	if _, after := h.records(t); after != events {
		t.Error("the refusal is an event")
	}
}

// Two that delete each other, or two operators at once, leave one.
func TestOfAllThatAreDeletedAtOnceOneStays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	h.admin(t, "omar")
	var wg sync.WaitGroup
	for _, name := range []string{otherAdmin, "omar"} {
		wg.Go(func() { _ = h.DeleteAdmin(context.Background(), operator(), name) })
	}
	wg.Wait()
	if admins, err := h.Admins(t.Context(), operator()); err != nil || len(admins) != 1 {
		t.Errorf("got %+v, %v", admins, err)
	}
}

// Whoever is deleted between the check of the password and the login has none.
func TestASignInOfWhoIsBeingDeletedIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	h.admin(t, "omar")
	h.Passwords = leaving{h.Passwords, func() error { return h.DeleteAdmin(context.Background(), operator(), otherAdmin) }}
	_, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword))
	wantKind(t, err, authority.Unauthenticated, "login.refused")
}

// leaving calls after while a password is checked.
type leaving struct {
	authority.Passwords
	after func() error
}

func (l leaving) Verify(ctx context.Context, hash string, password authority.Secret) (bool, bool, error) {
	ok, again, err := l.Passwords.Verify(ctx, hash, password)
	return ok, again, errors.Join(err, l.after())
}

func TestUnknownAdministratorsAreNotFound(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	wantKind(t, h.ResetPassword(t.Context(), operator(), "nobody", secret(goodPassword)), authority.NotFound, "admin.not_found")
	wantKind(t, h.UnlockAdmin(t.Context(), operator(), "nobody"), authority.NotFound, "admin.not_found")
	wantKind(t, h.UnlockAdmin(t.Context(), operator(), "no body"), authority.Invalid, "username.form")
	wantKind(t, h.ResetPassword(t.Context(), operator(), "no body", secret(goodPassword)), authority.Invalid, "request.invalid")
}

func TestTheFirstAdministratorEndsTheCodeOfTheFirstStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	code, err := h.OpenSetup(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	if needed, err := h.SetupNeeded(t.Context()); err != nil || !needed {
		t.Fatalf("needed: %v, %v", needed, err)
	}
	h.admin(t, otherAdmin)
	if needed, err := h.SetupNeeded(t.Context()); err != nil || needed {
		t.Errorf("needed: %v, %v", needed, err)
	}
	_, err = h.CompleteSetup(t.Context(), nobody(), code, "eve", secret(goodPassword))
	wantKind(t, err, authority.Conflict, "setup.done")
	all, _ := h.records(t)
	if s := all["system "].(authority.System); len(s.SetupDigest) != 0 {
		t.Error("the code's digest is still kept")
	}
}

func TestALaterCodeEndsTheEarlierOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, _ := h.OpenSetup(t.Context(), operator())
	second, err := h.OpenSetup(t.Context(), operator())
	if err != nil || first.Unsafe() == second.Unsafe() {
		t.Fatalf("two starts show one code: %v", err)
	}
	_, err = h.CompleteSetup(t.Context(), nobody(), first, "admin", secret(goodPassword))
	wantKind(t, err, authority.Unauthenticated, "setup.code_refused")
	in, err := h.CompleteSetup(t.Context(), nobody(), second, "Admin", secret(goodPassword))
	if err != nil || in.Admin != "admin" || in.Text.Unsafe() == "" {
		t.Fatalf("got %+v, %v", in.Login, err)
	}
}

func TestGuessesAtTheCodeAreSlowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	code, err := h.OpenSetup(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		_, err := h.CompleteSetup(t.Context(), nobody(), secret("0000"), "admin", secret(goodPassword))
		wantKind(t, err, authority.Unauthenticated, "setup.code_refused")
	}
	_, err = h.CompleteSetup(t.Context(), nobody(), code, "admin", secret(goodPassword))
	wantKind(t, err, authority.Throttled, "login.paused")
	h.advance(5 * time.Minute)
	if _, err := h.CompleteSetup(t.Context(), nobody(), code, "admin", secret(goodPassword)); err != nil {
		t.Error(err)
	}
}

// Each of these asks a login for a recent password; tokens and the local
// operator have none.
func TestStepUpGuardsWhatItShould(t *testing.T) {
	t.Parallel()
	guarded := map[string]func(*stage, authority.Caller) error{
		"reset": func(s *stage, c authority.Caller) error {
			_, err := s.ResetKeys(context.Background(), c, "")
			return err
		},
		"restore": func(s *stage, c authority.Caller) error {
			_, err := s.RestoreToken(context.Background(), c, s.gone)
			return err
		},
		"create admin": func(s *stage, c authority.Caller) error {
			_, err := s.CreateAdmin(context.Background(), c, "omar", secret(goodPassword))
			return err
		},
		"reset password": func(s *stage, c authority.Caller) error {
			return s.ResetPassword(context.Background(), c, otherAdmin, secret(goodPassword))
		},
		"delete admin": func(s *stage, c authority.Caller) error {
			_, _ = s.CreateAdmin(context.Background(), operator(), "omar", secret(goodPassword)) // who stays
			return s.DeleteAdmin(context.Background(), c, otherAdmin)
		},
	}
	for name, do := range guarded {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := authority.Origin{From: "10.2.0.14"}
			s := newStage(t, true)
			s.advance(15*time.Minute - time.Second)
			if err := do(s, s.login); errors.Is(err, authority.StepUp) {
				t.Errorf("before 15 minutes: %v", err)
			}
			s = newStage(t, true)
			s.advance(15*time.Minute + time.Second)
			wantKind(t, do(s, s.login), authority.StepUp, "login.step_up")
			if err := do(s, authority.TokenCaller(s.live, "ci", authority.RoleAdmin, origin)); err != nil {
				t.Errorf("with a token: %v", err)
			}
			s = newStage(t, true)
			s.advance(30 * time.Minute)
			if err := do(s, operator()); err != nil {
				t.Errorf("on the machine: %v", err)
			}
		})
	}
}

func TestSignOutEndsTheLoginOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, true)
	_, events := s.records(t)
	for range 2 {
		if err := s.SignOut(t.Context(), s.login); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SignOut(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	all, after := s.records(t)
	if _, there := all["login "+string(s.login.LoginID())]; there || after != events+1 {
		t.Errorf("the login is there: %v, and %d events came", there, after-events)
	}
	if e := s.lastEvent(t); e.Action != "login.ended" || e.Label != otherAdmin {
		t.Errorf("event %+v", e)
	}
}

func TestLoginsEndByTheClockAndAreRemoved(t *testing.T) {
	t.Parallel()
	s := newStage(t, true)
	kept := func() bool { all, _ := s.records(t); _, there := all["login "+string(s.login.LoginID())]; return there }
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{11 * time.Hour, true}, {time.Hour, false}} {
		s.advance(c.after)
		if err := s.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if kept() != c.want {
			t.Errorf("after %s it is kept: %v", c.after, !c.want)
		}
	}
}

func TestOnlyALoginCanSignInAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, true)
	for name, c := range map[string]authority.Caller{
		"nobody": nobody(), "local": operator(), "token": authority.TokenCaller(s.live, "ci", authority.RoleAdmin, authority.Origin{}),
	} {
		_, err := s.Reauthenticate(t.Context(), c, secret(goodPassword))
		if wantKind(t, err, authority.Forbidden, "login.none"); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err := s.Reauthenticate(t.Context(), s.login, secret("wrong password, but long"))
	wantKind(t, err, authority.Unauthenticated, "login.refused")
}

// The last administrator is slowed down, and never for good: neither by a
// hundred failures nor by ten thousand.
func TestNoNumberOfFailuresLocksOutForGood(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	checked := 0
	for range 300 {
		_, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret("wrong password, but long"))
		switch {
		case errors.Is(err, authority.Unauthenticated):
			checked++
		case errors.Is(err, authority.Throttled):
			wait := classed(t, err).RetryAfter
			if wait > time.Hour {
				t.Fatalf("a pause of %s", wait)
			}
			if checked >= 50 && wait < 50*time.Minute {
				t.Fatalf("after %d failures the pause is %s", checked, wait)
			}
			h.advance(wait)
		default:
			t.Fatal(err)
		}
	}
	h.advance(time.Hour)
	if _, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil {
		t.Errorf("after %d failures: %v", checked, err)
	}
	// A success forgets them all.
	_, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret("wrong password, but long"))
	if text := classed(t, err).Msg; !strings.Contains(text, "4 attempts left before a 5-minute pause") {
		t.Errorf("got %q", text)
	}
}

// Pauses, the one-time code's end, generations and administrators are of the
// home: another process over the same files goes on with them.
func TestWhatGuardsTheHomeOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	files := mapstore.Config{Home: t.TempDir(), Now: h.now}
	if err := os.Chmod(files.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	files.Tokens = filepath.Join(files.Home, "tokens.json")
	if err := errors.Join(mapstore.Create(files), mapstore.CreateTokens(files.Files, files.Tokens)); err != nil {
		t.Fatal(err)
	}
	process := func(do func(*authority.Authority)) {
		t.Helper()
		store, err := mapstore.Open(files)
		if err != nil {
			t.Fatal(err)
		}
		c := h.Config
		c.Store = store
		a, err := authority.New(c)
		if err != nil {
			t.Fatal(err)
		}
		do(a)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wrong, right := secret("wrong password, but long"), secret(goodPassword)
	var code authority.Secret
	var token authority.Issued
	process(func(a *authority.Authority) {
		must(nil, a.Found(t.Context(), operator()))
		var err error
		code, err = a.OpenSetup(t.Context(), operator())
		must(nil, err)
		token, err = a.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "ci", Role: "user"}, "key-1")
		must(nil, err)
	})
	process(func(a *authority.Authority) {
		must(a.CompleteSetup(t.Context(), nobody(), code, otherAdmin, right))
		for range 5 {
			_, _ = a.SignIn(t.Context(), nobody(), " MARIA", wrong)
		}
	})
	process(func(a *authority.Authority) {
		_, err := a.CompleteSetup(t.Context(), nobody(), code, "eve", right)
		wantKind(t, err, authority.Conflict, "setup.done")
		_, err = a.SignIn(t.Context(), nobody(), otherAdmin, right)
		wantKind(t, err, authority.Throttled, "login.paused")
		h.advance(5 * time.Minute)
		must(a.SignIn(t.Context(), nobody(), otherAdmin, right))
		again, err := a.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "ci", Role: "user"}, "key-1")
		must(nil, err)
		if again.ID != token.ID || again.Text.Unsafe() != token.Text.Unsafe() {
			t.Error("a repeat answers otherwise after a restart")
		}
		must(a.ResetKeys(t.Context(), operator(), ""))
	})
	process(func(a *authority.Authority) {
		for _, try := range []func() error{
			func() error { _, err := a.RevealToken(t.Context(), operator(), token.ID); return err },
			func() error { _, err := a.RestoreToken(t.Context(), operator(), token.ID); return err },
		} {
			wantKind(t, try(), authority.Conflict, "token.revoked")
		}
		must(nil, a.CheckCustody(t.Context(), h.ring.Has))
	})
}

func TestAPasswordIsHashedAnewWhenTheCostsHaveChanged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	hash := func() string { all, _ := h.records(t); return all["admin "+otherAdmin].(authority.Admin).PasswordHash }
	old := hash()
	dearer, err := authority.New(h.dearer())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := dearer.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil {
			t.Fatal(err)
		}
	}
	if got := hash(); got == old || !strings.Contains(got, "m=128,") {
		t.Errorf("the hash is %s", got)
	}
	if _, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil {
		t.Error(err)
	}
}
