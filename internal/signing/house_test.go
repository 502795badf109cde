package signing_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/jws"
	"mintmark/internal/signing"
)

func algorithms() []jws.Algorithm { return []jws.Algorithm{jws.ES256, jws.EdDSA, jws.HS256} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newPath is the path of a keyring in a folder that is closed to others: in
// memory where the system has such a place, because syncing takes its time.
func newPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "signing-")
	if err != nil {
		dir, err = os.MkdirTemp(t.TempDir(), "")
	}
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "keyring.json")
}

// create makes a keyring file with one key of each algorithm.
func create(t testing.TB) (ring *signing.Ring, path string, kids []authority.KeyID) {
	t.Helper()
	path = newPath(t)
	ring, err := signing.Create(durable.Files{}, path, rand.Reader)
	must(t, err)
	for _, alg := range algorithms() {
		kid, err := ring.Generate(string(alg))
		must(t, err)
		kids = append(kids, kid)
	}
	return ring, path, kids
}

func open(t testing.TB, path string) *signing.Ring {
	t.Helper()
	ring, err := signing.Open(durable.Files{}, path, rand.Reader)
	must(t, err)
	return ring
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func claims() authority.Claims {
	at := time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC)
	return authority.Claims{
		Issuer: "https://tokens.example", Subject: "batch", ClientID: "batch", Audience: []string{"https://api.example"}, ID: "tok_00000000000000000000000000",
		IssuedAt: at, ExpiresAt: at.Add(time.Hour), Role: authority.RoleUser, Tags: []string{"team:a"},
	}
}

func mint(t testing.TB, ring *signing.Ring, kid authority.KeyID) string {
	t.Helper()
	text, err := ring.Mint(kid, authority.TypeToken, claims())
	must(t, err)
	return text.Unsafe()
}

// verifies holds a token against what a ring says verifies it.
func verifies(t testing.TB, ring *signing.Ring, kid authority.KeyID, raw string) {
	t.Helper()
	u, err := jws.ParseToken(raw)
	must(t, err)
	if u.Header().Kid != string(kid) || u.Header().Typ != authority.TypeToken {
		t.Errorf("header %+v", u.Header())
	}
	if _, err := u.Verify(ring.Verifier(kid)); err != nil {
		t.Errorf("%s: %v", kid, err)
	}
}

// secrets are the secrets of a keyring file, as it spells them.
func secrets(text string) []string {
	var all []string
	for _, found := range regexp.MustCompile(`"secret": "([^"]*)"`).FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	return all
}

// kidsOf are the kids of a keyring file.
func kidsOf(text string) []authority.KeyID {
	var all []authority.KeyID
	for _, found := range regexp.MustCompile(`"kid": "([^"]*)"`).FindAllStringSubmatch(text, -1) {
		all = append(all, authority.KeyID(found[1]))
	}
	return all
}

// sealed changes the text of a keyring and gives it the checksum that fits.
func sealed(t testing.TB, text string, change func(string) string) string {
	t.Helper()
	line := regexp.MustCompile(`"checksum": "[^"]*"`)
	empty := change(line.ReplaceAllString(text, `"checksum": ""`))
	sum := sha256.Sum256([]byte(strings.TrimSuffix(empty, "\n")))
	return strings.Replace(empty, `"checksum": ""`, `"checksum": "sha256:`+hex.EncodeToString(sum[:])+`"`, 1)
}
