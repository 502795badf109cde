package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

const (
	// TrialLength is how long settings are on trial where nobody says otherwise,
	// and how much longer each time that somebody asks for more.
	TrialLength = 10 * time.Minute
	// MaxTrial is the longest that is left of a trial at any moment.
	MaxTrial = 24 * time.Hour
)

// Trial is an applied revision that is not kept yet. Unless it is kept in time,
// the revision before is applied again.
type Trial struct {
	Revision   uint64        `json:"revision"` // that is on trial
	Back       uint64        `json:"back_to"`  // that it goes back to
	Until      time.Time     `json:"until"`
	Length     time.Duration `json:"length"` // nanoseconds; more than that is never left, whatever the clock says
	Properties []string      `json:"properties"`
	By         Author        `json:"by"`
}

// OutOfTime is why a trial ends that nobody has ended.
const OutOfTime = "it was not confirmed in time"

// Itself is the program, as the audit log knows it.
func Itself() Author { return Author{Kind: "system", Name: "mintmark"} }

// EndTrial goes back if the time of a trial is up by the clock, and reports
// whether it did. It is for the start, when no process has watched the trial.
func (b *Book) EndTrial(now time.Time) (bool, error) {
	t, runs := b.Trial()
	if !runs || t.Left(now) > 0 {
		return false, nil
	}
	_, _, err := b.Revert(t.Revision, OutOfTime, Itself(), now)
	return err == nil, err
}

// Left is how much of the trial is left by the clock: none to all of it.
func (t Trial) Left(now time.Time) time.Duration {
	return max(0, min(t.Until.Sub(now), t.Length))
}

// ErrNoTrial says that nothing is on trial: it was kept, or it went back.
var ErrNoTrial = errors.New("nothing is on trial")

// OnTrialError says that a revision has to be kept, or gone back from, first.
type OnTrialError struct{ Trial Trial }

func (e *OnTrialError) Error() string {
	return fmt.Sprintf("revision %d is on trial until %s; keep it or go back first", e.Trial.Revision, e.Trial.Until.UTC().Format(time.RFC3339))
}

// Trial answers the trial that runs, if one does.
func (b *Book) Trial() (Trial, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.doc.Trial == nil {
		return Trial{}, false
	}
	return b.doc.Trial.clone(), true
}

func (t Trial) clone() Trial {
	t.Properties = slices.Clone(t.Properties)
	return t
}

// ApplyOnTrial is Apply, and puts the revision on trial for a length if what is
// staged can shut people out. A length of 0 does not.
func (b *Book) ApplyOnTrial(revision uint64, length time.Duration, by Author, now time.Time) (uint64, bool, error) {
	return b.apply(revision, min(length, MaxTrial), by, now)
}

// try puts a revision on trial that was applied just now, if one of its changes
// can shut people out.
func (d *document) try(length time.Duration, changed []string, by Author, now time.Time) {
	if length <= 0 {
		return
	}
	var risky []string
	for _, name := range changed {
		if p, err := Lookup(name); err == nil && p.LockOut {
			risky = append(risky, name)
		}
	}
	if len(risky) == 0 {
		return
	}
	slices.Sort(risky)
	d.Trial = &Trial{Revision: d.Revision, Back: d.Revision - 1, Until: now.Add(length), Length: length, Properties: risky, By: by}
}

// tried is the trial that runs, if it is that of a revision; 0 is any.
func (d *document) tried(revision uint64) (*Trial, error) {
	switch {
	case d.Trial == nil:
		return nil, ErrNoTrial
	case revision != 0 && revision != d.Trial.Revision:
		return nil, &ConflictError{revision, d.Trial.Revision}
	}
	return d.Trial, nil
}

// Keep ends the trial of a revision, 0 of any: it stays applied. Of a Keep and a
// Revert at the same time one finds the trial, the other ErrNoTrial.
func (b *Book) Keep(revision uint64, by Author, now time.Time) error {
	return b.update(func(d *document) (*Change, error) {
		if _, err := d.tried(revision); err != nil {
			return nil, err
		}
		d.Trial = nil
		return d.change(now, by, "config.confirmed", nil), nil
	})
}

