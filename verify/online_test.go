package verify_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/internal/jws"
	"mintmark/verify"

	"github.com/google/go-cmp/cmp"
)

func TestAnActiveTokenSpeaksForItsClientOnline(t *testing.T) {
	h := newHouse(t)
	h.answer = func(w http.ResponseWriter, r *http.Request) {
		asked := []string{r.Method, r.URL.String(), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.FormValue("token"), r.FormValue("token_type_hint"), r.URL.RawQuery}
		want := []string{"POST", inspect, "application/x-www-form-urlencoded", "Bearer " + own, "a+&=token%", "access_token", ""}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		h.good(w, r)
	}
	want := verify.Identity{
		TokenID: "tok_00000000000000000000000001", ClientID: "batch", Role: "user", Tags: []string{"team:data", "env:prod"}, Issuer: issuer, Audience: []string{audience},
		IssuedAt: start().Add(-time.Hour), ExpiresAt: start().Add(90 * 24 * time.Hour),
	}
	for _, remember := range []time.Duration{0, time.Minute} {
		got, err := h.online(t, remember).Verify(t.Context(), "a+&=token%")
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
	}
}

// answers are what an authority may say, and what that is.
func answers() map[string]struct {
	status int
	body   string
	want   error
} {
	good := active(goodClaims())
	with := func(old, changed string) string { return strings.Replace(good, old, changed, 1) }
	c := goodClaims()
	c.Audience = []string{"https://api.example.org"}
	foreign := active(c)
	c.Audience = []string{"https://api.example.org", audience}
	both := active(c)
	return map[string]struct {
		status int
		body   string
		want   error
	}{
		"active": {200, good, nil}, "one of two audiences": {200, both, nil}, "with white space": {200, " " + good + "\n", nil}, "with another member": {200, with(`"active"`, `"scope":{"a":[1]},"active"`), nil},
		"inactive": {200, `{"active":false}`, verify.ErrInvalid}, "inactive with claims": {200, with("true", "false"), verify.ErrInvalid},
		"for somebody else": {200, foreign, verify.ErrInvalid}, "for nobody": {200, with(`"aud":"`+audience+`",`, ""), verify.ErrInvalid},
		"no active": {200, with(`"active":true,`, ""), verify.ErrUnknown}, "active as text": {200, with("true", `"true"`), verify.ErrUnknown}, "active as a number": {200, with("true", "1"), verify.ErrUnknown}, "null": {200, with("true", "null"), verify.ErrUnknown},
		"Active": {200, with("active", "Active"), verify.ErrUnknown}, "twice": {200, with(`"active":true`, `"active":false,"active":true`), verify.ErrUnknown}, "an array": {200, "[" + good + "]", verify.ErrUnknown},
		"cut": {200, good[:len(good)-1], verify.ErrUnknown}, "more behind it": {200, good + good, verify.ErrUnknown}, "empty": {200, "", verify.ErrUnknown}, "another document": {200, "<html>", verify.ErrUnknown}, "true": {200, "true", verify.ErrUnknown},
		"too large": {200, with(`{`, `{`+strings.Repeat(" ", 64<<10)), verify.ErrUnknown}, "no id": {200, with(`"jti"`, `"x"`), verify.ErrUnknown}, "no client": {200, with(`"client_id"`, `"x"`), verify.ErrUnknown}, "no role": {200, with(`"role"`, `"x"`), verify.ErrUnknown},
		"tags as text": {200, with(`["team:data","env:prod"]`, `"team:data"`), verify.ErrUnknown}, "exp as text": {200, with(`"exp":`, `"exp":"`), verify.ErrUnknown}, "Role": {200, with(`"active"`, `"Role":"admin","active"`), verify.ErrUnknown},
		"another status": {201, good, verify.ErrUnknown}, "no content": {204, "", verify.ErrUnknown}, "not asked well": {400, `{"active":true}`, verify.ErrUnknown}, "not known": {401, good, verify.ErrUnknown}, "not allowed": {403, good, verify.ErrUnknown},
		"away": {404, good, verify.ErrUnknown}, "too often": {429, good, verify.ErrUnknown}, "error": {500, good, verify.ErrUnknown}, "unknown": {503, good, verify.ErrUnknown}, "broken connection": {0, "", verify.ErrUnknown},
	}
}

