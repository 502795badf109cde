package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"mintmark/internal/durable"
	"mintmark/internal/strictjson"
)

const (
	bookFormat = "mintmark-config/1"
	maxBook    = 4 << 20 // bytes
	maxHistory = 20
)

// Files reads and durably replaces one private file. After an error of Write
// the file is as it was, unless the error matches durable.ErrUnknown.
type Files interface {
	Read(path string, limit int64) ([]byte, error)
	Write(path string, parts ...[]byte) error
	CreateNew(path string, parts ...[]byte) error
}

// Author is who changed something, as the audit log knows it.
type Author struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	From string `json:"from,omitempty"`
}

// Change is one change of the book. It is written together with the change and
// waits there until the audit log has it. Its ID counts the changes of the book
// and is never used again.
type Change struct {
	ID       uint64            `json:"id"`
	At       time.Time         `json:"at"`
	By       Author            `json:"by"`
	Action   string            `json:"action"` // "config.created", "config.staged", "config.applied", "config.discarded", "config.rollback_staged", "config.rollback_undone", "config.confirmed", "config.trial_extended", "config.reverted"
	Revision uint64            `json:"revision"`
	Items    map[string]string `json:"items,omitempty"` // property: "before -> after"
}

// Revision is one applied configuration.
type Revision struct {
	Revision uint64            `json:"revision"`
	At       time.Time         `json:"at"`
	By       Author            `json:"by"`
	Applied  map[string]string `json:"applied"`
}

// document is the stored form. The checksum makes every changed byte show.
type document struct {
	Format   string             `json:"format"`
	Revision uint64             `json:"revision"`
	Applied  map[string]string  `json:"applied"`
	Staged   map[string]*string `json:"staged"` // null: to be unset
	StagedBy Author             `json:"staged_by"`
	StagedAt time.Time          `json:"staged_at"`
	Trial    *Trial             `json:"trial,omitempty"`
	History  []Revision         `json:"history"`
	Reverted []uint64           `json:"reverted,omitempty"` // revisions of the history whose trial went back
	Changes  []Change           `json:"pending_changes"`
	Changed  uint64             `json:"last_change"` // the id of the latest change, pending or not
	Checksum string             `json:"checksum"`
}

func (d document) seal() []byte {
	d.Checksum = ""
	body, _ := json.MarshalIndent(d, "", "  ") // what cannot be written is caught by encode
	sum := sha256.Sum256(body)
	d.Checksum = "sha256:" + hex.EncodeToString(sum[:])
	sealed, _ := json.MarshalIndent(d, "", "  ")
	return append(sealed, '\n')
}

// encode answers the stored form, which decode takes: a book that could not be
// opened again is not written.
func (d document) encode() ([]byte, error) {
	data := d.seal()
	if len(data) > maxBook {
		return nil, fmt.Errorf("it would be larger than %d bytes", maxBook)
	}
	if _, err := decode(data); err != nil {
		return nil, fmt.Errorf("it could not be read again: %w", err)
	}
	return data, nil
}

func decode(data []byte) (document, error) {
	var d document
	if err := strictjson.Decode(data, &d); err != nil {
		return d, err
	}
	if d.Format != bookFormat {
		return d, fmt.Errorf("its format is not %s", bookFormat)
	}
	if !bytes.Equal(d.seal(), data) {
		return d, errors.New("its checksum does not match; properties are changed with: config properties set")
	}
	if d.Applied == nil || d.Staged == nil {
		return d, errors.New("its applied or staged properties are missing")
	}
	if faults := append(unknown(d.Applied), unknown(d.Staged)...); len(faults) > 0 {
		return d, &FaultsError{faults}
	}
	return d, nil
}

func (d document) clone() document {
	d.Applied, d.Staged = maps.Clone(d.Applied), maps.Clone(d.Staged)
	d.History, d.Reverted, d.Changes = slices.Clone(d.History), slices.Clone(d.Reverted), slices.Clone(d.Changes)
	if d.Trial != nil {
		t := d.Trial.clone()
		d.Trial = &t
	}
	return d
}

// Book is the configuration file of one home. Its methods may be called
// concurrently; only one process may have a book open.
type Book struct {
	files Files
	path  string

	mu  sync.Mutex
	doc document
}

// Create writes a new book whose first revision is applied; only the creation
// of a home does. The values must resolve.
func Create(files Files, path string, applied map[string]string, by Author, now time.Time) (*Book, error) {
	values, _, err := Resolve(Layers{File: applied})
	if err != nil {
		return nil, err
	}
	d := document{Format: bookFormat, Revision: 1, Applied: map[string]string{}, Staged: map[string]*string{}}
	for name := range applied {
		d.Applied[name] = values[name].Text
	}
	d.History = []Revision{{1, now, by, maps.Clone(d.Applied)}}
	d.note(d.change(now, by, "config.created", nil))
	data, err := d.encode()
	if err == nil {
		err = files.CreateNew(path, data)
	}
	if err != nil {
		return nil, fmt.Errorf("create configuration: %w", err)
	}
	return &Book{files: files, path: path, doc: d}, nil
}

