package liveset_test

import (
	"net/netip"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

func TestEveryClaimEqualsTheRecord(t *testing.T) {
	later := func(d *jws.NumericDate, by time.Duration) {
		at, _ := d.Time()
		*d = jws.At(at.Add(by))
	}
	for _, alg := range algorithms() {
		h := newHouse(t, alg)
		other := theToken()
		other.ID, other.ClientID = "tok_00000000000000000000000002", "other"
		h.Apply(tokens(other))
		for name, change := range map[string]func(*jws.Claims){
			"sub": func(c *jws.Claims) { c.Subject = "other" }, "no sub": func(c *jws.Claims) { c.Subject = "" }, "client_id": func(c *jws.Claims) { c.ClientID = "other" }, "no client_id": func(c *jws.Claims) { c.ClientID = "" },
			"role": func(c *jws.Claims) { c.Role = "admin" }, "role in another case": func(c *jws.Claims) { c.Role = "User" }, "no role": func(c *jws.Claims) { c.Role = "" },
			"a tag more": func(c *jws.Claims) { c.Tags = append(c.Tags[:2:2], "x:y") }, "a tag less": func(c *jws.Claims) { c.Tags = c.Tags[:1] }, "no tags": func(c *jws.Claims) { c.Tags = nil }, "tags in another order": func(c *jws.Claims) { c.Tags = []string{"env:prod", "team:a"} },
			"another tag": func(c *jws.Claims) { c.Tags = []string{"team:a", "env:test"} }, "an audience more": func(c *jws.Claims) { c.Audience = []string{audience, "https://b.example"} }, "another audience": func(c *jws.Claims) { c.Audience = []string{"https://b.example"} },
			"no audience": func(c *jws.Claims) { c.Audience = nil }, "iat later": func(c *jws.Claims) { later(&c.IssuedAt, time.Second) }, "iat earlier": func(c *jws.Claims) { later(&c.IssuedAt, -time.Second) }, "no iat": func(c *jws.Claims) { c.IssuedAt = jws.NumericDate{} },
			"exp later": func(c *jws.Claims) { later(&c.Expires, time.Second) }, "exp earlier": func(c *jws.Claims) { later(&c.Expires, -time.Second) }, "no exp": func(c *jws.Claims) { c.Expires = jws.NumericDate{} },
			"the id of another": func(c *jws.Claims) { c.ID = string(other.ID) },
		} {
			c := claimsOf(theToken())
			change(&c)
			if got := h.Decide(h.sign(t, "current", authority.TypeToken, c), liveset.Demand{AnyAudience: true}); got.Reason != liveset.Mismatch {
				t.Errorf("%s: %s: %s", alg, name, got.Reason)
			}
		}
		for name, id := range map[string]string{"no id": "", "an unknown id": "tok_00000000000000000000000009", "an id in another case": "TOK_00000000000000000000000001", "a login's id": string(loginID)} {
			c := claimsOf(theToken())
			c.ID = id
			if got := h.Decide(h.sign(t, "current", authority.TypeToken, c), liveset.Demand{}); got.Reason != liveset.UnknownToken {
				t.Errorf("%s: %s: %s", alg, name, got.Reason)
			}
		}
		for name, change := range map[string]func(*jws.Claims){
			"sub": func(c *jws.Claims) { c.Subject = "eva" }, "no sub": func(c *jws.Claims) { c.Subject = "" }, "client_id": func(c *jws.Claims) { c.ClientID = "maria" }, "role": func(c *jws.Claims) { c.Role = "user" }, "no role": func(c *jws.Claims) { c.Role = "" },
			"tags": func(c *jws.Claims) { c.Tags = []string{"a:b"} }, "iat": func(c *jws.Claims) { later(&c.IssuedAt, 1e9) }, "no iat": func(c *jws.Claims) { c.IssuedAt = jws.NumericDate{} }, "exp": func(c *jws.Claims) { later(&c.Expires, 1e9) },
			"no exp": func(c *jws.Claims) { c.Expires = jws.NumericDate{} },
		} {
			c := loginClaims(theLogin())
			change(&c)
			if got := h.Decide(h.sign(t, "current", authority.TypeLogin, c), liveset.Demand{Purpose: liveset.ForLogin}); got.Reason != liveset.Mismatch {
				t.Errorf("%s: login, %s: %s", alg, name, got.Reason)
			}
		}
	}
}

func TestATokenEndsExactlyAndBeginsWithinTheLeeway(t *testing.T) {
	for _, alg := range algorithms() {
		h := newHouse(t, alg)
		token := theToken()
		token.CreatedAt, token.ExpiresAt = start(), start().Add(time.Minute)
		h.Apply(tokens(token))
		raw := h.text(t, token)
		for at, want := range map[time.Duration]liveset.Reason{
			-31 * time.Second: liveset.NotYetValid, -30*time.Second - 1: liveset.NotYetValid, -30 * time.Second: liveset.Allowed, 0: liveset.Allowed,
			time.Minute - 1: liveset.Allowed, time.Minute: liveset.Expired, time.Hour: liveset.Expired,
		} {
			h.clock.Store(start().Add(at).UnixNano())
			if got := h.Decide(raw, liveset.Demand{}); got.Reason != want {
				t.Errorf("%s: %v: %s, want %s", alg, at, got.Reason, want)
			}
		}
		token.ExpiresAt = time.Time{}
		h.Apply(tokens(token))
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Mismatch)
		h.clock.Store(start().AddDate(200, 0, 0).UnixNano())
		wantReason(t, h.Decide(h.text(t, token), liveset.Demand{}), liveset.Allowed)
	}
}

