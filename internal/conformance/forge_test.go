package conformance_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func b64text(text string) string { return b64([]byte(text)) }

// parts are those of a token.
func parts(raw string) (header, payload, signature string) {
	p := strings.Split(raw, ".")
	return p[0], p[1], p[2]
}

// plain is what a part says.
func plain(part string) string {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// sign signs what it is given, whatever that is, as whoever has the key could.
func (h *house) sign(key *jws.SigningKey, header, payload string) string {
	h.t.Helper()
	input := b64text(header) + "." + b64text(payload)
	return input + "." + b64(h.signature(key, input))
}

func (h *house) signature(key *jws.SigningKey, input string) []byte {
	h.t.Helper()
	if key.Alg() == jws.HS256 {
		return mac(key.UnsafeBytes(), input)
	}
	private, err := x509.ParsePKCS8PrivateKey(key.UnsafeBytes())
	must(h.t, err)
	switch k := private.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(input))
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, k, digest[:])
		must(h.t, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	h.t.Fatalf("no way to sign with %T", private)
	return nil
}

func mac(secret []byte, input string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(input))
	return m.Sum(nil)
}

// reheaded is a token with another header and a signature that is good.
func (h *house) reheaded(i authority.Issued, change func(header string) string) string {
	h.t.Helper()
	header, payload, _ := parts(i.Text.Unsafe())
	return h.sign(h.key(i.KeyID), h.changed(plain(header), change), plain(payload))
}

// reclaimed is a token with other claims and a signature that is good.
func (h *house) reclaimed(i authority.Issued, change func(payload string) string) string {
	h.t.Helper()
	header, payload, _ := parts(i.Text.Unsafe())
	return h.sign(h.key(i.KeyID), plain(header), h.changed(plain(payload), change))
}

// changed holds a change to having changed something.
func (h *house) changed(text string, change func(string) string) string {
	h.t.Helper()
	now := change(text)
	if now == text {
		h.t.Fatalf("nothing was changed in %s", text)
	}
	return now
}

// resigned is a token with another signature.
func resigned(i authority.Issued, change func(signature []byte) []byte) string {
	header, payload, signature := parts(i.Text.Unsafe())
	return header + "." + payload + "." + b64(change([]byte(plain(signature))))
}

// member adds a member to a JSON object.
func member(text string) func(string) string {
	return func(object string) string { return strings.Replace(object, "{", "{"+text+",", 1) }
}

// swap replaces text once.
func swap(old, changed string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, changed, 1) }
}

// claim replaces the value of a claim.
func claim(name, value string) func(string) string {
	return func(payload string) string {
		before, rest, found := strings.Cut(payload, `"`+name+`":`)
		if !found {
			return payload
		}
		depth, end := 0, len(rest)
		quoted := false
		for i, c := range rest {
			switch {
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '[':
				depth++
			case c == ']':
				depth--
			case depth == 0 && (c == ',' || c == '}'):
				end = i
			}
			if end < len(rest) {
				break
			}
		}
		if value == "" { // without it
			if rest[end] == '}' {
				return strings.TrimSuffix(before, ",") + rest[end:]
			}
			return before + rest[end+1:]
		}
		return before + `"` + name + `":` + value + rest[end:]
	}
}

// confused is signed by HMAC with what is public of the key, for a verifier that
// believes the header's alg.
func (h *house) confused(i authority.Issued) string {
	h.t.Helper()
	_, payload, _ := parts(i.Text.Unsafe())
	alg, secret := "HS256", []byte("of an HMAC key nothing is public")
	if k, public := h.key(i.KeyID).Verifier().JWK(string(i.KeyID)); public {
		secret = []byte(k.X)
	} else {
		alg = "ES256"
	}
	input := b64text(fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, alg, i.KeyID)) + "." + payload
	return input + "." + b64(mac(secret, input))
}

// outOfRange is a signature whose numbers are those of no signature (RFC 7518
// section 3.4, RFC 8032 section 5.1.7); a MAC has no numbers.
func (h *house) outOfRange(signature []byte) []byte {
	switch h.alg {
	case jws.ES256: // s + n, or n where that has too many bytes
		return append(signature[:32:32], p256Order().FillBytes(make([]byte, 32))...)
	case jws.EdDSA: // S + L
		s := make([]byte, 32)
		for i, c := range signature[32:] {
			s[31-i] = c
		}
		sum := new(big.Int).Add(new(big.Int).SetBytes(s), ed25519Order()).FillBytes(make([]byte, 32))
		for i, c := range sum {
			s[31-i] = c
		}
		return append(signature[:32:32], s...)
	case jws.HS256:
	}
	return make([]byte, len(signature))
}

func p256Order() *big.Int {
	n, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	return n
}

func ed25519Order() *big.Int {
	n, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	return n
}
