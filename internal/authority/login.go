package authority

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// SignedIn is a new login and its token.
type SignedIn struct {
	Login
	Text Secret
}

// SignIn checks a name and a password. An unknown name, a wrong password and a
// name that can be none answer alike and take alike.
func (a *Authority) SignIn(ctx context.Context, c Caller, username string, password Secret) (SignedIn, error) {
	admin, err := a.attempt(ctx, c, username, password)
	if err != nil {
		return SignedIn{}, err
	}
	return a.beginLogin(ctx, c, admin, "")
}

// Reauthenticate takes the password of a login again and gives it a new id, so
// that whatever held the old one has nothing (ASVS 7.2.4).
func (a *Authority) Reauthenticate(ctx context.Context, c Caller, password Secret) (SignedIn, error) {
	if c.login == "" {
		return SignedIn{}, fail(Forbidden, "login.none", "Only a signed-in administrator can do this.")
	}
	admin, err := a.attempt(ctx, c, c.actor.Name, password)
	if err != nil {
		return SignedIn{}, err
	}
	return a.beginLogin(ctx, c, admin, c.login)
}

// attempt counts the attempt as a failure, checks the password, and takes the
// failure back on success: however many arrive at once, no more than the policy
// allows are ever checked.
func (a *Authority) attempt(ctx context.Context, c Caller, username string, password Secret) (Admin, error) {
	now, policy := a.Now().UTC(), a.Policy()
	if wait := a.sources.wait(c.from, now); wait > 0 && !c.local {
		return Admin{}, throttled(now.Add(wait), now)
	}
	name, nameErr := CanonicalName(username)
	if nameErr != nil {
		sum := sha256.Sum256([]byte(username))
		name = "?" + hex.EncodeToString(sum[:16]) // no account can have it
	}
	var admin Admin
	var throttle Throttle
	err := a.Store.Update(ctx, func(tx Tx) error {
		var err error
		admin, err = tx.Admins().Get(name)
		known := err == nil
		if err != nil && KindOf(err) != NotFound {
			return err
		}
		throttle, err = countFailure(tx, name, now, policy)
		if err != nil {
			return err
		}
		throttle.Known = known
		return saveThrottle(tx, throttle)
	})
	if err != nil {
		return Admin{}, err
	}
	ok, again, err := a.Passwords.Verify(ctx, admin.PasswordHash, password)
	if err != nil {
		return Admin{}, err
	}
	if !ok || admin.Name == "" {
		a.sources.fail(c.from, now)
		return Admin{}, a.refuseLogin(ctx, c, throttle, policy)
	}
	if again {
		if admin.PasswordHash, err = a.Passwords.Hash(ctx, password); err != nil {
			return Admin{}, err
		}
	}
	return admin, nil
}

// refuseLogin records the failure. A typed name is not kept when it is nobody's:
// people type passwords there.
func (a *Authority) refuseLogin(ctx context.Context, c Caller, t Throttle, policy Policy) error {
	err := a.Store.Update(ctx, func(tx Tx) error {
		e := c.event(a.Now().UTC(), "login.refused")
		e.Outcome, e.Label = OutcomeRefused, "unknown user"
		if t.Known {
			e.Target, e.Label = t.Name, t.Name
		}
		return tx.Audit().Append(e)
	})
	if err != nil {
		return err
	}
	msg := "That user name and password do not match."
	pause := fmt.Sprintf("%d-minute pause", int((policy.LoginPause+time.Minute-1)/time.Minute))
	if left := policy.LoginAttempts - t.Failures; left > 0 {
		msg += fmt.Sprintf(" %d attempts left before a %s.", left, pause)
		if left == 1 {
			msg = "That user name and password do not match. 1 attempt left before a " + pause + "."
		}
	} else {
		msg += " The next attempt is possible after a " + pause + "."
	}
	return fail(Unauthenticated, "login.refused", msg)
}

