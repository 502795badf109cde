package httpapi

import (
	"net/http"
	"reflect"
	"slices"

	"mintmark/api"
	"mintmark/internal/refusals"
)

// table is every route there is.
func (a *API) table() []Route {
	return slices.Concat(a.loginRoutes(), a.tokenRoutes(), a.keyRoutes(), a.configRoutes(), a.adminRoutes(), a.publicRoutes(), a.doorRoutes())
}

func (a *API) loginRoutes() []Route {
	return []Route{
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/signIn", Permission: Anyone, Form: true,
			Summary: "Sign an administrator in: a name and a password become a login token.",
			Refuses: []string{"request.invalid", "login.refused", "login.paused", "login.busy"},
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
				{Name: "q", About: "Prefix of a client ID, an id or a tag."},
				{Name: "role", About: "The role of the token.", Values: []string{"admin", "user", "verifier"}},
				{Name: "state", About: "Without it, all but deleted and replaced; all leaves out the deleted.", Values: []string{"active", "expired", "revoked", "deleted", "replaced", "all"}},
				{Name: "tag", About: "A tag that the token carries."},
				{Name: "client_id", About: "The exact client ID."},
				{Name: "expiring", About: "A duration such as 14d: tokens that end within it."},
				{Name: "sort", About: "client_id without it; what is not there comes last, and what is alike, such as tokens of one second, is ordered by id.", Values: []string{"client_id", "role", "created_at", "expires_at", "last_used_at"}},
				{Name: "dir", About: "asc without it.", Values: []string{"asc", "desc"}},
				{Name: "limit", About: "Tokens of a page, 1 to 500; 50 without it."},
				{Name: "cursor", About: "next_cursor of the page before."},
			},
			Refuses: []string{"request.invalid"},
		}, a.listTokens),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/tokens", Summary: "Create a token; the answer holds its text.",
			Status:  http.StatusCreated,
			Headers: []Parameter{{Name: "Idempotency-Key", About: "A repeat within a day answers as the first call did."}},
			Refuses: []string{
				"request.invalid", api.CodeHeader, "idempotency_key.form", "idempotency_key.reused", "token.not_found", "token.expired", "token.deleted", "token.revoked", "token.replaced",
			},
		}, a.createToken),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/tokens/preview", Summary: "Check what a create would be given and show the record it would make; nothing is made.",
			Refuses: []string{"request.invalid"},
		}, a.previewToken),
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/tokens/find", Summary: "Find the one token that a name stands for.",
			Query: []Parameter{
				{Name: "name", About: "An id, a prefix of one, or a client ID."},
				{Name: "deleted", About: "true looks among deleted tokens, false among all others.", Values: flagValues()},
			},
			Refuses: []string{"request.invalid", "token.not_found", "token.ambiguous"},
		}, a.findToken),
		does(Route{Method: http.MethodGet, Path: one, Summary: "Read a token's record.", Refuses: []string{"token.not_found"}}, a.readToken),
		does(Route{
			Method: http.MethodGet, Path: one + "/usage", Summary: "Tell how a token was used: by hours and days, by source, and what was refused.",
			Refuses: []string{"token.not_found", "usage.unavailable"},
		}, a.tokenUsage),
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/usage/unknown", Summary: "Tell what was refused of tokens that are not known for certain: made up, forged, forgotten.",
			Refuses: []string{"usage.unavailable"},
		}, a.unknownUsage),
		does(Route{
			Method: http.MethodDelete, Path: one, Summary: "Revoke a token at once; repeating it changes nothing.",
			Query:   []Parameter{{Name: "leaked", About: "true deletes for good: no restore.", Values: flagValues()}},
			Refuses: []string{"request.invalid", "token.not_found"},
		}, a.deleteToken),
		does(Route{
			Method: http.MethodPost, Path: one + "/reveal", Summary: "Show a token's text again.",
			Refuses: []string{"token.not_found", "token.copy_forbidden", api.CodeStepUp, "token.expired", "token.deleted", "token.revoked", "token.replaced"},
		}, a.revealToken),
		does(Route{
			Method: http.MethodPost, Path: one + "/restore", Summary: "Undo a delete within its grace.",
			Refuses: []string{"token.not_found", api.CodeStepUp, "token.revoked", "token.replaced", "token.deleted_for_good", "token.restore_ended"},
		}, a.restoreToken),
		does(Route{
			Method: http.MethodPost, Path: one + "/replace", Summary: "Give a token a successor, whose text is in the answer; the old one lives on for an overlap.",
			Status:  http.StatusCreated,
			Refuses: []string{"request.invalid", "token.not_found", "token.expired", "token.deleted", "token.revoked", "token.replaced"},
		}, a.replaceToken),
		does(Route{
			Method: http.MethodDelete, Path: one + "/replace", Summary: "Take a replacement back while its overlap lasts: the successor is deleted.",
			Refuses: []string{"token.not_found", "token.not_replaced", "token.expired", "token.deleted", "token.revoked", "token.replaced", "token.replaced_again"},
		}, a.undoReplace),
		does(Route{
			Method: http.MethodPost, Path: one + "/contacted", Summary: "Note that whoever uses a token was told to move.",
			Refuses: []string{"request.invalid", "token.not_found"},
		}, a.markContacted),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/explain", Summary: "Tell why a request was refused, by its id, or how a door would answer a token: every check and what it compared.",
			Refuses: []string{"request.invalid", refusals.CodeUnknown},
		}, a.explain),
	}
}

