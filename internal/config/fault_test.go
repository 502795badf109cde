package config_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/durable"
)

var errDisk = errors.New("input/output error")

// changes are all that a caller can do to a book with something staged.
func changes(b *config.Book) map[string]func() error {
	return map[string]func() error{
		"stage":   func() error { v := "30m"; return b.Stage(config.StepUp, &v, maria, t0) },
		"unset":   func() error { return b.Stage(config.Lifetime, nil, maria, t0) },
		"apply":   func() error { _, _, err := b.Apply(0, maria, t0); return err },
		"discard": func() error { _, err := b.Discard(maria, t0); return err },
		"roll":    func() error { return b.Rollback(1, maria, t0) },
		"record":  func() error { return b.RecordedThrough(1) },
	}
}

func prepared(t *testing.T) (*config.Book, *shelf) {
	t.Helper()
	b, s := create(t, map[string]string{config.Lifetime: "30d"})
	stage(t, b, config.Copy, "never")
	apply(t, b)
	stage(t, b, config.Copy, "reauth")
	s.writes = 0
	return b, s
}

func TestAChangeThatCannotBeWrittenDidNotHappen(t *testing.T) {
	t.Parallel()
	unknown := errors.Join(durable.ErrUnknown, errDisk)
	for how, faults := range map[string]map[int]fault{
		"nothing is written":               {1: {err: errDisk}},
		"unknown, and not written":         {1: {err: unknown}},
		"unknown, and written":             {1: {err: unknown, persists: true}},
		"unknown, put back, not persisted": {1: {err: unknown}, 2: {err: errDisk}},
	} {
		b, _ := prepared(t)
		for name := range changes(b) {
			t.Run(how+"/"+name, func(t *testing.T) {
				t.Parallel()
				b, s := prepared(t)
				before := text(b)
				s.faults = faults
				err := changes(b)[name]()
				if !errors.Is(err, errDisk) && !strings.Contains(err.Error(), errDisk.Error()) {
					t.Fatalf("got %v", err)
				}
				_, twice := faults[2]
				same(t, "the error says that the outcome is unknown", errors.Is(err, durable.ErrUnknown), twice)
				same(t, "the book", text(b), before)
				same(t, "the file", text(reopen(t, s)), before)
				s.faults = nil
				if err := changes(b)[name](); err != nil {
					t.Fatalf("once more: %v", err)
				}
				same(t, "the file, once more", text(reopen(t, s)), text(b))
			})
		}
	}
}

func TestWhatStaysUnknownSaysSoAndTheBookKeepsItsWord(t *testing.T) {
	t.Parallel()
	b, s := prepared(t)
	before := text(b)
	unknown := errors.Join(durable.ErrUnknown, errDisk)
	s.faults = map[int]fault{1: {err: unknown, persists: true}, 2: {err: unknown}}
	if _, _, err := b.Apply(0, maria, t0); !errors.Is(err, durable.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	same(t, "the book", text(b), before)
	// The next change that is written decides.
	stage(t, b, config.Drain, "1m")
	same(t, "the file", text(reopen(t, s)), text(b))
}

func TestABookThatCouldNotBeOpenedAgainIsNotWritten(t *testing.T) {
	t.Parallel()
	b, s := prepared(t)
	before := text(b)
	value := "30m"
	for what, step := range map[string]func() error{
		"a name that is not UTF-8": func() error { return b.Stage(config.StepUp, &value, config.Author{Name: "\xff"}, t0) },
		"a year of five digits":    func() error { return b.Stage(config.StepUp, &value, maria, t0.AddDate(9000, 0, 0)) },
		"more than a file holds": func() error {
			return b.Stage(config.StepUp, &value, config.Author{Name: strings.Repeat("m", 5<<20)}, t0)
		},
	} {
		if err := step(); err == nil {
			t.Errorf("%s is written", what)
		}
		same(t, what, text(reopen(t, s)), before)
		same(t, what, text(b), before)
	}
	same(t, "writes", s.writes, 0)
}

func TestChangesAtTheSameTimeAreAllMade(t *testing.T) {
	t.Parallel()
	b, s := create(t, nil)
	values := map[string]string{
		config.Copy: "never", config.Drain: "1m", config.LogLevel: "debug", config.StepUp: "1m", config.Lifetime: "1d", config.LoginAttempts: "9",
	}
	var group sync.WaitGroup
	for name, value := range values {
		group.Go(func() {
			if err := b.Stage(name, &value, maria, time.Now()); err != nil {
				t.Error(err)
			}
			_, _ = b.Applied()
			_, _, _ = b.Staged()
			_, _ = b.History(), b.Pending()
		})
	}
	group.Wait()
	apply(t, b)
	_, applied := reopen(t, s).Applied()
	same(t, "applied", applied, values)
	seen := make(map[uint64]bool)
	for _, c := range b.Pending() {
		seen[c.ID] = true
	}
	same(t, "ids", len(seen), len(values)+2)
}
