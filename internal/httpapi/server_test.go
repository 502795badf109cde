package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mintmark/api"
)

func TestTheKeySetIsPublishedAndKept(t *testing.T) {
	h := newHouse(t)
	const path = "/.well-known/jwks.json"
	a := h.do(request{method: "GET", path: path})
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/jwk-set+json" || a.header.Get("Cache-Control") != "public, max-age=300" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	must(t, json.Unmarshal(a.body, &set))
	if len(set.Keys) != 2 {
		t.Errorf("%d keys, want the current and the next", len(set.Keys))
	}
	for _, k := range set.Keys {
		if k["d"] != "" || k["k"] != "" || k["kid"] == "" {
			t.Errorf("key %v", k)
		}
	}
	tag := a.header.Get("ETag")
	for value, status := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, `"x"`: 200, "": 200} {
		got := h.do(request{method: "GET", path: path, header: http.Header{"If-None-Match": {value}}})
		if got.status != status || got.header.Get("ETag") != tag {
			t.Errorf("If-None-Match %q: %d", value, got.status)
		}
	}
	for name, header := range map[string]http.Header{
		"a part":                {"Range": {"bytes=0-3"}},
		"no part":               {"Range": {"bytes=999999-"}},
		"a part if it is":       {"Range": {"bytes=0-3"}, "If-Range": {tag}},
		"only if it is another": {"If-Match": {`"x"`}},
	} {
		if got := h.do(request{method: "GET", path: path, header: header}); got.status != http.StatusOK || string(got.body) != string(a.body) {
			t.Errorf("%s: %d with %d bytes", name, got.status, len(got.body))
		}
	}
	if _, err := h.asAdmin().ResetKeys(t.Context(), api.ResetKeys{}); err != nil {
		t.Fatal(err)
	}
	if got := h.do(request{method: "GET", path: path, header: http.Header{"If-None-Match": {tag}}}); got.status != http.StatusOK {
		t.Errorf("after a reset: %d", got.status)
	}
}

func TestTheMetadataNamesWhatThereIs(t *testing.T) {
	h := newHouse(t)
	at := func(path string) answer { return h.do(request{method: "GET", path: path}) }
	want := func(issuer string) string {
		return `{"issuer":"` + issuer + `","jwks_uri":"https://tokens.example/a/b/.well-known/jwks.json",` +
			`"introspection_endpoint":"https://tokens.example/a/b/oauth2/introspect","introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","Bearer"],` +
			`"revocation_endpoint":"https://tokens.example/a/b/oauth2/revoke","revocation_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],` +
			`"response_types_supported":[],"grant_types_supported":[]}`
	}
	a := at(metadataPath)
	plain := strings.ReplaceAll(want("https://tokens.example"), "/a/b/", "/")
	if got := string(a.body); a.status != http.StatusOK || got != plain || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%d %v %s", a.status, a.header, got)
	}
	if again := h.do(request{method: "GET", path: metadataPath, header: http.Header{"If-None-Match": {a.header.Get("ETag")}}}); again.status != http.StatusNotModified {
		t.Errorf("what is current is sent again: %d", again.status)
	}
	for _, path := range []string{"/", "/a", "/a/b"} {
		if a := at(metadataPath + path); a.status != http.StatusNotFound || h.problem(a).Code != api.CodePathUnknown {
			t.Errorf("an issuer that has no path, with %s: %d %s", path, a.status, a.body)
		}
	}
	for _, issuer := range []string{"https://tokens.example/a/b", "https://tokens.example/a/b/"} {
		h.issuer = issuer
		for _, path := range []string{"", "/a/b"} { // a proxy that takes the path away asks for the first
			if a := at(metadataPath + path); a.status != http.StatusOK || string(a.body) != want(issuer) {
				t.Errorf("%s at %s: %d %s", issuer, path, a.status, a.body)
			}
		}
		for _, path := range []string{"/", "/a", "/a/b/c", "/A/b", "/a%2Fb/x"} {
			if a := at(metadataPath + path); a.status != http.StatusNotFound {
				t.Errorf("%s at %s: %d", issuer, path, a.status)
			}
		}
	}
}

