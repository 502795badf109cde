package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
)

// Config is what a Control is made of.
type Config struct {
	Authority *authority.Authority
	Book      *config.Book // nil: a server without a home, whose properties cannot be staged
	Running   *Running
	// SwitchStore moves the tokens to another store and calls commit when they
	// last there; it undoes the move when commit fails. Its errors are classed.
	// The members of the answer but for Store are its own.
	SwitchStore func(ctx context.Context, path string, commit func() error) (Carried, error)
	// CheckStore says what would be found at a path, or why SwitchStore refuses it.
	CheckStore func(path string) (note string, err error)
	// CheckTLS says whether a certificate and its key can be used.
	CheckTLS func(certificate, key string) error
	// CheckListen says why an address cannot be listened on.
	CheckListen func(address string) error // nil: nobody listens
	// Changed is called when what is in force has changed. It does not wait.
	Changed  func() // nil: nobody asks
	Refusals func() map[string]uint64
	Verdicts func() Verdicts // nil: none are answered
	// Surroundings are checks of what is around the server: files, disk, clock.
	Surroundings func() []Check // nil: none
	Now          func() time.Time
	Program      Program
}

// Program says what is running.
type Program struct {
	Version   string
	PID       int
	Home      string
	StartedAt time.Time
	URL       func() string
}

// Control implements Controller.
type Control struct {
	Config
	mu      sync.Mutex // one change at a time: what was checked is what is applied
	watched watch
	owed    string        // why a trial ended whose way back is applied, and not in force yet; "": it is
	again   time.Duration // the age of the process at which that is tried again
	turn    chan struct{} // has room for the one whose turn it is in later
	keyless atomic.Bool   // what is in force may want a key that is not there
}

var _ Controller = (*Control)(nil)

// New checks the configuration.
func New(c Config) (*Control, error) {
	if c.Authority == nil || c.Running == nil || c.SwitchStore == nil || c.CheckStore == nil || c.CheckTLS == nil || c.Refusals == nil || c.Now == nil || c.Program.URL == nil {
		return nil, errors.New("control: a member of Config is missing")
	}
	control := &Control{Config: c, turn: make(chan struct{}, 1)}
	control.keyless.Store(c.Book != nil && slices.ContainsFunc(c.Book.Pending(), func(left config.Change) bool {
		_, is := left.Items[config.Algorithm]
		return is
	}))
	return control, nil
}

// Properties lists every property with its three values.
func (c *Control) Properties(_ context.Context, by authority.Caller) ([]Property, Staging, error) {
	if err := authority.Permit(by); err != nil {
		return nil, Staging{}, err
	}
	running := c.Running.now.Load().values
	var applied map[string]string
	var staged map[string]*string
	if c.Book != nil {
		_, applied = c.Book.Applied()
		staged, _, _ = c.Book.Staged()
	}
	var out []Property
	for _, p := range config.Catalogue() {
		v := running[p.Name]
		item := Property{
			Name: p.Name, Group: p.Group, Help: p.Help, Type: p.Type, Choices: p.Choices, Default: p.Default, Example: p.Example,
			Aliases: p.Aliases, Env: p.Env(), Running: v.Text, Source: string(v.Source), Applied: applied[p.Name],
			Live: p.Live, LockOut: p.LockOut, Secret: p.Secret, Waiting: c.waits(p, applied[p.Name], v),
			ReadOnly: c.Book == nil || v.Source == config.FromFlag || v.Source == config.FromEnvironment,
		}
		if s, ok := staged[p.Name]; ok {
			item.Staged, item.Unsets = s, s == nil
		}
		out = append(out, item)
	}
	return out, c.staging(staged), nil
}

// waits reports whether the process still runs another value than is applied.
func (c *Control) waits(p config.Property, applied string, running config.Value) bool {
	if c.Book == nil || running.Source == config.FromFlag || running.Source == config.FromEnvironment {
		return false
	}
	if applied == "" {
		applied = p.Default
	}
	return applied != running.Text
}

