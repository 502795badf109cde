package jws

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
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

// Verifier answers the key of a kid, or nil.
func (s Set) Verifier(kid string) *Verifier { return s.keys[kid] }

const maxSet = 64 << 10

// ParseSet reads a set of public keys of our algorithms. A private member, a
// kid that is missing or there twice, and a point off its curve are refused.
func ParseSet(data []byte) (Set, error) {
	if len(data) > maxSet {
		return Set{}, fmt.Errorf("a key set has at most %d bytes", maxSet)
	}
	members, err := object(data)
	if err != nil {
		return Set{}, err
	}
	var keys []json.RawMessage
	if err := json.Unmarshal(members["keys"], &keys); err != nil {
		return Set{}, fmt.Errorf("the set has no keys")
	}
	set := Set{make(map[string]*Verifier, len(keys))}
	for _, raw := range keys {
		kid, v, err := parseJWK(raw)
		if err != nil {
			return Set{}, err
		}
		if set.keys[kid] != nil {
			return Set{}, fmt.Errorf("kid %q is there twice", kid)
		}
		set.keys[kid] = v
	}
	return set, nil
}

func parseJWK(raw json.RawMessage) (string, *Verifier, error) {
	members, err := object(raw)
	if err != nil {
		return "", nil, err
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, there := members[private]; there {
			return "", nil, fmt.Errorf("the set holds a private key")
		}
	}
	var k JWK
	for name, into := range map[string]*string{"kty": &k.Kty, "crv": &k.Crv, "x": &k.X, "y": &k.Y, "use": &k.Use, "alg": &k.Alg, "kid": &k.Kid} {
		if value, there := members[name]; there {
			if err := str(value, into); err != nil {
				return "", nil, fmt.Errorf("the member %s of a key is not a string", name)
			}
		}
	}
	if k.Kid == "" || k.Use != "" && k.Use != "sig" {
		return "", nil, fmt.Errorf("a key has no kid or is not for signatures")
	}
	v, err := k.verifier()
	return k.Kid, v, err
}

func (k JWK) verifier() (*Verifier, error) {
	x, errX := encoding.DecodeString(k.X)
	y, errY := encoding.DecodeString(k.Y)
	if errX != nil || errY != nil {
		return nil, fmt.Errorf("a coordinate of %q is not canonical base64url", k.Kid)
	}
	switch {
	case k.Kty == "EC" && k.Crv == "P-256" && (k.Alg == "" || k.Alg == string(ES256)) && len(x) == scalarSize && len(y) == scalarSize:
		point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, fmt.Errorf("the key %q is no point of its curve", k.Kid)
		}
		return &Verifier{alg: ES256, ec: point}, nil
	case k.Kty == "OKP" && k.Crv == "Ed25519" && (k.Alg == "" || k.Alg == string(EdDSA) || k.Alg == "Ed25519") && len(x) == ed25519.PublicKeySize && k.Y == "":
		return &Verifier{alg: EdDSA, ed: x}, nil
	}
	return nil, fmt.Errorf("the key %q is none that is understood", k.Kid)
}
