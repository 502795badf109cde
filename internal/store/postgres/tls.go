package postgres

import (
	"net"
	"net/url"
	"path"
	"strings"
)

// withTLS adds what an address leaves out: a host that is not this machine shows
// a certificate that is right for its name.
func withTLS(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	query := u.Query()
	if query.Has("sslmode") || query.Has("service") || thisMachine(u.Hostname(), query.Get("host")) {
		return address
	}
	query.Set("sslmode", "verify-full")
	u.RawQuery = query.Encode()
	return u.String()
}

// thisMachine reports whether all hosts are sockets of this machine, or loopback
// addresses of it.
func thisMachine(host, more string) bool {
	if more != "" {
		host = more
	}
	for _, h := range strings.Split(host, ",") {
		ip := net.ParseIP(h)
		if h != "localhost" && !path.IsAbs(h) && !strings.HasPrefix(h, "@") && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