func TestProbesTellStrangersNoMore(t *testing.T) {
	h := newHouse(t)
	for path, body := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"status":"ready"}`} {
		if a := h.do(request{method: "GET", path: path}); a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != body {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	h.ready.Store(false)
	a := h.do(request{method: "GET", path: "/readyz"})
	if a.status != http.StatusServiceUnavailable || h.problem(a).Code != api.CodeNotReady || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if strings.Contains(string(a.body), "srv") {
		t.Errorf("a path is told: %s", a.body)
	}
	if a := h.do(request{method: "GET", path: "/healthz"}); a.status != http.StatusOK {
		t.Errorf("alive: %d", a.status)
	}
}

func TestAResetEndsEveryTokenAndLogin(t *testing.T) {
	h := newHouse(t)
	login := h.signIn()
	done, err := h.asAdmin().ResetKeys(t.Context(), api.ResetKeys{Reason: "drill"})
	must(t, err)
	if done.TokensRevoked != 3 || done.LoginsEnded != 1 || done.Generation != 2 || done.Current.State != "current" {
		t.Errorf("%+v", done)
	}
	for _, token := range []string{h.admin.Text.Unsafe(), h.user.Text.Unsafe(), login.Token.Unsafe()} {
		if _, err := h.client(token).Whoami(t.Context()); refused(t, err).Code != api.CodeTokenInvalid {
			t.Errorf("after the reset: %v", err)
		}
	}
}

func TestKeysAreListedWithoutTheirSecrets(t *testing.T) {
	h := newHouse(t)
	a := h.do(request{method: "GET", path: "/api/v1/keys", token: h.admin.Text.Unsafe()})
	var list struct {
		Items []map[string]any `json:"items"`
	}
	must(t, json.Unmarshal(a.body, &list))
	if len(list.Items) != 2 {
		t.Fatalf("%s", a.body)
	}
	for _, k := range list.Items {
		for _, name := range []string{"kid", "name", "alg", "state", "created_at", "until", "current_since", "retired_at"} {
			if _, ok := k[name]; !ok {
				t.Errorf("%s is missing in %v", name, k)
			}
		}
		if len(k) != 8 {
			t.Errorf("members %v", k)
		}
	}
}

func TestEveryListHasACursorAlsoWhereOnePageIsAll(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/api/v1/tokens", "/api/v1/keys", "/api/v1/admins", "/api/v1/audit"} {
		a := h.do(request{method: "GET", path: path, token: h.admin.Text.Unsafe()})
		var page map[string]any
		must(t, json.Unmarshal(a.body, &page))
		if page["next_cursor"] != "" || page["items"] == nil {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

func TestTheAuditLogIsReadPageByPage(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	var seen []uint64
	byNumber := false
	q := api.EventQuery{Limit: 2}
	for {
		page, err := c.Audit(ctx, q)
		must(t, err)
		for _, e := range page.Items {
			seen = append(seen, e.Seq)
			if e.Action == "" || e.Hash == "" || e.Detail == nil {
				t.Errorf("event %+v", e)
			}
		}
		if page.NextCursor == "" {
			if page.NextBefore != 0 {
				t.Errorf("the last page has no cursor, and next_before %d", page.NextBefore)
			}
			break
		}
		if page.NextCursor != strconv.FormatUint(page.NextBefore, 10) {
			t.Errorf("next_cursor %q and next_before %d are two places", page.NextCursor, page.NextBefore)
		}
		if byNumber = !byNumber; byNumber {
			q.Before, q.Cursor = page.NextBefore, ""
		} else {
			q.Before, q.Cursor = 0, page.NextCursor
		}
	}
	for i, seq := range seen {
		if want := uint64(len(seen) - i); seq != want {
			t.Errorf("place %d holds %d, want %d", i, seq, want)
		}
	}
	page, err := c.Audit(ctx, api.EventQuery{Action: "token.", Target: "dfsadmin", Since: h.now().Add(-time.Second), Until: h.now().Add(time.Second)})
	must(t, err)
	if len(page.Items) != 1 || page.Items[0].Label != "dfsadmin" {
		t.Errorf("filtered %+v", page.Items)
	}
	for _, query := range []string{"before=x", "before=-1", "cursor=x", "cursor=3&before=3", "limit=0", "limit=501", "since=now", "until=2026-11-23", "outcome=maybe"} {
		if a := h.do(request{method: "GET", path: "/api/v1/audit?" + query, token: h.admin.Text.Unsafe()}); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, a.status)
		}
	}
}

func TestTheStatusTellsHowTheServerStands(t *testing.T) {
	h := newHouse(t)
	s, err := h.asAdmin().Status(t.Context())
	must(t, err)
	if s.Version != "1.0.0" || s.PID != 4242 || s.Store.Kind != "memory" || s.Tokens.Active != 3 || s.CurrentKey.State != "current" || s.KeyDue == nil || len(s.Checks) == 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsOnTrialIsKeptExtendedOrGoesBack(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	onTrial := func(revision uint64, pause string) {
		t.Helper()
		_, err := c.SetProperty(ctx, "login.pause", pause)
		must(t, err)
		applied, err := c.ConfigApplyAs(ctx, api.Apply{Trial: "10m"})
		must(t, err)
		conf, err := c.Config(ctx)
		must(t, err)
		status, err := c.Status(ctx)
		must(t, err)
		for _, got := range []*api.Trial{applied.Trial, conf.Staging.Trial, status.Staging.Trial} {
			if got == nil || got.Revision != revision || got.BackTo != revision-1 || len(got.Properties) != 1 || got.Until.IsZero() || got.By == "" {
				t.Errorf("trial %+v", got)
			}
		}
	}
	onTrial(2, "1h")
	longer, err := c.ConfigExtend(ctx, api.ExtendTrial{Revision: 2, By: "1h"})
	must(t, err)
	if longer.Trial == nil || longer.Trial.Revision != 2 {
		t.Errorf("extended %+v", longer)
	}
	kept, err := c.ConfigConfirm(ctx, 2)
	must(t, err)
	if kept.Revision != 2 || kept.Trial != nil {
		t.Errorf("kept %+v", kept)
	}
	onTrial(3, "2h")
	if _, err := c.ConfigConfirm(ctx, 2); refused(t, err).Code != "config.revision" {
		t.Errorf("the wrong trial is kept: %v", err)
	}
	back, err := c.ConfigRevert(ctx, 3)
	must(t, err)
	if back.Revision != 4 || back.Trial != nil || len(back.Differences) != 1 || back.Differences[0].After != "1h" {
		t.Errorf("reverted %+v", back)
	}
	for what, err := range map[string]error{
		"confirm": only(c.ConfigConfirm(ctx, 0)), "revert": only(c.ConfigRevert(ctx, 0)), "extend": only(c.ConfigExtend(ctx, api.ExtendTrial{})),
	} {
		if got := refused(t, err); got.Code != "config.no_trial" || got.Status != http.StatusConflict {
			t.Errorf("%s without a trial: %v", what, err)
		}
	}
	for length, code := range map[string]string{"soon": "form", "48h": "length", "0s": "length"} {
		for what, err := range map[string]error{
			"trial apply":    only(c.ConfigApplyAs(ctx, api.Apply{Trial: length})),
			"trial rollback": only(c.ConfigRollbackAs(ctx, api.Rollback{Trial: length})),
			"by extend":      only(c.ConfigExtend(ctx, api.ExtendTrial{By: length})),
		} {
			field, _, _ := strings.Cut(what, " ")
			want := "trial." + code
			if code == "form" {
				want = field + "." + code
			}
			if got := refused(t, err); got.Code != "request.invalid" || len(got.Fields) != 1 || got.Fields[0].Field != field || got.Fields[0].Code != want {
				t.Errorf("%s of %s: %+v", what, length, got)
			}
		}
	}
}

func only[T any](_ T, err error) error { return err }

func TestPropertiesAreStagedComparedAndApplied(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	staged, err := c.SetProperty(ctx, "tokens.lifetime.default", "30d")
	must(t, err)
	if staged.Difference.After != "30d" || staged.Staging.Count != 1 {
		t.Errorf("staged %+v", staged)
	}
	view, err := c.Config(ctx)
	must(t, err)
	for _, p := range view.Properties {
		if p.Name == "tokens.lifetime.default" && (p.Staged == nil || *p.Staged != "30d" || p.Running == "30d") {
			t.Errorf("property %+v", p)
		}
	}
	diff, err := c.ConfigDiff(ctx)
	must(t, err)
	if len(diff.Items) != 1 {
		t.Errorf("difference %+v", diff)
	}
	if _, err := c.ConfigApply(ctx, 77); refused(t, err).Status != http.StatusConflict {
		t.Errorf("applied on another revision: %v", err)
	}
	applied, err := c.ConfigApply(ctx, 1)
	must(t, err)
	if applied.Revision != 2 || len(applied.Differences) != 1 || applied.Carried != nil || applied.RestartNeeded == nil {
		t.Errorf("applied %+v", applied)
	}
	back, err := c.ConfigRollback(ctx, 0)
	must(t, err)
	if back.Revision != 3 || len(back.Differences) != 1 {
		t.Errorf("rolled back %+v", back)
	}
	dropped, err := c.ConfigDiscard(ctx)
	must(t, err)
	if dropped.Discarded != 0 {
		t.Errorf("discarded %+v", dropped)
	}
	if _, err := c.UnsetProperty(ctx, "tokens.lifetime.default"); err != nil {
		t.Errorf("unset: %v", err)
	}
	if _, err := c.SetProperty(ctx, "tokens.lifetimes", "1d"); err == nil || refused(t, err).Status >= 500 {
		t.Errorf("an unknown property: %v", err)
	}
	if _, err := c.SetProperty(ctx, "tokens.lifetime.default", "soon"); refused(t, err).Status != http.StatusBadRequest {
		t.Errorf("a value that is none: %v", err)
	}
}
