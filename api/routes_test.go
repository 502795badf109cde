package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mintmark/api"

	"github.com/google/go-cmp/cmp"
)

// Each method of the client asks what it says, and all of it is in the published
// description.
func TestEveryMethodAsksItsRoute(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(r.Method + " " + r.RequestURI + " " + string(body) + " " + r.Header.Get("Idempotency-Key"))
		if (r.Header.Get("Content-Type") == "application/json") != (len(body) > 0) || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%s sends %q and accepts %q", got, r.Header.Get("Content-Type"), r.Header.Get("Accept"))
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	c, ctx := client(t, server.URL), t.Context()
	at := time.Date(2026, 11, 23, 15, 8, 2, 5, time.FixedZone("", 3600))
	secret := api.NewSecret("pw")
	only := func(_ any, err error) error { return err }
	routes := published(t)
	for _, k := range []struct {
		call func() error
		want string
	}{
		{func() error { return only(c.SignIn(ctx, api.Credentials{Username: "m", Password: secret})) }, `POST /api/v1/signIn {"username":"m","password":"pw"}`},
		{func() error { return c.SignOut(ctx) }, "POST /api/v1/signOut"},
		{func() error { return only(c.Whoami(ctx)) }, "GET /api/v1/whoami"},
		{func() error { return only(c.Tokens(ctx, api.TokenQuery{})) }, "GET /api/v1/tokens"},
		{func() error {
			return only(c.Tokens(ctx, api.TokenQuery{
				Text: "q&", Role: "user", State: "deleted", Tag: "a:b", ClientID: "x", Expiring: "14d", Sort: "role", Descending: true, Limit: 5, Cursor: "cu",
			}))
		}, "GET /api/v1/tokens?client_id=x&cursor=cu&dir=desc&expiring=14d&limit=5&q=q%26&role=user&sort=role&state=deleted&tag=a%3Ab"},
		{func() error { return only(c.FindToken(ctx, "x y", true)) }, "GET /api/v1/tokens/find?deleted=true&name=x+y"},
		{func() error { return only(c.FindToken(ctx, "x", false)) }, "GET /api/v1/tokens/find?name=x"},
		{func() error { return only(c.CreateToken(ctx, api.CreateToken{ClientID: "a", Role: "user"}, "key")) }, `POST /api/v1/tokens {"client_id":"a","role":"user"} key`},
		{func() error { return only(c.PreviewToken(ctx, api.CreateToken{ClientID: "a", Role: "user"})) }, `POST /api/v1/tokens/preview {"client_id":"a","role":"user"}`},
		{func() error { return only(c.Token(ctx, "tok_1")) }, "GET /api/v1/tokens/tok_1"},
		{func() error { return c.DeleteToken(ctx, "tok_1", false) }, "DELETE /api/v1/tokens/tok_1"},
		{func() error { return c.DeleteToken(ctx, "tok_1", true) }, "DELETE /api/v1/tokens/tok_1?leaked=true"},
		{func() error { return only(c.RevealToken(ctx, "tok_1")) }, "POST /api/v1/tokens/tok_1/reveal"},
		{func() error { return only(c.RestoreToken(ctx, "tok_1")) }, "POST /api/v1/tokens/tok_1/restore"},
		{func() error { return only(c.TokenUsage(ctx, "tok_1")) }, `GET /api/v1/tokens/tok_1/usage`},
		{func() error { return only(c.UnknownUsage(ctx)) }, `GET /api/v1/usage/unknown`},
		{func() error { return only(c.ReplaceToken(ctx, "tok_1", api.ReplaceToken{Overlap: "1h"})) }, `POST /api/v1/tokens/tok_1/replace {"overlap":"1h"}`},
		{func() error { return only(c.UndoReplace(ctx, "tok_1")) }, "DELETE /api/v1/tokens/tok_1/replace"},
		{func() error { return only(c.MarkContacted(ctx, "tok_1", api.MarkContacted{Note: "by mail"})) }, `POST /api/v1/tokens/tok_1/contacted {"note":"by mail"}`},
		{func() error { return only(c.Explain(ctx, api.Explain{Token: secret})) }, `POST /api/v1/explain {"token":"pw"}`},
		{func() error { return only(c.Keys(ctx)) }, "GET /api/v1/keys"},
		{func() error { return only(c.RotateKeys(ctx, api.RotateKeys{Overlap: "14d", Reason: "scheduled"})) }, `POST /api/v1/keys/rotate {"overlap":"14d","reason":"scheduled"}`},
		{func() error { return only(c.Evidence(ctx, "key_2026a", api.EvidenceQuery{})) }, "GET /api/v1/keys/key_2026a/evidence"},
		{func() error { return only(c.Evidence(ctx, "key_2026a", api.EvidenceQuery{State: "mixed", Limit: 5})) }, "GET /api/v1/keys/key_2026a/evidence?limit=5&state=mixed"},
		{func() error { return only(c.ExtendKey(ctx, "key_2026a", api.ExtendKey{By: "7d"})) }, `POST /api/v1/keys/key_2026a/extend {"by":"7d"}`},
		{func() error { return only(c.TrialStop(ctx, "key_2026a", api.TrialStop{Duration: "1h"})) }, `POST /api/v1/keys/key_2026a/trial-stop {"duration":"1h"}`},
		{func() error { return only(c.EndTrial(ctx, "key_2026a")) }, "DELETE /api/v1/keys/key_2026a/trial-stop"},
		{func() error { return only(c.RetireKey(ctx, "key_2026a")) }, "POST /api/v1/keys/key_2026a/retire"},
		{func() error { return only(c.ResetKeys(ctx, api.ResetKeys{Reason: "drill"})) }, `POST /api/v1/keys/reset {"reason":"drill"}`},
		{func() error { return only(c.ResealKeys(ctx)) }, "POST /api/v1/keys/reseal"},
		{func() error { return only(c.Audit(ctx, api.EventQuery{})) }, "GET /api/v1/audit"},
		{func() error {
			return only(c.Audit(ctx, api.EventQuery{Before: 9, Limit: 2, Actor: "a", Target: "t", Action: "token.", Outcome: "ok", Since: at, Until: at}))
		}, "GET /api/v1/audit?action=token.&actor=a&before=9&limit=2&outcome=ok&since=2026-11-23T14%3A08%3A02.000000005Z&target=t&until=2026-11-23T14%3A08%3A02.000000005Z"},
		{func() error { return only(c.Status(ctx)) }, "GET /api/v1/status"},
		{func() error { return only(c.Admins(ctx)) }, "GET /api/v1/admins"},
		{func() error { return only(c.CreateAdmin(ctx, api.Credentials{Username: "m", Password: secret})) }, `POST /api/v1/admins {"username":"m","password":"pw"}`},
		{func() error { return c.ResetPassword(ctx, "m", api.NewPassword{Password: secret}) }, `POST /api/v1/admins/m/password {"password":"pw"}`},
		{func() error { return c.DeleteAdmin(ctx, "m") }, "DELETE /api/v1/admins/m"},
		{func() error { return c.UnlockAdmin(ctx, "m") }, "POST /api/v1/admins/m/unlock"},
		{func() error { return only(c.Config(ctx)) }, "GET /api/v1/config"},
		{func() error { return only(c.SetProperty(ctx, "a.b", "v")) }, `PUT /api/v1/config/properties/a.b {"value":"v"}`},
		{func() error { return only(c.UnsetProperty(ctx, "a.b")) }, "DELETE /api/v1/config/properties/a.b"},
		{func() error { return only(c.ConfigDiff(ctx)) }, "GET /api/v1/config/diff"},
		{func() error { return only(c.ConfigApply(ctx, 3)) }, `POST /api/v1/config/apply {"revision":3}`},
		{func() error { return only(c.ConfigApplyAs(ctx, api.Apply{Trial: "10m"})) }, `POST /api/v1/config/apply {"trial":"10m"}`},
		{func() error { return only(c.ConfigConfirm(ctx, 3)) }, `POST /api/v1/config/confirm {"revision":3}`},
		{func() error { return only(c.ConfigExtend(ctx, api.ExtendTrial{Revision: 3, By: "5m"})) }, `POST /api/v1/config/extend {"revision":3,"by":"5m"}`},
		{func() error { return only(c.ConfigRevert(ctx, 0)) }, `POST /api/v1/config/revert {}`},
		{func() error { return only(c.ConfigDiscard(ctx)) }, "POST /api/v1/config/discard"},
		{func() error { return only(c.ConfigRollback(ctx, 0)) }, `POST /api/v1/config/rollback {}`},
		{func() error { return only(c.ConfigRollbackAs(ctx, api.Rollback{Trial: "10m"})) }, `POST /api/v1/config/rollback {"trial":"10m"}`},
		{func() error { return only(c.KeySet(ctx)) }, "GET /.well-known/jwks.json"},
		{func() error { return only(c.Metadata(ctx)) }, "GET /.well-known/oauth-authorization-server"},
		{func() error { return only(c.Alive(ctx)) }, "GET /healthz"},
		{func() error { return only(c.Ready(ctx)) }, "GET /readyz"},
		{func() error { return only(c.Description(ctx)) }, "GET /openapi.json"},
	} {
		if err := k.call(); err != nil {
			t.Errorf("%s: %v", k.want, err)
		}
		if diff := cmp.Diff(k.want, got); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		method, rest, _ := strings.Cut(k.want, " ")
		path, _, _ := strings.Cut(strings.Fields(rest)[0], "?")
		if !routes.ServedAs(method, path) {
			t.Errorf("%s %s is not described", method, path)
		}
	}
	for pattern, called := range routes {
		if !called && !forOthers(pattern) {
			t.Errorf("no method of the client asks %s", pattern)
		}
	}
}

