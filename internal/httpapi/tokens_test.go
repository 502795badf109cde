package httpapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"

	"github.com/google/go-cmp/cmp"
)

func TestATokenLivesItsWholeLifeOverTheAPI(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	made, err := c.CreateToken(ctx, api.CreateToken{
		ClientID: "  ingest ", Role: "user", Tags: []string{"team:data", "env:prod"}, Lifetime: "90d",
		Description: "nightly load", Contact: "data@example", AllowedAddresses: []string{"10.2.0.0/16", "127.0.0.1"},
	}, "")
	must(t, err)
	h.keep(made.Text.Unsafe())
	end := h.now().Truncate(time.Second).Add(90 * 24 * time.Hour)
	want := api.Token{
		ID: made.ID, ClientID: "ingest", Role: "user", Tags: []string{"team:data", "env:prod"}, Audience: []string{"https://api.example"},
		Issuer: "https://tokens.example", Description: "nightly load", Contact: "data@example", AllowedAddresses: []string{"10.2.0.0/16", "127.0.0.1/32"},
		CreatedAt: h.now().Truncate(time.Second), CreatedBy: "root-script", ExpiresAt: &end, KeyID: made.KeyID, State: "active",
	}
	if diff := cmp.Diff(want, made.Token); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	if me, err := h.client(made.Text.Unsafe()).Whoami(ctx); err != nil || me.ID != made.ID || me.Kind != api.KindToken || me.ClientID != "ingest" {
		t.Errorf("the new token is %+v, %v", me, err)
	}
	read, err := c.Token(ctx, made.ID)
	must(t, err)
	if read.LastUsedAt == nil || !read.LastUsedAt.Equal(h.now().Truncate(time.Second)) || read.LastUsedFrom != "127.0.0.1" {
		t.Errorf("last used %v from %q", read.LastUsedAt, read.LastUsedFrom)
	}
	again, err := c.RevealToken(ctx, made.ID)
	must(t, err)
	if again.Text.Unsafe() != made.Text.Unsafe() {
		t.Error("the text that is shown again is another")
	}
	must(t, c.DeleteToken(ctx, made.ID, false))
	must(t, c.DeleteToken(ctx, made.ID, false))
	if _, err := h.client(made.Text.Unsafe()).Whoami(ctx); refused(t, err).Status != http.StatusUnauthorized {
		t.Errorf("a deleted token: %v", err)
	}
	gone, err := c.Token(ctx, made.ID)
	must(t, err)
	until := h.now().Truncate(time.Second).Add(time.Hour)
	for state, want := range map[string]int{"": 0, "all": 0, "deleted": 1} {
		if list, err := c.Tokens(ctx, api.TokenQuery{ClientID: made.ClientID, State: state}); err != nil || list.Total != want {
			t.Errorf("state=%s shows %d deleted tokens, want %d; %v", state, list.Total, want, err)
		}
	}
	if gone.State != "deleted" || gone.DeletedBy != "root-script" || gone.DeletedAt == nil || gone.RestorableUntil == nil || !gone.RestorableUntil.Equal(until) {
		t.Errorf("deleted record %+v", gone)
	}
	if _, err := c.RevealToken(ctx, made.ID); refused(t, err).Status != http.StatusConflict {
		t.Errorf("a deleted token was shown: %v", err)
	}
	if back, err := c.RestoreToken(ctx, made.ID); err != nil || back.State != "active" {
		t.Errorf("restored %+v, %v", back, err)
	}
	must(t, c.DeleteToken(ctx, made.ID, true))
	if _, err := c.RestoreToken(ctx, made.ID); refused(t, err).Code != "token.deleted_for_good" {
		t.Errorf("a leaked token was restored: %v", err)
	}
}

