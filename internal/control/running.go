package control

import (
	"maps"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
)

// Running is the configuration that a process uses. What an apply may change
// while it runs changes here.
type Running struct {
	layers config.Layers
	begun  map[string]config.Value // what is not live, as the process began with it
	now    atomic.Pointer[inForce]
}

type inForce struct {
	values   map[string]config.Value
	settings config.Settings
}

// NewRunning resolves the values that a process starts with. Its error is a
// *config.FaultsError.
func NewRunning(l config.Layers) (*Running, error) {
	values, settings, err := config.Resolve(l)
	if err != nil {
		return nil, err
	}
	r := &Running{layers: l, begun: make(map[string]config.Value)}
	for _, p := range config.Catalogue() {
		if !p.Live {
			r.begun[p.Name] = values[p.Name]
		}
	}
	r.now.Store(&inForce{values, settings})
	return r, nil
}

// Settings is what is in force at this moment.
func (r *Running) Settings() config.Settings { return r.now.Load().settings }

// Policy is what the rules need of it.
func (r *Running) Policy() authority.Policy {
	s := r.Settings()
	return authority.Policy{
		Issuer: s.Issuer, Audience: s.Audience, Algorithm: s.Algorithm, Copy: s.Copy,
		DefaultLifetime: s.Lifetime, MaxLifetime: s.MaxLifetime, NeverExpire: s.NeverExpire, RestoreGrace: s.RestoreGrace,
		Overlap: s.Overlap, HoldIfUsed: s.HoldIfUsed, RotateAuto: s.RotateAuto, RotateEvery: s.Reminder,
		StepUp: s.StepUp, LoginAbsolute: s.LoginAbsolute, LoginAttempts: s.LoginAttempts, LoginPause: s.LoginPause,
	}
}

// LoginIdle is how long a login lasts without use.
func (r *Running) LoginIdle() time.Duration { return r.Settings().LoginIdle }

// Every verdict asks for the next four: they copy nothing that is large.

// Audience is the server's own audience.
func (r *Running) Audience() []string { return r.now.Load().settings.Audience }

// Proxies are the peers that may say who the client is.
func (r *Running) Proxies() []netip.Prefix { return r.now.Load().settings.Proxies }

// Masked reports whether the addresses of clients are kept masked.
func (r *Running) Masked() bool { return r.now.Load().settings.MaskAddresses }

// Limits are the rates of each token and each source.
func (r *Running) Limits() (token, source config.Rate) {
	s := &r.now.Load().settings
	return s.LimitToken, s.LimitSource
}

// take puts the live properties of a newly applied file in force and answers
// those that wait for a restart.
func (r *Running) take(file map[string]string) ([]string, error) {
	l := r.layers
	l.File = file
	next, _, err := config.Resolve(l)
	if err != nil {
		return nil, err
	}
	now, waiting, err := mix(r.begun, next)
	if err != nil {
		return nil, err
	}
	r.now.Store(now)
	return waiting, nil
}

// mix is what a process runs that began with some values, once others are applied,
// and which of those wait for a restart.
func mix(begun, applied map[string]config.Value) (*inForce, []string, error) {
	values := maps.Clone(applied)
	for name, v := range begun {
		values[name] = v
	}
	stepAside(values, applied)
	var waiting []string
	file := make(map[string]string)
	for _, p := range config.Catalogue() {
		v := values[p.Name]
		if v.Text != applied[p.Name].Text {
			waiting = append(waiting, p.Name)
		}
		if v.Text != "" {
			file[p.Name] = v.Text
		}
	}
	// The typed form comes from what is really in force, not from the file.
	_, settings, err := config.Resolve(config.Layers{File: file})
	if err != nil {
		return nil, nil, err
	}
	return &inForce{values, settings}, waiting, nil
}

// stepAside leaves the server its address. What began there and is applied
// elsewhere, or nowhere, can move only at the next start; until then it is off.
// It must not keep the server from where people are to find it.
func stepAside(values, applied map[string]config.Value) {
	for listens, needs := range map[string]string{
		config.Metrics: config.Metrics, config.ExtAuthzListen: config.ExtAuthzListen, config.GuardListen: config.GuardUpstream,
	} {
		goes := values[listens].Text != applied[listens].Text || values[needs].Text != applied[needs].Text
		if goes && Meet(values[listens].Text, values[config.Listen].Text) {
			values[needs] = config.Value{Source: values[needs].Source}
		}
	}
}

// Meet reports whether two addresses cannot, or might not, both be listened on.
func Meet(a, b string) bool {
	host, port, err := net.SplitHostPort(a)
	other, otherPort, otherErr := net.SplitHostPort(b)
	if err != nil || otherErr != nil || port != otherPort {
		return false // one of them is unset
	}
	one, err := netip.ParseAddr(host)
	two, otherErr := netip.ParseAddr(other)
	named := err != nil || otherErr != nil // or all addresses of the machine
	return named || one.IsUnspecified() || two.IsUnspecified() || one.Unmap() == two.Unmap()
}