func (a *API) keyRoutes() []Route {
	const one = "/api/v1/keys/{kid}"
	return []Route{
		does(Route{Method: http.MethodGet, Path: "/api/v1/keys", Summary: "List every key, newest first."}, a.listKeys),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/keys/rotate", Summary: "Let the next key sign, and accept the one before for an overlap.",
			Refuses: []string{"request.invalid", api.CodeStepUp, "key.rotating", "keyring.unwritable"},
		}, a.rotateKeys),
		does(Route{
			Method: http.MethodGet, Path: one + "/evidence", Summary: "Tell which clients still depend on a key, those of most concern first.",
			Query: []Parameter{
				{Name: "state", About: "Only tokens of this state.", Values: []string{"not_moved", "mixed", "silent", "moved"}},
				{Name: "limit", About: "Tokens that are named, 1 to 5000; 500 without it.", Most: maxEvidence, Usual: defaultEvidence},
			},
			Refuses: []string{"request.invalid", "key.not_found", "key.not_previous"},
		}, a.evidence),
		does(Route{
			Method: http.MethodPost, Path: one + "/extend", Summary: "Let the overlap of a previous key end later.",
			Refuses: []string{"request.invalid", "key.not_found", "key.not_previous", "key.retired"},
		}, a.extendKey),
		does(Route{
			Method: http.MethodPost, Path: one + "/trial-stop", Summary: "Refuse tokens under a previous key for a while; then they are accepted again by themselves.",
			Refuses: []string{"request.invalid", "key.not_found", "key.not_previous", "key.retired"},
		}, a.trialStop),
		does(Route{
			Method: http.MethodDelete, Path: one + "/trial-stop", Summary: "Accept tokens under a key on trial again at once.",
			Refuses: []string{"key.not_found", "key.not_previous", "key.retired"},
		}, a.endTrial),
		does(Route{
			Method: http.MethodPost, Path: one + "/retire", Summary: "Stop accepting a previous key, for good; repeating it changes nothing.",
			Refuses: []string{api.CodeStepUp, "key.not_found", "key.not_previous", "keyring.unwritable"},
		}, a.retireKey),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/keys/reset", Summary: "End every token and every login at once, and begin with new keys.",
			Refuses: []string{"request.invalid", api.CodeStepUp, "keyring.unwritable"},
		}, a.resetKeys),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/keys/reseal", Summary: "Seal the secrets of a fleet's keys under the first key-encryption key of its file, all at once.",
			Refuses: []string{api.CodeStepUp, "key.not_sealed", "key.secret_missing", "sealing.unusable"},
		}, a.resealKeys),
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/audit", Summary: "Read the audit log, newest first.",
			Query: []Parameter{
				{Name: "cursor", About: "next_cursor of the page before."},
				{Name: "before", About: "The same by number: next_before of the page before."},
				{Name: "limit", About: "Entries of a page, 1 to 500; 50 without it."},
				{Name: "actor", About: "The exact name of who did it."},
				{Name: "target", About: "The exact id or label of what it was done to."},
				{Name: "action", About: "An action, or a group of them with a final dot."},
				{Name: "outcome", About: "How it ended.", Values: []string{"ok", "refused"}},
				{Name: "since", About: "From this time on."},
				{Name: "until", About: "Before this time."},
			},
			Refuses: []string{"request.invalid"},
		}, a.listEvents),
		does(Route{Method: http.MethodGet, Path: "/api/v1/status", Summary: "Tell how the server stands, problems first."}, a.status),
	}
}

