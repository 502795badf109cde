// Package verify checks Mintmark's API tokens inside a Go service: offline by
// the published key set, or with the authority's own word by introspection.
//
// It touches one HTTP server, the authority, and nothing else: no store, no
// file, no environment. Nothing runs between requests; a question to the
// authority outlives the request that asked it by ten seconds at most.
//
// The one hard idea: a key set proves who signed a token, and only the authority
// knows whether it still counts. [Offline] is as fast as a signature and lets a
// deleted token live until it expires or its key leaves the set; it cannot hold
// a token to its allowed addresses, and knows no token of HS256, whose key is
// not published. [Online] asks for each token and remembers an answer for no
// longer than it is told to. An outage is never an allow: it is [ErrUnknown],
// which the middleware answers with 503.
package verify
