// Package usage is the ledger of verdicts: how often each token was used, under
// which key, from where, and how often it was refused and why.
//
// It touches memory, and through authority.UsageStore whatever keeps the counts.
// It is told counts by verdicts and never makes one wait for a store.
//
// The one hard idea: what is in memory is only what is not stored yet. A flush
// takes everything out, as numbered batches that are tried until they are kept,
// and an answer adds what is stored to what is not; so memory is bounded by what
// happens between two flushes and nothing is counted twice.
package usage
