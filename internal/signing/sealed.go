package signing

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/jws"
)

const (
	sealingFormat = "mintmark-sealing/1:"
	sealingSize   = 32 // AES-256
	sealedVersion = 1
	sealingIDSize = 8
	maxSealing    = 1 << 12
)

// Sealing is the key-encryption keys of a fleet: the first seals, each opens what
// it sealed. Every node has them from a file; they never reach a store.
type Sealing struct {
	files durable.Files
	path  string
	keys  atomic.Pointer[[]sealingKey]
	rand  io.Reader
}

type sealingKey struct {
	id   [sealingIDSize]byte // of which key it is; tells nothing about it
	aead cipher.AEAD
}

// CreateSealing makes a file with a new key-encryption key. It refuses when the
// file exists.
func CreateSealing(files durable.Files, path string, rand io.Reader) (*Sealing, error) {
	key := make([]byte, sealingSize)
	if _, err := io.ReadFull(rand, key); err != nil {
		return nil, fmt.Errorf("create key-encryption key: %w", err)
	}
	text := sealingFormat + base64.StdEncoding.EncodeToString(key) + "\n"
	if err := files.CreateNew(path, []byte(text)); err != nil {
		return nil, fmt.Errorf("create key-encryption key: %w", err)
	}
	return OpenSealing(files, path, rand)
}

// OpenSealing reads the file: a line for each key, the one that seals first. Its
// errors hold no key.
func OpenSealing(files durable.Files, path string, rand io.Reader) (*Sealing, error) {
	s := &Sealing{files: files, path: path, rand: rand}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// read reads the file, which may have other lines than before.
func (s *Sealing) read() error {
	data, err := s.files.Read(s.path, maxSealing)
	if err != nil {
		return fmt.Errorf("open key-encryption key: %w", err)
	}
	var keys []sealingKey
	for n, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		text, ok := strings.CutPrefix(line, sealingFormat)
		key, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(key) != sealingSize || bytes.Count(key, key[:1]) == sealingSize {
			return fmt.Errorf("key-encryption key %s: line %d is not one of ours. Copy the file of another node, byte for byte", s.path, n+1)
		}
		k, err := newSealingKey(key)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	s.keys.Store(&keys)
	return nil
}

func newSealingKey(key []byte) (sealingKey, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealingKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return sealingKey{}, err
	}
	k := sealingKey{aead: aead}
	sum := sha256.Sum256(append([]byte("mintmark key-encryption key id\x00"), key...))
	copy(k.id[:], sum[:])
	return k, nil
}

// seal encrypts a secret for the record of its key (AES-256-GCM, NIST SP
// 800-38D): a version, which key sealed, a nonce, the text.
func (s *Sealing) seal(kid authority.KeyID, alg string, secret []byte) ([]byte, error) {
	k := (*s.keys.Load())[0]
	nonce := make([]byte, k.aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, err
	}
	out := append([]byte{sealedVersion}, k.id[:]...)
	out = append(out, nonce...)
	return k.aead.Seal(out, nonce, secret, about(kid, alg)), nil
}

// about binds a sealed secret to its key's record.
func about(kid authority.KeyID, alg string) []byte { return []byte(string(kid) + "\x00" + alg) }

func (s *Sealing) open(kid authority.KeyID, alg string, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+sealingIDSize || sealed[0] != sealedVersion {
		return nil, errors.New("it is not sealed as this program seals")
	}
	id, rest := sealed[1:1+sealingIDSize], sealed[1+sealingIDSize:]
	keys := *s.keys.Load()
	at := slices.IndexFunc(keys, func(k sealingKey) bool { return bytes.Equal(k.id[:], id) })
	if at < 0 {
		return nil, errors.New("it is sealed under another key-encryption key than this node has; copy the file of the node that made it")
	}
	aead := keys[at].aead
	if len(rest) < aead.NonceSize() {
		return nil, errors.New("it is cut short")
	}
	nonce, text := rest[:aead.NonceSize()], rest[aead.NonceSize():]
	secret, err := aead.Open(nil, nonce, text, about(kid, alg))
	if err != nil {
		return nil, errors.New("it was changed, or is another key's")
	}
	return secret, nil
}

// InRecords makes a ring whose secrets last in the keys' records, sealed. It
// learns them by following the store: a fleet shares one keyring so.
func InRecords(sealing *Sealing, rand io.Reader) *Ring {
	return &Ring{rand: rand, sealing: sealing, keys: make(map[authority.KeyID]held)}
}

// Sealed is the secret of kid as its record carries it; nil when secrets last
// elsewhere.
func (r *Ring) Sealed(kid authority.KeyID) ([]byte, error) {
	if r.sealing == nil {
		return nil, nil
	}
	r.mu.RLock()
	k, ok := r.keys[kid]
	r.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("the secret of key %s is not in the keyring", kid)
	}
	sealed, err := r.sealing.seal(kid, string(k.secret.Alg()), k.secret.UnsafeBytes())
	if err != nil {
		return nil, fmt.Errorf("seal the secret of key %s: %w", kid, err)
	}
	return sealed, nil
}

// Refresh reads the file of the key-encryption keys again; a file that cannot be
// used changes nothing. A ring whose secrets last elsewhere has none.
func (r *Ring) Refresh() error {
	if r.sealing == nil {
		return nil
	}
	if err := r.sealing.read(); err != nil {
		return &authority.Error{Kind: authority.Conflict, Code: "sealing.unusable", Msg: err.Error(), Err: err}
	}
	return nil
}

// Adopt takes the secrets of another ring over, for keys that move to where this
// one's last.
func (r *Ring) Adopt(from *Ring) error {
	from.mu.RLock()
	theirs := maps.Clone(from.keys)
	from.mu.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := maps.Clone(r.keys)
	maps.Copy(keys, theirs)
	return r.replace(keys)
}

// Load learns the secrets of every record; see authority.Follower. A ring whose
// secrets last elsewhere learns nothing.
func (r *Ring) Load(snapshot authority.Change) { r.learn(snapshot) }

// Apply learns the secrets of changed records and forgets those of retired keys;
// see authority.Follower.
func (r *Ring) Apply(change authority.Change) { r.learn(change) }

func (r *Ring) learn(change authority.Change) {
	if r.sealing == nil || len(change.Keys) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := maps.Clone(r.keys)
	for _, c := range change.Keys {
		if c.Value == nil || c.Value.State == authority.KeyRetired {
			delete(keys, c.Key)
			delete(r.unopened, c.Key)
			continue
		}
		if _, known := keys[c.Key]; known {
			continue
		}
		k, err := r.sealing.openKey(c.Value)
		if err != nil {
			if r.unopened == nil {
				r.unopened = make(map[authority.KeyID]error)
			}
			r.unopened[c.Key] = fmt.Errorf("the secret of %s cannot be opened: %w", c.Value.Name, err)
			continue
		}
		keys[c.Key] = k
		delete(r.unopened, c.Key)
	}
	r.keys = keys
}

func (s *Sealing) openKey(k *authority.Key) (held, error) {
	raw, err := s.open(k.ID, k.Algorithm, k.Sealed)
	if err != nil {
		return held{}, err
	}
	alg, err := jws.ParseAlgorithm(k.Algorithm)
	if err != nil {
		return held{}, err
	}
	return newHeld(string(k.ID), alg, raw)
}

// Problem is why a secret that a record carries cannot be used; nil when all can.
func (r *Ring) Problem() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, kid := range slices.Sorted(maps.Keys(r.unopened)) {
		return r.unopened[kid]
	}
	return nil
}
