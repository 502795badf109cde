package config_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mintmark/internal/config"
)

func TestEveryPropertyIsDescribedAndItsTextsAreCanonical(t *testing.T) {
	t.Parallel()
	seen, groups := make(map[string]bool), []string{}
	for _, p := range config.Catalogue() {
		for _, name := range append([]string{p.Name, p.Env()}, p.Aliases...) {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if p.Group == "" || p.Type == "" || !strings.HasSuffix(p.Help, ".") || p.Default == "" && p.Example == "" {
			t.Errorf("%s is not described: %+v", p.Name, p)
		}
		if len(groups) == 0 || groups[len(groups)-1] != p.Group {
			groups = append(groups, p.Group)
		}
		for _, text := range append([]string{p.Default, p.Example}, p.Choices...) {
			if text == "" {
				continue
			}
			if got, err := p.Canonical(text); err != nil || got != text {
				t.Errorf("%s: %q becomes %q, %v", p.Name, text, got, err)
			}
		}
		if _, err := p.Canonical(""); err == nil {
			t.Errorf("%s takes nothing for a value", p.Name)
		}
	}
	same(t, "groups, each in one piece", groups, slices.Compact(slices.Clone(groups)))
	sorted := slices.Clone(groups)
	slices.Sort(sorted)
	same(t, "groups, each once", len(slices.Compact(sorted)), len(groups))
}

// A trial of what waits for a start would show nothing.
func TestPropertiesThatCanShutOutAreMarkedAndTakeEffectAtOnce(t *testing.T) {
	t.Parallel()
	var lock []string
	for _, p := range config.Catalogue() {
		if p.LockOut {
			lock = append(lock, p.Name)
			if !p.Live {
				t.Errorf("%s waits for the start", p.Name)
			}
		}
	}
	same(t, "properties", lock, []string{
		config.Audience, config.Listen, config.Certificate, config.Key, config.Proxies,
		config.LoginIdle, config.LoginAbsolute, config.LoginAttempts, config.LoginPause, config.StepUp,
	})
}

func TestLookupTakesNamesAndAliasesAndSuggestsTheNearest(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		config.Store: config.Store, config.StoreAlias: config.Store, config.Audience: config.Audience,
	} {
		if p, err := config.Lookup(name); err != nil || p.Name != want {
			t.Errorf("%s: %s, %v", name, p.Name, err)
		}
	}
	for name, nearest := range map[string]string{
		"jwt.isuer": config.Issuer, "tokens.copi": config.Copy, "login.stepup": config.StepUp, "API.access.tokens.store": config.Store,
		"colour": "", "": "", strings.Repeat("x", 1<<20): "",
	} {
		_, err := config.Lookup(name)
		var unknown *config.UnknownError
		if !errors.As(err, &unknown) || unknown.Nearest != nearest || len(err.Error()) > 300 {
			t.Errorf("%.40q: %.300v, want a suggestion of %q", name, err, nearest)
		}
	}
}

func TestTheEnvironmentVariableIsDerivedFromTheName(t *testing.T) {
	t.Parallel()
	p, err := config.Lookup(config.NeverExpire)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "variable", p.Env(), "MINTMARK_TOKENS_NEVER_EXPIRE")
}

func TestValuesAreTakenInOneForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{config.Store, "/var/lib//mintmark/./token.json", "/var/lib/mintmark/token.json"},
		{config.Store, "SQLite:/var/lib//mintmark/mint.db", "sqlite:/var/lib/mintmark/mint.db"},
		{config.Store, "PostgreSQL://mint@db/tokens?sslmode=verify-full", "postgres://mint@db/tokens?sslmode=verify-full"},
		{config.Store, "postgres:///tokens?host=/run/postgresql", "postgres:///tokens?host=/run/postgresql"},
		{config.Lifetime, "2160h", "90d"},
		{config.Lifetime, "12w", "84d"},
		{config.RestoreGrace, "0s", "0s"},
		{config.RestoreGrace, "60m", "1h"},
		{config.Audience, " https://a.example, https://b.example ,,https://a.example", "https://a.example,https://b.example"},
		{config.Proxies, "10.1.2.3/8, 192.0.2.1,2001:db8::1/32,::ffff:10.0.0.0/104", "10.0.0.0/8,192.0.2.1/32,2001:db8::/32,10.0.0.0/8"},
		{config.Listen, "127.0.0.1:03000", "127.0.0.1:3000"},
		{config.Listen, ":3000", ":3000"},
		{config.Listen, "[::1]:3000", "[::1]:3000"},
		{config.Listen, "[fe80::1%eth0]:3000", "[fe80::1%eth0]:3000"},
		{config.Listen, "tokens-01.corp.example:3000", "tokens-01.corp.example:3000"},
		{config.Certificate, "/etc/../etc/ssl/m.pem", "/etc/ssl/m.pem"},
		{config.LoginAttempts, "007", "7"},
		{config.LimitToken, "100/s", "100/s"},
		{config.LimitToken, "100/s burst 100", "100/s"},
		{config.LimitToken, "1000000/h burst 1", "1000000/h burst 1"},
		{config.LimitSource, "1/m burst 1000000", "1/m burst 1000000"},
		{config.Metrics, "127.0.0.1:09464", "127.0.0.1:9464"},
		{config.Issuer, "https://tokens.example/a", "https://tokens.example/a"},
		{config.ExtAuthzListen, "127.0.0.1:03001", "127.0.0.1:3001"},
		{config.GuardUpstream, "HTTP://API.example:9000/", "http://api.example:9000"},
		{config.GuardUpstream, "https://[::1]:9000", "https://[::1]:9000"},
		{config.GuardPublicPaths, "/healthz,GET|OPTIONS   /docs", "/healthz, GET|OPTIONS /docs"},
		{config.GuardRules, " /admin role=admin ,POST /data  tag=team:data", "/admin role=admin, POST /data tag=team:data"},
		{config.GuardTimeout, "60s", "1m"},
	} {
		p, err := config.Lookup(c.name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Canonical(c.value)
		if err != nil || got != c.want {
			t.Errorf("%s: %q becomes %q, %v; want %q", c.name, c.value, got, err, c.want)
		}
		if again, err := p.Canonical(got); again != got || err != nil {
			t.Errorf("%s: %q becomes %q, %v", c.name, got, again, err)
		}
	}
}

