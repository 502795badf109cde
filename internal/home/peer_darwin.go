package home

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerUID is the user at the other end of a local connection.
func peerUID(c net.Conn) (int, error) {
	return control(c, func(fd int) (int, error) {
		cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err != nil {
			return 0, err
		}
		return int(cred.Uid), nil
	})
}

func control(c net.Conn, ask func(fd int) (int, error)) (int, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a local connection")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	uid, askErr := 0, error(nil)
	if err := raw.Control(func(fd uintptr) { uid, askErr = ask(int(fd)) }); err != nil {
		return 0, err
	}
	return uid, askErr
}

// closed refuses a folder that others can reach.
func closed(folder string) error {
	info, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(owner.Uid) != os.Geteuid() {
		return &fs.PathError{Op: "use", Path: folder, Err: errors.New("it is not a folder that only this user can reach; run: chmod 700 " + folder)}
	}
	return nil
}
