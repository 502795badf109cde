package jws_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mintmark/internal/jws"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sameClaims = cmp.Options{cmp.AllowUnexported(jws.NumericDate{}), cmpopts.EquateEmpty()}

func moment() time.Time { return time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC) }

func full() jws.Claims {
	return jws.Claims{
		Issuer: "https://tokens.example", Subject: "batch", ClientID: "batch", Audience: []string{"https://api.example", "https://b.example"}, ID: "tok_1",
		IssuedAt: jws.At(moment()), NotBefore: jws.At(moment()), Expires: jws.At(moment().Add(time.Hour)), Role: "user", Tags: []string{"team:a/b", "x:<&>\u2028\"\\"},
	}
}

func TestClaimsReadAsTheyWereWritten(t *testing.T) {
	one := full()
	one.Audience = one.Audience[:1]
	for _, c := range []jws.Claims{full(), one, {}, {Tags: []string{""}}, {Audience: []string{"a"}, Expires: jws.At(time.Unix(0, 0))}, {Issuer: "\x00\x1f\u00e9\U0001f511"}} {
		text := c.Marshal()
		got, err := jws.ParseClaims(text)
		must(t, err)
		if diff := cmp.Diff(c, got, sameClaims); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if again := got.Marshal(); string(again) != string(text) {
			t.Errorf("written %s, then %s", text, again)
		}
	}
	const want = `{"iss":"https://tokens.example","sub":"batch","client_id":"batch","aud":"https://api.example","jti":"tok_1",` +
		`"iat":1795442882,"nbf":1795442882,"exp":1795446482,"role":"user","tags":["team:a/b","x:<&>\u2028\"\\"]}`
	if got := string(one.Marshal()); got != want {
		t.Errorf("got %s", got)
	}
}

