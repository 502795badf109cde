package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"

	"github.com/google/go-cmp/cmp"
)

func (h *house) signIn() api.SignedIn {
	h.t.Helper()
	in, err := h.client("").SignIn(h.t.Context(), api.Credentials{Username: adminName, Password: api.NewSecret(adminPassword)})
	must(h.t, err)
	h.keep(in.Token.Unsafe())
	return in
}

func TestASignInAnswersItsMembersToAFormAndToJSON(t *testing.T) {
	h := newHouse(t)
	form := url.Values{"username": {"Maria "}, "password": {adminPassword}}.Encode()
	body, err := json.Marshal(map[string]string{"username": adminName, "password": adminPassword})
	must(t, err)
	for _, r := range []request{
		{method: "POST", path: "/api/v1/signIn", body: form, media: "application/x-www-form-urlencoded"},
		{method: "POST", path: "/api/v1/signIn", body: string(body), media: "application/json; charset=utf-8"},
	} {
		a := h.do(r)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var got map[string]any
		must(t, json.Unmarshal(a.body, &got))
		token, _ := got["token"].(string)
		h.keep(token)
		id, _ := got["id"].(string)
		if _, err := authority.ParseLoginID(id); err != nil {
			t.Errorf("id %q: %v", id, err)
		}
		delete(got, "token")
		delete(got, "id")
		want := map[string]any{"message": "Signed in.", "role": "admin", "username": adminName, "readOnly": false, "tags": []any{}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		for _, scheme := range []string{"Bearer ", "JWT ", "bearer ", "jwt "} {
			who := h.do(request{method: "GET", path: "/api/v1/whoami", header: http.Header{"Authorization": {scheme + token}}})
			var me api.Identity
			must(t, json.Unmarshal(who.body, &me))
			if who.status != http.StatusOK || me.Kind != api.KindLogin || me.ID != id || me.ClientID != adminName || me.Role != "admin" || me.ExpiresAt == nil {
				t.Errorf("%s: %d %s", scheme, who.status, who.body)
			}
		}
	}
}

func TestFailedSignInsReadAlikeAndPause(t *testing.T) {
	h := newHouse(t)
	wrong := func(name string) *api.Error {
		_, err := h.client("").SignIn(t.Context(), api.Credentials{Username: name, Password: api.NewSecret("not the password at all")})
		return refused(t, err)
	}
	for attempt := range 6 {
		known, unknown := wrong(adminName), wrong("nobody-of-that-name")
		known.RequestID, unknown.RequestID = "", ""
		if diff := cmp.Diff(unknown, known); diff != "" {
			t.Errorf("attempt %d tells a known name from an unknown one:\n%s", attempt, diff)
		}
		if attempt < 5 && (known.Status != http.StatusUnauthorized || known.Code != "login.refused") {
			t.Errorf("attempt %d: %d %s", attempt, known.Status, known.Code)
		}
		if attempt == 5 && (known.Status != http.StatusTooManyRequests || known.Code != "login.paused" || known.RetryAfter != 5*time.Minute) {
			t.Errorf("after the last attempt: %d %s %s", known.Status, known.Code, known.RetryAfter)
		}
	}
	_, err := h.client("").SignIn(t.Context(), api.Credentials{Username: adminName, Password: api.NewSecret(adminPassword)})
	if refused(t, err).Status != http.StatusTooManyRequests {
		t.Errorf("the right password during the pause: %v", err)
	}
	must(t, h.asAdmin().UnlockAdmin(t.Context(), adminName))
	h.signIn()
}

func TestASignInNeedsBothMembersOnce(t *testing.T) {
	h := newHouse(t)
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct{ body, media string }{
		{"", ""},
		{"{}", ""},
		{`{"username":"maria"}`, ""},
		{`{"username":"maria","password":""}`, ""},
		{`{"username":"maria","password":["a"]}`, ""},
		{`{"username":"maria","password":"a","password":"b"}`, ""},
		{`{"username":"maria","password":"a","otp":"1"}`, ""},
		{"username=maria", form},
		{"username=maria&password=a&password=b", form},
		{"username=maria&password=a&otp=1", form},
		{"username=maria&password=%zz", form},
		{"username=maria;password=a", form},
	} {
		a := h.do(request{method: "POST", path: "/api/v1/signIn", body: c.body, media: c.media})
		if a.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", c.body, a.status, a.body)
		}
	}
	a := h.do(request{method: "POST", path: "/api/v1/signIn?username=maria&password=" + url.QueryEscape(adminPassword)})
	if a.status != http.StatusBadRequest {
		t.Errorf("a password in the URL: %d", a.status)
	}
}

func TestALoginEndsWithItsSignOut(t *testing.T) {
	h := newHouse(t)
	c := h.client(h.signIn().Token.Unsafe())
	must(t, c.SignOut(t.Context()))
	if _, err := c.Whoami(t.Context()); refused(t, err).Code != api.CodeTokenInvalid {
		t.Errorf("after the sign-out: %v", err)
	}
	must(t, h.asAdmin().SignOut(t.Context()))
	if _, err := h.asAdmin().Whoami(t.Context()); err != nil {
		t.Errorf("an API token ended with a sign-out: %v", err)
	}
}

