package conformance_test

// pageHead is what docs/conformance.md says before the tables.
const pageHead = `# One decision, every door

The test ` + "`internal/conformance`" + ` asks every door about the same tokens and writes this page from what it saw
(` + "`go test ./internal/conformance -update`" + `). Each state is tried with ES256, EdDSA and HS256, and each door is asked
twice, when it sees the token first and when it knows it.

| verdict | forward-auth, ext_authz, guard, Go, own API | introspection | TokenReview | console |
|---|---|---|---|---|
| allow | 200, or what the API behind it answers | ` + "`active: true`" + ` and who it is | ` + "`authenticated: true`" + ` | the page |
| missing | 401, a challenge without an error | – | – | to the sign-in |
| malformed | 400 ` + "`invalid_request`" + `; forward-auth 401 | – | – | – |
| invalid | 401 ` + "`invalid_token`" + `, in the same words whatever is wrong | ` + "`{\"active\":false}`" + `, the same bytes whatever is wrong | ` + "`authenticated: false`" + ` | to the sign-in, which says why |
| forbidden | 403 ` + "`insufficient_scope`" + ` | – | – | – |
| unknown | 503 and Retry-After | 503 | 503 | 503 |

A dash is a question that the door cannot be asked. Where a door differs from the others its verdict is bold:

- **Go, offline** has the published keys and nothing else. It does not know of a deletion, of what the record of a token says,
  of allowed addresses, or of the authority's state; what its key has signed is good until it expires. The keys are those of
  this moment: a service learns of a reset when its keys are five minutes old. An HS256 key is not published, so no token of
  HS256 is good there.
- **Introspection** and **TokenReview** are asked by a service, not by the client: they do not see the client's address, so a token
  that is bound to addresses is not good there, and a Verifier's, which opens no door, is not active. **Go, online** asks by
  introspection.
- **Own API** lets in whoever has a token of ours: a login token, a Verifier's, a token for other recipients. What each may do
  there is another question.
- **Console** takes login tokens and nothing else.
`
