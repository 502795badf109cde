package jws_test

import (
	"crypto/rand"
	"testing"
	"time"

	"mintmark/internal/jws"
)

// Reading is what is done with every token before its signature is checked, so
// it is what a flood of tokens with ids of nobody costs.
func BenchmarkRead(b *testing.B) {
	key, err := jws.GenerateKey(jws.ES256, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	kid, _ := key.Verifier().Thumbprint()
	claims := jws.Claims{
		Issuer: "https://tokens.example", Subject: "client-1", ClientID: "client-1", Audience: []string{"https://api.example"}, ID: "tok_00000000000000000000000001",
		IssuedAt: jws.At(time.Unix(1_800_000_000, 0)), Expires: jws.At(time.Unix(1_900_000_000, 0)), Role: "user", Tags: []string{"team:data", "env:prod"},
	}
	raw, err := jws.Sign(key, jws.Header{Alg: jws.ES256, Kid: kid, Typ: "at+jwt"}, claims.Marshal())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("form", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jws.ParseToken(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	u, err := jws.ParseToken(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("claims", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := u.UnverifiedClaims(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signature", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := u.Verify(key.Verifier()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
