package liveset_test

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

func TestASetThatIsNotLoadedAllowsNothing(t *testing.T) {
	h := empty(t, jws.ES256)
	if h.Ready() {
		t.Error("it is ready")
	}
	wantReason(t, h.Decide(h.text(t, theToken()), liveset.Demand{}), liveset.StateUnknown)
	token := theToken()
	h.Load(h.snapshot(&token, nil, 1))
	if !h.Ready() {
		t.Error("it is not ready")
	}
	wantReason(t, h.Decide(h.text(t, theToken()), liveset.Demand{}), liveset.Allowed)
	if _, err := liveset.New(liveset.Config{}); err == nil {
		t.Error("a set is made of nothing")
	}
}

func TestTokensAndLoginsAreNotInterchangeable(t *testing.T) {
	for _, alg := range algorithms() {
		h := newHouse(t, alg)
		token, login := h.text(t, theToken()), h.loginText(t)
		// The same claims under the other typ, in every spelling of it.
		asLogin, asToken := h.sign(t, "current", authority.TypeLogin, claimsOf(theToken())), h.sign(t, "current", authority.TypeToken, loginClaims(theLogin()))
		spelled := h.sign(t, "current", "APPLICATION/AT+JWT", claimsOf(theToken()))
		for _, c := range []struct {
			raw                       string
			forToken, forLogin, forUs liveset.Reason
		}{
			{token, liveset.Allowed, liveset.WrongType, liveset.Allowed},
			{spelled, liveset.Allowed, liveset.WrongType, liveset.Allowed},
			{login, liveset.WrongType, liveset.Allowed, liveset.Allowed},
			{asLogin, liveset.WrongType, liveset.SignedOut, liveset.SignedOut},
			{asToken, liveset.UnknownToken, liveset.WrongType, liveset.UnknownToken},
			{h.sign(t, "current", "JWT", claimsOf(theToken())), liveset.WrongType, liveset.WrongType, liveset.WrongType},
			{h.sign(t, "current", "", claimsOf(theToken())), liveset.WrongType, liveset.WrongType, liveset.WrongType},
		} {
			wantReason(t, h.Decide(c.raw, liveset.Demand{Purpose: liveset.ForToken}), c.forToken)
			wantReason(t, h.Decide(c.raw, liveset.Demand{Purpose: liveset.ForLogin}), c.forLogin)
			wantReason(t, h.Decide(c.raw, liveset.Demand{Purpose: liveset.ForOwnCalls}), c.forUs)
		}
	}
}

func TestALoginEndsWhenItIsNotUsedAndAtItsEnd(t *testing.T) {
	h := newHouse(t, jws.ES256)
	raw, demand := h.loginText(t), liveset.Demand{Purpose: liveset.ForLogin}
	h.advance(idle)
	wantReason(t, h.Decide(raw, demand), liveset.Allowed) // and its use begins the time again
	h.advance(idle)
	wantReason(t, h.Decide(raw, demand), liveset.Allowed)
	h.advance(idle + 1)
	for range 2 { // a refusal is no use
		wantReason(t, h.Decide(raw, demand), liveset.Idle)
	}
	// A changed record is the work of its administrator.
	h.Apply(authority.Change{Logins: []authority.Changed[authority.LoginID, authority.Login]{loginChange(theLogin())}})
	for h.now().Before(theLogin().ExpiresAt) {
		wantReason(t, h.Decide(raw, demand), liveset.Allowed)
		h.advance(idle / 2)
	}
	wantReason(t, h.Decide(raw, demand), liveset.Expired)
	// Somebody else's use, and a refused one, keep no login alive.
	h = newHouse(t, jws.ES256)
	h.advance(idle)
	wantReason(t, h.Decide(h.text(t, theToken()), liveset.Demand{}), liveset.Allowed)
	wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.WrongType)
	h.advance(1)
	wantReason(t, h.Decide(h.loginText(t), demand), liveset.Idle)
	h.Apply(authority.Change{Logins: []authority.Changed[authority.LoginID, authority.Login]{{Key: loginID}}})
	wantReason(t, h.Decide(h.loginText(t), demand), liveset.SignedOut)
}

