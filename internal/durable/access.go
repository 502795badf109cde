package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// AccessError refuses a file or folder that somebody else could reach, or that
// is not what it should be. Nothing was read or changed.
type AccessError struct {
	Path    string // what is wrong; an ancestor, perhaps
	Problem string // reads on after the path
	Remedy  string // what puts it right: a command, quoted for the shell
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("%s %s; remedy: %s", e.Path, e.Problem, e.Remedy)
}

// CheckFolder answers nil if dir is a folder and no symbolic link, belongs to
// the effective user and is closed to group and others, and if every ancestor,
// also those that symbolic links lead through, belongs to root or the effective
// user and is not world-writable unless sticky. (Members of a group an ancestor
// is writable for could exchange the folder for another of the same owner's.) A
// refusal is an *AccessError; a missing folder matches fs.ErrNotExist.
func (f Files) CheckFolder(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("checking folder %q: the path is not absolute", dir)
	}
	dir = filepath.Clean(dir)
	if err := f.checkAncestors(filepath.Dir(dir)); err != nil {
		return err
	}
	info, err := f.ops().Lstat(dir)
	if err != nil {
		return refused(filepath.Dir(dir), "chmod a+x", err)
	}
	if err := checkKind(dir, info, fs.ModeDir); err != nil {
		return err
	}
	if err := checkOwner(dir, info); err != nil {
		return err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return &AccessError{dir, fmt.Sprintf("is a folder open to group or others (mode %04o)", perm), "chmod 700 " + quote(dir)}
	}
	return nil
}

// CheckFile answers nil if path is a regular file with one name, owned by the
// effective user and closed to group and others, in a folder that passes
// CheckFolder. A refusal is an *AccessError; a missing file matches
// fs.ErrNotExist.
func (f Files) CheckFile(path string) error {
	path = filepath.Clean(path)
	if err := f.CheckFolder(filepath.Dir(path)); err != nil {
		return err
	}
	info, err := f.ops().Lstat(path)
	if err != nil {
		return refused(filepath.Dir(path), "chmod 700", err)
	}
	return checkFile(path, info)
}

// open opens a file that passes CheckFile, before and after: the first check
// keeps devices from being opened at all, the second is about what was opened.
func (f Files) open(path string, flag int) (File, fs.FileInfo, error) {
	path = filepath.Clean(path)
	err := f.CheckFile(path)
	if err != nil && !(flag&os.O_CREATE != 0 && errors.Is(err, fs.ErrNotExist)) {
		return nil, nil, err
	}
	file, err := f.ops().Open(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, nil, refused(path, "chmod 600", err)
	}
	info, err := file.Stat()
	if err == nil {
		err = checkFile(path, info)
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

func checkFile(path string, info fs.FileInfo) error {
	if err := checkKind(path, info, 0); err != nil {
		return err
	}
	if err := checkOwner(path, info); err != nil {
		return err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return &AccessError{path, fmt.Sprintf("is open to group or others (mode %04o)", perm), "chmod 600 " + quote(path)}
	}
	if names := info.Sys().(*syscall.Stat_t).Nlink; names != 1 {
		copied := quote(path + ".new")
		return &AccessError{
			path, fmt.Sprintf("has %d names (hard links)", names),
			fmt.Sprintf("cp -p %s %s && mv %s %s", quote(path), copied, copied, quote(path)),
		}
	}
	return nil
}

// checkKind wants a folder (fs.ModeDir) or a regular file (0).
func checkKind(path string, info fs.FileInfo, want fs.FileMode) error {
	kind := info.Mode().Type()
	if kind == want {
		return nil
	}
	wanted := "a regular file"
	if want == fs.ModeDir {
		wanted = "a folder"
	}
	if kind == fs.ModeSymlink {
		return &AccessError{path, "is a symbolic link and not " + wanted, "use the path printed by: readlink -f " + quote(path)}
	}
	return &AccessError{path, fmt.Sprintf("is %s and not %s", kindName(kind), wanted), "mv " + quote(path) + " " + quote(path+".old")}
}

func kindName(kind fs.FileMode) string {
	switch {
	case kind == 0:
		return "a regular file"
	case kind&fs.ModeDir != 0:
		return "a folder"
	case kind&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case kind&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

func checkOwner(path string, info fs.FileInfo) error {
	owner, uid := ownerOf(info), os.Geteuid()
	if owner == uid {
		return nil
	}
	remedy := fmt.Sprintf("chown %d %s", uid, quote(path))
	if uid == 0 { // most likely the wrong user, not the wrong owner
		remedy = fmt.Sprintf("run this as the user with uid %d, or: %s", owner, remedy)
	}
	return &AccessError{path, fmt.Sprintf("belongs to uid %d and not to uid %d, who runs this", owner, uid), remedy}
}

// checkAncestors walks path from the root as the kernel would, so that the
// folders that hold a symbolic link are checked and those it leads to as well.
func (f Files) checkAncestors(path string) error {
	const maxLinks = 40 // as Linux
	at, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, name) // for "", "." and ".." too: at has no links
		info, err := f.ops().Lstat(next)
		if err != nil {
			return refused(at, "chmod a+x", err)
		}
		if err := checkAncestor(next, info); err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("checking folder %s: %w", path, unix.ELOOP)
		}
		target, err := f.ops().Readlink(next)
		if err != nil {
			return fmt.Errorf("checking folder %s: %w", path, err)
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

func checkAncestor(path string, info fs.FileInfo) error {
	if owner := ownerOf(info); owner != 0 && owner != os.Geteuid() {
		return &AccessError{
			path, fmt.Sprintf("leads to this folder and belongs to uid %d, who could replace it", owner),
			"chown -h 0 " + quote(path),
		}
	}
	if info.Mode().Type() == fs.ModeSymlink {
		return nil // its own mode means nothing
	}
	if !info.IsDir() {
		return checkKind(path, info, fs.ModeDir)
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return &AccessError{
			path, fmt.Sprintf("leads to this folder and is writable by everybody (mode %04o)", info.Mode().Perm()),
			"chmod o-w " + quote(path),
		}
	}
	return nil
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// refused turns the system's "permission denied" and "too many links" into an
// *AccessError about path, whose remedy is the given command.
func refused(path, command string, err error) error {
	switch {
	case errors.Is(err, unix.EACCES):
		return &AccessError{path, fmt.Sprintf("is closed to uid %d, who runs this", os.Geteuid()), command + " " + quote(path)}
	case errors.Is(err, unix.ELOOP): // what O_NOFOLLOW answers
		return &AccessError{path, "is a symbolic link", "use the path printed by: readlink -f " + quote(path)}
	}
	return classify(err)
}

// quote returns path as one word of a POSIX shell.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@", r)
	}
	if strings.TrimLeftFunc(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
