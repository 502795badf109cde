package conformance_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

func states() []state {
	return slices.Concat(good(), lifecycle(), rotations(), logins(), demanded(), sent(), forms(), headers(), signatures(), claims(), records())
}

// ofUser asks about what is made of a good token.
func ofUser(change func(h *house, i authority.Issued) string) func(*house) question {
	return func(h *house) question {
		i := h.user()
		return question{token: change(h, i), id: string(i.ID)}
	}
}

// of asks about a token as it was issued.
func of(r authority.TokenRequest) func(*house) question {
	return func(h *house) question {
		i := h.issue(r)
		return question{token: i.Text.Unsafe(), id: string(i.ID)}
	}
}

func asItIs(h *house) question {
	return ofUser(func(_ *house, i authority.Issued) string { return i.Text.Unsafe() })(h)
}

// withHeader is a good token whose header was changed by who has the key.
func withHeader(change func(string) string) func(*house) question {
	return ofUser(func(h *house, i authority.Issued) string { return h.reheaded(i, change) })
}

// withClaims is a good token whose claims were changed by who has the key.
func withClaims(change func(string) string) func(*house) question {
	return ofUser(func(h *house, i authority.Issued) string { return h.reclaimed(i, change) })
}

// cut is a good token whose text was changed by anybody.
func cut(change func(string) string) func(*house) question {
	return ofUser(func(h *house, i authority.Issued) string { return h.changed(i.Text.Unsafe(), change) })
}

func good() []state {
	return []state{
		{group: "good", name: "a User's", want: allow, ask: func(h *house) question {
			q := asItIs(h)
			q.cookie = q.token
			return q
		}, but: map[string]string{"console": invalid}},
		{group: "good", name: "an Admin's", want: allow, ask: of(authority.TokenRequest{ClientID: "root-script", Role: "admin"})},
		{group: "good", name: "that never expires", want: allow, ask: of(authority.TokenRequest{ClientID: "forever", Role: "user", Never: true})},
		{group: "good", name: "for two audiences", want: allow, ask: of(authority.TokenRequest{ClientID: "both", Role: "user", Audience: []string{ownAudience, secondAudience}})},
		{group: "good", name: "for one of ours and another's", want: allow, ask: of(authority.TokenRequest{ClientID: "both", Role: "user", Audience: []string{"https://elsewhere.example", secondAudience}})},
		{group: "good", name: "with its type in capitals and in full", want: allow, ask: withHeader(swap(`"at+jwt"`, `"application/AT+JWT"`))},
		{group: "good", name: "with a header parameter that means nothing", want: allow, ask: withHeader(member(`"x":1`))},
		{group: "good", name: "with a claim that means nothing", want: allow, ask: withClaims(member(`"scope":{"a":[null]}`))},
		{group: "good", name: "whose nbf has come", want: allow, ask: withClaims(member(`"nbf":1700000000`))},
	}
}

// forget leaves the node without a live set, as before it has loaded one.
func forget(h *house, _ *question) { h.decider.unknown.Store(true) }

