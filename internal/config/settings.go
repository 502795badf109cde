package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/durable"
)

// Settings is every property in its own type.
type Settings struct {
	Store         string // see StorePlace; "" = memory
	Copy          string
	Lifetime      time.Duration
	MaxLifetime   time.Duration // 0 = no limit
	NeverExpire   bool
	RestoreGrace  time.Duration
	Algorithm     string
	Issuer        string
	Audience      []string
	Reminder      time.Duration
	RotateAuto    bool
	Overlap       time.Duration
	HoldIfUsed    bool // an overlap is held while it is used
	Listen        string
	Certificate   string
	Key           string
	Proxies       []netip.Prefix
	Drain         time.Duration
	LoginIdle     time.Duration
	LoginAbsolute time.Duration
	LoginAttempts int
	LoginPause    time.Duration
	StepUp        time.Duration
	LimitToken    Rate // zero: none
	LimitSource   Rate
	MaskAddresses bool   // counts of use keep networks, not addresses
	Metrics       string // address; "" = none
	LogLevel      string
	LogFormat     string
	Gateways      Gateways
	Fleet         Fleet
}

// Source says where a value comes from.
type Source string

// The sources, strongest first.
const (
	FromFlag        Source = "flag"
	FromEnvironment Source = "environment"
	FromFile        Source = "file"
	FromDefault     Source = "default"
)

// Value is a property's text and where it comes from.
type Value struct {
	Text   string // "" = unset
	Source Source
}

// Layers are the places that values come from; flag beats environment beats
// file beats default. A variable of the environment that is empty is unset.
type Layers struct {
	Flags  map[string]string
	Getenv func(string) (string, bool)
	File   map[string]string
}

// Fault is one property whose value cannot be.
type Fault struct {
	Property string
	Message  string
}

// FaultsError holds every fault at once.
type FaultsError struct{ Faults []Fault }

func (e *FaultsError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.Property + ": " + f.Message
	}
	return strings.Join(lines, "; ")
}

// Resolve decides every property's value and checks them one by one and
// together. Its error is a *FaultsError; with faults of values that do not go
// together it answers the values all the same, for those who have more to check.
func Resolve(l Layers) (map[string]Value, Settings, error) {
	values := make(map[string]Value)
	var faults []Fault
	for _, p := range Catalogue() {
		v := l.pick(p)
		if v.Source != FromDefault || v.Text != "" {
			text, err := p.Canonical(v.Text)
			if err != nil {
				faults = append(faults, Fault{p.Name, describe(p, v, err)})
				continue
			}
			v.Text = text
		}
		values[p.Name] = v
	}
	faults = append(faults, unknown(l.File)...)
	if len(faults) > 0 {
		return nil, Settings{}, &FaultsError{faults}
	}
	s := typed(values)
	var err error
	if s.Gateways, err = gateways(values); err != nil {
		faults = append(faults, Fault{GuardRules, err.Error()})
	}
	if faults = append(faults, s.check()...); len(faults) > 0 {
		return values, s, &FaultsError{faults}
	}
	return values, s, nil
}

// unknown finds what no property is called.
func unknown[V any](values map[string]V) []Fault {
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if p, err := Lookup(name); err != nil || p.Name != name {
			faults = append(faults, Fault{name, "there is no such property"})
		}
	}
	return faults
}

func (l Layers) pick(p Property) Value {
	if v, ok := l.Flags[p.Name]; ok {
		return Value{v, FromFlag}
	}
	if l.Getenv != nil {
		if v, ok := l.Getenv(p.Env()); ok && v != "" {
			return Value{v, FromEnvironment}
		}
	}
	if v, ok := l.File[p.Name]; ok {
		return Value{v, FromFile}
	}
	return Value{p.Default, FromDefault}
}

func describe(p Property, v Value, err error) string {
	switch v.Source {
	case FromEnvironment:
		return fmt.Sprintf("%s (from %s)", err, p.Env())
	case FromFlag:
		return fmt.Sprintf("%s (from the command line)", err)
	case FromFile, FromDefault:
	}
	return err.Error()
}

