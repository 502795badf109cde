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
	block      = 100_000     // numbers of one child: more than it can use up
	residents  = 100_000_000 // numbers of those who are there from the start
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if home := os.Getenv(childVar); home != "" {
		fmt.Fprintln(os.Stderr, changeForever(home))
		os.Exit(3)
	}
	code := m.Run()
	if raceDetector {
		if program, err := plainProgram(); err == nil {
			_ = os.RemoveAll(filepath.Dir(program))
		}
	}
	os.Exit(code)
}

// plainProgram is this test binary without the race detector.
var plainProgram = sync.OnceValues(func() (string, error) {
	if !raceDetector {
		return os.Args[0], nil
	}
	dir, err := os.MkdirTemp("", "mapstore-plain-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "mapstore.test")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// elsewhere runs the test that calls it without the race detector, if that is
// on, and tells whether it did. For tests that do one thing after the other, a
// hundred thousand times: it finds nothing in them and takes its time.
func elsewhere(t *testing.T) bool {
	t.Helper()
	if !raceDetector {
		return false
	}
	program, err := plainProgram()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "-test.v", "-test.run=^"+t.Name()+"$").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}

// changeForever says what it finds; then it creates tokens and deletes every
// second one, by many callers, and says before each delete and after each answer
// what it is.
func changeForever(home string) error {
	first, err := strconv.Atoi(os.Getenv(firstVar))
	if err != nil {
		return err
	}
	s, err := mapstore.Open(mapstore.Config{Home: home, Tokens: filepath.Join(home, "tokens.json"), Now: time.Now})
	if err != nil {
		return err
	}
	if err := describe(s); err != nil {
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
				if err := remove(s, n); err != nil {
					failed <- err
				}
				fmt.Println("deleted", n)
			}
		}()
	}
	return <-failed
}

// remove deletes what create created.
func remove(s *mapstore.Store, n int) error {
	v := storetest.Token(n)
	return s.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Delete(v.ID),
			tx.Audit().Append(authority.Event{At: v.CreatedAt, Action: "token.deleted", Target: string(v.ID), Label: v.ClientID, Outcome: authority.OutcomeOK}))
	})
}

// describe says which tokens are there, and how many events.
func describe(s *mapstore.Store) error {
	sound, broken, err := s.VerifyAudit(context.Background())
	if err != nil || broken != 0 {
		return fmt.Errorf("the audit chain breaks at %d: %w", broken, err)
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(out, "events", sound)
	err = s.View(context.Background(), func(tx authority.Tx) error {
		old := 0
		for v, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(strings.TrimPrefix(string(v.ID), "tok_"))
			if err != nil {
				return err
			}
			if n >= residents {
				old++
				continue
			}
			fmt.Fprintln(out, "there", n)
		}
		fmt.Fprintln(out, "residents", old)
		return nil
	})
	return errors.Join(err, out.Flush())
}

// journal is what the children said.
type journal struct {
	created, deleting, deleted map[int]bool
	answers                    int
	worked                     time.Duration

	// What the newest child found.
	there             map[int]bool
	events, residents int
}

func (j *journal) note(line string) {
	what, number, ok := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return
	}
	switch what {
	case "there":
		j.there[n] = true
	case "events":
		j.events = n
	case "residents":
		j.residents = n
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

// cycle starts a child, judges what it finds, lets it work for a while and kills
// it. Each child has numbers of its own: those of an earlier one may be in the
// store although nobody was told.
func (j *journal) cycle(t *testing.T, program, home string, child int, life time.Duration) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childVar+"="+home, firstVar+"="+strconv.Itoa((child+1)*block))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	j.there = make(map[int]bool)
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		j.note(lines.Text())
	}
	if lines.Text() != "ready" {
		t.Fatalf("child %d did not open the store: %v", child, cmd.Wait())
	}
	began := time.Now()
	timer := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	j.judge(t)
	for lines.Scan() {
		j.note(lines.Text())
	}
	j.worked += time.Since(began)
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("child %d ended by itself: %v", child, err)
	}
}

// judge compares what the newest child found with what the earlier ones
// answered.
func (j *journal) judge(t *testing.T) {
	t.Helper()
	for n := range j.created {
		switch {
		case j.there[n] && j.deleted[n]:
			t.Errorf("token %d was deleted, and is back", n)
		case !j.there[n] && !j.deleting[n]:
			t.Errorf("token %d was created, and is lost", n)
		}
	}
	if j.residents != population || j.events < j.answers {
		t.Errorf("%d of %d tokens of before, %d events of %d changes", j.residents, population, j.events, j.answers)
	}
}

// TestSoakOfKillsLosesNothingAcknowledged runs 30 cycles, or ten times as many
// in a soak.
func TestSoakOfKillsLosesNothingAcknowledged(t *testing.T) {
	cycles := 30
	if os.Getenv("MINTMARK_SOAK") == "1" {
		cycles = 300
	}
	cfg := newHome(t, durable.Files{})
	s := open(t, cfg)
	fill(t, s, residents, population)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	j := &journal{created: map[int]bool{}, deleting: map[int]bool{}, deleted: map[int]bool{}}
	random := rand.New(rand.NewPCG(1, 2))
	program, err := plainProgram() // no slower than the product
	if err != nil {
		t.Fatal(err)
	}
	for i := range cycles {
		j.cycle(t, program, cfg.Home, i, time.Duration(random.IntN(200))*time.Millisecond)
	}
	rate := float64(j.answers) / j.worked.Seconds()
	j.cycle(t, program, cfg.Home, cycles, 0) // judges the last one
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
		t.Skip("SKIPPED: only root can mount a small disk; the faults on purpose cover the errors")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRealDiskFullAndReadOnly$", "-test.v")
	cmd.Env = append(os.Environ(), smallVar+"="+fastHome(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), strings.Contains(string(out), "--- SKIP"):
		if os.Getenv("CI") != "" {
			t.Fatalf("mounting is refused: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: root may not mount here; the faults on purpose cover the errors: %v\n%s", err, out)
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
