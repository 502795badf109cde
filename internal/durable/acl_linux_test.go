package durable_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/internal/durable"
)

// grantNobody is a list that gives one more user everything (acl(5)), in the
// form of the extended attribute.
func grantNobody() []byte {
	const (
		owner, user, group, mask, other = 0x01, 0x02, 0x04, 0x10, 0x20
		nobodyInParticular              = ^uint32(0)
	)
	list := binary.LittleEndian.AppendUint32(nil, 2) // the version
	for _, e := range []struct {
		tag, rights uint16
		id          uint32
	}{{owner, 7, nobodyInParticular}, {user, 7, nobody}, {group, 0, nobodyInParticular}, {mask, 7, nobodyInParticular}, {other, 0, nobodyInParticular}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.rights)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	return list
}

func grant(t *testing.T, path, attribute string) {
	t.Helper()
	err := unix.Setxattr(path, attribute, grantNobody(), 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skipf("SKIPPED: %s has no access control lists", path)
	}
	must(t, err)
}

func TestRefusesWhatAnAccessControlListOpens(t *testing.T) {
	home := newHome(t)
	path := create(t, filepath.Join(home, "file"), "secret", 0o600)
	grant(t, path, "system.posix_acl_access")
	refuses(t, home, path, calls, durable.AccessError{
		Path: path, Problem: "is open to group or others (mode 0770)", Remedy: "chmod 600 " + shell(path),
	})
	remedied(t, "chmod 600 "+shell(path), func() error { return durable.Files{}.CheckFile(path) })

	grant(t, home, "system.posix_acl_access")
	for _, more := range []map[string]func(durable.Files, string) error{calls, folderCalls} {
		refuses(t, home, path, more, durable.AccessError{
			Path: home, Problem: "is a folder open to group or others (mode 0770)", Remedy: "chmod 700 " + shell(home),
		})
	}
	remedied(t, "chmod 700 "+shell(home), func() error { return durable.Files{}.CheckFolder(home) })
}

// A list that a folder hands down opens nothing that is made in it.
func TestNewFilesAreClosedWhateverTheFolderHandsDown(t *testing.T) {
	home := newHome(t)
	grant(t, home, "system.posix_acl_default")
	for name, make := range map[string]func(string) error{
		"written": func(path string) error { return durable.Files{}.Write(path, []byte("new")) },
		"created": func(path string) error { return durable.Files{}.CreateNew(path, []byte("new")) },
		"locked": func(path string) error {
			held, err := durable.Files{}.Lock(path)
			if err != nil {
				return err
			}
			return held.Close()
		},
	} {
		path := filepath.Join(home, name)
		must(t, make(path))
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
		if err := (durable.Files{}).CheckFile(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
