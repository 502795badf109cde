package liveset_test

import (
	"errors"
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

// recalled hands over uses as a store would.
func recalled(uses ...authority.KeyUse) func([]authority.KeyID, func(authority.TokenID, authority.KeyUse)) error {
	return func(_ []authority.KeyID, each func(authority.TokenID, authority.KeyUse)) error {
		for _, u := range uses {
			each(tokenID, u)
		}
		return nil
	}
}

// rotatedAway is a house whose key "previous" was rotated away an hour ago.
func rotatedAway(t *testing.T) *house {
	t.Helper()
	h := newHouse(t, jws.HS256)
	h.Apply(authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{
		keyChange(authority.Key{ID: "retired", State: authority.KeyRetired, CurrentSince: start().Add(-200 * time.Hour)}),
		keyChange(authority.Key{ID: "previous", State: authority.KeyPrevious, CurrentSince: start().Add(-100 * time.Hour)}),
		keyChange(authority.Key{ID: "current", State: authority.KeyCurrent, CurrentSince: start().Add(-time.Hour)}),
	}})
	return h
}

func TestUsesOfAnEarlierProcessAreRecalled(t *testing.T) {
	t.Parallel()
	h := rotatedAway(t)
	before := []authority.KeyUse{
		{Key: "previous", First: start().Add(-50 * time.Hour), Last: start().Add(-30 * time.Minute), From: "10.0.0.1"},
		{Key: "current", First: start().Add(-40 * time.Minute), Last: start().Add(-20 * time.Minute), From: "2001:db8::1"},
	}
	var asked []authority.KeyID
	must(t, h.Recall(start().Add(-90*24*time.Hour), func(keys []authority.KeyID, each func(authority.TokenID, authority.KeyUse)) error {
		asked = keys
		each("tok_gone", before[0])
		each(tokenID, authority.KeyUse{Key: "unknown", First: start(), Last: start()})
		return recalled(before...)(keys, each)
	}))
	if d := cmp.Diff([]authority.KeyID{"previous", "current"}, asked); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	if d := cmp.Diff(before, h.KeyUses(tokenID)); d != "" {
		t.Errorf("uses (-want +got):\n%s", d)
	}
	if d := cmp.Diff(authority.Use{At: before[1].Last, From: "2001:db8::1", Key: "current"}, h.LastUse(tokenID)); d != "" {
		t.Errorf("last use (-want +got):\n%s", d)
	}
	if !h.Since().Equal(start().Add(-90 * 24 * time.Hour)) {
		t.Errorf("since %v", h.Since())
	}
	// What comes now goes on from there.
	if v := h.Decide(h.text(t, theToken()), liveset.Demand{From: addr("10.0.0.9")}); !v.Allow() {
		t.Fatal(v.Reason)
	}
	before[1].Last, before[1].From = start(), "10.0.0.9"
	if d := cmp.Diff(before, h.KeyUses(tokenID)); d != "" {
		t.Errorf("uses after another (-want +got):\n%s", d)
	}
}

func TestOfTwoProcessesTheEarlierFirstAndTheLaterLastUseCount(t *testing.T) {
	t.Parallel()
	h := rotatedAway(t)
	if v := h.Decide(h.text(t, theToken()), liveset.Demand{From: addr("10.0.0.9")}); !v.Allow() {
		t.Fatal(v.Reason)
	}
	must(t, h.Recall(start().Add(-time.Hour), recalled(authority.KeyUse{Key: "current", First: start().Add(-40 * time.Minute), Last: start().Add(-20 * time.Minute), From: "10.0.0.1"})))
	want := []authority.KeyUse{{Key: "current", First: start().Add(-40 * time.Minute), Last: start(), From: "10.0.0.9"}}
	if d := cmp.Diff(want, h.KeyUses(tokenID)); d != "" {
		t.Errorf("uses (-want +got):\n%s", d)
	}
}

