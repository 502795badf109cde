package authority_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// A token file that comes from another home may hold numbers that this home's
// resets have not reached.
func TestATokenOfAnotherGenerationIsRevokedWhateverTheNumber(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, generation := range []uint64{0, 2, 99} {
		foreign := authority.Token{
			ID: authority.TokenID(fmt.Sprintf("tok_%026d", generation)), ClientID: "ci", Role: authority.RoleUser, Issuer: h.policy.Issuer,
			Audience: h.policy.Audience, CreatedAt: h.now(), Generation: generation, KeyID: "k",
		}
		if err := h.store.Update(t.Context(), func(tx authority.Tx) error { return tx.Tokens().Insert(foreign) }); err != nil {
			t.Fatal(err)
		}
		view, err := h.Token(t.Context(), operator(), foreign.ID)
		if err != nil || view.State != authority.StateRevoked {
			t.Errorf("generation %d: %s, %v", generation, view.State, err)
		}
		_, err = h.RevealToken(t.Context(), operator(), foreign.ID)
		wantKind(t, err, authority.Conflict, "token.revoked")
		if view, err := h.RevokeToken(t.Context(), operator(), foreign.ID, false); err != nil || !view.RestorableUntil.IsZero() {
			t.Errorf("generation %d: restorable until %s, %v", generation, view.RestorableUntil, err)
		}
		_, err = h.RestoreToken(t.Context(), operator(), foreign.ID)
		wantKind(t, err, authority.Conflict, "token.revoked")
	}
	if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
		t.Fatal(err)
	}
	counts, err := h.TokenCounts(t.Context(), operator())
	if err != nil || counts.Active != 0 {
		t.Errorf("after a reset %d are active, %v", counts.Active, err)
	}
}

// Whoever copies, issues or signs in while the secrets are reset gets what is
// valid or is told why not; nobody gets what the reset has ended.
func TestNothingThatAResetEndedIsHandedOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.admin(t, otherAdmin)
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				issued, err := h.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "ci", Role: "user"}, "")
				if err == nil {
					_, err = h.RevealToken(t.Context(), operator(), issued.ID)
				}
				if err != nil && !errors.Is(err, authority.Conflict) {
					t.Errorf("a token: %v (%v)", err, errors.Unwrap(err))
				}
				if _, err := h.SignIn(t.Context(), nobody(), otherAdmin, secret(goodPassword)); err != nil &&
					!errors.Is(err, authority.Unauthenticated) && !errors.Is(err, authority.Throttled) {
					t.Errorf("a login: %v (%v)", err, errors.Unwrap(err))
				}
			}
		})
	}
	for range 40 {
		if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	group.Wait()
}

// Same-second ties do not save a token: no times are compared.
func TestATokenOfTheSameSecondIsEndedToo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 50 {
		issued := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
		if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
			t.Fatal(err)
		}
		if view, err := h.Token(t.Context(), operator(), issued.ID); err != nil || view.State != authority.StateRevoked {
			t.Fatalf("got %s, %v", view.State, err)
		}
	}
}

func TestARepeatAfterTheTokenEndedIsNoSecondToken(t *testing.T) {
	t.Parallel()
	r := authority.TokenRequest{ClientID: "ci", Role: "user", Lifetime: time.Hour}
	for code, end := range map[string]func(h *house, id authority.TokenID) error{
		"token.deleted": func(h *house, id authority.TokenID) error {
			_, err := h.RevokeToken(t.Context(), operator(), id, true)
			return err
		},
		"token.revoked": func(h *house, _ authority.TokenID) error {
			_, err := h.ResetKeys(t.Context(), operator(), "")
			return err
		},
		"token.expired": func(h *house, _ authority.TokenID) error { h.advance(2 * time.Hour); return nil },
	} {
		h := newHouse(t)
		first, err := h.IssueToken(t.Context(), operator(), r, "key-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := end(h, first.ID); err != nil {
			t.Fatal(err)
		}
		_, err = h.IssueToken(t.Context(), operator(), r, "key-1")
		wantKind(t, err, authority.Conflict, code)
		// Somebody else's key is another one.
		other := authority.TokenCaller("tok_x", "ci", authority.RoleAdmin, authority.Origin{})
		if issued, err := h.IssueToken(t.Context(), other, r, "key-1"); err != nil || issued.ID == first.ID {
			t.Errorf("another caller's key: %s, %v", issued.ID, err)
		}
		h.advance(25 * time.Hour)
		if err := h.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		receipts := 0
		_ = h.store.View(t.Context(), func(tx authority.Tx) error {
			for range tx.Receipts().All() {
				receipts++
			}
			return nil
		})
		if receipts != 0 {
			t.Errorf("%d receipts are kept for ever", receipts)
		}
	}
	_, err := newHouse(t).IssueToken(t.Context(), operator(), r, "key\x1b")
	wantKind(t, err, authority.Invalid, "idempotency_key.form")
}

