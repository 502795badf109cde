package config_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/config"
	"mintmark/internal/pathrule"
)

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	t.Parallel()
	l := config.Layers{
		Flags:  map[string]string{config.Listen: "127.0.0.1:1"},
		Getenv: environment(map[string]string{"MINTMARK_SERVER_LISTEN": "127.0.0.1:2", "MINTMARK_TOKENS_COPY": "never", "MINTMARK_JWT_ALGORITHM": ""}),
		File:   map[string]string{config.Listen: "127.0.0.1:3", config.Copy: "reauth", config.Algorithm: "HS256"},
	}
	values, s, err := config.Resolve(l)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]config.Value{}
	for _, name := range []string{config.Listen, config.Copy, config.Algorithm, config.Lifetime, config.MaxLifetime} {
		got[name] = values[name]
	}
	same(t, "values", got, map[string]config.Value{
		config.Listen:      {Text: "127.0.0.1:1", Source: config.FromFlag},
		config.Copy:        {Text: "never", Source: config.FromEnvironment},
		config.Algorithm:   {Text: "HS256", Source: config.FromFile}, // an empty variable is unset
		config.Lifetime:    {Text: "90d", Source: config.FromDefault},
		config.MaxLifetime: {Text: "", Source: config.FromDefault},
	})
	same(t, "settings", []string{s.Listen, s.Copy, s.Algorithm}, []string{"127.0.0.1:1", "never", "HS256"})
}

func TestTheDefaultsAreTyped(t *testing.T) {
	t.Parallel()
	_, s, err := config.Resolve(config.Layers{})
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	same(t, "defaults", s, config.Settings{
		Copy: "allow", Lifetime: 90 * day, NeverExpire: true, RestoreGrace: time.Hour, Algorithm: "ES256",
		Issuer: "http://127.0.0.1:3000", Audience: []string{"http://127.0.0.1:3000"}, Reminder: 182 * day, Overlap: 14 * day,
		Listen: "127.0.0.1:3000", Drain: 10 * time.Second, LoginIdle: 30 * time.Minute, LoginAbsolute: 12 * time.Hour,
		LoginAttempts: 5, LoginPause: 5 * time.Minute, StepUp: 15 * time.Minute, LogLevel: "info", LogFormat: "text",
		Gateways: config.Gateways{GuardListen: "127.0.0.1:8080", GuardTimeout: 30 * time.Second},
		Fleet:    config.Fleet{MaxStaleness: time.Minute},
	})
}

