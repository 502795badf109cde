package liveset_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

// keys are changes of keys in the order in which they were made current, the
// last being current.
func rotated(previous, current authority.Key) authority.Change {
	previous.State, previous.CurrentSince = authority.KeyPrevious, start().Add(-2*time.Hour)
	current.State, current.CurrentSince = authority.KeyCurrent, start().Add(-time.Hour)
	return authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{keyChange(previous), keyChange(current)}}
}

func TestATrialStopRefusesTokensUnderTheKeyAndThenTakesThemAgain(t *testing.T) {
	for _, alg := range algorithms() {
		h := newHouse(t, alg)
		token := theToken()
		old, login := h.sign(t, "previous", authority.TypeToken, claimsOf(token)), h.sign(t, "previous", authority.TypeLogin, loginClaims(theLogin()))
		h.Apply(rotated(authority.Key{ID: "previous"}, authority.Key{ID: "current"}))
		wantReason(t, h.Decide(old, liveset.Demand{}), liveset.Allowed)
		end := start().Add(15 * time.Minute)
		h.Apply(rotated(authority.Key{ID: "previous", TrialUntil: end}, authority.Key{ID: "current"}))
		used := h.LastUse(tokenID)
		h.advance(time.Minute)
		for range 2 { // recognised, too
			wantReason(t, h.Decide(old, liveset.Demand{}), liveset.TrialStopped)
		}
		if got := h.LastUse(tokenID); got != used {
			t.Errorf("a refusal is a use: %+v", got)
		}
		if n, last := h.TrialRefusals(tokenID); n != 2 || !last.Equal(h.now()) {
			t.Errorf("%d refusals, the last at %s", n, last)
		}
		// What is refused for another reason is not the trial's.
		wantReason(t, h.Decide(old, liveset.Demand{Role: authority.RoleAdmin}), liveset.RoleInsufficient)
		wantReason(t, h.Decide(h.text(t, token), liveset.Demand{}), liveset.Allowed)
		wantReason(t, h.Decide(login, liveset.Demand{Purpose: liveset.ForLogin}), liveset.Allowed)
		if n, _ := h.TrialRefusals(tokenID); n != 2 {
			t.Errorf("%d refusals", n)
		}
		h.advance(end.Sub(h.now()) - 1)
		wantReason(t, h.Decide(old, liveset.Demand{}), liveset.TrialStopped)
		h.advance(1)
		wantReason(t, h.Decide(old, liveset.Demand{}), liveset.Allowed)
		// Who was refused is known until the next trial.
		h.Apply(rotated(authority.Key{ID: "previous"}, authority.Key{ID: "current"}))
		if n, _ := h.TrialRefusals(tokenID); n != 3 {
			t.Errorf("%d refusals after the trial", n)
		}
		h.Apply(rotated(authority.Key{ID: "previous", TrialUntil: h.now().Add(time.Minute)}, authority.Key{ID: "current"}))
		if n, _ := h.TrialRefusals(tokenID); n != 0 {
			t.Errorf("%d refusals of a trial that has just begun", n)
		}
		// An end that no trial can have is the mistake of a clock.
		h.Apply(rotated(authority.Key{ID: "previous", TrialUntil: h.now().Add(25 * time.Hour)}, authority.Key{ID: "current"}))
		wantReason(t, h.Decide(old, liveset.Demand{}), liveset.Allowed)
	}
}

func TestAHeldOverlapDoesNotEndByTheClock(t *testing.T) {
	h := newHouse(t, jws.ES256)
	old := h.sign(t, "previous", authority.TypeToken, claimsOf(theToken()))
	h.Apply(rotated(authority.Key{ID: "previous", Until: h.now(), Hold: true}, authority.Key{ID: "current"}))
	wantReason(t, h.Decide(old, liveset.Demand{}), liveset.Allowed)
	h.Apply(rotated(authority.Key{ID: "previous", Until: h.now()}, authority.Key{ID: "current"}))
	wantReason(t, h.Decide(old, liveset.Demand{}), liveset.RetiredKey)
}

