// Package authority is the domain: tokens, keys, administrators, logins and
// the audit log, every rule about them, and the ports through which the rules
// reach the rest of the world.
//
// It touches nothing: no disk, no network, no clock, no random source and no
// third-party code. Time, randomness, custody of keys, password hashing, usage
// and the store are handed in through [Config].
//
// The one hard idea: every method takes the [Caller] second, checks what that
// caller may do, and records the audit event in the same store transaction as
// the change. There is no other way to the data, so neither an edge nor a store
// can forget the check or the record.
package authority