func TestADoorAsksForAnAudience(t *testing.T) {
	h := newHouse(t, jws.ES256)
	foreign, none := theToken(), theToken()
	foreign.ID, foreign.Audience = "tok_00000000000000000000000002", []string{"https://foreign.example", "https://b2.example"}
	none.ID, none.Audience = "tok_00000000000000000000000003", nil
	h.Apply(tokens(foreign, none))
	for name, c := range map[string]struct {
		token  authority.Token
		demand liveset.Demand
		want   liveset.Reason
	}{
		"own":                     {theToken(), liveset.Demand{}, liveset.Allowed},
		"own, asked by name":      {theToken(), liveset.Demand{Audience: []string{audience}}, liveset.Allowed},
		"own, another is asked":   {theToken(), liveset.Demand{Audience: []string{"https://b.example"}}, liveset.WrongAudience},
		"foreign":                 {foreign, liveset.Demand{}, liveset.WrongAudience},
		"foreign, asked by name":  {foreign, liveset.Demand{Audience: []string{"https://b2.example"}}, liveset.Allowed},
		"foreign, any will do":    {foreign, liveset.Demand{AnyAudience: true}, liveset.Allowed},
		"nobody is asked":         {theToken(), liveset.Demand{Audience: []string{}}, liveset.WrongAudience},
		"empty is asked":          {theToken(), liveset.Demand{Audience: []string{""}}, liveset.WrongAudience},
		"for nobody, any will do": {none, liveset.Demand{AnyAudience: true}, liveset.WrongAudience},
		"for nobody":              {none, liveset.Demand{}, liveset.WrongAudience},
	} {
		t.Run(name, func(t *testing.T) { wantReason(t, h.Decide(h.text(t, c.token), c.demand), c.want) })
	}
}

