package control

import (
	"context"
	"slices"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
)

// Trial is a revision that is applied and not kept yet: unless somebody keeps it,
// the one before is applied again.
type Trial struct {
	Revision   uint64 // that is on trial
	Back       uint64 // that it goes back to
	Until      time.Time
	Properties []string // those that can shut people out
	With       []string // what else was applied with them, and goes back with them
	Stays      bool     // the store was switched too, which does not go back
	By         string   // who applied it
}

// Decision is what becomes of a trial.
type Decision string

// The decisions.
const (
	Keep   Decision = "keep"
	Revert Decision = "revert"
	Extend Decision = "extend"
)

// Answer is a decision about the trial of a revision.
type Answer struct {
	Revision uint64 // 0: whatever is on trial
	Decision Decision
	More     time.Duration // for Extend; 0: as much as a trial lasts
}

// MinTrial is the shortest trial.
const MinTrial = time.Second

// TrialLasts is said of every other length, with the code "trial.length".
const TrialLasts = "a trial lasts from 1 second to 24 hours"

func trialOf(b *config.Book) *Trial {
	t, runs := b.Trial()
	if !runs {
		return nil
	}
	out := &Trial{Revision: t.Revision, Back: t.Back, Until: t.Until, Properties: t.Properties, By: t.By.Name}
	out.With, out.Stays = b.AppliedWith(t)
	return out
}

// OnTrial reports whether a property is among those on trial.
func (c *Control) OnTrial(property string) bool {
	if c.Book == nil {
		return false
	}
	t, runs := c.Book.Trial()
	return runs && slices.Contains(t.Properties, property)
}

// KeepsTLS reports that whoever is told to use nothing but TLS finds this server in
// the future, too: it has a certificate, which is neither on trial nor about to go.
func (c *Control) KeepsTLS() bool {
	running := c.Running.now.Load().values[config.Certificate] // before the book: a trial goes back there first
	if running.Text == "" || c.OnTrial(config.Certificate) || c.OnTrial(config.Key) {
		return false
	}
	var applied map[string]string
	if c.Book != nil {
		_, applied = c.Book.Applied()
	}
	return !c.waits(config.Property{Name: config.Certificate}, applied[config.Certificate], running)
}

func checkTrial(field string, length time.Duration) error {
	if length == 0 || length >= MinTrial && length <= config.MaxTrial {
		return nil
	}
	return &authority.Error{
		Kind: authority.Invalid, Code: "request.invalid", Msg: TrialLasts,
		Fields: []authority.FieldError{{Field: field, Code: "trial.length", Msg: TrialLasts}},
	}
}

// Settle keeps what is on trial, goes back, or gives it more time. Of two answers
// at the same time one is told that nothing is on trial any more.
func (c *Control) Settle(ctx context.Context, by authority.Caller, a Answer) (Applied, error) {
	if err := c.writable(by); err != nil {
		return Applied{}, err
	}
	if err := checkTrial("by", a.More); err != nil {
		return Applied{}, err
	}
	c.mu.Lock()
	out, err := c.settle(by, a)
	c.mu.Unlock()
	if a.Decision == Revert {
		return out, c.finish(ctx, by, out, err)
	}
	if err == nil {
		c.record(ctx, by)
	}
	return out, err
}

func (c *Control) settle(by authority.Caller, a Answer) (Applied, error) {
	var err error
	switch now := c.Now().UTC(); a.Decision {
	case Revert:
		return c.goBack(a.Revision, author(by), "by hand")
	case Extend:
		more := a.More
		if more == 0 {
			more = config.TrialLength
		}
		_, err = c.Book.Extend(a.Revision, more, author(by), now)
	case Keep:
		err = c.Book.Keep(a.Revision, author(by), now)
	default:
		return Applied{}, &authority.Error{Kind: authority.Invalid, Code: "request.invalid", Msg: "A trial is kept, reverted or extended."}
	}
	if err != nil {
		return Applied{}, translate(err)
	}
	at, _ := c.Book.Applied()
	return Applied{Revision: at, Trial: trialOf(c.Book)}, nil
}

