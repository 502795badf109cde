package liveset_test

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

// draft is a question and the state it meets, before any fault.
type draft struct {
	header     string // overrides alg, kid and typ when it is not empty
	kid        authority.KeyID
	signer     authority.KeyID
	typ        string
	claims     jws.Claims
	payload    string // overrides the claims when it is not empty
	text       func(string) string
	demand     liveset.Demand
	token      authority.Token
	login      authority.Login
	gone       bool // no record
	unloaded   bool
	generation uint64
	idle       time.Duration // how long ago the login was used
	trial      time.Duration // of the key that signs, which is then the previous one
}

// fault is one way of refusal: what it does to a draft, the reason, and the
// finding that names it.
type fault struct {
	name    string
	do      func(h *house, d *draft)
	want    liveset.Reason
	check   string
	say     string // is in what the finding compared
	without string // faults that cannot be there as well: they change the same thing
}

// before are the faults that are found before any record is read, in the order
// in which they are.
func before() []fault {
	return []fault{
		{"nothing", func(_ *house, d *draft) { d.text = func(string) string { return "" } }, liveset.NoCredential, "credential", "nothing was sent", "large cut none"},
		{"large", func(_ *house, d *draft) {
			d.text = func(s string) string { return s + "." + strings.Repeat("A", 9000) }
		}, liveset.TooLarge, "form", "at most 8192", "nothing cut"},
		{"cut", func(_ *house, d *draft) { d.text = func(s string) string { return s[:len(s)-30] + "!" } }, liveset.Malformed, "form", "is not a character of base64url", "nothing large"},
		{"none", func(h *house, d *draft) { d.header = `{"alg":"none","kid":"current","typ":"at+jwt"}` }, liveset.AlgorithmRefused, "form", "none of ES256", "crit type foreign lost retired unknown mismatch"},
		{"crit", func(h *house, d *draft) {
			d.header = `{"alg":"` + string(h.alg) + `","kid":"current","typ":"at+jwt","crit":["exp"]}`
		}, liveset.Malformed, "form", "crit is refused", "none type foreign lost retired unknown mismatch"},
		{"no kid", func(h *house, d *draft) { d.header = `{"alg":"` + string(h.alg) + `","typ":"at+jwt"}` }, liveset.Malformed, "form", "no kid", "none crit type foreign lost retired unknown mismatch"},
		{"type", func(_ *house, d *draft) { d.typ = "JWT" }, liveset.WrongType, "type", `typ "JWT"`, "none crit mismatch"},
		{"unloaded", func(_ *house, d *draft) { d.unloaded = true }, liveset.StateUnknown, "state", "does not know", ""},
		{"unknown", func(_ *house, d *draft) { d.kid, d.signer = "elsewhere", "elsewhere" }, liveset.UnknownKey, "key", "kid elsewhere is no key of this server", "retired next lost mismatch foreign"},
		{"next", func(_ *house, d *draft) { d.kid, d.signer = "next", "next" }, liveset.UnknownKey, "key", "kid next is next", "retired unknown lost mismatch foreign"},
		{"lost", func(_ *house, d *draft) { d.kid, d.signer = "lost", "lost" }, liveset.UnknownKey, "key", "its secret is not in the keyring", "retired unknown next mismatch foreign"},
		{"retired", func(_ *house, d *draft) { d.kid, d.signer = "retired", "retired" }, liveset.RetiredKey, "key", "kid retired is retired", "unknown next lost mismatch foreign"},
		{"claims", func(_ *house, d *draft) { d.payload = `{"exp":"soon"}` }, liveset.BadClaims, "claims", "claim exp", ""},
	}
}

// signatures are the faults of a signature: it is checked of what is here.
func signatures() []fault {
	return []fault{
		{"mismatch", func(h *house, d *draft) {
			other := map[jws.Algorithm]string{jws.ES256: "HS256", jws.EdDSA: "ES256", jws.HS256: "EdDSA"}[h.alg]
			d.header = fmt.Sprintf(`{"alg":%q,"kid":"current","typ":%q}`, other, d.typ)
		}, liveset.AlgorithmRefused, "signature", "the key is for", "none crit type unknown next lost retired"},
		{"foreign", func(_ *house, d *draft) { d.signer = "elsewhere" }, liveset.BadSignature, "signature", "does not match", "unknown next lost retired none crit"},
	}
}