func TestAClaimOfAnotherTypeIsRefused(t *testing.T) {
	text := []string{`null`, `1`, `true`, `[]`, `["a"]`, `{}`, `[["a"]]`}
	date := []string{
		`null`, `"1795442882"`, `1.5`, `1.0`, `1e9`, `1E3`, `-1`, `-0`, `-0.0`, `9007199254740992`, `9223372036854775808`, `18446744073709551616`, `1e400`, `true`, `[1]`, `{}`, `"2026-11-23T14:08:02Z"`,
		strings.Repeat("9", 400), `0.1`,
	}
	many := []string{`null`, `1`, `true`, `{}`, `[1]`, `[null]`, `[["a"]]`, `["a",1]`, `["a",null]`, `[{}]`}
	for name, values := range map[string][]string{
		"iss": text, "sub": text, "client_id": text, "jti": text, "role": text, "iat": date, "nbf": date, "exp": date, "aud": many, "tags": append(many, `"a"`),
	} {
		for _, value := range values {
			_, err := jws.ParseClaims([]byte(`{"` + name + `":` + value + `}`))
			wantFault(t, err, jws.ClaimsMalformed)
			if err != nil && len(value) > 8 && strings.Contains(err.Error(), value) {
				t.Errorf("%s: the value is in the error", name)
			}
		}
		for _, other := range []string{strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			_, err := jws.ParseClaims([]byte(`{"` + other + `":"a"}`))
			wantFault(t, err, jws.ClaimsMalformed)
		}
	}
	for _, good := range []string{`{"exp":0}`, `{"exp":9007199254740991}`, `{"aud":"a"}`, `{"aud":[]}`, `{"aud":["a","b"]}`, `{"tags":[]}`, `{"scope":null,"nested":{"iss":1}}`, ` {"iss" : "a"} `} {
		if _, err := jws.ParseClaims([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestClaimsWithTwoReadingsAreRefused(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		for _, claims := range []string{
			`{"sub":"a","sub":"b"}`, `{"sub":"a","s\u0075b":"b"}`, `{"role":"user","role":"admin"}`, `{"x":{"a":1,"a":2}}`, `{"exp":1,"exp":9007199254740991}`, "\ufeff{}", `{}{}`, `{} x`, `[]`, `"a"`, `null`, `1`,
			`{"sub":"` + "\xff" + `"}`, `{"sub":"\udc00"}`, `{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, `{"sub":"a",}`, `{`, "\x00", `{"sub":"a` + "\n" + `"}`,
		} {
			// The signature is good: it says nothing about the claims.
			got, err := accept(forge(t, f.key, header(f.alg), claims), f.key.Verifier())
			must(t, err)
			_, err = jws.ParseClaims(got)
			wantFault(t, err, jws.ClaimsMalformed)
		}
	})
}

func TestClaimsAreHeldAgainstWhatIsExpected(t *testing.T) {
	const leeway = 30 * time.Second
	expect := jws.Expect{Issuer: "https://tokens.example", Audience: []string{"https://api.example"}, Now: moment(), Leeway: leeway}
	type changed struct {
		claims func(*jws.Claims)
		expect func(*jws.Expect)
		want   *jws.Fault // nil: no fault
	}
	fault := func(f jws.Fault) *jws.Fault { return &f }
	at := func(d time.Duration) jws.NumericDate { return jws.At(moment().Add(d)) }
	cases := map[string]changed{
		"as expected":             {},
		"no exp":                  {claims: func(c *jws.Claims) { c.Expires = jws.NumericDate{} }},
		"no iat and nbf":          {claims: func(c *jws.Claims) { c.IssuedAt, c.NotBefore = jws.NumericDate{}, jws.NumericDate{} }},
		"exp within the leeway":   {claims: func(c *jws.Claims) { c.Expires = at(-leeway + time.Second) }},
		"exp at the leeway":       {claims: func(c *jws.Claims) { c.Expires = at(-leeway) }, want: fault(jws.Expired)},
		"exp a nanosecond before": {claims: func(c *jws.Claims) { c.Expires = at(-leeway) }, expect: func(e *jws.Expect) { e.Now = e.Now.Add(-1) }},
		"exp now, no leeway":      {claims: func(c *jws.Claims) { c.Expires = at(0) }, expect: func(e *jws.Expect) { e.Leeway = 0 }, want: fault(jws.Expired)},
		"exp of 1970":             {claims: func(c *jws.Claims) { c.Expires = jws.At(time.Unix(0, 0)) }, want: fault(jws.Expired)},
		"nbf at the leeway":       {claims: func(c *jws.Claims) { c.NotBefore = at(leeway) }},
		"nbf behind the leeway":   {claims: func(c *jws.Claims) { c.NotBefore = at(leeway + time.Second) }, want: fault(jws.NotYetValid)},
		"iat at the leeway":       {claims: func(c *jws.Claims) { c.IssuedAt = at(leeway) }},
		"iat behind the leeway":   {claims: func(c *jws.Claims) { c.IssuedAt = at(leeway + time.Second) }, want: fault(jws.IssuedInFuture)},
		"iat of the far future":   {claims: func(c *jws.Claims) { c.IssuedAt = jws.At(time.Unix(1<<53-1, 0)) }, want: fault(jws.IssuedInFuture)},
		"exp of the far future":   {claims: func(c *jws.Claims) { c.Expires = jws.At(time.Unix(1<<53-1, 0)) }},
		"no audience expected":    {expect: func(e *jws.Expect) { e.Audience = nil }, want: fault(jws.WrongAudience)},
		"empty expected, empty":   {claims: func(c *jws.Claims) { c.Audience = []string{""} }, expect: func(e *jws.Expect) { e.Audience = []string{""} }, want: fault(jws.WrongAudience)},
		"no issuer expected":      {claims: func(c *jws.Claims) { c.Issuer = "" }, expect: func(e *jws.Expect) { e.Issuer = "" }, want: fault(jws.WrongIssuer)},
		"one of two expected":     {expect: func(e *jws.Expect) { e.Audience = []string{"x", "https://b.example"} }},
	}
	for _, iss := range []string{"", "https://tokens.example/", "https://tokens.example.evil", "https://TOKENS.example", "https://tokens", "tokens.example", " https://tokens.example", "https://tokens.example\x00", "http://tokens.example"} {
		cases[fmt.Sprintf("iss %q", iss)] = changed{claims: func(c *jws.Claims) { c.Issuer = iss }, want: fault(jws.WrongIssuer)}
	}
	for _, aud := range [][]string{nil, {}, {""}, {"https://api.example/"}, {"https://API.example"}, {"https://api"}, {"api.example"}, {"*"}, {"https://api.example,https://b.example"}, {"a", "b"}} {
		cases[fmt.Sprintf("aud %q", aud)] = changed{claims: func(c *jws.Claims) { c.Audience = aud }, want: fault(jws.WrongAudience)}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			claims, e := full(), expect
			if c.claims != nil {
				c.claims(&claims)
			}
			if c.expect != nil {
				c.expect(&e)
			}
			err := claims.Check(e)
			if c.want == nil {
				must(t, err)
				return
			}
			wantFault(t, err, *c.want)
		})
	}
	if err := full().Check(jws.Expect{}); err == nil {
		t.Error("an empty expectation is met")
	}
}

func TestADateIsAbsentOrATime(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		text string
	}{{time.Time{}, "none"}, {moment(), "2026-11-23T14:08:02Z"}, {time.Unix(0, 0), "1970-01-01T00:00:00Z"}} {
		d := jws.At(c.at)
		got, set := d.Time()
		if d.String() != c.text || set == c.at.IsZero() || set && !got.Equal(c.at) {
			t.Errorf("%v: %s, %v, %v", c.at, d, got, set)
		}
	}
}
