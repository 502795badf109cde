package gateway_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/liveset"

	"github.com/google/go-cmp/cmp"
)

func TestAnActiveTokenIsToldWhole(t *testing.T) {
	d := newDoors(t)
	never := d.issue(authority.TokenRequest{ClientID: "forever", Role: "admin", Never: true, Audience: []string{ownAudience}})
	at := float64(d.user.CreatedAt.Unix())
	for name, c := range map[string]struct {
		token authority.Issued
		want  map[string]any
	}{
		"user": {d.user, map[string]any{
			"active": true, "client_id": "dfsadmin", "sub": "dfsadmin", "token_type": "Bearer", "iss": "https://tokens.example",
			"aud": []any{ownAudience, secondAudience}, "jti": string(d.user.ID), "iat": at, "exp": at + 90*24*3600, "role": "user", "tags": []any{"team:data", "env:prod"},
		}},
		"admin that never ends": {never, map[string]any{
			"active": true, "client_id": "forever", "sub": "forever", "token_type": "Bearer", "iss": "https://tokens.example",
			"aud": []any{ownAudience}, "jti": string(never.ID), "iat": at, "role": "admin", "tags": []any{},
		}},
	} {
		a := d.introspect(d.verifier, c.token.Text.Unsafe())
		var got map[string]any
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %v %s, %v", name, a.status, a.header, a.body, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnyTextIsToldAsItIs(t *testing.T) {
	d := newDoors(t)
	odd := []string{"urn:\"quoted\"\\\u00e4", "tab\tline\nnul\x01del\x7f", "<script>&\u2028"}
	who := liveset.Verdict{Reason: liveset.Allowed, Identity: liveset.Identity{ClientID: odd[0], Issuer: odd[1], Audience: odd, Role: "user", Tags: odd}}
	d.live = deciding{d.house.live, "x", who}
	var got struct {
		ClientID string   `json:"client_id"`
		Issuer   string   `json:"iss"`
		Audience []string `json:"aud"`
		Tags     []string `json:"tags"`
	}
	must(t, json.Unmarshal([]byte(d.introspect(d.verifier, "x").body), &got))
	if diff := cmp.Diff([]any{odd[0], odd[1], odd, odd}, []any{got.ClientID, got.Issuer, got.Audience, got.Tags}); diff != "" {
		t.Errorf("(-sent +told):\n%s", diff)
	}
}

// badTokens are texts that are no good API token for the Verifier, by what is
// wrong with them.
func (d *doors) badTokens() map[string]string {
	d.t.Helper()
	good := d.user.Text.Unsafe()
	deleted := d.issue(authority.TokenRequest{ClientID: "gone", Role: "user"})
	_, err := d.rules.RevokeToken(d.t.Context(), operator(), deleted.ID, false)
	must(d.t, err)
	leaked := d.issue(authority.TokenRequest{ClientID: "leaked", Role: "admin"})
	_, err = d.rules.RevokeToken(d.t.Context(), operator(), leaked.ID, true)
	must(d.t, err)
	short := d.issue(authority.TokenRequest{ClientID: "short", Role: "user", Lifetime: time.Second})
	d.clock.Add(int64(2 * time.Second))
	header, rest, _ := strings.Cut(good, ".")
	return map[string]string{
		"no token at all": "x", "dots": "..", "spaces": " " + good, "cut": good[:len(good)-3], "longer": good + "A",
		"without a signature": good[:strings.LastIndexByte(good, '.')+1], "another header": "e30." + rest, "twice the header": header + "." + header + "." + header,
		"large": strings.Repeat("a", 9<<10), "no text": "\xff\x00", "deleted": deleted.Text.Unsafe(), "leaked": leaked.Text.Unsafe(), "expired": short.Text.Unsafe(),
		"a login": d.login(), "a Verifier's": d.verifier.Text.Unsafe(),
		"for others":         d.issue(authority.TokenRequest{ClientID: "other", Role: "user", Audience: []string{"https://elsewhere.example"}}).Text.Unsafe(),
		"bound to addresses": d.issue(authority.TokenRequest{ClientID: "fenced", Role: "user", AllowedAddresses: []string{"192.0.2.0/24"}}).Text.Unsafe(),
	}
}

// What is not good reads the same to the last byte and field, whatever is wrong.
func TestWhateverIsNotGoodIsTheSameBytes(t *testing.T) {
	d := newDoors(t)
	bad := d.badTokens()
	unknown := told{status: http.StatusOK, body: inactive, header: d.introspect(d.verifier, "x").header}
	for name, text := range bad {
		wantSame(t, name, unknown, d.introspect(d.verifier, text))
	}
	_, err := d.rules.ResetKeys(t.Context(), operator(), "")
	must(t, err)
	asker := d.issue(authority.TokenRequest{ClientID: "gate", Role: "verifier"})
	wantSame(t, "revoked by a reset", unknown, d.introspect(asker, d.user.Text.Unsafe()))
}

func TestAVerifierIsToldOfItsOwnAudienceOnly(t *testing.T) {
	d := newDoors(t)
	token := func(role string, audience ...string) authority.Issued {
		return d.issue(authority.TokenRequest{ClientID: "of-" + role, Role: role, Audience: audience})
	}
	const elsewhere = "https://elsewhere.example"
	own, other, both := token("user", ownAudience), token("user", elsewhere), token("user", elsewhere, ownAudience)
	for name, c := range map[string]struct {
		asker            authority.Issued
		own, other, both bool
	}{
		"verifier here":           {token("verifier", ownAudience), true, false, true},
		"verifier elsewhere":      {token("verifier", elsewhere), false, true, true},
		"verifier of another":     {token("verifier", secondAudience), false, false, false},
		"admin of this authority": {token("admin", ownAudience), true, true, true},
		"admin elsewhere":         {token("admin", elsewhere), false, true, true},
	} {
		for _, q := range []struct {
			token authority.Issued
			want  bool
		}{{own, c.own}, {other, c.other}, {both, c.both}} {
			a := d.introspect(c.asker, q.token.Text.Unsafe())
			if got := strings.HasPrefix(a.body, `{"active":true`); a.status != http.StatusOK || got != q.want || !got && a.body != inactive {
				t.Errorf("%s, of %v: %d %s", name, q.token.Audience, a.status, a.body)
			}
		}
	}
	d.operator = "root@tokens-01"
	if a := d.post("/oauth2/introspect", tokenForm(other.Text.Unsafe()), http.Header{"Content-Type": {formMedia}}); !strings.HasPrefix(a.body, `{"active":true`) {
		t.Errorf("the operator is told %d %s", a.status, a.body)
	}
}

func TestOnlyVerifiersAndAdminsIntrospect(t *testing.T) {
	d := newDoors(t)
	fenced := d.issue(authority.TokenRequest{ClientID: "fenced", Role: "verifier", AllowedAddresses: []string{"10.0.0.0/8"}})
	inside := d.issue(authority.TokenRequest{ClientID: "inside", Role: "verifier", AllowedAddresses: []string{"192.0.2.0/24"}})
	if a := d.introspect(inside, "x"); !a.is(http.StatusOK, inactive) {
		t.Errorf("from an allowed address: %d %s", a.status, a.body)
	}
	for name, c := range map[string]struct {
		asker authority.Issued
		scope string
	}{"a User": {d.user, `, scope="verifier"`}, "an address that is not allowed": {fenced, ""}} {
		a := d.introspect(c.asker, d.user.Text.Unsafe())
		want := `Bearer realm="mintmark", error="insufficient_scope", error_description="the token does not allow this"` + c.scope
		if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != want || a.oauthError(t) != "insufficient_scope" {
			t.Errorf("%s: %d %q %s", name, a.status, a.header.Get("WWW-Authenticate"), a.body)
		}
		header := http.Header{"Content-Type": {formMedia}, "Authorization": {basicOf(c.asker.ClientID, c.asker.Text.Unsafe())}}
		if a := d.post("/oauth2/introspect", "token=x", header); a.status != http.StatusUnauthorized || a.oauthError(t) != "invalid_client" {
			t.Errorf("%s, as a client: %d %s", name, a.status, a.body)
		}
	}
}

func TestIntrospectingIsAUseOfBothTokens(t *testing.T) {
	d := newDoors(t)
	d.introspect(d.verifier, d.user.Text.Unsafe())
	if u := d.house.live.LastUse(d.verifier.ID); u.At.Unix() != d.now().Unix() || u.From != "192.0.2.1" {
		t.Errorf("the asker's: %+v", u)
	}
	// Where its client is, nobody here can tell.
	if u := d.house.live.LastUse(d.user.ID); u.At.Unix() != d.now().Unix() || u.From != "" || u.Key != d.user.KeyID {
		t.Errorf("the token's: %+v", u)
	}
	foreign := d.issue(authority.TokenRequest{ClientID: "other", Role: "user", Audience: []string{"https://elsewhere.example"}})
	d.introspect(d.verifier, foreign.Text.Unsafe())
	if u := d.house.live.LastUse(foreign.ID); !u.At.IsZero() {
		t.Errorf("one that is not told of: %+v", u)
	}
}

func TestARevokedTokenIsInactiveOnTheNextRequest(t *testing.T) {
	d := newDoors(t)
	for range 3 { // also when it is recognised
		if a := d.introspect(d.verifier, d.user.Text.Unsafe()); !strings.HasPrefix(a.body, `{"active":true`) {
			t.Fatalf("before: %s", a.body)
		}
	}
	_, err := d.rules.RevokeToken(t.Context(), operator(), d.user.ID, false)
	must(t, err)
	if a := d.introspect(d.verifier, d.user.Text.Unsafe()); !a.is(http.StatusOK, inactive) {
		t.Errorf("after: %d %s", a.status, a.body)
	}
	_, err = d.rules.RevokeToken(t.Context(), operator(), d.verifier.ID, false)
	must(t, err)
	if a := d.introspect(d.verifier, "x"); a.status != http.StatusUnauthorized {
		t.Errorf("a revoked asker is told %d", a.status)
	}
}

// Where no multiplexer looks at the method, the door does.
func TestTheDoorAnswersPOSTOnly(t *testing.T) {
	d := newDoors(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "post", "OPTIONS"} {
		r := httptest.NewRequest(method, "/oauth2/introspect", strings.NewReader("token=x"))
		w := httptest.NewRecorder()
		reason := gateway.Introspect{Live: d.live, Audience: audience}.Answer(w, r, edge.Inbound{RequestID: "req_1"})
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" || reason != liveset.Undecided {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}
}
