package jws

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mintmark/internal/strictjson"
)

// JWK is a public key (RFC 7517 section 4). It has no place for a private
// member.
type JWK struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y,omitempty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid"`
}

// JWK is the public part under a kid; an HMAC key has none.
func (v *Verifier) JWK(kid string) (JWK, bool) {
	switch v.alg {
	case ES256:
		point, err := v.ec.Bytes()
		if err != nil {
			return JWK{}, false
		}
		return JWK{
			Kty: "EC", Crv: "P-256", X: encoding.EncodeToString(point[1 : 1+scalarSize]), Y: encoding.EncodeToString(point[1+scalarSize:]),
			Use: "sig", Alg: string(ES256), Kid: kid,
		}, true
	case EdDSA:
		return JWK{Kty: "OKP", Crv: "Ed25519", X: encoding.EncodeToString(v.ed), Use: "sig", Alg: string(EdDSA), Kid: kid}, true
	case HS256:
	}
	return JWK{}, false
}

// Thumbprint is the RFC 7638 thumbprint of a public key, in base64url; an HMAC
// key has none that may be told.
func (v *Verifier) Thumbprint() (string, bool) {
	k, ok := v.JWK("")
	if !ok {
		return "", false
	}
	members := fmt.Sprintf(`{"crv":"%s","kty":"%s","x":"%s"}`, k.Crv, k.Kty, k.X)
	if k.Y != "" {
		members = fmt.Sprintf(`{"crv":"%s","kty":"%s","x":"%s","y":"%s"}`, k.Crv, k.Kty, k.X, k.Y)
	}
	sum := sha256.Sum256([]byte(members))
	return encoding.EncodeToString(sum[:]), true
}

// MarshalSet writes a JWK set (RFC 7517 section 5).
func MarshalSet(keys []JWK) []byte {
	if keys == nil {
		keys = []JWK{}
	}
	data, _ := json.Marshal(struct {
		Keys []JWK `json:"keys"`
	}{keys}) // strings only: it cannot fail
	return data
}

// Set is a parsed JWK set.
type Set struct{ keys map[string]*Verifier }

// Verifier answers the key of a kid, or nil, which verifies nothing.
func (s Set) Verifier(kid string) *Verifier { return s.keys[kid] }

const maxSet = 64 << 10

// ParseSet reads a set of public keys (RFC 7517 section 5). A key of another
// kind, algorithm or use than ours is passed over, so that a set may come to
// hold kinds that we do not know. The whole set is refused for a secret in any
// of its keys, a kid that is missing or there twice, a coordinate that is not
// canonical or has another length, and a P-256 point off its curve.
func ParseSet(data []byte) (Set, error) {
	if len(data) > maxSet {
		return Set{}, fmt.Errorf("a key set has at most %d bytes", maxSet)
	}
	members, err := object(data)
	if err != nil {
		return Set{}, err
	}
	keys, err := strictjson.Elements(members["keys"])
	if err != nil {
		return Set{}, errors.New("the set has no array of keys")
	}
	set := Set{make(map[string]*Verifier, len(keys))}
	for _, raw := range keys {
		kid, v, err := parseJWK(raw)
		if err != nil {
			return Set{}, err
		}
		if _, twice := set.keys[kid]; twice {
			return Set{}, fmt.Errorf("kid %q is there twice", kid)
		}
		set.keys[kid] = v // nil when it is passed over
	}
	return set, nil
}

// parseJWK answers the kid of a key and what it verifies with, nil when the key
// is none of ours.
func parseJWK(raw []byte) (string, *Verifier, error) {
	members, err := object(raw)
	if err != nil {
		return "", nil, err
	}
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, there := members[secret]; there {
			return "", nil, errors.New("the set holds a secret")
		}
	}
	var k JWK
	for name, into := range map[string]*string{"kty": &k.Kty, "crv": &k.Crv, "x": &k.X, "y": &k.Y, "use": &k.Use, "alg": &k.Alg, "kid": &k.Kid} {
		if value, there := members[name]; there {
			if *into, err = strictjson.Text(value); err != nil {
				return "", nil, errors.New("a member of a key is not a string")
			}
		}
	}
	if k.Kid == "" || k.Kty == "" {
		return "", nil, errors.New("a key has no kid or no kty")
	}
	verifies, err := verifies(members["key_ops"])
	if err != nil || !verifies || k.Use != "" && k.Use != "sig" {
		return k.Kid, nil, err
	}
	v, err := k.verifier()
	return k.Kid, v, err
}

// object reads a strict JSON object by name.
func object(text []byte) (map[string][]byte, error) {
	members, err := strictjson.Members(text)
	if err != nil {
		return nil, err
	}
	named := make(map[string][]byte, len(members))
	for _, m := range members {
		named[m.Name] = m.Value
	}
	return named, nil
}

// verifies reports whether the operations of a key, if it has any, are those of
// signatures (RFC 7517 section 4.3).
func verifies(raw []byte) (bool, error) {
	if raw == nil {
		return true, nil
	}
	ops, err := many(string(raw))
	if err != nil {
		return false, errors.New("the operations of a key are not an array of strings")
	}
	slices.Sort(ops)
	if len(slices.Compact(slices.Clone(ops))) != len(ops) {
		return false, errors.New("an operation of a key is there twice")
	}
	foreign := slices.ContainsFunc(ops, func(op string) bool { return op != "sign" && op != "verify" })
	return slices.Contains(ops, "verify") && !foreign, nil
}

// verifier answers nil for a key of another kind or algorithm than ours.
func (k JWK) verifier() (*Verifier, error) {
	switch {
	case k.Kty == "EC" && k.Crv == "P-256" && (k.Alg == "" || k.Alg == string(ES256)):
		x, errX := coordinate(k.X)
		y, errY := coordinate(k.Y)
		if err := errors.Join(errX, errY); err != nil {
			return nil, fmt.Errorf("the key %q: %w", k.Kid, err)
		}
		point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, fmt.Errorf("the key %q is no point of its curve", k.Kid)
		}
		return &Verifier{&half{alg: ES256, ec: point}}, nil
	case k.Kty == "OKP" && k.Crv == "Ed25519" && (k.Alg == "" || k.Alg == string(EdDSA) || k.Alg == "Ed25519"):
		x, err := coordinate(k.X)
		if err != nil {
			return nil, fmt.Errorf("the key %q: %w", k.Kid, err)
		}
		return &Verifier{&half{alg: EdDSA, ed: x}}, nil
	}
	return nil, nil
}

// coordinate reads 32 bytes, with their leading zeros (RFC 7518 section
// 6.2.1.2, RFC 8037 section 2).
func coordinate(text string) ([]byte, error) {
	c, err := decode(nil, text)
	if err != nil || len(c) != scalarSize {
		return nil, fmt.Errorf("a coordinate is not the canonical base64url of %d bytes", scalarSize)
	}
	return c, nil
}