func lifecycle() []state {
	one := func(h *house, q *question) authority.TokenID { return authority.TokenID(q.id) }
	remove := func(leaked bool) func(*house, *question) {
		return func(h *house, q *question) {
			_, err := h.rules.RevokeToken(h.t.Context(), operator(), one(h, q), leaked)
			must(h.t, err)
		}
	}
	restore := func(h *house, q *question) {
		_, err := h.rules.RestoreToken(h.t.Context(), operator(), one(h, q))
		must(h.t, err)
	}
	both := func(all ...func(*house, *question)) func(*house, *question) {
		return func(h *house, q *question) {
			for _, fn := range all {
				fn(h, q)
			}
		}
	}
	later := func(d time.Duration) func(*house, *question) {
		return func(h *house, _ *question) {
			h.advance(d)
			h.hireAskers() // for whom it is now too
		}
	}
	purge := func(h *house, _ *question) {
		h.advance(48 * time.Hour)
		must(h.t, h.rules.PurgeDeleted(h.t.Context()))
	}
	hour := of(authority.TokenRequest{ClientID: "hourly", Role: "user", Lifetime: time.Hour})
	return []state{
		{group: "life", name: "deleted", want: invalid, record: true, ask: asItIs, then: remove(false)},
		{group: "life", name: "deleted and restored", want: allow, ask: asItIs, then: both(remove(false), restore)},
		{group: "life", name: "deleted, restored and deleted", want: invalid, record: true, ask: asItIs, then: both(remove(false), restore, remove(false))},
		{group: "life", name: "deleted for good", want: invalid, record: true, ask: asItIs, then: remove(true)},
		{group: "life", name: "deleted long ago", want: invalid, record: true, ask: asItIs, then: both(remove(false), purge)},
		{group: "life", name: "a second before its end", want: allow, ask: hour, then: later(time.Hour - time.Second)},
		{group: "life", name: "at its end", want: invalid, ask: hour, then: later(time.Hour)},
		{group: "life", name: "long after its end", want: invalid, ask: hour, then: later(30 * 24 * time.Hour)},
		{group: "life", name: "that never expires, in ten years", want: allow, ask: of(authority.TokenRequest{ClientID: "forever", Role: "user", Never: true}), then: later(10 * 365 * 24 * time.Hour)},
		{group: "life", name: "from before a reset", want: invalid, ask: asItIs, then: func(h *house, _ *question) { h.reset() }},
		{group: "life", name: "deleted before a reset", want: invalid, ask: asItIs, then: both(remove(false), func(h *house, _ *question) { h.reset() })},
		{group: "life", name: "from after a reset", want: allow, fresh: true, ask: func(h *house) question {
			h.reset()
			return asItIs(h)
		}},
		{group: "life", name: "while the clock is back by an hour", want: invalid, ask: asItIs, then: later(-time.Hour)},
		{group: "life", name: "while the clock is back by 30 seconds", want: allow, ask: asItIs, then: later(-30 * time.Second)},
		{group: "life", name: "while the state of the node is unknown", want: unknown, ask: asItIs, then: forget, but: map[string]string{"Go, offline": allow}},
	}
}

// rotations are what becomes of tokens whose key, or which themselves, have been
// replaced.
func rotations() []state {
	rotate := func(h *house) authority.Rotation {
		done, err := h.rules.RotateKey(h.t.Context(), operator(), authority.RotateRequest{Overlap: time.Hour})
		must(h.t, err)
		h.hireAskers()
		return done
	}
	rotated := func(and func(h *house, previous string)) func(*house, *question) {
		return func(h *house, _ *question) { and(h, rotate(h).Previous.Name) }
	}
	trial := func(h *house, previous string) {
		_, err := h.rules.TrialStop(h.t.Context(), operator(), previous, 10*time.Minute)
		must(h.t, err)
	}
	replaced := func(overlap time.Duration, and func(h *house, q *question, successor authority.Issued)) func(*house, *question) {
		return func(h *house, q *question) {
			successor, err := h.rules.ReplaceToken(h.t.Context(), operator(), authority.TokenID(q.id), overlap)
			must(h.t, err)
			and(h, q, successor)
		}
	}
	nothing := func(*house, *question, authority.Issued) {}
	return []state{
		{group: "rotation", name: "under the previous key, within the overlap", want: allow, ask: asItIs, then: rotated(func(*house, string) {})},
		{group: "rotation", name: "under the previous key, when the overlap ends", want: invalid, ask: asItIs, then: rotated(func(h *house, _ string) { h.advance(time.Hour) })},
		{group: "rotation", name: "under the new key", want: allow, fresh: true, ask: func(h *house) question {
			rotate(h)
			return asItIs(h)
		}},
		{group: "rotation", name: "under a retired key", want: invalid, ask: asItIs, then: rotated(func(h *house, previous string) {
			_, err := h.rules.RetireKey(h.t.Context(), operator(), previous)
			must(h.t, err)
		})},
		{group: "rotation", name: "under a key on a trial stop", want: invalid, record: true, ask: asItIs, then: rotated(trial)},
		{group: "rotation", name: "after the trial stop", want: allow, ask: asItIs, then: rotated(func(h *house, previous string) {
			trial(h, previous)
			h.advance(10 * time.Minute)
		})},
		{group: "rotation", name: "a login token under a key on a trial stop", want: invalid, but: map[string]string{"own API": allow, "console": allow}, ask: signedIn, then: rotated(trial)},
		{group: "rotation", name: "replaced, within the overlap", want: allow, ask: asItIs, then: replaced(time.Hour, nothing)},
		{group: "rotation", name: "replaced, when the overlap ends", want: invalid, record: true, ask: asItIs, then: replaced(time.Hour, func(h *house, _ *question, _ authority.Issued) { h.advance(time.Hour) })},
		{group: "rotation", name: "replaced without an overlap", want: invalid, record: true, ask: asItIs, then: replaced(0, nothing)},
		{group: "rotation", name: "whose replacement was undone", want: allow, ask: asItIs, then: replaced(time.Hour, func(h *house, q *question, _ authority.Issued) {
			_, err := h.rules.UndoReplace(h.t.Context(), operator(), authority.TokenID(q.id))
			must(h.t, err)
		})},
		{group: "rotation", name: "the successor", want: allow, ask: asItIs, then: replaced(0, func(_ *house, q *question, successor authority.Issued) {
			q.token, q.id = successor.Text.Unsafe(), string(successor.ID)
		})},
	}
}