func TestATokenUnderARetiredKeyIsCopiedUnlessItHasEndedToo(t *testing.T) {
	h := newHouse(t, jws.ES256)
	old := h.sign(t, "retired", authority.TypeToken, claimsOf(theToken()))
	wantAdvice := func(found []liveset.Finding, want string) {
		t.Helper()
		if cause := found[len(found)-1]; !strings.Contains(cause.Advice, want) {
			t.Errorf("the advice is %q", cause.Advice)
		}
	}
	wantAdvice(h.Explain(old, liveset.Demand{}), "the token goes on. Copy it")
	d := liveset.Demand{RequestID: "req_1"}
	v := h.Decide(old, d)
	wantAdvice(h.ExplainRefusal(v.Refused(old, &d, h.now())), "Copy the token") // whose it was is not kept
	login := h.sign(t, "retired", authority.TypeLogin, loginClaims(theLogin()))
	wantAdvice(h.Explain(login, liveset.Demand{Purpose: liveset.ForLogin}), "Sign in again.")
	replaced := theToken()
	replaced.ReplacedBy, replaced.EndsAt = "tok_00000000000000000000000002", h.now()
	h.Apply(tokens(replaced))
	wantAdvice(h.Explain(old, liveset.Demand{}), "Copy the successor.")
	h.Apply(tokens(theToken()))
	h.Apply(authority.Change{System: &authority.System{Generation: 2}})
	wantAdvice(h.Explain(old, liveset.Demand{}), "The signing secret was reset. Create a new token.")
	h.advance(100 * 24 * time.Hour)
	h.Apply(authority.Change{System: &authority.System{Generation: 1}})
	wantAdvice(h.Explain(old, liveset.Demand{}), "its end has passed.")
}

func TestAReplacedTokenEndsWithItsOverlap(t *testing.T) {
	for _, alg := range algorithms() {
		h := newHouse(t, alg)
		raw, token := h.text(t, theToken()), theToken()
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Allowed)
		token.ReplacedBy, token.EndsAt = "tok_00000000000000000000000002", start().Add(time.Hour)
		h.Apply(tokens(token))
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Allowed)
		h.advance(time.Hour - 1)
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Allowed)
		h.advance(1)
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Replaced)
		h.Apply(tokens(theToken())) // undone
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Allowed)
		token.EndsAt = h.now().Add(-time.Hour)
		h.Apply(tokens(token))
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Replaced)
		token.DeletedAt = h.now()
		h.Apply(tokens(token))
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Deleted)
		// Its own end, when that comes first.
		token.DeletedAt, token.EndsAt = time.Time{}, token.ExpiresAt.Add(time.Hour)
		h.Apply(tokens(token))
		h.advance(token.ExpiresAt.Sub(h.now()))
		wantReason(t, h.Decide(raw, liveset.Demand{}), liveset.Expired)
	}
}

