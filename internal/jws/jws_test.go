package jws_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"mintmark/internal/jws"
)

const payload = `{"iss":"https://tokens.example","sub":"batch"}`

func header(alg jws.Algorithm) string {
	return fmt.Sprintf(`{"alg":%q,"kid":"k1","typ":"at+jwt"}`, string(alg))
}

func sign(t testing.TB, k *jws.SigningKey) string {
	t.Helper()
	raw, err := jws.Sign(k, jws.Header{Alg: k.Alg(), Kid: "k1", Typ: "at+jwt"}, []byte(payload))
	must(t, err)
	return raw
}

func TestWhatIsSignedIsVerifiedAndSigningTwiceGivesTheSameBytes(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		raw := sign(t, f.key)
		if again := sign(t, f.key); again != raw {
			t.Error("signing twice gives two texts")
		}
		for name, raw := range map[string]string{"ours": raw, "made elsewhere": forge(t, f.key, header(f.alg), payload)} {
			got, err := accept(raw, f.key.Verifier())
			if err != nil || string(got) != payload {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		u, err := jws.ParseToken(raw)
		must(t, err)
		if want := (jws.Header{Alg: f.alg, Kid: "k1", Typ: "at+jwt"}); u.Header() != want {
			t.Errorf("header %+v", u.Header())
		}
		_, err = accept(raw, generate(t, f.alg).Verifier())
		wantFault(t, err, jws.BadSignature)
		_, err = u.Verify(nil)
		wantFault(t, err, jws.KidRefused)
	})
}

func TestOnlyTheAlgorithmOfTheKeyIsTaken(t *testing.T) {
	all := families(t)
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		for _, alg := range []string{
			`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"noNE"`, `"none "`, `" none"`, `"\u006eone"`, `""`,
			`"es256"`, `"eddsa"`, `"hs256"`, `"ES256 "`, `"ES256\u0000"`, `"ES384"`, `"ES512"`, `"ES256K"`, `"Ed25519"`, `"Ed448"`, `"HS384"`, `"HS512"`,
			`"RS256"`, `"PS256"`, `"dir"`, `"A128KW"`, `"RSA-OAEP"`, `"ECDH-ES"`, `"PBES2-HS256+A128KW"`,
		} {
			_, err := accept(forge(t, f.key, `{"alg":`+alg+`,"kid":"k1","typ":"at+jwt"}`, payload), f.key.Verifier())
			wantFault(t, err, jws.AlgorithmRefused)
			_, err = accept(compact(`{"alg":`+alg+`,"kid":"k1","typ":"at+jwt"}`, payload, nil), f.key.Verifier())
			wantFault(t, err, jws.Malformed) // an empty part is refused before anything is decoded
		}
		_, err := accept(forge(t, f.key, `{"kid":"k1","typ":"at+jwt"}`, payload), f.key.Verifier())
		wantFault(t, err, jws.AlgorithmRefused)
		for _, alg := range []string{`null`, `1`, `true`, `["` + string(f.alg) + `"]`, `{"` + string(f.alg) + `":1}`} {
			_, err := accept(forge(t, f.key, `{"alg":`+alg+`,"kid":"k1","typ":"at+jwt"}`, payload), f.key.Verifier())
			wantFault(t, err, jws.Malformed)
		}
		for _, other := range all {
			if other.alg == f.alg {
				continue
			}
			// The other key's signature, and this key's, under the other's name.
			for _, k := range []*jws.SigningKey{other.key, f.key} {
				_, err := accept(forge(t, k, header(other.alg), payload), f.key.Verifier())
				wantFault(t, err, jws.AlgorithmMismatch)
			}
			_, err := accept(forge(t, other.key, header(f.alg), payload), f.key.Verifier())
			wantFault(t, err, jws.BadSignature)
			if _, err := jws.Sign(f.key, jws.Header{Alg: other.alg, Kid: "k1"}, nil); err == nil {
				t.Error("a key signs under the name of another algorithm")
			}
		}
	})
}

