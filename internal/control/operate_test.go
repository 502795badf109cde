package control_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

// Whoever sits down at an open console stages what they like and applies nothing.
func TestALoginAppliesWithAPasswordThatIsFresh(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	late := mariaSince(morning().Add(-time.Hour))
	long := "12h"
	_, _, err := d.Stage(t.Context(), late, config.StepUp, &long)
	must(t, err)
	_, err = d.Apply(t.Context(), late, 0, time.Minute)
	wantCode(t, err, authority.StepUp, "login.step_up")
	_, err = d.Rollback(t.Context(), late, 1, 0)
	wantCode(t, err, authority.StepUp, "login.step_up")
	same(t, "in force", d.running.Policy().StepUp, 15*time.Minute)
	_, err = d.Apply(t.Context(), maria(), 0, 0)
	must(t, err)
	same(t, "in force", d.running.Policy().StepUp, 12*time.Hour)
}

func TestStagedRunsNothingAndAppliedRuns(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	value := "720h"
	diff, staging, err := d.Stage(t.Context(), maria(), config.Lifetime, &value)
	must(t, err)
	same(t, "difference", diff, control.Difference{Property: config.Lifetime, After: "30d", Live: true})
	if staging.Count != 1 || staging.By != "maria" || staging.NeedsRestart != 0 || staging.Revision != 1 {
		t.Errorf("staging %+v", staging)
	}
	same(t, "running", d.running.Settings().Lifetime, 90*24*time.Hour)
	p := d.property(t, config.Lifetime)
	same(t, "property", []string{p.Running, p.Source, p.Applied, text(p.Staged)}, []string{"90d", "default", "", "30d"})

	applied := d.apply(t)
	same(t, "applied", applied, control.Applied{Revision: 2, Differences: []control.Difference{diff}})
	same(t, "running", d.running.Settings().Lifetime, 30*24*time.Hour)
	same(t, "policy", d.running.Policy().DefaultLifetime, 30*24*time.Hour)
	same(t, "idle", d.running.LoginIdle(), 30*time.Minute)
	p = d.property(t, config.Lifetime)
	same(t, "property", []string{p.Running, p.Source, p.Applied, text(p.Staged)}, []string{"30d", "file", "30d", "(nil)"})

	must(t, unset(t, d, config.Lifetime))
	if p := d.property(t, config.Lifetime); !p.Unsets || p.Staged != nil {
		t.Errorf("property %+v", p)
	}
	d.apply(t)
	same(t, "running", d.running.Settings().Lifetime, 90*24*time.Hour)
	same(t, "events", d.events(t), []string{"config.created 1", "config.staged 2", "config.applied 3", "config.staged 4", "config.applied 5"})
	page, err := d.authority.Audit(t.Context(), operator(), authority.AuditQuery{Action: "config.applied", Limit: 1})
	must(t, err)
	e := page.Events[0]
	same(t, "event", []string{e.Actor.Kind, e.Actor.Name, e.From, e.Target, e.Detail["revision"], e.Detail[config.Lifetime]},
		[]string{"admin", "maria", "10.2.0.14", "revision 3", "3", "30d -> (unset)"})
}

func unset(t *testing.T, d *desk, name string) error {
	t.Helper()
	_, _, err := d.Stage(t.Context(), maria(), name, nil)
	return err
}

func TestNothingStagedIsAppliedWithoutAChange(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.stage(t, config.Copy, "never")
	d.apply(t)
	events := d.events(t)
	for range 2 {
		same(t, "applied", d.apply(t), control.Applied{Revision: 2})
	}
	same(t, "events", d.events(t), events)
	n, err := d.Discard(t.Context(), maria())
	if n != 0 || err != nil {
		t.Errorf("discard: %d, %v", n, err)
	}
	// What is staged twice is staged once.
	d.stage(t, config.Copy, "never")
	same(t, "events", d.events(t), events)
}

func TestAnApplyForAnotherRevisionIsAConflict(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.stage(t, config.Copy, "never")
	d.apply(t)
	d.stage(t, config.Copy, "reauth")
	_, err := d.Apply(t.Context(), maria(), 1, 0)
	wantCode(t, err, authority.Conflict, "config.revision")
	same(t, "running", d.running.Settings().Copy, "never")
	_, err = d.Apply(t.Context(), maria(), 2, 0)
	must(t, err)
}

