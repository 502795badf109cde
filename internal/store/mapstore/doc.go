// Package mapstore keeps records in memory and, when it is given a home, in
// JSON files: state.json and audit.ndjson in the home, and the token file that
// the store property names. Without a token file tokens live in memory alone.
// It touches files through durable and nothing else.
//
// The one hard idea: a state is an immutable value. A transaction changes its
// own copy of the newest state; what was changed since the last write is a
// batch; the first caller of a batch writes it for all; and only then does the
// state become the one that views and followers see. When the write fails, the
// batch and every batch that was built on it are forgotten, and the durable
// state is the newest again.
//
// Events of a change that goes to a file commit in the same write, as the
// file's pending tail, and move to audit.ndjson before the next one; while they
// cannot, no change begins.
package mapstore