// The classic: the public key is no secret, so it must not serve as one.
func TestAPublicKeyIsNoHMACSecret(t *testing.T) {
	for _, f := range families(t)[:2] {
		public, ok := f.key.Verifier().JWK("k1")
		if !ok {
			t.Fatal("no public key")
		}
		parsed, err := x509.ParsePKCS8PrivateKey(f.key.UnsafeBytes())
		must(t, err)
		der, err := x509.MarshalPKIXPublicKey(parsed.(crypto.Signer).Public())
		must(t, err)
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		x, err := base64.RawURLEncoding.DecodeString(public.X)
		must(t, err)
		thumb, _ := f.key.Verifier().Thumbprint()
		for _, secret := range [][]byte{{}, x, []byte(public.X), der, text, bytes.TrimSpace(text), jws.MarshalSet([]jws.JWK{public}), []byte(thumb)} {
			for alg, want := range map[jws.Algorithm]jws.Fault{jws.HS256: jws.AlgorithmMismatch, f.alg: jws.BadSignature} {
				input := encode([]byte(header(alg))) + "." + encode([]byte(payload))
				_, err := accept(input+"."+encode(mac(secret, input)), f.key.Verifier())
				wantFault(t, err, want)
			}
		}
	}
}

func TestAHeaderThatPointsAnywhereIsRefused(t *testing.T) {
	members := []string{
		`"jku":"https://evil.example/keys"`, `"jwk":{"kty":"oct","k":"AAAA"}`, `"x5u":"https://evil.example/c.pem"`, `"x5c":["MIIB"]`, `"x5t":"AAAA"`,
		`"x5t#S256":"AAAA"`, `"b64":false`, `"b64":true`, `"b64":false,"crit":["b64"]`, `"zip":"DEF"`, `"enc":"A128GCM"`, `"cty":"JWT"`, `"cty":"json"`,
		`"epk":{}`, `"apu":"AA"`, `"apv":"AA"`, `"p2s":"AA"`, `"p2c":1000000`, `"iv":"AA"`, `"tag":"AA"`,
		`"crit":[]`, `"crit":["exp"],"exp":1`, `"crit":["exp","exp"],"exp":1`, `"crit":["alg"]`, `"crit":"exp"`, `"crit":null`, `"crit":{}`, `"crit":[1]`, `"crit":[["exp"]]`,
		`"\u0063rit":["exp"]`, `"Alg":"none"`, `"ALG":"none"`, `"Kid":"k2"`, "\"\u212aid\":\"k2\"", `"TYP":"JWT"`, `"Crit":[]`, `"JKU":"x"`, `"JWK":{}`, `"X5U":"x"`, `"X5t#s256":"x"`,
		`"B64":false`, `"ZIP":"DEF"`, `"Enc":"x"`, `"CTY":"JWT"`, `"ePk":{}`, `"Tag":"x"`,
	}
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		for _, member := range members {
			for _, h := range []string{
				fmt.Sprintf(`{"alg":%q,"kid":"k1","typ":"at+jwt",%s}`, string(f.alg), member), fmt.Sprintf(`{%s,"alg":%q,"kid":"k1","typ":"at+jwt"}`, member, string(f.alg)),
			} {
				_, err := accept(forge(t, f.key, h, payload), f.key.Verifier())
				wantFault(t, err, jws.HeaderRefused)
				if err != nil && strings.Contains(err.Error(), "evil") {
					t.Errorf("%s: the value is in %v", member, err)
				}
			}
		}
	})
}

