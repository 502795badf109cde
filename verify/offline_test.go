package verify_test

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/internal/jws"
	"mintmark/verify"

	"github.com/google/go-cmp/cmp"
)

// is tells the errors of the package apart: want, and no other of them.
func is(err, want error) bool {
	if want == nil || err == nil {
		return err == nil && want == nil
	}
	others := slices.DeleteFunc([]error{verify.ErrMissing, verify.ErrRequest, verify.ErrInvalid, verify.ErrForbidden, verify.ErrUnknown}, func(e error) bool { return errors.Is(want, e) })
	return errors.Is(err, want) && !slices.ContainsFunc(others, func(e error) bool { return errors.Is(err, e) })
}

func TestAGoodTokenSpeaksForItsClientOffline(t *testing.T) {
	h := newHouse(t)
	v := h.offline(t)
	want := verify.Identity{
		TokenID: "tok_00000000000000000000000001", ClientID: "batch", Role: "user", Tags: []string{"team:data", "env:prod"}, Issuer: issuer, Audience: []string{audience},
		IssuedAt: start().Add(-time.Hour), ExpiresAt: start().Add(90 * 24 * time.Hour),
	}
	for _, kid := range []string{"es", "ed"} {
		got, err := v.Verify(t.Context(), h.sign(t, kid, "at+jwt", goodClaims()))
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kid, diff)
		}
	}
	forever := goodClaims()
	forever.Expires = jws.NumericDate{}
	got, err := v.Verify(t.Context(), h.sign(t, "es", "application/AT+JWT", forever))
	if err != nil || !got.ExpiresAt.IsZero() {
		t.Errorf("one that never expires: %v, %v", got.ExpiresAt, err)
	}
	h.wantAsked(t, 1)
}

func TestEveryDefectIsInvalidOffline(t *testing.T) {
	h := newHouse(t)
	v := h.offline(t)
	good := h.sign(t, "es", "at+jwt", goodClaims())
	parts := strings.Split(good, ".")
	header := func(text string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + parts[1] + "." + parts[2]
	}
	claims := func(change func(*jws.Claims)) string {
		c := goodClaims()
		change(&c)
		return h.sign(t, "es", "at+jwt", c)
	}
	payload := func(text string) string {
		raw, err := jws.Sign(h.keys["es"], jws.Header{Alg: jws.ES256, Kid: "es", Typ: "at+jwt"}, []byte(text))
		must(t, err)
		return raw
	}
	for name, raw := range map[string]string{
		"nothing": "", "a word": "x", "two parts": parts[0] + "." + parts[1], "four parts": good + ".x", "cut": good[:len(good)-1], "longer": good + "A", "large": good + strings.Repeat("A", 9000),
		"a space": good + " ", "a line break": good + "\n", "padded": good + "=", "dots": strings.Repeat(".", 100_000), "no signature": parts[0] + "." + parts[1] + ".",
		"none": header(`{"alg":"none","kid":"es","typ":"at+jwt"}`), "nOnE": header(`{"alg":"nOnE","kid":"es","typ":"at+jwt"}`), "another algorithm": header(`{"alg":"HS256","kid":"es","typ":"at+jwt"}`),
		"crit": header(`{"alg":"ES256","kid":"es","typ":"at+jwt","crit":["exp"]}`), "jwk": header(`{"alg":"ES256","kid":"es","typ":"at+jwt","jwk":{}}`), "no kid": header(`{"alg":"ES256","typ":"at+jwt"}`),
		"a kid that is a path": header(`{"alg":"ES256","kid":"../es","typ":"at+jwt"}`), "no typ": header(`{"alg":"ES256","kid":"es"}`), "kid twice": header(`{"alg":"ES256","kid":"es","kid":"es","typ":"at+jwt"}`),
		"another header": header(`{"alg":"ES256","kid":"es","typ":"at+jwt","x":1}`), "a login token": h.sign(t, "es", "login+jwt", goodClaims()), "typ JWT": h.sign(t, "es", "JWT", goodClaims()),
		"an unpublished key": h.sign(t, "hs", "at+jwt", goodClaims()), "an unknown key": sign(t, newKey(t, jws.ES256), "nobody", "at+jwt", goodClaims()), "somebody else's key": sign(t, newKey(t, jws.ES256), "es", "at+jwt", goodClaims()),
		"another issuer": claims(func(c *jws.Claims) { c.Issuer = issuer + "/" }), "no issuer": claims(func(c *jws.Claims) { c.Issuer = "" }), "another audience": claims(func(c *jws.Claims) { c.Audience = []string{"https://api.example.org"} }),
		"no audience": claims(func(c *jws.Claims) { c.Audience = nil }), "ended now": claims(func(c *jws.Claims) { c.Expires = jws.At(start()) }), "ended": claims(func(c *jws.Claims) { c.Expires = jws.At(start().Add(-time.Hour)) }),
		"not yet": claims(func(c *jws.Claims) { c.NotBefore = jws.At(start().Add(31 * time.Second)) }), "from the future": claims(func(c *jws.Claims) { c.IssuedAt = jws.At(start().Add(31 * time.Second)) }),
		"no id": claims(func(c *jws.Claims) { c.ID = "" }), "no client": claims(func(c *jws.Claims) { c.ClientID = "" }), "no role": claims(func(c *jws.Claims) { c.Role = "" }),
		"no claims": payload(`{}`), "claims that are none": payload(`[]`), "null": payload(`{"iss":null}`), "exp as text": payload(strings.Replace(string(goodClaims().Marshal()), `"exp":`, `"exp":"`, 1)),
		"exp beyond numbers": payload(`{"iss":"` + issuer + `","aud":"` + audience + `","exp":1e400}`), "iss twice": payload(`{"iss":"` + issuer + `","iss":"` + issuer + `"}`), "Iss": payload(`{"Iss":"` + issuer + `"}`),
	} {
		t.Run(name, func(t *testing.T) { wantError(t, v, raw, verify.ErrInvalid) })
	}
	wantError(t, v, good, nil)
	h.wantAsked(t, 1) // for unknown kids too
}