func TestARecordHasExactlyItsMembers(t *testing.T) {
	h := newHouse(t)
	a := h.do(request{method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"x","role":"admin","lifetime":"never"}`})
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var made map[string]any
	must(t, json.Unmarshal(a.body, &made))
	h.keep(made["token"].(string))
	want := []string{
		"allowed_addresses", "audience", "client_id", "contact", "created_at", "created_by", "description", "expires_at", "id", "issuer", "kid",
		"last_used_at", "last_used_from", "role", "state", "tags", "token",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(made))); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if got := a.header.Get("Location"); got != "/api/v1/tokens/"+made["id"].(string) {
		t.Errorf("Location is %q", got)
	}
	if made["expires_at"] != nil || made["last_used_at"] != nil || made["last_used_from"] != "" {
		t.Errorf("times that never were: %v", made)
	}
	for _, name := range []string{"tags", "allowed_addresses", "audience"} {
		if _, ok := made[name].([]any); !ok {
			t.Errorf("%s is %v and no array", name, made[name])
		}
	}
	read := h.do(request{method: "GET", path: "/api/v1/tokens/" + made["id"].(string), token: h.admin.Text.Unsafe()})
	if strings.Contains(string(read.body), `"token"`) {
		t.Error("a record that is only read holds a token")
	}
}

func TestAListComesInPagesThatMeet(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"a1", "a2", "a3", "a4", "a5"} {
		h.issue(authority.TokenRequest{ClientID: id, Role: "user"})
	}
	var got []string
	q := api.TokenQuery{Text: "a", Limit: 2, Sort: "client_id", Descending: true}
	for {
		page, err := h.asAdmin().Tokens(t.Context(), q)
		must(t, err)
		if page.Total != 5 {
			t.Errorf("total %d", page.Total)
		}
		for _, token := range page.Items {
			got = append(got, token.ClientID)
		}
		if page.NextCursor == "" {
			break
		}
		q.Cursor = page.NextCursor
	}
	if diff := cmp.Diff([]string{"a5", "a4", "a3", "a2", "a1"}, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	q.Text = "other"
	if _, err := h.asAdmin().Tokens(t.Context(), q); refused(t, err).Fields[0].Field != "cursor" {
		t.Errorf("a cursor of another list: %v", err)
	}
	empty := h.do(request{method: "GET", path: "/api/v1/tokens?q=zzz", token: h.admin.Text.Unsafe()})
	if got := strings.TrimSpace(string(empty.body)); got != `{"items":[],"next_cursor":"","total":0,"total_is_floor":false}` {
		t.Errorf("an empty list is %s", got)
	}
}

func TestAListTakesNoFilterThatItDoesNotKnow(t *testing.T) {
	h := newHouse(t)
	for query, field := range map[string]string{
		"role=root": "role", "state=lost": "state", "sort=token": "sort", "dir=up": "dir", "limit=0": "limit", "limit=501": "limit", "limit=-1": "limit",
		"limit=x": "limit", "limit=99999999999999999999": "limit", "expiring=soon": "expiring", "expiring=0d": "expiring", "expiring=-1h": "expiring", "cursor=abc": "cursor",
	} {
		a := h.do(request{method: "GET", path: "/api/v1/tokens?" + query, token: h.admin.Text.Unsafe()})
		p := h.problem(a)
		if a.status != http.StatusBadRequest || len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestEveryFaultOfANewTokenIsNamed(t *testing.T) {
	h := newHouse(t)
	for body, want := range map[string]string{
		`{}`: "client_id.empty",
		`{"client_id":"data team","role":"user"}`:                                                "client_id.characters",
		`{"client_id":"a","role":"root"}`:                                                        "role.unknown",
		`{"client_id":"a","role":"Admin"}`:                                                       "role.unknown",
		`{"client_id":"a","role":"user","tags":["x"]}`:                                           "tags.form",
		`{"client_id":"a","role":"user","lifetime":"0d"}`:                                        "lifetime.past",
		`{"client_id":"a","role":"user","lifetime":"0"}`:                                         "lifetime.past",
		`{"client_id":"a","role":"user","lifetime":"1ns"}`:                                       "lifetime.past",
		`{"client_id":"a","role":"user","lifetime":"-1d"}`:                                       "lifetime.form",
		`{"client_id":"a","role":"user","lifetime":"Never"}`:                                     "lifetime.form",
		`{"client_id":"a","role":"user","lifetime":"soon"}`:                                      "lifetime.form",
		`{"client_id":"a","role":"user","lifetime":"9999999999d"}`:                               "lifetime.form",
		`{"client_id":"a","role":"user","expires_at":"tomorrow"}`:                                "expires_at.form",
		`{"client_id":"a","role":"user","expires_at":"0001-01-01T00:00:00Z"}`:                    "expires_at.form",
		`{"client_id":"a","role":"user","expires_at":"2020-01-01T00:00:00Z"}`:                    "expires_at.past",
		`{"client_id":"a","role":"user","expires_at":"2027-01-01T00:00:00Z","lifetime":"1d"}`:    "lifetime.twice",
		`{"client_id":"a","role":"user","expires_at":"2027-01-01T00:00:00Z","lifetime":"never"}`: "lifetime.twice",
		`{"client_id":"a","role":"user","allowed_addresses":["10.0.0.0/8","10.2.0.0/40"]}`:       "allowed_addresses.form",
		`{"client_id":"a","role":"user","description":"two\nlines"}`:                             "description.characters",
		`{"client_id":"a\u001b[31m","role":"user"}`:                                              "client_id.characters",
	} {
		a := h.do(request{method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: body})
		p := h.problem(a)
		if a.status != http.StatusBadRequest || !slices.ContainsFunc(p.Errors, func(f api.FieldProblem) bool { return f.Code == want && f.Detail != "" }) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func TestMembersThatTheServerSetsCannotBeWritten(t *testing.T) {
	h := newHouse(t)
	for _, member := range []string{
		`"id":"tok_00000000000000000000000000"`, `"created_by":"x"`, `"created_at":"2020-01-01T00:00:00Z"`, `"kid":"x"`, `"state":"active"`, `"issuer":"x"`,
		`"token":"x"`, `"generation":9`, `"role":"admin"`, `"Role":"admin"`, `"CLIENT_ID":"x"`,
	} {
		a := h.do(request{method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"user",` + member + `}`})
		if a.status != http.StatusBadRequest || h.problem(a).Code != api.CodeBodyMalformed {
			t.Errorf("%s: %d %s", member, a.status, a.body)
		}
	}
}