// forOthers reports whether a route is not for this client: gateways and OAuth
// libraries ask there.
func forOthers(pattern string) bool {
	_, path, _ := strings.Cut(pattern, " ")
	return slices.Contains([]string{
		"/auth/verify", "/oauth2/introspect", "/oauth2/revoke", "/k8s/tokenreview", "/.well-known/oauth-authorization-server/{issuer}",
	}, path)
}

// description is which routes are published, and whether they were asked.
type description map[string]bool

func published(t *testing.T) description {
	t.Helper()
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	routes := make(description)
	for path, methods := range document.Paths {
		for method := range methods {
			routes[strings.ToUpper(method)+" "+path] = false
		}
	}
	return routes
}

// ServedAs finds the route of a call: names stand for themselves before they
// stand for a parameter.
func (d description) ServedAs(method, path string) bool {
	mux := http.NewServeMux()
	for pattern := range d {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	r := httptest.NewRequest(method, path, nil)
	_, pattern := mux.Handler(r)
	if _, ok := d[pattern]; !ok {
		return false
	}
	d[pattern] = true
	return true
}

func TestALongNameIsNotSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
	defer server.Close()
	_, err := client(t, server.URL).FindToken(t.Context(), strings.Repeat("a", api.MaxName+1), false)
	if e := refused(t, err); e.Code != "token.not_found" || e.Status != http.StatusNotFound {
		t.Errorf("%v", err)
	}
}
