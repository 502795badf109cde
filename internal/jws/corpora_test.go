package jws_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"mintmark/internal/corpora"
	"mintmark/internal/jws"
	"mintmark/internal/strictjson"
)

// Every document is a header and claims of its own, and a member of a header and
// of claims that are good but for it.
func TestTheJSONCorpusAsHeaderAndClaims(t *testing.T) {
	all := families(t)
	for name, doc := range corpora.JSON(t) {
		ours := strictjson.Check(doc) == nil
		if strings.HasPrefix(name, "n_") && ours {
			t.Errorf("%s is JSON", name)
		}
		object := ours && strings.HasPrefix(strings.TrimLeft(string(doc), " \t\r\n"), "{")
		for _, f := range all {
			// None has an alg, a kid and a typ.
			if _, err := accept(forge(t, f.key, string(doc), payload), f.key.Verifier()); err == nil {
				t.Errorf("%s is a header", name)
			}
			member := `"x":` + string(doc) + `}`
			inside := strictjson.Check([]byte("{"+member)) == nil
			_, err := accept(forge(t, f.key, strings.TrimSuffix(header(f.alg), "}")+","+member, payload), f.key.Verifier())
			if fits := len(doc) < 2000; err == nil != inside && (fits || err == nil) {
				t.Errorf("%s in a header: %v", name, err)
			}
			if inside && !json.Valid([]byte("{"+member)) {
				t.Errorf("%s is JSON for us alone", name)
			}
		}
		if _, err := jws.ParseClaims(doc); (err == nil) != object {
			t.Errorf("%s as claims: %v", name, err)
		}
		claims, err := jws.ParseClaims([]byte(`{"sub":"a","x":` + string(doc) + `}`))
		if inside := strictjson.Check([]byte(`{"x":`+string(doc)+`}`)) == nil; (err == nil) != inside || inside && claims.Subject != "a" {
			t.Errorf("%s in claims: %v", name, err)
		}
		if _, err := jws.ParseSet(doc); err == nil {
			t.Errorf("%s is a key set", name)
		}
	}
}

// example is one of the JOSE cookbook's.
type example struct {
	Kty   string `json:"kty"` // a key alone
	Input struct {
		Key json.RawMessage `json:"key"`
		Alg any             `json:"alg"`
	} `json:"input"`
	Output struct {
		Compact string          `json:"compact"`
		JSON    json.RawMessage `json:"json"`
		Flat    json.RawMessage `json:"json_flat"`
	} `json:"output"`
}

// verifies is what we are to say of the compact form: three parts, one of our
// algorithms, and no header parameter that is refused.
func (e example) verifies(name string) bool {
	alg, _ := e.Input.Alg.(string)
	_, err := jws.ParseAlgorithm(alg)
	parts := strings.Split(e.Output.Compact, ".")
	return err == nil && len(parts) == 3 && parts[1] != "" && !strings.Contains(name, "b64") && !strings.Contains(name, "nested")
}

func TestTheJOSEExamples(t *testing.T) {
	verified := map[jws.Algorithm]int{}
	refused := 0
	for name, text := range corpora.JOSE(t) {
		var e example
		if json.Unmarshal(text, &e) != nil {
			t.Fatalf("%s is no example", name)
		}
		if e.Kty != "" {
			exampleKey(t, name, text)
			continue
		}
		for _, form := range []json.RawMessage{e.Output.JSON, e.Output.Flat} {
			if len(form) == 0 {
				continue
			}
			refused++
			if _, err := jws.Parse(string(form)); err == nil {
				t.Errorf("%s: the JSON form is read", name)
			}
		}
		if e.Output.Compact == "" {
			continue
		}
		u, err := jws.Parse(e.Output.Compact)
		if !e.verifies(name) {
			refused++
			if err == nil {
				t.Errorf("%s is read", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v := exampleKey(t, name, e.Input.Key)
		if _, err := u.Verify(v); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		verified[u.Header().Alg]++
		for _, f := range families(t) {
			if _, err := u.Verify(f.key.Verifier()); err == nil {
				t.Errorf("%s is verified by another key", name)
			}
		}
	}
	if len(verified) != 3 || refused < 10 {
		t.Errorf("verified %v, refused %d: the examples are not what they were", verified, refused)
	}
}

// exampleKey reads a key of an example: alone it is no set of public keys when
// it holds a secret; without its secret it verifies if it is of our kinds.
func exampleKey(t *testing.T, name string, text []byte) *jws.Verifier {
	t.Helper()
	var members map[string]any
	must(t, json.Unmarshal(text, &members))
	members["kid"] = "k1"
	set := func() (jws.Set, error) {
		t.Helper()
		key, err := json.Marshal(members)
		must(t, err)
		return jws.ParseSet([]byte(`{"keys":[` + string(key) + `]}`))
	}
	_, private := members["d"]
	k, symmetric := members["k"].(string)
	if _, err := set(); (err == nil) == (private || symmetric) {
		t.Errorf("%s as a set of public keys: %v", name, err)
	}
	if symmetric {
		secret, err := base64.RawURLEncoding.DecodeString(k)
		must(t, err)
		key, err := jws.ParseSigningKey(jws.HS256, secret)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		return key.Verifier()
	}
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		delete(members, secret)
	}
	public, err := set()
	if err != nil {
		t.Errorf("%s without its secret: %v", name, err)
	}
	v := public.Verifier("k1")
	if ours := members["crv"] == "P-256" || members["crv"] == "Ed25519"; ours != (v != nil) {
		t.Errorf("%s: is ours %v", name, v != nil)
	}
	return v
}
