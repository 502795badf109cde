package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
)

// Algorithm is a JWS algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
type Algorithm string

// The algorithms. One key has exactly one.
const (
	ES256 Algorithm = "ES256"
	EdDSA Algorithm = "EdDSA"
	HS256 Algorithm = "HS256"
)

// ParseAlgorithm accepts the registered names in exact case.
func ParseAlgorithm(s string) (Algorithm, error) {
	switch a := Algorithm(s); a {
	case ES256, EdDSA, HS256:
		return a, nil
	}
	return "", errors.New("the algorithm is one of ES256, EdDSA, HS256")
}

const (
	scalarSize = 32
	secretSize = 32
	maxSecret  = 1 << 10
)

// SigningKey is one secret with its algorithm. It prints as "[secret]". What it
// holds lies behind a pointer: package fmt does not ask a key for its text when
// the key is in an unexported member of something else, but it follows no
// pointer there.
type SigningKey struct{ *material }

type material struct {
	alg  Algorithm
	ec   *ecdsa.PrivateKey
	ed   ed25519.PrivateKey
	hmac []byte
}

// GenerateKey makes a key from a cryptographic source.
func GenerateKey(alg Algorithm, rand io.Reader) (*SigningKey, error) {
	switch alg {
	case ES256:
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand)
		return &SigningKey{&material{alg: alg, ec: k}}, err
	case EdDSA:
		seed := make([]byte, ed25519.SeedSize)
		if _, err := io.ReadFull(rand, seed); err != nil {
			return nil, err
		}
		return &SigningKey{&material{alg: alg, ed: ed25519.NewKeyFromSeed(seed)}}, nil
	case HS256:
		secret := make([]byte, secretSize)
		if _, err := io.ReadFull(rand, secret); err != nil {
			return nil, err
		}
		return &SigningKey{&material{alg: alg, hmac: secret}}, nil
	}
	return nil, fmt.Errorf("the algorithm %q is unknown", string(alg))
}

