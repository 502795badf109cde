package signing_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/signing"
)

// sealing makes a key-encryption key in a file and answers the file's path too.
func sealing(t *testing.T) (*signing.Sealing, string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(newPath(t)), "sealing.key")
	s, err := signing.CreateSealing(durable.Files{}, path, rand.Reader)
	must(t, err)
	return s, path
}

// record is the record of a key that a ring has just made.
func record(t *testing.T, r *signing.Ring, alg string) authority.Key {
	t.Helper()
	kid, err := r.Generate(alg)
	must(t, err)
	sealed, err := r.Sealed(kid)
	must(t, err)
	return authority.Key{ID: kid, Name: "key_2026a", Algorithm: alg, State: authority.KeyCurrent, Sealed: sealed}
}

func changed(keys ...authority.Key) authority.Change {
	var c authority.Change
	for _, k := range keys {
		c.Keys = append(c.Keys, authority.Changed[authority.KeyID, authority.Key]{Key: k.ID, Value: &k})
	}
	return c
}

func TestAnotherNodeSignsWithASecretThatItsRecordCarries(t *testing.T) {
	s, path := sealing(t)
	again, err := signing.OpenSealing(durable.Files{}, path, rand.Reader)
	must(t, err)
	here, there := signing.InRecords(s, rand.Reader), signing.InRecords(again, rand.Reader)
	var keys []authority.Key
	for _, alg := range algorithms() {
		keys = append(keys, record(t, here, string(alg)))
	}
	there.Load(changed(keys[:1]...))
	there.Apply(changed(keys[1:]...))
	must(t, there.Problem())
	for _, k := range keys {
		a, err := here.Mint(k.ID, authority.TypeToken, claims())
		must(t, err)
		b, err := there.Mint(k.ID, authority.TypeToken, claims())
		must(t, err)
		if a.Unsafe() != b.Unsafe() {
			t.Errorf("%s: the nodes sign differently", k.Algorithm)
		}
	}
	retired := keys[0]
	retired.State, retired.Sealed = authority.KeyRetired, nil
	there.Apply(changed(retired))
	if there.Has(keys[0].ID) || !there.Has(keys[1].ID) {
		t.Error("the secret of a retired key is kept, or another was forgotten")
	}
}

func TestASealedSecretIsNoUseToAnybodyElse(t *testing.T) {
	s, _ := sealing(t)
	other, _ := sealing(t)
	made := signing.InRecords(s, rand.Reader)
	k, second := record(t, made, "ES256"), record(t, made, "ES256")
	ring, _, kids := create(t)
	if sealed, err := ring.Sealed(kids[0]); sealed != nil || err != nil {
		t.Error("a ring with a file seals")
	}
	for what, spoil := range map[string]func(*authority.Key){
		"another key's":     func(k *authority.Key) { k.Sealed = second.Sealed },
		"another algorithm": func(k *authority.Key) { k.Algorithm = "EdDSA" },
		"nothing":           func(k *authority.Key) { k.Sealed = nil },
		"cut short":         func(k *authority.Key) { k.Sealed = k.Sealed[:15] },
		"another version":   func(k *authority.Key) { k.Sealed[0]++ },
	} {
		spoilt := k.Clone()
		spoil(&spoilt)
		r := signing.InRecords(s, rand.Reader)
		r.Load(changed(spoilt))
		if r.Has(k.ID) || r.Problem() == nil {
			t.Errorf("%s: it opens", what)
		}
	}
	for i := range k.Sealed {
		spoilt := k.Clone()
		spoilt.Sealed[i] ^= 1
		r := signing.InRecords(s, rand.Reader)
		r.Load(changed(spoilt))
		if r.Has(k.ID) {
			t.Fatalf("it opens with byte %d changed", i)
		}
	}
	r := signing.InRecords(other, rand.Reader)
	r.Load(changed(k))
	if err := r.Problem(); r.Has(k.ID) || err == nil || !strings.Contains(err.Error(), "another key-encryption key") {
		t.Errorf("another key-encryption key: %v", err)
	}
	r.Apply(changed(authority.Key{ID: k.ID, State: authority.KeyRetired}))
	must(t, r.Problem())
}

func TestASecretIsSealedAnewEachTime(t *testing.T) {
	s, _ := sealing(t)
	r := signing.InRecords(s, rand.Reader)
	k := record(t, r, "HS256")
	again, err := r.Sealed(k.ID)
	must(t, err)
	if bytes.Equal(again, k.Sealed) {
		t.Error("a nonce was used twice")
	}
	if _, err := r.Sealed("nobody"); err == nil {
		t.Error("a secret that nobody has is sealed")
	}
}

func TestKeysThatMoveKeepTheirSecrets(t *testing.T) {
	from, _, kids := create(t)
	s, _ := sealing(t)
	to := signing.InRecords(s, rand.Reader)
	must(t, to.Adopt(from))
	back, err := signing.Create(durable.Files{}, newPath(t), rand.Reader)
	must(t, err)
	must(t, back.Adopt(to))
	for _, kid := range kids {
		if want := mint(t, from, kid); mint(t, to, kid) != want || mint(t, back, kid) != want {
			t.Errorf("%s signs differently after the move", kid)
		}
		if sealed, err := to.Sealed(kid); len(sealed) == 0 || err != nil {
			t.Errorf("%s is not sealed: %v", kid, err)
		}
	}
}

func TestASealingFileThatIsNotOursIsRefused(t *testing.T) {
	_, path := sealing(t)
	good := read(t, path)
	for what, text := range map[string]string{
		"empty": "", "cut": good[:len(good)-9], "another format": strings.Replace(good, "/1:", "/2:", 1), "zeros": "mintmark-sealing/1:" + strings.Repeat("A", 43) + "=\n",
		"a line more": good + "\n", "text": "correct horse battery staple\n",
	} {
		write(t, path, text)
		_, err := signing.OpenSealing(durable.Files{}, path, rand.Reader)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
		if secret := strings.TrimPrefix(strings.TrimSpace(good), "mintmark-sealing/1:"); err != nil && strings.Contains(err.Error(), secret[:12]) {
			t.Errorf("%s: the key is in the message", what)
		}
	}
	write(t, path, good)
	must(t, os.Chmod(path, 0o644))
	if _, err := signing.OpenSealing(durable.Files{}, path, rand.Reader); err == nil {
		t.Error("a file that others can read is taken")
	}
	if _, err := signing.CreateSealing(durable.Files{}, path, rand.Reader); err == nil {
		t.Error("a file that exists is written over")
	}
}

func TestANewSealingKeyOpensWhatTheOldOneSealed(t *testing.T) {
	s, old := sealing(t)
	_, path := sealing(t)
	k := record(t, signing.InRecords(s, rand.Reader), "ES256")
	write(t, path, read(t, path)+read(t, old))
	both, err := signing.OpenSealing(durable.Files{}, path, rand.Reader)
	must(t, err)
	r := signing.InRecords(both, rand.Reader)
	r.Load(changed(k))
	must(t, r.Problem())
	sealed, err := r.Sealed(k.ID)
	must(t, err)
	if bytes.Equal(sealed[:9], k.Sealed[:9]) {
		t.Error("the old key still seals")
	}
}
