package httpapi

import (
	"net/http"
	"slices"

	"mintmark/api"
	"mintmark/internal/refusals"
)

// Refusal is one way in which the API says no: a stable code, the status that it
// always comes with, and what it means.
type Refusal struct {
	Code   string
	Status int
	Means  string
}

// Refusals lists every code that a problem document of the API can have, by
// status. No code is ever given another status or meaning.
func Refusals() []Refusal {
	return slices.Concat(requests(), conflicts(), bounds())
}

// requests are refused for what was asked, and by whom.
func requests() []Refusal {
	return []Refusal{
		{"request.invalid", 400, "Members or parameters are at fault; errors names each."},
		{api.CodeQuery, 400, "The query is malformed, or names a parameter that is unknown or there twice."},
		{api.CodeBodyMalformed, 400, "The body is not one JSON object with known members, each once and none null."},
		{api.CodeHeader, 400, "A header field is empty or there twice."},
		{api.CodeCredentialMalformed, 400, "The token is sent twice, in a list, in the URL or in another form (RFC 6750); 401 at /auth/verify."},
		{"idempotency_key.form", 400, "The Idempotency-Key is longer than 255 characters or not printable."},
		{"username.form", 400, "That can be nobody's user name."},
		{"config.invalid", 400, "Staged values are at fault; errors names each property."},
		{"store.unusable", 400, "The file that was named cannot be a token file."},

		{api.CodeTokenMissing, 401, "No token was sent."},
		{api.CodeTokenInvalid, 401, "The token is none, not ours, ended or deleted; all read alike."},
		{"login.refused", 401, "The user name and the password do not match."},

		{api.CodeTokenInsufficient, 403, "The token is good, and this is not for it."},
		{api.CodeStepUp, 403, "The password was entered too long ago; sign in again."},
		{api.CodeOrigin, 403, "A page of another origin sent this."},
		{"token.copy_forbidden", 403, "Policy does not let this caller copy a token."},
		{"demand.invalid", 403, "The door demands what no token can have."},

		{api.CodePathUnknown, 404, "There is nothing at this address."},
		{"token.not_found", 404, "There is no such token."},
		{"key.not_found", 404, "There is no key with that kid or name."},
		{"admin.not_found", 404, "There is no such administrator."},
		{"property.unknown", 404, "There is no such property."},
		{refusals.CodeUnknown, 404, "No refusal with that request id is kept on this node, or not any more."},
		{"config.no_revision", 404, "The history does not hold that revision."},

		{api.CodeMethod, 405, "The address does not answer this method; Allow names those it does."},
	}
}

// conflicts are requests that what there is stands against.
func conflicts() []Refusal {
	return []Refusal{
		{"token.ambiguous", 409, "More than one token has that name."},
		{"token.expired", 409, "The token has ended."},
		{"token.deleted", 409, "The token is deleted."},
		{"token.revoked", 409, "A reset of the signing secret ended the token."},
		{"token.replaced", 409, "The token has a successor."},
		{"token.not_replaced", 409, "The token has no successor: there is no replacement to take back."},
		{"token.replaced_again", 409, "The token's successor was replaced as well, by a token that is valid."},
		{"token.deleted_for_good", 409, "The token was deleted as leaked."},
		{"token.restore_ended", 409, "The time to restore the token is over."},
		{"key.rotating", 409, "The rotation before has not ended."},
		{"key.not_previous", 409, "The key is the current or the next one; only a previous one is ended."},
		{"key.retired", 409, "The key is retired, or its overlap is over."},
		{"key.not_sealed", 409, "The secrets of the keys are not in the store; only a fleet's are sealed."},
		{"key.secret_missing", 409, "The secret of a key is not on this node."},
		{"sealing.unusable", 409, "The file of the key-encryption keys cannot be used on this node."},
		{"idempotency_key.reused", 409, "The Idempotency-Key was used for another request."},
		{"admin.last", 409, "The last administrator cannot be removed."},
		{"admin.exists", 409, "There is an administrator of that name."},
		{"config.no_home", 409, "A server without installation directory has nothing to stage in."},
		{"property.read_only", 409, "The command line or the environment decides the property."},
		{"config.no_trial", 409, "Nothing is on trial: it was kept, or it went back."},
		{"config.on_trial", 409, "What is on trial has to be confirmed or reverted first."},
		{"config.revision", 409, "The settings have another revision by now."},
		{"store.both", 409, "The new store holds a token of the old one."},
		{"store.foreign", 409, "The new store belongs to another installation."},
	}
}

