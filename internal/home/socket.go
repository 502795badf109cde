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
	"syscall"
)

// maxSocketPath is what every system takes (Linux 107, macOS 103 bytes).
const maxSocketPath = 100

// Socket is the path of the local socket: in the home, or, when that path is
// too long for the system, in a folder of the home's owner among the temporary
// files. It depends on the home's path alone, so that everybody finds it.
func (d Dir) Socket() string {
	path := filepath.Join(string(d), "run", "mintmark.sock")
	if len(path) <= maxSocketPath {
		return path
	}
	sum := sha256.Sum256([]byte(d))
	return filepath.Join("/tmp", "mintmark-"+hex.EncodeToString(sum[:8]), "mintmark.sock")
}

// Listen opens the local socket, which only the service's user can reach. The
// caller holds the lock, so a socket that is there is a dead one.
func (d Dir) Listen(ctx context.Context) (net.Listener, error) {
	path := d.Socket()
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	if err := d.closed(folder); err != nil {
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

// Dial connects to the local socket, unless somebody else could have put it
// there: it is told passwords.
func (d Dir) Dial(ctx context.Context) (net.Conn, error) {
	path := d.Socket()
	if err := d.closed(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("reach the local socket: %w", err)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", path)
}

// closed refuses a folder that others than the owner of the home can reach.
func (d Dir) closed(folder string) error {
	mine, err := os.Stat(string(d))
	if err != nil {
		return err
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || ownerOf(info) != ownerOf(mine) {
		return &fs.PathError{Op: "use", Path: folder, Err: errors.New("it is not a folder that the owner of the installation directory alone can reach; remove it, or run: chmod 700 " + folder)}
	}
	return nil
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

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
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx) },
			DisableCompression: true,
		},
	}
}