func TestWithoutAnIssuerOrAnAudienceNothingIsVerified(t *testing.T) {
	good := verify.OfflineConfig{Issuer: issuer, Audience: []string{audience}}
	for name, change := range map[string]func(*verify.OfflineConfig){
		"no issuer": func(c *verify.OfflineConfig) { c.Issuer = "" }, "no audience": func(c *verify.OfflineConfig) { c.Audience = nil }, "an empty audience": func(c *verify.OfflineConfig) { c.Audience = []string{audience, ""} },
		"an issuer that is no URL": func(c *verify.OfflineConfig) { c.Issuer = "tokens" }, "http": func(c *verify.OfflineConfig) { c.KeySetURL = "http://tokens.example/jwks.json" },
		"file": func(c *verify.OfflineConfig) { c.KeySetURL = "file:///etc/passwd" }, "a password": func(c *verify.OfflineConfig) { c.KeySetURL = "https://u:hunter2@tokens.example/" },
		"a query": func(c *verify.OfflineConfig) { c.KeySetURL = "https://tokens.example/?key=hunter2" }, "a fragment": func(c *verify.OfflineConfig) { c.KeySetURL = "https://tokens.example/#a" },
		"no host": func(c *verify.OfflineConfig) { c.KeySetURL = "https:///jwks.json" }, "a port alone": func(c *verify.OfflineConfig) { c.KeySetURL = "https://:443/" }, "no URL": func(c *verify.OfflineConfig) { c.KeySetURL = "http://[::1" },
		"a name like ours": func(c *verify.OfflineConfig) { c.KeySetURL = "http://localhost.evil.example/" }, "a private address": func(c *verify.OfflineConfig) { c.KeySetURL = "http://10.0.0.1/" },
	} {
		c := good
		change(&c)
		if _, err := verify.NewOffline(c); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"", "https://tokens.example/keys", "http://localhost:3000/", "http://127.0.0.2/", "http://[::1]:8080/keys", "http://[::ffff:127.0.0.1]/"} {
		c := good
		c.KeySetURL = url
		if _, err := verify.NewOffline(c); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestTheKeySetIsFoundByTheIssuer(t *testing.T) {
	h := newHouse(t)
	mux := http.NewServeMux()
	mux.Handle("GET /.well-known/jwks.json", h)
	s := httptest.NewServer(mux)
	defer s.Close()
	for _, issuer := range []string{s.URL, s.URL + "/"} {
		v, err := verify.NewOffline(verify.OfflineConfig{Issuer: issuer, Audience: []string{audience}})
		must(t, err)
		c := goodClaims()
		c.Issuer, c.Expires, c.IssuedAt = issuer, jws.NumericDate{}, jws.NumericDate{}
		wantError(t, v, h.sign(t, "es", "at+jwt", c), nil)
	}
	h.wantAsked(t, 2)
}

func TestUnknownKidsCostTheAuthorityOneRequestInTenSeconds(t *testing.T) {
	h := newHouse(t)
	v := h.offline(t)
	stranger := newKey(t, jws.ES256)
	token := sign(t, stranger, "new", "at+jwt", goodClaims())
	for i := range 1000 {
		wantError(t, v, sign(t, stranger, "kid"+strconv.Itoa(i), "at+jwt", goodClaims()), verify.ErrInvalid)
	}
	h.wantAsked(t, 1)
	h.set(func(h *house) { h.keys["new"] = stranger })
	h.advance(10*time.Second - 1)
	wantError(t, v, token, verify.ErrInvalid)
	h.wantAsked(t, 1)
	h.advance(1)
	wantError(t, v, token, nil)
	wantError(t, v, sign(t, stranger, "other", "at+jwt", goodClaims()), verify.ErrInvalid)
	h.wantAsked(t, 2)
}

func TestKeysAreAskedForAgainAfterFiveMinutes(t *testing.T) {
	h := newHouse(t)
	v := h.offline(t)
	token := h.sign(t, "es", "at+jwt", goodClaims())
	wantError(t, v, token, nil)
	h.set(func(h *house) { delete(h.keys, "es") })
	h.advance(5*time.Minute - 1)
	wantError(t, v, token, nil)
	h.wantAsked(t, 1)
	h.advance(1)
	wantError(t, v, token, verify.ErrInvalid)
	h.wantAsked(t, 2)
}

func TestOldKeysAreUsedWhileTheAuthorityIsSilentAndNoLonger(t *testing.T) {
	for name, silence := range map[string]struct {
		status int
		body   string
	}{
		"broken connection": {0, ""}, "error": {500, "{}"}, "away": {404, ""}, "empty": {200, ""}, "no set": {200, `{}`}, "another document": {200, "<html>"}, "a secret": {200, `{"keys":[{"kty":"oct","kid":"es","k":"AAAA"}]}`},
		"too large": {200, `{"keys":[` + strings.Repeat(" ", 64<<10) + `]}`}, "a kid twice": {200, `{"keys":[{"kty":"RSA","kid":"a"},{"kty":"RSA","kid":"a"}]}`}, "no content": {204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			v := h.offline(t)
			token := h.sign(t, "es", "at+jwt", goodClaims())
			h.answers(silence.status, silence.body)
			wantError(t, v, token, verify.ErrUnknown)
			wantError(t, v, token, verify.ErrUnknown)
			h.wantAsked(t, 1)
			h.recovers()
			h.advance(10 * time.Second)
			wantError(t, v, token, nil)
			h.answers(silence.status, silence.body)
			h.advance(5 * time.Minute)
			wantError(t, v, token, nil)
			wantError(t, v, token, nil)
			wantError(t, v, sign(t, newKey(t, jws.ES256), "new", "at+jwt", goodClaims()), verify.ErrUnknown) // it may be a new one
			h.wantAsked(t, 3)
			h.advance(55 * time.Minute)
			wantError(t, v, token, verify.ErrUnknown)
			wantError(t, v, token, verify.ErrUnknown) // also when nobody is asked this time
			h.wantAsked(t, 4)
			h.recovers()
			h.advance(10 * time.Second)
			wantError(t, v, token, nil)
		})
	}
}

func TestAFetchOutlivesTheCallerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.waiting = make(chan struct{})
		v := h.offline(t)
		token := h.sign(t, "es", "at+jwt", goodClaims())
		ctx, leave := context.WithCancel(t.Context())
		answers := make(chan error, 100)
		go func() {
			_, err := v.Verify(ctx, token)
			answers <- err
		}()
		synctest.Wait()
		leave()
		if err := <-answers; !is(err, verify.ErrUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves is told %v", err)
		}
		for range cap(answers) {
			go func() {
				_, err := v.Verify(t.Context(), token)
				answers <- err
			}()
		}
		synctest.Wait()
		close(h.waiting)
		for range cap(answers) {
			must(t, <-answers)
		}
		h.wantAsked(t, 1)
	})
}