func TestEveryRoleLearnsWhoItIs(t *testing.T) {
	h := newHouse(t)
	elsewhere := h.issue(authority.TokenRequest{ClientID: "other", Role: "user", Audience: []string{"https://elsewhere.example"}, Never: true})
	for _, want := range []authority.Issued{h.admin, h.user, h.verifier, elsewhere} {
		got, err := h.client(want.Text.Unsafe()).Whoami(t.Context())
		must(t, err)
		if got.ID != string(want.ID) || got.Role != string(want.Role) || got.Kind != api.KindToken || got.Tags == nil || got.Audience == nil {
			t.Errorf("%s is %+v", want.ClientID, got)
		}
		if (got.ExpiresAt == nil) != want.ExpiresAt.IsZero() {
			t.Errorf("%s ends %v", want.ClientID, got.ExpiresAt)
		}
	}
}

func TestAnAdminTokenForAnotherAudienceManagesNothing(t *testing.T) {
	h := newHouse(t)
	elsewhere := h.issue(authority.TokenRequest{ClientID: "other", Role: "admin", Audience: []string{"https://elsewhere.example"}})
	_, err := h.client(elsewhere.Text.Unsafe()).Keys(t.Context())
	if refused(t, err).Code != api.CodeTokenInvalid {
		t.Errorf("%v", err)
	}
}

func TestTheOperatorOnTheSocketNeedsNoCredential(t *testing.T) {
	h := newHouse(t)
	w := httptest.NewRecorder()
	h.socket.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/whoami", nil))
	want := `{"id":"","kind":"operator","client_id":"root@tokens-01","role":"admin","tags":[],"audience":[],"expires_at":null}`
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != want {
		t.Errorf("%d %s", w.Code, got)
	}
	w = httptest.NewRecorder()
	h.socket.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/tokens", nil))
	if w.Code != http.StatusOK {
		t.Errorf("the list: %d", w.Code)
	}
	w = httptest.NewRecorder()
	h.socket.ServeHTTP(w, httptest.NewRequest("GET", "/auth/verify", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("the door: %d", w.Code)
	}
}

func TestAStaleLoginIsAskedForThePasswordAgain(t *testing.T) {
	h := newHouse(t)
	c := h.client(h.signIn().Token.Unsafe())
	h.advance(16 * time.Minute)
	_, err := c.CreateAdmin(t.Context(), api.Credentials{Username: "second", Password: api.NewSecret("another long phrase 77")})
	if e := refused(t, err); e.Status != http.StatusForbidden || e.Code != api.CodeStepUp {
		t.Errorf("%v", err)
	}
}

func TestAdministratorsAreMadeAndTheirPasswordsReplaced(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	const phrase, fresh = "another long phrase 77", "yet another phrase 88"
	h.keep(phrase)
	h.keep(fresh)
	made, err := c.CreateAdmin(ctx, api.Credentials{Username: "Second", Password: api.NewSecret(phrase)})
	must(t, err)
	if made.Name != "second" || made.CreatedBy != "root-script" {
		t.Errorf("made %+v", made)
	}
	if _, err := c.CreateAdmin(ctx, api.Credentials{Username: "second", Password: api.NewSecret(phrase)}); refused(t, err).Code != "admin.exists" {
		t.Errorf("made twice: %v", err)
	}
	list, err := c.Admins(ctx)
	must(t, err)
	if len(list.Items) != 2 || list.Items[0].Name != adminName || list.Items[1].Name != "second" {
		t.Errorf("listed %+v", list.Items)
	}
	must(t, c.ResetPassword(ctx, "second", api.NewPassword{Password: api.NewSecret(fresh)}))
	if _, err := h.client("").SignIn(ctx, api.Credentials{Username: "second", Password: api.NewSecret(phrase)}); refused(t, err).Status != http.StatusUnauthorized {
		t.Errorf("the old password: %v", err)
	}
	in, err := h.client("").SignIn(ctx, api.Credentials{Username: "second", Password: api.NewSecret(fresh)})
	must(t, err)
	h.keep(in.Token.Unsafe())
	if err := c.ResetPassword(ctx, "third", api.NewPassword{Password: api.NewSecret(fresh)}); refused(t, err).Code != "admin.not_found" {
		t.Errorf("nobody's password: %v", err)
	}
	if err := c.ResetPassword(ctx, "second", api.NewPassword{Password: api.NewSecret("short")}); refused(t, err).Fields[0].Field != "password" {
		t.Errorf("a short password: %v", err)
	}
	must(t, c.DeleteAdmin(ctx, "Second"))
	if _, err := h.client(in.Token.Unsafe()).Whoami(ctx); refused(t, err).Status != http.StatusUnauthorized {
		t.Errorf("its sign-in works on: %v", err)
	}
	if err := c.DeleteAdmin(ctx, "second"); refused(t, err).Code != "admin.not_found" {
		t.Errorf("deleted twice: %v", err)
	}
	if err := c.DeleteAdmin(ctx, adminName); refused(t, err).Code != "admin.last" || refused(t, err).Status != http.StatusConflict {
		t.Errorf("the last administrator: %v", err)
	}
}