func (a *Authority) beginLogin(ctx context.Context, c Caller, admin Admin, replaces LoginID) (SignedIn, error) {
	random, err := randomText(a.Rand, idLength)
	if err != nil {
		return SignedIn{}, err
	}
	now := a.Now().UTC()
	a.keys.RLock()
	defer a.keys.RUnlock()
	var l Login
	err = a.Store.Update(ctx, func(tx Tx) error {
		stored, err := tx.Admins().Get(admin.Name)
		if err != nil {
			if KindOf(err) == NotFound {
				return fail(Unauthenticated, "login.refused", "That user name and password do not match.")
			}
			return err
		}
		if !stored.PasswordChangedAt.Equal(admin.PasswordChangedAt) {
			return fail(Unauthenticated, "login.refused", "The password has just been changed. Sign in again.")
		}
		if stored.PasswordHash != admin.PasswordHash {
			if err := tx.Admins().Put(admin); err != nil {
				return err
			}
		}
		if err := tx.Throttles().Delete(admin.Name); err != nil {
			return err
		}
		if replaces != "" {
			if err := tx.Logins().Delete(replaces); err != nil {
				return err
			}
		}
		if l, err = a.insertLogin(tx, LoginID(loginPrefix+random), admin.Name, c.from); err != nil {
			return err
		}
		e := c.event(now, "login.succeeded")
		e.Actor = Actor{Kind: "admin", Name: admin.Name}
		e.Target, e.Label = string(l.ID), admin.Name
		return tx.Audit().Append(e)
	})
	if err != nil {
		return SignedIn{}, err
	}
	return a.signLogin(ctx, l)
}

func (a *Authority) insertLogin(tx Tx, id LoginID, admin, from string) (Login, error) {
	s, err := system(tx)
	if err != nil {
		return Login{}, err
	}
	key, err := currentKey(tx)
	if err != nil {
		return Login{}, err
	}
	now := a.second()
	l := Login{
		ID: id, Admin: admin, CreatedAt: now, AuthenticatedAt: now, From: from,
		ExpiresAt: now.Add(a.Policy().LoginAbsolute).Truncate(time.Second), KeyID: key.ID, Generation: s.Generation,
	}
	return l, tx.Logins().Insert(l)
}

// signLogin signs a login that is stored, unless a reset has just ended it.
func (a *Authority) signLogin(ctx context.Context, l Login) (SignedIn, error) {
	issuer := a.Policy().Issuer
	text, mintErr := a.Custody.Mint(l.KeyID, TypeLogin, Claims{
		Issuer: issuer, Subject: l.Admin, Audience: []string{issuer}, ID: string(l.ID),
		IssuedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt, Role: RoleAdmin,
	})
	err := a.Store.View(ctx, func(tx Tx) error { _, err := tx.Logins().Get(l.ID); return err })
	if KindOf(err) == NotFound && err != nil {
		return SignedIn{}, fail(Unauthenticated, "login.refused", "Every sign-in has just been ended. Sign in again.")
	}
	if err := errors.Join(mintErr, err); err != nil {
		return SignedIn{}, err
	}
	return SignedIn{l, text}, nil
}

// SignOut ends the caller's login.
func (a *Authority) SignOut(ctx context.Context, c Caller) error {
	if c.login == "" {
		return nil
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		if _, err := tx.Logins().Get(c.login); err != nil {
			if KindOf(err) == NotFound {
				return nil
			}
			return err
		}
		if err := tx.Logins().Delete(c.login); err != nil {
			return err
		}
		e := c.event(a.Now().UTC(), "login.ended")
		e.Target, e.Label = string(c.login), c.actor.Name
		return tx.Audit().Append(e)
	})
}

// Logins counts the logins that a reset would end.
func (a *Authority) Logins(ctx context.Context, c Caller) (int, error) {
	if err := c.mustAdmin(); err != nil {
		return 0, err
	}
	n, now := 0, a.Now()
	err := a.Store.View(ctx, func(tx Tx) error {
		n = 0
		for l, err := range tx.Logins().All() {
			if err != nil {
				return err
			}
			if now.Before(l.ExpiresAt) {
				n++
			}
		}
		return nil
	})
	return n, err
}

// PurgeLogins removes logins that have ended.
func (a *Authority) PurgeLogins(ctx context.Context) error {
	now := a.Now()
	return a.Store.Update(ctx, func(tx Tx) error {
		var gone []LoginID
		for l, err := range tx.Logins().All() {
			if err != nil {
				return err
			}
			if !now.Before(l.ExpiresAt) {
				gone = append(gone, l.ID)
			}
		}
		for _, id := range gone {
			if err := tx.Logins().Delete(id); err != nil {
				return err
			}
		}
		return nil
	})
}

