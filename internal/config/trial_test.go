package config_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/durable"
)

const elsewhere = "192.0.2.7:3000"

// onTrial is a book with another address, which is on trial as revision 2.
func onTrial(t *testing.T) (*config.Book, *shelf) {
	t.Helper()
	b, s := create(t, map[string]string{config.Listen: "127.0.0.1:3000", config.Lifetime: "30d"})
	stage(t, b, config.Listen, elsewhere)
	stage(t, b, config.Lifetime, "60d")
	if revision, applied, err := b.ApplyOnTrial(1, config.TrialLength, maria, t0); revision != 2 || !applied || err != nil {
		t.Fatalf("got %d, %v, %v", revision, applied, err)
	}
	s.writes = 0
	return b, s
}

func after(d time.Duration) time.Time { return t0.Add(d) }

func TestWhatCanShutOutIsOnTrialAndNothingElse(t *testing.T) {
	t.Parallel()
	b, s := onTrial(t)
	trial, runs := reopen(t, s).Trial()
	same(t, "runs", runs, true)
	same(t, "trial", trial, config.Trial{
		Revision: 2, Back: 1, Until: after(10 * time.Minute), Length: 10 * time.Minute, Properties: []string{config.Listen}, By: maria,
	})
	_, applied := b.Applied()
	same(t, "applied", applied, map[string]string{config.Listen: elsewhere, config.Lifetime: "60d"})
	with, stays := b.AppliedWith(trial)
	same(t, "what goes back with it", with, []string{config.Lifetime})
	same(t, "the store stays", stays, false)
	changes := b.Pending()
	same(t, "the event tells until when", changes[len(changes)-1].Items["trial_until"], "2026-11-23T14:18:02Z")

	for name, length := range map[string]time.Duration{config.Lifetime: config.TrialLength, config.Listen: 0} {
		b, _ := create(t, nil)
		stage(t, b, name, map[string]string{config.Lifetime: "60d", config.Listen: elsewhere}[name])
		if _, _, err := b.ApplyOnTrial(0, length, maria, t0); err != nil {
			t.Fatal(err)
		}
		if _, runs := b.Trial(); runs {
			t.Errorf("%s with %s is on trial", name, length)
		}
	}
}

func TestATrialThatIsKeptIsOver(t *testing.T) {
	t.Parallel()
	b, s := onTrial(t)
	if err := b.Keep(2, root, after(time.Minute)); err != nil {
		t.Fatal(err)
	}
	revision, applied := b.Applied()
	same(t, "revision", revision, uint64(2))
	same(t, "address", applied[config.Listen], elsewhere)
	changes := reopen(t, s).Pending()
	same(t, "event", changes[len(changes)-1], config.Change{ID: 5, At: after(time.Minute), By: root, Action: "config.confirmed", Revision: 2})
	if _, _, err := b.Revert(2, "by hand", root, t0); !errors.Is(err, config.ErrNoTrial) {
		t.Errorf("a revert afterwards: %v", err)
	}
	stage(t, b, config.Copy, "never")
	apply(t, b)
}