func TestAHeaderWithTwoReadingsIsRefused(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		good := strings.TrimSuffix(strings.TrimPrefix(header(f.alg), "{"), "}")
		for _, h := range []string{
			`{` + good + `,"alg":"none"}`, `{"alg":"none",` + good + `}`, `{` + good + `,"alg":"` + string(f.alg) + `"}`, `{` + good + `,"\u0061lg":"none"}`,
			`{` + good + `,"kid":"k2"}`, `{` + good + `,"k\u0069d":"k2"}`, `{` + good + `,"typ":"JWT"}`, `{` + good + `,"x":1,"x":2}`, `{` + good + `,"x":{"y":1,"\u0079":2}}`,
			`{` + good + `}{}`, `{` + good + `} x`, `{` + good + `,}`, `{` + good, `[{` + good + `}]`, `"` + string(f.alg) + `"`, `null`, `1`, ` `, `{`, "\ufeff{" + good + "}", "{" + good + "}\x00",
			`{` + good + `,"x":"` + "\xff" + `"}`, `{` + good + `,"x":"\ud800"}`, `{` + good + `,"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, `{` + good + `,x:1}`, `{` + good + `/**/}`,
			"\xff\xfe{" + good + "}", `{` + good + `,"x":01}`, `{` + good + `,"x":NaN}`,
		} {
			_, err := accept(forge(t, f.key, h, payload), f.key.Verifier())
			wantFault(t, err, jws.Malformed)
		}
		// What nobody forbids is read: other members, order and spaces (RFC 7515
		// section 4).
		for _, h := range []string{"{ " + good + "\r\n}", `{"nonce":"x",` + good + `}`, `{` + good + `,"":1}`} {
			if _, err := accept(forge(t, f.key, h, payload), f.key.Verifier()); err != nil {
				t.Errorf("%s: %v", h, err)
			}
		}
	})
}

func TestAKidIsAShortWord(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		for kid, want := range map[string]jws.Fault{
			`""`: jws.KidRefused, `"` + strings.Repeat("a", 65) + `"`: jws.KidRefused, `"../../etc/passwd"`: jws.KidRefused, `"a b"`: jws.KidRefused, `" k1"`: jws.KidRefused,
			`"k1\n"`: jws.KidRefused, `"k1\u0000"`: jws.KidRefused, `"ключ"`: jws.KidRefused, `"' OR 1=1 --"`: jws.KidRefused, `"$(id)"`: jws.KidRefused, `"https://evil.example"`: jws.KidRefused,
			`"a@b"`: jws.KidRefused, `"k\u212a"`: jws.KidRefused, `"\uff4b1"`: jws.KidRefused, `null`: jws.Malformed, `1`: jws.Malformed, `["k1"]`: jws.Malformed, `{}`: jws.Malformed, `false`: jws.Malformed,
		} {
			_, err := accept(forge(t, f.key, `{"alg":"`+string(f.alg)+`","kid":`+kid+`,"typ":"at+jwt"}`, payload), f.key.Verifier())
			wantFault(t, err, want)
		}
		_, err := accept(forge(t, f.key, `{"alg":"`+string(f.alg)+`","typ":"at+jwt"}`, payload), f.key.Verifier())
		wantFault(t, err, jws.KidRefused)
		for _, kid := range []string{"a", strings.Repeat("a", 64), "..", "-", "_.-Z9"} {
			if _, err := accept(forge(t, f.key, `{"alg":"`+string(f.alg)+`","kid":"`+kid+`","typ":"at+jwt"}`, payload), f.key.Verifier()); err != nil {
				t.Errorf("%s: %v", kid, err)
			}
		}
	})
}

func TestATypeIsComparedAsAMediaType(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		for typ, want := range map[string]jws.Fault{`""`: jws.TypeRefused, `null`: jws.Malformed, `1`: jws.Malformed, `["at+jwt"]`: jws.Malformed} {
			_, err := accept(forge(t, f.key, `{"alg":"`+string(f.alg)+`","kid":"k1","typ":`+typ+`}`, payload), f.key.Verifier())
			wantFault(t, err, want)
		}
		_, err := accept(forge(t, f.key, `{"alg":"`+string(f.alg)+`","kid":"k1"}`, payload), f.key.Verifier())
		wantFault(t, err, jws.TypeRefused)
	})
	for typ, is := range map[string]bool{
		"at+jwt": true, "AT+JWT": true, "At+Jwt": true, "application/at+jwt": true, "APPLICATION/at+JWT": true,
		"": false, "JWT": false, "jwt": false, "at": false, "at+jwt ": false, " at+jwt": false, "at+jwt;v=1": false, "at+jwt+x": false, "login+jwt": false, "application/": false,
		"application/application/at+jwt": false, "text/at+jwt": false, "/at+jwt": false, "at jwt": false, "at+\u212awt": false, "application": false,
	} {
		if got := (jws.Header{Typ: typ}).IsType("at+jwt"); got != is {
			t.Errorf("%q: %v", typ, got)
		}
	}
}
