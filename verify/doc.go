// Package verify checks Mintmark's API tokens inside a Go service: offline by
// the published key set, or with the authority's own word by introspection.
//
// It touches one HTTP server, the authority, and nothing else: no store, no
// file, no clock or goroutine of its own.
//
// The one hard idea: a key set proves who signed a token, and only the authority
// knows whether it still counts. [Offline] is as fast as a signature and lets a
// revoked token live until it expires or its key leaves the set; [Online] asks
// for each token and remembers an answer for no longer than it is told to. An
// outage is never an allow: it is [ErrUnknown], which the middleware answers
// with 503.
package verify
