package main

import (
	"mintmark/internal/usage"
)

// openUsage makes the ledger of what tokens are used for.
func (k *core) openUsage() (err error) {
	k.usage, err = usage.New(usage.Config{
		Settle: func() { k.live.Settle() }, Masked: func() bool { return false }, Now: k.clock.Now, Log: k.log,
	})
	return err
}