func tokenFaults() []fault {
	gone := fault{"gone", func(_ *house, d *draft) { d.gone = true }, liveset.UnknownToken, "live set", string(tokenID) + `" has no record`, ""}
	return slices.Concat(before(), []fault{gone}, signatures(), []fault{
		{"deleted", func(_ *house, d *draft) { d.token.DeletedAt = start() }, liveset.Deleted, "live set", "of batch is deleted", ""},
		{"revoked", func(_ *house, d *draft) { d.generation = 2 }, liveset.Revoked, "live set", "of batch is revoked", ""},
		{"expired", func(_ *house, d *draft) {
			d.token.ExpiresAt = start()
			d.claims.Expires = jws.At(start())
		}, liveset.Expired, "live set", "of batch is expired", ""},
		{"replaced", func(_ *house, d *draft) {
			d.token.ExpiresAt, d.claims.Expires = start().Add(time.Hour), jws.At(start().Add(time.Hour))
			d.token.ReplacedBy, d.token.EndsAt = "tok_00000000000000000000000002", start()
		}, liveset.Replaced, "live set", "of batch is replaced since 2026-11-23T14:08:02Z, by tok_00000000", "expired"},
		{"record", func(_ *house, d *draft) { d.claims.Role = "admin" }, liveset.Mismatch, "record", `role "admin"`, ""},
		{"issuer", func(_ *house, d *draft) { d.claims.Issuer = "https://evil.example" }, liveset.WrongIssuer, "issuer", `iss "https://evil.example", wanted "` + issuer, ""},
		{"audience", func(_ *house, d *draft) { d.demand.Audience = []string{"https://other.example"} }, liveset.WrongAudience, "audience", `wanted one of ["https://other.example"]`, "nobody"},
		{"nobody", func(_ *house, d *draft) { d.demand.Audience = []string{} }, liveset.WrongAudience, "audience", `wanted one of []`, "audience"},
		{"early", func(_ *house, d *draft) { d.claims.NotBefore = jws.At(start().Add(31 * time.Second)) }, liveset.NotYetValid, "time", "nbf 2026-11-23T14:08:33Z", ""},
		{"address", func(_ *house, d *draft) { d.demand.From = addr("192.0.2.7") }, liveset.AddressNotAllowed, "address", "192.0.2.7, allowed [10.0.0.0/8]", ""},
		{"role", func(_ *house, d *draft) { d.demand.Role = authority.RoleAdmin }, liveset.RoleInsufficient, "role", "user, wanted admin", ""},
		{"client", func(_ *house, d *draft) { d.demand.ClientID = "other" }, liveset.ClientIDNotAllowed, "client", "batch, wanted other", ""},
		{"tags", func(_ *house, d *draft) { d.demand.Tags = []string{"env:prod", "team:b"} }, liveset.TagMissing, "tags", `wanted ["env:prod" "team:b"]`, ""},
		{"trial", func(_ *house, d *draft) { d.trial = 15 * time.Minute }, liveset.TrialStopped, "trial", "kid current is not accepted until 2026-11-23T14:23:02Z", ""},
	})
}

func loginFaults() []fault {
	return slices.Concat(before(), signatures(), []fault{
		{"signed out", func(_ *house, d *draft) { d.gone = true }, liveset.SignedOut, "live set", string(loginID) + `" is no login`, ""},
		{"revoked", func(_ *house, d *draft) { d.generation = 2 }, liveset.Revoked, "live set", "the login of maria", ""},
		{"expired", func(_ *house, d *draft) {
			d.login.ExpiresAt = start()
			d.claims.Expires = jws.At(start())
		}, liveset.Expired, "live set", "ends 2026-11-23T14:08:02Z", ""},
		{"idle", func(_ *house, d *draft) { d.idle = idle + 1 }, liveset.Idle, "live set", "last used 2026-11-23T13:08:01Z", ""},
		{"record", func(_ *house, d *draft) { d.claims.Subject = "eva" }, liveset.Mismatch, "record", `sub "eva"`, ""},
		{"issuer", func(_ *house, d *draft) { d.claims.Issuer = "https://evil.example" }, liveset.WrongIssuer, "issuer", `wanted "` + issuer, ""},
		{"audience", func(_ *house, d *draft) { d.claims.Audience = []string{audience} }, liveset.WrongAudience, "audience", `wanted one of ["` + issuer, ""},
		{"early", func(_ *house, d *draft) { d.claims.NotBefore = jws.At(start().Add(31 * time.Second)) }, liveset.NotYetValid, "time", "nbf 2026", ""},
		{"client", func(_ *house, d *draft) { d.demand.ClientID = "eva" }, liveset.ClientIDNotAllowed, "client", "maria, wanted eva", ""},
	})
}

