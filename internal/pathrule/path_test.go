package pathrule_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"mintmark/internal/pathrule"
)

func TestAPathHasOneReading(t *testing.T) {
	t.Parallel()
	for escaped, want := range map[string]struct{ plain, escaped string }{
		"":                   {"/", "/"},
		"/":                  {"/", "/"},
		"/admin":             {"/admin", "/admin"},
		"/admin/":            {"/admin/", "/admin/"},
		"/a.b/.c/d..e/f.":    {"/a.b/.c/d..e/f.", "/a.b/.c/d..e/f."},
		"/%61dmin":           {"/admin", "/admin"},
		"/%41%2d%2E%5f%7Ez":  {"/A-._~z", "/A-._~z"},
		"/a%20b":             {"/a b", "/a%20b"},
		"/caf%c3%a9":         {"/café", "/caf%C3%A9"},
		"/café":              {"/café", "/caf%C3%A9"},
		"/c%23/what%3f":      {"/c#/what?", "/c%23/what%3F"},
		"/a%2Bb+c":           {"/a+b+c", "/a%2Bb+c"},
		"/%2a*":              {"/**", "/%2A*"},
		"/a^{b}|\"<>`[]":     {"/a^{b}|\"<>`[]", "/a%5E%7Bb%7D%7C%22%3C%3E%60%5B%5D"},
		"/v1/users/me@x:y,z": {"/v1/users/me@x:y,z", "/v1/users/me@x:y,z"},
	} {
		got, ok := pathrule.Read(escaped)
		if !ok || got.Plain() != want.plain || got.Escaped() != want.escaped {
			t.Errorf("%q is read as %q, written as %q, %v", escaped, got.Plain(), got.Escaped(), ok)
		}
	}
}

func TestAPathWithTwoReadingsIsRefused(t *testing.T) {
	t.Parallel()
	for _, escaped := range []string{
		"*", "admin", "//", "//admin", "/a//b", "/a//", "/.", "/..", "/./a", "/a/./b", "/a/.", "/a/..", "/a/../b", "/...", "/a/....",
		"/%2e", "/%2E%2e/a", "/.%2e/a", "/a%2fb", "/a%2Fb", "/%2f", "/a%5cb", `/a\b`, `/..\a`, "/a;b", "/a;", "/..;/a", "/a%3bb",
		"/a%25b", "/%252e%252e/a", "/a%00", "/a%0d%0ab", "/a%7f", "/a\x00", "/a\tb", "/%", "/%4", "/%zz", "/%g1", "/a%1", "/a%-1",
		"/%ff", "/%c0%af", "/%c0%ae%c0%ae/a", "/\xff", "/%ed%a0%80", "/%e2%28%a1",
	} {
		if got, ok := pathrule.Read(escaped); ok || got != (pathrule.Path{}) {
			t.Errorf("%q is read as %q", escaped, got.Plain())
		}
	}
}

// The other side decodes what is sent once and finds what was judged; whoever
// decodes it twice, cleans it or cuts parameters off finds the same.
func FuzzWhatIsJudgedIsWhatIsSent(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/%61", "/a%2fb", "/..", "/a%20b", "/é", "/%c3%a9", "/a%2Bb", "/x;y", "//a", "/%25", `/\`, "/a^b", "*", "/a/%2e%2e/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		p, ok := pathrule.Read(escaped)
		if !ok {
			return
		}
		sent := (&url.URL{Scheme: "http", Host: "api", Path: p.Plain(), RawPath: p.Escaped()}).RequestURI()
		if sent != p.Escaped() {
			t.Errorf("%q is judged as %q and sent as %q", escaped, p.Escaped(), sent)
		}
		there, err := url.ParseRequestURI(sent)
		if err != nil || there.Path != p.Plain() || there.RawQuery != "" || there.Host != "" {
			t.Errorf("%q is judged as %q, the other side reads %+v, %v", escaped, p.Plain(), there, err)
		}
		if here, err := url.PathUnescape(escaped); err == nil && escaped != "" && here != p.Plain() {
			t.Errorf("%q is judged as %q and means %q", escaped, p.Plain(), here)
		}
		if twice, err := url.PathUnescape(p.Plain()); err != nil || twice != p.Plain() {
			t.Errorf("%q is another path when it is decoded twice", escaped)
		}
		again, ok := pathrule.Read(p.Escaped())
		if !ok || again != p {
			t.Errorf("%q is %+v, and %+v when it is read again", escaped, p, again)
		}
		if !utf8.ValidString(p.Plain()) || strings.ContainsAny(p.Plain(), "\\;%\x00\r\n") || strings.Contains(p.Plain(), "//") || strings.Contains(p.Plain()+"/", "/../") {
			t.Errorf("%q is judged as %q", escaped, p.Plain())
		}
	})
}