// typed converts checked texts.
func typed(values map[string]Value) Settings {
	text := func(name string) string { return values[name].Text }
	length := func(name string) time.Duration {
		d, _ := ParseDuration(text(name)) // checked; unset is 0
		return d
	}
	attempts, _ := strconv.Atoi(text(LoginAttempts))
	s := Settings{
		Store: text(Store), Copy: text(Copy), Lifetime: length(Lifetime), MaxLifetime: length(MaxLifetime), NeverExpire: text(NeverExpire) == "allow",
		RestoreGrace: length(RestoreGrace), Algorithm: text(Algorithm), Issuer: text(Issuer), Audience: SplitList(text(Audience)), Reminder: length(Reminder),
		RotateAuto: text(RotateAuto) == "on", Overlap: length(Overlap), HoldIfUsed: text(OverlapEnd) == "hold-if-used",
		Listen: text(Listen), Certificate: text(Certificate), Key: text(Key), Drain: length(Drain),
		LoginIdle: length(LoginIdle), LoginAbsolute: length(LoginAbsolute), LoginAttempts: attempts, LoginPause: length(LoginPause), StepUp: length(StepUp),
		Fleet:         Fleet{length(MaxStaleness), text(SealingKey)},
		MaskAddresses: text(UsageAddress) == "masked",
		Metrics:       text(Metrics), LogLevel: text(LogLevel), LogFormat: text(LogFormat),
	}
	s.LimitToken, _ = ParseRate(text(LimitToken)) // checked; unset is none
	s.LimitSource, _ = ParseRate(text(LimitSource))
	for _, item := range SplitList(text(Proxies)) {
		if p, err := parsePrefix(item); err == nil {
			s.Proxies = append(s.Proxies, p)
		}
	}
	if s.Issuer == "" {
		s.Issuer = IssuerFor(s.Listen, s.Certificate != "")
	}
	if len(s.Audience) == 0 {
		s.Audience = []string{s.Issuer}
	}
	return s
}

// IssuerFor is the issuer of a server that listens on address; one without a
// host is known as localhost.
func IssuerFor(address string, tls bool) string {
	if strings.HasPrefix(address, ":") {
		address = "localhost" + address
	}
	if tls {
		return "https://" + address
	}
	return "http://" + address
}

// check holds properties against each other.
func (s Settings) check() []Fault {
	var faults []Fault
	switch {
	case s.Certificate != "" && s.Key == "":
		faults = append(faults, Fault{Key, "a certificate needs its key: set both or neither"})
	case s.Certificate == "" && s.Key != "":
		faults = append(faults, Fault{Certificate, "a key needs its certificate: set both or neither"})
	}
	if s.MaxLifetime > 0 && s.Lifetime > s.MaxLifetime {
		faults = append(faults, Fault{Lifetime, "the lifetime is longer than " + MaxLifetime + " allows"})
	}
	if s.Metrics != "" && s.Metrics == s.Listen {
		faults = append(faults, Fault{Metrics, "metrics and profiles are not for everybody: give them an address other than " + Listen})
	}
	if s.LoginIdle > s.LoginAbsolute {
		faults = append(faults, Fault{LoginIdle, "the idle time is longer than " + LoginAbsolute})
	}
	return append(faults, s.checkGateways()...)
}

// Warning says what is worth knowing of a valid change, or "".
func Warning(name string) string {
	switch name {
	case Issuer, Audience:
		return "Existing tokens keep what they carry."
	case Metrics:
		return "Whoever reaches this address sees metrics and profiles without a credential; neither holds a token."
	case Algorithm:
		return "Keys that exist keep their algorithm; the next one that is made has this."
	}
	return ""
}

// IsUnknown reports whether err leaves open what the book's file holds.
func IsUnknown(err error) bool { return errors.Is(err, durable.ErrUnknown) }

// IsFull reports whether err says that there was no space for the book.
func IsFull(err error) bool { return errors.Is(err, durable.ErrFull) }

// IsFaults reports whether err is a *FaultsError and answers it.
func IsFaults(err error) (*FaultsError, bool) {
	var e *FaultsError
	return e, errors.As(err, &e)
}
