package control_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

const (
	here  = "127.0.0.1:3000"
	there = "192.0.2.7:3000"
)

// onTrial is a desk that listens elsewhere on trial, and the count of how often
// the process was told that something has changed.
func onTrial(t *testing.T) (*desk, *int) {
	t.Helper()
	d := newDesk(t, map[string]string{config.Listen: here, config.Store: "tokens.json"})
	told := 0
	d.Changed = func() { told++ }
	d.stage(t, config.Listen, there)
	d.stage(t, config.LogLevel, "debug")
	a, err := d.Apply(t.Context(), maria(), 1, 10*time.Minute)
	must(t, err)
	if a.Trial == nil || a.Trial.Revision != 2 || a.Trial.Back != 1 || a.Trial.By != "maria" || a.Trial.Until.Sub(d.clock).Round(time.Minute) != 10*time.Minute {
		t.Fatalf("the trial is %+v", a.Trial)
	}
	same(t, "properties", a.Trial.Properties, []string{config.Listen})
	same(t, "what goes back with them", a.Trial.With, []string{config.LogLevel})
	same(t, "listens", d.running.Settings().Listen, there)
	same(t, "told", told, 1)
	return d, &told
}

func (d *desk) settle(t *testing.T, decision control.Decision) control.Applied {
	t.Helper()
	a, err := d.Settle(t.Context(), maria(), control.Answer{Revision: 2, Decision: decision})
	must(t, err)
	return a
}

func (d *desk) ends(t *testing.T, uptime time.Duration) bool {
	t.Helper()
	ended, err := d.EndTrial(t.Context(), operator(), uptime)
	must(t, err)
	return ended.Back
}

// trial is what everybody is told of the trial, in every place where it is told.
func (d *desk) trial(t *testing.T) *control.Trial {
	t.Helper()
	_, staging, err := d.Properties(t.Context(), operator())
	must(t, err)
	_, again, err := d.Diff(t.Context(), operator())
	must(t, err)
	status, checks := d.status(t)
	same(t, "the trial with a difference", again.Trial, staging.Trial)
	same(t, "the trial of the status", status.Staging.Trial, staging.Trial)
	same(t, "the check", strings.Contains(checks["settings"].Fact, "on trial until"), staging.Trial != nil)
	return staging.Trial
}

func TestATrialThatNobodyKeepsEnds(t *testing.T) {
	t.Parallel()
	d, told := onTrial(t)
	same(t, "over at once", d.ends(t, time.Hour), false) // the process is an hour old
	same(t, "over after 9 minutes", d.ends(t, time.Hour+9*time.Minute), false)
	if d.trial(t) == nil {
		t.Error("nobody is told of it")
	}
	same(t, "over after 10 minutes", d.ends(t, time.Hour+10*time.Minute), true)
	same(t, "listens", d.running.Settings().Listen, here)
	same(t, "told", *told, 2)
	same(t, "a property that had not been in force", d.property(t, config.LogLevel).Waiting, false)
	if d.trial(t) != nil {
		t.Error("it still runs")
	}
	same(t, "over again", d.ends(t, 100*time.Hour), false)
	must(t, d.CatchUp(t.Context(), operator()))
	page, err := d.authority.Audit(t.Context(), operator(), authority.AuditQuery{Action: "config.reverted", Limit: 5})
	must(t, err)
	e := page.Events[0]
	same(t, "actor", e.Actor, authority.Actor{Kind: "system", Name: "mintmark"})
	same(t, "why, and what", []string{e.Detail["why"], e.Detail["back_to"], e.Detail[config.Listen]}, []string{config.OutOfTime, "1", there + " -> " + here})
}

func TestATrialThatIsKeptStays(t *testing.T) {
	t.Parallel()
	d, told := onTrial(t)
	if a := d.settle(t, control.Keep); a.Revision != 2 || a.Trial != nil {
		t.Errorf("got %+v", a)
	}
	same(t, "over", d.ends(t, 100*time.Hour), false)
	d.restart(t)
	same(t, "listens", d.running.Settings().Listen, there)
	same(t, "told", *told, 1)
}

