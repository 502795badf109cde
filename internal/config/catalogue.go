// Package config is the catalogue of properties and the book in which their
// applied and staged values stand.
//
// It touches the configuration file and nothing else. What a value does to a
// process is decided elsewhere.
//
// The one hard idea: staging changes nothing and applying changes everything
// that is staged at once, or nothing. Each change is noted in the same write
// that makes it, so that the audit log can take it over and never miss one.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Property describes one setting.
type Property struct {
	Name    string
	Group   string
	Help    string // one sentence
	Type    string // "duration", "path", "choice", …
	Choices []string
	Default string
	Example string
	Aliases []string
	Live    bool // takes effect when applied; else at the next start
	LockOut bool // a mistake can shut people out, so it may be applied on trial; such a property is live
	Secret  bool

	check func(string) (string, error) // answers the canonical text
}

// Env is the environment variable that overrides the property:
// MINTMARK_SERVER_LISTEN for server.listen.
func (p Property) Env() string {
	return "MINTMARK_" + strings.ToUpper(strings.ReplaceAll(p.Name, ".", "_"))
}

// maxValue bounds a value, in bytes.
const maxValue = 4096

// Canonical answers the one way to write a value, or why it is none.
func (p Property) Canonical(value string) (string, error) {
	switch {
	case value == "":
		return "", errors.New("the value is empty; unset the property instead")
	case len(value) > maxValue:
		return "", fmt.Errorf("the value is longer than %d bytes", maxValue)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "", errors.New("the value holds characters that are not text")
	}
	text, err := p.check(value)
	if err != nil && p.Secret {
		return "", errors.New("the value is not one that this property takes")
	}
	return text, err
}

// The names that the program itself asks for.
const (
	Store         = "api.access.tokens.store"
	StoreAlias    = "com.unraveldata.api.access.tokens.store"
	Copy          = "tokens.copy"
	Lifetime      = "tokens.lifetime.default"
	MaxLifetime   = "tokens.lifetime.max"
	NeverExpire   = "tokens.never_expire"
	RestoreGrace  = "tokens.restore.grace"
	Algorithm     = "jwt.algorithm"
	Issuer        = "jwt.issuer"
	Audience      = "jwt.audience"
	Reminder      = "keys.rotation.reminder"
	RotateAuto    = "keys.rotation.auto"
	Overlap       = "keys.overlap.default"
	OverlapEnd    = "keys.overlap.end"
	Listen        = "server.listen"
	Certificate   = "server.tls.certificate"
	Key           = "server.tls.key"
	Proxies       = "server.trusted_proxies"
	Drain         = "server.drain_timeout"
	LoginIdle     = "login.idle_timeout"
	LoginAbsolute = "login.absolute_timeout"
	LoginAttempts = "login.attempts"
	LoginPause    = "login.pause"
	StepUp        = "login.step_up"
	LimitToken    = "limits.token"
	LimitSource   = "limits.source"
	UsageAddress  = "usage.addresses"
	Metrics       = "metrics.listen"
	LogLevel      = "log.level"
	LogFormat     = "log.format"
)

// Catalogue lists every property, by group.
func Catalogue() []Property {
	return slices.Concat(ownProperties(), fleetProperties(), gatewayProperties(), logProperties())
}