func TestUseIsKnownUnderEachOfTwoKeys(t *testing.T) {
	h := newHouse(t, jws.HS256)
	if got := h.Since(); !got.Equal(start()) {
		t.Errorf("counted since %s", got)
	}
	h.Apply(rotated(authority.Key{ID: "previous"}, authority.Key{ID: "current"}))
	token := theToken()
	old, fresh := h.sign(t, "previous", authority.TypeToken, claimsOf(token)), h.text(t, token)
	if got := h.KeyUses(tokenID); len(got) != 0 {
		t.Errorf("used before anybody did: %+v", got)
	}
	use := func(raw, from string) {
		t.Helper()
		h.advance(time.Minute)
		wantReason(t, h.Decide(raw, liveset.Demand{From: addr(from)}), liveset.Allowed)
	}
	at := func(minutes int) time.Time { return start().Add(time.Duration(minutes) * time.Minute) }
	want := func(what string, uses ...authority.KeyUse) {
		t.Helper()
		if d := cmp.Diff(uses, h.KeyUses(tokenID)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		if last := uses[len(uses)-1]; h.LastUse(tokenID) != (authority.Use{At: last.Last, From: last.From, Key: last.Key}) {
			t.Errorf("%s: last %+v", what, h.LastUse(tokenID))
		}
	}
	use(old, "10.2.0.14")
	use(old, "10.2.7.3")
	want("under the previous one", authority.KeyUse{Key: "previous", First: at(1), Last: at(2), From: "10.2.7.3"})
	use(fresh, "10.2.0.14")
	use(old, "10.2.0.14")
	use(fresh, "10.2.0.15")
	both := []authority.KeyUse{{Key: "previous", First: at(1), Last: at(4), From: "10.2.0.14"}, {Key: "current", First: at(3), Last: at(5), From: "10.2.0.15"}}
	want("under both", both...)
	token.Description = "changed"
	h.Apply(tokens(token))
	want("changed", both...)
	snapshot := h.snapshot(&token, nil, 1)
	snapshot.Keys = append(snapshot.Keys, rotated(authority.Key{ID: "previous"}, authority.Key{ID: "current"}).Keys...)
	h.Load(snapshot)
	want("loaded again", both...)
	// The next rotation: what was current is previous, and the third key takes the
	// place of the first.
	third := authority.Key{ID: "next", State: authority.KeyCurrent, CurrentSince: h.now()}
	second := authority.Key{ID: "current", State: authority.KeyPrevious, CurrentSince: start().Add(-time.Hour)}
	h.Apply(authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{
		keyChange(authority.Key{ID: "previous", State: authority.KeyRetired, CurrentSince: start().Add(-2 * time.Hour)}), keyChange(second), keyChange(third),
	}})
	use(h.sign(t, "next", authority.TypeToken, claimsOf(token)), "10.2.0.16")
	want("under the third", both[1], authority.KeyUse{Key: "next", First: at(6), Last: at(6), From: "10.2.0.16"})
	if got := h.KeyUses("tok_unknown"); len(got) != 0 {
		t.Errorf("an unknown token was used: %+v", got)
	}
	if e := empty(t, jws.HS256); len(e.KeyUses(tokenID)) != 0 || !e.Since().Equal(e.now()) {
		t.Error("a set that is not loaded has counted something")
	}
}

// Whoever asks while a rotation, a trial and its end are applied is never refused
// for anything but the trial.
func TestARotationRefusesNobody(t *testing.T) {
	h := newHouse(t, jws.HS256)
	token := theToken()
	old, fresh := h.sign(t, "previous", authority.TypeToken, claimsOf(token)), h.text(t, token)
	var asking, changing sync.WaitGroup
	done := make(chan struct{})
	var wrong sync.Map
	for i := range 4 {
		asking.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				raw := []string{old, fresh}[(n+i)%2]
				v := h.Decide(raw, liveset.Demand{From: addr(fmt.Sprintf("10.0.0.%d", n%200))})
				if !v.Allow() && (raw == fresh || v.Reason != liveset.TrialStopped) {
					wrong.Store(v.Reason, true)
				}
				_ = h.KeyUses(tokenID)
			}
		})
	}
	changing.Go(func() {
		for n := range 500 {
			previous := authority.Key{ID: "previous", Until: h.now().Add(time.Hour)}
			if n%2 == 0 {
				previous.TrialUntil = h.now().Add(15 * time.Minute)
			}
			h.Apply(rotated(previous, authority.Key{ID: "current"}))
			token := theToken()
			token.EndsAt, token.ReplacedBy = h.now().Add(time.Duration(1+n%3)*time.Hour), "tok_00000000000000000000000002"
			token.Description = fmt.Sprint(n)
			h.Apply(tokens(token))
			if n%5 == 0 { // undone
				h.Apply(tokens(theToken()))
			}
		}
	})
	changing.Wait()
	close(done)
	asking.Wait()
	for reason := range wrong.Range {
		t.Errorf("somebody was refused: %v", reason)
	}
}
