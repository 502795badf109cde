package jws_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"mintmark/internal/corpora"
	"mintmark/internal/jws"

	"github.com/google/go-cmp/cmp"
)

// fixed are keys that stay the same from run to run, so that what the fuzzer
// finds can be found again.
func fixed(t testing.TB) []family {
	t.Helper()
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(255 - i)
	}
	hs, err := jws.ParseSigningKey(jws.HS256, secret)
	must(t, err)
	ed, err := jws.GenerateKey(jws.EdDSA, bytes.NewReader(secret))
	must(t, err)
	return []family{{jws.ES256, p256(t, secret[:])}, {jws.EdDSA, ed}, {jws.HS256, hs}}
}

// A token that a key accepts is one that the key signed: the fuzzer has none of
// the keys, so it may find no other than the seeds, or the second signature that
// each of ES256 has.
func FuzzToken(f *testing.F) {
	keys := fixed(f)
	signed := map[string]bool{}
	for _, k := range keys {
		raw := sign(f, k.key)
		signed[raw[:strings.LastIndexByte(raw, '.')]] = true
		f.Add(raw)
		f.Add(strings.Replace(raw, ".", "..", 1))
		f.Add(raw[:len(raw)-1])
		f.Add(compact(`{"alg":"none","kid":"k1","typ":"at+jwt"}`, payload, []byte{0}))
		f.Add(compact(`{"alg":"`+string(k.alg)+`","alg":"none"}`, payload, make([]byte, 64)))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := jws.Parse(raw)
		if err != nil {
			if _, err := jws.ParseToken(raw); err == nil {
				t.Fatal("a token that is no JWS")
			}
			return
		}
		parts := strings.Split(raw, ".")
		if len(parts) != 3 || len(raw) > jws.MaxSize {
			t.Fatalf("%d parts of %d bytes are read", len(parts), len(raw))
		}
		for _, k := range keys {
			verified, err := u.Verify(k.key.Verifier())
			if err != nil {
				continue
			}
			if !signed[parts[0]+"."+parts[1]] {
				t.Fatalf("%s is accepted under %s", raw, k.alg)
			}
			for _, part := range parts {
				decoded, err := base64.RawURLEncoding.DecodeString(part)
				if err != nil || encode(decoded) != part {
					t.Fatalf("%q is not canonical", part)
				}
			}
			if encode(verified.Payload()) != parts[1] {
				t.Fatal("the payload is not what was signed")
			}
		}
	})
}

// Headers get a good signature, so that their own reader is reached.
func FuzzHeader(f *testing.F) {
	keys := fixed(f)
	for _, doc := range corpora.JSON(f) {
		f.Add(string(doc))
	}
	for _, k := range keys {
		f.Add(header(k.alg))
		f.Add(strings.TrimSuffix(header(k.alg), "}") + `,"crit":["b64"],"b64":false}`)
		f.Add(strings.TrimSuffix(header(k.alg), "}") + `,"\u0061lg":"none"}`)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range keys {
			u, err := jws.ParseToken(forge(t, k.key, text, payload))
			if err != nil {
				continue
			}
			_, err = u.Verify(k.key.Verifier())
			if (err == nil) != (u.Header().Alg == k.alg) {
				t.Fatalf("%q under %s: %v", text, k.alg, err)
			}
			// What was read is written again, and read the same.
			again, err := jws.Sign(keyOf(keys, u.Header().Alg), u.Header(), []byte(payload))
			if err != nil {
				if len(text) > 2000 {
					return // escapes make it longer than what is read
				}
				t.Fatalf("%q is read and not written: %v", text, err)
			}
			second, err := jws.ParseToken(again)
			if err != nil || second.Header() != u.Header() {
				t.Fatalf("%+v was read as %+v: %v", u.Header(), second.Header(), err)
			}
		}
	})
}

func keyOf(keys []family, alg jws.Algorithm) *jws.SigningKey {
	for _, k := range keys {
		if k.alg == alg {
			return k.key
		}
	}
	return nil
}

func FuzzClaims(f *testing.F) {
	f.Add(full().Marshal())
	f.Add([]byte(`{"aud":"a","exp":1e3}`))
	f.Add([]byte(`{"aud":["a",null],"iat":-0}`))
	for _, doc := range corpora.JSON(f) {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := jws.ParseClaims(text)
		if err != nil {
			return
		}
		written := c.Marshal()
		again, err := jws.ParseClaims(written)
		if err != nil {
			t.Fatalf("%s is written and not read: %v", written, err)
		}
		if diff := cmp.Diff(c, again, sameClaims); diff != "" {
			t.Fatal(diff)
		}
		if !bytes.Equal(again.Marshal(), written) {
			t.Fatal("equal claims give two texts")
		}
		if c.Check(jws.Expect{}) == nil {
			t.Fatal("an empty expectation is met")
		}
	})
}

func FuzzSet(f *testing.F) {
	keys := fixed(f)
	tokens := map[jws.Algorithm]string{}
	var published []jws.JWK
	for _, k := range keys {
		if jwk, ok := k.key.Verifier().JWK("k1"); ok {
			published = append(published, jwk)
			f.Add(jws.MarshalSet([]jws.JWK{jwk}))
			tokens[k.alg] = sign(f, k.key)
		}
	}
	f.Add(jws.MarshalSet(nil))
	f.Add([]byte(`{"keys":[{"kid":"a",` + ec + `,"key_ops":["verify"]},{"kid":"b",` + okp + `}]}`))
	f.Add([]byte(`{"keys":[{"kid":"k1",` + ec + `,"d":"AA"}]}`))
	for name, doc := range corpora.JOSE(f) {
		if strings.Contains(name, "key") {
			f.Add([]byte(`{"keys":[` + string(doc) + `]}`))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := jws.ParseSet(text)
		if err != nil {
			return
		}
		v := set.Verifier("k1")
		if v == nil {
			return
		}
		jwk, public := v.JWK("k1")
		if !public {
			t.Fatal("a set holds a key without a public part")
		}
		again, err := jws.ParseSet(jws.MarshalSet([]jws.JWK{jwk}))
		if err != nil || again.Verifier("k1") == nil {
			t.Fatalf("a key that was read is not read again: %v", err)
		}
		for _, raw := range tokens {
			u, err := jws.ParseToken(raw)
			must(t, err)
			_, err = u.Verify(v)
			known := false
			for _, k := range published {
				known = known || k == jwk && k.Alg == string(u.Header().Alg)
			}
			if (err == nil) != known {
				t.Fatalf("a token is verified by %+v: %v", jwk, err)
			}
		}
	})
}

func FuzzSigningKey(f *testing.F) {
	for _, k := range fixed(f) {
		f.Add(string(k.alg), k.key.UnsafeBytes())
	}
	f.Add("ES256", []byte{0x30, 0x00})
	f.Add("HS256", []byte("a text that somebody typed, and long"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		alg, err := jws.ParseAlgorithm(name)
		if err != nil {
			return
		}
		k, err := jws.ParseSigningKey(alg, data)
		if err != nil {
			if len(data) > 8 && strings.Contains(err.Error(), string(data)) {
				t.Fatal("the secret is in the error")
			}
			return
		}
		if !bytes.Equal(k.UnsafeBytes(), data) {
			t.Fatal("a key is written as it was not read")
		}
		raw := sign(t, k)
		if _, err := accept(raw, k.Verifier()); err != nil || sign(t, k) != raw {
			t.Fatalf("its own signature: %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, f := range families(b) {
		raw := sign(b, f.key)
		v := f.key.Verifier()
		b.Run(string(f.alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := accept(raw, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
