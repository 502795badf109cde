package postgres

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpSoon ends a connection whose peer has not confirmed what was sent for a
// while.
func giveUpSoon(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	const patience = 10 * time.Second
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
