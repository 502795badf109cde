package control_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/password"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
)

// desk is a home with everything that an operator works at: a real book, a real
// store and the rules. It can be started again over the same files.
type desk struct {
	*control.Control
	authority *authority.Authority
	store     *mapstore.Store
	running   *control.Running
	pen       *pen
	ring      *signing.Ring
	dir       string
	env       map[string]string
	flags     map[string]string
	ticks     sync.Mutex
	clock     time.Time
	wrap      func(authority.Store) authority.Store // between the rules and the store
}

// pen writes real files. The n-th Write from now, and as many behind it as times
// says, fail, before or after they were done.
type pen struct {
	durable.Files
	left   int
	times  int
	err    error
	lasted bool
}

func (p *pen) Write(path string, parts ...[]byte) error {
	p.left--
	if p.left > 0 || p.left < -p.times {
		return p.Files.Write(path, parts...)
	}
	if p.lasted {
		if err := p.Files.Write(path, parts...); err != nil {
			return err
		}
	}
	return p.err
}

func (p *pen) failing(n int, err error, lasted bool) {
	p.left, p.times, p.err, p.lasted = n, 0, err, lasted
}

var (
	errDisk  = errors.New("input/output error")
	noLayers = map[string]string{}
)

func newDesk(t *testing.T, applied map[string]string) *desk {
	t.Helper()
	d := &desk{
		dir: filepath.Join(t.TempDir(), "home"), pen: &pen{left: -1}, ring: signing.InMemory(rand.Reader),
		env: noLayers, flags: noLayers, clock: morning(),
	}
	must(t, os.Mkdir(d.dir, 0o700))
	if path, ok := applied[config.Store]; ok && path == "tokens.json" {
		applied[config.Store] = d.path(path)
		must(t, mapstore.CreateTokens(d.pen.Files, d.path(path)))
	}
	must(t, mapstore.Create(mapstore.Config{Home: d.dir, Files: d.pen.Files, Now: d.now}))
	_, err := config.Create(d.pen, d.path("config.json"), applied, config.Author{Kind: "local", Name: "root@tokens-01"}, d.clock)
	must(t, err)
	d.open(t)
	must(t, d.authority.Found(t.Context(), operator()))
	must(t, d.CatchUp(t.Context(), operator()))
	t.Cleanup(func() { _ = d.store.Close() })
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

// morning is when every desk is opened.
func morning() time.Time { return time.Date(2026, 11, 23, 14, 8, 2, 5e8, time.UTC) }

// now is a clock of which no two readings are the same.
func (d *desk) now() time.Time {
	d.ticks.Lock()
	defer d.ticks.Unlock()
	d.clock = d.clock.Add(time.Millisecond)
	return d.clock
}

// restart is a new process over the same files.
func (d *desk) restart(t *testing.T) {
	t.Helper()
	must(t, d.store.Close())
	d.pen.failing(-1, nil, false)
	d.wrap = nil
	d.open(t)
	must(t, d.CatchUp(t.Context(), operator()))
}

func (d *desk) open(t *testing.T) {
	t.Helper()
	book, err := config.Open(d.pen, d.path("config.json"))
	must(t, err)
	_, applied := book.Applied()
	d.running, err = control.NewRunning(config.Layers{
		Flags: d.flags, File: applied, Getenv: func(name string) (string, bool) { v, ok := d.env[name]; return v, ok },
	})
	must(t, err)
	d.store, err = mapstore.Open(mapstore.Config{Home: d.dir, Tokens: d.running.Settings().Store, Files: d.pen.Files, Now: d.now})
	must(t, err)
	d.wire(t, book)
}

func (d *desk) wire(t *testing.T, book *config.Book) {
	t.Helper()
	var store authority.Store = d.store
	if d.wrap != nil {
		store = d.wrap(store)
	}
	var err error
	d.authority, err = authority.New(authority.Config{
		Store: store, Custody: d.ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: unused{}, Policy: d.running.Policy, Now: d.now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(t, err)
	d.Control, err = control.New(d.config(book))
	must(t, err)
}

func (d *desk) config(book *config.Book) control.Config {
	return control.Config{
		Authority: d.authority, Book: book, Running: d.running, Now: d.now,
		SwitchStore: func(ctx context.Context, path string, commit func() error) (control.Carried, error) {
			c, err := d.store.SwitchTokens(ctx, path, commit)
			return control.Carried{Existing: c.Existing, Carried: c.Carried, CaughtUp: c.CaughtUp}, err
		},
		CheckStore: func(path string) (string, error) {
			_, err := d.store.CheckTokens(path)
			return "checked", err
		},
		CheckTLS: func(certificate, key string) error {
			_, err := tls.LoadX509KeyPair(certificate, key)
			return err
		},
		Refusals: func() map[string]uint64 { return map[string]uint64{"expired": 3} },
		Program:  control.Program{Version: "v1", PID: 7, Home: d.dir, StartedAt: d.clock, URL: func() string { return "http://here" }},
	}
}

type unused struct{}

func (unused) LastUse(authority.TokenID) authority.Use             { return authority.Use{} }
func (unused) KeyUses(authority.TokenID) []authority.KeyUse        { return nil }
func (unused) Since() time.Time                                    { return time.Time{} }
func (unused) TrialRefusals(authority.TokenID) (uint64, time.Time) { return 0, time.Time{} }

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{})
}

// maria has just entered her password.
func maria() authority.Caller { return mariaSince(morning()) }

func mariaSince(at time.Time) authority.Caller {
	return authority.LoginCaller("lgn_x", "maria", at, authority.Origin{From: "10.2.0.14"})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func wantCode(t *testing.T, err error, kind authority.Kind, code string) *authority.Error {
	t.Helper()
	var e *authority.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Code != code {
		t.Fatalf("got %v (%#v), want %v %s", err, err, kind, code)
	}
	return e
}

func (d *desk) stage(t *testing.T, name, value string) {
	t.Helper()
	_, _, err := d.Stage(t.Context(), maria(), name, &value)
	must(t, err)
}

func (d *desk) apply(t *testing.T) control.Applied {
	t.Helper()
	a, err := d.Apply(t.Context(), maria(), 0, 0)
	must(t, err)
	return a
}

func (d *desk) file(t *testing.T, name, content string) string {
	t.Helper()
	must(t, os.WriteFile(d.path(name), []byte(content), 0o600))
	return d.path(name)
}

func (d *desk) issue(t *testing.T, client string) authority.TokenID {
	t.Helper()
	issued, err := d.authority.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: client, Role: "user"}, "")
	must(t, err)
	return issued.ID
}

func (d *desk) active(t *testing.T) int {
	t.Helper()
	counts, err := d.authority.TokenCounts(t.Context(), operator())
	must(t, err)
	return counts.Active
}

// events are the actions of the book that the audit log holds, oldest first.
func (d *desk) events(t *testing.T) []string {
	t.Helper()
	page, err := d.authority.Audit(t.Context(), operator(), authority.AuditQuery{Action: "config.", Limit: 500})
	must(t, err)
	var out []string
	for _, e := range page.Events {
		out = append([]string{e.Action + " " + e.Detail["change"]}, out...)
	}
	return out
}

func (d *desk) property(t *testing.T, name string) control.Property {
	t.Helper()
	all, _, err := d.Properties(t.Context(), operator())
	must(t, err)
	for _, p := range all {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no %s", name)
	return control.Property{}
}

func text(s *string) string {
	if s == nil {
		return "(nil)"
	}
	return *s
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// unknownErr is a write of which nobody knows whether it lasted.
func unknownErr() error { return fmt.Errorf("%w: %w", durable.ErrUnknown, errDisk) }
