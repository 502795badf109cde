// Package password judges and hashes administrators' passwords (NIST SP
// 800-63B-4 section 3.1.1).
//
// It touches nothing. The one hard idea: a password is compared whole, after
// one normalisation (NFKC), everywhere: in the length rule, in the blocklist
// and in the hash; nothing is ever cut.
package password

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"mintmark/internal/authority"
)

// The length of a password, in code points: both as it was typed and after NFKC,
// which makes one of some and many of others.
const (
	MinLength = 15
	MaxLength = 1024
)

// Params are the costs of argon2id (RFC 9106 section 3.1).
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

const costs = "m=%d,t=%d,p=%d"

// String gives the form that a PHC string has them in.
func (p Params) String() string { return fmt.Sprintf(costs, p.Memory, p.Time, p.Threads) }

// Recommended are the costs in use: 19 MiB, two passes, one lane.
func Recommended() Params { return Params{Memory: 19456, Time: 2, Threads: 1} }

const (
	saltSize = 16
	keySize  = 32
)

// Hasher hashes and verifies, a bounded number at a time. It implements
// authority.Passwords.
type Hasher struct {
	params Params
	slots  chan struct{}
	rand   io.Reader
	dummy  string
}

// NewHasher makes a hasher that runs at most parallel hashes at once.
func NewHasher(p Params, parallel int, rand io.Reader) *Hasher {
	h := &Hasher{params: p, slots: make(chan struct{}, max(parallel, 1)), rand: rand}
	// A hash of nothing anybody knows takes the place of an unknown user's.
	h.dummy = h.format(make([]byte, saltSize), make([]byte, keySize))
	return h
}

// Hash answers a PHC string.
func (h *Hasher) Hash(ctx context.Context, password authority.Secret) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("draw salt: %w", err)
	}
	key, err := h.derive(ctx, password, salt, h.params)
	if err != nil {
		return "", err
	}
	return h.format(salt, key), nil
}

// Verify compares a password with a PHC string; an empty one takes as long and
// never matches. again asks for a new hash because the costs have changed.
func (h *Hasher) Verify(ctx context.Context, phc string, password authority.Secret) (ok, again bool, err error) {
	known := phc != ""
	if !known {
		phc = h.dummy
	}
	p, salt, want, err := parse(phc)
	if err != nil {
		return false, false, err
	}
	got, err := h.derive(ctx, password, salt, p)
	if err != nil {
		return false, false, err
	}
	same := subtle.ConstantTimeCompare(got, want) == 1
	return same && known, same && p != h.params, nil
}

func (h *Hasher) derive(ctx context.Context, password authority.Secret, salt []byte, p Params) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, &authority.Error{Kind: authority.Unavailable, Code: "login.busy", Msg: "Too many sign-ins at once. Try again.", Err: ctx.Err()}
	}
	return argon2.IDKey([]byte(Normalize(password.Unsafe())), salt, p.Time, p.Memory, p.Threads, keySize), nil
}

func (h *Hasher) format(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$%s$%s$%s", argon2.Version, h.params, b64.EncodeToString(salt), b64.EncodeToString(key))
}

// parse reads a PHC string with bounded costs, so that a stored one cannot
// exhaust the machine.
func parse(phc string) (p Params, salt, key []byte, err error) {
	parts := strings.Split(phc, "$")
	wrong := errors.New("the stored password hash is malformed")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, wrong
	}
	if _, err := fmt.Sscanf(parts[3], costs, &p.Memory, &p.Time, &p.Threads); err != nil || parts[3] != p.String() {
		return p, nil, nil, wrong
	}
	if p.Memory < 8 || p.Memory > 1<<20 || p.Time < 1 || p.Time > 64 || p.Threads < 1 {
		return p, nil, nil, errors.New("the costs of the stored password hash are out of bounds")
	}
	b64 := base64.RawStdEncoding.Strict()
	if salt, err = b64.DecodeString(parts[4]); err != nil || len(salt) < 8 {
		return p, nil, nil, wrong
	}
	if key, err = b64.DecodeString(parts[5]); err != nil || len(key) != keySize {
		return p, nil, nil, wrong
	}
	return p, salt, key, nil
}

// Normalize gives the one form of a password that counts (NFKC).
func Normalize(password string) string { return norm.NFKC.String(password) }

// Check answers in a sentence why a password may not be used, or "". words are
// those of the place: the product, the host, the user.
func (h *Hasher) Check(password authority.Secret, words ...string) string {
	text := password.Unsafe()
	if !utf8.ValidString(text) {
		return "The password is not text."
	}
	typed := utf8.RuneCountInString(text)
	text = Normalize(text)
	switch n := min(typed, utf8.RuneCountInString(text)); {
	case n < MinLength:
		return fmt.Sprintf("A password has at least %d characters; this has %d.", MinLength, n)
	case max(typed, utf8.RuneCountInString(text)) > MaxLength:
		return fmt.Sprintf("A password has at most %d characters.", MaxLength)
	}
	return guessable(text, words)
}
