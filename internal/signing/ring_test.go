package signing_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/jws"
	"mintmark/internal/signing"

	"github.com/google/go-cmp/cmp"
)

func TestAKeyringOpensWithTheKeysItHad(t *testing.T) {
	ring, path, kids := create(t)
	again := open(t, path)
	for _, kid := range kids {
		if !again.Has(kid) {
			t.Fatalf("%s is gone", kid)
		}
		raw := mint(t, ring, kid)
		if mint(t, ring, kid) != raw || mint(t, again, kid) != raw {
			t.Errorf("%s signs the same claims as two texts", kid)
		}
		verifies(t, again, kid, raw)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v", info.Mode())
	}
}

func TestAKidIsAThumbprintOrRandom(t *testing.T) {
	ring := signing.InMemory(rand.Reader)
	for _, alg := range algorithms() {
		kid, err := ring.Generate(string(alg))
		must(t, err)
		if _, err := authority.ParseKeyID(string(kid)); err != nil {
			t.Errorf("%s: %v", kid, err)
		}
		thumb, public := ring.Verifier(kid).Thumbprint()
		if public && thumb != string(kid) {
			t.Errorf("the kid of %s is %s, its thumbprint %s", alg, kid, thumb)
		}
		if !public && len(kid) != 22 { // 128 bits
			t.Errorf("the kid of %s is %s", alg, kid)
		}
		if ring.Verifier(kid).Alg() != alg {
			t.Errorf("a key for %s was made for %s", ring.Verifier(kid).Alg(), alg)
		}
	}
	for _, alg := range []string{"", "none", "RS256", "es256"} {
		if kid, err := ring.Generate(alg); err == nil {
			t.Errorf("%s was made for %q", kid, alg)
		}
	}
	if _, err := signing.InMemory(bytes.NewReader(make([]byte, 40))).Generate("HS256"); err == nil {
		t.Error("a key is made without enough randomness for its kid")
	}
}

func TestAKeyringIsCreatedOnceAndNeverReplacedByOpening(t *testing.T) {
	_, path, kids := create(t)
	was := read(t, path)
	if _, err := signing.Create(durable.Files{}, path, rand.Reader); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created again: %v", err)
	}
	if read(t, path) != was {
		t.Error("it was written")
	}
	must(t, os.Remove(path))
	_, err := signing.Open(durable.Files{}, path, rand.Reader)
	if !errors.Is(err, signing.ErrLost) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "Put a copy") {
		t.Errorf("a lost keyring: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening made a file: %v", err)
	}
	ring, err := signing.Create(durable.Files{}, path, rand.Reader)
	must(t, err)
	if ring.Has(kids[0]) || open(t, path).Has(kids[0]) {
		t.Error("a new keyring has an old key")
	}
}

func TestKeepForgetsEverySecretButThoseNamed(t *testing.T) {
	ring, path, kids := create(t)
	old := secrets(read(t, path))
	must(t, ring.Keep([]authority.KeyID{kids[1], "never-there"}))
	for _, r := range []*signing.Ring{ring, open(t, path)} {
		for i, kid := range kids {
			if r.Has(kid) != (i == 1) {
				t.Errorf("%s is kept: %v", kid, r.Has(kid))
			}
		}
	}
	left := secrets(read(t, path))
	if len(old) != 3 || len(left) != 1 {
		t.Errorf("%d secrets, then %d", len(old), len(left))
	}
	_, err := ring.Mint(kids[0], authority.TypeToken, claims())
	if authority.KindOf(err) != authority.Internal || err == nil {
		t.Errorf("signed with a forgotten key: %v", err)
	}
	if ring.Verifier(kids[0]) != nil {
		t.Error("a forgotten key verifies")
	}
}