func signedIn(h *house) question {
	in := h.signIn()
	h.advance(time.Minute)
	return question{token: in.Text.Unsafe(), id: string(in.ID), cookie: in.Text.Unsafe()}
}

func loginDemand() liveset.Demand { return liveset.Demand{Purpose: liveset.ForLogin} }

func logins() []state {
	caller := func(h *house, q *question) authority.Caller {
		return h.live.Decide(q.token, loginDemand()).Identity.Caller(authority.Origin{From: client})
	}
	ended := map[string]string{"console": invalid}
	return []state{
		{group: "login tokens", name: "of a signed-in administrator", want: invalid, ask: signedIn, but: map[string]string{"own API": allow, "console": allow}},
		{group: "login tokens", name: "after the sign-out", want: invalid, ask: signedIn, but: ended, then: func(h *house, q *question) {
			must(h.t, h.rules.SignOut(h.t.Context(), caller(h, q)))
		}},
		{group: "login tokens", name: "after a new password", want: invalid, ask: signedIn, but: ended, then: func(h *house, _ *question) {
			must(h.t, h.rules.ResetPassword(h.t.Context(), operator(), adminName, authority.NewSecret(adminPassword+" 5")))
		}},
		{group: "login tokens", name: "not used for longer than allowed", want: invalid, ask: signedIn, but: ended, then: func(h *house, _ *question) {
			h.advance(h.running.LoginIdle() + time.Second)
		}},
		{group: "login tokens", name: "at its end", want: invalid, ask: signedIn, but: ended, then: func(h *house, _ *question) {
			h.advance(h.running.Policy().LoginAbsolute)
		}},
		{group: "login tokens", name: "from before a reset", want: invalid, ask: signedIn, but: ended, then: func(h *house, _ *question) { h.reset() }},
		{group: "login tokens", name: "while the state of the node is unknown", want: invalid, ask: signedIn, then: forget, but: map[string]string{
			"Go, online": unknown, "introspection": unknown, "TokenReview": unknown, "own API": unknown, "console": unknown,
		}},
		{group: "login tokens", name: "with the type of an API token", want: invalid, but: map[string]string{"console": invalid}, ask: func(h *house) question {
			q := signedIn(h)
			_, payload, _ := parts(q.token)
			key := h.kid(authority.KeyCurrent)
			q.token = h.sign(h.key(key), fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, h.alg, key), plain(payload))
			q.cookie = q.token
			return q
		}},
		{group: "login tokens", name: "an API token with the type of one", want: invalid, but: map[string]string{"console": invalid}, ask: func(h *house) question {
			i := h.issue(authority.TokenRequest{ClientID: "root-script", Role: "admin"})
			token := h.reheaded(i, swap("at+jwt", "login+jwt"))
			return question{token: token, id: string(i.ID), cookie: token}
		}},
	}
}

