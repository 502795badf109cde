package control_test

import (
	"slices"
	"testing"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/control"
)

// doors are the listeners that wait for a restart: what says where each is, and what
// turns it on.
func doors() map[string]string {
	return map[string]string{config.Metrics: "", config.ExtAuthzListen: "", config.GuardListen: config.GuardUpstream}
}

// withDoor is a desk whose server listens here, and a door of it there.
func withDoor(t *testing.T, listen, upstream string) *desk {
	t.Helper()
	applied := map[string]string{config.Listen: here, listen: there, config.Store: "tokens.json"}
	if upstream != "" {
		applied[upstream] = "http://192.0.2.8:9000"
	}
	return newDesk(t, applied)
}

// at are the addresses that a process opens.
func (d *desk) at() map[string]string {
	s := d.running.Settings()
	open := map[string]string{config.Listen: s.Listen, config.Metrics: s.Metrics, config.ExtAuthzListen: s.Gateways.ExtAuthz}
	if s.Gateways.GuardUpstream != "" {
		open[config.GuardListen] = s.Gateways.GuardListen
	}
	for name, address := range open {
		if address == "" {
			delete(open, name)
		}
	}
	return open
}

// A door at the address that a trial goes back to is no reason to stay away from it.
func TestWhatWaitsForARestartDoesNotKeepATrialFromGoingBack(t *testing.T) {
	t.Parallel()
	for listen, upstream := range doors() {
		d := withDoor(t, listen, upstream)
		d.stage(t, config.Listen, "192.0.2.9:3000")
		d.stage(t, listen, here)
		_, err := d.Apply(t.Context(), maria(), 0, 10*time.Minute)
		must(t, err)
		d.restart(t)
		same(t, "open during the trial", d.at(), map[string]string{config.Listen: "192.0.2.9:3000", listen: here})
		same(t, "over", d.ends(t, 0), false)
		back, err := d.EndTrial(t.Context(), operator(), 10*time.Minute)
		must(t, err)
		waiting := []string{listen}
		if upstream != "" {
			waiting = []string{upstream, listen}
		}
		same(t, "how it stands", back, control.Return{Back: true, InForce: true, Why: config.OutOfTime, Waiting: waiting})
		same(t, "open", d.at(), map[string]string{config.Listen: here})
		same(t, listen+" waits", d.property(t, listen).Waiting, true)
		_, checks := d.status(t)
		same(t, "what to do", checks["settings"].Fix, "manager restart")
		d.restart(t)
		same(t, "open after a restart", d.at(), map[string]string{config.Listen: here, listen: there})
		same(t, "waiting after a restart", d.property(t, listen).Waiting, false)
	}
}

// Two that change places are applied together: the door is off until the restart, and
// is there again at once when the server leaves its address.
func TestAnApplyTakesTheAddressOfWhatWaitsForARestart(t *testing.T) {
	t.Parallel()
	for listen, upstream := range doors() {
		d := withDoor(t, listen, upstream)
		d.stage(t, config.Listen, there)
		d.stage(t, listen, here)
		a, err := d.Apply(t.Context(), maria(), 0, 10*time.Minute)
		must(t, err)
		same(t, "after a restart", slices.Contains(a.RestartNeeded, listen), true)
		same(t, "open", d.at(), map[string]string{config.Listen: there})
		a = d.settle(t, control.Revert)
		same(t, "after a restart", a.RestartNeeded, []string(nil))
		same(t, "open after the way back", d.at(), map[string]string{config.Listen: here, listen: there})
		same(t, "waiting", d.property(t, listen).Waiting, false)
	}
}

// Addresses meet that are not written alike: those with the same port, unless both
// are addresses of their own. What stays where it is applied stays open.
func TestWhatWaitsForARestartLeavesAnAddressThatItMayHave(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listen, metrics, next string // metrics are where they run, and where they are applied
		off                   bool
	}{
		{"0.0.0.0:3000", "127.0.0.1:3000", there, true},
		{":3000", "127.0.0.1:3000", there, true},
		{here, "[::]:3000", there, true},
		{here, "localhost:3000", there, true},
		{here, "192.0.2.8:3000", there, false},
		{here, "127.0.0.1:9464", there, false},
		{here, "", there, false},
		{here, "localhost:3000", "localhost:3000", false},
	} {
		d := newDesk(t, map[string]string{config.Listen: "192.0.2.9:4000"})
		if c.metrics != "" {
			d.stage(t, config.Metrics, c.metrics)
			d.apply(t)
			d.restart(t)
		}
		if c.next != c.metrics {
			d.stage(t, config.Metrics, c.next)
		}
		d.stage(t, config.Listen, c.listen)
		d.apply(t)
		want := map[string]string{config.Listen: c.listen, config.Metrics: c.metrics}
		if c.off || c.metrics == "" {
			delete(want, config.Metrics)
		}
		same(t, c.metrics+" beside "+c.listen, d.at(), want)
	}
}
