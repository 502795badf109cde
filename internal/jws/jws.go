// Package jws reads and writes compact JWS (RFC 7515) and JWK sets (RFC 7517).
//
// It touches nothing: no disk, no network, no clock. It accepts only what it
// would write itself: one canonical text per token, three algorithms, no
// header parameter that could point anywhere.
//
// The one hard idea: the key decides, never the header. A header's alg must
// equal the algorithm of the key that its kid names, and nothing is dispatched
// on it (RFC 8725 section 3.1).
package jws

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mintmark/internal/strictjson"
)

// MaxSize bounds a token, in bytes.
const MaxSize = 8 << 10

// Fault classes what is wrong with a token.
type Fault uint8

// The faults.
const (
	Malformed Fault = iota
	TooLarge
	AlgorithmRefused
	HeaderRefused
	KidRefused
	TypeRefused
	AlgorithmMismatch
	BadSignature
	ClaimsMalformed
	Expired
	NotYetValid
	IssuedInFuture
	WrongIssuer
	WrongAudience
)

// Error says what is wrong with a token. Detail is for administrators: it holds
// no signature and no token text.
type Error struct {
	Fault  Fault
	Detail string
}

func (e *Error) Error() string { return e.Detail }

func faultf(f Fault, format string, args ...any) error {
	return &Error{f, fmt.Sprintf(format, args...)}
}

// Header is the part of a JOSE header that we know (RFC 7515 section 4.1).
type Header struct {
	Alg Algorithm
	Kid string
	Typ string
}

// IsType compares typ as a media type: in any case, with or without the prefix
// application/ (RFC 7515 section 4.1.9).
func (h Header) IsType(typ string) bool {
	got := h.Typ
	if len(got) > 12 && strings.EqualFold(got[:12], "application/") {
		got = got[12:]
	}
	return strings.EqualFold(got, typ)
}

// Unverified is a token whose form is good and of which nothing else is known.
type Unverified struct {
	header    Header
	input     string // header "." payload, as it was signed
	payload   string // decoded
	signature string // decoded
}

// Header is what the token says of itself.
func (u Unverified) Header() Header { return u.header }

// Verified is a token whose signature is good.
type Verified struct{ payload string }

// Payload is what was signed.
func (v Verified) Payload() []byte { return []byte(v.payload) }

var encoding = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // an immutable encoding

// compact is which characters a compact JWS may have.
var compact = func() (is [256]bool) { //nolint:gochecknoglobals // a constant table: Go has no constant arrays
	for c := range is {
		is[c] = word(byte(c)) || c == '.'
	}
	return is
}()

// decode appends what canonical base64url says (RFC 7515 section 2, RFC 4648
// section 3.5). The library passes over line breaks, also when it is strict.
func decode(to []byte, text string) ([]byte, error) {
	if strings.IndexByte(text, '\n') >= 0 || strings.IndexByte(text, '\r') >= 0 {
		return nil, errors.New("a line break stands in base64url")
	}
	return encoding.AppendDecode(to, []byte(text))
}

// Sign writes a compact JWS. The same arguments give the same bytes. One that
// Parse would find too large is not written.
func Sign(k *SigningKey, h Header, payload []byte) (string, error) {
	if h.Alg != k.alg {
		return "", fmt.Errorf("the header says %s, the key is for %s", h.Alg, k.alg)
	}
	members := []string{`"alg":` + quote(string(h.Alg))}
	if h.Kid != "" {
		members = append(members, `"kid":`+quote(h.Kid))
	}
	if h.Typ != "" {
		members = append(members, `"typ":`+quote(h.Typ))
	}
	input := encoding.EncodeToString([]byte("{"+strings.Join(members, ",")+"}")) + "." + encoding.EncodeToString(payload)
	signature, err := k.sign([]byte(input))
	if err != nil {
		return "", err
	}
	token := input + "." + encoding.EncodeToString(signature)
	if len(token) > MaxSize {
		return "", fmt.Errorf("the token would have %d bytes, at most %d are read", len(token), MaxSize)
	}
	return token, nil
}

// Parse reads the form of a compact JWS: size, characters and dots before
// anything is decoded, then the three parts, then the header.
func Parse(raw string) (Unverified, error) {
	if len(raw) > MaxSize {
		return Unverified{}, faultf(TooLarge, "%d bytes, at most %d are read", len(raw), MaxSize)
	}
	first, second, err := dots(raw)
	if err != nil {
		return Unverified{}, err
	}
	var room [1 << 10]byte // on the stack, for tokens of a usual length
	decoded, ends := room[:0], [3]int{}
	for i, part := range [3]string{raw[:first], raw[first+1 : second], raw[second+1:]} {
		if decoded, err = decode(decoded, part); err != nil {
			return Unverified{}, faultf(Malformed, "the %s is not canonical base64url", [3]string{"header", "payload", "signature"}[i])
		}
		ends[i] = len(decoded)
	}
	text := string(decoded)
	u := Unverified{input: raw[:second], payload: text[ends[0]:ends[1]], signature: text[ends[1]:]}
	u.header, err = parseHeader(text[:ends[0]])
	return u, err
}

