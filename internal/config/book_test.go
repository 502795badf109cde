package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/config"
	"mintmark/internal/durable"
)

const bookPath = "/home/config.json"

var (
	maria = config.Author{Kind: "admin", Name: "maria", From: "10.2.0.14"}
	root  = config.Author{Kind: "local", Name: "root@tokens-01"}
	t0    = time.Date(2026, 11, 23, 14, 8, 2, 5e8, time.UTC)
)

// shelf keeps files in memory. Its faults are by number of the Write.
type shelf struct {
	files  map[string]string
	writes int
	faults map[int]fault
}

type fault struct {
	err      error
	persists bool
}

func newShelf() *shelf { return &shelf{files: map[string]string{}, faults: map[int]fault{}} }

func (s *shelf) Read(path string, limit int64) ([]byte, error) {
	text, ok := s.files[path]
	switch {
	case !ok:
		return nil, os.ErrNotExist
	case int64(len(text)) > limit:
		return nil, durable.ErrTooLarge
	}
	return []byte(text), nil
}

func (s *shelf) Write(path string, parts ...[]byte) error {
	s.writes++
	f, fails := s.faults[s.writes]
	if !fails || f.persists {
		s.files[path] = ""
		for _, p := range parts {
			s.files[path] += string(p)
		}
	}
	return f.err
}

func (s *shelf) CreateNew(path string, parts ...[]byte) error {
	if _, ok := s.files[path]; ok {
		return os.ErrExist
	}
	return s.Write(path, parts...)
}

func create(t *testing.T, applied map[string]string) (*config.Book, *shelf) {
	t.Helper()
	s := newShelf()
	b, err := config.Create(s, bookPath, applied, root, t0)
	if err != nil {
		t.Fatal(err)
	}
	s.writes = 0
	return b, s
}

