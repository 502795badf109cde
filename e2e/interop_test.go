package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// agreement is one token of a running server and what verifies it.
type agreement struct {
	home   home
	alg    string
	record map[string]any // as the API told it
	token  string
	kid    string
	key    any // public, or the secret of HS256
}

// Two implementations that share nothing with ours verify our tokens and read
// the same in them; what they sign with other keys is refused.
func TestIndependentLibrariesAgreeOnOurTokens(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h := install(t, "--start")
	for _, alg := range []string{"ES256", "EdDSA", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			h.manager(t, "config", "properties", "set", "jwt.algorithm", alg)
			h.manager(t, "config", "apply")
			h.manager(t, "support", "reset-jwt-key", "--confirm", host) // the algorithm is that of the next key
			a := agreement{home: h, alg: alg}
			a.issue(t)
			a.findKey(t)
			a.joseVerifies(t)
			a.jwtVerifies(t)
			a.forgeriesAreRefused(t)
		})
	}
}

// issue creates a token and finds that every reveal gives the same bytes.
func (a *agreement) issue(t *testing.T) {
	t.Helper()
	admin := newCaller(t, a.home, &http.Client{Timeout: wireTimeout}).as("Bearer " + a.home.token(t, "interop-admin-"+a.alg, "admin"))
	a.record = admin.expect(201, "POST", "/api/v1/tokens", `{"client_id":"interop","role":"user","tags":["team:a","path:x/y+z@w"],"lifetime":"90d"}`)
	a.token, _ = a.record["token"].(string)
	for range 2 {
		again := admin.expect(200, "POST", "/api/v1/tokens/"+fmt.Sprint(a.record["id"])+"/reveal", "")
		if again["token"] != a.token {
			t.Error("a reveal is not the token as it was issued")
		}
	}
	if got := a.ask(t, a.token); got != http.StatusOK {
		t.Fatalf("the door answers %d", got)
	}
}

// findKey takes the key from the published set; a secret is never there, so that
// of HS256 comes from the keyring.
func (a *agreement) findKey(t *testing.T) {
	t.Helper()
	header := a.part(t, 0)
	if want := map[string]any{"alg": a.alg, "kid": header["kid"], "typ": "at+jwt"}; cmp.Diff(want, header) != "" {
		t.Fatalf("the header is %v", header)
	}
	a.kid, _ = header["kid"].(string)
	published := call(t, request{url: a.home.url + "/.well-known/jwks.json"})
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(published.body), &set); err != nil || published.header.Get("Content-Type") != "application/jwk-set+json" {
		t.Fatalf("the key set is %s, %q: %v", published.body, published.header.Get("Content-Type"), err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() || !k.Valid() || k.Use != "sig" || k.Algorithm != a.alg {
			t.Errorf("published: %+v", k)
		}
		sum, err := k.Thumbprint(crypto.SHA256)
		if err != nil || base64.RawURLEncoding.EncodeToString(sum) != k.KeyID {
			t.Errorf("the kid %s is not the thumbprint: %v", k.KeyID, err)
		}
	}
	found := set.Key(a.kid)
	if a.alg == "HS256" {
		if len(set.Keys) != 0 {
			t.Error("a secret is published")
		}
		a.key = a.secret(t)
		return
	}
	if len(found) != 1 || len(set.Keys) != 2 { // the current and the next
		t.Fatalf("%d keys with the kid, %d in all", len(found), len(set.Keys))
	}
	a.key = found[0].Key
}