func TestEveryPropertyReachesItsSetting(t *testing.T) {
	t.Parallel()
	_, s, err := config.Resolve(config.Layers{File: map[string]string{
		config.Store: "/s.json", config.Copy: "never", config.Lifetime: "1d", config.MaxLifetime: "2d", config.NeverExpire: "forbid", config.RestoreGrace: "3h",
		config.Algorithm: "EdDSA", config.Issuer: "https://i.example", config.Audience: "https://a.example, https://b.example", config.Reminder: "4d",
		config.RotateAuto: "on", config.Overlap: "5d", config.OverlapEnd: "hold-if-used",
		config.Listen: "0.0.0.0:8443", config.Certificate: "/c.pem", config.Key: "/k.pem", config.Proxies: "10.0.0.0/8,192.0.2.7", config.Drain: "5s",
		config.LoginIdle: "6m", config.LoginAbsolute: "7h", config.LoginAttempts: "8", config.LoginPause: "9m", config.StepUp: "10m",
		config.LimitToken: "100/s", config.LimitSource: "6000/m burst 1", config.Metrics: "127.0.0.1:9464", config.LogLevel: "warn", config.LogFormat: "json",
		config.ExtAuthzListen: "127.0.0.1:3001", config.GuardUpstream: "http://127.0.0.1:9000", config.GuardListen: "127.0.0.1:8443", config.GuardPublicPaths: "/docs",
		config.GuardRules: "/docs/private role=admin", config.GuardAuthorization: "keep", config.GuardTimeout: "11s",
		config.UsageAddress: "masked", config.MaxStaleness: "5s", config.SealingKey: "/sealing.key",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Settings{
		Store: "/s.json", Copy: "never", Lifetime: 24 * time.Hour, MaxLifetime: 48 * time.Hour, RestoreGrace: 3 * time.Hour,
		Algorithm: "EdDSA", Issuer: "https://i.example", Audience: []string{"https://a.example", "https://b.example"}, Reminder: 96 * time.Hour,
		RotateAuto: true, Overlap: 120 * time.Hour, HoldIfUsed: true,
		Listen: "0.0.0.0:8443", Certificate: "/c.pem", Key: "/k.pem", MaskAddresses: true,
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}, Drain: 5 * time.Second,
		LoginIdle: 6 * time.Minute, LoginAbsolute: 7 * time.Hour, LoginAttempts: 8, LoginPause: 9 * time.Minute, StepUp: 10 * time.Minute,
		LimitToken: config.Rate{Events: 100, Window: time.Second, Burst: 100}, LimitSource: config.Rate{Events: 6000, Window: time.Minute, Burst: 1},
		Metrics: "127.0.0.1:9464", LogLevel: "warn", LogFormat: "json",
		Gateways: config.Gateways{
			ExtAuthz: "127.0.0.1:3001", GuardUpstream: "http://127.0.0.1:9000", GuardListen: "127.0.0.1:8443", GuardKeeps: true, GuardTimeout: 11 * time.Second,
			GuardRules: pathrule.Rules{{Prefix: "/docs/private", Role: "admin"}, {Prefix: "/docs", Public: true}},
		},
		Fleet: config.Fleet{MaxStaleness: 5 * time.Second, SealingKey: "/sealing.key"},
	}
	if diff := cmp.Diff(want, s, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestAllFaultsAreReportedAtOnceWithTheirSource(t *testing.T) {
	t.Parallel()
	_, _, err := config.Resolve(config.Layers{
		Flags:  map[string]string{config.Listen: ""},
		Getenv: environment(map[string]string{"MINTMARK_TOKENS_COPY": "maybe"}),
		File:   map[string]string{config.Lifetime: "soon", "colour": "blue", "a.colour": "red", config.StoreAlias: "/a.json"},
	})
	faults, is := config.IsFaults(err)
	if !is {
		t.Fatalf("got %v", err)
	}
	same(t, "faults", faults.Faults, []config.Fault{
		{Property: config.Copy, Message: `"maybe" is none of allow, reauth, never (from MINTMARK_TOKENS_COPY)`},
		{Property: config.Lifetime, Message: `"soon" is not a duration such as 90d, 12h or 30m`},
		{Property: config.Listen, Message: "the value is empty; unset the property instead (from the command line)"},
		{Property: "a.colour", Message: "there is no such property"},
		{Property: "colour", Message: "there is no such property"},
		{Property: config.StoreAlias, Message: "there is no such property"},
	})
	for _, f := range faults.Faults {
		if !strings.Contains(err.Error(), f.Property+": "+f.Message) {
			t.Errorf("the error leaves out %v", f)
		}
	}
}

func TestPropertiesAreHeldAgainstEachOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file  map[string]string
		fault []string
	}{
		"certificate without key": {map[string]string{config.Certificate: "/c.pem"}, []string{config.Key}},
		"key without certificate": {map[string]string{config.Key: "/k.pem"}, []string{config.Certificate}},
		"both":                    {map[string]string{config.Certificate: "/c.pem", config.Key: "/k.pem"}, nil},
		"lifetime over the most":  {map[string]string{config.MaxLifetime: "89d"}, []string{config.Lifetime}},
		"lifetime is the most":    {map[string]string{config.MaxLifetime: "90d"}, nil},
		"idle over absolute":      {map[string]string{config.LoginIdle: "13h"}, []string{config.LoginIdle}},
		"idle is absolute":        {map[string]string{config.LoginIdle: "12h"}, nil},
		"metrics for everybody":   {map[string]string{config.Metrics: "127.0.0.1:3000"}, []string{config.Metrics}},
		"metrics apart":           {map[string]string{config.Metrics: "127.0.0.1:9464"}, nil},
		"public, with a demand":   {map[string]string{config.GuardPublicPaths: "/a", config.GuardRules: "/a role=admin"}, []string{config.GuardRules}},
		"public, by method":       {map[string]string{config.GuardPublicPaths: "GET /a", config.GuardRules: "/a role=admin"}, nil},
		"guard at the console's":  {map[string]string{config.GuardUpstream: "http://a", config.GuardListen: "127.0.0.1:3000"}, []string{config.GuardListen}},
		"no guard":                {map[string]string{config.GuardListen: "127.0.0.1:3000"}, nil},
		"guard before itself":     {map[string]string{config.GuardUpstream: "http://127.0.0.1:8080"}, []string{config.GuardUpstream}},
		"guard before the API":    {map[string]string{config.GuardUpstream: "http://127.0.0.1:9000"}, nil},
		"ext_authz at another's":  {map[string]string{config.ExtAuthzListen: "127.0.0.1:9464", config.Metrics: "127.0.0.1:9464"}, []string{config.ExtAuthzListen}},
		"ext_authz at the guard":  {map[string]string{config.ExtAuthzListen: "127.0.0.1:8080", config.GuardUpstream: "http://a"}, []string{config.GuardListen}},
		"all at once": {
			map[string]string{config.Key: "/k.pem", config.MaxLifetime: "1d", config.LoginAbsolute: "29m"},
			[]string{config.Certificate, config.Lifetime, config.LoginIdle},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := config.Resolve(config.Layers{File: c.file})
			var got []string
			if faults, is := config.IsFaults(err); is {
				for _, f := range faults.Faults {
					got = append(got, f.Property)
				}
			}
			same(t, "faults", got, c.fault)
		})
	}
}

func TestPreviewValidatesWhatIsStagedTogether(t *testing.T) {
	t.Parallel()
	b, _ := create(t, map[string]string{config.MaxLifetime: "100d"})
	stage(t, b, config.Lifetime, "200d")
	if _, _, err := b.Preview(config.Layers{}); err == nil {
		t.Error("the default lifetime may be longer than the longest")
	}
	if err := b.Stage(config.MaxLifetime, nil, maria, t0); err != nil {
		t.Fatal(err)
	}
	stage(t, b, config.Certificate, "/c.pem")
	_, _, err := b.Preview(config.Layers{})
	if faults, is := config.IsFaults(err); !is || len(faults.Faults) != 1 || faults.Faults[0].Property != config.Key {
		t.Errorf("a certificate without its key: %v", err)
	}
	_, s, err := b.Preview(config.Layers{Getenv: environment(map[string]string{"MINTMARK_SERVER_TLS_KEY": "/k.pem"})})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "settings", []string{s.Certificate, s.Key, s.Issuer}, []string{"/c.pem", "/k.pem", "https://127.0.0.1:3000"})
	_, applied := b.Applied()
	same(t, "applied", applied, map[string]string{config.MaxLifetime: "100d"})
}

