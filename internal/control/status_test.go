package control_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

func (d *desk) status(t *testing.T) (control.Status, map[string]control.Check) {
	t.Helper()
	s, err := d.Status(t.Context(), operator())
	must(t, err)
	checks := make(map[string]control.Check)
	for _, c := range s.Checks {
		checks[c.Name] = c
		if (c.Fix == "") != (c.OK && !c.Warning) {
			t.Errorf("what to do does not go with the state: %+v", c)
		}
	}
	return s, checks
}

func TestAHealthyServerHasNothingToDo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Store: "tokens.json"})
	d.issue(t, "ci")
	s, checks := d.status(t)
	for name, c := range checks {
		if !c.OK || c.Warning {
			t.Errorf("%s: %+v", name, c)
		}
	}
	same(t, "status", []any{s.Version, s.PID, s.Home, s.Listen, s.URL, s.Store.Location, s.Tokens.Active, s.CurrentKey.State, s.Refusals["expired"]},
		[]any{"v1", 7, d.dir, "127.0.0.1:3000", "http://here", d.path("tokens.json"), 1, authority.KeyCurrent, uint64(3)})
	same(t, "key due", s.KeyDue.Sub(s.CurrentKey.CurrentSince), 182*24*time.Hour)
}

func TestTheVerdictsOfTheLastMinuteAreTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for want, v := range map[string]control.Verdicts{
		"": {Since: d.clock.Add(-time.Minute), AsOf: d.clock},
		"38 a second in the last 1m40s; p50 0.00038 ms, p99 0.41 ms": {Since: d.clock.Add(-100 * time.Second), AsOf: d.clock, Count: 3800, P50: 384, P99: 410 * time.Microsecond},
		"0.033 a second in the last 1m30s":                           {Since: d.clock.Add(-90 * time.Second), AsOf: d.clock, Count: 3},
		"7.0 a second in the last 1s; p50 1.5 ms, p99 1074 ms":       {Since: d.clock, AsOf: d.clock, Count: 7, P50: 1500 * time.Microsecond, P99: 1 << 30},
	} {
		c := d.config(nil)
		c.Verdicts = func() control.Verdicts { return v }
		var err error
		d.Control, err = control.New(c)
		must(t, err)
		s, checks := d.status(t)
		if s.Verdicts != v || checks["verdicts"].Fact != want {
			t.Errorf("%q, want %q, of %+v", checks["verdicts"].Fact, want, s.Verdicts)
		}
	}
}

func TestWhatNeedsAttentionComesFirstAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Listen: "0.0.0.0:3000"})
	d.issue(t, "ci")
	d.stage(t, config.Copy, "never")
	s, checks := d.status(t)
	for name, fact := range map[string]string{
		"token store": "a restart deletes all 1", "settings": "1 staged", "encryption": "plain HTTP on 0.0.0.0:3000",
		"issuer": "http://0.0.0.0:3000 is no address that a client can reach",
	} {
		if c := checks[name]; !c.OK || !c.Warning || !strings.Contains(c.Fact, fact) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if i := slices.IndexFunc(s.Checks, func(c control.Check) bool { return !c.Warning }); i != 4 {
		t.Errorf("the order is %+v", s.Checks)
	}
	d.stage(t, config.LogLevel, "debug")
	d.apply(t)
	d.clock = d.clock.Add(170 * 24 * time.Hour) // tokens have ended, the key is nearly due
	d.issue(t, "cd")
	d.clock = d.clock.Add(80 * 24 * time.Hour)
	_, checks = d.status(t)
	for name, fact := range map[string]string{
		"settings": "waiting for a restart: log.level", "signing secret": "day 251 of 182", "tokens": "1 of 1 end within 14 days",
	} {
		if c := checks[name]; !c.OK || !c.Warning || !strings.Contains(c.Fact, fact) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestAnOverlapIsToldOfAndSoItsEndAndATrial(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Store: "tokens.json", config.OverlapEnd: "hold-if-used"})
	if _, checks := d.status(t); checks["overlap"].Name != "" {
		t.Errorf("there is none yet: %+v", checks["overlap"])
	}
	done, err := d.Authority.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: 14 * 24 * time.Hour})
	must(t, err)
	if !done.Previous.Hold {
		t.Error("the property does not reach the key")
	}
	want := func(warning bool, fact string) {
		t.Helper()
		if _, checks := d.status(t); !checks["overlap"].OK || checks["overlap"].Warning != warning || !strings.Contains(checks["overlap"].Fact, fact) {
			t.Errorf("got %+v", checks["overlap"])
		}
	}
	want(false, "key_2026a is accepted until 2026-12-07T14:08:0")
	_, err = d.Authority.TrialStop(t.Context(), operator(), "key_2026a", 15*time.Minute)
	must(t, err)
	want(true, "key_2026a is on a trial stop until 2026-11-23T14:23:0")
	d.clock = d.clock.Add(12 * 24 * time.Hour)
	want(true, "key_2026a is accepted until")
}