func (c *Control) staging(staged map[string]*string) Staging {
	s := Staging{Count: len(staged)}
	if c.Book == nil {
		return s
	}
	var applied map[string]string
	s.Revision, applied = c.Book.Applied()
	_, by, at := c.Book.Staged()
	s.By, s.At, s.Trial = by.Name, at, trialOf(c.Book)
	before := c.Book.Before()
	for _, r := range c.Book.History() {
		s.History = append(s.History, Past{Revision: r.Revision, At: r.At, By: r.By.Name, Before: r.Revision == before})
	}
	running := c.Running.now.Load().values
	for _, p := range config.Catalogue() {
		if c.waits(p, applied[p.Name], running[p.Name]) {
			s.Waiting++
		}
		if _, is := staged[p.Name]; is && !p.Live {
			s.NeedsRestart++
		}
	}
	return s
}

// Stage stages one value, or with nil that the property is unset.
func (c *Control) Stage(ctx context.Context, by authority.Caller, name string, value *string) (Difference, Staging, error) {
	if err := c.writable(by); err != nil {
		return Difference{}, Staging{}, err
	}
	p, err := config.Lookup(name)
	if err != nil {
		return Difference{}, Staging{}, translate(err)
	}
	if err := c.decidedElsewhere(p); err != nil {
		return Difference{}, Staging{}, err
	}
	if value != nil && p.Name == config.Store && *value == "memory" {
		value = nil // it is how people say unset
	}
	d, staging, err := c.stage(by, p, value)
	if err == nil {
		c.record(ctx, by)
	}
	return d, staging, err
}

func (c *Control) stage(by authority.Caller, p config.Property, value *string) (Difference, Staging, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Book.Stage(p.Name, value, author(by), c.Now().UTC()); err != nil {
		return Difference{}, Staging{}, translate(err)
	}
	_, applied := c.Book.Applied()
	staged, _, _ := c.Book.Staged()
	d := Difference{Property: p.Name, Before: applied[p.Name], After: applied[p.Name], Live: p.Live, Warning: config.Warning(p.Name)}
	if s, is := staged[p.Name]; is {
		d.After = ""
		if s != nil {
			d.After = *s
		}
	}
	return d, c.staging(staged), nil
}

// decidedElsewhere refuses to stage what would change nothing.
func (c *Control) decidedElsewhere(p config.Property) error {
	var where string
	switch c.Running.now.Load().values[p.Name].Source {
	case config.FromEnvironment:
		where = "The environment variable " + p.Env() + " decides " + p.Name + ". Unset it and start again to change the property here."
	case config.FromFlag:
		where = "The command line decides " + p.Name + ". Start without that flag to change the property here."
	case config.FromFile, config.FromDefault:
		return nil
	}
	return &authority.Error{Kind: authority.Conflict, Code: "property.read_only", Msg: where}
}

// Diff validates all that is staged, together, and answers the changes.
func (c *Control) Diff(_ context.Context, by authority.Caller) ([]Difference, Staging, error) {
	if err := c.writable(by); err != nil {
		return nil, Staging{}, err
	}
	diff, staged, err := c.diff()
	return diff, c.staging(staged), err
}

func (c *Control) diff() ([]Difference, map[string]*string, error) {
	staged, _, _ := c.Book.Staged()
	_, applied := c.Book.Applied()
	_, next, err := c.Book.Preview(c.Running.layers)
	var faults []config.Fault
	if together, is := config.IsFaults(err); is {
		faults = together.Faults
	}
	var out []Difference
	for _, p := range config.Catalogue() {
		value, is := staged[p.Name]
		if !is {
			continue
		}
		d := Difference{Property: p.Name, Before: applied[p.Name], Live: p.Live, Warning: config.Warning(p.Name)}
		if value != nil {
			d.After = *value
		}
		if d.Note, err = c.check(p.Name, next); err != nil {
			faults = addFault(faults, config.Fault{Property: p.Name, Message: err.Error()})
		}
		out = append(out, d)
	}
	if len(faults) > 0 {
		return out, staged, translate(&config.FaultsError{Faults: faults})
	}
	return out, staged, nil
}

