package jws_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"

	"mintmark/internal/jws"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	must(t, err)
	return b
}

func order() *big.Int { return elliptic.P256().Params().N }

// p256 is the signing key of a scalar.
func p256(t testing.TB, scalar []byte) *jws.SigningKey {
	t.Helper()
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	key, err := jws.ParseSigningKey(jws.ES256, der)
	must(t, err)
	return key
}

// rfc6979 signs as RFC 6979 section 3.2 says, with HMAC-SHA256 and P-256, step by
// step and without the package under test.
func rfc6979(t testing.TB, scalar []byte, message string) []byte {
	t.Helper()
	n := order()
	digest := sha256.Sum256([]byte(message))
	e := new(big.Int).SetBytes(digest[:])
	h := make([]byte, 32)
	new(big.Int).Mod(e, n).FillBytes(h)
	prf := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(sha256.New, key)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	v, k := bytes.Repeat([]byte{1}, 32), make([]byte, 32)
	for _, c := range []byte{0, 1} {
		k = prf(k, v, []byte{c}, scalar, h)
		v = prf(k, v)
	}
	for {
		v = prf(k, v)
		if nonce, err := ecdh.P256().NewPrivateKey(v); err == nil {
			r := new(big.Int).SetBytes(nonce.PublicKey().Bytes()[1:33])
			r.Mod(r, n)
			s := new(big.Int).Mul(r, new(big.Int).SetBytes(scalar))
			s.Add(s, e).Mul(s, new(big.Int).ModInverse(new(big.Int).SetBytes(v), n)).Mod(s, n)
			if r.Sign() != 0 && s.Sign() != 0 {
				return join(r, s)
			}
		}
		k = prf(k, v, []byte{0})
		v = prf(k, v)
	}
}

func TestES256IsTheDeterministicSignatureOfRFC6979(t *testing.T) {
	scalar := unhex(t, "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
	key := p256(t, scalar)
	// Appendix A.2.5, SHA-256.
	for message, want := range map[string]string{
		"sample": "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716" + "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		"test":   "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367" + "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
	} {
		if got := rfc6979(t, scalar, message); !bytes.Equal(got, unhex(t, want)) {
			t.Fatalf("the test signs %q as %x", message, got)
		}
		if !key.Verifier().Verify([]byte(message), unhex(t, want)) {
			t.Errorf("the vector of %q is refused", message)
		}
	}
	for i := range 200 {
		text := fmt.Sprintf(`{"jti":"%d"}`, i)
		raw, err := jws.Sign(key, jws.Header{Alg: jws.ES256, Kid: "k1", Typ: "at+jwt"}, []byte(text))
		must(t, err)
		input, signed := raw[:strings.LastIndexByte(raw, '.')], raw[strings.LastIndexByte(raw, '.')+1:]
		if want := encode(rfc6979(t, scalar, input)); signed != want {
			t.Fatalf("%s: signed %s, RFC 6979 says %s", text, signed, want)
		}
	}
}

func TestEdDSAIsTheSignatureOfRFC8037(t *testing.T) {
	seed := unhex(t, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed))
	must(t, err)
	key, err := jws.ParseSigningKey(jws.EdDSA, der)
	must(t, err)
	// Appendices A.3 and A.4.
	if thumb, ok := key.Verifier().Thumbprint(); !ok || thumb != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint %s", thumb)
	}
	raw, err := jws.Sign(key, jws.Header{Alg: jws.EdDSA}, []byte("Example of Ed25519 signing"))
	must(t, err)
	const want = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	if raw != want {
		t.Errorf("got %s", raw)
	}
}

