package control

import (
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
	r := &Running{layers: l}
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
	old := r.now.Load()
	var waiting []string
	mixed := make(map[string]string)
	for _, p := range config.Catalogue() {
		v := next[p.Name]
		if !p.Live {
			if v.Text != old.values[p.Name].Text {
				waiting = append(waiting, p.Name)
			}
			v = old.values[p.Name]
		}
		next[p.Name] = v
		if v.Text != "" {
			mixed[p.Name] = v.Text
		}
	}
	// The typed form comes from what is really in force, not from the file.
	_, settings, err := config.Resolve(config.Layers{File: mixed})
	if err != nil {
		return nil, err
	}
	r.now.Store(&inForce{next, settings})
	return waiting, nil
}
