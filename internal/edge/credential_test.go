package edge_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"

	"github.com/google/go-cmp/cmp"
)

func TestACredentialIsReadFromOneFieldOfOneForm(t *testing.T) {
	const many, form, inURL = "There is more than one Authorization field.", "The Authorization field is: Bearer, one space, one token.", "A token does not belong in the URL."
	for name, c := range map[string]struct {
		query  string
		fields []string
		want   edge.Credential
	}{
		"none":            {"", nil, edge.Credential{}},
		"bearer":          {"", []string{"Bearer a.b.c"}, edge.Credential{Text: "a.b.c", Present: true}},
		"any case":        {"", []string{"bEARER a.b.c"}, edge.Credential{Text: "a.b.c", Present: true}},
		"jwt":             {"", []string{"JWT a.b.c"}, edge.Credential{Text: "a.b.c", Present: true}},
		"basic":           {"", []string{"Basic a.b.c"}, edge.Credential{}},
		"no scheme":       {"", []string{"a.b.c"}, edge.Credential{}},
		"empty":           {"", []string{""}, edge.Credential{}},
		"space in front":  {"", []string{" Bearer a.b.c"}, edge.Credential{}},
		"twice":           {"", []string{"Bearer a", "Bearer a"}, edge.Credential{Present: true, Fault: many}},
		"with basic":      {"", []string{"Basic a", "Bearer a"}, edge.Credential{Present: true, Fault: many}},
		"scheme alone":    {"", []string{"Bearer"}, edge.Credential{Present: true, Fault: form}},
		"no token":        {"", []string{"Bearer "}, edge.Credential{Present: true, Fault: form}},
		"two spaces":      {"", []string{"Bearer  a"}, edge.Credential{Present: true, Fault: form}},
		"space behind":    {"", []string{"Bearer a "}, edge.Credential{Present: true, Fault: form}},
		"list":            {"", []string{"Bearer a,Bearer b"}, edge.Credential{Present: true, Fault: form}},
		"tab inside":      {"", []string{"Bearer a\tb"}, edge.Credential{Present: true, Fault: form}},
		"tab between":     {"", []string{"Bearer\ta"}, edge.Credential{}},
		"in the query":    {"access_token=a", nil, edge.Credential{Present: true, Fault: inURL}},
		"in both":         {"access_token=a", []string{"Bearer a"}, edge.Credential{Present: true, Fault: inURL}},
		"behind another":  {"x=1&ACCESS_TOKEN", nil, edge.Credential{Present: true, Fault: inURL}},
		"escaped":         {"access%5Ftoken=a", nil, edge.Credential{Present: true, Fault: inURL}},
		"another name":    {"my_access_token=a&access_tokens=b&x=access_token", nil, edge.Credential{}},
		"malformed query": {"%zz&;&=&access_token", nil, edge.Credential{Present: true, Fault: inURL}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.RawQuery = c.query
			r.Header["Authorization"] = c.fields
			if diff := cmp.Diff(c.want, edge.BearerOf(r)); diff != "" {
				t.Errorf("credential (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAChallengeTellsTheClassAndNothingElse(t *testing.T) {
	const realm = `Bearer realm="mintmark"`
	for name, c := range map[string]struct {
		class  liveset.Class
		cred   edge.Credential
		scope  authority.Role
		status int
		want   string
	}{
		"none":         {liveset.ClassMissing, edge.Credential{}, "", 401, realm},
		"invalid":      {liveset.ClassInvalid, edge.Credential{Text: "x", Present: true}, "", 401, realm + `, error="invalid_token", error_description="invalid token"`},
		"forbidden":    {liveset.ClassForbidden, edge.Credential{Text: "x", Present: true}, "", 403, realm + `, error="insufficient_scope", error_description="the token does not allow this"`},
		"another role": {liveset.ClassForbidden, edge.Credential{Text: "x", Present: true}, "admin", 403, realm + `, error="insufficient_scope", error_description="the token does not allow this", scope="admin"`},
		"unknown":      {liveset.ClassUnknown, edge.Credential{Text: "x", Present: true}, "", 503, ""},
		"malformed":    {liveset.ClassMissing, edge.Credential{Present: true, Fault: "A fault."}, "", 400, realm + `, error="invalid_request", error_description="A fault."`},
	} {
		if status, got := edge.Challenge(c.class, c.cred, c.scope); status != c.status || got != c.want {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
}

// asked answers one verdict, as the live set does none without a token, and
// remembers the question.
type asked struct {
	verdict liveset.Verdict
	text    string
	demand  liveset.Demand
}

func (a *asked) Decide(text string, d liveset.Demand) liveset.Verdict {
	if a.text, a.demand = text, d; text == "" {
		return liveset.Verdict{Reason: liveset.NoCredential}
	}
	return a.verdict
}

func TestOnlyAVerdictMakesACaller(t *testing.T) {
	for name, c := range map[string]struct {
		operator string
		fields   []string
		want     authority.Actor
		reason   liveset.Reason
		text     string
	}{
		"nobody":                   {"", nil, authority.Actor{Kind: "anonymous"}, liveset.NoCredential, ""},
		"malformed":                {"", []string{"Bearer a", "Bearer b"}, authority.Actor{Kind: "anonymous"}, liveset.NoCredential, ""},
		"refused":                  {"", []string{"Bearer a"}, authority.Actor{Kind: "anonymous"}, liveset.Deleted, "a"},
		"operator":                 {"root@tokens-01", nil, authority.Actor{Kind: "local", Name: "root@tokens-01"}, liveset.Allowed, ""},
		"operator with credential": {"root@tokens-01", []string{"Bearer a"}, authority.Actor{Kind: "local", Name: "root@tokens-01"}, liveset.Allowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			live := &asked{verdict: liveset.Verdict{Reason: liveset.Deleted}}
			var caller authority.Caller
			var verdict liveset.Verdict
			h := wrap(c.operator, nil, func(_ http.ResponseWriter, r *http.Request) {
				caller, verdict, _ = edge.CallerOf(r, live, liveset.Demand{Role: authority.RoleAdmin})
			})
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Authorization"] = c.fields
			h.ServeHTTP(httptest.NewRecorder(), r)
			if caller.Actor() != c.want || verdict.Reason != c.reason || live.text != c.text {
				t.Errorf("%+v with %s, asked %q", caller.Actor(), verdict.Reason, live.text)
			}
			want := liveset.Demand{Role: authority.RoleAdmin, From: netip.MustParseAddr("192.0.2.1"), RequestID: "req_1"}
			if len(c.fields) > 1 {
				want.Fault = "There is more than one Authorization field."
			}
			if c.operator == "" && !reflect.DeepEqual(want, live.demand) {
				t.Errorf("demand %+v", live.demand)
			}
			if c.operator == "" && authority.Permit(caller) == nil {
				t.Error("nobody is an administrator")
			}
		})
	}
}

// Whatever the field holds, what is read is one word, and it is in the field.
func FuzzACredentialHasNoSeparator(f *testing.F) {
	for _, seed := range [][2]string{
		{"", "Bearer a"},
		{"", "JWT a.b.c"},
		{"", "Bearer  a"},
		{"", "Bearer a,b"},
		{"", "bearer\ta"},
		{"", "Bearer a b"},
		{"", "Bearer " + strings.Repeat(".", 100_000)},
		{"", "Bearer t\u00f6k\u0435n.\xff\x00"},
		{"access_token=a", "Bearer a"},
		{"%61ccess%5ftoken", ""},
		{"a=1;access_token=a&%zz", "Bearer a"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, query, field string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		r.Header["Authorization"] = []string{field}
		got := edge.BearerOf(r)
		if got.Text != "" && (strings.ContainsAny(got.Text, " ,\t") || got.Fault != "" || !got.Present || !strings.HasSuffix(field, got.Text)) {
			t.Errorf("%q reads as %+v", field, got)
		}
		if got.Fault != "" && got.Text != "" {
			t.Errorf("%q is at fault and read: %+v", field, got)
		}
		if values, err := url.ParseQuery(query); err == nil && values.Has("access_token") && got.Fault == "" {
			t.Errorf("a token in the query %q is no fault", query)
		}
	})
}
