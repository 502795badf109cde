package refusals_test

import (
	"crypto/rand"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
	"mintmark/internal/refusals"
)

// sign makes a token under a key that nobody has.
func sign(t testing.TB, payload string) string {
	t.Helper()
	k, err := jws.GenerateKey(jws.ES256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.Sign(k, jws.Header{Alg: jws.ES256, Kid: "kid-1", Typ: authority.TypeToken}, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A made-up id is refused in so much time, with its refusal kept and without.
func BenchmarkAnUnknownToken(b *testing.B) {
	k, err := jws.GenerateKey(jws.ES256, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	set, err := liveset.New(liveset.Config{
		Verifier: func(authority.KeyID) *jws.Verifier { return k.Verifier() }, Audience: func() []string { return []string{"https://api.example"} },
		LoginIssuer: func() string { return "https://tokens.example" }, LoginIdle: func() time.Duration { return time.Hour },
		Record: func(authority.TokenID) (authority.Token, error) { return authority.Token{}, authority.NotFound }, Now: time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	current := authority.Key{ID: "kid-1", State: authority.KeyCurrent}
	set.Load(authority.Change{Keys: []authority.Changed[authority.KeyID, authority.Key]{{Key: current.ID, Value: &current}}})
	token := sign(b, `{"iss":"https://tokens.example","sub":"client-1","client_id":"client-1","aud":"https://api.example","jti":"tok_00000000000000000000000000","iat":1800000000,"exp":2000000000,"role":"user","tags":["team:data","env:prod"]}`)
	log, err := refusals.New(refusals.Config{Live: set, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	for requestID, name := range map[string]string{"4f2a9c1e77aa03bd": "kept", "": "alone"} {
		d := log.Around("forward_auth", set)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := d.Decide(token, liveset.Demand{RequestID: requestID}); v.Reason != liveset.UnknownToken {
					b.Fatal(v.Reason)
				}
			}
		})
	}
}
