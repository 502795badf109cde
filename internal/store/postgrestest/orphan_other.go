//go:build !linux

package postgrestest

import "syscall"

// endWithUs cannot be asked for here: whoever kills a test ends its server too.
func endWithUs(*syscall.SysProcAttr) {}