func TestASilentAuthorityIsWaitedForOnceAndTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		v := h.offline(t)
		token := h.sign(t, "es", "at+jwt", goodClaims())
		took := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			wantError(t, v, token, nil)
			if got := time.Since(began); got != want {
				t.Errorf("it took %s, want %s", got, want)
			}
		}
		took(0)
		h.set(func(h *house) { h.waiting = make(chan struct{}) })
		h.advance(5 * time.Minute)
		took(10 * time.Second)
		for range 5 {
			h.advance(10 * time.Second)
			took(0) // while it is asked again
			time.Sleep(11 * time.Second)
		}
		h.wantAsked(t, 7)
		h.set(func(h *house) { h.waiting = nil })
		h.advance(10 * time.Second)
		took(0)
		synctest.Wait()
		h.advance(5*time.Minute - 1)
		took(0)
		h.wantAsked(t, 8)
	})
}

func TestNoAnswerOfTheAuthorityLeadsElsewhere(t *testing.T) {
	there, reached := elsewhere(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			asked := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				to := there.String()
				if asked%2 == 0 {
					to = "/again" // not even at the same server
				}
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			}))
			defer s.Close()
			follows := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
			h := newHouse(t)
			token := h.sign(t, "es", "at+jwt", goodClaims())
			for range 2 {
				offline, err := verify.NewOffline(verify.OfflineConfig{Issuer: issuer, Audience: []string{audience}, KeySetURL: s.URL + "/keys", Client: follows})
				must(t, err)
				wantError(t, offline, token, verify.ErrUnknown)
			}
			for range 2 {
				online, err := verify.NewOnline(verify.OnlineConfig{URL: s.URL + "/introspect", Token: func() string { return own }, Audience: []string{audience}, Client: follows})
				must(t, err)
				wantError(t, online, token, verify.ErrUnknown)
			}
			if asked != 4 || reached.Load() != 0 {
				t.Errorf("asked %d times, and another server %d times", asked, reached.Load())
			}
		})
	}
}