// bounds are requests that were too much, and those that the server could not serve.
func bounds() []Refusal {
	return []Refusal{
		{api.CodeBodyTooLarge, 413, "The body is larger than 64 KiB."},
		{api.CodeMediaType, 415, "The body is not of a media type that is taken here."},

		{api.CodeRateLimited, 429, "A limit of the token or of the address is reached; Retry-After says how long. 403 at /auth/verify."},
		{"login.paused", 429, "Too many failed sign-ins; Retry-After says how long."},

		{api.CodeInternal, 500, "A fault of the server; its log has the request id."},
		{api.CodeStateUnknown, 503, "The state of the tokens is not known; unknown is never allowed."},
		{api.CodeNotReady, 503, "The server does not answer verdicts yet."},
		{api.CodeUnavailable, 503, "It is not known whether the change was made."},
		{"request.cancelled", 503, "The request was given up; nothing was changed."},
		{"store.unavailable", 503, "The store cannot be reached; nothing was changed."},
		{"usage.unavailable", 503, "The counts of use cannot be read now."},
		{"store.read_only", 503, "The store is read-only; nothing was changed."},
		{"store.unknown", 503, "It is not known whether the change was stored."},
		{"keyring.unwritable", 503, "The keyring cannot be written; nothing was changed."},
		{"config.unwritable", 503, "The settings cannot be written; nothing was changed."},
		{"config.unknown", 503, "It is not known whether the settings were changed."},
		{"login.busy", 503, "Too many passwords are being checked."},

		{"store.full", 507, "There is no space left where changes last; nothing was changed."},
		{"config.full", 507, "There is no space left where the configuration lasts; nothing was changed."},
	}
}

// Refusals lists what the route can refuse with, by status: what the edge checks
// before it, what every change can meet, and what its own rules say.
func (r Route) Refusals() []Refusal {
	codes := append([]string{api.CodeInternal}, r.Refuses...)
	switch {
	case r.OAuth:
	case r.Permission == Anyone:
		codes = append(codes, api.CodeCredentialMalformed)
	default:
		codes = append(codes, api.CodeCredentialMalformed, api.CodeTokenMissing, api.CodeTokenInvalid, api.CodeTokenInsufficient, api.CodeRateLimited, api.CodeStateUnknown)
	}
	if r.raw == nil {
		codes = append(codes, api.CodeQuery, api.CodeBodyMalformed, api.CodeBodyTooLarge, api.CodeMediaType)
	}
	if r.Permission == Administrator || r.raw == nil && changes(r.Method) {
		codes = append(codes, api.CodeUnavailable, "request.cancelled", "store.unavailable")
	}
	if changes(r.Method) && r.Permission != Presented {
		codes = append(codes, api.CodeOrigin)
	}
	if r.raw == nil && changes(r.Method) {
		codes = append(codes, "store.read_only", "store.unknown", "store.full")
	}
	var out []Refusal
	for _, known := range Refusals() {
		if !slices.Contains(codes, known.Code) {
			continue
		}
		if r.Permission == Presented { // a proxy knows 401 and 403 only
			switch known.Code {
			case api.CodeCredentialMalformed:
				known.Status = http.StatusUnauthorized
			case api.CodeRateLimited:
				known.Status = http.StatusForbidden
			}
		}
		out = append(out, known)
	}
	return out
}

// changes tells the methods that are not safe (RFC 9110 section 9.2.1).
func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead
}