func TestATrialThatIsRevertedByHandSaysWhatChanged(t *testing.T) {
	t.Parallel()
	d, told := onTrial(t)
	a := d.settle(t, control.Revert)
	same(t, "applied", a, control.Applied{Revision: 3, Differences: []control.Difference{
		{Property: config.Listen, Before: there, After: here, Live: true}, {Property: config.LogLevel, Before: "debug"},
	}})
	same(t, "listens", d.running.Settings().Listen, here)
	same(t, "told", *told, 2)
}

func TestAnExtendedTrialEndsLater(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	same(t, "over", d.ends(t, 0), false)
	d.clock = d.clock.Add(4 * time.Minute)
	until := d.settle(t, control.Extend).Trial.Until
	same(t, "until", until.Sub(d.clock).Round(time.Minute), 16*time.Minute)
	same(t, "over after 10 minutes", d.ends(t, 10*time.Minute), false)
	same(t, "over after 25 minutes", d.ends(t, 25*time.Minute), false)
	same(t, "over after 26 minutes", d.ends(t, 26*time.Minute), true)
}

// A clock that is set ends no trial before its time, and lets none go on after it.
func TestTheClockDoesNotEndATrialOfARunningServer(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{10 * 365 * 24 * time.Hour, -2 * time.Hour} {
		d, _ := onTrial(t)
		same(t, "over", d.ends(t, 0), false)
		d.clock = d.clock.Add(jump)
		same(t, "over after 9 minutes and a jump", d.ends(t, 9*time.Minute), false)
		same(t, "over after 10 minutes and a jump", d.ends(t, 10*time.Minute), true)
	}
}

func TestATrialGoesOnInTheNextProcessForWhatIsLeft(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	d.clock = d.clock.Add(7 * time.Minute)
	d.restart(t)
	same(t, "listens", d.running.Settings().Listen, there)
	same(t, "over", d.ends(t, time.Second), false)
	same(t, "over after 2 minutes", d.ends(t, 2*time.Minute), false)
	same(t, "over after 3 minutes", d.ends(t, 3*time.Minute+time.Second), true)
	d.restart(t)
	same(t, "listens after the next start", d.running.Settings().Listen, here)
}

func TestATrialThatCannotBeEndedIsTriedAgainInAMinute(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	same(t, "over", d.ends(t, 0), false)
	d.pen.failing(1, errDisk, false)
	_, err := d.EndTrial(t.Context(), operator(), 10*time.Minute)
	wantCode(t, err, authority.Unavailable, "config.unwritable")
	same(t, "listens", d.running.Settings().Listen, there)
	same(t, "a second later", d.ends(t, 10*time.Minute+time.Second), false)
	same(t, "a minute later", d.ends(t, 11*time.Minute), true)
}

// What went back in the book and could not be put in force is not forgotten.
func TestWhatWentBackIsPutInForceWhenThatCanBe(t *testing.T) {
	t.Parallel()
	d, told := onTrial(t)
	same(t, "over", d.ends(t, 0), false)
	certificate, err := config.Lookup(config.Certificate)
	must(t, err)
	d.env = map[string]string{certificate.Env(): d.path("a.pem")} // and no key
	back, err := d.EndTrial(t.Context(), operator(), 10*time.Minute)
	wantCode(t, err, authority.Invalid, "config.invalid")
	same(t, "how it stands", back, control.Return{Back: true, Why: config.OutOfTime})
	if _, runs := d.Book.Trial(); runs {
		t.Error("it still runs")
	}
	same(t, "listens", d.running.Settings().Listen, there)
	same(t, "told", *told, 1)
	same(t, "tried again a second later", d.ends(t, 10*time.Minute+time.Second), false)
	_, err = d.EndTrial(t.Context(), operator(), 11*time.Minute)
	wantCode(t, err, authority.Invalid, "config.invalid")
	d.env = noLayers
	same(t, "tried again before its time", d.ends(t, 12*time.Minute-time.Second), false)
	same(t, "tried again", d.ends(t, 12*time.Minute), true)
	same(t, "listens", d.running.Settings().Listen, here)
	same(t, "told", *told, 2)
	same(t, "once more", d.ends(t, time.Hour), false)
}

