package authority

import (
	"io"
	"strings"
)

// TokenID is a token's id and its jti: "tok_" and 26 base32 characters, 130
// random bits (RFC 7519 section 4.1.7).
type TokenID string

// LoginID is the id and jti of a login: "lgn_" and 26 base32 characters.
type LoginID string

// KeyID is a kid: the RFC 7638 thumbprint of a public key, random for HMAC.
type KeyID string

const (
	tokenPrefix = "tok_"
	loginPrefix = "lgn_"
	idLength    = 26
	shortLength = 8
	// Crockford's base32 without i, l, o, u, so that ids survive being read out.
	idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
)

// ParseTokenID accepts exactly what String prints.
func ParseTokenID(s string) (TokenID, error) {
	if err := checkID(s, tokenPrefix); err != nil {
		return "", err
	}
	return TokenID(s), nil
}

// ParseLoginID accepts exactly what String prints.
func ParseLoginID(s string) (LoginID, error) {
	if err := checkID(s, loginPrefix); err != nil {
		return "", err
	}
	return LoginID(s), nil
}

// ParseKeyID accepts 1 to 64 characters of A-Z a-z 0-9 . _ -.
func ParseKeyID(s string) (KeyID, error) {
	if len(s) < 1 || len(s) > 64 {
		return "", fail(Invalid, "id.malformed", "A key id has 1 to 64 characters.")
	}
	for _, c := range []byte(s) {
		if !isAlnum(c) && c != '.' && c != '_' && c != '-' {
			return "", fail(Invalid, "id.malformed", "A key id has letters, digits and . _ - only.")
		}
	}
	return KeyID(s), nil
}

func (id TokenID) String() string { return string(id) }
func (id LoginID) String() string { return string(id) }
func (id KeyID) String() string   { return string(id) }

// Short is the form people are shown: the prefix and 8 characters.
func (id TokenID) Short() string {
	return string(id[:min(len(id), len(tokenPrefix)+shortLength)])
}

func checkID(s, prefix string) error {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != idLength {
		return fail(Invalid, "id.malformed", "An id is "+prefix+" and 26 characters.")
	}
	for _, c := range []byte(rest) {
		if strings.IndexByte(idAlphabet, c) < 0 {
			return fail(Invalid, "id.malformed", "An id is "+prefix+" and 26 of "+idAlphabet+".")
		}
	}
	return nil
}

// randomText reads n base32 characters, 5 random bits each.
func randomText(rand io.Reader, n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", &Error{Kind: Internal, Err: err}
	}
	for i := range b {
		b[i] = idAlphabet[b[i]&31]
	}
	return string(b), nil
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