func demanded() []state {
	asking := func(r authority.TokenRequest, d demand) func(*house) question {
		return func(h *house) question {
			q := of(r)(h)
			q.demand = d
			return q
		}
	}
	user := authority.TokenRequest{ClientID: "nightly", Role: "user", Tags: []string{"team:data", "env:test"}, Audience: []string{ownAudience}}
	admin := authority.TokenRequest{ClientID: "root-script", Role: "admin"}
	fenced := func(prefixes ...string) func(*house) question {
		r := user
		r.AllowedAddresses = prefixes
		return of(r)
	}
	unseen := map[string]string{"Go, online": invalid, "Go, offline": allow, "introspection": invalid, "TokenReview": invalid}
	return []state{
		{group: "demands", name: "an Admin's where an Admin is wanted", want: allow, needs: "role", ask: asking(admin, demand{role: "admin"})},
		{group: "demands", name: "a User's where an Admin is wanted", want: forbidden, needs: "role", ask: asking(user, demand{role: "admin"})},
		{group: "demands", name: "a Verifier's", want: forbidden, ask: of(authority.TokenRequest{ClientID: "gate", Role: "verifier"}), but: map[string]string{
			"Go, online": invalid, "introspection": invalid, "TokenReview": invalid, "own API": allow,
		}},
		{group: "demands", name: "with the tags that are wanted", want: allow, needs: "tags", ask: func(h *house) question {
			return asking(authority.TokenRequest{ClientID: "nightly", Role: "user", Tags: []string{"env:prod", "team:data"}}, demand{tags: []string{"env:prod", "team:data"}})(h)
		}},
		{group: "demands", name: "without the tag that is wanted", want: forbidden, needs: "tags", ask: asking(user, demand{tags: []string{"env:prod"}})},
		{group: "demands", name: "with one of two tags", want: forbidden, needs: "tags", ask: asking(user, demand{tags: []string{"env:prod", "team:data"}})},
		{group: "demands", name: "an Admin's without the tag", want: allow, needs: "tags", ask: asking(admin, demand{tags: []string{"env:prod"}})},
		{group: "demands", name: "of the client that is wanted", want: allow, needs: "client", ask: asking(user, demand{clientID: "nightly"})},
		{group: "demands", name: "of another client", want: forbidden, needs: "client", ask: asking(user, demand{clientID: "weekly"})},
		{group: "demands", name: "an Admin's of another client", want: forbidden, needs: "client", ask: asking(admin, demand{clientID: "nightly"})},
		{group: "demands", name: "for the audience that is wanted", want: allow, needs: "audience", ask: asking(user, demand{audience: ownAudience})},
		{group: "demands", name: "for another of our audiences", want: invalid, needs: "audience", ask: asking(user, demand{audience: secondAudience})},
		{group: "demands", name: "for nobody here", want: invalid, ask: of(authority.TokenRequest{ClientID: "other", Role: "user", Audience: []string{"https://elsewhere.example"}}), but: map[string]string{"own API": allow}},
		{group: "demands", name: "an Admin's for nobody here", want: invalid, ask: of(authority.TokenRequest{ClientID: "other", Role: "admin", Audience: []string{"https://elsewhere.example"}}), but: map[string]string{"own API": allow}},
		{group: "demands", name: "from an address that is allowed", want: allow, ask: fenced("10.0.0.0/8", "192.0.2.0/24"), but: unseen},
		{group: "demands", name: "from another address", want: forbidden, ask: fenced("10.0.0.0/8", "2001:db8::/32"), but: unseen},
	}
}