// check looks at what a value points to.
func (c *Control) check(name string, next config.Settings) (string, error) {
	switch {
	case name == config.Store && next.Store != "" && next.Store != c.Authority.Facts().Location:
		return c.CheckStore(next.Store)
	case name == config.Store && next.Store == "":
		return "tokens are kept in memory only and will be lost on restart", nil
	case (name == config.Certificate || name == config.Key) && next.Certificate != "" && next.Key != "":
		return "certificate and key belong together", c.CheckTLS(next.Certificate, next.Key)
	case name == config.Listen && c.CheckListen != nil:
		return "", c.CheckListen(next.Listen)
	}
	return "", nil
}

// addFault keeps one of two faults that say the same: a pair is checked once for
// each.
func addFault(faults []config.Fault, f config.Fault) []config.Fault {
	if n := len(faults); n > 0 && faults[n-1].Message == f.Message {
		return faults
	}
	return append(faults, f)
}

// Apply makes what is staged the applied configuration, at once or not at all. A
// login needs a password that was entered recently.
// With a trial, what can shut people out goes back after so long unless it is
// kept; the tokens stay in the store to which they were moved.
func (c *Control) Apply(ctx context.Context, by authority.Caller, revision uint64, trial time.Duration) (Applied, error) {
	if err := c.mayApply(by, trial); err != nil {
		return Applied{}, err
	}
	c.mu.Lock()
	out, err := c.apply(ctx, by, revision, trial)
	c.mu.Unlock()
	return out, c.finish(ctx, by, out, err)
}

func (c *Control) apply(ctx context.Context, by authority.Caller, revision uint64, trial time.Duration) (Applied, error) {
	staged, _, _ := c.Book.Staged()
	if t, runs := c.Book.Trial(); runs && len(staged) > 0 { // before anything is looked at that might hang: the trial has to end
		return Applied{}, translate(&config.OnTrialError{Trial: t})
	}
	diff, staged, err := c.diff()
	if err != nil {
		return Applied{}, err
	}
	out := Applied{Differences: diff}
	commit := func() error {
		var err error
		out.Revision, _, err = c.Book.ApplyOnTrial(revision, trial, author(by), c.Now().UTC())
		return err
	}
	if path, switches := c.switches(staged); switches {
		var carried Carried
		carried, err = c.SwitchStore(ctx, path, commit)
		carried.Store = c.Authority.Facts()
		out.Carried = &carried
	} else {
		err = commit()
	}
	if err != nil {
		return Applied{}, translate(err)
	}
	c.owed = "" // to a trial before, if at all: what is applied now takes its place
	_, applied := c.Book.Applied()
	out.Trial = trialOf(c.Book)
	return out, c.inForce(&out, applied)
}

// switches reports whether another store than the running one is staged.
func (c *Control) switches(staged map[string]*string) (string, bool) {
	value, is := staged[config.Store]
	if !is || c.Running.now.Load().values[config.Store].Source == config.FromEnvironment {
		return "", false
	}
	path := ""
	if value != nil {
		path = *value
	}
	return path, path != c.Authority.Facts().Location
}

// Discard drops what is staged.
func (c *Control) Discard(ctx context.Context, by authority.Caller) (int, error) {
	if err := c.writable(by); err != nil {
		return 0, err
	}
	c.mu.Lock()
	n, err := c.Book.Discard(author(by), c.Now().UTC())
	c.mu.Unlock()
	if err != nil {
		return 0, translate(err)
	}
	c.record(ctx, by)
	return n, nil
}

// Rollback applies an earlier revision again, in the place of what is staged.
// When that cannot be, what was staged is staged again. It may be on trial as an
// Apply may.
func (c *Control) Rollback(ctx context.Context, by authority.Caller, revision uint64, trial time.Duration) (Applied, error) {
	if err := c.mayApply(by, trial); err != nil {
		return Applied{}, err
	}
	c.mu.Lock()
	out, err := c.rollback(ctx, by, revision, trial)
	c.mu.Unlock()
	return out, c.finish(ctx, by, out, err)
}

