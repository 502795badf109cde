package signing

import (
	"fmt"
	"io"

	"mintmark/internal/durable"
)

// UnsafeText is the keyring as its file has it, for a backup that is encrypted.
func (r *Ring) UnsafeText() []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return encode(r.keys)
}

// Parse reads what UnsafeText answered into a ring in memory.
func Parse(text []byte, rand io.Reader) (*Ring, error) {
	keys, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("the keyring is damaged: %w", err)
	}
	return &Ring{rand: rand, keys: keys}, nil
}

// CreateFrom is Create with the secrets of another ring.
func CreateFrom(files durable.Files, path string, from *Ring, rand io.Reader) (*Ring, error) {
	from.mu.RLock()
	defer from.mu.RUnlock()
	r := &Ring{files: files, path: path, rand: rand, keys: from.keys} // nobody changes a map of keys
	if err := files.CreateNew(path, encode(r.keys)); err != nil {
		return nil, fmt.Errorf("create keyring: %w", err)
	}
	return r, nil
}