func TestOnlyAWholeAnswerOf200IsBelievedAndOnlyAnActiveOneRemembered(t *testing.T) {
	for name, c := range answers() {
		t.Run(name, func(t *testing.T) {
			for _, remember := range []time.Duration{0, time.Minute} {
				h := newHouse(t)
				v := h.online(t, remember)
				h.answers(c.status, c.body)
				wantError(t, v, "token", c.want)
				_, err := v.Verify(t.Context(), "token")
				for _, secret := range []string{own, "token_type_hint", "Bearer"} {
					if err != nil && strings.Contains(err.Error(), secret) {
						t.Errorf("told %v", err)
					}
				}
				h.recovers()
				wantError(t, v, "token", nil)
				h.answers(200, `{"active":false}`)
				if remember == 0 {
					wantError(t, v, "token", verify.ErrInvalid)
					h.wantAsked(t, 4)
					continue
				}
				wantError(t, v, "token", nil) // the active one
				h.advance(remember)
				wantError(t, v, "token", verify.ErrInvalid)
			}
		})
	}
}

func TestAnAnswerIsRememberedFromWhenItWasAskedForUntilTheTokenEnds(t *testing.T) {
	h := newHouse(t)
	v := h.online(t, time.Minute)
	wantError(t, v, "token", nil)
	wantError(t, v, "another", nil)
	h.wantAsked(t, 2)
	h.advance(time.Minute - 1)
	wantError(t, v, "token", nil)
	h.wantAsked(t, 2)
	h.advance(1)
	h.set(func(h *house) { h.claims.Expires = jws.At(h.now().Add(30 * time.Second)) })
	wantError(t, v, "token", nil)
	h.wantAsked(t, 3)
	h.advance(29 * time.Second)
	wantError(t, v, "token", nil)
	h.wantAsked(t, 3)
	h.advance(time.Second)
	wantError(t, v, "token", nil) // asked: the authority's clock is the one that counts
	h.wantAsked(t, 4)
	h.advance(-time.Hour) // set right
	h.set(func(h *house) { h.claims = goodClaims() })
	wantError(t, v, "token", nil)
	h.wantAsked(t, 5)
}

func TestWhatIsRememberedIsForOneAudienceAndEveryDemandIsMetAnew(t *testing.T) {
	h := newHouse(t)
	own := h.online(t, time.Minute)
	c := verify.OnlineConfig{URL: inspect, Token: func() string { return "x" }, Audience: []string{"https://other.example"}, Remember: time.Minute, Client: h.client(), Now: h.now}
	other, err := verify.NewOnline(c)
	must(t, err)
	for range 2 {
		wantError(t, own, "token", nil)
		wantError(t, other, "token", verify.ErrInvalid)
	}
	c.Audience[0] = audience // changing what was handed in changes no verifier
	wantError(t, other, "token", verify.ErrInvalid)
	if _, err := verify.Check(t.Context(), own, "token", verify.Demand{Tags: []string{"env:prod"}}); err != nil {
		t.Error(err)
	}
	for _, d := range []verify.Demand{{Role: "admin"}, {Tags: []string{"env:test"}}, {ClientID: "other"}} {
		if _, err := verify.Check(t.Context(), own, "token", d); !is(err, verify.ErrForbidden) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func TestAnIdentityIsTheCallersOwn(t *testing.T) {
	h := newHouse(t)
	v := h.online(t, time.Minute)
	for range 2 {
		i, err := v.Verify(t.Context(), "token")
		must(t, err)
		if i.Tags[0] != "team:data" || i.Audience[0] != audience {
			t.Fatalf("somebody changed it: %+v", i)
		}
		i.Tags[0], i.Audience[0] = "team:root", "https://elsewhere.example"
	}
	h.wantAsked(t, 1)
}

func TestABurstOfOneTokenAsksOnce(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want error
	}{"active": {active(goodClaims()), nil}, "inactive": {`{"active":false}`, verify.ErrInvalid}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.waiting = make(chan struct{})
				h.answers(200, c.body)
				v := h.online(t, time.Minute)
				answers := make(chan error, 100)
				ctx, leave := context.WithCancel(t.Context())
				burst := func() {
					for i := range cap(answers) {
						go func() {
							ctx := ctx
							if i > 0 {
								ctx = t.Context()
							}
							_, err := v.Verify(ctx, "token")
							answers <- err
						}()
						synctest.Wait()
					}
				}
				burst()
				h.wantAsked(t, 1)
				leave() // the one who put the question
				if err := <-answers; !is(err, verify.ErrUnknown) {
					t.Errorf("who leaves is told %v", err)
				}
				close(h.waiting)
				for range cap(answers) - 1 {
					if err := <-answers; !is(err, c.want) {
						t.Errorf("told %v, want %v", err, c.want)
					}
				}
				h.wantAsked(t, 1)
			})
		})
	}
}