// What one trial owes is not said of the next.
func TestWhatATrialOwesEndsWithTheNextApply(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	same(t, "over", d.ends(t, 0), false)
	certificate, err := config.Lookup(config.Certificate)
	must(t, err)
	d.env = map[string]string{certificate.Env(): d.path("a.pem")} // and no key
	_, err = d.EndTrial(t.Context(), operator(), 10*time.Minute)
	wantCode(t, err, authority.Invalid, "config.invalid")
	d.env = noLayers
	d.stage(t, config.Listen, there)
	d.apply(t)
	same(t, "once more", d.ends(t, 11*time.Minute), false)
	same(t, "listens", d.running.Settings().Listen, there)
}

// Browsers that are told to use nothing but TLS would not find back.
func TestTLSIsKeptWhileNothingIsAboutToTakeItAway(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Listen: here})
	certificate, key := d.pair(t, "a")
	keeps := func(when string, want bool) { t.Helper(); same(t, when, d.KeepsTLS(), want) }
	keeps("without TLS", false)
	apply := func(length time.Duration) {
		t.Helper()
		d.stage(t, config.Certificate, certificate)
		d.stage(t, config.Key, key)
		_, err := d.Apply(t.Context(), maria(), 0, length)
		must(t, err)
	}
	apply(time.Minute)
	keeps("on trial", false)
	_, err := d.Settle(t.Context(), maria(), control.Answer{Decision: control.Revert})
	must(t, err)
	keeps("after the way back", false)
	apply(0)
	keeps("for good", true)
	d.stage(t, config.Listen, there)
	_, err = d.Apply(t.Context(), maria(), 0, time.Minute)
	must(t, err)
	keeps("while an address is on trial", true)
	_, err = d.Settle(t.Context(), maria(), control.Answer{Decision: control.Keep})
	must(t, err)
	// Between the way back in the book and that of the process.
	must(t, unset(t, d, config.Certificate))
	must(t, unset(t, d, config.Key))
	_, _, err = d.Book.Apply(0, config.Itself(), d.now())
	must(t, err)
	keeps("when the book is without it", false)
}

func TestATrialThatEndsSaysWhatWaitsForARestart(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	d.restart(t) // now the level on trial is in force, too
	back, err := d.GoBack(t.Context(), operator(), 0, "the port is in use")
	must(t, err)
	same(t, "what waits", back.Waiting, []string{config.LogLevel})
}

func TestATrialThatCannotGoOnSaysWhy(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	_, err := d.GoBack(t.Context(), operator(), 1, "another cannot")
	wantCode(t, err, authority.Conflict, "config.revision")
	back, err := d.GoBack(t.Context(), operator(), 2, "the port is in use")
	must(t, err)
	same(t, "how it stands", back, control.Return{Back: true, InForce: true, Why: "the port is in use"})
	same(t, "listens", d.running.Settings().Listen, here)
	_, err = d.GoBack(t.Context(), operator(), 2, "the port is in use")
	wantCode(t, err, authority.Conflict, "config.no_trial")
}

func TestDuringATrialNothingElseIsAppliedNorIsAStoreMoved(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	path := d.file(t, "other.json", "")
	d.stage(t, config.Store, path)
	_, err := d.Apply(t.Context(), maria(), 0, 0)
	wantCode(t, err, authority.Conflict, "config.on_trial")
	_, err = d.Rollback(t.Context(), maria(), 0, 0)
	wantCode(t, err, authority.Conflict, "config.on_trial")
	same(t, "store", d.authority.Facts().Location, d.path("tokens.json"))
	same(t, "staged", text(d.property(t, config.Store).Staged), path)
	d.settle(t, control.Keep)
	d.apply(t)
	same(t, "store", d.authority.Facts().Location, path)
}

