package authority_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"mintmark/internal/authority"
)

func TestASecretPrintsNothingOfItself(t *testing.T) {
	const text = "correct horse battery staple"
	secret := authority.NewSecret(text)
	hidden := struct{ inside authority.Secret }{secret}
	var said bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t"} {
		for _, value := range []any{secret, &secret, hidden, &hidden, []authority.Secret{secret}, map[string]any{"a": secret}} {
			fmt.Fprintf(&said, verb, value)
		}
	}
	encoded, err := json.Marshal([]any{secret, &secret, hidden})
	if err != nil {
		t.Fatal(err)
	}
	said.Write(encoded)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&said, nil), slog.NewJSONHandler(&said, nil)} {
		slog.New(handler).Info("signed in", "secret", secret, "inside", hidden)
	}
	for _, form := range []string{text, "horse", fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), strings.Trim(fmt.Sprint([]byte(text)), "[]")} {
		if strings.Contains(said.String(), form) {
			t.Errorf("%q is in %s", form, said.String())
		}
	}
	if secret.Unsafe() != text || (authority.Secret{}).Unsafe() != "" {
		t.Error("a secret is not what it was made of")
	}
}
