package mapstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

const (
	childVar   = "MAPSTORE_TEST_HOME" // the home in which the child works
	firstVar   = "MAPSTORE_TEST_FIRST"
	smallVar   = "MAPSTORE_TEST_SMALL" // the folder for a small disk
	placeVar   = "MAPSTORE_TEST_PLACE"
	callers    = 8
	population = 10_000
	block      = 100_000 // numbers for one child: more than it can use up
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if home := os.Getenv(childVar); home != "" {
		fmt.Fprintln(os.Stderr, changeForever(home))
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// changeForever creates tokens and deletes every second one, by many callers,
// and says before each delete and after each answer what it is.
func changeForever(home string) error {
	first, err := strconv.Atoi(os.Getenv(firstVar))
	if err != nil {
		return err
	}
	s, err := mapstore.Open(mapstore.Config{Home: home, Tokens: filepath.Join(home, "tokens.json"), Now: time.Now})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	failed := make(chan error)
	for w := range callers {
		go func() {
			for n := first + w; ; n += callers {
				if err := create(s, n); err != nil {
					failed <- err
				}
				fmt.Println("created", n)
				if n/callers%2 == 0 {
					continue
				}
				fmt.Println("deleting", n)
				if err := s.Update(context.Background(), func(tx authority.Tx) error { return tx.Tokens().Delete(storetest.Token(n).ID) }); err != nil {
					failed <- err
				}
				fmt.Println("deleted", n)
			}
		}()
	}
	return <-failed
}

// journal is what the children said.
type journal struct {
	created, deleting, deleted map[int]bool
	answers, last              int
	worked                     time.Duration
}

func (j *journal) note(line string) {
	what, number, ok := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return
	}
	j.last = max(j.last, n)
	switch what {
	case "created":
		j.created[n] = true
		j.answers++
	case "deleting":
		j.deleting[n] = true
	case "deleted":
		j.deleted[n] = true
		j.answers++
	}
}

// cycle starts a child, lets it work for a while and kills it.
func (j *journal) cycle(t *testing.T, home string, life time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	// The numbers of an earlier child may be in the store without an answer.
	cmd.Env = append(os.Environ(), childVar+"="+home, firstVar+"="+strconv.Itoa((j.last/block+1)*block))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the child says %q", lines.Text())
	}
	began := time.Now()
	var once sync.Once
	timer := time.AfterFunc(life, func() { once.Do(func() { _ = cmd.Process.Signal(syscall.SIGKILL) }) })
	defer timer.Stop()
	for lines.Scan() {
		j.note(lines.Text())
	}
	j.worked += time.Since(began)
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func (j *journal) check(t *testing.T, cfg mapstore.Config) {
	t.Helper()
	s, err := mapstore.Open(cfg)
	if err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	defer s.Close()
	err = s.View(context.Background(), func(tx authority.Tx) error {
		for n := range j.created {
			_, err := tx.Tokens().Get(storetest.Token(n).ID)
			switch there := err == nil; {
			case there && j.deleted[n]:
				t.Errorf("token %d was deleted, and is back", n)
			case !there && !j.deleting[n]:
				t.Errorf("token %d was created, and is lost", n)
			}
		}
		return nil
	})
	if _, broken, verifyErr := s.VerifyAudit(context.Background()); broken != 0 {
		t.Errorf("the audit chain breaks at %d: %v", broken, verifyErr)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestKillsLoseNothingAcknowledged(t *testing.T) {
	cycles := 30
	if os.Getenv("MINTMARK_SOAK") == "1" {
		cycles = 300
	}
	cfg := newHome(t, durable.Files{})
	s := open(t, cfg)
	fill(t, s, 50_000_000, population)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	j := &journal{created: map[int]bool{}, deleting: map[int]bool{}, deleted: map[int]bool{}}
	random := rand.New(rand.NewPCG(1, 2))
	for range cycles {
		j.cycle(t, cfg.Home, time.Duration(random.IntN(200))*time.Millisecond)
		j.check(t, cfg)
	}
	rate := float64(j.answers) / j.worked.Seconds()
	t.Logf("%d cycles, %d changes answered, %.0f a second", cycles, j.answers, rate)
	if rate < 50 {
		t.Errorf("%.0f changes a second, want 50", rate)
	}
	if len(j.deleted) == 0 {
		t.Error("nothing was deleted: the cycles are too short")
	}
}

// TestRealDiskFullAndReadOnly runs again where a mount is nobody else's and ends
// with the process.
func TestRealDiskFullAndReadOnly(t *testing.T) {
	if dir := os.Getenv(smallVar); dir != "" {
		onASmallDisk(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Log("SKIPPED: only root can mount a small disk; the faults on purpose cover the errors")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRealDiskFullAndReadOnly$", "-test.v")
	cmd.Env = append(os.Environ(), smallVar+"="+fastHome(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), strings.Contains(string(out), "--- SKIP"):
		t.Logf("SKIPPED: root may not mount here; the faults on purpose cover the errors: %v\n%s", err, out)
	case err != nil, !strings.Contains(string(out), "--- PASS"):
		t.Fatalf("%v\n%s", err, out)
	}
}

func onASmallDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skip(err)
	}
	template(t, dir)
	cfg := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Now: time.Now}
	s := open(t, cfg)
	n := 100
	for ; n < 1000; n++ {
		if err := create(s, n); err != nil {
			if authority.KindOf(err) != authority.Full {
				t.Fatalf("on a full disk: %v, %v", err, errors.Unwrap(err))
			}
			break
		}
	}
	if n == 1000 || s.Facts().Problem == "" {
		t.Fatalf("the disk is not small, or the facts tell no problem: %+v", s.Facts())
	}
	wantCount(t, s, 1+n-100) // memory is not ahead of the disk
	// Deleting needs less room than there was, and brings room back.
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		for i := range n - 110 {
			if err := tx.Tokens().Delete(storetest.Token(100 + i).ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("deleting on a full disk: %v, %v", err, errors.Unwrap(err))
	}
	if err := create(s, 5000); err != nil {
		t.Fatalf("after there is room: %v, %v", err, errors.Unwrap(err))
	}
	if p := s.Facts().Problem; p != "" {
		t.Errorf("the problem stays: %s", p)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const readOnly = 0x20 | 0x1 // MS_REMOUNT, MS_RDONLY
	if err := syscall.Mount("", dir, "", readOnly, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := mapstore.Open(cfg); !errors.Is(err, durable.ErrReadOnly) {
		t.Errorf("opened on a read-only disk: %v", err)
	}
	if err := syscall.Mount("", dir, "", 0x20, ""); err != nil {
		t.Fatal(err)
	}
	wantCount(t, open(t, cfg), 12)
}