const setupLife = 24 * time.Hour

// OpenSetup answers a one-time code with which the first administrator is
// made, or the zero Secret when there is one already. A later call ends the
// earlier code.
func (a *Authority) OpenSetup(ctx context.Context, c Caller) (Secret, error) {
	if err := c.mustAdmin(); err != nil {
		return Secret{}, err
	}
	random, err := randomText(a.Rand, 20) // 100 bits
	if err != nil {
		return Secret{}, err
	}
	code := random[0:5] + "-" + random[5:10] + "-" + random[10:15] + "-" + random[15:20]
	sum := sha256.Sum256([]byte(code))
	needed, exists := false, false
	err = a.Store.View(ctx, func(tx Tx) error {
		exists, err = anyAdmin(tx)
		return err
	})
	if err != nil || exists { // nothing is asked of a store that takes no changes now
		return Secret{}, err
	}
	err = a.Store.Update(ctx, func(tx Tx) error {
		needed = false
		exists, err := anyAdmin(tx)
		if err != nil || exists {
			return err
		}
		s, err := system(tx)
		if err != nil {
			return err
		}
		needed = true
		s.SetupDigest, s.SetupExpires = sum[:], a.Now().UTC().Add(setupLife)
		if err := tx.System().Put(s); err != nil {
			return err
		}
		return tx.Audit().Append(c.event(a.Now().UTC(), "setup.opened"))
	})
	if err != nil || !needed {
		return Secret{}, err
	}
	return NewSecret(code), nil
}

// SetupNeeded reports whether no administrator exists.
func (a *Authority) SetupNeeded(ctx context.Context) (bool, error) {
	exists := false
	err := a.Store.View(ctx, func(tx Tx) error {
		var err error
		exists, err = anyAdmin(tx)
		return err
	})
	return !exists, err
}

// CompleteSetup uses the one-time code to make the first administrator and
// signs it in. Of many calls with the same code exactly one succeeds.
func (a *Authority) CompleteSetup(ctx context.Context, c Caller, code Secret, username string, password Secret) (SignedIn, error) {
	now := a.Now().UTC()
	if wait := a.sources.wait(c.from, now); wait > 0 {
		return SignedIn{}, throttled(now.Add(wait), now)
	}
	sum := sha256.Sum256([]byte(code.Unsafe()))
	check := func(tx Tx) (System, error) {
		exists, err := anyAdmin(tx)
		if err != nil {
			return System{}, err
		}
		if exists {
			return System{}, fail(Conflict, "setup.done", "An administrator exists already. Sign in.")
		}
		s, err := system(tx)
		if err != nil {
			return System{}, err
		}
		if subtle.ConstantTimeCompare(s.SetupDigest, sum[:]) != 1 || !now.Before(s.SetupExpires) {
			return System{}, fail(Unauthenticated, "setup.code_refused", "That code is not valid. The server shows a new one when it starts.")
		}
		return s, nil
	}
	// The code comes first: without it nobody learns anything about passwords.
	err := a.Store.View(ctx, func(tx Tx) error { _, err := check(tx); return err })
	if err != nil {
		if KindOf(err) == Unauthenticated {
			a.sources.fail(c.from, now)
		}
		return SignedIn{}, err
	}
	admin, err := a.newAdmin(ctx, "setup", username, password)
	if err != nil {
		return SignedIn{}, err
	}
	err = a.Store.Update(ctx, func(tx Tx) error {
		s, err := check(tx)
		if err != nil {
			return err
		}
		s.SetupDigest, s.SetupExpires = nil, time.Time{}
		if err := tx.System().Put(s); err != nil {
			return err
		}
		if err := tx.Admins().Insert(admin); err != nil {
			return err
		}
		e := c.event(now, "setup.completed")
		e.Target, e.Label = admin.Name, admin.Name
		return tx.Audit().Append(e)
	})
	if err != nil {
		return SignedIn{}, err
	}
	return a.beginLogin(ctx, c, admin, "")
}

func anyAdmin(tx Tx) (bool, error) { return anyAdminBut(tx, "") }

// anyAdminBut reports whether there is an administrator of another name.
func anyAdminBut(tx Tx, name string) (bool, error) {
	for admin, err := range tx.Admins().All() {
		if err != nil || admin.Name != name {
			return err == nil, err
		}
	}
	return false, nil
}