func TestThePublishedTokensOfRFC7515AreVerified(t *testing.T) {
	secret, err := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	must(t, err)
	hs, err := jws.ParseSigningKey(jws.HS256, secret)
	must(t, err)
	set, err := jws.ParseSet([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a3","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	must(t, err)
	const claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	for name, c := range map[string]struct {
		raw string
		key *jws.Verifier
	}{
		"A.1": {"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", hs.Verifier()},
		"A.3": {"eyJhbGciOiJFUzI1NiJ9." + claims + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", set.Verifier("a3")},
	} {
		u, err := jws.Parse(c.raw)
		must(t, err)
		if _, err := u.Verify(c.key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A.5, which is signed by nobody.
	_, err = jws.Parse("eyJhbGciOiJub25lIn0." + claims + ".")
	wantFault(t, err, jws.Malformed)
}

func TestEveryChangedBitOfASignatureIsRefused(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		raw := sign(t, f.key)
		at := strings.LastIndexByte(raw, '.')
		good, err := base64.RawURLEncoding.DecodeString(raw[at+1:])
		must(t, err)
		refused := func(name string, signature []byte) {
			t.Helper()
			_, err := accept(raw[:at+1]+encode(signature), f.key.Verifier())
			if err == nil {
				t.Fatalf("%s: accepted", name)
			}
			if len(signature) > 0 {
				wantFault(t, err, jws.BadSignature)
			}
		}
		for bit := range 8 * len(good) {
			changed := bytes.Clone(good)
			changed[bit/8] ^= 1 << (bit % 8)
			refused(fmt.Sprintf("bit %d", bit), changed)
		}
		for n := range len(good) {
			refused(fmt.Sprintf("cut at %d", n), good[:n])
			refused(fmt.Sprintf("without its first %d", n+1), good[n+1:])
		}
		for _, tail := range [][]byte{{0}, {0, 0}, good, make([]byte, 64)} {
			refused("longer", append(bytes.Clone(good), tail...))
			refused("longer before", append(bytes.Clone(tail), good...))
		}
		refused("zeros", make([]byte, len(good)))
		refused("ones", bytes.Repeat([]byte{0xff}, len(good)))
		// The whole of what was signed counts, too.
		input := []byte(raw[:at])
		for bit := range 8 * len(input) {
			changed := bytes.Clone(input)
			changed[bit/8] ^= 1 << (bit % 8)
			if f.key.Verifier().Verify(changed, good) {
				t.Fatalf("bit %d of the input can change", bit)
			}
		}
	})
}

func TestAnES256SignatureIsTwoNumbersInRange(t *testing.T) {
	key := generate(t, jws.ES256)
	input := "a.b"
	good := signature(t, key, input)
	r, s, n := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:]), order()
	v := key.Verifier()
	if !v.Verify([]byte(input), good) {
		t.Fatal("the good signature is refused")
	}
	zero, one, top := new(big.Int), big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256)
	above := func(i *big.Int) *big.Int { return new(big.Int).Add(n, i) }
	all := []*big.Int{zero, one, new(big.Int).Sub(n, one), n, above(one), new(big.Int).Sub(top, one), r, s, new(big.Int).Sub(n, r)}
	for _, a := range all {
		for _, b := range all {
			if a == r && b == s {
				continue
			}
			if v.Verify([]byte(input), join(a, b)) {
				t.Errorf("r %x, s %x is accepted", a, b)
			}
		}
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	must(t, err)
	for name, other := range map[string][]byte{
		"DER": der, "DER in 64 bytes": der[:64], "swapped": join(s, r), "with a point's prefix": append([]byte{4}, good...), "33 bytes each": slices.Concat([]byte{0}, good[:32], []byte{0}, good[32:]),
		"raw without leading bytes": slices.Concat(good[1:32], good[33:]),
	} {
		if v.Verify([]byte(input), other) {
			t.Errorf("%s is accepted", name)
		}
	}
}

// ECDSA has two signatures for each of a signer's: s and n-s. RFC 7518 section
// 3.4 allows both and RFC 6979 gives either; both are taken, because a token is
// known by its id and never by its text.
func TestBothSignaturesThatES256HasAreTaken(t *testing.T) {
	key := generate(t, jws.ES256)
	good := signature(t, key, "a.b")
	other := join(new(big.Int).SetBytes(good[:32]), new(big.Int).Sub(order(), new(big.Int).SetBytes(good[32:])))
	if !key.Verifier().Verify([]byte("a.b"), good) || !key.Verifier().Verify([]byte("a.b"), other) {
		t.Error("one of the two is refused")
	}
}

func TestAnEdDSASignatureHasASmallS(t *testing.T) {
	key := generate(t, jws.EdDSA)
	good := signature(t, key, "a.b")
	l, ok := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	if !ok {
		t.Fatal("the order is no number")
	}
	little := slices.Clone(good[32:])
	slices.Reverse(little)
	for s := new(big.Int).SetBytes(little); ; {
		s.Add(s, l) // S+L, S+2L, …: the same signature, were it not for its bound
		if s.BitLen() > 256 {
			break
		}
		b := make([]byte, 32)
		s.FillBytes(b)
		slices.Reverse(b)
		if key.Verifier().Verify([]byte("a.b"), slices.Concat(good[:32], b)) {
			t.Errorf("S of %d bits is accepted", s.BitLen())
		}
	}
	if !key.Verifier().Verify([]byte("a.b"), good) {
		t.Error("the good signature is refused")
	}
}

func TestAKeyReadsOnlyWhatItWrote(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		data := f.key.UnsafeBytes()
		again, err := jws.ParseSigningKey(f.alg, data)
		must(t, err)
		if !bytes.Equal(again.UnsafeBytes(), data) || again.Alg() != f.alg || sign(t, again) != sign(t, f.key) {
			t.Error("the key is another after it was read")
		}
		for _, alg := range []jws.Algorithm{jws.ES256, jws.EdDSA, jws.HS256, "", "none", "RS256"} {
			if _, err := jws.ParseSigningKey(alg, data); (err == nil) != (alg == f.alg) {
				t.Errorf("read for %q: %v", alg, err)
			}
		}
		if f.alg == jws.HS256 {
			return
		}
		for i := range data {
			for _, other := range [][]byte{data[:i], append(bytes.Clone(data[:i]), data[i+1:]...), append(bytes.Clone(data), data[:i+1]...)} {
				if _, err := jws.ParseSigningKey(f.alg, other); err == nil {
					t.Errorf("another length, at byte %d, is read", i)
				}
			}
			changed := bytes.Clone(data)
			changed[i] ^= 1
			if k, err := jws.ParseSigningKey(f.alg, changed); err == nil && (!bytes.Equal(k.UnsafeBytes(), changed) || sign(t, k) == sign(t, f.key)) {
				t.Errorf("byte %d does not count", i)
			}
		}
	})
}

