package jws_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"testing"

	"mintmark/internal/jws"
)

// family is one algorithm with a key of its own.
type family struct {
	alg jws.Algorithm
	key *jws.SigningKey
}

func families(t testing.TB) []family {
	t.Helper()
	var all []family
	for _, alg := range []jws.Algorithm{jws.ES256, jws.EdDSA, jws.HS256} {
		all = append(all, family{alg, generate(t, alg)})
	}
	return all
}

// overEveryAlgorithm runs a test for each algorithm.
func overEveryAlgorithm(t *testing.T, test func(*testing.T, family)) {
	t.Helper()
	for _, f := range families(t) {
		t.Run(string(f.alg), func(t *testing.T) { test(t, f) })
	}
}

func generate(t testing.TB, alg jws.Algorithm) *jws.SigningKey {
	t.Helper()
	k, err := jws.GenerateKey(alg, rand.Reader)
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// compact joins what may be no token at all.
func compact(header, payload string, signature []byte) string {
	return encode([]byte(header)) + "." + encode([]byte(payload)) + "." + encode(signature)
}

// forge signs any header with a key, without the package under test.
func forge(t testing.TB, k *jws.SigningKey, header, payload string) string {
	t.Helper()
	return compact(header, payload, signature(t, k, encode([]byte(header))+"."+encode([]byte(payload))))
}

func signature(t testing.TB, k *jws.SigningKey, input string) []byte {
	t.Helper()
	secret := k.UnsafeBytes()
	if k.Alg() == jws.HS256 {
		return mac(secret, input)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(secret)
	must(t, err)
	if ed, ok := parsed.(ed25519.PrivateKey); ok {
		return ed25519.Sign(ed, []byte(input))
	}
	digest := sha256.Sum256([]byte(input))
	der, err := parsed.(*ecdsa.PrivateKey).Sign(rand.Reader, digest[:], crypto.SHA256)
	must(t, err)
	r, s := integers(t, der)
	return join(r, s)
}

func mac(secret []byte, input string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(input))
	return h.Sum(nil)
}

func integers(t testing.TB, der []byte) (r, s *big.Int) {
	t.Helper()
	var rs struct{ R, S *big.Int }
	_, err := asn1.Unmarshal(der, &rs)
	must(t, err)
	return rs.R, rs.S
}

// join writes r||s in 64 bytes.
func join(r, s *big.Int) []byte {
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

// accept reads a token as the live set does.
func accept(raw string, v *jws.Verifier) ([]byte, error) {
	u, err := jws.ParseToken(raw)
	if err != nil {
		return nil, err
	}
	verified, err := u.Verify(v)
	return verified.Payload(), err
}

// wantFault holds a refusal to what it says, and to what it must not say.
func wantFault(t *testing.T, err error, want jws.Fault) {
	t.Helper()
	var e *jws.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a fault", err)
	}
	if e.Fault != want {
		t.Errorf("got fault %d (%s), want %d", e.Fault, e.Detail, want)
	}
}
