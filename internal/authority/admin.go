package authority

import (
	"context"
	"errors"
)

// Admins lists the administrators by name.
func (a *Authority) Admins(ctx context.Context, c Caller) ([]Admin, error) {
	if err := c.mustAdmin(); err != nil {
		return nil, err
	}
	var admins []Admin
	err := a.Store.View(ctx, func(tx Tx) error {
		admins = nil
		for admin, err := range tx.Admins().All() {
			if err != nil {
				return err
			}
			admin.PasswordHash = ""
			admins = append(admins, admin)
		}
		return nil
	})
	return admins, err
}

// CreateAdmin adds an administrator.
func (a *Authority) CreateAdmin(ctx context.Context, c Caller, username string, password Secret) (Admin, error) {
	if err := c.mustAdmin(); err != nil {
		return Admin{}, err
	}
	if err := c.mustBeRecent(a.Now(), a.Policy().StepUp); err != nil {
		return Admin{}, err
	}
	admin, err := a.newAdmin(ctx, c.actor.Name, username, password)
	if err != nil {
		return Admin{}, err
	}
	err = a.Store.Update(ctx, func(tx Tx) error {
		if err := tx.Admins().Insert(admin); err != nil {
			if KindOf(err) == Conflict {
				return &Error{Kind: Conflict, Code: "admin.exists", Msg: "There is an administrator " + admin.Name + " already.", Err: err}
			}
			return err
		}
		// The one-time code of a first start ends with the first administrator.
		if err := closeSetup(tx); err != nil {
			return err
		}
		return tx.Audit().Append(a.adminEvent(c, "admin.created", admin.Name))
	})
	admin.PasswordHash = ""
	return admin, err
}

// ResetPassword gives an administrator a new password, ends all its logins and
// lifts a pause.
func (a *Authority) ResetPassword(ctx context.Context, c Caller, username string, password Secret) error {
	if err := c.mustAdmin(); err != nil {
		return err
	}
	if err := c.mustBeRecent(a.Now(), a.Policy().StepUp); err != nil {
		return err
	}
	fresh, err := a.newAdmin(ctx, "", username, password)
	if err != nil {
		return err
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		admin, err := tx.Admins().Get(fresh.Name)
		if err != nil {
			return noAdmin(err)
		}
		admin.PasswordHash, admin.PasswordChangedAt = fresh.PasswordHash, fresh.PasswordChangedAt
		if err := tx.Admins().Put(admin); err != nil {
			return err
		}
		if err := tx.Throttles().Delete(admin.Name); err != nil {
			return err
		}
		if err := endLogins(tx, admin.Name); err != nil {
			return err
		}
		return tx.Audit().Append(a.adminEvent(c, "admin.password_reset", admin.Name))
	})
}

// DeleteAdmin removes an administrator and ends all its logins. The last one is
// not removed (Conflict, "admin.last"): nobody would have a name to sign in with.
// Tokens stay, whoever made them.
func (a *Authority) DeleteAdmin(ctx context.Context, c Caller, username string) error {
	if err := c.mustAdmin(); err != nil {
		return err
	}
	if err := c.mustBeRecent(a.Now(), a.Policy().StepUp); err != nil {
		return err
	}
	name, err := CanonicalName(username)
	if err != nil {
		return err
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		if _, err := tx.Admins().Get(name); err != nil {
			return noAdmin(err)
		}
		others, err := anyAdminBut(tx, name)
		if err != nil {
			return err
		}
		if !others {
			return fail(Conflict, "admin.last", name+" is the last administrator. Add another one first.")
		}
		if err := tx.Admins().Delete(name); err != nil {
			return err
		}
		if err := tx.Throttles().Delete(name); err != nil {
			return err
		}
		if err := endLogins(tx, name); err != nil {
			return err
		}
		return tx.Audit().Append(a.adminEvent(c, "admin.deleted", name))
	})
}

// UnlockAdmin lifts the pause after failed sign-ins.
func (a *Authority) UnlockAdmin(ctx context.Context, c Caller, username string) error {
	if err := c.mustAdmin(); err != nil {
		return err
	}
	name, err := CanonicalName(username)
	if err != nil {
		return err
	}
	return a.Store.Update(ctx, func(tx Tx) error {
		if _, err := tx.Admins().Get(name); err != nil {
			return noAdmin(err)
		}
		if err := tx.Throttles().Delete(name); err != nil {
			return err
		}
		return tx.Audit().Append(a.adminEvent(c, "admin.unlocked", name))
	})
}

// newAdmin checks a name and a password and hashes the latter, outside any
// transaction because it takes its time.
func (a *Authority) newAdmin(ctx context.Context, by, username string, password Secret) (Admin, error) {
	name, err := CanonicalName(username)
	if err != nil {
		return Admin{}, withField(err, "username")
	}
	if why := a.Passwords.Check(password, "mintmark", a.Host, name); why != "" {
		return Admin{}, invalid(FieldError{"password", "password.refused", why})
	}
	hash, err := a.Passwords.Hash(ctx, password)
	if err != nil {
		return Admin{}, err
	}
	now := a.Now().UTC()
	return Admin{Name: name, PasswordHash: hash, CreatedAt: now, CreatedBy: by, PasswordChangedAt: now}, nil
}

func withField(err error, field string) error {
	var e *Error
	if errors.As(err, &e) {
		return invalid(FieldError{field, e.Code, e.Msg})
	}
	return err
}

func closeSetup(tx Tx) error {
	s, err := system(tx)
	if err != nil || len(s.SetupDigest) == 0 {
		return err
	}
	s.SetupDigest = nil
	return tx.System().Put(s)
}

func endLogins(tx Tx, admin string) error {
	for l, err := range tx.Logins().All() {
		if err != nil {
			return err
		}
		if l.Admin == admin {
			if err := tx.Logins().Delete(l.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func noAdmin(err error) error {
	if KindOf(err) == NotFound {
		return &Error{Kind: NotFound, Code: "admin.not_found", Msg: "There is no administrator of that name.", Err: err}
	}
	return err
}

func (a *Authority) adminEvent(c Caller, action, name string) Event {
	e := c.event(a.Now().UTC(), action)
	e.Target, e.Label = name, name
	return e
}
