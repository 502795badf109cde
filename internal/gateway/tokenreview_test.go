package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"mintmark/internal/authority"

	"github.com/google/go-cmp/cmp"
)

// reviewFor is the question of an API server, as Go's encoder writes it.
func reviewFor(token string, audiences ...string) string {
	list := "null"
	if len(audiences) > 0 {
		text, _ := json.Marshal(audiences)
		list = string(text)
	}
	return fmt.Sprintf(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{"creationTimestamp":null},"spec":{"token":%q,"audiences":%s},"status":{"user":{}}}`, token, list)
}

func (d *doors) review(asker authority.Issued, body string) told {
	d.t.Helper()
	header := as(asker)
	header.Set("Content-Type", "application/json")
	return d.post("/k8s/tokenreview", body, header)
}

const notAuthenticated = `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":false}}`

func TestAGoodTokenIsAUserWithGroups(t *testing.T) {
	d := newDoors(t)
	a := d.review(d.verifier, reviewFor(d.user.Text.Unsafe(), "https://kubernetes.example", secondAudience))
	var got map[string]any
	must(t, json.Unmarshal([]byte(a.body), &got))
	id := string(d.user.ID)
	want := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": map[string]any{
		"authenticated": true, "audiences": []any{secondAudience}, "user": map[string]any{
			"username": "dfsadmin", "uid": id, "groups": []any{"mintmark:role:user", "mintmark:tag:team:data", "mintmark:tag:env:prod"},
			"extra": map[string]any{"mintmark/token-id": []any{id}},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" || a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v (-want +got):\n%s", a.status, a.header, diff)
	}
	older := strings.Replace(reviewFor(d.admin.Text.Unsafe()), "k8s.io/v1", "k8s.io/v1beta1", 1)
	if a := d.review(d.verifier, older); !strings.HasPrefix(a.body, `{"apiVersion":"authentication.k8s.io/v1beta1","kind":"TokenReview","status":{"authenticated":true`) {
		t.Errorf("the older version is answered %d %s", a.status, a.body)
	}
}