func (a *API) configRoutes() []Route {
	const property = "/api/v1/config/properties/{name}"
	return []Route{
		does(Route{Method: http.MethodGet, Path: "/api/v1/config", Summary: "List every property with its running, applied and staged value."}, a.readConfig),
		does(Route{
			Method: http.MethodPut, Path: property, Summary: "Stage a property; nothing runs differently yet.",
			Refuses: []string{"config.no_home", "config.invalid", "property.unknown", "property.read_only", "config.unwritable", "config.unknown", "config.full"},
		}, a.setProperty),
		does(Route{
			Method: http.MethodDelete, Path: property, Summary: "Stage that a property is unset.",
			Refuses: []string{"config.no_home", "property.unknown", "property.read_only", "config.unwritable", "config.unknown", "config.full"},
		}, a.unsetProperty),
		does(Route{
			Method: http.MethodGet, Path: "/api/v1/config/diff", Summary: "Validate all that is staged and show the difference.",
			Refuses: []string{"config.no_home", "config.invalid"},
		}, a.diffConfig),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/config/apply", Summary: "Apply all that is staged, for good or on trial.",
			Refuses: []string{"request.invalid", api.CodeStepUp, "config.no_home", "config.invalid", "config.revision", "config.on_trial", "config.unwritable", "config.unknown", "config.full", "store.both", "store.foreign", "store.unusable"},
		}, a.applyConfig),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/config/confirm", Summary: "Keep what is on trial.",
			Refuses: []string{"config.no_home", "config.no_trial", "config.revision", "config.unwritable", "config.unknown", "config.full"},
		}, a.confirmConfig),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/config/extend", Summary: "Give what is on trial more time.",
			Refuses: []string{"request.invalid", "config.no_home", "config.no_trial", "config.revision", "config.unwritable", "config.unknown", "config.full"},
		}, a.extendConfig),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/config/revert", Summary: "Go back from what is on trial to the revision before.",
			Refuses: []string{"config.no_home", "config.no_trial", "config.no_revision", "config.invalid", "config.revision", "config.unwritable", "config.unknown", "config.full"},
		}, a.revertConfig),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/config/discard", Summary: "Drop all that is staged.",
			Refuses: []string{"config.no_home", "config.unwritable", "config.unknown", "config.full"},
		}, a.discardConfig),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/config/rollback", Summary: "Apply an earlier revision again, for good or on trial, or leave all as it is.",
			Refuses: []string{"request.invalid", api.CodeStepUp, "config.no_home", "config.no_revision", "config.on_trial", "config.invalid", "config.unwritable", "config.unknown", "config.full", "store.both", "store.foreign", "store.unusable"},
		}, a.rollbackConfig),
	}
}