// sent are good tokens, and how they come.
func sent() []state {
	by := func(want, name string, change func(q *question)) state {
		return state{group: "sending", name: name, want: want, header: true, ask: func(h *house) question {
			q := asItIs(h)
			change(&q)
			return q
		}}
	}
	nothing := by(missing, "no credential", func(q *question) { q.fields = []string{} })
	nothing.but = map[string]string{"console": missing}
	return []state{
		nothing,
		by(allow, "the scheme in small letters", func(q *question) { q.fields = []string{"bearer " + q.token} }),
		by(allow, "the scheme JWT", func(q *question) { q.fields = []string{"JWT " + q.token} }),
		by(missing, "the scheme Basic", func(q *question) {
			q.fields = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("nightly:"+q.token))}
		}),
		by(missing, "no scheme", func(q *question) { q.fields = []string{q.token} }),
		by(malformed, "the scheme alone", func(q *question) { q.fields = []string{"Bearer"} }),
		by(malformed, "two spaces", func(q *question) { q.fields = []string{"Bearer  " + q.token} }),
		by(malformed, "a space behind it", func(q *question) { q.fields = []string{"Bearer " + q.token + " "} }),
		by(malformed, "a tab behind it", func(q *question) { q.fields = []string{"Bearer " + q.token + "\t"} }),
		by(malformed, "two fields", func(q *question) { q.fields = []string{"Bearer " + q.token, "Bearer " + q.token} }),
		by(malformed, "a list", func(q *question) { q.fields = []string{"Bearer " + q.token + ", Bearer " + q.token} }),
		by(malformed, "in the query", func(q *question) { q.fields, q.query = []string{}, "access_token="+q.token }),
		by(malformed, "in the query too", func(q *question) { q.query = "a=1&access%5ftoken=" + q.token }),
	}
}

func forms() []state {
	bad := func(name string, change func(string) string) state {
		return state{group: "form", name: name, want: invalid, ask: cut(change)}
	}
	part := func(n int, changed func(string) string) func(string) string {
		return func(raw string) string {
			p := strings.Split(raw, ".")
			p[n] = changed(p[n])
			return strings.Join(p, ".")
		}
	}
	always := func(text string) func(string) string { return func(string) string { return text } }
	asBodies := map[string]string{"introspection": invalid, "TokenReview": invalid} // where no list can be meant
	json := state{group: "form", name: "JSON serialisation", want: malformed, but: asBodies, ask: cut(func(raw string) string {
		header, payload, signature := parts(raw)
		return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, header, payload, signature)
	})}
	return []state{
		json,
		bad("a word", always("x")),
		bad("the word null", always("null")),
		bad("two parts", func(raw string) string { return raw[:strings.LastIndexByte(raw, '.')] }),
		bad("two parts and a dot", func(raw string) string { return raw[:strings.LastIndexByte(raw, '.')+1] }),
		bad("four parts", func(raw string) string { return raw + ".AAAA" }),
		bad("five parts, as if encrypted", func(raw string) string { return raw + ".AAAA.AAAA" }),
		bad("dots alone", always("..")),
		bad("50,000 dots", always(strings.Repeat(".", 50_000))),
		bad("no header", part(0, always(""))),
		bad("no claims", part(1, always(""))),
		bad("more than 8 KiB", func(raw string) string { return raw + strings.Repeat("A", 8<<10) }),
		bad("its last character missing", func(raw string) string { return raw[:len(raw)-1] }),
		bad("its last four characters missing", func(raw string) string { return raw[:len(raw)-4] }),
		bad("its first character missing", func(raw string) string { return raw[1:] }),
		bad("a character more", func(raw string) string { return raw + "A" }),
		bad("padded", func(raw string) string { return raw + "==" }),
		bad("another alphabet of base64", part(1, func(p string) string { return "+" + p[1:] })),
		bad("bits behind the last byte", func(raw string) string {
			const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			at := strings.IndexByte(digits, raw[len(raw)-1])
			return raw[:len(raw)-1] + digits[at+1:at+2] // the last digit carries 2 or 4 bits that are 0
		}),
		bad("letters beyond ASCII", func(raw string) string { return raw[:20] + "\u0435" + raw[21:] }),
		bad("bytes that are no text", func(raw string) string { return raw[:20] + "\xff" + raw[21:] }),
		bad("its text in capitals", strings.ToUpper),
		bad("parts in another order", func(raw string) string {
			header, payload, signature := parts(raw)
			return payload + "." + header + "." + signature
		}),
	}
}

// inAnotherCase has every letter of a kid in its other case.
func inAnotherCase(header string) string {
	_, rest, _ := strings.Cut(header, `"kid":"`)
	kid, _, _ := strings.Cut(rest, `"`)
	return strings.Replace(header, kid, strings.Map(func(c rune) rune {
		if unicode.IsUpper(c) {
			return unicode.ToLower(c)
		}
		return unicode.ToUpper(c)
	}, kid), 1)
}

