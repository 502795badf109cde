package authority_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/signing"
)

// sealedHouse is a house whose keys' secrets last in their records, with the file
// of its key-encryption key.
func sealedHouse(t *testing.T) (h *house, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sealing.key")
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	sealing, err := signing.CreateSealing(durable.Files{}, path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h = emptyHouse(t)
	h.ring = signing.InRecords(sealing, rand.Reader)
	h.Authority.Custody = h.ring
	if err := h.Found(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	return h, path
}

// prepend puts another key-encryption key before the one in the file, and answers
// a file with the new one alone.
func prepend(t *testing.T, path string) (alone string) {
	t.Helper()
	alone = path + ".new"
	if _, err := signing.CreateSealing(durable.Files{}, alone, rand.Reader); err != nil {
		t.Fatal(err)
	}
	var both []byte
	for _, p := range []string{alone, path} {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	if err := os.WriteFile(path, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return alone
}

// problem is why a node with a sealing file cannot use the keys' secrets.
func (h *house) problem(t *testing.T, path string) error {
	t.Helper()
	sealing, err := signing.OpenSealing(durable.Files{}, path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := signing.InRecords(sealing, rand.Reader)
	if err := h.store.Follow(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r.Problem()
}

func TestSecretsThatWereSealedAnewNeedTheOldKeyNoMore(t *testing.T) {
	h, path := sealedHouse(t)
	token := h.issue(t, authority.TokenRequest{ClientID: "ci", Role: "user"})
	if _, err := h.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: h.policy.Overlap}); err != nil {
		t.Fatal(err)
	}
	old, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	alone := prepend(t, path)
	if h.problem(t, alone) == nil {
		t.Fatal("nothing is sealed under the old key")
	}
	if n, err := h.ResealKeys(t.Context(), operator()); n != 3 || err != nil {
		t.Fatalf("%d secrets, %v", n, err)
	}
	if err := h.problem(t, alone); err != nil {
		t.Errorf("with the new key alone: %v", err)
	}
	keys, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		if bytes.Equal(k.Sealed, old[i].Sealed) {
			t.Errorf("%s is sealed as it was", k.Name)
		}
		k.Sealed = old[i].Sealed
		if diff := cmp.Diff(old[i], k); diff != "" {
			t.Errorf("more than the seal was changed:\n%s", diff)
		}
	}
	if e := h.lastEvent(t); e.Action != "keys.resealed" || e.Detail["keys"] != "3" {
		t.Errorf("event %+v", e)
	}
	again, err := h.RevealToken(t.Context(), operator(), token.ID)
	if err != nil || again.Text.Unsafe() == "" {
		t.Errorf("the token is not signed any more: %v", err)
	}
	// What is made from now on is sealed under the new key, without a restart.
	if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
		t.Fatal(err)
	}
	if err := h.problem(t, alone); err != nil {
		t.Errorf("keys made afterwards: %v", err)
	}
}

func TestNothingIsSealedAnewByHalves(t *testing.T) {
	h, path := sealedHouse(t)
	before, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	alone := prepend(t, path)
	if err := os.WriteFile(path, []byte("not ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = h.ResealKeys(t.Context(), operator())
	wantKind(t, err, authority.Conflict, "sealing.unusable")

	// Another node made a key that this one cannot open.
	sealing, err := signing.OpenSealing(durable.Files{}, alone, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger := signing.InRecords(sealing, rand.Reader)
	kid, err := stranger.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := stranger.Sealed(kid)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.Update(t.Context(), func(tx authority.Tx) error {
		return tx.Keys().Insert(authority.Key{ID: kid, Name: "key_2026z", Algorithm: "ES256", State: authority.KeyNext, CreatedAt: h.now(), Sealed: sealed})
	}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(alone)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = h.ResealKeys(t.Context(), operator())
	wantKind(t, err, authority.Conflict, "key.secret_missing")
	after, err := h.Keys(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range before {
		for _, now := range after {
			if now.ID == k.ID && !bytes.Equal(now.Sealed, k.Sealed) {
				t.Errorf("%s was sealed anew", k.Name)
			}
		}
	}
}

func TestAKeyringInAFileIsNotSealed(t *testing.T) {
	h := newHouse(t)
	_, err := h.ResealKeys(t.Context(), operator())
	wantKind(t, err, authority.Conflict, "key.not_sealed")
	_, err = h.ResealKeys(t.Context(), nobody())
	if kind := authority.KindOf(err); kind != authority.Forbidden && kind != authority.Unauthenticated {
		t.Errorf("a stranger: %v", err)
	}
}