func TestNoMemberIsNull(t *testing.T) {
	h := newHouse(t)
	for _, member := range []string{"role", "tags", "audience", "expires_at", "lifetime", "description", "contact", "allowed_addresses"} {
		body := `{"client_id":"a","role":"user","` + member + `": null }`
		if member == "role" {
			body = `{"client_id":"a","role":null}`
		}
		a := h.do(request{method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: body})
		if a.status != http.StatusBadRequest || h.problem(a).Code != api.CodeBodyMalformed || !strings.Contains(string(a.body), member) {
			t.Errorf("%s: %d %s", member, a.status, a.body)
		}
	}
	for _, member := range []string{`"tags":[null]`, `"audience":[null]`, `"allowed_addresses":[null]`} {
		a := h.do(request{method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"user",` + member + `}`})
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", member, a.status, a.body)
		}
	}
}

func TestARepeatedCreateAnswersAsTheFirstDid(t *testing.T) {
	h := newHouse(t)
	c, in := h.asAdmin(), api.CreateToken{ClientID: "once", Role: "user"}
	one, err := c.CreateToken(t.Context(), in, "key-1")
	must(t, err)
	h.keep(one.Text.Unsafe())
	h.advance(time.Minute)
	two, err := c.CreateToken(t.Context(), in, "key-1")
	must(t, err)
	if one.ID != two.ID || one.Text.Unsafe() != two.Text.Unsafe() {
		t.Errorf("%s and then %s", one.ID, two.ID)
	}
	in.Role = "admin"
	if _, err := c.CreateToken(t.Context(), in, "key-1"); refused(t, err).Code != "idempotency_key.reused" {
		t.Errorf("the key for another request: %v", err)
	}
	a := h.do(request{
		method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"user"}`,
		header: http.Header{"Idempotency-Key": {"a", "b"}},
	})
	if a.status != http.StatusBadRequest {
		t.Errorf("two keys: %d", a.status)
	}
	for name, key := range map[string]string{"empty": "", "long": strings.Repeat("k", 256), "not printable": "a\tb"} {
		a := h.ask(h.handler, request{
			method: "POST", path: "/api/v1/tokens", token: h.admin.Text.Unsafe(), body: `{"client_id":"a","role":"user"}`,
			header: http.Header{"Idempotency-Key": {key}},
		})
		if a.status != http.StatusBadRequest {
			t.Errorf("a key that is %s: %d %s", name, a.status, a.body)
		}
	}
	must(t, c.DeleteToken(t.Context(), one.ID, false))
	in.Role = "user"
	if _, err := c.CreateToken(t.Context(), in, "key-1"); refused(t, err).Code != "token.deleted" {
		t.Errorf("a repeat after the delete: %v", err)
	}
}

