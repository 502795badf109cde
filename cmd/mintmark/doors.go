package main

import (
	"sync"

	"mintmark/internal/gateway"
)

// doors are where somebody asks about a token.
type doors struct {
	verify     gateway.Verify
	introspect gateway.Introspect
	revoke     gateway.Revoke
	review     gateway.TokenReview
}

func (k *core) openDoors() {
	audience := k.running.Audience
	k.doors = doors{
		verify:     gateway.Verify{Live: k.door("forward_auth"), Audience: audience, Misspelt: k.misspelt()},
		introspect: gateway.Introspect{Live: k.door("introspection"), Audience: audience},
		revoke:     gateway.Revoke{Live: k.door("revocation"), Audience: audience, Rules: k.authority, Log: k.log},
		review:     gateway.TokenReview{Live: k.door("kubernetes"), Audience: audience},
	}
}

// misspelt warns, once, of a demand that demands nothing. The name that was sent
// is nearly one of ours, so it can be told.
func (k *core) misspelt() func(sent, meant string) {
	var once sync.Once
	return func(sent, meant string) {
		once.Do(func() {
			k.log.Warn("a question at /auth/verify has a parameter that demands nothing; is it misspelt?", "parameter", sent, "meant", meant)
		})
	}
}