// An answer that is still awaited says how things were when it was asked for.
func TestNobodyWaitsForAnAnswerThatIsOlderThanMayBeRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.waiting = make(chan struct{})
		v := h.online(t, time.Second)
		answers := make(chan error, 3)
		ask := func() {
			go func() {
				_, err := v.Verify(t.Context(), "token")
				answers <- err
			}()
			synctest.Wait()
		}
		ask()
		h.advance(time.Second - 1)
		ask()
		h.wantAsked(t, 1)
		h.advance(1)
		ask()
		h.wantAsked(t, 2)
		close(h.waiting)
		for range cap(answers) {
			must(t, <-answers)
		}
	})
}

func TestASilentAuthorityEndsEveryQuestionAfterTenSeconds(t *testing.T) {
	for _, remember := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.waiting = make(chan struct{})
			v := h.online(t, remember)
			began := time.Now()
			wantError(t, v, "token", verify.ErrUnknown)
			if took := time.Since(began); took != 10*time.Second {
				t.Errorf("it took %s", took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := v.Verify(ctx, "token"); !is(err, verify.ErrUnknown) || time.Since(began) != 11*time.Second {
				t.Errorf("who waits one second is told %v after %s", err, time.Since(began))
			}
			time.Sleep(10 * time.Second) // the question it put ends by itself
		})
	}
}

func TestWhatCannotBeATokenIsNotAskedAbout(t *testing.T) {
	h := newHouse(t)
	v := h.online(t, time.Minute)
	wantError(t, v, "", verify.ErrInvalid)
	wantError(t, v, strings.Repeat("a", 8<<10+1), verify.ErrInvalid)
	h.wantAsked(t, 0)
	wantError(t, v, strings.Repeat("a", 8<<10), nil)
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	h := newHouse(t)
	const bound = 100
	v, err := verify.NewOnline(verify.OnlineConfig{URL: inspect, Token: func() string { return own }, Audience: []string{audience}, Remember: time.Hour, Bound: bound, Client: h.client(), Now: h.now})
	must(t, err)
	for i := range bound {
		wantError(t, v, strconv.Itoa(i), nil)
	}
	wantError(t, v, "0", nil)
	h.wantAsked(t, bound)
	wantError(t, v, "one more", nil)
	wantError(t, v, "0", nil)
	h.wantAsked(t, bound+2)
	h.answers(200, `{"active":false}`)
	for i := range 2 * bound {
		wantError(t, v, "made up "+strconv.Itoa(i), verify.ErrInvalid)
	}
	wantError(t, v, "0", nil) // what is refused takes nobody's place
	h.wantAsked(t, 3*bound+2)
}

func TestWithoutATokenOrAnAudienceNothingIsAsked(t *testing.T) {
	good := verify.OnlineConfig{URL: inspect, Token: func() string { return own }, Audience: []string{audience}}
	for name, change := range map[string]func(*verify.OnlineConfig){
		"no token": func(c *verify.OnlineConfig) { c.Token = nil }, "no audience": func(c *verify.OnlineConfig) { c.Audience = nil }, "an empty audience": func(c *verify.OnlineConfig) { c.Audience = []string{""} },
		"no URL": func(c *verify.OnlineConfig) { c.URL = "" }, "http": func(c *verify.OnlineConfig) { c.URL = "http://tokens.example/oauth2/introspect" }, "a password": func(c *verify.OnlineConfig) { c.URL = "https://u:hunter2@tokens.example/" },
	} {
		c := good
		change(&c)
		if _, err := verify.NewOnline(c); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a server answers, nobody is let in whom another reader of JSON would
// not take for active.
func FuzzAnAnswer(f *testing.F) {
	for _, c := range answers() {
		f.Add(c.body)
	}
	h := newHouse(f)
	v := h.online(f, 0)
	f.Fuzz(func(t *testing.T, body string) {
		h.answers(200, body)
		i, err := v.Verify(context.Background(), "token")
		if err != nil {
			if !is(err, verify.ErrInvalid) && !is(err, verify.ErrUnknown) {
				t.Errorf("told %v", err)
			}
			return
		}
		var other struct {
			Active   bool   `json:"active"`
			ClientID string `json:"client_id"`
			Role     string `json:"role"`
			ID       string `json:"jti"`
		}
		if err := json.Unmarshal([]byte(body), &other); err != nil || !other.Active || other.ClientID != i.ClientID || other.Role != i.Role || other.ID != i.TokenID {
			t.Errorf("%q is active here, and %+v with %v elsewhere", body, other, err)
		}
	})
}