func (a *API) adminRoutes() []Route {
	const one = "/api/v1/admins/{name}"
	return []Route{
		does(Route{Method: http.MethodGet, Path: "/api/v1/admins", Summary: "List the administrators."}, a.listAdmins),
		does(Route{
			Method: http.MethodPost, Path: "/api/v1/admins", Summary: "Add an administrator.", Status: http.StatusCreated,
			Refuses: []string{"request.invalid", api.CodeStepUp, "admin.exists", "login.busy"},
		}, a.createAdmin),
		does(Route{
			Method: http.MethodDelete, Path: one, Summary: "Remove an administrator, who is not the last, and end its logins.",
			Refuses: []string{"username.form", api.CodeStepUp, "admin.not_found", "admin.last"},
		}, a.deleteAdmin),
		does(Route{
			Method: http.MethodPost, Path: one + "/password", Summary: "Give an administrator a new password and end its logins.",
			Refuses: []string{"request.invalid", api.CodeStepUp, "admin.not_found", "login.busy"},
		}, a.resetPassword),
		does(Route{
			Method: http.MethodPost, Path: one + "/unlock", Summary: "Lift the pause after failed sign-ins.",
			Refuses: []string{"username.form", "admin.not_found"},
		}, a.unlockAdmin),
	}
}

// flagValues are what a parameter takes that is on or off.
func flagValues() []string { return []string{"true", "false"} }

func (a *API) publicRoutes() []Route {
	return []Route{
		serves(Route{
			Method: http.MethodGet, Path: "/.well-known/jwks.json", Permission: Anyone,
			Summary: "Publish the keys that verify tokens (RFC 7517).", Refuses: []string{"store.unavailable"},
		}, "application/jwk-set+json", a.keySet),
		serves(Route{
			Method: http.MethodGet, Path: metadataPath, Permission: Anyone, out: reflect.TypeFor[api.Metadata](),
			Summary: "Describe the authority to OAuth libraries (RFC 8414).",
		}, mediaJSON, a.metadata),
		serves(Route{
			Method: http.MethodGet, Path: metadataPath + "/{issuer...}", Permission: Anyone, Refuses: []string{api.CodePathUnknown}, out: reflect.TypeFor[api.Metadata](),
			Summary: "The same where the issuer has a path, and only for that (RFC 8414 section 3.1).",
		}, mediaJSON, a.metadataOf),
		does(Route{Method: http.MethodGet, Path: "/healthz", Permission: Anyone, Summary: "Tell that the process answers."}, a.alive),
		does(Route{Method: http.MethodGet, Path: "/readyz", Permission: Anyone, Summary: "Tell whether verdicts are answered.", Refuses: []string{api.CodeNotReady}}, a.ready),
		serves(Route{
			Method: http.MethodGet, Path: "/openapi.json", Permission: Anyone,
			Summary: "Describe this API (OpenAPI 3.1).",
		}, mediaJSON, a.openAPI),
	}
}

// doorRoutes are those at which a token is asked about.
func (a *API) doorRoutes() []Route {
	return []Route{
		serves(Route{
			Path: "/auth/verify", Permission: Presented, Summary: "Forward-auth: tell a proxy whether a token is allowed.",
			Refuses: []string{"demand.invalid"},
			Query: []Parameter{
				{Name: "role", About: "The role that is needed; user without it.", Values: []string{"user", "admin"}},
				{Name: "tag", About: "A tag that is needed; may be repeated.", Repeats: true},
				{Name: "client_id", About: "The client ID that is needed."},
				{Name: "audience", About: "The audience that is needed, one of the server's own."},
			},
		}, "", a.Verify.ServeHTTP),
		forms[api.Introspection](Route{
			Method: http.MethodPost, Path: "/oauth2/introspect", Permission: Verifiers,
			Summary: "Introspection (RFC 7662): tell whose a token is, if it is good.",
		}, a.Introspect.ServeHTTP),
		forms[none](Route{
			Method: http.MethodPost, Path: "/oauth2/revoke", Permission: Owners,
			Summary: "Revocation (RFC 7009): end a token at once, if it is the caller's.",
		}, a.Revoke.ServeHTTP),
		serves(Route{
			Method: http.MethodPost, Path: "/k8s/tokenreview", Permission: Verifiers,
			Summary: "Kubernetes webhook: authenticate the bearer of a token (TokenReview of authentication.k8s.io/v1).",
			Refuses: []string{api.CodeBodyMalformed, api.CodeBodyTooLarge, api.CodeMediaType},
		}, mediaJSON, a.TokenReview.ServeHTTP),
	}
}