// Open reads a book. A damaged one, and one with a property that does not
// exist, is refused.
func Open(files Files, path string) (*Book, error) {
	data, err := files.Read(path, maxBook)
	if err != nil {
		return nil, fmt.Errorf("open configuration: %w", err)
	}
	d, err := decode(data)
	if err != nil {
		return nil, damaged(path, err)
	}
	return &Book{files: files, path: path, doc: d}, nil
}

func damaged(path string, err error) error {
	return fmt.Errorf("configuration %s is damaged: %w. Put a copy of it back; nothing was changed", path, err)
}

// Applied is the applied revision and its values.
func (b *Book) Applied() (uint64, map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.doc.Revision, maps.Clone(b.doc.Applied)
}

// Staged is what is staged (nil: to be unset), by whom and when.
func (b *Book) Staged() (map[string]*string, Author, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.doc.Staged), b.doc.StagedBy, b.doc.StagedAt
}

// History lists the last revisions, newest first.
func (b *Book) History() []Revision {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := slices.Clone(b.doc.History)
	for i := range h {
		h[i].Applied = maps.Clone(h[i].Applied)
	}
	slices.Reverse(h)
	return h
}

// Before is the revision to which a Rollback leads that names none; 0: there is none.
func (b *Book) Before() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.doc.before()
}

// Stage stages a value, or with nil that the property is unset. A value that is
// applied already takes back what was staged. The value is checked; whether all
// staged values agree is checked by Preview.
func (b *Book) Stage(name string, value *string, by Author, now time.Time) error {
	p, err := Lookup(name)
	if err != nil {
		return err
	}
	if value != nil {
		text, err := p.Canonical(*value)
		if err != nil {
			return &FaultsError{[]Fault{{p.Name, err.Error()}}}
		}
		value = &text
	}
	return b.update(func(d *document) (*Change, error) {
		before, was := d.Applied[p.Name]
		staged, isStaged := d.Staged[p.Name]
		same := value == nil && !was || value != nil && was && *value == before
		switch {
		case same && !isStaged, isStaged && equal(staged, value):
			return nil, nil
		case same:
			delete(d.Staged, p.Name)
			if len(d.Staged) == 0 {
				d.StagedBy, d.StagedAt = Author{}, time.Time{}
			}
			return d.change(now, by, "config.discarded", map[string]string{p.Name: arrow(p, staged, stated(before, was))}), nil
		}
		d.Staged[p.Name] = value
		d.StagedBy, d.StagedAt = by, now
		return d.change(now, by, "config.staged", map[string]string{p.Name: arrow(p, stated(before, was), value)}), nil
	})
}

func equal(a, b *string) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func stated(value string, is bool) *string {
	if !is {
		return nil
	}
	return &value
}

func arrow(p Property, before, after *string) string {
	text := func(value *string) string {
		switch {
		case value == nil:
			return "(unset)"
		case p.Secret:
			return "[secret]"
		}
		return *value
	}
	return text(before) + " -> " + text(after)
}

// Preview is what would be applied: the values, and an error that holds every
// fault when they cannot be.
func (b *Book) Preview(l Layers) (map[string]Value, Settings, error) {
	b.mu.Lock()
	l.File = b.doc.merged()
	b.mu.Unlock()
	return Resolve(l)
}

func (d *document) merged() map[string]string {
	next := maps.Clone(d.Applied)
	for name, value := range d.Staged {
		if value == nil {
			delete(next, name)
		} else {
			next[name] = *value
		}
	}
	return next
}

// ConflictError says that the book has moved on.
type ConflictError struct{ Want, Have uint64 }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the revision changed from %d to %d in the meantime", e.Want, e.Have)
}

// Apply makes what is staged the applied revision. revision guards against a
// book that has moved on; 0 does not. Nothing staged answers the revision that
// is applied, and false. The values must have been checked with Preview. While
// a revision is on trial it is an *OnTrialError.
func (b *Book) Apply(revision uint64, by Author, now time.Time) (uint64, bool, error) {
	return b.apply(revision, 0, by, now)
}

func (b *Book) apply(revision uint64, trial time.Duration, by Author, now time.Time) (uint64, bool, error) {
	var at uint64
	var applied bool
	err := b.update(func(d *document) (*Change, error) {
		at = d.Revision
		switch {
		case revision != 0 && revision != d.Revision:
			return nil, &ConflictError{revision, d.Revision}
		case len(d.Staged) == 0:
			return nil, nil
		case d.Trial != nil:
			return nil, &OnTrialError{d.Trial.clone()}
		}
		applied = true
		next, changed := d.merged(), slices.Collect(maps.Keys(d.Staged))
		items := changes(d.Applied, next)
		d.adopt(next, by, now)
		d.try(trial, changed, by, now)
		at = d.Revision
		if d.Trial != nil {
			items["trial_until"] = d.Trial.Until.UTC().Format(time.RFC3339)
		}
		return d.change(now, by, "config.applied", items), nil
	})
	if err != nil {
		return 0, false, err
	}
	return at, applied, nil
}