// ParseSigningKey reads what UnsafeBytes gave, and nothing else: another
// encoding of the same key is refused. An HMAC secret that is short or weak is
// refused (RFC 7518 section 3.2).
func ParseSigningKey(alg Algorithm, data []byte) (*SigningKey, error) {
	if alg == HS256 {
		if err := weak(data); err != nil {
			return nil, err
		}
		return &SigningKey{&material{alg: alg, hmac: bytes.Clone(data)}}, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(data)
	if err != nil {
		return nil, errors.New("it is not a PKCS #8 private key")
	}
	var key *SigningKey
	switch k := parsed.(type) {
	case *ecdsa.PrivateKey:
		if alg == ES256 && k.Curve == elliptic.P256() {
			key = &SigningKey{&material{alg: alg, ec: k}}
		}
	case ed25519.PrivateKey:
		if alg == EdDSA {
			key = &SigningKey{&material{alg: alg, ed: k}}
		}
	}
	if key == nil {
		return nil, fmt.Errorf("it is not a key for %s", string(alg))
	}
	if !bytes.Equal(key.UnsafeBytes(), data) {
		return nil, errors.New("it is not the canonical encoding of a key")
	}
	return key, nil
}

// weak refuses secrets that were not drawn at random: too short, a pattern that
// repeats, few different bytes, text that somebody typed, or a key of another
// algorithm. What is drawn at random passes but for one case in more than 10^13.
func weak(secret []byte) error {
	if len(secret) < secretSize || len(secret) > maxSecret {
		return fmt.Errorf("an HS256 secret has %d to %d bytes", secretSize, maxSecret)
	}
	for period := 1; period <= len(secret)/2; period++ {
		if bytes.Equal(secret[period:], secret[:len(secret)-period]) {
			return errors.New("the secret repeats itself")
		}
	}
	different := slices.Compact(slices.Sorted(slices.Values(secret)))
	if len(different) < secretSize/2 {
		return errors.New("the secret has few different bytes")
	}
	if !slices.ContainsFunc(different, func(c byte) bool { return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c > '~' }) {
		return errors.New("the secret is text; it must be random bytes")
	}
	if _, err := x509.ParsePKCS8PrivateKey(secret); err == nil {
		return errors.New("the secret is a key of another algorithm")
	}
	if _, err := x509.ParsePKIXPublicKey(secret); err == nil {
		return errors.New("the secret is a public key")
	}
	return nil
}

// Alg is the key's algorithm.
func (k *SigningKey) Alg() Algorithm { return k.alg }

// UnsafeBytes is the secret itself: PKCS #8, or the raw bytes for HMAC. Only
// the keyring may have it.
func (k *SigningKey) UnsafeBytes() []byte {
	switch k.alg {
	case HS256:
		return bytes.Clone(k.hmac)
	case EdDSA:
		der, _ := x509.MarshalPKCS8PrivateKey(k.ed) // a key of ours always marshals
		return der
	case ES256:
	}
	der, _ := x509.MarshalPKCS8PrivateKey(k.ec)
	return der
}

const redacted = "[secret]"

// String redacts.
func (SigningKey) String() string { return redacted }

// GoString redacts.
func (SigningKey) GoString() string { return redacted }

// Format redacts under every verb.
func (SigningKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText redacts in JSON and log handlers.
func (SigningKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// sign is deterministic: RFC 6979 for ES256, RFC 8032 for EdDSA.
func (k *SigningKey) sign(input []byte) ([]byte, error) {
	switch k.alg {
	case EdDSA:
		return ed25519.Sign(k.ed, input), nil
	case HS256:
		return mac(k.hmac, input), nil
	case ES256:
	}
	digest := sha256.Sum256(input)
	der, err := k.ec.Sign(nil, digest[:], crypto.SHA256) // no random source: RFC 6979
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &rs); err != nil || len(rest) > 0 {
		return nil, errors.New("the signature is not two integers")
	}
	out := make([]byte, 2*scalarSize)
	rs.R.FillBytes(out[:scalarSize])
	rs.S.FillBytes(out[scalarSize:])
	return out, nil
}

func mac(secret, input []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(input)
	return h.Sum(nil)
}

// Verifier checks signatures of one key. It prints as "[secret]", because for
// HMAC it is the secret.
type Verifier struct{ *half }

type half struct {
	alg  Algorithm
	ec   *ecdsa.PublicKey
	ed   ed25519.PublicKey
	hmac []byte
}

// Verifier is the checking half of the key.
func (k *SigningKey) Verifier() *Verifier {
	v := &half{alg: k.alg, hmac: k.hmac}
	if k.ec != nil {
		v.ec = &k.ec.PublicKey
	}
	if k.ed != nil {
		v.ed, _ = k.ed.Public().(ed25519.PublicKey)
	}
	return &Verifier{v}
}

// Format redacts under every verb.
func (Verifier) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Alg is the key's algorithm.
func (v *Verifier) Alg() Algorithm { return v.alg }

// Verify reports whether signature is the key's over input. ES256 signatures
// are 64 bytes r||s with 0 < r, s < n (RFC 7518 section 3.4); EdDSA ones are 64
// bytes with S < L (RFC 8032 section 5.1.7); MACs are compared in constant time
// over their full length.
func (v *Verifier) Verify(input, signature []byte) bool {
	switch v.alg {
	case EdDSA:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(v.ed, input, signature)
	case HS256:
		return hmac.Equal(mac(v.hmac, input), signature)
	case ES256:
	}
	if len(signature) != 2*scalarSize {
		return false
	}
	digest := sha256.Sum256(input)
	r, s := new(big.Int).SetBytes(signature[:scalarSize]), new(big.Int).SetBytes(signature[scalarSize:])
	return ecdsa.Verify(v.ec, digest[:], r, s)
}