func TestWhateverIsNotGoodIsNotAuthenticated(t *testing.T) {
	d := newDoors(t)
	for name, text := range d.badTokens() {
		if !utf8.ValidString(text) {
			continue // no text of JSON
		}
		if a := d.review(d.verifier, reviewFor(text)); !a.is(http.StatusOK, notAuthenticated) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := d.review(d.verifier, reviewFor("")); !a.is(http.StatusOK, notAuthenticated) {
		t.Errorf("no token: %d %s", a.status, a.body)
	}
}

func TestAReviewIsForAnAudienceOfTheCaller(t *testing.T) {
	d := newDoors(t)
	const elsewhere = "https://elsewhere.example"
	verifier := d.issue(authority.TokenRequest{ClientID: "cluster", Role: "verifier", Audience: []string{ownAudience, elsewhere}})
	other := d.issue(authority.TokenRequest{ClientID: "other", Role: "user", Audience: []string{secondAudience}})
	wide := d.issue(authority.TokenRequest{ClientID: "wide", Role: "user", Audience: []string{elsewhere, secondAudience, ownAudience}})
	for name, c := range map[string]struct {
		asker, token authority.Issued
		asked, told  []string // told nil: not authenticated
	}{
		"none is asked for":                   {verifier, wide, nil, []string{elsewhere, ownAudience}},
		"one of both":                         {verifier, wide, []string{ownAudience}, []string{ownAudience}},
		"one of the token's alone":            {verifier, wide, []string{secondAudience}, nil},
		"one of nobody's":                     {verifier, wide, []string{"https://nobody.example"}, nil},
		"an empty one":                        {verifier, wide, []string{""}, nil},
		"a token for others":                  {verifier, other, nil, nil},
		"an Admin asks for one":               {d.admin, other, []string{elsewhere, secondAudience}, []string{secondAudience}},
		"an Admin asks for one it is not for": {d.admin, other, []string{elsewhere}, nil},
		"an Admin asks for none":              {d.admin, other, nil, []string{secondAudience}},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			a := d.review(c.asker, reviewFor(c.token.Text.Unsafe(), c.asked...))
			var got struct {
				Status struct {
					Authenticated bool
					Audiences     []string
				}
			}
			must(t, json.Unmarshal([]byte(a.body), &got))
			if diff := cmp.Diff(c.told, got.Status.Audiences); diff != "" || got.Status.Authenticated != (c.told != nil) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestOnlyACallerWithAVerifiersOrAnAdminsTokenReviews(t *testing.T) {
	d := newDoors(t)
	question := reviewFor(d.user.Text.Unsafe())
	for name, c := range map[string]struct {
		fields []string
		status int
		code   string
	}{
		"verifier": {[]string{"Bearer " + d.verifier.Text.Unsafe()}, 200, ""},
		"admin":    {[]string{"Bearer " + d.admin.Text.Unsafe()}, 200, ""},
		"user":     {[]string{"Bearer " + d.user.Text.Unsafe()}, 403, "token.insufficient"},
		"bad":      {[]string{"Bearer x"}, 401, "token.invalid"},
		"nobody":   {nil, 401, "token.missing"},
		"basic":    {[]string{basicOf("gate@dc1", d.verifier.Text.Unsafe())}, 401, "token.missing"},
		"twice":    {[]string{"Bearer x", "Bearer " + d.verifier.Text.Unsafe()}, 400, "credential.malformed"},
		"a list":   {[]string{"Bearer x,y"}, 400, "credential.malformed"},
	} {
		header := http.Header{"Content-Type": {"application/json"}, "Authorization": c.fields}
		a := d.post("/k8s/tokenreview", question, header)
		if a.status != c.status || c.code != "" && !strings.Contains(a.body, `"code":"`+c.code+`"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if c.status != 200 && a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d without a challenge", name, a.status)
		}
	}
	d.operator = "root@tokens-01"
	if a := d.post("/k8s/tokenreview", question, http.Header{"Content-Type": {"application/json"}}); a.status != 200 || !strings.Contains(a.body, `"authenticated":true`) {
		t.Errorf("the operator: %d %s", a.status, a.body)
	}
}

func TestAReviewHasOneReading(t *testing.T) {
	d := newDoors(t)
	token := d.user.Text.Unsafe()
	whole := reviewFor(token)
	replace := func(old, by string) string { return strings.Replace(whole, old, by, 1) }
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "token=" + token, "a list": "[]", "a text": `"x"`, "cut": whole[:len(whole)-2], "two": whole + whole,
		"another kind": replace("TokenReview", "SubjectAccessReview"), "another version": replace("k8s.io/v1", "k8s.io/v1alpha1"), "no kind": replace(`"kind":"TokenReview",`, ""),
		"a kind that is no text": replace(`"TokenReview"`, "1"), "a version that is no text": replace(`"authentication.k8s.io/v1"`, "null"),
		"two specs": replace(`"status"`, `"spec"`), "a spec that is none": `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":"x"}`,
		"two tokens": replace(`"spec":{`, `"spec":{"token":"x",`), "a token that is no text": replace(fmt.Sprintf("%q", token), "17"),
		"audiences that are no list": replace(`"audiences":null`, `"audiences":"a"`), "an audience that is no text": replace(`"audiences":null`, `"audiences":[1]`),
	} {
		if a := d.review(d.verifier, body); a.status != http.StatusBadRequest || !strings.Contains(a.body, `"code":"body.malformed"`) || strings.Contains(a.body, token) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name, body := range map[string]string{
		"another case": replace(`"token"`, `"Token"`), "no spec": `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1"}`,
	} {
		if a := d.review(d.verifier, body); !a.is(http.StatusOK, notAuthenticated) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := d.review(d.verifier, strings.Repeat(" ", 65<<10)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large one: %d %s", a.status, a.body)
	}
	header := as(d.verifier)
	header.Set("Content-Type", "application/yaml")
	if a := d.post("/k8s/tokenreview", whole, header); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("YAML: %d %s", a.status, a.body)
	}
}

// No question meets a fault of ours, and nothing but a good token makes a user.
func FuzzOnlyAGoodTokenIsAUser(f *testing.F) {
	d := newDoors(f)
	for _, seed := range []string{
		reviewFor("x"), reviewFor("", ""), reviewFor(d.admin.Text.Unsafe(), "a", ownAudience), `{}`, `[]`, "", `{"spec":{"token":null}}`,
		strings.Repeat(`{"spec":`, 20), `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1","spec":{"audiences":[null]}}`,
	} {
		f.Add(seed)
	}
	good := []string{d.admin.Text.Unsafe(), d.user.Text.Unsafe()}
	f.Fuzz(func(t *testing.T, body string) {
		d.t = t
		defer func() { d.t = f }()
		a := d.review(d.verifier, body)
		if a.status != 200 && a.status != 400 && a.status != 413 {
			t.Errorf("%q: %d %s", body, a.status, a.body)
		}
		if strings.Contains(a.body, `"authenticated":true`) && !strings.Contains(body, good[0][:9]) && !strings.Contains(body, good[1][:9]) && !strings.Contains(body, `\u`) {
			t.Errorf("%q is %s", body, a.body)
		}
	})
}