func TestAnAnswerThatUnpacksIntoMuchIsNotUnpacked(t *testing.T) {
	sent := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		for range 1 << 10 {
			n, err := io.WriteString(z, strings.Repeat(" ", 1<<20))
			sent += n
			if err != nil {
				return
			}
		}
	}))
	defer s.Close()
	v, err := verify.NewOffline(verify.OfflineConfig{Issuer: issuer, Audience: []string{audience}, KeySetURL: s.URL})
	must(t, err)
	h := newHouse(t)
	wantError(t, v, h.sign(t, "es", "at+jwt", goodClaims()), verify.ErrUnknown)
	s.CloseClientConnections()
	s.Close()
	if sent > 1<<29 {
		t.Errorf("%d bytes were taken", sent)
	}
}

func TestKeysMayChangeWhileTokensAreVerified(t *testing.T) {
	h := newHouse(t)
	v := h.offline(t)
	token := h.sign(t, "es", "at+jwt", goodClaims())
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 50 {
				wantError(t, v, token, nil)
				kid := fmt.Sprintf("k%d-%d", n, i)
				h.set(func(h *house) { h.keys[kid] = h.keys["ed"] })
				h.advance(7 * time.Second)
			}
		})
	}
	all.Wait()
	h.advance(10 * time.Second)
	wantError(t, v, h.sign(t, "k3-49", "at+jwt", goodClaims()), nil)
}
