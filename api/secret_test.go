package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"mintmark/api"
)

func TestASecretIsToldToTheWireAlone(t *testing.T) {
	const text = "correct horse battery staple 4"
	secret := api.NewSecret(text)
	in := api.Credentials{Username: "maria", Password: secret}
	var said bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%T %v", "%10.3s", "%-5v", "%c", "%U", "%p", "%t", "%e"} {
		args := []any{secret}
		if verb == "%T %v" {
			args = []any{secret, secret}
		}
		for _, arg := range [][]any{args, {in}, {&in}, {[]api.Secret{secret}}, {map[string]any{"a": secret}}, {&secret}} {
			fmt.Fprintf(&said, verb+"\n", arg...)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&said, nil), slog.NewJSONHandler(&said, nil)} {
		slog.New(handler).Info("x", "secret", secret, slog.Group("g", "secret", secret))
	}
	slog.New(slog.NewTextHandler(&said, nil)).Info("x", "credentials", in)
	fmt.Fprintln(&said, errors.Join(fmt.Errorf("sign in %v: %s", in, secret)), secret.String(), secret.GoString(), secret.LogValue())
	hex := fmt.Sprintf("%x", text)
	for _, trace := range []string{text, "horse", hex, strings.ToUpper(hex)} {
		if strings.Contains(said.String(), trace) {
			t.Errorf("%q was told", trace)
		}
	}
	if !strings.Contains(said.String(), "[secret]") {
		t.Error("nothing was redacted")
	}

	wire, err := json.Marshal(in)
	if err != nil || string(wire) != `{"username":"maria","password":"`+text+`"}` {
		t.Errorf("on the wire %s, %v", wire, err)
	}
	var back api.Credentials
	if err := json.Unmarshal(wire, &back); err != nil || back.Password.Unsafe() != text {
		t.Errorf("read back %v", err)
	}
	if err := json.Unmarshal([]byte(`{"password":["`+text+`"]}`), &back); err == nil || strings.Contains(err.Error(), "horse") {
		t.Errorf("a password that is none: %v", err)
	}
}