func ownProperties() []Property {
	return []Property{
		{
			Name: Store, Group: "Storage", Type: "store", Live: true, Aliases: []string{StoreAlias}, Example: "/var/lib/mintmark/token.json",
			Help: "Where API tokens last: the absolute path of a .json file, sqlite:/absolute/path.db or postgres://user@host/database; unset keeps them in memory, where every restart loses them.", check: store,
		},
		choice(Copy, "Token policy", "allow", "Whether the text of a token can be copied again: always, after the password was entered again, or never.", "allow", "reauth", "never"),
		duration(Lifetime, "Token policy", "90d", "The lifetime of a token that is created without one.", time.Minute),
		optional(duration(MaxLifetime, "Token policy", "", "The longest lifetime that may be chosen; unset is no limit.", time.Minute), "180d"),
		choice(NeverExpire, "Token policy", "allow", "Whether tokens without an end may be created.", "allow", "forbid"),
		duration(RestoreGrace, "Token policy", "1h", "How long a deleted token can be restored; 0s is never.", 0),
		choice(Algorithm, "Signing", "ES256", "The algorithm of the next signing key; a key that exists keeps its own.", "ES256", "EdDSA", "HS256"),
		{Name: Issuer, Group: "Signing", Type: "url", Live: true, Example: "https://tokens.example", Help: "The iss of new tokens; existing tokens keep what they carry.", check: issuer},
		{Name: Audience, Group: "Signing", Type: "list", Live: true, LockOut: true, Example: "https://api.example", Help: "The aud of new tokens and what a token must be for, separated by commas; existing tokens keep what they carry.", check: audience},
		duration(Reminder, "Signing", "182d", "After how long rotating the signing secret is recommended.", time.Hour),
		choice(RotateAuto, "Signing", "off", "Whether the signing secret is rotated by itself when that is recommended, with the default overlap.", "off", "on"),
		duration(Overlap, "Signing", "14d", "How long the previous secret is accepted after a rotation that does not say; never longer than a token may live.", time.Minute),
		choice(OverlapEnd, "Signing", "auto", "Whether an overlap ends by itself at its time, or is held while tokens were used under the previous secret within a day.", "auto", "hold-if-used"),
		{Name: Listen, Group: "Network and TLS", Type: "address", Default: "127.0.0.1:3000", Live: true, LockOut: true, Help: "The address and port to listen on.", check: address},
		{Name: Certificate, Group: "Network and TLS", Type: "path", Live: true, LockOut: true, Example: "/etc/ssl/mintmark.pem", Help: "The PEM file of the TLS certificate chain; it is read again when it changes.", check: absolute},
		{Name: Key, Group: "Network and TLS", Type: "path", Live: true, LockOut: true, Example: "/etc/ssl/mintmark.key", Help: "The PEM file of the TLS key; it is read again when it changes.", check: absolute},
		{Name: Proxies, Group: "Network and TLS", Type: "list", Live: true, LockOut: true, Example: "10.0.0.0/8", Help: "The peers whose X-Forwarded-For and X-Forwarded-Proto count, as address ranges separated by commas.", check: prefixes},
		duration(Drain, "Network and TLS", "10s", "How long a stop waits for requests that are under way.", 0),
		locking(duration(LoginIdle, "Sign-in", "30m", "A sign-in ends after so long without use.", time.Minute)),
		locking(duration(LoginAbsolute, "Sign-in", "12h", "A sign-in ends after so long in any case.", time.Minute)),
		locking(number(LoginAttempts, "Sign-in", "5", "How many failed sign-ins under one name bring a pause.", 100)),
		locking(duration(LoginPause, "Sign-in", "5m", "How long that pause is.", time.Second)),
		locking(duration(StepUp, "Sign-in", "15m", "How old the last password entry may be for what needs a recent one.", time.Second)),
		choice(UsageAddress, "Usage and privacy", "full", "How clients' addresses are kept with the counts of use, and shown with a refusal: in full, or masked to the /24 of IPv4 and the /48 of IPv6.", "full", "masked"),
		rate(LimitToken, "How often one token may ask for a verdict or call our own API, in all; unset is no limit."),
		rate(LimitSource, "How often one address may ask for a verdict or call our own API with a token, in all; of IPv6 one /64 network is one address; unset is no limit."),
	}
}

func logProperties() []Property {
	return []Property{
		{Name: Metrics, Group: "Logging", Type: "address", Example: "127.0.0.1:9464", Help: "The address and port of /metrics and /debug/pprof, which ask for no credential: loopback, or a network of your own; unset is none.", check: address},
		restart(choice(LogLevel, "Logging", "info", "The least important messages that are logged.", "debug", "info", "warn", "error")),
		restart(choice(LogFormat, "Logging", "text", "The form of a log line.", "text", "json")),
	}
}

// maxName bounds, in bytes, what is compared with the names of the catalogue.
const maxName = 100

// Lookup finds a property by name or alias; an unknown name is an
// *UnknownError that may suggest one.
func Lookup(name string) (Property, error) {
	all := Catalogue()
	for _, p := range all {
		if p.Name == name || slices.Contains(p.Aliases, name) {
			return p, nil
		}
	}
	if len(name) > maxName {
		return Property{}, &UnknownError{Name: name[:maxName] + "…"}
	}
	nearest, distance := "", 4
	for _, p := range all {
		if d := editDistance(p.Name, name); d < distance {
			nearest, distance = p.Name, d
		}
	}
	return Property{}, &UnknownError{Name: name, Nearest: nearest}
}

// UnknownError names a property that does not exist.
type UnknownError struct {
	Name    string
	Nearest string // "" when nothing is near
}

