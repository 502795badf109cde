package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/home"
	"mintmark/internal/signing"
)

// free is an address at which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	at := take(t, "127.0.0.1:0")
	if err := at.Close(); err != nil {
		t.Fatal(err)
	}
	return at.Addr().String()
}

// heard waits until somebody listens at an address, or until nobody does.
func heard(t *testing.T, address string, is bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) == is {
			return
		}
	}
	t.Fatalf("somebody listens at %s: %t", address, !is)
}

// lives waits until a server answers at an address.
func lives(t *testing.T, address string) {
	t.Helper()
	heard(t, address, true)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := http.DefaultClient.Do(r); err == nil {
			_ = got.Body.Close()
			if got.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatalf("no server answers at %s", address)
}

// said keeps what a process says while it runs.
type said struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

// serves runs a server of a home. What it answers ends it, and tells what it said.
func serves(t *testing.T, files durable.Files, dir home.Dir) func() string {
	t.Helper()
	all := new(said)
	c := &cli{
		in: strings.NewReader(""), out: all, err: all, program: "mintmark", files: files,
		getenv: func(string) (string, bool) { return "", false },
	}
	ctx, cancel := context.WithCancel(t.Context())
	exit := make(chan int, 1)
	go func() { exit <- c.main(ctx, []string{"serve", "--home", string(dir)}) }()
	ends := sync.OnceValue(func() string {
		cancel()
		<-exit
		return all.String()
	})
	t.Cleanup(func() {
		if said := ends(); t.Failed() {
			t.Log(said)
		}
	})
	return ends
}

// follower is a server of a home whose listeners are moved by the test.
func follower(t *testing.T, dir home.Dir, log slog.Handler) (*server, *listeners) {
	t.Helper()
	return followerOn(t, durable.Files{}, dir, log)
}

func followerOn(t *testing.T, files durable.Files, dir home.Dir, log slog.Handler) (*server, *listeners) {
	t.Helper()
	c := &cli{err: new(bytes.Buffer), program: "mintmark", files: files, getenv: func(string) (string, bool) { return "", false }}
	k, err := c.openCore(t.Context(), dir, how{})
	if err != nil {
		t.Fatal(err)
	}
	k.log = slog.New(log)
	s := &server{core: k, cli: c}
	all := s.listeners(http.NotFoundHandler())
	t.Cleanup(func() {
		all.drain(0)
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, all
}

func (s *server) tries(t *testing.T, values map[string]string) {
	t.Helper()
	for name, value := range values {
		if _, _, err := s.control.Stage(t.Context(), s.self(), name, &value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.control.Apply(t.Context(), s.self(), 0, time.Hour); err != nil {
		t.Fatal(err)
	}
}

// when does something at the first record of a log with a message.
type when struct {
	slog.Handler
	message string
	do      func()
}

func (w *when) Enabled(context.Context, slog.Level) bool { return true }

func (w *when) Handle(_ context.Context, r slog.Record) error {
	if r.Message == w.message && w.do != nil {
		w.do()
		w.do = nil
	}
	return nil
}

func TestATrialOfAnAddressThatAnotherHasGoesBack(t *testing.T) {
	t.Parallel()
	was := free(t)
	s, all := follower(t, initialised(t, was), slog.DiscardHandler)
	s.tries(t, map[string]string{config.Listen: take(t, "127.0.0.1:0").Addr().String()})
	if err := s.move(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if _, runs := s.control.Book.Trial(); runs || s.running.Settings().Listen != was {
		t.Errorf("on trial: %v, at %s", runs, s.running.Settings().Listen)
	}
}

// Why it does not go back is said, too.
func TestATrialThatCannotBeWrittenBackSaysWhy(t *testing.T) {
	t.Parallel()
	disk := new(filling)
	s, all := followerOn(t, durable.Files{Ops: disk}, initialised(t, free(t)), slog.DiscardHandler)
	s.tries(t, map[string]string{config.Listen: take(t, "127.0.0.1:0").Addr().String()})
	disk.full.Store(true)
	if err := s.move(t.Context(), all); err == nil || !strings.Contains(err.Error(), "in use") || !errors.Is(err, authority.Full) {
		t.Errorf("it says %v", err)
	}
}

// An attempt takes its time: meanwhile others may be applied.
func TestAnAttemptEndsNoTrialThatBeganDuringIt(t *testing.T) {
	t.Parallel()
	there, log := free(t), &when{Handler: slog.DiscardHandler, message: "no longer listening"}
	s, all := follower(t, initialised(t, take(t, "127.0.0.1:0").Addr().String()), log)
	if all.follow(t.Context(), config.Settings{Listen: s.running.Settings().Listen, Metrics: free(t)}) == nil {
		t.Fatal("it listens where another does")
	}
	log.do = func() { s.tries(t, map[string]string{config.Listen: there}) }
	if s.move(t.Context(), all) == nil || log.do != nil {
		t.Fatal("it listens where another does")
	}
	if _, runs := s.control.Book.Trial(); !runs {
		t.Error("the trial was ended")
	}
	if err := s.move(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	heard(t, there, true)
}

func TestADoorThatLostItsPortEndsNoTrialOfTheAddress(t *testing.T) {
	t.Parallel()
	was, there, lost := free(t), free(t), take(t, "127.0.0.1:0")
	dir := initialised(t, was)
	applies(t, dir, time.Now(), 0, map[string]string{config.Metrics: lost.Addr().String()})
	s, all := follower(t, dir, slog.DiscardHandler)
	if s.move(t.Context(), all) == nil {
		t.Fatal("it listens where another does")
	}
	heard(t, was, true)
	s.tries(t, map[string]string{config.Listen: there})
	if s.move(t.Context(), all) == nil {
		t.Fatal("it listens where another does")
	}
	heard(t, there, true)
	heard(t, was, false)
	if _, runs := s.control.Book.Trial(); !runs {
		t.Error("the trial was ended")
	}
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.move(t.Context(), all); err != nil {
		t.Error(err)
	}
}

func TestATrialThatEndsIsNobodysDoing(t *testing.T) {
	t.Parallel()
	s, _ := follower(t, initialised(t, free(t)), slog.DiscardHandler)
	s.tries(t, map[string]string{config.Listen: free(t), config.Algorithm: "EdDSA"})
	s.endTrial(t.Context(), 0)
	s.endTrial(t.Context(), 2*time.Hour)
	if err := s.control.CatchUp(t.Context(), authority.Itself()); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"config.reverted", "key.next_renewed"} {
		page, err := s.authority.Audit(t.Context(), s.self(), authority.AuditQuery{Action: action, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := page.Events[0].Actor; got != (authority.Actor{Kind: "system", Name: "mintmark"}) {
			t.Errorf("%s is by %+v", action, got)
		}
	}
}

// hungLog is a disk on which nothing can be added to the audit log for now.
type hungLog struct {
	durable.System
	hangs *atomic.Bool
	until chan struct{}
}

type hungFile struct {
	durable.File
	disk hungLog
}

func (f hungFile) Write(p []byte) (int, error) {
	if f.disk.hangs.Load() {
		<-f.disk.until
	}
	return f.File.Write(p)
}

func (d hungLog) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	file, err := d.System.Open(path, flag, perm)
	if err == nil && filepath.Base(path) == "audit.ndjson" {
		return hungFile{file, d}, nil
	}
	return file, err
}

// Its event is owed: people have to find the server.
func TestATrialIsOverInTimeThoughTheAuditLogHangs(t *testing.T) {
	t.Parallel()
	was, there := free(t), free(t)
	disk := hungLog{hangs: new(atomic.Bool), until: make(chan struct{})}
	s, all := followerOn(t, durable.Files{Ops: disk}, initialised(t, was), slog.DiscardHandler)
	if err := s.move(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	answer := sync.OnceFunc(func() { close(disk.until) })
	t.Cleanup(func() {
		answer()
		cancel()
		group.Wait()
	})
	if _, _, err := s.control.Stage(ctx, s.self(), config.Listen, &there); err != nil {
		t.Fatal(err)
	}
	disk.hangs.Store(true)
	group.Go(func() { _, _ = s.control.Apply(ctx, s.self(), 0, 6*time.Second) }) // it waits for its own event
	group.Go(func() { s.follow(ctx, all) })
	group.Go(func() { s.catchUp(ctx) })
	heard(t, there, true)
	heard(t, was, true)
	heard(t, there, false)
	if len(s.control.Book.Pending()) < 2 {
		t.Error("its event was not held up")
	}
	answer()
	for end := time.Now().Add(20 * time.Second); len(s.control.Book.Pending()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its event is not made later")
		}
	}
}

// What waits for a restart is part of what a start goes back from.
func TestAStartWithinATrialTakesAllOfTheWayBack(t *testing.T) {
	t.Parallel()
	was := free(t)
	dir := initialised(t, was)
	applies(t, dir, time.Now(), time.Hour, map[string]string{config.Listen: free(t), config.Metrics: take(t, "127.0.0.1:0").Addr().String()})
	served := serves(t, durable.Files{}, dir)
	lives(t, was)
	if said := served(); !strings.Contains(said, errWentBack.Error()) || strings.Contains(said, "in force yet") {
		t.Errorf("it says %s", said)
	}
	if _, runs := bookOf(t, dir).Trial(); runs {
		t.Error("the trial goes on")
	}
}

// outOfReach is a home whose database is, and whose address is on trial.
func outOfReach(t *testing.T, was string, length time.Duration, tries map[string]string) home.Dir {
	t.Helper()
	dir := initialised(t, was)
	applies(t, dir, time.Now(), 0, map[string]string{config.Store: "postgres://mintmark@127.0.0.1:1/mintmark?sslmode=disable"})
	if _, err := signing.CreateSealing(durable.Files{}, dir.Sealing(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	applies(t, dir, time.Now(), length, tries)
	return dir
}

func TestAServerThatWaitsForItsStoreGoesBackFromWhereItCannotListen(t *testing.T) {
	t.Parallel()
	for name, tries := range map[string]map[string]string{
		"another has the port": {config.Listen: take(t, "127.0.0.1:0").Addr().String()},
		"there is no key":      {config.Certificate: "/nowhere/tls.pem", config.Key: "/nowhere/tls.key"},
	} {
		was := free(t)
		dir := outOfReach(t, was, time.Hour, tries)
		served := serves(t, durable.Files{}, dir)
		lives(t, was)
		if said := served(); !strings.Contains(said, errWentBack.Error()) {
			t.Errorf("%s: it says %s", name, said)
		}
		if _, runs := bookOf(t, dir).Trial(); runs {
			t.Errorf("%s: the trial goes on", name)
		}
	}
}

func TestAServerThatWaitsForItsStoreMovesWhenATrialIsOver(t *testing.T) {
	t.Parallel()
	was, there := free(t), free(t)
	serves(t, durable.Files{}, outOfReach(t, was, 6*time.Second, map[string]string{config.Listen: there}))
	heard(t, there, true)
	heard(t, was, true)
	heard(t, there, false)
}

func TestAnEntranceThatCannotBeOpenedIsNamed(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	there := free(t)
	err := l.follow(t.Context(), config.Settings{Listen: there, Metrics: take(t, "127.0.0.1:0").Addr().String()})
	unheard, is := errors.AsType[*unheardError](err)
	if !is || len(unheard.properties) != 1 || unheard.properties[0] != config.Metrics {
		t.Errorf("got %v", err)
	}
	answers(t, there)
	heard(t, "127.0.0.1:"+port, false)
}