func TestUseIsKeptWhileTheTokenIs(t *testing.T) {
	h := newHouse(t, jws.HS256)
	token := theToken()
	old := h.sign(t, "previous", authority.TypeToken, claimsOf(token))
	wantReason(t, h.Decide(old, liveset.Demand{From: addr("192.0.2.1")}), liveset.Allowed)
	want := authority.Use{At: start(), From: "192.0.2.1", Key: "previous"} // the key it came under, not its record's
	check := func(what string) {
		t.Helper()
		if got := h.LastUse(tokenID); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("used")
	token.Description = "changed"
	h.Apply(tokens(token))
	check("changed")
	h.Load(h.snapshot(&token, nil, 1))
	check("loaded again")
	h.advance(time.Minute)
	wantReason(t, h.Decide(h.text(t, token), liveset.Demand{}), liveset.Allowed)
	want = authority.Use{At: start().Add(time.Minute), Key: "current"}
	check("used from nowhere")
	h.Apply(authority.Change{Tokens: []authority.Changed[authority.TokenID, authority.Token]{{Key: tokenID}}})
	want = authority.Use{}
	check("removed")
	h.Apply(tokens(token))
	check("another of the same id")
	// A login's time goes on over a load, too.
	login := theLogin()
	h.Load(h.snapshot(&token, &login, 1))
	h.advance(idle + 1)
	h.Load(h.snapshot(&token, &login, 1))
	wantReason(t, h.Decide(h.loginText(t), liveset.Demand{Purpose: liveset.ForLogin}), liveset.Idle)
}

func TestAKeyVerifiesWhileItsStateSaysSo(t *testing.T) {
	for _, alg := range algorithms() {
		h := newHouse(t, alg)
		raw := h.sign(t, "previous", authority.TypeToken, claimsOf(theToken()))
		set := func(state authority.KeyState, until time.Time) {
			h.Apply(authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{keyChange(authority.Key{ID: "previous", Algorithm: string(alg), State: state, Until: until})}})
		}
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Allowed)
		set(authority.KeyPrevious, h.now().Add(1))
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Allowed)
		set(authority.KeyPrevious, h.now())
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.RetiredKey)
		set(authority.KeyCurrent, time.Time{})
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Allowed)
		set(authority.KeyNext, time.Time{})
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.UnknownKey)
		set(authority.KeyRetired, time.Time{})
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.RetiredKey)
		set(authority.KeyCurrent, time.Time{})
		h.Apply(authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{{Key: "previous"}}})
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.RetiredKey)
	}
}

// ending is a change after whose return no token may be allowed.
type ending struct {
	name   string
	change func(h *house) authority.Change
}

func endings() []ending {
	return []ending{
		{"deleted", func(*house) authority.Change {
			token := theToken()
			token.DeletedAt = start()
			return tokens(token)
		}},
		{"removed", func(*house) authority.Change {
			return authority.Change{Tokens: []authority.Changed[authority.TokenID, authority.Token]{{Key: tokenID}}}
		}},
		{"generation", func(*house) authority.Change { return authority.Change{System: &authority.System{Generation: 2}} }},
		{"key retired", func(h *house) authority.Change {
			return authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{keyChange(authority.Key{ID: "current", Algorithm: string(h.alg), State: authority.KeyRetired})}}
		}},
		{"reset", func(h *house) authority.Change {
			c := authority.Change{System: &authority.System{Generation: 2}}
			for kid := range h.keys {
				c.Keys = append(c.Keys, keyChange(authority.Key{ID: kid, Algorithm: string(h.alg), State: authority.KeyRetired}))
			}
			return c
		}},
	}
}

// Whoever asks after the change has been applied is refused, however many ask
// while it is applied.
func TestARevocationHoldsFromTheNextQuestionOn(t *testing.T) {
	for _, alg := range algorithms() {
		for _, e := range endings() {
			t.Run(string(alg)+"/"+e.name, func(t *testing.T) {
				for range 20 {
					h := newHouse(t, alg)
					raw := h.text(t, theToken())
					var applied atomic.Bool
					var allowed atomic.Int64
					asked := make(chan struct{}, 2)
					var wg sync.WaitGroup
					for range 2 {
						wg.Go(func() {
							for n := 0; ; n++ {
								after := applied.Load()
								v := h.Decide(raw, liveset.Demand{})
								if v.Allow() {
									allowed.Add(1)
								}
								if n == 0 {
									asked <- struct{}{}
								}
								runtime.Gosched() // one processor is enough for this test
								if after {
									if v.Allow() {
										t.Error("allowed after the change was applied")
									}
									return
								}
							}
						})
					}
					for range 2 {
						<-asked
					}
					h.Apply(e.change(h))
					applied.Store(true)
					wg.Wait()
					if allowed.Load() == 0 {
						t.Fatal("nothing was ever allowed")
					}
				}
			})
		}
	}
}

