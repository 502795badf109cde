package liveset_test

import (
	"testing"
	"time"

	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

func TestAStateThatIsTooOldAllowsNothing(t *testing.T) {
	h := newHouse(t, jws.ES256)
	raw, login := h.text(t, theToken()), h.loginText(t)
	verdicts := func(token, own liveset.Reason) {
		t.Helper()
		wantReason(t, h.Decide(raw, liveset.Demand{}), token)
		wantReason(t, h.Decide(login, liveset.Demand{Purpose: liveset.ForOwnCalls}), own)
		if h.Ready() != (token == liveset.Allowed) {
			t.Errorf("ready is %t", h.Ready())
		}
	}
	verdicts(liveset.Allowed, liveset.Allowed) // nobody says how old it is
	h.GoodUntil(h.now().Add(time.Second))
	verdicts(liveset.Allowed, liveset.Allowed)
	h.advance(time.Second)
	verdicts(liveset.StateUnknown, liveset.StateUnknown)
	wantReason(t, h.Decide("nonsense", liveset.Demand{}), liveset.StateUnknown)
	wantReason(t, h.Decide("", liveset.Demand{}), liveset.NoCredential)
	if f := h.Explain(raw, liveset.Demand{}); f[0].OK || f[0].Check != "state" || f[len(f)-1].Compared != "state_unknown" {
		t.Errorf("explained as %+v", f)
	}
	h.GoodUntil(h.now().Add(time.Second))
	verdicts(liveset.Allowed, liveset.Allowed)
	h.GoodUntil(time.Time{})
	verdicts(liveset.StateUnknown, liveset.StateUnknown)
}