func TestAnHMACKeyIsNeverPublished(t *testing.T) {
	ring, path, kids := create(t)
	var records []authority.Key
	for _, kid := range append([]authority.KeyID{"unknown"}, kids...) {
		records = append(records, authority.Key{ID: kid})
	}
	text := ring.JWKSet(records)
	var set struct{ Keys []map[string]any }
	must(t, json.Unmarshal(text, &set))
	var got []string
	for _, k := range set.Keys {
		got = append(got, fmt.Sprint(k["kid"]))
		for _, member := range []string{"d", "k", "p", "q"} {
			if k[member] != nil {
				t.Errorf("%s is published", member)
			}
		}
	}
	if diff := cmp.Diff([]string{string(kids[0]), string(kids[1])}, got); diff != "" {
		t.Error(diff)
	}
	for _, secret := range secrets(read(t, path)) {
		raw, err := base64.StdEncoding.DecodeString(secret)
		must(t, err)
		for _, form := range []string{secret, base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw)} {
			if strings.Contains(string(text), form) {
				t.Error("a secret is published")
			}
		}
	}
	parsed, err := jws.ParseSet(text)
	must(t, err)
	for i, kid := range kids {
		if (parsed.Verifier(string(kid)) != nil) != (i < 2) {
			t.Errorf("%s is published: %v", kid, i >= 2)
		}
	}
	if got := string(ring.JWKSet(nil)); got != `{"keys":[]}` {
		t.Errorf("the empty set is %s", got)
	}
}

func TestARingPrintsNoSecret(t *testing.T) {
	ring, path, kids := create(t)
	var said bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&said, verb, ring)
	}
	slog.New(slog.NewTextHandler(&said, nil)).Info("ring", "ring", ring, "verifier", ring.Verifier(kids[2]))
	slog.New(slog.NewJSONHandler(&said, nil)).Info("ring", "ring", ring, "verifier", ring.Verifier(kids[2]))
	_, err := ring.Mint("unknown", authority.TypeToken, claims())
	fmt.Fprintf(&said, "%v %+v", err, errors.Unwrap(err))
	for _, secret := range secrets(read(t, path)) {
		raw, err := base64.StdEncoding.DecodeString(secret)
		must(t, err)
		for i := 0; i+8 <= len(raw); i++ {
			piece := raw[i : i+8]
			for _, form := range []string{string(piece), hex.EncodeToString(piece), strings.Trim(fmt.Sprint(piece), "[]"), secret[:12]} {
				if strings.Contains(said.String(), form) {
					t.Fatal("a secret is printed")
				}
			}
		}
	}
}

func TestARingIsUsedByManyAtOnce(t *testing.T) {
	ring, path, kids := create(t)
	want := make([]string, len(kids))
	for i, kid := range kids {
		want[i] = mint(t, ring, kid)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 20 {
				kid := kids[(n+i)%len(kids)]
				text, err := ring.Mint(kid, authority.TypeToken, claims())
				if err != nil || text.Unsafe() != want[(n+i)%len(kids)] {
					t.Errorf("%s: %v", kid, err)
				}
				_ = ring.JWKSet([]authority.Key{{ID: kid}})
				if !ring.Has(kid) {
					t.Errorf("%s is gone", kid)
				}
			}
		})
	}
	made := make(chan authority.KeyID, 8)
	for range 4 {
		wg.Go(func() {
			kid, err := ring.Generate("EdDSA")
			if err != nil {
				t.Error(err)
			}
			made <- kid
		})
	}
	wg.Wait()
	close(made)
	var all []authority.KeyID
	for kid := range made {
		all = append(all, kid)
	}
	again := open(t, path)
	for _, kid := range append(all, kids...) {
		if !ring.Has(kid) || !again.Has(kid) {
			t.Errorf("%s was made and is not kept", kid)
		}
	}
	for range 4 {
		wg.Go(func() {
			if err := ring.Keep(kids); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if again := open(t, path); again.Has(all[0]) || !again.Has(kids[0]) {
		t.Error("the wrong secrets are kept")
	}
}
