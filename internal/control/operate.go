package control

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"sync"
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
	// last there; it undoes the move when commit fails.
	SwitchStore func(ctx context.Context, path string, commit func() error) (existing, carried int, err error)
	// CheckStore says what would be found at a path, or why it is refused.
	CheckStore func(path string) (note string, err error)
	// CheckTLS says whether a certificate and its key can be used.
	CheckTLS func(certificate, key string) error
	Refusals func() map[string]uint64
	Now      func() time.Time
	Program  Program
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
	mu sync.Mutex // one apply at a time
}

var _ Controller = (*Control)(nil)

// New checks the configuration.
func New(c Config) (*Control, error) {
	if c.Authority == nil || c.Running == nil || c.SwitchStore == nil || c.CheckStore == nil || c.CheckTLS == nil || c.Refusals == nil || c.Now == nil || c.Program.URL == nil {
		return nil, errors.New("control: a member of Config is missing")
	}
	return &Control{Config: c}, nil
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
	s.By, s.At = by.Name, at
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
	if value != nil && p.Name == config.Store && *value == "memory" {
		value = nil // it is how people say unset
	}
	if err := c.Book.Stage(p.Name, value, author(by), c.Now().UTC()); err != nil {
		return Difference{}, Staging{}, translate(err)
	}
	if err := c.record(ctx, by); err != nil {
		return Difference{}, Staging{}, err
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
	if err != nil {
		return nil, staged, translate(err)
	}
	var out []Difference
	var faults []config.Fault
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
			faults = append(faults, config.Fault{Property: p.Name, Message: err.Error()})
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
	case (name == config.Certificate || name == config.Key) && next.Certificate != "":
		return "certificate and key belong together", c.CheckTLS(next.Certificate, next.Key)
	}
	return "", nil
}

// Apply makes what is staged the applied configuration, at once or not at all.
func (c *Control) Apply(ctx context.Context, by authority.Caller, revision uint64) (Applied, error) {
	if err := c.writable(by); err != nil {
		return Applied{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	diff, staged, err := c.diff()
	if err != nil {
		return Applied{}, err
	}
	out := Applied{Differences: diff}
	commit := func() error {
		var err error
		out.Revision, _, err = c.Book.Apply(revision, author(by), c.Now().UTC())
		return err
	}
	if path, switches := c.switches(staged); switches {
		carried := new(Carried)
		carried.Existing, carried.Carried, err = c.SwitchStore(ctx, path, commit)
		carried.Store = c.Authority.Facts()
		out.Carried = carried
	} else {
		err = commit()
	}
	if err != nil {
		return Applied{}, translate(err)
	}
	_, applied := c.Book.Applied()
	if out.RestartNeeded, err = c.Running.take(applied); err != nil {
		return out, translate(err)
	}
	if _, is := staged[config.Algorithm]; is {
		if _, err := c.Authority.RenewNext(ctx, by); err != nil {
			return out, err
		}
	}
	return out, c.record(ctx, by)
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
	n, err := c.Book.Discard(author(by), c.Now().UTC())
	if err != nil {
		return 0, translate(err)
	}
	return n, c.record(ctx, by)
}

// Rollback stages what leads back to an earlier revision.
func (c *Control) Rollback(ctx context.Context, by authority.Caller, revision uint64) (Staging, error) {
	if err := c.writable(by); err != nil {
		return Staging{}, err
	}
	if err := c.Book.Rollback(revision, author(by), c.Now().UTC()); err != nil {
		return Staging{}, translate(err)
	}
	staged, _, _ := c.Book.Staged()
	return c.staging(staged), c.record(ctx, by)
}

// Recover moves changes that an earlier process left in the book into the
// audit log.
func (c *Control) Recover(ctx context.Context, by authority.Caller) error { return c.record(ctx, by) }

// record moves the book's pending changes into the audit log. One that got
// there before a crash is recognised by its time and revision.
func (c *Control) record(ctx context.Context, by authority.Caller) error {
	if c.Book == nil {
		return nil
	}
	pending := c.Book.Pending()
	if len(pending) == 0 {
		return nil
	}
	page, err := c.Authority.Audit(ctx, by, authority.AuditQuery{Action: "config.", Limit: 1})
	if err != nil {
		return err
	}
	var news []authority.Recorded
	for _, p := range pending {
		revision := strconv.FormatUint(p.Revision, 10)
		if len(page.Events) == 1 && !p.At.After(page.Events[0].At) {
			continue
		}
		detail := map[string]string{"revision": revision}
		for name, change := range p.Items {
			detail[name] = change
		}
		news = append(news, authority.Recorded{
			At: p.At, Actor: authority.Actor{Kind: p.By.Kind, Name: p.By.Name}, From: p.By.From,
			Action: p.Action, Target: "revision " + revision, Detail: detail,
		})
	}
	if err := c.Authority.Record(ctx, by, news); err != nil {
		return err
	}
	return translate(c.Book.Recorded(len(pending)))
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

func author(by authority.Caller) config.Author {
	a := by.Actor()
	return config.Author{Kind: a.Kind, Name: a.Name, From: by.From()}
}

// translate classes the book's errors.
func translate(err error) error {
	var unknown *config.UnknownError
	var conflict *config.ConflictError
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
	case errors.Is(err, config.ErrNoRevision):
		return &authority.Error{Kind: authority.NotFound, Code: "config.no_revision", Msg: "The history does not hold that revision."}
	case errors.Is(err, fs.ErrPermission):
		return &authority.Error{Kind: authority.Unavailable, Code: "config.unwritable", Msg: "The configuration cannot be written.", Err: err}
	}
	var classed *authority.Error
	if errors.As(err, &classed) {
		return err
	}
	return &authority.Error{Kind: authority.Unavailable, Code: "config.unwritable", Msg: "The configuration cannot be written.", Err: err}
}
