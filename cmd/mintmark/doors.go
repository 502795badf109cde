package main

import "mintmark/internal/gateway"

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
		verify:     gateway.Verify{Live: k.door("forward_auth"), Audience: audience},
		introspect: gateway.Introspect{Live: k.door("introspection"), Audience: audience},
		revoke:     gateway.Revoke{Live: k.door("revocation"), Audience: audience, Rules: k.authority, Log: k.log},
		review:     gateway.TokenReview{Live: k.door("kubernetes"), Audience: audience},
	}
}
