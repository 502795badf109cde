package signing

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/strictjson"
)

const (
	maxKeyring    = 1 << 20
	keyringFormat = "mintmark-keyring/1"
)

// document is the stored form. The checksum covers every byte before it, and
// what follows it is fixed, so any change of any byte is noticed.
type document struct {
	Format   string      `json:"format"`
	Keys     []storedKey `json:"keys"`
	Checksum string      `json:"checksum"`
}

type storedKey struct {
	Kid    string `json:"kid"`
	Alg    string `json:"alg"`
	Secret string `json:"secret"` // base64: PKCS #8 for ES256 and EdDSA, raw for HS256
}

// encode writes the keys by ascending kid, so that one ring has one text.
func encode(keys map[authority.KeyID]held) []byte {
	d := document{Format: keyringFormat, Keys: []storedKey{}}
	for _, kid := range slices.Sorted(maps.Keys(keys)) {
		secret := keys[kid].secret
		d.Keys = append(d.Keys, storedKey{string(kid), string(secret.Alg()), base64.StdEncoding.EncodeToString(secret.UnsafeBytes())})
	}
	return d.seal()
}

func (d document) seal() []byte {
	d.Checksum = ""
	body, _ := json.MarshalIndent(d, "", "  ") // strings only: it cannot fail
	sum := sha256.Sum256(body)
	d.Checksum = "sha256:" + hex.EncodeToString(sum[:])
	sealed, _ := json.MarshalIndent(d, "", "  ")
	return append(sealed, '\n')
}

// decode accepts only what encode writes. Its errors hold no secret.
func decode(data []byte) (map[authority.KeyID]held, error) {
	var d document
	if err := strictjson.Decode(data, &d); err != nil {
		return nil, err
	}
	if d.Format != keyringFormat {
		return nil, fmt.Errorf("its format is not %s", keyringFormat)
	}
	if !bytes.Equal(d.seal(), data) {
		return nil, errors.New("its checksum does not match")
	}
	keys := make(map[authority.KeyID]held, len(d.Keys))
	for _, k := range d.Keys {
		kid, err := authority.ParseKeyID(k.Kid)
		if err != nil {
			return nil, err
		}
		if _, twice := keys[kid]; twice {
			return nil, fmt.Errorf("%s is there twice", kid)
		}
		if keys[kid], err = k.open(); err != nil {
			return nil, fmt.Errorf("the secret of %s: %w", kid, err)
		}
	}
	if !bytes.Equal(encode(keys), data) {
		return nil, errors.New("it is not written as this program writes it")
	}
	return keys, nil
}

func (k storedKey) open() (held, error) {
	raw, err := base64.StdEncoding.DecodeString(k.Secret)
	if err != nil {
		return held{}, errors.New("it is not base64")
	}
	alg, err := jws.ParseAlgorithm(k.Alg)
	if err != nil {
		return held{}, err
	}
	return newHeld(k.Kid, alg, raw)
}

func newHeld(kid string, alg jws.Algorithm, raw []byte) (held, error) {
	secret, err := jws.ParseSigningKey(alg, raw)
	if err != nil {
		return held{}, err
	}
	verifier := secret.Verifier()
	if thumb, ok := verifier.Thumbprint(); ok && thumb != kid {
		return held{}, errors.New("the kid is not the thumbprint of its key")
	}
	return held{secret, verifier}, nil
}

func randomKid(rand io.Reader) (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}
