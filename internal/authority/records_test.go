package authority_test

import (
	"context"
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

// meanwhile is a custody before whose next signature something happens.
type meanwhile struct {
	authority.Custody
	do func()
}

func (m *meanwhile) Mint(kid authority.KeyID, typ string, c authority.Claims) (authority.Secret, error) {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.Custody.Mint(kid, typ, c)
}

// Whoever copies, issues or signs in while everything is ended is told so, and
// gets nothing that has ended.
func TestNothingThatHasJustEndedIsHandedOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(*stage) error
		want func(*stage, *authority.Authority) (authority.Secret, error)
		kind authority.Kind
		code string
	}{
		"a new token, reset": {resetNow, issueNow, authority.Conflict, "token.revoked"},
		"a copy, reset":      {resetNow, revealNow, authority.Conflict, "token.revoked"},
		"a login, reset":     {resetNow, signInNow, authority.Unauthenticated, "login.refused"},
		"a copy, deleted": {
			func(s *stage) error { _, err := s.RevokeToken(t.Context(), operator(), s.live, true); return err },
			revealNow, authority.Conflict, "token.deleted",
		},
		"a login, new password": {
			func(s *stage) error {
				return s.ResetPassword(t.Context(), operator(), otherAdmin, secret("another long pass phrase"))
			},
			signInNow, authority.Unauthenticated, "login.refused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, true)
			custody := &meanwhile{Custody: s.ring}
			custody.do = func() {
				if err := c.end(s); err != nil {
					t.Error(err)
				}
			}
			config := s.Config
			config.Custody = custody
			a, err := authority.New(config)
			if err != nil {
				t.Fatal(err)
			}
			text, err := c.want(s, a)
			wantKind(t, err, c.kind, c.code)
			if text.Unsafe() != "" {
				t.Error("it is handed out")
			}
		})
	}
}

func resetNow(s *stage) error {
	_, err := s.ResetKeys(context.Background(), operator(), "")
	return err
}

func issueNow(_ *stage, a *authority.Authority) (authority.Secret, error) {
	issued, err := a.IssueToken(context.Background(), operator(), authority.TokenRequest{ClientID: "new", Role: "user"}, "")
	return issued.Text, err
}

func revealNow(s *stage, a *authority.Authority) (authority.Secret, error) {
	issued, err := a.RevealToken(context.Background(), operator(), s.live)
	return issued.Text, err
}

func signInNow(_ *stage, a *authority.Authority) (authority.Secret, error) {
	in, err := a.SignIn(context.Background(), nobody(), otherAdmin, secret(goodPassword))
	return in.Text, err
}

// A crash between a reset and the forgetting of the old secrets leaves them in
// the keyring, where they are of no use to anybody but a thief.
func TestSecretsThatACrashLeftAreForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := h.ring.Generate("HS256")
	if err != nil {
		t.Fatal(err)
	}
	config := h.Config
	config.Custody = keepsAll{h.ring}
	a, err := authority.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ResetKeys(t.Context(), operator(), ""); !errors.Is(err, errKeyring) {
		t.Fatalf("got %v", err)
	}
	if !h.ring.Has(old[0].ID) {
		t.Fatal("the old secret is gone already")
	}
	if err := h.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, kid := range []authority.KeyID{old[0].ID, old[1].ID, orphan} {
		if h.ring.Has(kid) {
			t.Errorf("the secret of %s is still kept", kid)
		}
	}
	if err := h.CheckCustody(t.Context(), h.ring.Has); err != nil {
		t.Error(err)
	}
}

var errKeyring = errors.New("the keyring cannot be written")

type keepsAll struct{ authority.Custody }

func (keepsAll) Keep([]authority.KeyID) error { return errKeyring }

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