// Discard drops what is staged and answers how many values that were.
func (b *Book) Discard(by Author, now time.Time) (int, error) {
	n := 0
	err := b.update(func(d *document) (*Change, error) {
		if n = len(d.Staged); n == 0 {
			return nil, nil
		}
		d.Staged, d.StagedBy, d.StagedAt = map[string]*string{}, Author{}, time.Time{}
		return d.change(now, by, "config.discarded", nil), nil
	})
	return n, err
}

// ErrNoRevision says that the history does not hold a revision.
var ErrNoRevision = errors.New("the history does not hold that revision")

// Rollback stages what leads back to an earlier revision; 0 is the newest that
// differs from the applied one and whose trial did not go back. What was staged
// before is dropped; Restage undoes it. While a revision is on trial it is an
// *OnTrialError.
func (b *Book) Rollback(revision uint64, by Author, now time.Time) error {
	return b.update(func(d *document) (*Change, error) {
		if d.Trial != nil {
			return nil, &OnTrialError{d.Trial.clone()}
		}
		if revision == 0 {
			revision = d.before()
		}
		i := slices.IndexFunc(d.History, func(r Revision) bool { return r.Revision == revision })
		if i < 0 {
			return nil, ErrNoRevision
		}
		then := d.History[i].Applied
		if faults := unknown(then); len(faults) > 0 {
			return nil, &FaultsError{faults}
		}
		d.Staged = map[string]*string{}
		for name, value := range then {
			if d.Applied[name] != value {
				d.Staged[name] = &value
			}
		}
		for name := range d.Applied {
			if _, was := then[name]; !was {
				d.Staged[name] = nil
			}
		}
		d.StagedBy, d.StagedAt = Author{}, time.Time{}
		if len(d.Staged) > 0 {
			d.StagedBy, d.StagedAt = by, now
		}
		return d.change(now, by, "config.rollback_staged", map[string]string{"revision": strconv.FormatUint(revision, 10)}), nil
	})
}

// before is the revision to which a rollback leads that names none; 0: there is
// none.
func (d *document) before() uint64 {
	for _, r := range slices.Backward(d.History) {
		if r.Revision < d.Revision && !slices.Contains(d.Reverted, r.Revision) && !maps.Equal(r.Applied, d.Applied) {
			return r.Revision
		}
	}
	return 0
}

// Restage undoes a Rollback that could not be applied: what Staged answered
// before it is staged again.
func (b *Book) Restage(staged map[string]*string, stagedBy Author, stagedAt time.Time, by Author, now time.Time) error {
	return b.update(func(d *document) (*Change, error) {
		d.Staged, d.StagedBy, d.StagedAt = maps.Clone(staged), stagedBy, stagedAt
		return d.change(now, by, "config.rollback_undone", nil), nil
	})
}

// Pending lists the changes that the audit log does not have yet, oldest first.
func (b *Book) Pending() []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	changes := slices.Clone(b.doc.Changes)
	for i := range changes {
		changes[i].Items = maps.Clone(changes[i].Items)
	}
	return changes
}

// RecordedThrough drops the pending changes up to the one with this ID: the
// audit log has them.
func (b *Book) RecordedThrough(id uint64) error {
	return b.update(func(d *document) (*Change, error) {
		before := len(d.Changes)
		d.Changes = slices.DeleteFunc(d.Changes, func(c Change) bool { return c.ID <= id })
		if len(d.Changes) == before {
			return nil, nil
		}
		return &Change{}, nil
	})
}

func (d *document) change(now time.Time, by Author, action string, items map[string]string) *Change {
	return &Change{At: now, By: by, Action: action, Revision: d.Revision, Items: items}
}

func (d *document) note(c *Change) {
	d.Changed++
	c.ID = d.Changed
	d.Changes = append(d.Changes, *c)
}

// update changes a copy, writes it, and only then makes it the book. A nil
// Change means that nothing is to be written; a Change without an action is
// not noted.
func (b *Book) update(fn func(*document) (*Change, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.doc.clone()
	c, err := fn(&next)
	if err != nil || c == nil {
		return err
	}
	if c.Action != "" {
		next.note(c)
	}
	data, err := next.encode()
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := b.write(data); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	b.doc = next
	return nil
}

// write replaces the file. When it is unknown whether that happened, what was
// there is put back: an error that still matches durable.ErrUnknown says that
// this is unknown, too.
func (b *Book) write(data []byte) error {
	err := b.files.Write(b.path, data)
	if !errors.Is(err, durable.ErrUnknown) {
		return err
	}
	if undone := b.files.Write(b.path, b.doc.seal()); undone != nil {
		return fmt.Errorf("%w; putting back what was there: %w", err, undone)
	}
	return fmt.Errorf("%v; what was there was put back", err) //nolint:errorlint // it is known again
}