func TestATrialThatIsRevertedIsAsBeforeInANewRevision(t *testing.T) {
	t.Parallel()
	b, s := onTrial(t)
	stage(t, b, config.Lifetime, "30d") // what it goes back to
	stage(t, b, config.Copy, "never")
	before, now, err := b.Revert(0, "it was not confirmed in time", root, after(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "before", before, map[string]string{config.Listen: elsewhere, config.Lifetime: "60d"})
	same(t, "now", now, map[string]string{config.Listen: "127.0.0.1:3000", config.Lifetime: "30d"})
	b = reopen(t, s)
	revision, applied := b.Applied()
	same(t, "revision", revision, uint64(3))
	same(t, "applied", applied, now)
	staged, _, _ := b.Staged()
	if len(staged) != 1 || *staged[config.Copy] != "never" {
		t.Errorf("staged is %v", staged)
	}
	changes := b.Pending()
	same(t, "event", changes[len(changes)-1], config.Change{ID: 7, At: after(time.Hour), By: root, Action: "config.reverted", Revision: 3, Items: map[string]string{
		"why": "it was not confirmed in time", "back_to": "1", config.Listen: elsewhere + " -> 127.0.0.1:3000", config.Lifetime: "60d -> 30d",
	}})
	if err := b.Keep(0, root, t0); !errors.Is(err, config.ErrNoTrial) {
		t.Errorf("a keep afterwards: %v", err)
	}
}

// Who rolls back wants neither what did not work nor what is applied already.
func TestARollbackWithoutANumberPassesOverWhatWasReverted(t *testing.T) {
	t.Parallel()
	b, s := onTrial(t)
	revert := func() {
		t.Helper()
		if _, _, err := b.Revert(0, config.OutOfTime, config.Itself(), t0); err != nil {
			t.Fatal(err)
		}
	}
	revert()
	if err := b.Rollback(0, maria, t0); !errors.Is(err, config.ErrNoRevision) {
		t.Errorf("a rollback from what the first revision says: %v", err)
	}
	stage(t, b, config.Lifetime, "90d")
	same(t, "revision", apply(t, b), uint64(4))
	stage(t, b, config.Listen, elsewhere)
	if _, _, err := b.ApplyOnTrial(0, time.Minute, maria, t0); err != nil {
		t.Fatal(err)
	}
	revert()
	b = reopen(t, s)
	if err := b.Rollback(0, maria, t0); err != nil {
		t.Fatal(err)
	}
	same(t, "revision", apply(t, b), uint64(7))
	_, applied := b.Applied()
	same(t, "applied", applied, map[string]string{config.Listen: "127.0.0.1:3000", config.Lifetime: "30d"})
	if err := b.Rollback(5, maria, t0); err != nil {
		t.Fatal(err)
	}
	staged, _, _ := b.Staged()
	same(t, "with its number it is had again", *staged[config.Listen], elsewhere)
}

func TestWhatIsKeptOfATrialIsWhatItGoesBackTo(t *testing.T) {
	t.Parallel()
	b, _ := onTrial(t)
	before := map[string]string{config.Listen: "127.0.0.1:3000", config.Lifetime: "30d"}
	same(t, "on trial", b.Kept(), before)
	if err := b.Keep(0, maria, t0); err != nil {
		t.Fatal(err)
	}
	_, applied := b.Applied()
	same(t, "kept", b.Kept(), applied)
}

// Going back would leave behind what was made in the new store.
func TestARevertLeavesTheTokensWhereTheyAre(t *testing.T) {
	t.Parallel()
	const first, second = "/var/lib/mintmark/a.json", "/var/lib/mintmark/b.json"
	for _, c := range [][2]string{{first, second}, {first, ""}, {"", second}} {
		applied := map[string]string{config.Listen: "127.0.0.1:3000"}
		if c[0] != "" {
			applied[config.Store] = c[0]
		}
		b, _ := create(t, applied)
		stage(t, b, config.Listen, elsewhere)
		if c[1] != "" {
			stage(t, b, config.Store, c[1])
		} else if err := b.Stage(config.Store, nil, maria, t0); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.ApplyOnTrial(0, time.Minute, maria, t0); err != nil {
			t.Fatal(err)
		}
		trial, _ := b.Trial()
		if with, stays := b.AppliedWith(trial); with != nil || !stays {
			t.Errorf("from %q to %q: %v go back, and that the store stays is %v", c[0], c[1], with, stays)
		}
		_, now, err := b.Revert(0, "by hand", maria, t0)
		if place, is := now[config.Store]; err != nil || place != c[1] || is != (c[1] != "") || now[config.Listen] != "127.0.0.1:3000" {
			t.Errorf("from %q to %q: %v, %v", c[0], c[1], now, err)
		}
	}
}

func TestATrialIsExtendedFromWhatIsLeft(t *testing.T) {
	t.Parallel()
	b, s := onTrial(t)
	trial, err := b.Extend(2, config.TrialLength, maria, after(4*time.Minute))
	same(t, "error", err, nil)
	same(t, "until", trial.Until, after(20*time.Minute))
	same(t, "length", trial.Length, 16*time.Minute)
	again, _ := reopen(t, s).Trial()
	same(t, "reopened", again, trial)
	trial, err = b.Extend(0, 1000*time.Hour, maria, after(5*time.Minute))
	same(t, "error", err, nil)
	same(t, "the longest", trial.Until, after(5*time.Minute+config.MaxTrial))
}

func TestWhatIsLeftOfATrialIsNeverMoreThanTheTrial(t *testing.T) {
	t.Parallel()
	b, _ := onTrial(t)
	trial, _ := b.Trial()
	for at, left := range map[time.Duration]time.Duration{
		0: 10 * time.Minute, time.Minute: 9 * time.Minute, 10 * time.Minute: 0, time.Hour: 0, -time.Hour: 10 * time.Minute, -100000 * time.Hour: 10 * time.Minute,
	} {
		same(t, at.String(), trial.Left(after(at)), left)
	}
}

func TestAnAnswerToAnotherTrialIsAConflict(t *testing.T) {
	t.Parallel()
	b, s := onTrial(t)
	before := s.files[bookPath]
	for name, err := range answers(b, 1) {
		var conflict *config.ConflictError
		if got := err(); !errors.As(got, &conflict) {
			t.Errorf("%s: %v", name, got)
		}
	}
	same(t, "file", s.files[bookPath], before)
	b, _ = create(t, nil)
	for name, err := range answers(b, 0) {
		if got := err(); !errors.Is(got, config.ErrNoTrial) {
			t.Errorf("%s without a trial: %v", name, got)
		}
	}
}

// answers are all that can be done about a trial.
func answers(b *config.Book, revision uint64) map[string]func() error {
	return map[string]func() error{
		"keep":   func() error { return b.Keep(revision, maria, t0) },
		"extend": func() error { _, err := b.Extend(revision, time.Minute, maria, t0); return err },
		"revert": func() error { _, _, err := b.Revert(revision, "by hand", maria, t0); return err },
	}
}

func TestNothingElseIsAppliedDuringATrial(t *testing.T) {
	t.Parallel()
	b, s := onTrial(t)
	if revision, applied, err := b.Apply(0, maria, t0); revision != 2 || applied || err != nil {
		t.Errorf("with nothing staged: %d, %v, %v", revision, applied, err)
	}
	stage(t, b, config.Copy, "never")
	before := s.files[bookPath]
	var busy *config.OnTrialError
	if _, _, err := b.Apply(0, maria, t0); !errors.As(err, &busy) || !strings.Contains(err.Error(), "revision 2 is on trial until 2026-11-23T14:18:02Z") {
		t.Errorf("apply: %v", err)
	}
	if err := b.Rollback(1, maria, t0); !errors.As(err, &busy) {
		t.Errorf("rollback: %v", err)
	}
	same(t, "file", s.files[bookPath], before)
}

func TestOfAKeepAndARevertAtTheSameTimeOneWins(t *testing.T) {
	t.Parallel()
	for range 50 {
		b, s := onTrial(t)
		var group sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			group.Go(func() {
				if i%2 == 0 {
					errs[i] = b.Keep(2, maria, t0)
				} else {
					_, _, errs[i] = b.Revert(2, "it was not confirmed in time", root, t0)
				}
			})
		}
		group.Wait()
		won := slices.IndexFunc(errs, func(err error) bool { return err == nil })
		for i, err := range errs {
			if i != won && !errors.Is(err, config.ErrNoTrial) {
				t.Fatalf("%d won, and %d answers %v", won, i, err)
			}
		}
		revision, applied := reopen(t, s).Applied()
		if kept := won%2 == 0; won < 0 || kept != (applied[config.Listen] == elsewhere) || kept != (revision == 2) {
			t.Fatalf("%d won, and revision %d is %v", won, revision, applied)
		}
	}
}

