package verify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mintmark/internal/edge"
	"mintmark/verify"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyWhoMeetsTheDemandReachesTheHandler(t *testing.T) {
	h := newHouse(t)
	v := h.offline(t)
	token := func(role string, tags ...string) string {
		c := goodClaims()
		c.Role, c.Tags = role, tags
		return h.sign(t, "es", "at+jwt", c)
	}
	user, admin, verifier := token("user", "team:data"), token("admin"), token("verifier")
	const realm = `Bearer realm="mintmark"`
	const malformed = realm + `, error="invalid_request", error_description="the credential is malformed"`
	const invalid, forbidden = realm + `, error="invalid_token", error_description="invalid token"`, realm + `, error="insufficient_scope", error_description="the token does not allow this"`
	for name, c := range map[string]struct {
		demand    verify.Demand
		query     string
		fields    []string
		status    int
		challenge string
	}{
		"a user":                      {verify.Demand{}, "", []string{"Bearer " + user}, 200, ""},
		"a user by another scheme":    {verify.Demand{Role: "user"}, "q=access_token&my_access_token=1", []string{"jwt " + user}, 200, ""},
		"an admin":                    {verify.Demand{Role: "admin"}, "", []string{"bearer " + admin}, 200, ""},
		"an admin for a user":         {verify.Demand{}, "", []string{"Bearer " + admin}, 200, ""},
		"an admin without tags":       {verify.Demand{Tags: []string{"team:data"}}, "", []string{"Bearer " + admin}, 200, ""},
		"a user with the tag":         {verify.Demand{Tags: []string{"team:data"}, ClientID: "batch"}, "", []string{"Bearer " + user}, 200, ""},
		"a user without the tag":      {verify.Demand{Tags: []string{"team:data", "env:prod"}}, "", []string{"Bearer " + user}, 403, forbidden},
		"a user for an admin":         {verify.Demand{Role: "admin"}, "", []string{"Bearer " + user}, 403, forbidden},
		"a user for nothing known":    {verify.Demand{Role: "root"}, "", []string{"Bearer " + user}, 403, forbidden},
		"another client":              {verify.Demand{ClientID: "other"}, "", []string{"Bearer " + user}, 403, forbidden},
		"an admin as another client":  {verify.Demand{ClientID: "other"}, "", []string{"Bearer " + admin}, 403, forbidden},
		"a verifier":                  {verify.Demand{}, "", []string{"Bearer " + verifier}, 403, forbidden},
		"a verifier asked for by one": {verify.Demand{Role: "verifier"}, "", []string{"Bearer " + verifier}, 403, forbidden},
		"nobody":                      {verify.Demand{}, "", nil, 401, realm},
		"another scheme":              {verify.Demand{}, "", []string{"Basic " + user}, 401, realm},
		"an invalid token":            {verify.Demand{}, "", []string{"Bearer " + user + "A"}, 401, invalid},
		"two fields":                  {verify.Demand{}, "", []string{"Bearer " + user, "Bearer " + user}, 400, malformed},
		"a list":                      {verify.Demand{}, "", []string{"Bearer " + user + ", Bearer " + user}, 400, malformed},
		"two spaces":                  {verify.Demand{}, "", []string{"Bearer  " + user}, 400, malformed},
		"in the query":                {verify.Demand{}, "access_token=" + user, nil, 400, malformed},
		"in both":                     {verify.Demand{}, "a=1&Access%5FToken=" + user, []string{"Bearer " + user}, 400, malformed},
		"in a query that is none":     {verify.Demand{}, "a;b&access_token=x;y", []string{"Bearer " + user}, 400, malformed},
	} {
		t.Run(name, func(t *testing.T) {
			entered := 0
			handler := verify.Require(v, c.demand)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				entered++
				if i, ok := verify.FromContext(r.Context()); !ok || i.ClientID != "batch" {
					t.Errorf("the handler finds %+v", i)
				}
			}))
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.RawQuery = c.query
			r.Header["Authorization"] = c.fields
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != c.status || w.Header().Get("WWW-Authenticate") != c.challenge || entered == 1 != (c.status == 200) {
				t.Errorf("%d with %q, entered %d times", w.Code, w.Header().Get("WWW-Authenticate"), entered)
			}
			if c.status != 200 && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("a refusal may be stored: %v", w.Header())
			}
			if strings.Contains(fmt.Sprint(w.Header(), w.Body), user) {
				t.Error("the token is in the answer")
			}
		})
	}
}

// says answers every token so.
type says struct{ err error }

func (s says) Verify(context.Context, string) (verify.Identity, error) {
	return verify.Identity{Role: "admin"}, s.err
}

func TestWhatIsNotKnownIsNeverLetIn(t *testing.T) {
	for name, err := range map[string]error{"unknown": fmt.Errorf("%w: the disk at /srv", verify.ErrUnknown), "an error of somebody else": errors.New("the disk at /srv"), "a deadline": context.DeadlineExceeded} {
		handler := verify.Require(says{err}, verify.Demand{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: let in", name) }))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer a")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || w.Header().Get("WWW-Authenticate") != "" || strings.Contains(w.Body.String(), "disk") {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
		}
	}
}

func TestAContextWithoutAnIdentityHasNone(t *testing.T) {
	if i, ok := verify.FromContext(t.Context()); ok || i.ClientID != "" {
		t.Errorf("found %+v", i)
	}
	want := verify.Identity{ClientID: "batch", IssuedAt: time.Unix(1, 0)}
	got, ok := verify.FromContext(verify.NewContext(t.Context(), want))
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("found %v (-want +got):\n%s", ok, diff)
	}
}

// The authority and whoever verifies for himself read a request alike.
func FuzzACredentialReadsAsAtTheAuthority(f *testing.F) {
	for _, seed := range [][3]string{
		{"", "Bearer a", ""},
		{"", "JWT a.b.c", "Bearer a"},
		{"", "Bearer  a", ""},
		{"", "Bearer", ""},
		{"", "Bearer a,b", ""},
		{"", "bearer\ta", ""},
		{"", "Basic a", ""},
		{"", " Bearer a", ""},
		{"", "", ""},
		{"access_token=a", "Bearer a", ""},
		{"%61ccess%5ftoken", "Bearer a", ""},
		{"a=1;access_token=a&%zz", "Bearer a", ""},
		{"&ACCESS_TOKEN;", "Bearer a", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, query, field, second string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		if field != "" {
			r.Header.Add("Authorization", field)
		}
		if second != "" {
			r.Header.Add("Authorization", second)
		}
		want := edge.BearerOf(r)
		text, entered := "", false
		reads := readsToken(func(token string) { text = token })
		w := httptest.NewRecorder()
		verify.Require(reads, verify.Demand{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered = true })).ServeHTTP(w, r)
		status := http.StatusOK
		switch {
		case want.Fault != "":
			status = http.StatusBadRequest
		case !want.Present:
			status = http.StatusUnauthorized
		}
		if w.Code != status || text != want.Text || entered != (status == http.StatusOK) {
			t.Errorf("query %q, fields %q: %d and %q, at the authority %d and %q", query, r.Header["Authorization"], w.Code, text, status, want.Text)
		}
	})
}

type readsToken func(string)

func (f readsToken) Verify(_ context.Context, token string) (verify.Identity, error) {
	f(token)
	return verify.Identity{Role: "user"}, nil
}