func TestADoorAsksForARoleTagsAndAClient(t *testing.T) {
	h := newHouse(t, jws.ES256)
	admin, verifier := theToken(), theToken()
	admin.ID, admin.Role, admin.Tags = "tok_00000000000000000000000002", authority.RoleAdmin, nil
	verifier.ID, verifier.Role, verifier.Tags = "tok_00000000000000000000000003", authority.RoleVerifier, nil
	h.Apply(tokens(admin, verifier))
	user, own := theToken(), liveset.ForOwnCalls
	for name, c := range map[string]struct {
		token  authority.Token
		demand liveset.Demand
		want   liveset.Reason
	}{
		"user at a door": {user, liveset.Demand{}, liveset.Allowed}, "admin at a door": {admin, liveset.Demand{}, liveset.Allowed}, "verifier at a door": {verifier, liveset.Demand{}, liveset.RoleInsufficient},
		"verifier where one is wanted": {verifier, liveset.Demand{Purpose: own, Role: authority.RoleVerifier}, liveset.Allowed}, "user where a verifier is wanted": {user, liveset.Demand{Purpose: own, Role: authority.RoleVerifier}, liveset.RoleInsufficient},
		"admin where a verifier is wanted": {admin, liveset.Demand{Purpose: own, Role: authority.RoleVerifier}, liveset.Allowed}, "verifier for an own call": {verifier, liveset.Demand{Purpose: own}, liveset.Allowed},
		"user where an admin is wanted": {user, liveset.Demand{Role: authority.RoleAdmin}, liveset.RoleInsufficient}, "a role of no name": {user, liveset.Demand{Role: "root"}, liveset.RoleInsufficient},
		"tags in any order": {user, liveset.Demand{Tags: []string{"env:prod", "team:a"}}, liveset.Allowed}, "a tag in another case": {user, liveset.Demand{Tags: []string{"Team:a"}}, liveset.TagMissing}, "a tag's beginning": {user, liveset.Demand{Tags: []string{"team:"}}, liveset.TagMissing},
		"an admin meets every tag": {admin, liveset.Demand{Tags: []string{"x:y"}}, liveset.Allowed}, "an admin is one client": {admin, liveset.Demand{ClientID: "other"}, liveset.ClientIDNotAllowed}, "the client": {user, liveset.Demand{ClientID: "batch"}, liveset.Allowed},
		"the client in another case": {user, liveset.Demand{ClientID: "Batch"}, liveset.ClientIDNotAllowed},
	} {
		t.Run(name, func(t *testing.T) { wantReason(t, h.Decide(h.text(t, c.token), c.demand), c.want) })
	}
}

func TestAnAddressIsInARangeHoweverItArrives(t *testing.T) {
	h := newHouse(t, jws.EdDSA)
	for name, c := range map[string]struct {
		ranges string
		from   netip.Addr
		in     bool
	}{
		"IPv4":                       {"10.0.0.0/8", addr("10.255.0.1"), true},
		"IPv4 outside":               {"10.0.0.0/8", addr("11.0.0.1"), false},
		"mapped":                     {"10.0.0.0/8", addr("::ffff:10.0.0.1"), true},
		"mapped outside":             {"10.0.0.0/8", addr("::ffff:11.0.0.1"), false},
		"IPv4 of every IPv4":         {"0.0.0.0/0", addr("192.0.2.1"), true},
		"IPv6 of every IPv4":         {"0.0.0.0/0", addr("2001:db8::1"), false},
		"IPv4 of every IPv6":         {"::/0", addr("192.0.2.1"), false},
		"mapped of every IPv6":       {"::/0", addr("::ffff:192.0.2.1"), false},
		"IPv6":                       {"2001:db8::/32", addr("2001:db8:1::1"), true},
		"IPv6 outside":               {"2001:db8::/32", addr("2001:db9::1"), false},
		"with a zone":                {"fe80::/10", addr("fe80::1%eth0"), true},
		"with a zone outside":        {"2001:db8::/32", addr("fe80::1%eth0"), false},
		"one address":                {"192.0.2.1/32", addr("192.0.2.1"), true},
		"beside one address":         {"192.0.2.1/32", addr("192.0.2.2"), false},
		"IPv4-compatible is another": {"10.0.0.0/8", addr("::10.0.0.1"), false},
		"no address":                 {"0.0.0.0/0", netip.Addr{}, false},
		"loopback":                   {"127.0.0.0/8", addr("::1"), false},
	} {
		token := theToken()
		token.AllowedAddresses = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix(c.ranges)}
		h.Apply(tokens(token))
		want := liveset.AddressNotAllowed
		if c.in {
			want = liveset.Allowed
		}
		if got := h.Decide(h.text(t, token), liveset.Demand{From: c.from}); got.Reason != want {
			t.Errorf("%s: %s", name, got.Reason)
		}
	}
	h.Apply(tokens(theToken()))
	for _, from := range []netip.Addr{{}, addr("192.0.2.1"), addr("::1")} {
		wantReason(t, h.Decide(h.text(t, theToken()), liveset.Demand{From: from}), liveset.Allowed)
	}
}