func TestWhatIsNotLiveWaitsForTheNextStart(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.stage(t, config.LogLevel, "debug")
	d.stage(t, config.Metrics, "127.0.0.1:4000")
	d.stage(t, config.Drain, "5s")
	_, staging, err := d.Diff(t.Context(), maria())
	must(t, err)
	same(t, "staging", []int{staging.Count, staging.NeedsRestart, staging.Waiting}, []int{3, 2, 0})
	same(t, "waits", d.apply(t).RestartNeeded, []string{config.Metrics, config.LogLevel})
	s := d.running.Settings()
	same(t, "running", []any{s.LogLevel, s.Metrics, s.Drain}, []any{"info", "", 5 * time.Second})
	if p := d.property(t, config.LogLevel); !p.Waiting || p.Running != "info" || p.Applied != "debug" {
		t.Errorf("property %+v", p)
	}
	_, staging, err = d.Properties(t.Context(), operator())
	must(t, err)
	same(t, "waiting", staging.Waiting, 2)
	d.restart(t)
	s = d.running.Settings()
	same(t, "running after a start", []string{s.LogLevel, s.Metrics}, []string{"debug", "127.0.0.1:4000"})
	_, staging, err = d.Properties(t.Context(), operator())
	must(t, err)
	same(t, "waiting after a start", staging.Waiting, 0)
	// Back to what runs is nothing to wait for.
	must(t, unset(t, d, config.LogLevel))
	same(t, "waits", d.apply(t).RestartNeeded, []string{config.LogLevel})
	d.stage(t, config.LogLevel, "debug")
	same(t, "waits", d.apply(t).RestartNeeded, []string(nil))
}

func TestWhatTheEnvironmentOrAFlagDecidesIsReadOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Copy: "allow"})
	d.env = map[string]string{"MINTMARK_TOKENS_COPY": "never"}
	d.flags = map[string]string{config.Listen: "127.0.0.1:5000"}
	d.restart(t)
	for name, says := range map[string]string{config.Copy: "MINTMARK_TOKENS_COPY", config.Listen: "command line"} {
		p := d.property(t, name)
		if !p.ReadOnly || p.Waiting || p.Env == "" {
			t.Errorf("%s: %+v", name, p)
		}
		value := p.Running
		for _, v := range []*string{&value, nil} {
			_, _, err := d.Stage(t.Context(), maria(), name, v)
			e := wantCode(t, err, authority.Conflict, "property.read_only")
			if !strings.Contains(e.Msg, says) {
				t.Errorf("%s: %s", name, e.Msg)
			}
		}
	}
	if d.property(t, config.Drain).ReadOnly {
		t.Error("all are read-only")
	}
	d.stage(t, config.Drain, "5s")
	d.apply(t)
	same(t, "running", d.running.Settings().Copy, "never")
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.MaxLifetime: "180d"})
	d.stage(t, config.Lifetime, "200d")
	d.stage(t, config.LoginIdle, "13h")
	d.stage(t, config.Store, d.path("missing.json"))
	d.stage(t, config.Certificate, d.path("missing.pem"))
	d.stage(t, config.Key, d.path("missing.key"))
	for what, try := range map[string]func() error{
		"diff":  func() error { _, _, err := d.Diff(t.Context(), maria()); return err },
		"apply": func() error { _, err := d.Apply(t.Context(), maria(), 0, 0); return err },
	} {
		e := wantCode(t, try(), authority.Invalid, "config.invalid")
		var fields []string
		for _, f := range e.Fields {
			fields = append(fields, f.Field)
		}
		same(t, what, fields, []string{config.Lifetime, config.LoginIdle, config.Store, config.Certificate})
	}
	same(t, "applied", d.property(t, config.Lifetime).Applied, "")
	value := "soon"
	_, _, err := d.Stage(t.Context(), maria(), config.Lifetime, &value)
	wantCode(t, err, authority.Invalid, "config.invalid")
	_, _, err = d.Stage(t.Context(), maria(), "jwt.isuer", &value)
	if e := wantCode(t, err, authority.NotFound, "property.unknown"); !strings.Contains(e.Msg, config.Issuer) {
		t.Errorf("nothing is suggested: %s", e.Msg)
	}
}

func TestACertificateIsAppliedWithItsKeyOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	certificate, key := d.pair(t, "a")
	_, other := d.pair(t, "b")
	d.stage(t, config.Certificate, certificate)
	_, err := d.Apply(t.Context(), maria(), 0, 0)
	if e := wantCode(t, err, authority.Invalid, "config.invalid"); len(e.Fields) != 1 || e.Fields[0].Field != config.Key {
		t.Errorf("faults %+v", e.Fields)
	}
	d.stage(t, config.Key, other)
	_, err = d.Apply(t.Context(), maria(), 0, 0)
	wantCode(t, err, authority.Invalid, "config.invalid")
	d.stage(t, config.Key, key)
	if a := d.apply(t); len(a.RestartNeeded) != 0 || a.Differences[0].Note == "" {
		t.Errorf("applied %+v", a)
	}
}

