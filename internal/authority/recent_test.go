package authority_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
)

func TestRecentRequestsHaveAPlaceForEachDay(t *testing.T) {
	t.Parallel()
	h, ledger := counting(t)
	used := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	idle := h.issue(t, authority.TokenRequest{ClientID: "idle", Role: "user"})
	h.usesOf(ledger, used.ID, used.KeyID, "10.0.0.1", 5)
	h.advance(24 * time.Hour)
	h.usesOf(ledger, used.ID, used.KeyID, "10.0.0.1", 7)
	h.usesOf(ledger, used.ID, "another", "10.0.0.1", 1)
	ids := []authority.TokenID{used.ID, idle.ID}
	got, err := h.RecentRequests(t.Context(), operator(), ids)
	if err != nil {
		t.Fatal(err)
	}
	want := map[authority.TokenID]*authority.RecentRequests{idle.ID: {}, used.ID: {12: 5, 13: 8}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	h.advance(13 * 24 * time.Hour)
	if got, err = h.RecentRequests(t.Context(), operator(), ids); err != nil || *got[used.ID] != (authority.RecentRequests{0: 8}) {
		t.Errorf("13 days later: %v, %v", got[used.ID], err)
	}
	_, err = h.RecentRequests(t.Context(), nobody(), ids)
	wantKind(t, err, authority.Unauthenticated, "")
	h.Ledger = nil
	if got, err = h.RecentRequests(t.Context(), operator(), ids); err != nil || got != nil {
		t.Errorf("without counts: %v, %v", got, err)
	}
}
