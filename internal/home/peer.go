package home

import (
	"errors"
	"net"
)

// peerUID is the user at the other end of a local connection.
func peerUID(c net.Conn) (int, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a local connection")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	uid, askErr := 0, error(nil)
	if err := raw.Control(func(fd uintptr) { uid, askErr = socketUID(int(fd)) }); err != nil {
		return 0, err
	}
	return uid, askErr
}
