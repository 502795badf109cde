package authority

import "time"

// Caller is who asks. It comes from whatever checked the credential: the live
// set for tokens and logins, the socket's peer check for a local operator. The
// zero Caller is nobody and may do nothing but sign in.
type Caller struct {
	actor   Actor
	role    Role
	token   TokenID
	login   LoginID
	authAt  time.Time // when a password was last entered; zero for tokens
	local   bool
	from    string
	request string
}

// Origin is where a request came from.
type Origin struct {
	From      string // source address
	RequestID string
}

// Nobody is a caller without a credential.
func Nobody(o Origin) Caller {
	return Caller{actor: Actor{Kind: "anonymous"}, from: o.From, request: o.RequestID}
}

// LocalOperator is someone who can open the socket or the files of the home,
// which only the service's user can. name is user@host.
func LocalOperator(name string, o Origin) Caller {
	return Caller{actor: Actor{Kind: "local", Name: name}, role: RoleAdmin, local: true, from: "local", request: o.RequestID}
}

// TokenCaller speaks with an API token that a verdict allowed.
func TokenCaller(id TokenID, clientID string, role Role, o Origin) Caller {
	return Caller{actor: Actor{Kind: "token", Name: clientID}, role: role, token: id, from: o.From, request: o.RequestID}
}

// LoginCaller speaks with a login token that a verdict allowed.
func LoginCaller(id LoginID, admin string, authenticatedAt time.Time, o Origin) Caller {
	return Caller{
		actor: Actor{Kind: "admin", Name: admin}, role: RoleAdmin,
		login: id, authAt: authenticatedAt, from: o.From, request: o.RequestID,
	}
}

// Actor is the caller's name in the audit log.
func (c Caller) Actor() Actor { return c.actor }

// From is the address that the caller came from.
func (c Caller) From() string { return c.from }

// Role is what the caller may do; "" for nobody.
func (c Caller) Role() Role { return c.role }

// TokenID is the API token spoken with; "" for other callers.
func (c Caller) TokenID() TokenID { return c.token }

// LoginID is the login spoken with; "" for other callers.
func (c Caller) LoginID() LoginID { return c.login }

// Local reports whether the caller came through the home itself.
func (c Caller) Local() bool { return c.local }

// Permit answers whether the caller may do what only an administrator may, for
// the few things that are not records of the store.
func Permit(c Caller) error { return c.mustAdmin() }

// PermitRecent answers whether a login has entered its password within limit; others
// have none to enter.
func PermitRecent(c Caller, now time.Time, limit time.Duration) error {
	return c.mustBeRecent(now, limit)
}

// mustAdmin is the check of every administrative method.
func (c Caller) mustAdmin() error {
	switch c.role {
	case RoleAdmin:
		return nil
	case RoleUser, RoleVerifier:
		return fail(Forbidden, "role.insufficient", "This needs the role admin.")
	}
	return fail(Unauthenticated, "token.missing", "Sign in, or send an API token.")
}

// mustBeRecent asks a login for a password entered within limit. Tokens and
// the local operator have no password to enter.
func (c Caller) mustBeRecent(now time.Time, limit time.Duration) error {
	if c.login != "" && now.Sub(c.authAt) > limit {
		return fail(StepUp, "login.step_up", "Enter your password again to do this.")
	}
	return nil
}

func (c Caller) event(now time.Time, action string) Event {
	return Event{At: now, Actor: c.actor, Action: action, From: c.from, Outcome: OutcomeOK, RequestID: c.request}
}
