//go:build !linux

package postgres

import "syscall"

// giveUpSoon leaves it to keepalives and deadlines.
func giveUpSoon(string, string, syscall.RawConn) error { return nil }
