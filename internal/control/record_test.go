package control_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/store/storetest"
)

// work is everything that leaves a note, and the events of it.
func (d *desk) work(t *testing.T) error {
	t.Helper()
	never, minute := "never", "1m"
	_, _, err := d.Stage(t.Context(), maria(), config.Copy, &never)
	_, err2 := d.Apply(t.Context(), maria(), 0, 0)
	_, _, err3 := d.Stage(t.Context(), maria(), config.Drain, &minute)
	_, err4 := d.Discard(t.Context(), maria())
	_, err5 := d.Rollback(t.Context(), maria(), 1, 0)
	return errors.Join(err, err2, err3, err4, err5)
}

var worked = []string{
	"config.created 1", "config.staged 2", "config.applied 3", "config.staged 4", "config.discarded 5", "config.rollback_staged 6", "config.applied 7",
}

// A crash may come between any two writes: of the change, of its event, and of
// the note that the event is there.
func TestEveryChangeIsAnEventExactlyOnceWhereverACrashComes(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(authority.Store) authority.Store{
		"nothing is recorded any more":     func(s authority.Store) authority.Store { return &failingFrom{Store: s} },
		"recording fails at times":         func(s authority.Store) authority.Store { return storetest.FailBefore(s, 2) },
		"recorded, and the answer is lost": func(s authority.Store) authority.Store { return storetest.FailAndPersist(s, 2) },
		"always recorded, never answered":  func(s authority.Store) authority.Store { return storetest.FailAndPersist(s, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, nil)
			d.wrap = wrap
			d.wire(t, d.Book)
			must(t, d.work(t)) // the changes last with their notes; that is enough
			d.restart(t)
			same(t, "events", d.events(t), worked)
			same(t, "waiting", len(d.Book.Pending()), 0)
			d.restart(t)
			same(t, "events after one more start", d.events(t), worked)
		})
	}
	t.Run("the note stays in the book", func(t *testing.T) {
		t.Parallel()
		recorded := []int{2, 4, 6, 8, 11} // the other writes are of changes
		for n := 1; n <= 11; n++ {
			for _, lasted := range []bool{false, true} {
				d := newDesk(t, nil)
				d.pen.failing(n, errDisk, lasted)
				err := d.work(t)
				if !slices.Contains(recorded, n) && err == nil {
					t.Fatalf("write %d fails and nobody is told", n)
				}
				d.restart(t)
				events := d.events(t)
				if len(slices.Compact(slices.Clone(events))) != len(events) {
					t.Errorf("write %d: an event is there twice: %v", n, events)
				}
				if slices.Contains(recorded, n) {
					same(t, fmt.Sprintf("events, write %d", n), events, worked)
				}
				if len(d.Book.Pending()) != 0 {
					t.Errorf("write %d: something waits", n)
				}
			}
		}
	})
}

func TestWhatWaitsForTheAuditLogIsAProblemOfTheStatus(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.wrap = func(s authority.Store) authority.Store { return &failingFrom{Store: s} }
	d.wire(t, d.Book)
	d.stage(t, config.Copy, "never")
	s, err := d.Status(t.Context(), operator())
	must(t, err)
	if c := s.Checks[0]; c.OK || c.Name != "settings" || !strings.Contains(c.Fact, "1 change waits") || c.Fix == "" {
		t.Errorf("the first check is %+v", c)
	}
	if err := d.CatchUp(t.Context(), operator()); !errors.Is(err, authority.Unavailable) {
		t.Errorf("recover: %v", err)
	}
	d.restart(t)
	same(t, "events", d.events(t), []string{"config.created 1", "config.staged 2"})
}

// A book that was put back from a copy counts its changes again from there.
func TestChangesOfABookThatWasPutBackAreRecordedToo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	before, err := d.pen.Read(d.path("config.json"), 1<<20)
	must(t, err)
	d.stage(t, config.Copy, "never")
	must(t, d.pen.Files.Write(d.path("config.json"), before))
	d.restart(t)
	d.stage(t, config.Copy, "reauth") // has the same number
	d.restart(t)
	same(t, "events", d.events(t), []string{"config.created 1", "config.staged 2", "config.staged 2"})
	must(t, d.work(t))
	same(t, "events", len(d.events(t)), 3+len(worked)-1)
}

func TestWhatCannotBeWrittenDidNotHappenAndSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		kind authority.Kind
		code string
	}{
		"disk":         {errDisk, authority.Unavailable, "config.unwritable"},
		"full":         {fmt.Errorf("%w: %w", durable.ErrFull, errDisk), authority.Full, "config.full"},
		"nobody knows": {unknownErr(), authority.Unavailable, "config.unknown"},
		"other":        {&authority.Error{Kind: authority.Conflict, Code: "x"}, authority.Conflict, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, nil)
			d.stage(t, config.Copy, "never")
			d.pen.failing(1, c.err, false)
			d.pen.times = 1 // putting back what was there fails, too
			_, err := d.Apply(t.Context(), maria(), 0, 0)
			d.pen.failing(-1, nil, false)
			wantCode(t, err, c.kind, c.code)
			same(t, "running", d.running.Settings().Copy, "allow")
			same(t, "applied", d.property(t, config.Copy).Applied, "")
			d.apply(t)
			same(t, "running", d.running.Settings().Copy, "never")
		})
	}
}

// What is applied is what was checked, whoever stages in the meantime, and each
// change is one event.
func TestChangesAtTheSameTimeAreCheckedAndRecordedOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.MaxLifetime: "180d"})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 10 {
				value := []string{"200d", "20d"}[i%2] // the first does not go with the longest lifetime
				if _, _, err := d.Stage(t.Context(), maria(), config.Lifetime, &value); err != nil {
					t.Error(err)
				}
				if _, err := d.Apply(t.Context(), maria(), 0, 0); err != nil && !errors.Is(err, authority.Invalid) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for _, r := range d.Book.History() {
		if r.Applied[config.Lifetime] == "200d" {
			t.Fatalf("revision %d was not checked: %v", r.Revision, r.Applied)
		}
	}
	seen := make(map[string]bool)
	events := d.events(t)
	for _, e := range events {
		if id := strings.Fields(e)[1]; seen[id] {
			t.Errorf("%s is recorded twice", e)
		} else {
			seen[id] = true
		}
	}
	for i := range events {
		if !seen[fmt.Sprint(i+1)] {
			t.Errorf("change %d is no event", i+1)
		}
	}
}