func (d *desk) pair(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	must(t, err)
	return d.file(t, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		d.file(t, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func TestRollbackAppliesAnEarlierRevisionAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Copy: "allow"})
	d.stage(t, config.Copy, "never")
	d.apply(t)
	d.stage(t, config.Drain, "1m") // dropped
	back, err := d.Rollback(t.Context(), maria(), 0, 0)
	must(t, err)
	same(t, "differences", len(back.Differences), 1)
	same(t, "revision", back.Revision, uint64(3))
	same(t, "running", d.running.Settings().Copy, "allow")
	n, err := d.Discard(t.Context(), maria())
	if n != 0 || err != nil {
		t.Fatalf("discard: %d, %v", n, err)
	}
	back, err = d.Rollback(t.Context(), maria(), 3, 0)
	must(t, err)
	same(t, "differences", len(back.Differences), 0)
	_, err = d.Rollback(t.Context(), maria(), 9, 0)
	wantCode(t, err, authority.NotFound, "config.no_revision")
	same(t, "events", d.events(t)[4:], []string{"config.rollback_staged 5", "config.applied 6", "config.rollback_staged 7"})
}

// A rollback that cannot be applied leaves what was staged, staged, and nothing
// else, so that the next apply is about that.
func TestARollbackThatCannotBeAppliedLeavesAllAsItWas(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(t *testing.T, d *desk){
		"the store is gone":          func(t *testing.T, d *desk) { must(t, os.RemoveAll(d.path("tokens.json"))) },
		"the book cannot be written": func(_ *testing.T, d *desk) { d.pen.failing(2, errDisk, false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, map[string]string{config.Store: "tokens.json"})
			d.stage(t, config.Store, "memory")
			d.apply(t)
			for _, staged := range []int{0, 1} {
				if staged > 0 {
					d.stage(t, config.Copy, "never")
				}
				fail(t, d)
				if _, err := d.Rollback(t.Context(), maria(), 0, 0); err == nil {
					t.Fatal("it was applied")
				}
				d.pen.failing(-1, nil, false)
				diff, staging, err := d.Diff(t.Context(), maria())
				if err != nil || len(diff) != staged || staging.Count != staged || staging.Revision != 2 {
					t.Errorf("then staged: %+v, %+v, %v", diff, staging, err)
				}
				if staged > 0 && (diff[0].Property != config.Copy || staging.By != "maria") {
					t.Errorf("then staged: %+v by %s", diff, staging.By)
				}
				if d.authority.Facts().Persistent {
					t.Error("the store was switched")
				}
			}
			d.apply(t)
			same(t, "running", d.running.Settings().Copy, "never")
		})
	}
}

// A change of the store is taken back, too: the tokens go on as they are now.
func TestRollbackTakesAStoreBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Store: "tokens.json"})
	first, dead := d.issue(t, "first"), d.issue(t, "dead")
	d.stage(t, config.Store, d.file(t, "b.json", ""))
	d.apply(t)
	second := d.issue(t, "second")
	_, err := d.authority.RevokeToken(t.Context(), operator(), dead, false)
	must(t, err)
	back, err := d.Rollback(t.Context(), maria(), 0, 0)
	must(t, err)
	if c := back.Carried; c == nil || c.Existing != 1 || c.Carried != 1 || c.CaughtUp.Changes != 1 || len(c.CaughtUp.Missing) != 0 {
		t.Errorf("carried %+v", c)
	}
	d.restart(t)
	same(t, "location", d.authority.Facts().Location, d.path("tokens.json"))
	for _, id := range []authority.TokenID{first, second} {
		_, err := d.authority.RevealToken(t.Context(), operator(), id)
		must(t, err)
	}
	_, err = d.authority.RevealToken(t.Context(), operator(), dead)
	wantCode(t, err, authority.Conflict, "token.deleted")
}

func TestAnAppliedAlgorithmMakesTheNextKeyAndNoOther(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.stage(t, config.Algorithm, "EdDSA")
	if a := d.apply(t); a.Differences[0].Warning == "" {
		t.Error("nobody is warned that keys keep their algorithm")
	}
	if c, n := d.algorithms(t); c != "ES256" || n != "EdDSA" {
		t.Errorf("current %s, next %s", c, n)
	}
	// What was cut short is mended by another apply.
	d.wrap = func(s authority.Store) authority.Store { return &failingFrom{Store: s, n: 2} }
	d.reopen(t)
	d.stage(t, config.Algorithm, "HS256")
	if _, err := d.Apply(t.Context(), maria(), 0, 0); !errors.Is(err, authority.Unavailable) || !strings.Contains(err.Error(), "are applied") {
		t.Fatalf("got %v", err)
	}
	d.restart(t)
	if _, n := d.algorithms(t); n != "EdDSA" {
		t.Fatalf("next %s", n)
	}
	d.apply(t)
	if _, n := d.algorithms(t); n != "HS256" {
		t.Errorf("next %s", n)
	}
}