func TestTheIssuerOfAServerWithoutAHostCanBeStaged(t *testing.T) {
	t.Parallel()
	issuer, err := config.Lookup(config.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{":3000": "https://localhost:3000", "[::1]:3000": "https://[::1]:3000", "10.0.0.1:80": "https://10.0.0.1:80"} {
		got := config.IssuerFor(address, true)
		same(t, address, got, want)
		if _, err := issuer.Canonical(got); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestChangesThatSurpriseAreWarnedOf(t *testing.T) {
	t.Parallel()
	for name, warns := range map[string]bool{config.Issuer: true, config.Audience: true, config.Algorithm: true, config.Metrics: true, config.Lifetime: false, config.Listen: false} {
		same(t, name, config.Warning(name) != "", warns)
	}
}

func TestAStateIsAnsweredFromForAnHourAtMost(t *testing.T) {
	t.Parallel()
	for value, fits := range map[string]bool{"1s": false, "2s": true, "5s": true, "1h": true, "61m": false, "0s": false} {
		_, s, err := config.Resolve(config.Layers{File: map[string]string{config.MaxStaleness: value}})
		if (err == nil) != fits {
			t.Errorf("%s: %v", value, err)
		}
		if d, _ := config.ParseDuration(value); fits && s.Fleet.MaxStaleness != d {
			t.Errorf("%s is %s", value, s.Fleet.MaxStaleness)
		}
	}
}