// A reset that makes new keys and new tokens lets no old one through in between.
func TestResetsInQuickSuccessionLetNothingThrough(t *testing.T) {
	h := newHouse(t, jws.EdDSA)
	first := h.text(t, theToken())
	h.Apply(authority.Change{System: &authority.System{Generation: 2}})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if v := h.Decide(first, liveset.Demand{}); v.Allow() {
					t.Error("a token of an earlier generation is allowed")
					return
				}
			}
		})
	}
	for generation := uint64(3); generation < 400; generation++ {
		token := theToken()
		token.ID, token.Generation = "tok_00000000000000000000000002", generation
		h.Apply(authority.Change{System: &authority.System{Generation: generation}, Tokens: tokens(token).Tokens})
		wantReason(t, h.Decide(h.text(t, token), liveset.Demand{}), liveset.Allowed)
	}
	close(stop)
	wg.Wait()
}

func TestManyAskWhileManyThingsChange(t *testing.T) {
	for _, alg := range algorithms() {
		h := newHouse(t, alg)
		raw, login, stranger := h.text(t, theToken()), h.loginText(t), h.sign(t, "elsewhere", authority.TypeToken, claimsOf(theToken()))
		var readers, writers sync.WaitGroup
		stop := make(chan struct{})
		for range 3 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if v := h.Decide(raw, liveset.Demand{From: addr("192.0.2.1")}); v.Reason != liveset.Allowed && v.Reason != liveset.Deleted {
						t.Errorf("the token: %s", v.Reason)
					}
					if v := h.Decide(login, liveset.Demand{Purpose: liveset.ForOwnCalls}); v.Reason != liveset.Allowed && v.Reason != liveset.SignedOut {
						t.Errorf("the login: %s", v.Reason)
					}
					if v := h.Decide(stranger, liveset.Demand{}); v.Reason != liveset.UnknownKey {
						t.Errorf("the stranger: %s", v.Reason)
					}
					_ = h.Explain(raw, liveset.Demand{})
					_, _, _ = h.LastUse(tokenID), h.Refusals(), h.Ready()
				}
			})
		}
		writers.Go(func() {
			for i := range 300 {
				token := theToken()
				if i%2 == 0 {
					token.DeletedAt = start()
				}
				h.Apply(tokens(token))
			}
		})
		writers.Go(func() {
			for i := range 300 {
				c := authority.Change{Logins: []authority.Changed[authority.LoginID, authority.Login]{{Key: loginID}}}
				if i%2 == 0 {
					c.Logins[0] = loginChange(theLogin())
				}
				h.Apply(c)
			}
		})
		writers.Go(func() {
			for range 30 {
				token, login := theToken(), theLogin()
				h.Load(h.snapshot(&token, &login, 1))
				h.advance(time.Millisecond)
			}
		})
		writers.Wait()
		close(stop)
		readers.Wait()
		if n := h.Refusals()[liveset.UnknownKey.String()]; n == 0 {
			t.Error("refusals are not counted")
		}
	}
}

func TestEveryReasonHasItsClass(t *testing.T) {
	for reason, want := range map[liveset.Reason]liveset.Class{
		liveset.Allowed: liveset.ClassAllow, liveset.NoCredential: liveset.ClassMissing, liveset.StateUnknown: liveset.ClassUnknown, liveset.AddressNotAllowed: liveset.ClassForbidden,
		liveset.RoleInsufficient: liveset.ClassForbidden, liveset.TagMissing: liveset.ClassForbidden, liveset.ClientIDNotAllowed: liveset.ClassForbidden, liveset.Undecided: liveset.ClassInvalid, 250: liveset.ClassInvalid,
	} {
		if got := reason.Class(); got != want {
			t.Errorf("%s: %d", reason, got)
		}
	}
	for _, reason := range []liveset.Reason{
		liveset.Malformed, liveset.TooLarge, liveset.AlgorithmRefused, liveset.UnknownKey, liveset.RetiredKey, liveset.WrongType, liveset.BadSignature, liveset.BadClaims, liveset.Expired, liveset.NotYetValid, liveset.WrongIssuer,
		liveset.WrongAudience, liveset.UnknownToken, liveset.Deleted, liveset.Revoked, liveset.Mismatch, liveset.SignedOut, liveset.Idle,
	} {
		if reason.Class() != liveset.ClassInvalid {
			t.Errorf("%s tells more than that the token is invalid", reason)
		}
	}
	if (liveset.Verdict{}).Allow() {
		t.Error("a verdict that nobody gave allows")
	}
	if (netip.Addr{}).IsValid() {
		t.Fatal("the zero address is one")
	}
}
