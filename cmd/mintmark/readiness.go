package main

import (
	"time"
)

// unready is why a server cannot be relied on: one of a few reasons, and a figure.
// It is for the log; who probes learns only that it is so.
type unready struct{ reason, figure string }

func (u *unready) Error() string { return u.reason + u.figure }

// ready tells why a server cannot be relied on.
func (k *core) ready() error {
	if u := k.unready(); u != nil {
		return u
	}
	return nil
}

func (k *core) unready() *unready {
	if !k.live.Ready() {
		return &unready{"the live set is not loaded, or too old to be answered from", ""}
	}
	if k.fleet == nil {
		return nil
	}
	if age := k.age(); age > levelWithin {
		return &unready{"the store is out of reach; the state is old by ", age.Round(time.Millisecond).String()}
	}
	if skew := time.Duration(k.fleet.skew.Load()); skew.Abs() > maxSkew {
		return &unready{"the clock differs from the store's by ", skew.Round(time.Second).String()}
	}
	return nil
}

// sayReady logs that readiness is not what was said last, and answers what is
// said now. It is silent while the reason stays.
func (k *core) sayReady(said *unready) *unready {
	now := k.unready()
	switch {
	case now == nil && said != nil:
		k.log.Info("ready again")
	case now != nil && (said == nil || said.reason != now.reason):
		k.log.Warn("not ready", "reason", now.Error())
	}
	return now
}
