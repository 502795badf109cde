// Package signing has custody of the signing keys: it makes, keeps and forgets
// their secrets, signs claims with them and publishes their public parts.
//
// It touches one file, the keyring, through durable; nobody else reads it. A
// fleet has no such file: there each secret lasts in its key's record, sealed
// under a key-encryption key that each node has from a file. What state a key is
// in is a record in the store, not its business.
//
// The one hard idea: a secret is durable before any record names it and is
// forgotten after no record needs it any more. A secret without a record is
// harmless; a record without a secret is an error that start-up refuses.
package signing

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/jws"
)

// ErrLost says that there is no keyring file where one was.
var ErrLost = errors.New("the keyring file is missing")

// Ring is the keyring. Its methods may be called concurrently.
type Ring struct {
	files durable.Files
	path  string // "" keeps the secrets in memory
	rand  io.Reader

	sealing  *Sealing // nil unless secrets last in records; see InRecords
	unopened map[authority.KeyID]error

	mu   sync.RWMutex
	keys map[authority.KeyID]held
}

// held is one secret with what verifies it, made once.
type held struct {
	secret   *jws.SigningKey
	verifier *jws.Verifier
}

// InMemory makes a ring whose secrets end with the process.
func InMemory(rand io.Reader) *Ring {
	return &Ring{rand: rand, keys: make(map[authority.KeyID]held)}
}

// Create makes an empty keyring file; only the creation of a home does. It
// refuses when the file exists.
func Create(files durable.Files, path string, rand io.Reader) (*Ring, error) {
	r := &Ring{files: files, path: path, rand: rand, keys: make(map[authority.KeyID]held)}
	if err := files.CreateNew(path, encode(r.keys)); err != nil {
		return nil, fmt.Errorf("create keyring: %w", err)
	}
	return r, nil
}

// Open reads the keyring file. A missing one is ErrLost, a damaged one is
// refused; neither is ever replaced silently.
func Open(files durable.Files, path string, rand io.Reader) (*Ring, error) {
	data, err := files.Read(path, maxKeyring)
	var keys map[authority.KeyID]held
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open keyring %s: %w. Put a copy of this home's keyring back, or end every token and login with: manager support reset-jwt-key", path, ErrLost)
	case err == nil:
		keys, err = decode(data)
	case !errors.Is(err, durable.ErrTooLarge):
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("keyring %s is damaged: %w. Put a copy of this home's keyring back; nothing was changed", path, err)
	}
	return &Ring{files: files, path: path, rand: rand, keys: keys}, nil
}

// Generate makes a key of an algorithm; it is durable when this returns.
func (r *Ring) Generate(algorithm string) (authority.KeyID, error) {
	alg, err := jws.ParseAlgorithm(algorithm)
	if err != nil {
		return "", fmt.Errorf("generate key: %w", err)
	}
	secret, err := jws.GenerateKey(alg, r.rand)
	if err != nil {
		return "", fmt.Errorf("generate key: %w", err)
	}
	verifier := secret.Verifier()
	kid, ok := verifier.Thumbprint()
	if !ok {
		// The thumbprint of an HMAC secret would tell about the secret (RFC 7638
		// section 7).
		if kid, err = randomKid(r.rand); err != nil {
			return "", fmt.Errorf("generate key: %w", err)
		}
	}
	id := authority.KeyID(kid)
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := maps.Clone(r.keys)
	keys[id] = held{secret, verifier}
	return id, r.replace(keys)
}

// Keep forgets every secret but those named.
func (r *Ring) Keep(kids []authority.KeyID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make(map[authority.KeyID]held, len(kids))
	for _, kid := range kids {
		if k, ok := r.keys[kid]; ok {
			keys[kid] = k
		}
	}
	if len(keys) == len(r.keys) || r.sealing != nil {
		return nil // what lasts in records is forgotten with them
	}
	return r.replace(keys)
}

// Mint signs claims under kid.
func (r *Ring) Mint(kid authority.KeyID, typ string, c authority.Claims) (authority.Secret, error) {
	r.mu.RLock()
	k, ok := r.keys[kid]
	r.mu.RUnlock()
	if !ok {
		return authority.Secret{}, &authority.Error{Kind: authority.Internal, Err: fmt.Errorf("the secret of key %s is not in the keyring", kid)}
	}
	claims := jws.Claims{
		Issuer: c.Issuer, Subject: c.Subject, ClientID: c.ClientID, Audience: c.Audience, ID: c.ID,
		IssuedAt: jws.At(c.IssuedAt), Expires: jws.At(c.ExpiresAt), Role: string(c.Role), Tags: c.Tags,
	}
	text, err := jws.Sign(k.secret, jws.Header{Alg: k.secret.Alg(), Kid: string(kid), Typ: typ}, claims.Marshal())
	if err != nil {
		return authority.Secret{}, fmt.Errorf("sign under %s: %w", kid, err)
	}
	return authority.NewSecret(text), nil
}

// Has reports whether the secret of kid is kept.
func (r *Ring) Has(kid authority.KeyID) bool { return r.Verifier(kid) != nil }

// Verifier answers what verifies signatures of kid, or nil.
func (r *Ring) Verifier(kid authority.KeyID) *jws.Verifier {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.keys[kid].verifier
}

// JWKSet is the public key set (RFC 7517 section 5) of the given keys, in their
// order. An HMAC key has no public part and is never in it.
func (r *Ring) JWKSet(keys []authority.Key) []byte {
	var set []jws.JWK
	for _, k := range keys {
		if v := r.Verifier(k.ID); v != nil {
			if jwk, ok := v.JWK(string(k.ID)); ok {
				set = append(set, jwk)
			}
		}
	}
	return jws.MarshalSet(set)
}

// replace makes keys the ring when they are durable.
func (r *Ring) replace(keys map[authority.KeyID]held) error {
	if err := r.save(keys); err != nil {
		return err
	}
	r.keys = keys
	return nil
}

func (r *Ring) save(keys map[authority.KeyID]held) error {
	if r.path == "" {
		return nil
	}
	err := r.files.Write(r.path, encode(keys))
	if err == nil {
		return nil
	}
	kind, code := authority.Unavailable, "keyring.unwritable"
	if errors.Is(err, durable.ErrFull) {
		kind, code = authority.Full, "store.full" // a code has one status
	}
	return &authority.Error{Kind: kind, Code: code, Msg: "The keyring cannot be written.", Err: fmt.Errorf("write keyring: %w", err)}
}