func TestValuesThatCannotBeAreRefusedWhenStaged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{config.Store, "sqlite:tokens.db", "absolute path"},
		{config.Store, "sqlite:", "absolute path"},
		{config.Store, "postgres://mint:hunter2@db/tokens", "a password has no place"},
		{config.Store, "PostgreSQL://mint:hunter2@db/tokens", "a password has no place"},
		{config.Store, "postgres://mint@db/tokens?password=hunter2", "a password has no place"},
		{config.Store, "postgres://mint:hunter2%zz@db/tokens", "not the address"},
		{config.Store, "postgres:mint:hunter2@db", "not the address"},
		{config.Store, "postgres:///tokens", "names no host"},
		{config.Store, "postgres://db", "names no database"},
		{config.Store, "mysql://mint:hunter2@db/tokens", "not an absolute path"},
		{config.Store, "memory", "unset the property"},
		{config.Store, "token.json", "not an absolute path"},
		{config.Store, "/var/lib/token.db", "does not end in .json"},
		{config.Store, "/var/lib/a\x00.json", "not text"},
		{config.Store, "/var/lib/\xff.json", "not text"},
		{config.Store, "/" + strings.Repeat("a", 4096) + ".json", "longer than"},
		{config.Copy, "Allow", "none of allow, reauth, never"},
		{config.Lifetime, "59s", "shorter than 1m"},
		{config.Lifetime, "never", "not a duration"},
		{config.LoginAttempts, "0", "from 1 to 100"},
		{config.LoginAttempts, "101", "from 1 to 100"},
		{config.LoginAttempts, "5.0", "from 1 to 100"},
		{config.Algorithm, "none", "none of ES256, EdDSA, HS256"},
		{config.Algorithm, "RS256", "none of"},
		{config.Issuer, "tokens.example", "not an http or https URL"},
		{config.Issuer, "https://usr:hunter2@tokens.example", "not an http or https URL"},
		{config.Issuer, "https://tokens.example/?", "not an http or https URL"},
		{config.Issuer, "ftp://tokens.example", "not an http or https URL"},
		{config.Audience, ",", "at least one"},
		{config.Audience, `a"b`, "not an audience"},
		{config.Proxies, ", ,", "empty"},
		{config.Proxies, "10.0.0.0/33", "not an address range"},
		{config.Proxies, "proxy.example", "not an address range"},
		{config.Listen, "127.0.0.1", "not an address and a port"},
		{config.Listen, "127.0.0.1:65536", "not an address and a port"},
		{config.Listen, "127.0.0.1:http", "not an address and a port"},
		{config.Listen, "my host:80", "not an address and a port"},
		{config.Listen, "https://host:80", "not an address and a port"},
		{config.Listen, `{"a":1`, "not an address and a port"},
		{config.Certificate, "cert.pem", "not an absolute path"},
		{config.LogLevel, "trace", "none of"},
		{config.LimitToken, "100", "not a rate"},
		{config.LimitToken, "0/s", "not a rate"},
		{config.LimitToken, "-1/s", "not a rate"},
		{config.LimitToken, "1.5/s", "not a rate"},
		{config.LimitToken, "0100/s", "not a rate"},
		{config.LimitToken, "1000001/s", "not a rate"},
		{config.LimitToken, "100/d", "not a rate"},
		{config.LimitToken, "100/s burst 0", "not a rate"},
		{config.LimitToken, "100/s burst", "not a rate"},
		{config.LimitSource, "100/s burst 2 burst 3", "not a rate"},
		{config.Metrics, "9464", "not an address and a port"},
		{config.ExtAuthzListen, "3001", "not an address and a port"},
		{config.GuardUpstream, "127.0.0.1:9000", "not an http or https URL without a path"},
		{config.GuardUpstream, "ftp://api.example", "not an http or https URL without a path"},
		{config.GuardUpstream, "http://api.example/v1", "not an http or https URL without a path"},
		{config.GuardUpstream, "http://api.example?", "not an http or https URL without a path"},
		{config.GuardUpstream, "http://usr:hunter2@api.example", "no user name, password or query"},
		{config.GuardUpstream, "http://api.example?key=hunter2", "not an http or https URL without a path"},
		{config.GuardUpstream, "http://:9000", "not an http or https URL without a path"},
		{config.GuardPublicPaths, "healthz", "not a method in capitals"},
		{config.GuardPublicPaths, "/healthz, /healthz", "for the same path and method"},
		{config.GuardRules, "/admin", "demands nothing"},
		{config.GuardRules, "/admin role=verifier", "demands role=admin or role=user"},
		{config.GuardRules, "/a role=admin, /a tag=x:y", "for the same path and method"},
		{config.GuardAuthorization, "drop", "none of strip, keep"},
		{config.GuardTimeout, "0s", "shorter than 1s"},
	} {
		b, s := create(t, nil)
		err := b.Stage(c.name, &c.value, maria, t0)
		faults, is := config.IsFaults(err)
		if !is || len(faults.Faults) != 1 || faults.Faults[0].Property != c.name || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.60q: got %v, want %q", c.name, c.value, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a password: %v", err)
		}
		same(t, "writes", s.writes, 0)
	}
}

func TestAnUnknownPropertyCannotBeStaged(t *testing.T) {
	t.Parallel()
	b, _ := create(t, nil)
	value := "x"
	var unknown *config.UnknownError
	if err := b.Stage("jwt.isuer", &value, maria, t0); !errors.As(err, &unknown) {
		t.Errorf("set: %v", err)
	}
	if err := b.Stage("jwt.isuer", nil, maria, t0); !errors.As(err, &unknown) {
		t.Errorf("unset: %v", err)
	}
}

func TestABarePathSetsTheStoreAndSaysSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args              []string
		name, value, note string
		fails             bool
	}{
		{args: []string{"/var/lib/token.json"}, name: config.Store, value: "/var/lib/token.json", note: "A path alone sets api.access.tokens.store."},
		{args: []string{config.StoreAlias, "/a.json"}, name: config.Store, value: "/a.json", note: config.StoreAlias + " is an alias of api.access.tokens.store."},
		{args: []string{config.Copy, "never"}, name: config.Copy, value: "never"},
		{args: []string{"token.json"}, fails: true},
		{args: []string{"/var/lib/token.db"}, fails: true},
		{args: []string{config.Copy}, fails: true},
		{args: []string{"colour", "blue"}, fails: true},
		{args: []string{config.Copy, "never", "please"}, fails: true},
		{fails: true},
	} {
		name, value, note, err := config.ResolveSet(c.args)
		if name != c.name || value != c.value || note != c.note || (err != nil) != c.fails {
			t.Errorf("%v: %q, %q, %q, %v", c.args, name, value, note, err)
		}
	}
}