func TestALaterUseElsewhereIsTheLastOne(t *testing.T) {
	t.Parallel()
	h := rotatedAway(t)
	if v := h.Decide(h.text(t, theToken()), liveset.Demand{From: addr("10.0.0.9")}); !v.Allow() {
		t.Fatal(v.Reason)
	}
	elsewhere := authority.KeyUse{Key: "current", First: start().Add(10 * time.Second), Last: start().Add(20 * time.Second), From: "10.0.0.1"}
	for range 2 {
		must(t, h.Recall(start(), recalled(elsewhere)))
		want := []authority.KeyUse{{Key: "current", First: start(), Last: elsewhere.Last, From: "10.0.0.1"}}
		if d := cmp.Diff(want, h.KeyUses(tokenID)); d != "" {
			t.Errorf("uses (-want +got):\n%s", d)
		}
	}
	h.advance(30 * time.Second)
	if v := h.Decide(h.text(t, theToken()), liveset.Demand{From: addr("10.0.0.9")}); !v.Allow() {
		t.Fatal(v.Reason)
	}
	must(t, h.Recall(start(), recalled(elsewhere)))
	want := []authority.KeyUse{{Key: "current", First: start(), Last: h.now(), From: "10.0.0.9"}}
	if d := cmp.Diff(want, h.KeyUses(tokenID)); d != "" {
		t.Errorf("uses after another here (-want +got):\n%s", d)
	}
}

func TestAUseUnderTheNewKeyTakesThePlaceOfTheKeyBeforeLast(t *testing.T) {
	t.Parallel()
	h := rotatedAway(t)
	if v := h.Decide(h.text(t, theToken()), liveset.Demand{From: addr("10.0.0.9")}); !v.Allow() {
		t.Fatal(v.Reason)
	}
	for i, kid := range []authority.KeyID{"next", "later"} { // the second has the place of "current"
		h.Apply(authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{
			keyChange(authority.Key{ID: "current", State: authority.KeyPrevious, CurrentSince: start().Add(-time.Hour)}),
			keyChange(authority.Key{ID: kid, State: authority.KeyCurrent, CurrentSince: start().Add(time.Duration(i+1) * time.Hour)}),
		}})
	}
	elsewhere := authority.KeyUse{Key: "later", First: start().Add(3 * time.Hour), Last: start().Add(4 * time.Hour), From: "10.0.0.1"}
	must(t, h.Recall(start(), recalled(elsewhere)))
	if d := cmp.Diff([]authority.KeyUse{elsewhere}, h.KeyUses(tokenID)); d != "" {
		t.Errorf("uses (-want +got):\n%s", d)
	}
}

func TestUsesAreRecalledWhileVerdictsAreGiven(t *testing.T) {
	t.Parallel()
	h := rotatedAway(t)
	text := h.text(t, theToken())
	elsewhere := authority.KeyUse{Key: "current", First: start().Add(-time.Minute), Last: start().Add(-time.Second), From: "10.0.0.1"}
	var deciding sync.WaitGroup
	for n := range 4 {
		from := addr(fmt.Sprintf("10.0.1.%d", n))
		deciding.Go(func() {
			for range 2000 {
				if v := h.Decide(text, liveset.Demand{From: from}); !v.Allow() {
					t.Error(v.Reason)
					return
				}
			}
		})
	}
	for range 500 {
		must(t, h.Recall(start(), recalled(elsewhere)))
	}
	deciding.Wait()
	must(t, h.Recall(start(), recalled(elsewhere)))
	uses := h.KeyUses(tokenID)
	if len(uses) != 1 || !uses[0].First.Equal(elsewhere.First) || !uses[0].Last.Equal(start()) || !strings.HasPrefix(uses[0].From, "10.0.1.") {
		t.Errorf("uses %+v", uses)
	}
}

func TestARecallThatFailsLeavesTheTimeFromWhichUsesAreKnown(t *testing.T) {
	t.Parallel()
	h := rotatedAway(t)
	was, broken := h.Since(), errors.New("disk")
	err := h.Recall(start().Add(-time.Hour), func([]authority.KeyID, func(authority.TokenID, authority.KeyUse)) error { return broken })
	if !errors.Is(err, broken) || !h.Since().Equal(was) {
		t.Errorf("%v, since %v", err, h.Since())
	}
}