func TestRepeatsAtTheSameTimeMakeOneToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var mu sync.Mutex
	texts := make(map[string]bool)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			issued, err := h.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "ci", Role: "user"}, "key-1")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			texts[issued.Text.Unsafe()] = true
		})
	}
	group.Wait()
	counts, err := h.TokenCounts(t.Context(), operator())
	if err != nil || counts.Active != 1 || len(texts) != 1 {
		t.Errorf("%d tokens, %d texts, %v", counts.Active, len(texts), err)
	}
}

// One second is the least, and nothing near nothing becomes "never".
func TestLifetimesAreWhatThePolicyAllows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	now := h.now().Truncate(time.Second)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		max     time.Duration
		never   bool
		request authority.TokenRequest
		code    string    // "": it is made
		end     time.Time // zero: never
	}{
		"the default":            {0, true, authority.TokenRequest{}, "", now.Add(90 * day)},
		"never":                  {0, true, authority.TokenRequest{Never: true}, "", time.Time{}},
		"never, forbidden":       {0, false, authority.TokenRequest{Never: true}, "lifetime.never", now},
		"never, capped":          {day, true, authority.TokenRequest{Never: true}, "lifetime.never", now},
		"at the cap":             {100 * day, true, authority.TokenRequest{Lifetime: 100 * day}, "", now.Add(100 * day)},
		"an end at the cap":      {100 * day, true, authority.TokenRequest{ExpiresAt: now.Add(100 * day)}, "", now.Add(100 * day)},
		"an end behind the cap":  {100 * day, true, authority.TokenRequest{ExpiresAt: now.Add(100*day + time.Second)}, "expires_at.policy", now},
		"a lifetime over it":     {100 * day, true, authority.TokenRequest{Lifetime: 100*day + time.Second}, "lifetime.policy", now},
		"over a cap of hours":    {2 * time.Hour, true, authority.TokenRequest{Lifetime: 3 * time.Hour}, "lifetime.policy", now},
		"one second":             {0, true, authority.TokenRequest{Lifetime: time.Second}, "", now.Add(time.Second)},
		"less than one":          {0, true, authority.TokenRequest{Lifetime: time.Second - 1}, "lifetime.past", now},
		"the longest there is":   {0, true, authority.TokenRequest{Lifetime: 1<<63 - 1}, "", now.Add(1<<63 - 1).Truncate(time.Second)},
		"the shortest there is":  {0, true, authority.TokenRequest{Lifetime: -1 << 63}, "lifetime.past", now},
		"now":                    {0, true, authority.TokenRequest{ExpiresAt: now}, "expires_at.past", now},
		"the year 10000":         {0, true, authority.TokenRequest{ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "expires_at.range", now},
		"the end of 9999":        {0, true, authority.TokenRequest{ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}, "", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"an end and never":       {0, true, authority.TokenRequest{ExpiresAt: now.Add(day), Never: true}, "lifetime.twice", now},
		"a lifetime and never":   {0, true, authority.TokenRequest{Lifetime: day, Never: true}, "lifetime.twice", now},
		"parts of a second drop": {0, true, authority.TokenRequest{ExpiresAt: now.Add(90*time.Second + 999*time.Millisecond)}, "", now.Add(90 * time.Second)},
	} {
		h.policy.MaxLifetime, h.policy.NeverExpire, h.policy.DefaultLifetime = c.max, c.never, 90*day
		c.request.ClientID, c.request.Role = "ci", "user"
		preview, previewErr := h.PreviewToken(operator(), c.request)
		issued, err := h.IssueToken(t.Context(), operator(), c.request, "")
		if c.code == "" {
			if err != nil || !issued.ExpiresAt.Equal(c.end) || previewErr != nil || !preview.ExpiresAt.Equal(c.end) || preview.ID != "" {
				t.Errorf("%s: ends %s, %v; tried, %s, %v", name, issued.ExpiresAt, err, preview.ExpiresAt, previewErr)
			}
			continue
		}
		for _, err := range []error{err, previewErr} {
			if !errors.Is(err, authority.Invalid) || len(classed(t, err).Fields) != 1 || classed(t, err).Fields[0].Code != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
		}
	}
	_, err := h.PreviewToken(nobody(), authority.TokenRequest{})
	wantKind(t, err, authority.Unauthenticated, "")
}

func TestCallersAreWhoTheyAre(t *testing.T) {
	t.Parallel()
	o := authority.Origin{From: "10.0.0.1", RequestID: "r"}
	for name, c := range map[string]struct {
		caller authority.Caller
		kind   string
		role   authority.Role
		from   string
		local  bool
		may    error
	}{
		"zero":   {authority.Caller{}, "", "", "", false, authority.Unauthenticated},
		"nobody": {authority.Nobody(o), "anonymous", "", "10.0.0.1", false, authority.Unauthenticated},
		"local":  {authority.LocalOperator("root@here", o), "local", authority.RoleAdmin, "local", true, nil},
		"token":  {authority.TokenCaller("tok_a", "ci", authority.RoleVerifier, o), "token", authority.RoleVerifier, "10.0.0.1", false, authority.Forbidden},
		"login":  {authority.LoginCaller("lgn_a", "maria", time.Time{}, o), "admin", authority.RoleAdmin, "10.0.0.1", false, nil},
	} {
		if a := c.caller; a.Actor().Kind != c.kind || a.Role() != c.role || a.From() != c.from || a.Local() != c.local ||
			(a.TokenID() != "") != (name == "token") || (a.LoginID() != "") != (name == "login") {
			t.Errorf("%s is %+v", name, a)
		}
		if err := authority.Permit(c.caller); !errors.Is(err, c.may) {
			t.Errorf("%s may: %v", name, err)
		}
	}
}

func TestEveryKindHasItsWordsAndIsFoundThroughWrapping(t *testing.T) {
	t.Parallel()
	words := make(map[string]bool)
	for _, k := range authority.Kinds() {
		words[k.Error()] = true
		plain := &authority.Error{Kind: k, Err: errors.New("the private cause")}
		wrapped := fmt.Errorf("doing something: %w", plain)
		if !errors.Is(wrapped, k) || authority.KindOf(wrapped) != k || plain.Error() != k.Error() {
			t.Errorf("%v is lost: %v", k, wrapped)
		}
		if authority.KindOf(fmt.Errorf("bare: %w", k)) != k {
			t.Errorf("the bare kind %v is lost", k)
		}
	}
	if len(words) != len(authority.Kinds()) {
		t.Error("two kinds share their words")
	}
	if authority.KindOf(errors.New("anything")) != authority.Internal || authority.Kind(200).Error() != authority.Internal.Error() {
		t.Error("what nobody classed is not internal")
	}
}

func TestAnAuthorityNeedsAllItsParts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for what, drop := range map[string]func(*authority.Config){
		"store": func(c *authority.Config) { c.Store = nil }, "custody": func(c *authority.Config) { c.Custody = nil },
		"passwords": func(c *authority.Config) { c.Passwords = nil }, "usage": func(c *authority.Config) { c.Usage = nil },
		"policy": func(c *authority.Config) { c.Policy = nil }, "now": func(c *authority.Config) { c.Now = nil }, "rand": func(c *authority.Config) { c.Rand = nil },
	} {
		c := h.Config
		drop(&c)
		if _, err := authority.New(c); err == nil {
			t.Errorf("it works without %s", what)
		}
	}
	if f := h.Facts(); f.Kind != "memory" || f.Persistent {
		t.Errorf("facts %+v", f)
	}
}

// An unknown name, one that can be none and a wrong password make the same
// calls of the store and the hasher: nothing is there to be measured.
func TestUnknownNamesCostTheSame(t *testing.T) {
	t.Parallel()
	costs := make(map[string][]int)
	for name, typed := range map[string]string{"known": otherAdmin, "unknown": "nobody", "none": "not a name\u00e9"} {
		s := newStage(t, true)
		for range 7 {
			b, a := s.counting(t)
			_, err := a.SignIn(t.Context(), nobody(), typed, secret("wrong password, but long"))
			if err == nil {
				t.Fatal("signed in")
			}
			costs[name] = append(costs[name], b())
		}
	}
	if fmt.Sprint(costs["known"]) != fmt.Sprint(costs["unknown"]) || fmt.Sprint(costs["known"]) != fmt.Sprint(costs["none"]) {
		t.Errorf("calls by attempt: %v", costs)
	}
}
