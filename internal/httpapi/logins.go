package httpapi

import (
	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/edge"
)

func (a *API) signIn(c *call, in api.Credentials) (api.SignedIn, error) {
	var wrong faults
	if in.Username == "" {
		wrong.add("username", "username.empty", "Enter a user name.")
	}
	if in.Password.Unsafe() == "" {
		wrong.add("password", "password.empty", "Enter a password.")
	}
	if err := wrong.err(); err != nil {
		return api.SignedIn{}, err
	}
	l, err := a.Authority.SignIn(c.request.Context(), c.caller, in.Username, secret(in.Password))
	if err != nil {
		return api.SignedIn{}, err
	}
	return api.SignedIn{
		Message: "Signed in.", Token: api.NewSecret(l.Text.Unsafe()), Role: string(authority.RoleAdmin),
		ID: l.ID.String(), Username: l.Admin, ReadOnly: false, Tags: []string{},
	}, nil
}

func (a *API) signOut(c *call, _ none) (none, error) {
	return none{}, a.Authority.SignOut(c.request.Context(), c.caller)
}

func (a *API) whoami(c *call, _ none) (api.Identity, error) {
	if c.caller.Local() {
		return api.Identity{
			Kind: api.KindOperator, ClientID: edge.Of(c.request).Operator, Role: string(c.caller.Role()), Tags: []string{}, Audience: []string{},
		}, nil
	}
	i := c.verdict.Identity
	kind := api.KindToken
	if i.Login {
		kind = api.KindLogin
	}
	return api.Identity{
		ID: i.ID, Kind: kind, ClientID: i.ClientID, Role: string(i.Role), Tags: list(i.Tags), Audience: list(i.Audience), ExpiresAt: moment(i.ExpiresAt),
	}, nil
}

func (a *API) listAdmins(c *call, _ none) (api.AdminList, error) {
	admins, err := a.Authority.Admins(c.request.Context(), c.caller)
	if err != nil {
		return api.AdminList{}, err
	}
	out := api.AdminList{Items: []api.Admin{}}
	for _, admin := range admins {
		out.Items = append(out.Items, adminOf(admin))
	}
	return out, nil
}

func (a *API) createAdmin(c *call, in api.Credentials) (api.Admin, error) {
	admin, err := a.Authority.CreateAdmin(c.request.Context(), c.caller, in.Username, secret(in.Password))
	if err != nil {
		return api.Admin{}, err
	}
	return adminOf(admin), nil
}

func (a *API) resetPassword(c *call, in api.NewPassword) (none, error) {
	return none{}, a.Authority.ResetPassword(c.request.Context(), c.caller, c.request.PathValue("name"), secret(in.Password))
}

func (a *API) deleteAdmin(c *call, _ none) (none, error) {
	return none{}, a.Authority.DeleteAdmin(c.request.Context(), c.caller, c.request.PathValue("name"))
}

func (a *API) unlockAdmin(c *call, _ none) (none, error) {
	return none{}, a.Authority.UnlockAdmin(c.request.Context(), c.caller, c.request.PathValue("name"))
}

func adminOf(admin authority.Admin) api.Admin {
	return api.Admin{
		Name: admin.Name, CreatedAt: admin.CreatedAt.UTC(), CreatedBy: admin.CreatedBy, PasswordChangedAt: admin.PasswordChangedAt.UTC(),
	}
}

// secret hands what came over the wire to the rules, redacted all the way.
func secret(s api.Secret) authority.Secret { return authority.NewSecret(s.Unsafe()) }