func TestARollbackMayBeOnTrial(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	d.settle(t, control.Keep)
	_, err := d.Rollback(t.Context(), maria(), 0, time.Millisecond)
	wantCode(t, err, authority.Invalid, "request.invalid")
	a, err := d.Rollback(t.Context(), maria(), 0, time.Minute)
	must(t, err)
	if a.Trial == nil || a.Trial.Revision != 3 || a.Trial.Back != 2 {
		t.Fatalf("the trial is %+v", a.Trial)
	}
	same(t, "listens", d.running.Settings().Listen, here)
	same(t, "over", d.ends(t, 0), false)
	same(t, "over after a minute", d.ends(t, time.Minute), true)
	same(t, "listens", d.running.Settings().Listen, there)
}

func TestTheStoreOfATrialStaysTheStore(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Listen: here, config.Store: "tokens.json"})
	d.issue(t, "ci")
	path := d.file(t, "other.json", "")
	d.stage(t, config.Store, path)
	d.stage(t, config.Listen, there)
	_, err := d.Apply(t.Context(), maria(), 0, time.Minute)
	must(t, err)
	d.issue(t, "cd")
	d.settle(t, control.Revert)
	for range 2 {
		same(t, "store", d.authority.Facts().Location, path)
		same(t, "active", d.active(t), 2)
		same(t, "listens", d.running.Settings().Listen, here)
		d.restart(t)
	}
}

func TestATrialHasALength(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.stage(t, config.Listen, there)
	for _, length := range []time.Duration{-time.Second, time.Millisecond, 25 * time.Hour} {
		_, err := d.Apply(t.Context(), maria(), 0, length)
		wantCode(t, err, authority.Invalid, "request.invalid")
		_, err = d.Settle(t.Context(), maria(), control.Answer{Decision: control.Extend, More: length})
		wantCode(t, err, authority.Invalid, "request.invalid")
	}
	_, err := d.Settle(t.Context(), maria(), control.Answer{Decision: control.Keep})
	wantCode(t, err, authority.Conflict, "config.no_trial")
	_, err = d.Settle(t.Context(), maria(), control.Answer{Decision: "perhaps"})
	wantCode(t, err, authority.Invalid, "request.invalid")
}

func TestAnAddressThatCannotBeListenedOnIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.CheckListen = func(address string) error { return errors.New(address + " is already in use by nginx (pid 812)") }
	d.stage(t, config.Listen, there)
	_, err := d.Apply(t.Context(), maria(), 0, time.Minute)
	e := wantCode(t, err, authority.Invalid, "config.invalid")
	same(t, "fields", e.Fields, []authority.FieldError{{Field: config.Listen, Code: "property.invalid", Msg: there + " is already in use by nginx (pid 812)"}})
}

// However the time and the people race, there is one end of a trial.
func TestATrialHasOneEnd(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	same(t, "over", d.ends(t, 0), false)
	d.Changed = nil
	ends := make(chan string, 30)
	var group sync.WaitGroup
	for range 10 {
		for name, answer := range map[string]control.Decision{"kept": control.Keep, "reverted": control.Revert} {
			group.Go(func() {
				if _, err := d.Settle(t.Context(), maria(), control.Answer{Revision: 2, Decision: answer}); err == nil {
					ends <- name
				} else if !errors.Is(err, authority.Conflict) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		group.Go(func() {
			if ended, err := d.EndTrial(t.Context(), operator(), time.Hour); ended.Back {
				ends <- "out of time"
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	close(ends)
	var all []string
	for end := range ends {
		all = append(all, end)
	}
	if len(all) != 1 {
		t.Fatalf("it ended %d times: %v", len(all), all)
	}
	same(t, all[0]+": the process and the file", d.property(t, config.Listen).Waiting, false)
	same(t, all[0]+": listens there", d.running.Settings().Listen == there, all[0] == "kept")
}