func (e *UnknownError) Error() string {
	if e.Nearest != "" {
		return fmt.Sprintf("there is no property %q. Did you mean %s?", e.Name, e.Nearest)
	}
	return fmt.Sprintf("there is no property %q", e.Name)
}

// ResolveSet reads the arguments of "config properties set": a name and a
// value, or the bare absolute path of a .json file, which sets the store. note
// says what was understood, when that is not obvious.
func ResolveSet(args []string) (name, value, note string, err error) {
	switch {
	case len(args) == 1 && filepath.IsAbs(args[0]) && strings.HasSuffix(args[0], ".json"):
		return Store, args[0], "A path alone sets " + Store + ".", nil
	case len(args) != 2:
		return "", "", "", errors.New("give a property and its value, or the absolute path of a .json file")
	}
	p, err := Lookup(args[0])
	if err != nil {
		return "", "", "", err
	}
	if p.Name != args[0] {
		note = args[0] + " is an alias of " + p.Name + "."
	}
	return p.Name, args[1], note, nil
}

func choice(name, group, standard, help string, choices ...string) Property {
	return Property{
		Name: name, Group: group, Type: "choice", Choices: choices, Default: standard, Live: true, Help: help,
		check: func(s string) (string, error) {
			if slices.Contains(choices, s) {
				return s, nil
			}
			return "", fmt.Errorf("%s is none of %s", strconv.Quote(s), strings.Join(choices, ", "))
		},
	}
}

func duration(name, group, standard, help string, least time.Duration) Property {
	return Property{
		Name: name, Group: group, Type: "duration", Default: standard, Live: true, Help: help,
		check: func(s string) (string, error) {
			d, err := ParseDuration(s)
			if err != nil {
				return "", err
			}
			if d < least {
				return "", fmt.Errorf("%s is shorter than %s", s, FormatDuration(least))
			}
			return FormatDuration(d), nil
		},
	}
}

func number(name, group, standard, help string, most int) Property {
	return Property{
		Name: name, Group: group, Type: "number", Default: standard, Live: true, Help: help,
		check: func(s string) (string, error) {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 || n > most {
				return "", fmt.Errorf("%s is not a number from 1 to %d", strconv.Quote(s), most)
			}
			return strconv.Itoa(n), nil
		},
	}
}

func rate(name, help string) Property {
	return Property{
		Name: name, Group: "Limits", Type: "rate", Live: true, Example: "100/s burst 200", Help: help,
		check: func(s string) (string, error) {
			r, err := ParseRate(s)
			return r.String(), err
		},
	}
}

func optional(p Property, example string) Property {
	p.Example = example
	return p
}

func locking(p Property) Property {
	p.LockOut = true
	return p
}

func restart(p Property) Property {
	p.Live = false
	return p
}

// store recognises every form of the property; those that this build cannot
// open are refused by name rather than taken for a path. A value may hold a
// database password, so no error repeats it.
func absolute(s string) (string, error) {
	if !filepath.IsAbs(s) {
		return "", fmt.Errorf("%s is not an absolute path", strconv.Quote(s))
	}
	return filepath.Clean(s), nil
}

// issuer is an http or https URL without query and fragment (RFC 8414 section
// 2). What was pasted may hold a password, so no error repeats it.
func issuer(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(s, " ?#\"\\") {
		return "", errors.New("it is not an http or https URL without query and fragment; no user name or password has a place in it")
	}
	return s, nil
}

func audience(s string) (string, error) {
	var out []string
	for _, a := range SplitList(s) {
		if len(a) > 200 || strings.ContainsAny(a, " \"\\") {
			return "", fmt.Errorf("%s is not an audience", strconv.Quote(a))
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return "", errors.New("a server without an audience would take tokens for anybody; give at least one")
	}
	return strings.Join(out, ","), nil
}

func prefixes(s string) (string, error) {
	var out []string
	for _, item := range SplitList(s) {
		p, err := parsePrefix(item)
		if err != nil {
			return "", err
		}
		out = append(out, p.String())
	}
	if len(out) == 0 {
		return "", errors.New("the list is empty; unset the property instead")
	}
	return strings.Join(out, ","), nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not an address range", strconv.Quote(s))
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96) // peers are compared unmapped
	}
	return p.Masked(), nil
}

func address(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || !isHost(host) {
		return "", fmt.Errorf("%s is not an address and a port", strconv.Quote(s))
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// isHost takes an IP address, a name of letters, digits, dots and hyphens, and
// nothing at all, which is every address of the machine.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-')
	})
}

// SplitList splits a list at its commas and drops what is empty.
func SplitList(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}