func headers() []state {
	bad := func(name string, change func(string) string) state {
		return state{group: "header, signed by the key itself", name: name, want: invalid, ask: withHeader(change)}
	}
	kid := func(to string) func(string) string { return claim("kid", strconv.Quote(to)) }
	list := []state{
		bad("no alg", claim("alg", "")), bad("alg null", claim("alg", "null")), bad("alg none", claim("alg", `"none"`)), bad("alg nOnE", claim("alg", `"nOnE"`)), bad("no algorithm, alg empty", claim("alg", `""`)),
		bad("alg RS256", claim("alg", `"RS256"`)), bad("alg as an array", claim("alg", `["ES256"]`)),
		bad("alg in small letters", func(header string) string {
			return strings.NewReplacer("ES256", "es256", "EdDSA", "eddsa", "HS256", "hs256").Replace(header)
		}),
		bad("alg of another kind of key", func(header string) string {
			return strings.NewReplacer("ES256", "HS256", "EdDSA", "ES256", "HS256", "EdDSA").Replace(header)
		}),
		bad("alg twice", member(`"alg":"none"`)), bad("Alg beside alg", member(`"Alg":"none"`)),
		bad("no kid", claim("kid", "")), bad("kid empty", kid("")), bad("kid null", claim("kid", "null")), bad("kid a path", kid("../../../dev/null")), bad("kid SQL", kid("' OR 1=1 --")), bad("kid a URL", kid("https://evil.example/key")),
		bad("kid of 65 characters", kid(strings.Repeat("k", 65))), bad("kid unknown", kid("nobodys")), bad("kid in another case", inAnotherCase), bad("KID beside kid", member(`"KID":"x"`)),
		bad("no typ", claim("typ", "")), bad("typ JWT", claim("typ", `"JWT"`)), bad("typ null", claim("typ", "null")), bad("typ of another application", claim("typ", `"text/at+jwt"`)),
		bad("crit", member(`"crit":["exp"]`)), bad("crit empty", member(`"crit":[]`)), bad("crit no array", member(`"crit":"exp"`)), bad("b64 false", member(`"b64":false`)), bad("zip", member(`"zip":"DEF"`)), bad("enc", member(`"enc":"A256GCM"`)), bad("cty JWT", member(`"cty":"JWT"`)),
		bad("jwk", member(`"jwk":{"kty":"oct","k":"AAAA"}`)), bad("jku", member(`"jku":"https://evil.example/jwks.json"`)), bad("x5u", member(`"x5u":"https://evil.example/cert.pem"`)), bad("x5c", member(`"x5c":["AAAA"]`)), bad("x5t", member(`"x5t":"AAAA"`)), bad("x5t#S256", member(`"x5t#S256":"AAAA"`)),
		bad("an array", func(header string) string { return "[" + header + "]" }), bad("no JSON", func(string) string { return "alg=ES256" }), bad("more behind it", func(header string) string { return header + "{}" }),
		bad("a byte order mark", func(header string) string { return "\ufeff" + header }), bad("bytes that are no text", member("\"x\":\"\xff\"")), bad("17 levels", member(`"x":`+strings.Repeat("[", 17)+strings.Repeat("]", 17))), bad("a trailing comma", swap("}", ",}")),
	}
	return list
}