// goBack applies the revision before the trial again. It has done so if the
// revision that it answers is not 0, whatever the error.
func (c *Control) goBack(revision uint64, who config.Author, why string) (Applied, error) {
	before, after, err := c.Book.Revert(revision, why, who, c.Now().UTC())
	if err != nil {
		return Applied{}, translate(err)
	}
	c.owed = why
	var out Applied
	out.Revision, _ = c.Book.Applied()
	for _, p := range config.Catalogue() {
		if old, value := before[p.Name], after[p.Name]; old != value {
			out.Differences = append(out.Differences, Difference{Property: p.Name, Before: old, After: value, Live: p.Live})
		}
	}
	return out, c.inForce(&out, after)
}

// inForce lets the process run what was applied.
func (c *Control) inForce(out *Applied, applied map[string]string) error {
	var err error
	if out.RestartNeeded, err = c.Running.take(applied); err != nil {
		return translate(err)
	}
	c.owed = ""
	if c.Changed != nil {
		c.Changed()
	}
	return nil
}

// Return is how it stands after a trial has ended without anybody's doing.
type Return struct {
	Back    bool     // the revision before is applied again
	InForce bool     // this process runs it, but for what waits
	Why     string   // the trial ended
	Waiting []string // properties that it runs from its next start on
}

// returned is what became of a trial that nobody has ended. Its event and its key
// are left to CatchUp.
func (c *Control) returned(a Applied, why string, err error) Return {
	if err == nil && a.changes(config.Algorithm) {
		c.keyless.Store(true)
	}
	return Return{Back: a.Revision != 0, InForce: err == nil, Why: why, Waiting: a.RestartNeeded}
}

// againAfter is how long it takes until what failed at the end of a trial is tried
// once more.
const againAfter = time.Minute

// watch is the trial that a process has seen, and the age of the process at which
// that is over.
type watch struct {
	revision uint64
	until    time.Time
	over     time.Duration
}

// EndTrial goes back when the time of a trial is up. The zero Return and no error
// say that there was nothing to do. uptime is how long the process has run by a
// clock that does not jump: a trial lasts for what was left of it when the process
// saw it first, wherever the clock goes meanwhile. What has gone back and could not
// be put in force is tried again every minute, and answered again. It asks nothing of
// the store: CatchUp does. It is meant for once a second.
func (c *Control) EndTrial(_ context.Context, by authority.Caller, uptime time.Duration) (Return, error) {
	if err := authority.Permit(by); err != nil || c.Book == nil {
		return Return{}, err
	}
	if !c.mu.TryLock() { // a state that moves takes its time: it is asked again in a second
		return Return{}, nil
	}
	defer c.mu.Unlock()
	if c.owed != "" && uptime >= c.again {
		return c.pay(uptime)
	}
	t, runs := c.Book.Trial()
	if !runs {
		return Return{}, nil
	}
	if t.Revision != c.watched.revision || !t.Until.Equal(c.watched.until) {
		c.watched = watch{t.Revision, t.Until, uptime + t.Left(c.Now())}
	}
	if uptime < c.watched.over {
		return Return{}, nil
	}
	a, err := c.goBack(t.Revision, config.Itself(), config.OutOfTime)
	if err != nil { // once more in a minute: to go back, or to put it in force
		c.watched.over, c.again = uptime+againAfter, uptime+againAfter
	}
	return c.returned(a, config.OutOfTime, err), err
}

// pay puts in force what went back and could not be put in force then.
func (c *Control) pay(uptime time.Duration) (Return, error) {
	why := c.owed
	var out Applied
	var applied map[string]string
	out.Revision, applied = c.Book.Applied()
	err := c.inForce(&out, applied)
	if err != nil {
		c.again = uptime + againAfter
	} else {
		c.keyless.Store(true) // perhaps
	}
	return c.returned(out, why, err), err
}

// GoBack ends the trial of a revision that cannot go on, and says why. Without it its
// error is that nothing is on trial, or another revision. What could not be put in
// force is left to EndTrial, and its event and its key to CatchUp.
func (c *Control) GoBack(_ context.Context, by authority.Caller, revision uint64, why string) (Return, error) {
	if err := c.writable(by); err != nil {
		return Return{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a, err := c.goBack(revision, config.Itself(), why)
	return c.returned(a, why, err), err
}