// ask lets the house meet the draft and answers verdict and findings.
func ask(t *testing.T, alg jws.Algorithm, login bool, faults ...fault) (*house, string, liveset.Demand) {
	t.Helper()
	h := empty(t, alg)
	d := draft{kid: "current", signer: "current", typ: authority.TypeToken, token: theToken(), login: theLogin(), generation: 1, text: func(s string) string { return s }}
	d.token.AllowedAddresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	d.claims, d.demand = claimsOf(d.token), liveset.Demand{Purpose: liveset.ForToken, From: addr("10.2.0.14"), ClientID: "batch", Tags: []string{"team:a"}}
	if login {
		d.typ, d.claims, d.demand = authority.TypeLogin, loginClaims(d.login), liveset.Demand{Purpose: liveset.ForLogin}
	}
	for _, f := range faults {
		f.do(h, &d)
	}
	if !d.unloaded {
		h.advance(-d.idle)
		token, session := &d.token, &d.login
		if d.gone {
			token, session = nil, nil
		}
		snapshot := h.snapshot(token, session, d.generation)
		if d.trial != 0 {
			snapshot.Keys = append(snapshot.Keys, keyChange(authority.Key{ID: "current", Algorithm: string(alg), State: authority.KeyPrevious, TrialUntil: start().Add(d.trial)}))
		}
		h.Load(snapshot)
		h.advance(d.idle)
	}
	payload := d.payload
	if payload == "" {
		payload = string(d.claims.Marshal())
	}
	raw, err := jws.Sign(h.keys[d.signer], jws.Header{Alg: alg, Kid: string(d.kid), Typ: d.typ}, []byte(payload))
	must(t, err)
	if d.header != "" {
		_, rest, _ := strings.Cut(raw, ".")
		raw = base64.RawURLEncoding.EncodeToString([]byte(d.header)) + "." + rest
	}
	return h, d.text(raw), d.demand
}

func wantCause(t *testing.T, found []liveset.Finding, f fault) {
	t.Helper()
	last := found[len(found)-1]
	if last.Check != "verdict" || last.Compared != f.want.String() || last.OK || last.Advice == "" {
		t.Errorf("the last finding is %+v", last)
	}
	for _, one := range found {
		if one.OK {
			if one.Advice != "" {
				t.Errorf("advice without a fault: %+v", one)
			}
			continue
		}
		if one.Check != f.check || one.Advice != last.Advice || !strings.Contains(one.Compared, f.say) {
			t.Errorf("the cause is %s and %q, found %+v", f.check, f.say, one)
		}
		return
	}
}

func TestEveryRefusalHasItsReasonAndItsCause(t *testing.T) {
	seen := map[liveset.Reason]bool{liveset.Allowed: true}
	for _, alg := range algorithms() {
		for kind, faults := range map[string][]fault{"token": tokenFaults(), "login": loginFaults()} {
			for _, f := range faults {
				t.Run(string(alg)+"/"+kind+"/"+f.name, func(t *testing.T) {
					h, raw, d := ask(t, alg, kind == "login", f)
					wantCause(t, h.Explain(raw, d), f)
					if len(h.Refusals()) != 0 {
						t.Errorf("explaining counts %v", h.Refusals())
					}
					v := h.Decide(raw, d)
					wantReason(t, v, f.want)
					wantCause(t, h.ExplainRefusal(v.Refused(raw, &d, h.now())), f)
					if got := h.Refusals(); len(got) != 1 || got[f.want.String()] != 1 {
						t.Errorf("the refusals are %v", got)
					}
					if !h.LastUse(tokenID).At.IsZero() {
						t.Error("a refused use is counted")
					}
					seen[f.want] = true
					h, raw, d = ask(t, alg, kind == "login", f)
					d.RequestID = "req_1" // whoever keeps refusals is told what was read
					v = h.Decide(raw, d)
					wantCause(t, h.ExplainRefusal(v.Refused(raw, &d, h.now())), f)
				})
			}
		}
	}
	for _, r := range []liveset.Reason{
		liveset.Allowed, liveset.NoCredential, liveset.Malformed, liveset.TooLarge, liveset.AlgorithmRefused, liveset.UnknownKey, liveset.RetiredKey, liveset.WrongType, liveset.BadSignature, liveset.BadClaims,
		liveset.Expired, liveset.NotYetValid, liveset.WrongIssuer, liveset.WrongAudience, liveset.UnknownToken, liveset.Deleted, liveset.Revoked, liveset.Replaced, liveset.Mismatch, liveset.SignedOut, liveset.Idle,
		liveset.AddressNotAllowed, liveset.RoleInsufficient, liveset.TagMissing, liveset.ClientIDNotAllowed, liveset.TrialStopped, liveset.StateUnknown,
	} {
		if !seen[r] {
			t.Errorf("nothing is refused as %s", r)
		}
	}
}

// Of any two faults the one that stands first is the reason, and the cause that
// is named.
func TestChecksAreMadeInOrder(t *testing.T) {
	for _, alg := range algorithms() {
		for kind, faults := range map[string][]fault{"token": tokenFaults(), "login": loginFaults()} {
			for i, first := range faults {
				for _, second := range faults[i+1:] {
					if strings.Contains(first.without, second.name) || strings.Contains(second.without, first.name) {
						continue
					}
					t.Run(string(alg)+"/"+kind+"/"+first.name+" and "+second.name, func(t *testing.T) {
						h, raw, d := ask(t, alg, kind == "login", second, first)
						wantReason(t, h.Decide(raw, d), first.want)
						wantCause(t, h.Explain(raw, d), first)
					})
				}
			}
		}
	}
}