// Extend gives the trial of a revision, 0 of any, more time, and answers it.
func (b *Book) Extend(revision uint64, more time.Duration, by Author, now time.Time) (Trial, error) {
	var longer Trial
	err := b.update(func(d *document) (*Change, error) {
		t, err := d.tried(revision)
		if err != nil {
			return nil, err
		}
		longer = t.clone()
		longer.Length = min(t.Left(now)+more, MaxTrial)
		longer.Until = now.Add(longer.Length)
		d.Trial = &longer
		return d.change(now, by, "config.trial_extended", map[string]string{"until": longer.Until.UTC().Format(time.RFC3339)}), nil
	})
	return longer.clone(), err
}

// Revert ends the trial of a revision, 0 of any, and applies the one before
// again, as a new revision. The tokens stay in the store where they are: only a
// switch moves them. why goes into the audit log. It answers what changed, as it
// was and as it is.
func (b *Book) Revert(revision uint64, why string, by Author, now time.Time) (before, after map[string]string, err error) {
	err = b.update(func(d *document) (*Change, error) {
		t, err := d.tried(revision)
		if err != nil {
			return nil, err
		}
		then, err := d.back(t)
		if err != nil {
			return nil, err
		}
		before, after = d.Applied, then
		items := changes(before, after)
		items["why"], items["back_to"] = why, strconv.FormatUint(t.Back, 10)
		d.Reverted = append(d.Reverted, t.Revision)
		d.Trial = nil
		d.adopt(then, by, now)
		return d.change(now, by, "config.reverted", items), nil
	})
	if err != nil {
		return nil, nil, err
	}
	return maps.Clone(before), maps.Clone(after), nil
}

// back is what a trial goes back to. The store stays.
func (d *document) back(t *Trial) (map[string]string, error) {
	i := slices.IndexFunc(d.History, func(r Revision) bool { return r.Revision == t.Back })
	if i < 0 {
		return nil, ErrNoRevision
	}
	then := maps.Clone(d.History[i].Applied)
	if faults := unknown(then); len(faults) > 0 {
		return nil, &FaultsError{faults}
	}
	if place, is := d.Applied[Store]; is {
		then[Store] = place
	} else {
		delete(then, Store)
	}
	return then, nil
}

// AppliedWith names what else was applied with the properties of a trial and goes
// back with them; stays reports that the store was too, which does not.
func (b *Book) AppliedWith(t Trial) (with []string, stays bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.doc.History, func(r Revision) bool { return r.Revision == t.Back })
	if i < 0 {
		return nil, false
	}
	for name := range changes(b.doc.History[i].Applied, b.doc.Applied) {
		switch {
		case name == Store:
			stays = true
		case !slices.Contains(t.Properties, name):
			with = append(with, name)
		}
	}
	slices.Sort(with)
	return with, stays
}

// Kept is what is applied without a trial that may run: what that goes back to.
func (b *Book) Kept() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.doc.Trial != nil {
		if then, err := b.doc.back(b.doc.Trial); err == nil {
			return then
		}
	}
	return maps.Clone(b.doc.Applied)
}

// changes tells what differs between two configurations.
func changes(before, after map[string]string) map[string]string {
	items := make(map[string]string)
	for _, p := range Catalogue() {
		old, was := before[p.Name]
		value, is := after[p.Name]
		if old != value || was != is {
			items[p.Name] = arrow(p, stated(old, was), stated(value, is))
		}
	}
	return items
}

// adopt makes values the next revision. What is staged and says the same is
// staged no more.
func (d *document) adopt(values map[string]string, by Author, now time.Time) {
	d.Applied = values
	maps.DeleteFunc(d.Staged, func(name string, staged *string) bool {
		value, is := values[name]
		return equal(staged, stated(value, is))
	})
	if len(d.Staged) == 0 {
		d.StagedBy, d.StagedAt = Author{}, time.Time{}
	}
	d.Revision++
	d.History = append(d.History, Revision{d.Revision, now, by, maps.Clone(values)})
	if len(d.History) > maxHistory {
		d.History = d.History[len(d.History)-maxHistory:]
		d.Reverted = slices.DeleteFunc(d.Reverted, func(r uint64) bool { return r < d.History[0].Revision })
	}
}
