// Package liveset is what is valid now, in memory: every verdict of every door
// comes from it and none waits for a store.
//
// It touches nothing but memory. It follows the store (it is an
// authority.Follower), so a change reaches it in commit order and before the
// change is acknowledged.
//
// The one hard idea: a signature proves who signed a token, never that it still
// counts. The record decides; whatever a token claims must equal its record.
package liveset
