package config

import (
	"fmt"
	"strings"
	"testing"
)

// No property of the catalogue is secret; what holds for one is tested here.
func TestASecretValueIsInNoErrorAndNoChange(t *testing.T) {
	t.Parallel()
	p := Property{Name: "a.secret", Secret: true, check: func(s string) (string, error) { return "", fmt.Errorf("%s is wrong", s) }}
	if _, err := p.Canonical("hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
	value := "hunter2"
	for want, got := range map[string]string{
		"(unset) -> [secret]":  arrow(p, nil, &value),
		"[secret] -> (unset)":  arrow(p, &value, nil),
		"[secret] -> [secret]": arrow(p, &value, &value),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
