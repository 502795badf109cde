package home

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

// maxSocketPath is what every system takes (Linux 107, macOS 103 bytes).
const maxSocketPath = 100

// Socket is the path of the local socket: in the home, or, when that path is
// too long for the system, in a closed folder among the temporary files.
func (d Dir) Socket() string {
	path := filepath.Join(string(d), "run", "mintmark.sock")
	if len(path) <= maxSocketPath {
		return path
	}
	sum := sha256.Sum256([]byte(d))
	return filepath.Join(os.TempDir(), "mintmark-"+strconv.Itoa(os.Geteuid())+"-"+hex.EncodeToString(sum[:8]), "mintmark.sock")
}

// Listen opens the local socket, which only the service's user can reach. The
// caller holds the lock, so a socket that is there is a dead one.
func (d Dir) Listen(ctx context.Context) (net.Listener, error) {
	path := d.Socket()
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	if err := closed(folder); err != nil {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close the local socket to others: %w", err), l.Close())
	}
	return &sameUser{l}, nil
}

// sameUser accepts connections of this user, and of root, only.
type sameUser struct{ net.Listener }

func (l *sameUser) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && (uid == os.Geteuid() || uid == 0) {
			return c, nil
		}
		_ = c.Close()
	}
}

// Client talks to the process over the local socket; the host of its addresses
// does not matter.
func (d Dir) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var dialer net.Dialer
				return dialer.DialContext(ctx, "unix", d.Socket())
			},
			DisableCompression: true,
		},
	}
}