func (a *agreement) secret(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.home.dir, "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	var ring struct {
		Keys []struct{ Kid, Secret string }
	}
	if err := json.Unmarshal(text, &ring); err != nil {
		t.Fatal(err)
	}
	for _, k := range ring.Keys {
		if k.Kid == a.kid {
			secret, err := base64.StdEncoding.DecodeString(k.Secret)
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatalf("the keyring has no %s", a.kid)
	return nil
}

// part decodes the header (0) or the claims (1).
func (a *agreement) part(t *testing.T, n int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(a.token, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	return members
}

func (a *agreement) joseVerifies(t *testing.T) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(a.token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(a.alg)})
	if err != nil {
		t.Fatalf("go-jose: %v", err)
	}
	payload, err := signed.Verify(a.key)
	if err != nil {
		t.Fatalf("go-jose: %v", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	a.wantClaims(t, "go-jose", claims)
	if signed.Signatures[0].Protected.KeyID != a.kid || signed.Signatures[0].Protected.ExtraHeaders["typ"] != "at+jwt" {
		t.Errorf("go-jose reads the header %+v", signed.Signatures[0].Protected)
	}
}

func (a *agreement) jwtVerifies(t *testing.T) {
	t.Helper()
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(a.token, claims, func(tok *jwt.Token) (any, error) {
		if tok.Header["kid"] != a.kid {
			return nil, fmt.Errorf("the kid is %v", tok.Header["kid"])
		}
		return a.key, nil
	}, jwt.WithValidMethods([]string{a.alg}), jwt.WithIssuer(fmt.Sprint(a.part(t, 1)["iss"])), jwt.WithAudience(fmt.Sprint(a.part(t, 1)["aud"])),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithLeeway(time.Minute))
	if err != nil {
		t.Fatalf("golang-jwt: %v", err)
	}
	a.wantClaims(t, "golang-jwt", claims)
}

// wantClaims holds what a library read against what the API told of the token.
func (a *agreement) wantClaims(t *testing.T, library string, got map[string]any) {
	t.Helper()
	seconds := func(member string) float64 {
		at, err := time.Parse(time.RFC3339, fmt.Sprint(a.record[member]))
		if err != nil {
			t.Fatal(err)
		}
		return float64(at.Unix())
	}
	audience, _ := a.record["audience"].([]any)
	if len(audience) != 1 {
		t.Fatalf("the record is for %v", a.record["audience"])
	}
	want := map[string]any{
		"iss": a.record["issuer"], "sub": "interop", "client_id": "interop", "aud": audience[0], "jti": a.record["id"], "iat": seconds("created_at"), "exp": seconds("expires_at"),
		"role": "user", "tags": []any{"team:a", "path:x/y+z@w"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s reads other claims (-want +got):\n%s", library, diff)
	}
}

// ask is what the door answers of a token.
func (a *agreement) ask(t *testing.T, token string) int {
	t.Helper()
	return call(t, request{url: a.home.url + "/auth/verify", authorization: "Bearer " + token}).status
}

// forgeriesAreRefused signs the same header and claims with keys that are not
// the server's.
func (a *agreement) forgeriesAreRefused(t *testing.T) {
	t.Helper()
	input := a.token[:strings.LastIndexByte(a.token, '.')]
	claims := jwt.MapClaims(a.part(t, 1))
	stranger := strangerFor(t, a.alg)
	forged := map[string]string{"go-jose, another key": a.byJose(t, stranger)}
	byJWT := func(name string, method jwt.SigningMethod, key any) {
		t.Helper()
		signature, err := method.Sign(input, key)
		if err != nil {
			t.Fatal(err)
		}
		forged[name] = input + "." + base64.RawURLEncoding.EncodeToString(signature)
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"], token.Header["typ"] = a.kid, "at+jwt"
		if forged[name+", a header of its own"], err = token.SignedString(key); err != nil {
			t.Fatal(err)
		}
	}
	byJWT("golang-jwt, another key", jwt.GetSigningMethod(a.alg), stranger)
	byJWT("unsigned", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)
	for _, other := range []string{"ES256", "EdDSA", "HS256", "HS512"} {
		if other != a.alg {
			byJWT("golang-jwt, "+other, jwt.GetSigningMethod(other), strangerFor(t, other))
		}
	}
	if a.alg != "HS256" {
		public, err := x509.MarshalPKIXPublicKey(a.key)
		if err != nil {
			t.Fatal(err)
		}
		byJWT("the public key as a secret", jwt.SigningMethodHS256, public)
		jwk, err := jose.JSONWebKey{Key: a.key, KeyID: a.kid, Algorithm: a.alg, Use: "sig"}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		byJWT("the published key as a secret", jwt.SigningMethodHS256, jwk)
	} else {
		byJWT("the secret under another algorithm", jwt.SigningMethodHS512, a.key)
	}
	for name, token := range forged {
		if token == a.token {
			t.Errorf("%s: it is no forgery", name)
		}
		if got := a.ask(t, token); got != http.StatusUnauthorized {
			t.Errorf("%s: the door answers %d", name, got)
		}
	}
	if got := a.ask(t, a.token); got != http.StatusOK {
		t.Errorf("the token itself: %d", got)
	}
}

// byJose signs our claims under our kid with a key of somebody else's.
func (a *agreement) byJose(t *testing.T, key any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(a.alg), Key: jose.JSONWebKey{Key: key, KeyID: a.kid}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(a.token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if parts := strings.Split(text, "."); parts[1] != strings.Split(a.token, ".")[1] {
		t.Fatal("the claims are not the token's")
	}
	return text
}

// strangerFor makes a key that the server does not know.
func strangerFor(t *testing.T, alg string) any {
	t.Helper()
	switch alg {
	case "ES256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	secret := make([]byte, 64)
	if _, err := rand.Read(secret); err != nil {
		t.Fatal(err)
	}
	return secret
}