func TestTheIssuerIsWhereTheServerIsReached(t *testing.T) {
	t.Parallel()
	const certificate, key = "/c.pem", "/k.pem"
	for name, c := range map[string]struct {
		properties map[string]string
		fact       string // "" is none to look at
	}{
		"as it comes":           {map[string]string{}, ""},
		"all addresses":         {map[string]string{config.Listen: "0.0.0.0:3000"}, "no address that a client can reach"},
		"all addresses, IPv6":   {map[string]string{config.Listen: "[::]:3000"}, "no address that a client can reach"},
		"no host":               {map[string]string{config.Listen: ":3000"}, "this machine only"},
		"loopback, then opened": {map[string]string{config.Listen: "10.0.0.1:3000", config.Issuer: "http://127.0.0.1:3000"}, "this machine only"},
		"before it had TLS":     {map[string]string{config.Issuer: "http://tokens.example:3000", config.Certificate: certificate, config.Key: key}, "it has TLS"},
		"behind a proxy":        {map[string]string{config.Issuer: "https://tokens.example"}, ""},
		"with its name":         {map[string]string{config.Listen: "0.0.0.0:8443", config.Issuer: "https://tokens.example:8443", config.Certificate: certificate, config.Key: key}, ""},
	} {
		_, checks := newDesk(t, c.properties).status(t)
		got := checks["issuer"]
		if !got.OK || got.Warning != (c.fact != "") || !strings.Contains(got.Fact, c.fact) {
			t.Errorf("%s: %+v", name, got)
		}
		if got.Warning && !strings.Contains(got.Fix, "config properties set jwt.issuer ") {
			t.Errorf("%s: %q", name, got.Fix)
		}
	}
}

func TestWhatIsAroundTheServerIsTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.Surroundings = func() []control.Check {
		return []control.Check{{Name: "clock", OK: true, Fact: "right"}, {Name: "disk", Fact: "full", Fix: "make space"}}
	}
	s, checks := d.status(t)
	if s.Checks[0].Name != "disk" || checks["clock"].Fact != "right" {
		t.Errorf("%+v", s.Checks)
	}
}

func TestEncryptionIsWantedOffLoopback(t *testing.T) {
	t.Parallel()
	for listen, warns := range map[string]bool{
		"127.0.0.1:3000": false, "localhost:3000": false, "[::1]:3000": false, ":3000": true, "10.0.0.1:3000": true, "[::]:3000": true,
	} {
		d := newDesk(t, map[string]string{config.Listen: listen})
		if _, checks := d.status(t); checks["encryption"].Warning != warns {
			t.Errorf("%s: %+v", listen, checks["encryption"])
		}
	}
	d := newDesk(t, map[string]string{config.Listen: "0.0.0.0:3000", config.Certificate: "/c.pem", config.Key: "/k.pem"})
	_, checks := d.status(t)
	same(t, "encryption", checks["encryption"], control.Check{Name: "encryption", OK: true, Fact: "TLS"})
}

func TestAStoreThatHangsIsToldOfAndNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, map[string]string{config.Store: "tokens.json"})
		d.hang(t, true)
		began := time.Now()
		s, checks := d.status(t)
		same(t, "it waits", time.Since(began), 2*time.Second)
		same(t, "unknown", s.Unknown, []string{control.Tokens, control.Keys, control.Logins})
		if c := checks["token store"]; c.OK || !strings.Contains(c.Fact, "not known: tokens, keys, logins") {
			t.Errorf("%+v", c)
		}
		for _, name := range []string{"tokens", "signing secret"} {
			if c, told := checks[name]; told {
				t.Errorf("what is not known is told: %+v", c)
			}
		}
	})
}