// algorithms are those of the current and of the next key.
func (d *desk) algorithms(t *testing.T) (current, next string) {
	t.Helper()
	keys, err := d.authority.PublishedKeys(t.Context())
	must(t, err)
	for _, k := range keys {
		if k.State == authority.KeyNext {
			next = k.Algorithm
		} else {
			current = k.Algorithm
		}
	}
	return current, next
}

// reopen is restart with the wrapper kept.
func (d *desk) reopen(t *testing.T) {
	t.Helper()
	wrap := d.wrap
	d.wrap = nil
	d.restart(t)
	d.wrap = wrap
	d.wire(t, d.Book)
}

// failingFrom fails every Update from the n-th on, without doing it.
type failingFrom struct {
	authority.Store
	n int
}

func (f *failingFrom) Update(ctx context.Context, fn func(authority.Tx) error) error {
	if f.n--; f.n < 0 {
		return &authority.Error{Kind: authority.Unavailable, Code: "store.unavailable", Err: errDisk}
	}
	return f.Store.Update(ctx, fn)
}

func TestOnlyAdministratorsOperate(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	user := authority.TokenCaller("tok_x", "ci", authority.RoleUser, authority.Origin{})
	for who, c := range map[string]struct {
		caller authority.Caller
		want   authority.Kind
	}{"nobody": {authority.Caller{}, authority.Unauthenticated}, "user": {user, authority.Forbidden}} {
		for what, err := range map[string]error{
			"properties": third(d.Properties(t.Context(), c.caller)),
			"stage":      third(d.Stage(t.Context(), c.caller, config.Copy, nil)),
			"diff":       third(d.Diff(t.Context(), c.caller)),
			"apply":      second(d.Apply(t.Context(), c.caller, 0, 0)),
			"discard":    second(d.Discard(t.Context(), c.caller)),
			"rollback":   second(d.Rollback(t.Context(), c.caller, 0, 0)),
			"settle":     second(d.Settle(t.Context(), c.caller, control.Answer{Decision: control.Keep})),
			"go back":    second(d.GoBack(t.Context(), c.caller, 0, "why")),
			"status":     second(d.Status(t.Context(), c.caller)),
		} {
			if err == nil || authority.KindOf(err) != c.want {
				t.Errorf("%s, %s: %v", who, what, err)
			}
		}
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

func TestWithoutAHomeNothingCanBeStaged(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	c, err := control.New(d.config(nil))
	must(t, err)
	must(t, c.CatchUp(t.Context(), operator()))
	all, staging, err := c.Properties(t.Context(), operator())
	must(t, err)
	same(t, "staging", staging, control.Staging{})
	for _, p := range all {
		if !p.ReadOnly || p.Waiting {
			t.Errorf("%+v", p)
		}
	}
	for what, err := range map[string]error{
		"stage": third(c.Stage(t.Context(), operator(), config.Copy, nil)), "diff": third(c.Diff(t.Context(), operator())),
		"apply": second(c.Apply(t.Context(), operator(), 0, 0)), "discard": second(c.Discard(t.Context(), operator())),
		"rollback": second(c.Rollback(t.Context(), operator(), 0, 0)), "settle": second(c.Settle(t.Context(), operator(), control.Answer{Decision: control.Keep})),
	} {
		if e := wantCode(t, err, authority.Conflict, "config.no_home"); !strings.Contains(e.Msg, "mintmark init") {
			t.Errorf("%s: %v", what, err)
		}
	}
	s, err := c.Status(t.Context(), operator())
	must(t, err)
	same(t, "version", s.Version, "v1")
}

func TestAControlNeedsAllItsParts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for what, drop := range map[string]func(*control.Config){
		"authority": func(c *control.Config) { c.Authority = nil }, "running": func(c *control.Config) { c.Running = nil },
		"switch": func(c *control.Config) { c.SwitchStore = nil }, "store": func(c *control.Config) { c.CheckStore = nil },
		"tls": func(c *control.Config) { c.CheckTLS = nil }, "refusals": func(c *control.Config) { c.Refusals = nil },
		"now": func(c *control.Config) { c.Now = nil }, "url": func(c *control.Config) { c.Program.URL = nil },
	} {
		c := d.config(d.Book)
		drop(&c)
		if _, err := control.New(c); err == nil {
			t.Errorf("it works without %s", what)
		}
	}
	if _, err := control.NewRunning(config.Layers{File: map[string]string{config.Copy: "maybe"}}); err == nil {
		t.Error("it runs with a value that cannot be")
	}
}
