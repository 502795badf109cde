package sqlite_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/storetest"
)

const syncVar = "SQLITE_TEST_SYNC" // the file on which the process works whose syncs fail

// unsynced inserts three tokens and says what it was told of the third. It ends
// without closing the store, as a process does that is killed. Syncs are counted
// for each thread, so it stays on one.
func unsynced(path string) error {
	runtime.LockOSThread()
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: path, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		return err
	}
	for n := 1; n <= 3; n++ {
		err = s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Insert(storetest.Token(n)) })
		if e, ok := errors.AsType[*authority.Error](err); n == 3 && ok {
			fmt.Println(e.Code)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// TestAChangeWhoseSyncFailedIsAnsweredTruly has the disk refuse to sync the log,
// and looks what is there when the process has been killed.
func TestAChangeWhoseSyncFailedIsAnsweredTruly(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: strace is not installed")
	}
	for name, c := range map[string]struct{ when, want string }{
		"once":       {"4", "store.unavailable"},
		"ever after": {"4+", "store.unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newFile(t)
			// The log is begun with one sync, and each change has one.
			cmd := exec.Command(strace, "-f", "-qq", "-o", cfg.Path+".trace", "-e", "trace=fsync,fdatasync", "-P", cfg.Path+"-wal",
				"-e", "inject=fsync,fdatasync:error=EIO:when="+c.when, os.Args[0])
			cmd.Env = append(os.Environ(), syncVar+"="+cfg.Path)
			out, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != c.want {
				trace, _ := os.ReadFile(cfg.Path + ".trace")
				t.Fatalf("it was told %q, want %q; %v\n%s", out, c.want, err, trace)
			}
			s := open(t, cfg)
			for n := 1; n <= 2; n++ {
				if _, err := authority.ReadToken(t.Context(), s, storetest.Token(n).ID); err != nil {
					t.Errorf("token %d was acknowledged: %v", n, err)
				}
			}
			_, err = authority.ReadToken(t.Context(), s, storetest.Token(3).ID)
			if c.want == "store.unavailable" && authority.KindOf(err) != authority.NotFound {
				t.Errorf("it was said that nothing was changed, and the token is there: %v", err)
			}
		})
	}
}