// ParseToken reads what we would issue: Parse, and a kid of 1 to 64 characters
// A-Z a-z 0-9 . _ -, and a typ.
func ParseToken(raw string) (Unverified, error) {
	u, err := Parse(raw)
	if err != nil {
		return u, err
	}
	kid := u.header.Kid
	if kid == "" || len(kid) > 64 {
		return u, faultf(KidRefused, "the header has no kid of 1 to 64 characters")
	}
	for _, c := range []byte(kid) {
		if !word(c) && c != '.' {
			return u, faultf(KidRefused, "the kid has other characters than letters, digits and . _ -")
		}
	}
	if u.header.Typ == "" {
		return u, faultf(TypeRefused, "the header has no typ")
	}
	return u, nil
}

func word(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
}

func dots(raw string) (first, second int, err error) {
	first = strings.IndexByte(raw, '.')
	second = first + 1 + strings.IndexByte(raw[first+1:], '.')
	if i := foreign(raw); i >= 0 {
		return 0, 0, faultf(Malformed, "byte %d is not a character of base64url", i)
	}
	switch {
	case first >= 0 && second > first && strings.IndexByte(raw[second+1:], '.') >= 0:
		return 0, 0, faultf(Malformed, "it has more than two dots")
	case first <= 0 || second <= first+1 || second == len(raw)-1:
		return 0, 0, faultf(Malformed, "it is not three parts joined by dots")
	}
	return first, second, nil
}

// foreign is where the first character is that no compact JWS has, or -1.
func foreign(raw string) int {
	for i := range len(raw) {
		if c := raw[i]; !compact[c] {
			return i
		}
	}
	return -1
}

// refusedParameters point somewhere, change what is signed, or belong to
// encryption; we understand no extension, so crit is among them (RFC 7515
// section 4.1, RFC 7797 section 3, RFC 8725 section 3.10).
func refusedParameters() []string {
	return []string{
		"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc", "cty", "epk", "apu", "apv", "p2s", "p2c", "iv", "tag",
	}
}

func parseHeader(text string) (h Header, err error) {
	var room [8]strictjson.Field
	fields, err := strictjson.Fields(room[:0], text)
	if err != nil {
		return Header{}, faultf(Malformed, "the header is not strict JSON: %v", err)
	}
	var alg string
	for _, f := range fields {
		var into *string
		switch f.Name {
		case "alg":
			into = &alg
		case "kid":
			into = &h.Kid
		case "typ":
			into = &h.Typ
		default:
			if err := refuseParameter(f.Name); err != nil {
				return Header{}, err
			}
			continue
		}
		if *into, err = strictjson.Unquoted(f.Value); err != nil {
			return Header{}, faultf(Malformed, "the header parameter %s is not a string", f.Name)
		}
	}
	if h.Alg, err = ParseAlgorithm(alg); err != nil {
		return Header{}, faultf(AlgorithmRefused, "the algorithm is none of ES256, EdDSA, HS256")
	}
	return h, nil
}

// refuseParameter lets a parameter pass that means nothing to anybody.
func refuseParameter(name string) error {
	if slices.Contains(refusedParameters(), name) {
		return faultf(HeaderRefused, "the header parameter %s is refused", name)
	}
	if confusable(name, "alg", "kid", "typ") || confusable(name, refusedParameters()...) {
		return faultf(HeaderRefused, "a header parameter is written in another case")
	}
	return nil
}

// confusable reports a name that a reader without regard to case would take
// for one of the known.
func confusable(name string, known ...string) bool {
	return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(name, k) })
}

// Verify checks the signature with the key that the caller found by kid; nil is
// no key and verifies nothing.
func (u Unverified) Verify(v *Verifier) (Verified, error) {
	if v == nil {
		return Verified{}, faultf(KidRefused, "no key has the kid")
	}
	if u.header.Alg != v.alg {
		return Verified{}, faultf(AlgorithmMismatch, "the header says %s, the key is for %s", u.header.Alg, v.alg)
	}
	if !v.Verify([]byte(u.input), []byte(u.signature)) {
		return Verified{}, faultf(BadSignature, "the signature does not match")
	}
	return Verified{u.payload}, nil
}

func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}