func (c *Control) rollback(ctx context.Context, by authority.Caller, revision uint64, trial time.Duration) (Applied, error) {
	before, _ := c.Book.Applied()
	staged, stagedBy, stagedAt := c.Book.Staged()
	if err := c.Book.Rollback(revision, author(by), c.Now().UTC()); err != nil {
		return Applied{}, translate(err)
	}
	applied, err := c.apply(ctx, by, 0, trial)
	if now, _ := c.Book.Applied(); err != nil && now == before {
		err = errors.Join(err, c.Book.Restage(staged, stagedBy, stagedAt, author(by), c.Now().UTC()))
	}
	return applied, err
}

func (c *Control) writable(by authority.Caller) error {
	if err := authority.Permit(by); err != nil {
		return err
	}
	if c.Book == nil {
		return &authority.Error{Kind: authority.Conflict, Code: "config.no_home", Msg: "This server has no installation directory, so its properties cannot be staged. Make one with: mintmark init DIR"}
	}
	return nil
}

// mayApply asks a login for its password too: whoever sits down at an open console
// could else say that no password is needed, and copy what is guarded by it.
func (c *Control) mayApply(by authority.Caller, trial time.Duration) error {
	if err := c.writable(by); err != nil {
		return err
	}
	if err := authority.PermitRecent(by, c.Now(), c.Authority.Policy().StepUp); err != nil {
		return err
	}
	return checkTrial("trial", trial)
}

func author(by authority.Caller) config.Author {
	a := by.Actor()
	return config.Author{Kind: a.Kind, Name: a.Name, From: by.From()}
}

// translate classes the book's errors.
func translate(err error) error {
	var unknown *config.UnknownError
	var conflict *config.ConflictError
	var trial *config.OnTrialError
	switch faults, is := config.IsFaults(err); {
	case err == nil:
		return nil
	case is:
		e := &authority.Error{Kind: authority.Invalid, Code: "config.invalid", Msg: err.Error()}
		for _, f := range faults.Faults {
			e.Fields = append(e.Fields, authority.FieldError{Field: f.Property, Code: "property.invalid", Msg: f.Message})
		}
		return e
	case errors.As(err, &unknown):
		return &authority.Error{Kind: authority.NotFound, Code: "property.unknown", Msg: err.Error()}
	case errors.As(err, &conflict):
		return &authority.Error{Kind: authority.Conflict, Code: "config.revision", Msg: err.Error()}
	case errors.As(err, &trial):
		return &authority.Error{Kind: authority.Conflict, Code: "config.on_trial", Msg: fmt.Sprintf("Revision %d is on trial until %s. Confirm it or go back first.", trial.Trial.Revision, trial.Trial.Until.UTC().Format(time.RFC3339))}
	case errors.Is(err, config.ErrNoTrial):
		return &authority.Error{Kind: authority.Conflict, Code: "config.no_trial", Msg: "Nothing is on trial: it was kept, or it went back."}
	case errors.Is(err, config.ErrNoRevision):
		return &authority.Error{Kind: authority.NotFound, Code: "config.no_revision", Msg: "The history does not hold that revision."}
	}
	var classed *authority.Error
	switch {
	case errors.As(err, &classed):
		return err
	case config.IsUnknown(err):
		return &authority.Error{Kind: authority.Unavailable, Code: "config.unknown", Msg: "It is not known whether the settings were changed; look before you try again.", Err: err}
	case config.IsFull(err):
		return &authority.Error{Kind: authority.Full, Code: "config.full", Msg: "There is no space left where the settings are stored; nothing was changed.", Err: err}
	}
	return &authority.Error{Kind: authority.Unavailable, Code: "config.unwritable", Msg: "The settings cannot be written; nothing was changed.", Err: err}
}