func reopen(t *testing.T, s *shelf) *config.Book {
	t.Helper()
	b, err := config.Open(s, bookPath)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stage(t *testing.T, b *config.Book, name, value string) {
	t.Helper()
	if err := b.Stage(name, &value, maria, t0); err != nil {
		t.Fatalf("stage %s: %v", name, err)
	}
}

func apply(t *testing.T, b *config.Book) uint64 {
	t.Helper()
	revision, applied, err := b.Apply(0, maria, t0)
	if err != nil || !applied {
		t.Fatalf("apply: %v, %v", applied, err)
	}
	return revision
}

// text is everything a book holds.
func text(b *config.Book) map[string]any {
	revision, applied := b.Applied()
	staged, by, at := b.Staged()
	return map[string]any{
		"revision": revision, "applied": applied, "staged": staged, "by": by, "at": at, "history": b.History(), "pending": b.Pending(),
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestStagingRunsNothingAndApplyingRunsAll(t *testing.T) {
	t.Parallel()
	b, s := create(t, map[string]string{config.Listen: "127.0.0.1:3000", config.Lifetime: "30d"})
	stage(t, b, config.StoreAlias, "/var/lib/mintmark/token.json")
	stage(t, b, config.StepUp, "900s")
	if err := b.Stage(config.Lifetime, nil, maria, t0); err != nil {
		t.Fatal(err)
	}
	revision, applied := b.Applied()
	same(t, "applied while staged", applied, map[string]string{config.Listen: "127.0.0.1:3000", config.Lifetime: "30d"})
	same(t, "revision while staged", revision, uint64(1))
	path, quarter := "/var/lib/mintmark/token.json", "15m"
	staged, by, at := b.Staged()
	same(t, "staged", staged, map[string]*string{config.Store: &path, config.StepUp: &quarter, config.Lifetime: nil})
	same(t, "staged by", by, maria)
	same(t, "staged at", at, t0)

	same(t, "revision", apply(t, b), uint64(2))
	b = reopen(t, s)
	revision, applied = b.Applied()
	same(t, "revision after opening", revision, uint64(2))
	same(t, "applied after opening", applied, map[string]string{config.Listen: "127.0.0.1:3000", config.Store: path, config.StepUp: "15m"})
	staged, by, at = b.Staged()
	same(t, "left staged", len(staged), 0)
	same(t, "by nobody", by, config.Author{})
	same(t, "never", at, time.Time{})
}

func TestAReopenedBookIsTheSame(t *testing.T) {
	t.Parallel()
	b, s := create(t, map[string]string{config.Issuer: "https://tokens.example/<a>&b"})
	for _, step := range []func(){
		func() { stage(t, b, config.Copy, "never") },
		func() { apply(t, b) },
		func() { stage(t, b, config.Drain, "1m") },
		func() {
			if err := b.Rollback(1, root, t0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		step()
		same(t, "reopened", text(reopen(t, s)), text(b))
	}
}

func TestAValueThatIsAppliedTakesBackWhatWasStaged(t *testing.T) {
	t.Parallel()
	b, s := create(t, map[string]string{config.Lifetime: "30d"})
	stage(t, b, config.Lifetime, "60d")
	stage(t, b, config.Copy, "never")
	if err := b.Stage(config.Copy, nil, maria, t0); err != nil {
		t.Fatal(err)
	}
	stage(t, b, config.Lifetime, "720h") // 30d in other words
	staged, by, _ := b.Staged()
	same(t, "staged", len(staged), 0)
	same(t, "by", by, config.Author{})
	var got []string
	for _, c := range b.Pending()[3:] {
		for name, change := range c.Items {
			got = append(got, c.Action+" "+name+" "+change)
		}
	}
	same(t, "changes", got, []string{
		"config.discarded tokens.copy never -> (unset)",
		"config.discarded tokens.lifetime.default 60d -> 30d",
	})
	writes := s.writes
	stage(t, b, config.Lifetime, "30d")
	if err := b.Stage(config.Copy, nil, maria, t0); err != nil {
		t.Fatal(err)
	}
	same(t, "writes for what is so already", s.writes, writes)
}

func TestNothingStagedIsNoNewRevision(t *testing.T) {
	t.Parallel()
	b, s := create(t, nil)
	revision, applied, err := b.Apply(0, maria, t0)
	if revision != 1 || applied || err != nil {
		t.Errorf("apply: %d, %v, %v", revision, applied, err)
	}
	n, err := b.Discard(maria, t0)
	if n != 0 || err != nil {
		t.Errorf("discard: %d, %v", n, err)
	}
	same(t, "writes", s.writes, 0)
}

func TestAnApplyForAnOlderRevisionIsAConflict(t *testing.T) {
	t.Parallel()
	b, s := create(t, nil)
	stage(t, b, config.Copy, "never")
	apply(t, b)
	stage(t, b, config.Copy, "reauth")
	before := s.files[bookPath]
	_, _, err := b.Apply(1, maria, t0)
	var conflict *config.ConflictError
	if !errors.As(err, &conflict) || conflict.Want != 1 || conflict.Have != 2 {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "from 1 to 2") {
		t.Errorf("both numbers are not named: %v", err)
	}
	same(t, "file", s.files[bookPath], before)
	if _, applied, err := b.Apply(2, maria, t0); !applied || err != nil {
		t.Errorf("the right revision: %v, %v", applied, err)
	}
}

func TestDiscardDropsAllThatIsStaged(t *testing.T) {
	t.Parallel()
	b, s := create(t, nil)
	stage(t, b, config.Copy, "never")
	stage(t, b, config.Drain, "1m")
	n, err := b.Discard(maria, t0)
	if n != 2 || err != nil {
		t.Fatalf("discard: %d, %v", n, err)
	}
	staged, _, _ := reopen(t, s).Staged()
	same(t, "staged", len(staged), 0)
}

func TestRollbackStagesTheWayBack(t *testing.T) {
	t.Parallel()
	b, _ := create(t, map[string]string{config.Copy: "reauth", config.Drain: "5s"})
	stage(t, b, config.Copy, "never")
	stage(t, b, config.Lifetime, "30d")
	if err := b.Stage(config.Drain, nil, maria, t0); err != nil {
		t.Fatal(err)
	}
	apply(t, b)
	_, second := b.Applied()
	stage(t, b, config.LogLevel, "debug") // dropped by the rollback
	if err := b.Rollback(0, maria, t0); err != nil {
		t.Fatal(err)
	}
	_, applied := b.Applied()
	same(t, "applied before the apply", applied, second)
	same(t, "revision", apply(t, b), uint64(3))
	_, applied = b.Applied()
	same(t, "applied", applied, map[string]string{config.Copy: "reauth", config.Drain: "5s"})
	for _, revision := range []uint64{4, 99} {
		if err := b.Rollback(revision, maria, t0); !errors.Is(err, config.ErrNoRevision) {
			t.Errorf("rollback to %d: %v", revision, err)
		}
	}
	if err := b.Rollback(3, maria, t0); err != nil {
		t.Fatal(err)
	}
	if staged, by, _ := b.Staged(); len(staged) != 0 || by != (config.Author{}) {
		t.Errorf("a way back to here is staged: %v by %v", staged, by)
	}
}

func TestTheFirstRevisionHasNoneBefore(t *testing.T) {
	t.Parallel()
	b, _ := create(t, nil)
	if err := b.Rollback(0, maria, t0); !errors.Is(err, config.ErrNoRevision) {
		t.Errorf("got %v", err)
	}
}

func TestTheHistoryHoldsTwentyRevisions(t *testing.T) {
	t.Parallel()
	b, s := create(t, nil)
	for i := range 25 {
		stage(t, b, config.Drain, []string{"1s", "2s"}[i%2])
		apply(t, b)
	}
	h := reopen(t, s).History()
	if len(h) != 20 || h[0].Revision != 26 || h[19].Revision != 7 {
		t.Fatalf("%d revisions, from %d to %d", len(h), h[0].Revision, h[len(h)-1].Revision)
	}
	same(t, "newest", h[0].Applied, map[string]string{config.Drain: "1s"})
	h[0].Applied[config.Drain] = "changed by the caller"
	same(t, "the book's own", b.History()[0].Applied, map[string]string{config.Drain: "1s"})
}

func TestEveryChangeWaitsForTheAuditLogInTheSameWrite(t *testing.T) {
	t.Parallel()
	b, s := create(t, nil)
	at := func(i int) time.Time { return t0.Add(time.Duration(i) * time.Second) }
	value := "never"
	for i, step := range []func() error{
		func() error { return b.Stage(config.Copy, &value, maria, at(1)) },
		func() error { _, _, err := b.Apply(0, maria, at(2)); return err },
		func() error { return b.Rollback(1, root, at(3)) },
		func() error { _, err := b.Discard(root, at(4)); return err },
	} {
		writes := s.writes
		if err := step(); err != nil {
			t.Fatal(err)
		}
		same(t, "writes of one change", s.writes-writes, 1)
		same(t, "changes that wait in the file", len(reopen(t, s).Pending()), i+2)
	}
	same(t, "changes", b.Pending(), []config.Change{
		{ID: 1, At: t0, By: root, Action: "config.created", Revision: 1},
		{ID: 2, At: at(1), By: maria, Action: "config.staged", Revision: 1, Items: map[string]string{config.Copy: "(unset) -> never"}},
		{ID: 3, At: at(2), By: maria, Action: "config.applied", Revision: 2, Items: map[string]string{config.Copy: "(unset) -> never"}},
		{ID: 4, At: at(3), By: root, Action: "config.rollback_staged", Revision: 2, Items: map[string]string{"revision": "1"}},
		{ID: 5, At: at(4), By: root, Action: "config.discarded", Revision: 2},
	})
}

func TestARecordedChangeLeavesOnce(t *testing.T) {
	t.Parallel()
	b, s := create(t, nil)
	stage(t, b, config.Copy, "never") // 2
	first := b.Pending()
	stage(t, b, config.Drain, "1m") // 3
	for range 2 {                   // two who saw the same changes
		if err := b.RecordedThrough(first[len(first)-1].ID); err != nil {
			t.Fatal(err)
		}
	}
	left := reopen(t, s).Pending()
	if len(left) != 1 || left[0].ID != 3 {
		t.Fatalf("left: %v", left)
	}
	if err := b.RecordedThrough(7); err != nil {
		t.Fatal(err)
	}
	same(t, "left", len(b.Pending()), 0)
	stage(t, b, config.Drain, "2m")
	same(t, "the next id", b.Pending()[0].ID, uint64(4))
}

func TestABookIsKeptByTheRealFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	b, err := config.Create(durable.Files{}, path, nil, root, t0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Create(durable.Files{}, path, nil, root, t0); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second one is created: %v", err)
	}
	stage(t, b, config.Copy, "never")
	apply(t, b)
	again, err := config.Open(durable.Files{}, path)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "reopened", text(again), text(b))
	if _, err := config.Open(durable.Files{}, filepath.Join(dir, "lost.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a lost book: %v", err)
	}
}