func TestAnIdThatCanBeNoneIsAsUnknownAsAny(t *testing.T) {
	h := newHouse(t)
	var first api.Problem
	for i, id := range []string{"tok_00000000000000000000000000", "tok_1", "x", "%2e%2e", "..%2f..", "tok_0000000000000000000000000%00", strings.Repeat("a", 500), string(h.user.ID) + "x"} {
		a := h.do(request{method: "GET", path: "/api/v1/tokens/" + id, token: h.admin.Text.Unsafe()})
		p := h.problem(a)
		p.RequestID = ""
		if i == 0 {
			first = p
		}
		if diff := cmp.Diff(first, p); diff != "" || a.status != http.StatusNotFound {
			t.Errorf("%q: %d %s", id, a.status, diff)
		}
	}
}

func TestATokenIsFoundByWhatPeopleType(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	h.issue(authority.TokenRequest{ClientID: "twin", Role: "user"})
	h.issue(authority.TokenRequest{ClientID: "twin", Role: "user"})
	for _, name := range []string{"dfsadmin", string(h.user.ID), string(h.user.ID[:12])} {
		if got, err := c.FindToken(ctx, name, false); err != nil || got.ID != string(h.user.ID) {
			t.Errorf("%q is %q, %v", name, got.ID, err)
		}
	}
	for name, code := range map[string]string{"twin": "token.ambiguous", "nobody": "token.not_found", h.user.Text.Unsafe(): "token.not_found", "": "request.invalid"} {
		if _, err := c.FindToken(ctx, name, false); refused(t, err).Code != code {
			t.Errorf("%v", err)
		}
	}
	must(t, c.DeleteToken(ctx, string(h.user.ID), false))
	if got, err := c.FindToken(ctx, "dfsadmin", true); err != nil || got.ID != string(h.user.ID) {
		t.Errorf("among the deleted: %q, %v", got.ID, err)
	}
}

func TestExplainTellsWhatWasCompared(t *testing.T) {
	h := newHouse(t)
	found, err := h.asAdmin().Explain(t.Context(), api.Explain{Token: api.NewSecret(h.user.Text.Unsafe()), Role: "admin"})
	must(t, err)
	last := found.Items[len(found.Items)-1]
	if last.Check != "verdict" || last.OK || last.Compared != "role_insufficient" || last.Advice == "" {
		t.Errorf("verdict %+v", last)
	}
	for _, in := range []api.Explain{{}, {Token: api.NewSecret("x"), Role: "root"}, {Token: api.NewSecret("x"), From: "here"}, {Token: api.NewSecret("x"), RequestID: "req_1"}} {
		if _, err := h.asAdmin().Explain(t.Context(), in); refused(t, err).Status != http.StatusBadRequest {
			t.Errorf("%+v: %v", in, err)
		}
	}
}
