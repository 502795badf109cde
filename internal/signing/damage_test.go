package signing_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/signing"
)

// wantRefused finds the keyring refused with a message that names the file and a
// remedy and holds no secret, and the file left as it was.
func wantRefused(t *testing.T, path, text, what string) {
	t.Helper()
	_, err := signing.Open(durable.Files{}, path, rand.Reader)
	if err == nil {
		t.Fatalf("%s: opened", what)
	}
	if said := err.Error(); !strings.Contains(said, path) || !strings.Contains(said, "damaged") || !strings.Contains(said, "Put a copy") {
		t.Errorf("%s: %v", what, err)
	}
	for _, secret := range secrets(text) {
		for i := 0; i+12 <= len(secret); i++ {
			if strings.Contains(err.Error(), secret[i:i+12]) {
				t.Errorf("%s: a secret is in %v", what, err)
			}
		}
	}
	if read(t, path) != text {
		t.Errorf("%s: it was written", what)
	}
}

func TestEveryChangedByteAndEveryCutOfAKeyringIsRefused(t *testing.T) {
	_, path, _ := create(t)
	good := read(t, path)
	for i := range len(good) {
		for _, mask := range []byte{1, 0x20, 0x80} {
			changed := []byte(good)
			changed[i] ^= mask
			write(t, path, string(changed))
			wantRefused(t, path, string(changed), fmt.Sprintf("byte %d", i))
		}
		write(t, path, good[:i])
		wantRefused(t, path, good[:i], fmt.Sprintf("cut at %d", i))
	}
	for _, longer := range []string{good + "\n", " " + good, good + good, good + "\x00", strings.ReplaceAll(good, "\n", "\r\n"), "\ufeff" + good, strings.Repeat(" ", 1<<20) + good} {
		write(t, path, longer)
		wantRefused(t, path, longer, "longer")
	}
	write(t, path, good)
	open(t, path)
}

// These have a checksum that fits: somebody wrote them on purpose.
func TestAKeyringThatIsNotOursIsRefused(t *testing.T) {
	_, path, kids := create(t)
	good := read(t, path)
	if sealed(t, good, func(s string) string { return s }) != good {
		t.Fatal("the test does not seal as the ring does")
	}
	secret := secrets(good)
	replace := func(old, with string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("the keyring does not hold %s", old)
			}
			return strings.Replace(s, old, with, 1)
		}
	}
	entries := regexp.MustCompile(`(?s)    \{.*?\}`).FindAllString(good, -1)
	hmac := string(kids[2])
	weak := func(b []byte) func(string) string {
		return func(s string) string {
			for _, one := range secret {
				if raw, err := base64.StdEncoding.DecodeString(one); err == nil && len(raw) == 32 {
					return strings.Replace(s, one, base64.StdEncoding.EncodeToString(b), 1)
				}
			}
			t.Fatal("there is no HMAC secret")
			return ""
		}
	}
	for what, change := range map[string]func(string) string{
		"another format": replace("mintmark-keyring/1", "mintmark-keyring/2"), "no format": replace("mintmark-keyring/1", ""), "unknown member": replace(`"format"`, `"colour": 1,`+"\n  "+`"format"`),
		"member in another case": replace(`"format"`, `"Format"`), "keys are null": func(s string) string {
			return s[:strings.Index(s, `"keys": [`)] + `"keys": null,` + "\n  " + `"checksum": ""` + "\n}\n"
		},
		"a key twice":        replace(entries[0], entries[0]+",\n"+entries[0]),
		"another order":      replace(entries[0]+",\n"+entries[1], entries[1]+",\n"+entries[0]),
		"another algorithm":  replace(`"alg": "ES256"`, `"alg": "EdDSA"`),
		"public key as HMAC": replace(`"alg": "ES256"`, `"alg": "HS256"`),
		"unknown algorithm":  replace(`"alg": "ES256"`, `"alg": "RS256"`),
		"no algorithm":       replace(`"alg": "ES256"`, `"alg": ""`),
		"not the thumbprint": replace(string(kids[0]), strings.Repeat("A", 43)),
		"swapped kids": func(s string) string {
			return strings.NewReplacer(string(kids[0]), string(kids[1]), string(kids[1]), string(kids[0])).Replace(s)
		},
		"a kid with a slash":      replace(hmac, "../../etc"),
		"an empty kid":            replace(hmac, ""),
		"a long kid":              replace(hmac, strings.Repeat("a", 65)),
		"a secret in two lines":   replace(secret[0], secret[0][:8]+`\n`+secret[0][8:]),
		"a secret padded twice":   replace(secret[0], secret[0]+"===="),
		"an empty secret":         replace(secret[0], ""),
		"a short HMAC secret":     weak([]byte("0123456789abcdef\xff")),
		"an HMAC secret of text":  weak([]byte("a text that somebody typed one evening")),
		"an HMAC secret of zeros": weak(make([]byte, 32)),
		"compact":                 func(s string) string { return strings.NewReplacer("\n", "", `: `, `:`, "  ", "").Replace(s) },
	} {
		text := sealed(t, good, change)
		if text == good {
			t.Errorf("%s: nothing is changed", what)
			continue
		}
		write(t, path, text)
		wantRefused(t, path, text, what)
	}
}

