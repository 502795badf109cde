package pathrule_test

import (
	"strings"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/pathrule"

	"github.com/google/go-cmp/cmp"
)

func TestRulesAreReadAndWrittenAlike(t *testing.T) {
	t.Parallel()
	got, err := pathrule.Parse(" /admin   role=admin,POST|PUT /data tag=team:data tag=env:prod ,  DELETE / role=user")
	if err != nil {
		t.Fatal(err)
	}
	want := []pathrule.Rule{
		{Prefix: "/admin", Role: authority.RoleAdmin},
		{Methods: []string{"POST", "PUT"}, Prefix: "/data", Tags: []string{"team:data", "env:prod"}},
		{Methods: []string{"DELETE"}, Prefix: "/", Role: authority.RoleUser},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if text := pathrule.Text(got); text != "/admin role=admin, POST|PUT /data tag=team:data tag=env:prod, DELETE / role=user" {
		t.Errorf("written as %q", text)
	}
	public, err := pathrule.ParsePublic("/healthz, GET|OPTIONS /docs")
	if err != nil {
		t.Fatal(err)
	}
	want = []pathrule.Rule{{Prefix: "/healthz", Public: true}, {Methods: []string{"GET", "OPTIONS"}, Prefix: "/docs", Public: true}}
	if diff := cmp.Diff(want, public); diff != "" {
		t.Errorf("public (-want +got):\n%s", diff)
	}
	if text := pathrule.Text(public); text != "/healthz, GET|OPTIONS /docs" {
		t.Errorf("written as %q", text)
	}
}

func TestEveryFaultOfARuleIsNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "a rule is empty: there is a comma too many",
		"/a role=admin,":                 "a rule is empty: there is a comma too many",
		"/a role=admin,,/b role=admin":   "a rule is empty: there is a comma too many",
		"admin role=admin":               `"admin" is not a method in capitals, or several joined by |`,
		"get /a role=admin":              `"get" is not a method in capitals, or several joined by |`,
		"GET| /a role=admin":             `"GET|" is not a method in capitals, or several joined by |`,
		"GET |POST /a role=admin":        `"GET |POST /a role=admin": after the methods comes a path, which begins with /`,
		"GET":                            `"GET": after the methods comes a path, which begins with /`,
		"GET role=admin":                 `"GET role=admin": after the methods comes a path, which begins with /`,
		"HEAD /a role=admin":             "HEAD goes with GET: what is demanded of one is demanded of the other",
		"GET|POST|GET /a role=admin":     "GET is there twice",
		"/a/ role=admin":                 `"/a/": leave the last slash away; a rule is for the path and all that is below it`,
		"/a;b role=admin":                `"/a;b" is not a plain path: letters, digits and -._~!$&'()*+=:@ in segments, without escapes and dot segments`,
		"/%61 role=admin":                `"/%61" is not a plain path: letters, digits and -._~!$&'()*+=:@ in segments, without escapes and dot segments`,
		"/é role=admin":                  `"/é" is not a plain path: letters, digits and -._~!$&'()*+=:@ in segments, without escapes and dot segments`,
		"/a/../b role=admin":             `"/a/../b" is not a plain path: letters, digits and -._~!$&'()*+=:@ in segments, without escapes and dot segments`,
		"//a role=admin":                 `"//a" is not a plain path: letters, digits and -._~!$&'()*+=:@ in segments, without escapes and dot segments`,
		"/a":                             "/a demands nothing: add role=admin, role=user or tag=name:value",
		"/a role=verifier":               "/a: a path demands role=admin or role=user",
		"/a role=":                       "/a: a path demands role=admin or role=user",
		"/a role=Admin":                  "/a: a path demands role=admin or role=user",
		"/a role=admin role=user":        "/a demands a role twice",
		"/a tag=x":                       `/a: "x" is not a tag; a path demands tag=name:value`,
		"/a tag=":                        `/a: "" is not a tag; a path demands tag=name:value`,
		"/a tag=x:y tag=x:y":             "/a demands x:y twice",
		"/a public":                      `/a: "public" is no demand; there are role=admin, role=user and tag=name:value`,
		"/a admin":                       `/a: "admin" is no demand; there are role=admin, role=user and tag=name:value`,
		"/a ROLE=admin":                  `/a: "ROLE=admin" is no demand; there are role=admin, role=user and tag=name:value`,
		"/a role = admin":                "/a: a path demands role=admin or role=user",
		"/a /b role=admin":               `/a: "/b" is no demand; there are role=admin, role=user and tag=name:value`,
		"/ok role=admin, /b role=admin;": "/b: a path demands role=admin or role=user",
	} {
		if rules, err := pathrule.Parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, %v; want %s", text, rules, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                   "a rule is empty: there is a comma too many",
		"healthz":            `"healthz" is not a method in capitals, or several joined by |`,
		"/healthz role=user": "/healthz is public: it demands nothing, so nothing follows it",
		"/a /b":              "/a is public: it demands nothing, so nothing follows it",
	} {
		if rules, err := pathrule.ParsePublic(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, %v; want %s", text, rules, err, want)
		}
	}
}

func TestTwoRulesForOnePathAndMethodAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		public, rules string
		fault         string
	}{
		{"/a", "/a role=admin", `"/a" and "/a role=admin" are for the same path and method`},
		{"/a, /a", "", `"/a" and "/a" are for the same path and method`},
		{"/A", "/a role=admin", `"/A" and "/a role=admin" are for the same path and method`},
		{"", "GET|PUT /a role=admin, PUT /a tag=x:y", `"GET|PUT /a role=admin" and "PUT /a tag=x:y" are for the same path and method`},
		{"GET /a", "/a role=admin", ""},
		{"GET /a", "POST /a role=admin", ""},
		{"/a", "/a/b role=admin", ""},
	} {
		_, err := join(t, c.public, c.rules)
		if got := ""; err != nil {
			got = err.Error()
			if got != c.fault {
				t.Errorf("%q, %q: %s", c.public, c.rules, got)
			}
		} else if c.fault != "" {
			t.Errorf("%q, %q: no error", c.public, c.rules)
		}
	}
}

func join(t *testing.T, public, rules string) (pathrule.Rules, error) {
	t.Helper()
	var lists [2][]pathrule.Rule
	var err error
	if public != "" {
		if lists[0], err = pathrule.ParsePublic(public); err != nil {
			t.Fatal(err)
		}
	}
	if rules != "" {
		if lists[1], err = pathrule.Parse(rules); err != nil {
			t.Fatal(err)
		}
	}
	return pathrule.Join(lists[0], lists[1])
}

func TestTheLongestPrefixWins(t *testing.T) {
	t.Parallel()
	rules, err := join(t, "/docs, GET /catalog, /admin/login",
		"/admin role=admin, /docs/private tag=team:docs, /catalog role=admin, POST|DELETE /data tag=data:write, /data/open/x role=user, GET /data/open tag=a:b")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/", ""},
		{"GET", "/other", ""},
		{"GET", "/admin", "/admin role=admin"},
		{"BREW", "/admin/", "/admin role=admin"},
		{"GET", "/admin/x/y", "/admin role=admin"},
		{"GET", "/Admin/X", "/admin role=admin"},
		{"GET", "/ADMIN", "/admin role=admin"},
		{"GET", "/administrator", ""},
		{"GET", "/x/admin", ""},
		{"GET", "/admin.json", ""},
		{"POST", "/admin/login", "public"},
		{"POST", "/admin/login/x", "public"},
		{"POST", "/admin/Login", "/admin role=admin"},
		{"POST", "/Admin/login", "/admin role=admin"},
		{"GET", "/docs", "public"},
		{"GET", "/docs/", "public"},
		{"PUT", "/docs/x", "public"},
		{"GET", "/Docs", ""},
		{"GET", "/docs/private", "/docs/private tag=team:docs"},
		{"GET", "/Docs/Private/x", "/docs/private tag=team:docs"},
		{"GET", "/catalog", "public"},
		{"HEAD", "/catalog/x", "public"},
		{"POST", "/catalog", "/catalog role=admin"},
		{"GET", "/Catalog", "/catalog role=admin"},
		{"GET", "/data", ""},
		{"POST", "/data", "POST|DELETE /data tag=data:write"},
		{"DELETE", "/data/open/y", "POST|DELETE /data tag=data:write"},
		{"HEAD", "/data/open/y", "GET /data/open tag=a:b"},
		{"DELETE", "/data/open/x", "/data/open/x role=user"},
		{"GET", "/\u017fecret", ""},
	} {
		p, ok := pathrule.Read(c.path)
		if !ok {
			t.Fatal(c.path)
		}
		got := rules.At(c.method, p)
		text := got.String()
		if got.Public {
			text = "public"
		}
		if text != c.want {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, text, c.want)
		}
	}
}

// A server that ignores case may fold more than ASCII: what a rule guards, it
// guards in every such form.
func TestADemandIsMadeInEveryCase(t *testing.T) {
	t.Parallel()
	rules, err := join(t, "/\u004beys/public", "/keys role=admin")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/keys", "/KEYS/x", "/\u212aeys", "/key\u017f/public", "/keys/public"} {
		if p, ok := pathrule.Read(path); !ok || rules.At("GET", p).Role != authority.RoleAdmin {
			t.Errorf("%s demands %q", path, rules.At("GET", p))
		}
	}
}

func FuzzRulesThatAreReadAreWrittenTheSame(f *testing.F) {
	for _, s := range []string{"/admin role=admin", "GET|POST /a/b tag=x:y tag=z:w, /c role=user", "/a", "GET", ",", "/a role=admin, /a role=user", "M-SEARCH /x role=user"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, public, text string) {
		rules, err := pathrule.Parse(text)
		open, openErr := pathrule.ParsePublic(public)
		for _, c := range []struct {
			rules []pathrule.Rule
			err   error
			read  func(string) ([]pathrule.Rule, error)
		}{{rules, err, pathrule.Parse}, {open, openErr, pathrule.ParsePublic}} {
			if c.err != nil {
				continue
			}
			again, err := c.read(pathrule.Text(c.rules))
			if diff := cmp.Diff(c.rules, again); err != nil || diff != "" {
				t.Errorf("%q is written as %q: %v\n%s", text, pathrule.Text(c.rules), err, diff)
			}
		}
		if err != nil || openErr != nil {
			return
		}
		all, err := pathrule.Join(open, rules)
		if err != nil {
			return
		}
		// Each rule answers for its own path, or for a longer one that is there.
		for _, r := range append(open, rules...) {
			method := "GET"
			if len(r.Methods) > 0 {
				method = r.Methods[0]
			}
			p, ok := pathrule.Read(r.Prefix)
			if !ok {
				t.Fatalf("the path of %q cannot be read", r)
			}
			if got := all.At(method, p); !strings.EqualFold(got.Prefix, r.Prefix) {
				t.Errorf("%s %s is answered by %q", method, r.Prefix, got)
			}
		}
	})
}