func TestAGoodTokenIsAllowedAndSaysWhoItSpeaksFor(t *testing.T) {
	for _, alg := range algorithms() {
		for _, login := range []bool{false, true} {
			h, raw, d := ask(t, alg, login)
			for _, f := range h.Explain(raw, d) {
				if !f.OK || f.Advice != "" || f.Compared == "" {
					t.Errorf("%s: %+v", alg, f)
				}
			}
			if !h.LastUse(tokenID).At.IsZero() {
				t.Error("explaining is a use")
			}
			v := h.Decide(raw, d)
			wantReason(t, v, liveset.Allowed)
			i, c := v.Identity, v.Identity.Caller(authority.Origin{From: "10.2.0.14", RequestID: "r1"})
			if login {
				if i.ID != string(loginID) || !i.Login || i.ClientID != "maria" || i.Role != authority.RoleAdmin || c.LoginID() != loginID || c.Actor().Kind != "admin" || i.KeyID != "current" {
					t.Errorf("%+v, %+v", i, c)
				}
				continue
			}
			if i.ID != string(tokenID) || i.Login || i.ClientID != "batch" || i.Role != authority.RoleUser || len(i.Tags) != 2 || c.TokenID() != tokenID || c.Role() != authority.RoleUser || i.KeyID != "current" {
				t.Errorf("%+v, %+v", i, c)
			}
			if use := h.LastUse(tokenID); !use.At.Equal(start()) || use.From != "10.2.0.14" || use.Key != "current" {
				t.Errorf("%s: used %+v", alg, use)
			}
		}
	}
	// Nobody but Decide makes an identity that counts.
	if c := (liveset.Identity{ID: string(tokenID), ClientID: "batch", Role: authority.RoleAdmin}).Caller(authority.Origin{}); c.Role() != "" || c.Actor().Kind != "anonymous" {
		t.Errorf("an identity made by hand is the caller %+v", c)
	}
}

// The whole address is held against what is allowed, however it is shown.
func TestTheAddressOfARefusalIsShownAsThePropertySays(t *testing.T) {
	h := empty(t, jws.HS256)
	token := theToken()
	token.AllowedAddresses = []netip.Prefix{netip.MustParsePrefix("10.2.0.14/32")}
	h.Load(h.snapshot(&token, nil, 1))
	raw := h.text(t, token)
	for from, good := range map[string]bool{"10.2.0.14": true, "10.2.0.15": false} {
		d := liveset.Demand{From: addr(from), Role: authority.RoleAdmin}
		v := h.Decide(raw, d)
		refusal := v.Refused(raw, &d, h.now())
		for masked, want := range map[bool]string{false: from + ", allowed [10.2.0.14/32]", true: "10.2.0.0/24, allowed [10.2.0.14/32]"} {
			h.masked.Store(masked)
			found := h.ExplainRefusal(refusal)
			at := slices.IndexFunc(found, func(f liveset.Finding) bool { return f.Check == "address" })
			if at < 0 || found[at].OK != good || found[at].Compared != want {
				t.Errorf("from %s, masked %v: %+v", from, masked, found)
			}
		}
	}
}

// Of a refusal that anybody can bring about little is kept, and nothing is said to
// be wrong with what is not.
func TestNothingIsWrongWithWhatIsNotKept(t *testing.T) {
	for name, c := range map[string]struct {
		login  bool
		change func(*liveset.Demand)
		want   liveset.Reason
	}{
		"token, too many":     {false, func(d *liveset.Demand) { d.Admit = func(id string) bool { return id == "" } }, liveset.TooMany},
		"source, too many":    {false, func(d *liveset.Demand) { d.Admit = func(string) bool { return false } }, liveset.TooMany},
		"a token for a login": {false, func(d *liveset.Demand) { d.Purpose = liveset.ForLogin }, liveset.WrongType},
		"a login for a token": {true, func(d *liveset.Demand) { d.Purpose, d.ClientID, d.Tags = liveset.ForToken, "", nil }, liveset.WrongType},
	} {
		h, raw, d := ask(t, jws.ES256, c.login)
		c.change(&d)
		v := h.Decide(raw, d)
		wantReason(t, v, c.want)
		for i, f := range h.ExplainRefusal(v.Refused(raw, &d, h.now())) {
			if f.OK == (f.Check == "verdict" || f.Check == "type" && c.want == liveset.WrongType || i == 0 && f.Check == "limit") {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}