// One key alone is in order under any kid; its own is the only one it has.
func TestAPublicKeyHasItsThumbprintForAKid(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		path := newPath(t)
		ring, err := signing.Create(durable.Files{}, path, rand.Reader)
		must(t, err)
		kid, err := ring.Generate(alg)
		must(t, err)
		for _, other := range []string{strings.Repeat("A", 43), "key_2026a", string(kid)[:42], string(kid) + "A"} {
			text := sealed(t, read(t, path), func(s string) string { return strings.Replace(s, string(kid), other, 1) })
			elsewhere := newPath(t)
			write(t, elsewhere, text)
			wantRefused(t, elsewhere, text, alg+" as "+other)
		}
	}
}

func TestAKeyringThatOthersReachIsRefused(t *testing.T) {
	_, path, _ := create(t)
	good := read(t, path)
	dir := filepath.Dir(path)
	for what, c := range map[string]struct {
		spoil func()
		mend  func()
		wrong string // what the message names
	}{
		"readable by all":        {func() { must(t, os.Chmod(path, 0o644)) }, func() { must(t, os.Chmod(path, 0o600)) }, path},
		"readable by the group":  {func() { must(t, os.Chmod(path, 0o640)) }, func() { must(t, os.Chmod(path, 0o600)) }, path},
		"folder open to a group": {func() { must(t, os.Chmod(dir, 0o750)) }, func() { must(t, os.Chmod(dir, 0o700)) }, dir},
		"two names":              {func() { must(t, os.Link(path, path+".2")) }, func() { must(t, os.Remove(path+".2")) }, path},
		"a symbolic link": {func() {
			must(t, os.Rename(path, path+".2"))
			must(t, os.Symlink(path+".2", path))
		}, func() { must(t, os.Rename(path+".2", path)) }, path},
		"a named pipe": {func() {
			must(t, os.Rename(path, path+".2"))
			must(t, syscall.Mkfifo(path, 0o600))
		}, func() { must(t, os.Rename(path+".2", path)) }, path},
		"a folder": {func() {
			must(t, os.Rename(path, path+".2"))
			must(t, os.Mkdir(path, 0o700))
		}, func() {
			must(t, os.Remove(path))
			must(t, os.Rename(path+".2", path))
		}, path},
	} {
		c.spoil()
		_, err := signing.Open(durable.Files{}, path, rand.Reader)
		if err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), "remedy: ") {
			t.Errorf("%s: %v", what, err)
		}
		c.mend()
		open(t, path)
	}
	if read(t, path) != good {
		t.Error("it was written")
	}
}

// Every form that was ever released opens; these keys guard nothing.
func TestTheKeyringsOfEveryReleaseOpen(t *testing.T) {
	path := newPath(t)
	fixture := read(t, "testdata/keyring-1.json")
	write(t, path, fixture)
	ring := open(t, path)
	var signed map[authority.KeyID]string
	must(t, json.Unmarshal([]byte(read(t, "testdata/keyring-1.tokens.json")), &signed))
	if len(signed) != 3 {
		t.Fatal("the fixture is not what it was")
	}
	for kid, want := range signed {
		if got := mint(t, ring, kid); got != want {
			t.Errorf("%s signs another text than it did: %s", kid, got)
		}
	}
	must(t, ring.Keep(nil))
	if got := secrets(read(t, path)); len(got) != 0 {
		t.Errorf("%d secrets are kept", len(got))
	}
}

func FuzzOpen(f *testing.F) {
	_, path, _ := create(f)
	good := read(f, path)
	f.Add(good)
	f.Add(sealed(f, good, func(s string) string { return strings.Replace(s, "ES256", "HS256", 1) }))
	f.Add(`{"format":"mintmark-keyring/1","keys":[],"checksum":""}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		for _, text := range []string{text, sealed(t, text, func(s string) string { return s })} {
			write(t, path, text)
			ring, err := signing.Open(durable.Files{}, path, rand.Reader)
			if err != nil {
				if !strings.Contains(err.Error(), path) {
					t.Fatalf("the file is not named: %v", err)
				}
				continue
			}
			// What opens is what the ring writes: one key more and back again.
			kid, err := ring.Generate("HS256")
			must(t, err)
			again := open(t, path)
			if !again.Has(kid) {
				t.Fatal("a key that was made is not there")
			}
			must(t, again.Keep(kidsOf(text)))
			if read(t, path) != text {
				t.Fatal("it is written as it was not read")
			}
		}
	})
}
