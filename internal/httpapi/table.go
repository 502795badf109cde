package httpapi

import (
	"net/http"
	"slices"
)

// table is every route there is.
func (a *API) table() []Route {
	return slices.Concat(a.loginRoutes(), a.tokenRoutes(), a.keyRoutes(), a.configRoutes(), a.adminRoutes(), a.publicRoutes())
}

func (a *API) loginRoutes() []Route {
	return []Route{
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/signIn", Permission: Anyone, Form: true,
			Summary: "Sign an administrator in: a name and a password become a login token.",
		}, a.signIn),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/signOut", Permission: AnyToken,
			Summary: "End the caller's login.",
		}, a.signOut),
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/whoami", Permission: AnyToken,
			Summary: "Tell the caller who it is.",
		}, a.whoami),
	}
}

func (a *API) tokenRoutes() []Route {
	const one = "/api/v1/tokens/{id}"
	return []Route{
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/tokens", Summary: "List tokens, page by page.",
			Query: []Parameter{
				{"q", "Prefix of a client ID, an id or a tag."},
				{"role", "admin, user or verifier."},
				{"state", "active, expired, revoked, deleted or all; without it, all but deleted."},
				{"tag", "A tag that the token carries."},
				{"client_id", "The exact client ID."},
				{"expiring", "A duration such as 14d: tokens that end within it."},
				{"sort", "client_id, role, created_at, expires_at or last_used_at."},
				{"dir", "asc or desc."},
				{"limit", "Tokens of a page, 1 to 500; 50 without it."},
				{"cursor", "next_cursor of the page before."},
			},
		}, a.listTokens),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/tokens", Summary: "Create a token; the answer holds its text.",
			Status:  http.StatusCreated,
			Headers: []Parameter{{"Idempotency-Key", "A repeat within a day answers as the first call did."}},
		}, a.createToken),
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/tokens/find", Summary: "Find the one token that a name stands for.",
			Query: []Parameter{
				{"name", "An id, a prefix of one, or a client ID."},
				{"deleted", "true looks among deleted tokens, false among all others."},
			},
		}, a.findToken),
		does(Route{Method: http.MethodGet, Path: one, Summary: "Read a token's record."}, a.readToken),
		does(Route{
			Method: http.MethodDelete, Path: one, Summary: "Revoke a token at once; repeating it changes nothing.",
			Query: []Parameter{{"leaked", "true deletes for good: no restore."}},
		}, a.deleteToken),
		does(Route{Method: http.MethodPost, Path: one + "/reveal", Summary: "Show a token's text again."}, a.revealToken),
		does(Route{Method: http.MethodPost, Path: one + "/restore", Summary: "Undo a delete within its grace."}, a.restoreToken),
		does(Route{Method: http.MethodPost, Path: "/api/v1/explain", Summary: "Tell every check of a token and what it compared."}, a.explain),
	}
}

func (a *API) keyRoutes() []Route {
	return []Route{
		does(Route{Method: http.MethodGet, Path: "/api/v1/keys", Summary: "List every key, newest first."}, a.listKeys),
		does(Route{Method: http.MethodPost, Path: "/api/v1/keys/reset", Summary: "End every token and every login at once, and begin with new keys."}, a.resetKeys),
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/audit", Summary: "Read the audit log, newest first.",
			Query: []Parameter{
				{"before", "next_before of the page before."},
				{"limit", "Entries of a page, 1 to 500; 50 without it."},
				{"actor", "The exact name of who did it."},
				{"target", "The exact id or label of what it was done to."},
				{"action", "An action, or a group of them with a final dot."},
				{"outcome", "ok or refused."},
				{"since", "From this time on."},
				{"until", "Before this time."},
			},
		}, a.listEvents),
		does(Route{Method: http.MethodGet, Path: "/api/v1/status", Summary: "Tell how the server stands, problems first."}, a.status),
	}
}

func (a *API) configRoutes() []Route {
	const property = "/api/v1/config/properties/{name}"
	return []Route{
		does(Route{Method: http.MethodGet, Path: "/api/v1/config", Summary: "List every property with its running, applied and staged value."}, a.readConfig),
		does(Route{Method: http.MethodPut, Path: property, Summary: "Stage a property; nothing runs differently yet."}, a.setProperty),
		does(Route{Method: http.MethodDelete, Path: property, Summary: "Stage that a property is unset."}, a.unsetProperty),
		does(Route{Method: http.MethodGet, Path: "/api/v1/config/diff", Summary: "Validate all that is staged and show the difference."}, a.diffConfig),
		does(Route{Method: http.MethodPost, Path: "/api/v1/config/apply", Summary: "Apply all that is staged."}, a.applyConfig),
		does(Route{Method: http.MethodPost, Path: "/api/v1/config/discard", Summary: "Drop all that is staged."}, a.discardConfig),
		does(Route{Method: http.MethodPost, Path: "/api/v1/config/rollback", Summary: "Stage what brings an earlier revision back."}, a.rollbackConfig),
	}
}

func (a *API) adminRoutes() []Route {
	return []Route{
		does(Route{Method: http.MethodGet, Path: "/api/v1/admins", Summary: "List the administrators."}, a.listAdmins),
		does(Route{Method: http.MethodPost, Path: "/api/v1/admins", Summary: "Add an administrator.", Status: http.StatusCreated}, a.createAdmin),
		does(Route{Method: http.MethodPost, Path: "/api/v1/admins/{name}/password", Summary: "Give an administrator a new password and end its logins."}, a.resetPassword),
		does(Route{Method: http.MethodPost, Path: "/api/v1/admins/{name}/unlock", Summary: "Lift the pause after failed sign-ins."}, a.unlockAdmin),
	}
}

func (a *API) publicRoutes() []Route {
	return []Route{
		serves(Route{
			Method: http.MethodGet, Path: "/.well-known/jwks.json", Permission: Anyone,
			Summary: "Publish the keys that verify tokens (RFC 7517).",
		}, "application/jwk-set+json", a.keySet),
		does(Route{
			Method: http.MethodGet, Path: "/.well-known/oauth-authorization-server", Permission: Anyone,
			Summary: "Describe the authority to OAuth libraries (RFC 8414).",
		}, a.metadata),
		does(Route{Method: http.MethodGet, Path: "/healthz", Permission: Anyone, Summary: "Tell that the process answers."}, a.alive),
		does(Route{Method: http.MethodGet, Path: "/readyz", Permission: Anyone, Summary: "Tell whether verdicts are answered."}, a.ready),
		serves(Route{
			Path: "/auth/verify", Permission: AnyToken, Summary: "Forward-auth: tell a proxy whether a token is allowed.",
			Query: []Parameter{
				{"role", "The role that is needed."},
				{"tag", "A tag that is needed; may be repeated."},
				{"client_id", "The client ID that is needed."},
				{"audience", "The audience that is needed; may be repeated."},
			},
		}, "", a.Verify.ServeHTTP),
		serves(Route{
			Method: http.MethodGet, Path: "/openapi.json", Permission: Anyone,
			Summary: "Describe this API (OpenAPI 3.1).",
		}, mediaJSON, a.openAPI),
	}
}