func TestKeysOfOtherKindsAreNoSigningKeys(t *testing.T) {
	marshal := func(k any, err error) []byte {
		t.Helper()
		must(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(k)
		must(t, err)
		return der
	}
	ec := func(c elliptic.Curve) []byte { return marshal(ecdsa.GenerateKey(c, rand.Reader)) }
	good, err := x509.ParsePKCS8PrivateKey(generate(t, jws.ES256).UnsafeBytes())
	must(t, err)
	sec1, err := x509.MarshalECPrivateKey(good.(*ecdsa.PrivateKey))
	must(t, err)
	for name, data := range map[string][]byte{
		"nothing": nil, "P-224": ec(elliptic.P224()), "P-384": ec(elliptic.P384()), "P-521": ec(elliptic.P521()), "RSA": marshal(rsa.GenerateKey(rand.Reader, 2048)),
		"X25519": marshal(ecdh.X25519().GenerateKey(rand.Reader)), "SEC 1": sec1, "text": []byte("-----BEGIN PRIVATE KEY-----"),
	} {
		for _, alg := range []jws.Algorithm{jws.ES256, jws.EdDSA} {
			if _, err := jws.ParseSigningKey(alg, data); err == nil {
				t.Errorf("%s is a key for %s", name, alg)
			}
		}
	}
}

func TestAWeakSecretIsRefused(t *testing.T) {
	random := generate(t, jws.HS256).UnsafeBytes()
	private, err := x509.ParsePKCS8PrivateKey(generate(t, jws.ES256).UnsafeBytes())
	must(t, err)
	public, err := x509.MarshalPKIXPublicKey(private.(*ecdsa.PrivateKey).Public())
	must(t, err)
	long := slices.Concat(random, generate(t, jws.HS256).UnsafeBytes())
	for name, secret := range map[string][]byte{
		"empty": {}, "one byte": {1}, "31 bytes": random[:31], "spaces": bytes.Repeat([]byte{' '}, 32), "zeros": make([]byte, 64), "repeated": slices.Concat(random, random), "short pattern": bytes.Repeat([]byte{1, 2, 0xff}, 20),
		"text": []byte("secret-secret-secret-that-is-long-enough"), "hexadecimal": []byte(hex.EncodeToString(random)), "base64": []byte(base64.StdEncoding.EncodeToString(random)), "lines": []byte("my\tsecret\r\nof several lines and words\n"),
		"public key": public, "few bytes": append(make([]byte, 40), 1, 2, 3), "too long": bytes.Repeat(long, 17),
	} {
		if _, err := jws.ParseSigningKey(jws.HS256, secret); err == nil {
			t.Errorf("%s is a secret", name)
		} else if len(secret) > 0 && strings.Contains(err.Error(), string(secret)) {
			t.Errorf("%s: the secret is in the error", name)
		}
	}
	for range 1000 {
		if _, err := jws.ParseSigningKey(jws.HS256, generate(t, jws.HS256).UnsafeBytes()); err != nil {
			t.Fatalf("a random secret is refused: %v", err)
		}
	}
	if _, err := jws.ParseSigningKey(jws.HS256, long); err != nil {
		t.Errorf("64 bytes: %v", err)
	}
}

func TestOnlyRegisteredNamesAreAlgorithms(t *testing.T) {
	for _, name := range []string{"", "none", "es256", "EDDSA", "hs256", "RS256", "ES256 ", "Ed25519"} {
		if _, err := jws.ParseAlgorithm(name); err == nil {
			t.Errorf("%q is an algorithm", name)
		}
		if _, err := jws.GenerateKey(jws.Algorithm(name), rand.Reader); err == nil {
			t.Errorf("a key for %q is made", name)
		}
	}
	for _, alg := range []jws.Algorithm{jws.EdDSA, jws.HS256} {
		if _, err := jws.GenerateKey(alg, bytes.NewReader(make([]byte, 31))); err == nil {
			t.Errorf("%s: a key is made of 31 bytes", alg)
		}
	}
}

func TestAKeyPrintsNothingOfItself(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		secret := f.key.UnsafeBytes()
		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(handler).Info("key", "key", f.key, "value", *f.key, "verifier", f.key.Verifier(), "half", *f.key.Verifier())
		}
		said := log.String()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
			said += fmt.Sprintf(verb, f.key) + fmt.Sprintf(verb, *f.key) + fmt.Sprintf(verb, f.key.Verifier()) + fmt.Sprintf(verb, *f.key.Verifier()) + fmt.Sprintf(verb, []any{*f.key})
			said += fmt.Sprintf(verb, struct{ hidden *jws.SigningKey }{f.key}) + fmt.Sprintf(verb, struct{ hidden *jws.Verifier }{f.key.Verifier()})
		}
		text, err := json.Marshal([]any{f.key, *f.key, f.key.Verifier(), *f.key.Verifier()})
		must(t, err)
		said += string(text) + f.key.String() + f.key.GoString()
		for i := 0; i+8 <= len(secret); i++ {
			piece := secret[i : i+8]
			for _, form := range []string{string(piece), hex.EncodeToString(piece), strings.ToUpper(hex.EncodeToString(piece)), strings.Trim(fmt.Sprint(piece), "[]"), base64.StdEncoding.EncodeToString(piece)[:10]} {
				if strings.Contains(said, form) {
					t.Fatalf("the secret is in %s", said)
				}
			}
		}
	})
}