func signatures() []state {
	bad := func(name string, change func(h *house, i authority.Issued) string) state {
		return state{group: "signature", name: name, want: invalid, ask: ofUser(change)}
	}
	by := func(name string, change func(h *house, signature []byte) []byte) state {
		return bad(name, func(h *house, i authority.Issued) string {
			return resigned(i, func(signature []byte) []byte { return change(h, signature) })
		})
	}
	under := func(h *house, kid authority.KeyID, key *jws.SigningKey, i authority.Issued) string {
		_, payload, _ := parts(i.Text.Unsafe())
		return h.sign(key, fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, key.Alg(), kid), plain(payload))
	}
	next := bad("by the key that is next", func(h *house, i authority.Issued) string {
		kid := h.kid(authority.KeyNext)
		return under(h, kid, h.key(kid), i)
	})
	next.record = true // it is published, and has signed nothing yet
	return []state{
		next,
		bad("by somebody else's key", func(h *house, i authority.Issued) string {
			key, err := jws.GenerateKey(h.alg, rand.Reader)
			must(h.t, err)
			return under(h, i.KeyID, key, i)
		}),
		bad("by an unknown key under its own kid", func(h *house, i authority.Issued) string {
			key, err := jws.GenerateKey(h.alg, rand.Reader)
			must(h.t, err)
			return under(h, "nobodys", key, i)
		}),
		bad("by a key of another algorithm", func(h *house, i authority.Issued) string {
			key, err := jws.GenerateKey(map[jws.Algorithm]jws.Algorithm{jws.ES256: jws.EdDSA, jws.EdDSA: jws.HS256, jws.HS256: jws.ES256}[h.alg], rand.Reader)
			must(h.t, err)
			return under(h, i.KeyID, key, i)
		}),
		bad("by HMAC with the public key", (*house).confused),
		bad("of another token", func(h *house, i authority.Issued) string {
			header, payload, _ := parts(i.Text.Unsafe())
			_, _, signature := parts(h.user().Text.Unsafe())
			return header + "." + payload + "." + signature
		}),
		bad("of other claims", func(_ *house, i authority.Issued) string {
			header, payload, signature := parts(i.Text.Unsafe())
			return header + "." + b64text(claim("role", `"admin"`)(plain(payload))) + "." + signature
		}),
		by("one bit flipped", func(_ *house, s []byte) []byte {
			s[0] ^= 1
			return s
		}),
		by("its last bit flipped", func(_ *house, s []byte) []byte {
			s[len(s)-1] ^= 1
			return s
		}),
		by("all zero", func(_ *house, s []byte) []byte { return make([]byte, len(s)) }),
		by("one byte", func(_ *house, s []byte) []byte { return s[:1] }),
		by("its first half", func(_ *house, s []byte) []byte { return s[:len(s)/2] }),
		by("a byte short", func(_ *house, s []byte) []byte { return s[:len(s)-1] }),
		by("a byte long", func(_ *house, s []byte) []byte { return append(s, 0) }),
		by("its halves swapped", func(_ *house, s []byte) []byte { return append(s[len(s)/2:len(s):len(s)], s[:len(s)/2]...) }),
		by("numbers out of range", (*house).outOfRange),
		by("in DER", func(_ *house, s []byte) []byte {
			half := len(s) / 2
			integer := func(n []byte) []byte { return append([]byte{2, byte(len(n) + 1), 0}, n...) }
			body := append(integer(s[:half]), integer(s[half:])...)
			return append([]byte{0x30, byte(len(body))}, body...)
		}),
	}
}

// claims are wrong whoever reads them.
func claims() []state {
	bad := func(name string, change func(string) string) state {
		return state{group: "claims, signed by the key itself", name: name, want: invalid, ask: withClaims(change)}
	}
	at := func(d time.Duration) string {
		return strconv.FormatInt(time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC).Add(d).Unix(), 10)
	}
	return []state{
		bad("iss of another", claim("iss", `"https://evil.example"`)), bad("iss longer", claim("iss", `"`+issuer+`.evil.example"`)), bad("iss with a slash", claim("iss", `"`+issuer+`/"`)), bad("iss an array", claim("iss", `["`+issuer+`"]`)), bad("no iss", claim("iss", "")), bad("iss null", claim("iss", "null")),
		bad("aud of another", claim("aud", `"https://evil.example"`)), bad("aud longer", claim("aud", `"`+ownAudience+`.evil.example"`)), bad("aud an object", claim("aud", `{"a":"`+ownAudience+`"}`)), bad("aud empty", claim("aud", `[]`)), bad("no aud", claim("aud", "")), bad("aud null", claim("aud", "null")), bad("aud null in an array", claim("aud", `["`+ownAudience+`",null]`)),
		bad("exp past", claim("exp", at(-time.Second))), bad("exp as text", claim("exp", strconv.Quote(at(time.Hour)))), bad("exp null", claim("exp", "null")), bad("exp 0", claim("exp", "0")), bad("exp negative", claim("exp", "-1")), bad("exp a fraction", claim("exp", at(time.Hour)+".5")), bad("exp with an exponent", claim("exp", "1e400")), bad("exp beyond 2^53", claim("exp", "9007199254740993")), bad("exp true", claim("exp", "true")),
		bad("iat in an hour", claim("iat", at(time.Hour))), bad("iat as text", claim("iat", strconv.Quote(at(0)))), bad("nbf in an hour", member(`"nbf":`+at(time.Hour))), bad("nbf as text", member(`"nbf":"`+at(0)+`"`)), bad("nbf null", member(`"nbf":null`)),
		bad("no jti", claim("jti", "")), bad("jti null", claim("jti", "null")), bad("jti a number", claim("jti", "1")), bad("no client_id", claim("client_id", "")), bad("no role", claim("role", "")), bad("role an array", claim("role", `["user"]`)), bad("tags as text", claim("tags", `"team:data"`)), bad("tags null", claim("tags", "null")),
		bad("sub null", claim("sub", "null")), bad("a claim twice", member(`"role":"admin"`)), bad("a claim in another case", member(`"Role":"admin"`)), bad("a claim twice, once escaped", member(`"rol\u0065":"admin"`)), bad("an array", func(p string) string { return "[" + p + "]" }), bad("no JSON", func(string) string { return "x" }), bad("empty", func(string) string { return "{}" }),
		bad("more behind them", func(p string) string { return p + p }), bad("17 levels", member(`"x":`+strings.Repeat(`{"a":`, 17)+"1"+strings.Repeat("}", 17))), bad("bytes that are no text", member("\"x\":\"\xff\"")), bad("a comment", member(`/* */"x":1`)), bad("NaN", member(`"x":NaN`)),
	}
}

