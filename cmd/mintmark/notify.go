package main

import "net"

// notify tells systemd how the service stands (sd_notify(3)); without systemd,
// which is what an empty socket means, it does nothing.
func notify(socket, state string) {
	if socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return
	}
	_, _ = c.Write([]byte(state)) // there is nobody to tell otherwise
	_ = c.Close()
}
