package jws_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mintmark/internal/jws"

	"github.com/google/go-cmp/cmp"
)

func TestASetOfOurKeysVerifiesAndHoldsNoSecret(t *testing.T) {
	var published []jws.JWK
	all := families(t)
	for _, f := range all {
		jwk, ok := f.key.Verifier().JWK("k-" + string(f.alg))
		if thumb, told := f.key.Verifier().Thumbprint(); ok != (f.alg != jws.HS256) || told != ok || told && len(thumb) != 43 {
			t.Fatalf("%s: published %v, thumbprint %q", f.alg, ok, thumb)
		}
		if ok {
			published = append(published, jwk)
		}
	}
	text := jws.MarshalSet(published)
	var raw struct{ Keys []map[string]string }
	must(t, json.Unmarshal(text, &raw))
	for i, want := range []map[string]string{
		{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k-ES256", "x": published[0].X, "y": published[0].Y},
		{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k-EdDSA", "x": published[1].X},
	} {
		if diff := cmp.Diff(want, raw.Keys[i]); diff != "" {
			t.Error(diff)
		}
	}
	set, err := jws.ParseSet(text)
	must(t, err)
	for _, f := range all[:2] {
		if _, err := accept(sign(t, f.key), set.Verifier("k-"+string(f.alg))); err != nil {
			t.Errorf("%s: %v", f.alg, err)
		}
	}
	if set.Verifier("k-HS256") != nil || set.Verifier("") != nil {
		t.Error("a key is there that was never published")
	}
	for _, empty := range [][]byte{jws.MarshalSet(nil), []byte(`{"keys":[],"more":1}`)} {
		if _, err := jws.ParseSet(empty); err != nil {
			t.Errorf("%s: %v", empty, err)
		}
	}
}

// ec and okp are the keys of RFC 7515 appendix A.3 and RFC 8037 appendix A.2,
// without the braces.
const (
	ec  = `"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	okp = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
)

func TestASetIsRefusedWhole(t *testing.T) {
	x := func(value string) string {
		return `{"kid":"a","kty":"EC","crv":"P-256","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","x":` + value + `}`
	}
	for name, keys := range map[string]string{
		"a secret d": `{"kid":"a",` + ec + `,"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`, "an empty secret": `{"kid":"a",` + okp + `,"d":""}`, "a null secret": `{"kid":"a",` + okp + `,"d":null}`,
		"a symmetric key":         `{"kid":"a",` + ec + `},{"kid":"b","kty":"oct","k":"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg","alg":"HS256"}`,
		"an RSA secret":           `{"kid":"a","kty":"RSA","n":"AQAB","e":"AQAB","p":"AA","q":"AA","dp":"AA","dq":"AA","qi":"AA"}`,
		"a secret of a new kind":  `{"kid":"a","kty":"AKP","alg":"ML-DSA-44","pub":"AA","priv":"AA"}`,
		"a kid twice":             `{"kid":"a",` + ec + `},{"kid":"a",` + okp + `}`,
		"the same key twice":      `{"kid":"a",` + ec + `},{"kid":"a",` + ec + `}`,
		"a kid twice, one not us": `{"kid":"a",` + ec + `},{"kid":"a","kty":"RSA","n":"AQAB","e":"AQAB"}`,
		"no kid":                  `{` + ec + `}`, "empty kid": `{"kid":"",` + ec + `}`, "kid is a number": `{"kid":1,` + ec + `}`, "kid is null": `{"kid":null,` + ec + `}`,
		"no kty": `{"kid":"a","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`, "kty is a number": `{"kid":"a","kty":1}`, "alg is an array": `{"kid":"a","alg":["ES256"],` + ec + `}`,
		"use is null": `{"kid":"a","use":null,` + ec + `}`, "key_ops is a string": `{"kid":"a","key_ops":"verify",` + ec + `}`, "key_ops is null": `{"kid":"a","key_ops":null,` + ec + `}`,
		"an operation twice": `{"kid":"a","key_ops":["verify","verify"],` + ec + `}`, "an operation is a number": `{"kid":"a","key_ops":["verify",1],` + ec + `}`,
		"no y": `{"kid":"a","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`, "no x": `{"kid":"a","kty":"OKP","crv":"Ed25519"}`,
		"a coordinate is padded": x(`"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU="`), "standard base64": x(`"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRV+U"`), "a line break": x(`"f83OJ3D2xF1Bg8vub9tL\ne1gHMzV76e8Tus9uPHvRVEU"`),
		"a carriage return behind": x(`"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\r"`), "a space": x(`"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU "`), "trailing bits": x(`"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV"`),
		"a leading zero": x(`"AH_Nzidw9sRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRF"`), "31 bytes": x(`"zc4ncPbEXUGDy-5v20t7WAczNXvp7xO6z248e9FURQ"`), "hexadecimal": x(`"7fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445"`), "empty": x(`""`), "a number": x(`1`),
		"off the curve":       x(`"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEQ"`),
		"infinity":            `{"kid":"a","kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`,
		"above the field":     `{"kid":"a","kty":"EC","crv":"P-256","x":"` + encode(unhex(t, "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")) + `","y":"` + encode(unhex(t, "66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4")) + `"}`,
		"Ed25519 of 31 bytes": `{"kid":"a","kty":"OKP","crv":"Ed25519","x":"` + strings.Repeat("A", 42) + `"}`, "Ed25519 with a line break": `{"kid":"a","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\n"}`,
		"a member twice": `{"kid":"a","kid":"b",` + ec + `}`, "x twice, escaped": `{"kid":"a","\u0078":"AA",` + ec + `}`, "a key is null": `null`, "a key is a string": `"a"`, "a key is an array": `[]`,
	} {
		if _, err := jws.ParseSet([]byte(`{"keys":[` + keys + `]}`)); err == nil {
			t.Errorf("%s is taken", name)
		} else if strings.Contains(err.Error(), "jpsQnnGQmL") || strings.Contains(err.Error(), "hJtXIZ2uSN5k") {
			t.Errorf("%s: the secret is in %v", name, err)
		}
	}
	// The same point below the field's order is one.
	if _, err := jws.ParseSet([]byte(`{"keys":[{"kid":"a","kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + encode(unhex(t, "66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4")) + `"}]}`)); err != nil {
		t.Errorf("x = 0: %v", err)
	}
	good := `{"kid":"a",` + ec + `}`
	for name, set := range map[string]string{
		"nothing": ``, "no keys": `{}`, "null": `{"keys":null}`, "an object": `{"keys":{}}`, "a string": `{"keys":"a"}`, "an array alone": `[` + good + `]`, "a key alone": good, "twice": `{"keys":[],"keys":[` + good + `]}`,
		"another case": `{"Keys":[` + good + `]}`, "something behind": `{"keys":[` + good + `]}{}`, "mark": "\ufeff" + `{"keys":[` + good + `]}`, "too large": `{"keys":[` + good + `]` + strings.Repeat(" ", 64<<10) + `}`, "not UTF-8": `{"keys":[` + good + `],"x":"` + "\xff" + `"}`,
	} {
		if _, err := jws.ParseSet([]byte(set)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// What is passed over can verify nothing, and the rest of the set still can.
func TestKeysOfOtherKindsAndUsesArePassedOver(t *testing.T) {
	for name, key := range map[string]string{
		"RSA": `"kty":"RSA","n":"AQAB","e":"AQAB","alg":"RS256"`, "P-384": `"kty":"EC","crv":"P-384","x":"AA","y":"AA"`, "secp256k1": `"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"`, "Ed448": `"kty":"OKP","crv":"Ed448","x":"AA"`,
		"X25519": `"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`, "a new kind": `"kty":"AKP","alg":"ML-DSA-44","pub":"AA"`, "oct without its value": `"kty":"oct","alg":"HS256"`,
		"kty in lower case": strings.Replace(ec, "EC", "ec", 1), "crv in lower case": strings.Replace(ec, "P-256", "p-256", 1), "kinds mixed": `"kty":"OKP","crv":"P-256","x":"AA","y":"AA"`,
		"EC for HS256": ec + `,"alg":"HS256"`, "EC for EdDSA": ec + `,"alg":"EdDSA"`, "EC for none": ec + `,"alg":"none"`, "EC for ES384": ec + `,"alg":"ES384"`, "EC for encryption": ec + `,"alg":"ECDH-ES"`, "EC for es256": ec + `,"alg":"es256"`,
		"OKP for ES256": okp + `,"alg":"ES256"`, "OKP for Ed448": okp + `,"alg":"Ed448"`, "use enc": ec + `,"use":"enc"`, "use SIG": ec + `,"use":"SIG"`, "use empty of a new kind": `"kty":"x","use":""`,
		"no operation": ec + `,"key_ops":[]`, "sign only": ec + `,"key_ops":["sign"]`, "encrypt": ec + `,"key_ops":["encrypt"]`, "verify and encrypt": ec + `,"key_ops":["verify","encrypt"]`, "derive": okp + `,"key_ops":["deriveKey"]`, "VERIFY": ec + `,"key_ops":["VERIFY"]`,
	} {
		set, err := jws.ParseSet([]byte(`{"keys":[{"kid":"a",` + key + `},{"kid":"b",` + ec + `}]}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if set.Verifier("a") != nil || set.Verifier("b") == nil {
			t.Errorf("%s: passed over %v", name, set.Verifier("a") == nil)
		}
	}
	for name, key := range map[string]string{
		"all members": ec + `,"use":"sig","alg":"ES256","key_ops":["verify"]`, "no alg": ec, "both operations": okp + `,"key_ops":["sign","verify"]`, "the new name": okp + `,"alg":"Ed25519"`, "a certificate": ec + `,"x5c":["AA"],"x5t":"AA"`,
		"a new member": ec + `,"exp":1,"nested":{"d":1}`,
	} {
		set, err := jws.ParseSet([]byte(`{"keys":[{"kid":"a",` + key + `}]}`))
		if err != nil || set.Verifier("a") == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A set may hold a key under another's kid; the token of the one is then no
// token of the other.
func TestAKeyUnderAnothersKidVerifiesNothing(t *testing.T) {
	all := families(t)
	for _, f := range all[:2] {
		for _, other := range []*jws.SigningKey{generate(t, f.alg), all[0].key, all[1].key} {
			if other == f.key {
				continue
			}
			jwk, _ := other.Verifier().JWK("k1")
			set, err := jws.ParseSet(jws.MarshalSet([]jws.JWK{jwk}))
			must(t, err)
			if _, err := accept(sign(t, f.key), set.Verifier("k1")); err == nil {
				t.Errorf("a %s token is verified by another key, of %s", f.alg, other.Alg())
			}
		}
	}
}

func TestTheThumbprintIsThatOfRFC7638(t *testing.T) {
	set, err := jws.ParseSet(fmt.Appendf(nil, `{"keys":[{"kid":"a",%s},{"kid":"b",%s}]}`, ec, okp))
	must(t, err)
	for kid, want := range map[string]string{
		"a": "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U", // of RFC 7515 appendix A.3's key
		"b": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", // RFC 8037 appendix A.3
	} {
		if got, ok := set.Verifier(kid).Thumbprint(); !ok || got != want {
			t.Errorf("%s: %s", kid, got)
		}
	}
}