// records are claims that only the record can tell wrong: the key itself has
// signed them.
func records() []state {
	other := func(name string, change func(string) string) state {
		return state{group: "claims that differ from the record", name: name, want: invalid, record: true, ask: withClaims(change)}
	}
	shift := func(name string, by int64) func(string) string {
		return func(p string) string {
			_, rest, _ := strings.Cut(p, `"`+name+`":`)
			was, err := strconv.ParseInt(rest[:10], 10, 64)
			if err != nil {
				panic(err)
			}
			return claim(name, strconv.FormatInt(was+by, 10))(p)
		}
	}
	unknownID := "tok_" + strings.Repeat("0", 26)
	list := []state{
		other("sub of another", claim("sub", `"weekly"`)), other("no sub", claim("sub", "")), other("client_id of another", claim("client_id", `"weekly"`)), other("client_id in capitals", claim("client_id", `"NIGHTLY"`)),
		other("role admin", claim("role", `"admin"`)), other("a tag more", claim("tags", `["team:data","env:test","env:prod"]`)), other("a tag less", claim("tags", `["team:data"]`)), other("tags in another order", claim("tags", `["env:test","team:data"]`)), other("no tags", claim("tags", "")),
		other("an audience more", claim("aud", `["`+ownAudience+`","`+secondAudience+`"]`)), other("another of our audiences", claim("aud", `"`+secondAudience+`"`)), other("exp a second later", shift("exp", 1)), other("exp a second earlier", shift("exp", -1)), other("no exp", claim("exp", "")),
		other("iat a second earlier", shift("iat", -1)), other("no iat", claim("iat", "")),
	}
	list = append(list, state{group: "claims that differ from the record", name: "role in another case", want: invalid, ask: withClaims(claim("role", `"User"`)), but: map[string]string{"Go, offline": forbidden}})
	for name, id := range map[string]func(h *house) string{
		"jti of no token": func(*house) string { return unknownID }, "jti of another token": func(h *house) string {
			return string(h.issue(authority.TokenRequest{ClientID: "weekly", Role: "user"}).ID)
		}, "jti in capitals": func(*house) string { return strings.ToUpper(unknownID) },
	} {
		list = append(list, state{group: "claims that differ from the record", name: name, want: invalid, record: true, ask: func(h *house) question {
			i := h.user()
			jti := id(h)
			return question{token: h.reclaimed(i, claim("jti", strconv.Quote(jti))), id: jti}
		}})
	}
	slices.SortStableFunc(list[len(list)-3:], func(a, b state) int { return strings.Compare(a.name, b.name) })
	return list
}