func TestAnAnswerThatCannotBeWrittenWasNotGiven(t *testing.T) {
	t.Parallel()
	unknown := errors.Join(durable.ErrUnknown, errDisk)
	for how, faults := range map[string]map[int]fault{
		"nothing is written":               {1: {err: errDisk}},
		"unknown, and written":             {1: {err: unknown, persists: true}},
		"unknown, put back, not persisted": {1: {err: unknown}, 2: {err: errDisk}},
	} {
		for name := range answers(nil, 0) {
			b, s := onTrial(t)
			before := whole(b)
			s.faults = faults
			if err := answers(b, 2)[name](); err == nil || !strings.Contains(err.Error(), errDisk.Error()) {
				t.Fatalf("%s, %s: %v", name, how, err)
			}
			same(t, name+", "+how, whole(b), before)
			same(t, name+", "+how+": the file", whole(reopen(t, s)), before)
			s.faults = nil
			if err := answers(b, 2)[name](); err != nil {
				t.Errorf("%s, %s, once more: %v", name, how, err)
			}
			same(t, name+", "+how+": the file, once more", whole(reopen(t, s)), whole(b))
		}
	}
}

func whole(b *config.Book) map[string]any {
	all := text(b)
	all["trial"], all["runs"] = b.Trial()
	return all
}
